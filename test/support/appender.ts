// A program of its own: `node appender.ts URI FILE` appends to a log and reads each record back,
// until its input ends. For each record that was there FILE grows by a byte: so also somebody who
// can only look, whose thread is blocked, sees it go on.
import { appendFileSync } from 'node:fs'
import { connect } from '../../src/index.ts'
import { quiet } from './quiet.ts'

const [uri = '', file = ''] = process.argv.slice(2)
const client = await connect(uri, { logger: quiet })
const log = await client.log('appender')
const writer = await log.acquire()
const state = { stopped: false }
process.stdin.on('end', () => {
  state.stopped = true
})
process.stdin.resume()
for (let count = 0; !state.stopped; count++) {
  const position = await writer.append(Buffer.from(`record ${count}`))
  for await (const { bytes } of log.read({ from: position })) {
    if (bytes.toString() === `record ${count}`) appendFileSync(file, '.')
  }
  if (count === 0) process.stdout.write('appending\n')
}
await client.close()
