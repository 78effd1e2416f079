// A program for tests: a node on somebody's metadata that executes commands on two states until it
// is told anything, then tells what it sees, and ends with its input. `node executor.ts DIR URI
// PREFIX`; a line of JSON for everything that happens.
import { open } from '../../src/index.ts'
import { executeUntil } from './executing.ts'
import { quiet } from './quiet.ts'

const [dir = '', metadata = '', prefix = ''] = process.argv.slice(2)
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

const node = await open({ dir, metadata, logger: quiet, sessionTimeoutMs: 4000 })
say({ event: 'ready', id: node.id, listen: node.listen })
const stop = new AbortController()
const ended = new Promise((resolve) => process.stdin.on('end', resolve))
process.stdin.on('data', () => stop.abort())
const states = await executeUntil(stop.signal, { node, prefix, say })
say({ event: 'states', ...states })
await ended
await node.close()
