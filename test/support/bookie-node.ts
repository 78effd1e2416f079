// A node in a process of its own, for trials that stop and kill it: `node bookie-node.ts DIR URI`.
// It tells its id in a line of JSON, and ends with its input.
import { open } from '../../src/index.ts'
import { quiet } from './quiet.ts'

const [dir = '', metadata = ''] = process.argv.slice(2)
const node = await open({ dir, metadata, logger: quiet, sessionTimeoutMs: 3000 })
process.stdout.write(`${JSON.stringify({ id: node.id })}\n`)
await new Promise((resolve) => process.stdin.on('end', resolve).resume())
await node.close()
