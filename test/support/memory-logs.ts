// A LogRecordManager in memory with watches and lost answers, and named logs on it for tests.
import { QuireError } from '../../src/errors.ts'
import { decodeLogRecord } from '../../src/embedded/log/core/log-record-codec.ts'
import type { LogRecord } from '../../src/embedded/log/core/log-record.ts'
import { createLogs, type Logs } from '../../src/embedded/log/logs.ts'
import type { LogOptions } from '../../src/embedded/log/parts.ts'
import type { LogRecordManager } from '../../src/embedded/log/record-store.ts'
import { Asker } from '../../src/embedded/forward/asker.ts'
import { ForwardServer } from '../../src/embedded/forward/server.ts'
import type { Clock, Logger, Random, Timers } from '../../src/io/index.ts'
import { createIo } from '../../src/io/real/index.ts'
import type { Versioned } from '../../src/metadata/managers.ts'
import { MemoryLedgers } from './memory-ledgers.ts'
import { MemoryNetwork } from './memory-network.ts'

interface Node {
  value: Uint8Array
  version: number
  watches: (() => void)[]
}

export class MemoryRecords implements LogRecordManager {
  readonly nodes: Map<string, Node> = new Map()
  /** `lose`: written, the answer is lost. `fail`: not written, the answer is lost. */
  fault: (name: string) => 'ok' | 'lose' | 'fail' = () => 'ok'
  /** Called before each write, after its record was read: what others do in between. */
  before: (name: string) => Promise<void> = () => Promise.resolve()
  writes = 0
  reads = 0

  async read(
    name: string,
    options: { watch?: (() => void) | undefined } = {},
  ): Promise<Versioned<Uint8Array> | undefined> {
    await Promise.resolve()
    this.reads += 1
    const node = this.nodes.get(name)
    if (!node) return undefined
    if (options.watch) node.watches.push(options.watch)
    return { value: node.value, version: node.version }
  }

  async create(name: string, value: Uint8Array): Promise<void> {
    await Promise.resolve()
    if (this.nodes.has(name)) throw new QuireError('QUIRE_NODE_EXISTS', name)
    this.nodes.set(name, { value, version: 0, watches: [] })
  }

  async write(name: string, value: Uint8Array, version: number): Promise<void> {
    await this.before(name)
    const node = this.nodes.get(name)
    if (!node) throw new QuireError('QUIRE_NO_NODE', name)
    if (node.version !== version) throw new QuireError('QUIRE_BAD_VERSION', name)
    const fault = this.fault(name)
    if (fault !== 'fail') {
      this.writes += 1
      node.value = value
      node.version += 1
      for (const watch of node.watches.splice(0)) watch()
    }
    if (fault !== 'ok') throw new QuireError('QUIRE_METADATA_UNAVAILABLE', 'the answer was lost')
  }

  record(name: string): LogRecord {
    const node = this.nodes.get(name)
    if (!node) throw new Error(`no record of ${name}`)
    return decodeLogRecord(node.value, name)
  }
}

export class TestClock implements Clock {
  wall = 1_000
  monotonic = 0
  monotonicMs(): number {
    return this.monotonic
  }
  wallMs(): number {
    return this.wall
  }
}

export const timers: Timers = {
  after(delayMs, call) {
    const timeout = setTimeout(call, Math.min(delayMs, 20))
    return { cancel: () => clearTimeout(timeout) }
  },
  soon: (call) => void setImmediate(call),
}

/** Numbers from a seed: the same run every time. */
export function seededRandom(seed: number): Random {
  // Small seeds must not begin alike.
  let state = Math.imul(seed, 2654435761) >>> 0
  const next = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state
  }
  const bytes = (count: number): Buffer =>
    Buffer.from(Array.from({ length: count }, () => next() >>> 24))
  return {
    bytes,
    below: (below) => Math.floor((next() / 2 ** 32) * below),
    uuid: () =>
      bytes(16)
        .toString('hex')
        .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
  }
}

export const silent: Logger = {
  child: () => silent,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export interface MemoryProcess {
  readonly logs: Logs
  readonly forwards: { readonly asker: Asker; readonly server: ForwardServer }
}

/** A cluster: ledgers and records that several clients ("processes") share. */
export class MemoryCluster {
  readonly ledgers: MemoryLedgers = new MemoryLedgers()
  readonly records: MemoryRecords = new MemoryRecords()
  readonly clock: TestClock = new TestClock()
  readonly network: MemoryNetwork = new MemoryNetwork()
  /** Nodes whose address nobody knows. */
  readonly unregistered: Set<string> = new Set()
  #clients = 0

  /** The named logs of one more process. */
  client(options: LogOptions = {}): Logs {
    return this.process(options).logs
  }

  /** One more process: its named logs, and its ways to and from the owners of logs. */
  process(options: LogOptions = {}): MemoryProcess {
    this.#clients += 1
    const id = `node-${this.#clients}`
    const { timers: real, clock } = createIo()
    const shared = { timers: real, clock, logger: silent, instanceId: 'memory', self: `${id}/1` }
    const addressOf = async (bookieId: string) =>
      this.unregistered.has(bookieId) ? undefined : { host: bookieId, port: 1 }
    const server = new ForwardServer(shared)
    const asker = new Asker({ ...shared, network: this.network, addressOf })
    void this.network.listen({ host: id, port: 1 }, (connection) => {
      connection.start({
        data: (chunk) => server.accept(connection, chunk),
        drain() {},
        close() {},
      })
    })
    return { logs: this.#logs(options), forwards: { asker, server } }
  }

  #logs(options: LogOptions): Logs {
    return createLogs({
      ledgers: this.ledgers,
      records: this.records,
      clock: this.clock,
      random: seededRandom(this.#clients),
      timers,
      logger: silent,
      owner: { id: `node-${this.#clients}`, incarnation: '1' },
      options,
    })
  }
}
