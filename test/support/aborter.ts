// A program of its own: `node aborter.ts DIR` aborts the opening of a node at one moment after the
// other, opens it in the end, and closes it. It ends by itself when nothing is left behind: no
// thread, no timer, no socket, no lock.
import { open, QuireError } from '../../src/index.ts'
import { quiet } from './quiet.ts'

const dir = process.argv[2] ?? ''
const counts = { aborted: 0, opened: 0 }
for (const delayMs of [0, 1, 10, 30, 60, 100, 150, 200, 300]) {
  const abort = new AbortController()
  setTimeout(() => abort.abort(), delayMs)
  try {
    const node = await open({ dir, signal: abort.signal, logger: quiet })
    counts.opened++
    await node.close()
  } catch (error) {
    if (!QuireError.is(error, 'QUIRE_ABORTED')) throw error
    counts.aborted++
  }
}
const node = await open({ dir, logger: quiet })
const log = await node.log('after')
const writer = await log.acquire()
await writer.append(Buffer.from('it works'))
await node.close()
process.stdout.write(`${JSON.stringify(counts)}\n`)
