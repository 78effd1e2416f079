// A program of its own: `node appender.ts URI` appends to a log and reads each record back, until
// its input ends; then it prints when each record was there, as JSON.
import { connect } from '../../src/index.ts'
import { quiet } from './quiet.ts'

const client = await connect(process.argv[2] ?? '', { logger: quiet })
const log = await client.log('appender')
const writer = await log.acquire()
const state = { stopped: false }
process.stdin.on('end', () => {
  state.stopped = true
})
process.stdin.resume()
process.stdout.write('appending\n')
const timesMs: number[] = []
while (!state.stopped) {
  const position = await writer.append(Buffer.from(`record ${timesMs.length}`))
  for await (const { bytes } of log.read({ from: position })) {
    if (bytes.toString() === `record ${timesMs.length}`) timesMs.push(Date.now())
  }
}
await client.close()
process.stdout.write(`${JSON.stringify(timesMs)}\n`)
