// The three processes, as whoever started them sees them: asked, killed, and started again.

import { fork, type ChildProcess } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { SqlRow } from '../../src/index.ts'
import type { Answer, Ask, LogFacts, NodeFacts, Questions } from './member/main.ts'

const program = join(import.meta.dirname, 'member', 'main.ts')
const names = ['a', 'b', 'c'] as const

export interface MemberOptions {
  /** Of all of them; each has a folder of its own in it. */
  readonly dir: string
  readonly flights: number
  /** A process has so many flights in the state, and durable. */
  readonly fed: (count: number) => void
}

interface OwnOptions extends MemberOptions {
  /** What this one is started with. */
  readonly args: readonly string[]
}

interface Waiting {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
}

/** The process that was asked ended before it answered. */
export class Died extends Error {}

export class Member implements Questions {
  readonly name: string
  readonly dir: string
  readonly #options: MemberOptions
  readonly #args: readonly string[]
  readonly #waiting = new Map<number, Waiting>()
  #child: ChildProcess | undefined
  #asked = 0

  constructor(name: string, options: OwnOptions) {
    this.name = name
    this.dir = join(options.dir, name)
    this.#options = options
    this.#args = ['--dir', this.dir, '--flights', String(options.flights), ...options.args]
  }

  /** Starts a process; it answers once its node runs, which takes more than one of them. */
  launch(): Promise<NodeFacts> {
    const env = { NODE_COMPILE_CACHE: join(this.#options.dir, 'compile-cache'), ...process.env }
    const child = fork(program, this.#args, { env })
    child.on('message', (answer: Answer) => this.#take(answer))
    child.on('exit', () => this.#died(child))
    this.#child = child
    return this.node()
  }

  node(): Promise<NodeFacts> {
    return this.#ask('node') as Promise<NodeFacts>
  }

  start(): Promise<number> {
    return this.#ask('start') as Promise<number>
  }

  log(): Promise<LogFacts> {
    return this.#ask('log') as Promise<LogFacts>
  }

  query(sql: string): Promise<SqlRow[]> {
    return this.#ask('query', sql) as Promise<SqlRow[]>
  }

  async feed(to: number): Promise<void> {
    await this.#ask('feed', to)
  }

  /** In order, as a supervisor ends it. */
  async close(): Promise<void> {
    const ended = this.#ended()
    await this.#ask('close')
    this.#child?.kill()
    await ended
  }

  /** kill -9: it gets to do nothing more. */
  async kill(): Promise<void> {
    const ended = this.#ended()
    this.#child?.kill('SIGKILL')
    await ended
  }

  #ended(): Promise<void> {
    return new Promise((resolve) => this.#child?.once('exit', () => resolve()))
  }

  #ask(name: keyof Questions, ...values: unknown[]): Promise<unknown> {
    const number = ++this.#asked
    const ask = { number, name, values } as Ask
    return new Promise((resolve, reject) => {
      this.#waiting.set(number, { resolve, reject })
      this.#child?.send(ask)
    })
  }

  #take(answer: Answer): void {
    if (answer.type === 'fed') {
      this.#options.fed(answer.count)
      return
    }
    const waiting = this.#waiting.get(answer.number)
    this.#waiting.delete(answer.number)
    if (answer.type === 'answer') waiting?.resolve(answer.value)
    else waiting?.reject(new Error(`${this.name}: ${answer.message}`))
  }

  #died(child: ChildProcess): void {
    const how = child.signalCode ?? `code ${child.exitCode}`
    for (const { reject } of this.#waiting.values()) {
      reject(new Died(`${this.name} ended (${how}): ${this.dir}/node.log says more`))
    }
    this.#waiting.clear()
  }
}

/** Not started yet. */
export async function createMembers(options: MemberOptions): Promise<Member[]> {
  const peers = await addressesIn(options.dir)
  return names.map((name, index) => {
    const args = ['--listen', peers[index] ?? '', '--peers', peers.join(',')]
    return new Member(name, { ...options, args })
  })
}

/** Free ports of this machine, and the same again with each later run. */
async function addressesIn(dir: string): Promise<readonly string[]> {
  const file = join(dir, 'peers.json')
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as string[]
  const addresses = await Promise.all(names.map(freeAddress))
  mkdirSync(dir, { recursive: true })
  writeFileSync(file, JSON.stringify(addresses))
  return addresses
}

function freeAddress(): Promise<string> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = address !== null && typeof address === 'object' ? address.port : 0
      server.close(() => resolve(`127.0.0.1:${port}`))
    })
  })
}
