// `quire dev 3`: nodes in temporary directories, for trying things out. All of it goes with Ctrl-C.
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { styleText } from 'node:util'
import { QuireError } from '../../errors.ts'
import type { Values } from '../commands.ts'
import type { Output } from '../output.ts'
import { text } from './outside.ts'

const nodesMax = 9
const colours = ['cyan', 'magenta', 'yellow', 'green', 'blue', 'red'] as const
const endMs = 10_000

interface DevNode {
  readonly name: string
  readonly address: string
  readonly child: ChildProcess
  readonly ready: Promise<string>
  readonly ended: Promise<void>
}

/** Resolves to 0 once it was ended by a signal, to 1 when the nodes did not start. */
export async function dev(values: Values, output: Output): Promise<number> {
  const count = Number(text(values['count']) ?? '3')
  if (!Number.isInteger(count) || count < 1 || count > nodesMax) {
    throw new QuireError('QUIRE_BAD_OPTION', `say how many nodes: 1 to ${nodesMax}`)
  }
  const stop = Promise.withResolvers<'stop'>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => stop.resolve('stop'))
  const dir = await mkdtemp(join(tmpdir(), 'quire-dev-'))
  const addresses = await freeAddresses(count)
  const nodes = addresses.map((_, index) => startNode({ dir, addresses, index, output }))
  try {
    const first = await Promise.race([stop.promise, Promise.all(nodes.map(({ ready }) => ready))])
    if (first === 'stop') return 0
    tell({ nodes, ids: first, dir }, output)
    await stop.promise
    return 0
  } finally {
    await endAll(nodes)
    await rm(dir, { recursive: true, force: true })
    output.event({ event: 'closed' }, 'The nodes have ended, and their directories are gone.')
  }
}

function startNode(from: {
  dir: string
  addresses: readonly string[]
  index: number
  output: Output
}): DevNode {
  const { dir, addresses, index, output } = from
  const name = `node-${index + 1}`
  const address = addresses[index] ?? ''
  const peers = addresses.length > 1 ? ['--peers', addresses.join(',')] : []
  const args = ['start', '--json', '--dir', join(dir, name), '--listen', address, ...peers]
  const child = spawn(process.execPath, [process.argv[1] ?? '', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // Ctrl-C of the terminal is for this process, which ends them in order.
    detached: true,
  })
  const colour = colours[index % colours.length] ?? 'cyan'
  const mark = styleText(colour, name, { stream: process.stderr })
  createInterface({ input: child.stderr }).on('line', (line) => {
    if (!output.json) process.stderr.write(`${mark} ${saidIn(line)}\n`)
  })
  const ready = Promise.withResolvers<string>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said: { event?: unknown; id?: unknown } = JSON.parse(line)
    if (said.event === 'ready') ready.resolve(String(said.id))
  })
  const ended = new Promise<void>((resolve) => {
    child.on('close', (code, signal) => {
      resolve()
      if (!output.json) process.stderr.write(`${mark} ended (${code ?? signal ?? 'unknown'})\n`)
      ready.reject(new QuireError('QUIRE_CLOSED', `${name} ended before it was ready`))
    })
  })
  ready.promise.catch(() => undefined) // Told by whoever waits for all of them.
  return { name, address, child, ready: ready.promise, ended }
}

/** What a line of a node's log says, without what programs want to know. */
function saidIn(line: string): string {
  try {
    const { msg, error }: { msg?: unknown; error?: unknown } = Object(JSON.parse(line))
    if (typeof msg === 'string') return typeof error === 'string' ? `${msg}: ${error}` : msg
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  return line
}

function tell(
  { nodes, ids, dir }: { nodes: readonly DevNode[]; ids: readonly string[]; dir: string },
  output: Output,
): void {
  const lines = nodes.map(({ name, address, child }, index) => {
    const colour = colours[index % colours.length] ?? 'cyan'
    const mark = styleText(colour, name)
    return `  ${mark}  ${address}  process ${child.pid ?? 0}  ${ids[index] ?? ''}`
  })
  const uri = `quire://${nodes.map(({ address }) => address).join(',')}`
  const facts = nodes.map(({ name, address, child }, index) => ({
    name,
    address,
    pid: child.pid ?? 0,
    id: ids[index] ?? '',
    dir: join(dir, name),
  }))
  output.event(
    { event: 'ready', uri, dir, nodes: facts },
    [
      styleText('bold', `${nodes.length} nodes run, in ${dir}`),
      ...lines,
      '',
      'Connect to them:',
      `  import { connect } from 'quire-log'`,
      `  const client = await connect('${uri}')`,
      ...(nodes.length > 1
        ? [
            `See them:         quire members --node ${nodes[0]?.address ?? ''}`,
            `Kill one:         kill -9 ${nodes[0]?.child.pid ?? 0}`,
          ]
        : []),
      'Ctrl-C ends them and removes everything.',
    ].join('\n'),
  )
}

async function endAll(nodes: readonly DevNode[]): Promise<void> {
  for (const { child } of nodes) child.kill('SIGTERM')
  const timer = setTimeout(() => {
    for (const { child } of nodes) child.kill('SIGKILL')
  }, endMs)
  await Promise.all(nodes.map(({ ended }) => ended))
  clearTimeout(timer)
}

/** Each of its own, all at once. */
async function freeAddresses(count: number): Promise<string[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const addresses = await Promise.all(
    servers.map(
      (server) =>
        new Promise<string>((resolve, reject) => {
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => {
            const bound = server.address()
            resolve(`127.0.0.1:${typeof bound === 'object' && bound ? bound.port : 0}`)
          })
        }),
    ),
  )
  await Promise.all(
    servers.map((server) => new Promise((resolve) => server.close(() => resolve(undefined)))),
  )
  return addresses
}
