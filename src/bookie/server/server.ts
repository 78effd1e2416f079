// All connections of a bookie: tells them what became durable, that there is room again, and that
// it is over.

import { QuireError } from '../../errors.ts'
import type { Connection, Io, Logger } from '../../io/index.ts'
import type { SharedSecret } from '../../wire/handshake.ts'
import type { StoreListener } from '../store/outcomes.ts'
import type { Store } from '../store/store.ts'
import { BookieConnection } from './connection.ts'
import { DiskReads } from './disk-reads.ts'
import { LongPolls } from './long-polls.ts'
import { OutputPool } from './output.ts'
import type { ServerCounts, ServerLimits, Shared } from './shared.ts'

export interface ServerParts {
  readonly store: Store
  readonly logger: Logger
  readonly io: Pick<Io, 'timers' | 'clock' | 'random'>
  readonly secret?: SharedSecret | undefined
  readonly limits: ServerLimits
  readonly failed: (error: Error) => void
}

export class BookieServer implements StoreListener {
  readonly counts: ServerCounts = {
    connections: 0,
    requests: 0,
    garbage: 0,
    pauses: 0,
    stalled: 0,
    diskReads: 0,
    unreadable: 0,
  }
  readonly #shared: Shared
  readonly #failed: (error: Error) => void
  readonly #connections = new Set<BookieConnection>()
  #stopped = false

  constructor({ store, logger, io, limits, failed, secret }: ServerParts) {
    this.#failed = failed
    this.#shared = {
      store,
      logger,
      timers: io.timers,
      clock: io.clock,
      random: io.random,
      secret,
      limits,
      counts: this.counts,
      pool: new OutputPool(),
      disk: new DiskReads(limits.diskReads, () => this.writable()),
      polls: new LongPolls(io.timers, store.index),
      waiting: new Set(),
      strangers: new Set(),
      blocked: new Set(),
      closed: (connection) => this.#connections.delete(connection),
    }
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  get longPollCount(): number {
    return this.#shared.polls.count
  }

  accept(raw: Connection, first?: Buffer): void {
    if (this.#stopped) {
      raw.destroy()
      return
    }
    const connection = new BookieConnection(this.#shared, raw)
    this.#connections.add(connection)
    this.counts.connections++
    const { strangers, limits } = this.#shared
    const [oldest] = strangers
    if (strangers.size > limits.strangers) oldest?.refused('too many others came after it')
    raw.start(connection)
    if (first !== undefined) connection.data(first)
  }

  durable(sequence: number): void {
    for (const connection of this.#shared.waiting) connection.durable(sequence)
  }

  failed(error: Error): void {
    this.#stopped = true
    const cause = new QuireError(
      'QUIRE_CLOSED',
      'the journal of this bookie failed: whether pending requests took effect is unknown',
      { cause: error },
    )
    for (const connection of this.#connections) connection.destroy(cause)
    this.#failed(error)
  }

  writable(): void {
    // A copy: who finds no room once more is blocked again.
    const blocked = new Set(this.#shared.blocked)
    for (const connection of blocked) connection.resume()
  }

  starved(): void {
    const { clock, limits } = this.#shared
    const before = clock.monotonicMs() - limits.stalledMs
    for (const connection of this.#connections) connection.giveMemoryBack(before)
  }

  advanced(ledger: number, ended: boolean): void {
    this.#shared.polls.advanced(ledger, ended)
  }

  /** Takes no more connections and no more requests. */
  stop(): void {
    this.#stopped = true
    for (const connection of this.#connections) connection.stop()
  }

  /** Ends every connection once what it was answered has left. */
  end(): void {
    for (const connection of this.#connections) connection.end()
  }
}
