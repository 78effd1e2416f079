// A real ZooKeeper on this machine, in a process of its own.
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ChildProcess } from 'node:child_process'
import type { Address } from '../../src/io/network.ts'
import { startJava } from './java.ts'

export interface ZooKeeperServer {
  readonly address: Address
  /** HOST:PORT. */
  readonly listen: string
  /** Its process stands still, and goes on. */
  pause(): void
  resume(): void
  kill(): Promise<void>
  /** Starts it anew with its data, at its port. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export interface ZooKeeperServerOptions {
  readonly tickMs?: number
  /** Java system properties: `NAME=VALUE`. */
  readonly properties?: readonly string[]
}

/** Serves when it resolves. Sessions last from 2 to 20 ticks. */
export async function startZooKeeper(
  directory: string,
  { tickMs = 500, properties = [] }: ZooKeeperServerOptions = {},
): Promise<ZooKeeperServer> {
  const port = await freePort()
  const lines = configuration({ directory, port, tickMs })
  const options = properties.map((each) => `-D${each}`)
  const server = prepare({ directory, port, lines, options, main: 'ZooKeeperServerMain' })
  await server.restart()
  return server
}

/** Several that replicate one tree, one of them the leader. All serve when it resolves. */
export async function startEnsemble(directory: string, count: number): Promise<ZooKeeperServer[]> {
  const members = await Promise.all(
    Array.from({ length: count }, async (_, index) => ({
      id: index + 1,
      ports: await Promise.all([freePort(), freePort(), freePort()]),
    })),
  )
  const list = members.map(({ id, ports }) => `server.${id}=127.0.0.1:${ports[1]}:${ports[2]}`)
  const servers = members.map(({ id, ports: [port] }) => {
    const own = join(directory, String(id))
    const lines = [...configuration({ directory: own, port, tickMs: 1_000 }), ...list]
    writeFileSync(join(own, 'data/myid'), `${id}\n`)
    const more = ['initLimit=10', 'syncLimit=5']
    return prepare({
      directory: own,
      port,
      lines: [...lines, ...more],
      options: [],
      main: 'quorum.QuorumPeerMain',
    })
  })
  await Promise.all(servers.map((server) => server.restart()))
  return servers
}

function configuration(of: { directory: string; port: number; tickMs: number }): string[] {
  const data = join(of.directory, 'data')
  mkdirSync(data, { recursive: true })
  return [
    `clientPort=${of.port}`,
    'clientPortAddress=127.0.0.1',
    `dataDir=${data}`,
    `tickTime=${of.tickMs}`,
    'maxClientCnxns=0',
    'admin.enableServer=false',
    '4lw.commands.whitelist=*',
  ]
}

/** One that `restart` starts. */
function prepare(of: {
  directory: string
  port: number
  lines: readonly string[]
  options: readonly string[]
  main: string
}): ZooKeeperServer {
  const { port } = of
  const file = join(of.directory, 'zoo.cfg')
  writeFileSync(file, `${of.lines.join('\n')}\n`)
  const program = [`org.apache.zookeeper.server.${of.main}`, file]
  const state: { child: ChildProcess | undefined } = { child: undefined }
  const end = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<void> => {
    const child = state.child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const closed = once(child, 'close')
    child.kill('SIGCONT')
    child.kill(signal)
    await closed
  }
  return {
    address: { host: '127.0.0.1', port },
    listen: `127.0.0.1:${port}`,
    pause: () => void state.child?.kill('SIGSTOP'),
    resume: () => void state.child?.kill('SIGCONT'),
    kill: () => end('SIGKILL'),
    async restart() {
      state.child = startJava(program, of.options)
      await ready(state.child, port)
    },
    stop: () => end('SIGTERM'),
  }
}

/** Until it serves clients; fails with what it said when it ends before. */
async function ready(child: ChildProcess, port: number): Promise<void> {
  const said: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => said.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => said.push(chunk))
  for (;;) {
    if (/^Mode: /m.test((await ask(port, 'srvr')) ?? '')) return
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the ZooKeeper did not start: ${Buffer.concat(said).toString()}`)
    }
    await sleep(50)
  }
}

/** One of ZooKeeper's commands of four letters; undefined while nobody listens. */
async function ask(port: number, command: string): Promise<string | undefined> {
  const socket = net.connect({ host: '127.0.0.1', port })
  // One that is accepted while the server starts may never be answered.
  socket.setTimeout(1_000, () => socket.destroy())
  try {
    await once(socket, 'connect')
    socket.end(command)
    const chunks: Buffer[] = []
    for await (const chunk of socket) chunks.push(Buffer.from(chunk as Buffer))
    return Buffer.concat(chunks).toString()
  } catch {
    // Nobody listens there, or not yet.
    return undefined
  }
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  server.close()
  await once(server, 'close')
  return port
}
