// Real `quire start` processes for tests, trials and benchmarks: started, watched, killed by their
// own id.
import { spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { root } from './source.ts'

export type Line = Readonly<Record<string, unknown>>

export interface QuireProcess {
  readonly child: ChildProcess
  readonly pid: number
  /** What it printed with --json, in order. */
  readonly lines: readonly Line[]
  /** The `ready` line; rejects when the process ends before it. */
  readonly ready: Promise<{ id: string; listen: string }>
  /** Exit status, or the signal's name. */
  readonly ended: Promise<number | string>
  readonly stderr: () => string
  /** The signal, then the end. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string>
}

/** From the sources, as `npm run quire` does: tests need no build. */
export const fromSource: readonly string[] = [join(root, 'src/admin/quire.ts')]
/** As shipped. */
export const fromDist: readonly string[] = [join(root, 'dist/quire.js')]

/** Words before a command: what tap loads into every process that its tests start is left out. */
export const asUsersDo: readonly string[] = ['env', '-u', 'NODE_OPTIONS']

/** Halves the processor time of a start from the sources. */
export const compiledOnce: NodeJS.ProcessEnv = {
  NODE_COMPILE_CACHE: join(root, '.tap/compile-cache'),
  ...process.env,
}

export interface StartOptions {
  readonly program?: readonly string[]
  /** A command to run it under (strace, setpriv). */
  readonly under?: readonly string[]
}

export function startQuire(args: readonly string[], options: StartOptions = {}): QuireProcess {
  const program = options.program ?? fromSource
  if (!existsSync(program[0] ?? '')) throw new Error(`${program[0]} is missing: npm run build`)
  const node = [...asUsersDo, process.execPath, ...program]
  const [command = '', ...rest] = [...(options.under ?? []), ...node, 'start', '--json', ...args]
  const child = spawn(command, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: compiledOnce })
  endWithParent(child)
  const lines: Line[] = []
  const errors: string[] = []
  child.stderr.on('data', (chunk: Buffer) => errors.push(chunk.toString()))
  const ended = new Promise<number | string>((resolve) => {
    child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
    child.on('error', (error) => resolve(error.message))
  })
  const ready = new Promise<{ id: string; listen: string }>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line
      lines.push(line)
      if (line['event'] === 'ready') {
        resolve({ id: String(line['id']), listen: String(line['listen']) })
      }
    })
    const early = (status: number | string): Error =>
      new Error(`quire start ${args.join(' ')} ended with ${status}: ${errors.join('')}`)
    void ended.then((status) => reject(early(status)))
  })
  ready.catch(() => undefined)
  const kill = (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | string> => {
    child.kill(signal)
    return ended
  }
  return { child, pid: child.pid ?? 0, lines, ready, ended, stderr: () => errors.join(''), kill }
}

/** A test that is stopped leaves no process behind. */
export function endWithParent(child: ChildProcess): void {
  const end = (): void => void child.kill('SIGKILL')
  const signals = ['SIGALRM', 'SIGINT', 'SIGTERM'] as const
  const onSignal = (signal: NodeJS.Signals): void => {
    end()
    forget()
    process.kill(process.pid, signal)
  }
  const forget = (): void => {
    process.off('exit', end)
    for (const signal of signals) process.off(signal, onSignal)
  }
  process.on('exit', end)
  for (const signal of signals) process.on(signal, onSignal)
  child.once('close', forget)
}

export interface Cluster {
  readonly processes: QuireProcess[]
  /** `quire://…` of the node that keeps the metadata. */
  readonly uri: string
  /** The directories, by index. */
  readonly directories: readonly string[]
  readonly listens: readonly string[]
  /** Starts the process of one index anew, in its directory and at its address. */
  restart(index: number): Promise<void>
  stop(): Promise<void>
}

/**
 * One node with metadata, and `bookies - 1` bookies on it, each in a process and a directory of its
 * own.
 */
export async function startCluster(
  directory: string,
  bookies: number,
  options: StartOptions = {},
): Promise<Cluster> {
  const directories = Array.from({ length: bookies }, (_, index) =>
    join(directory, `node-${index}`),
  )
  const first = startQuire(['--dir', directories[0] ?? '', '--listen', '127.0.0.1:0'], options)
  const { listen } = await first.ready
  const uri = `quire://${listen}`
  const others = directories.slice(1).map((dir) => startQuire(bookieArguments(dir, uri), options))
  const processes = [first, ...others]
  const listens = (await Promise.all(processes.map((p) => p.ready))).map((line) => line.listen)
  return {
    processes,
    uri,
    directories,
    listens,
    async restart(index) {
      const dir = directories[index] ?? ''
      const at = listens[index] ?? ''
      const args = index === 0 ? ['--dir', dir, '--listen', at] : bookieArguments(dir, uri, at)
      for (;;) {
        const started = startQuire(args, options)
        processes[index] = started
        try {
          await started.ready
          return
        } catch (error) {
          // Who gave up waiting for metadata that starts slowly is started again, as a supervisor
          // would; every other end is one too many.
          if (!started.stderr().includes('[QUIRE_METADATA_UNAVAILABLE]')) throw error
        }
      }
    },
    async stop() {
      await Promise.all(processes.slice(1).map((p) => p.kill('SIGTERM')))
      await processes[0]?.kill('SIGTERM')
    },
  }
}

/**
 * Nodes that keep their metadata together, each at an address of its own within this machine: port
 * 3181 on 127.X.Y.1, .2, …, which are this process's.
 */
export async function startGroup(
  directory: string,
  count: number,
  options: StartOptions = {},
): Promise<Omit<Cluster, 'restart'>> {
  const network = `127.${1 + ((process.pid >> 8) & 127)}.${process.pid & 255}`
  const directories = Array.from({ length: count }, (_, index) => join(directory, `node-${index}`))
  const listens = directories.map((_, index) => `${network}.${index + 1}:3181`)
  const peers = listens.join(',')
  const processes = directories.map((dir, index) =>
    startQuire(['--dir', dir, '--listen', listens[index] ?? '', '--peers', peers], options),
  )
  await Promise.all(processes.map((each) => each.ready))
  const stop = async (): Promise<void> => {
    for (const each of processes) await each.kill('SIGTERM')
  }
  return { processes, uri: `quire://${peers}`, directories, listens, stop }
}

function bookieArguments(dir: string, uri: string, listen = '127.0.0.1:0'): string[] {
  return ['--dir', dir, '--listen', listen, '--metadata', uri]
}
