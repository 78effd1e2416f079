// One bookie: admission, its server and collection around a journal that somebody else opens.
//
//   const bookie = createBookie({ io, logger, failed })
//   const journal = await openJournal({ owner: bookie.owner, … })   // replays into the bookie
//   bookie.start(journal)
//   bookie.accept(connection, firstBytes)
//
// It guarantees what the wire's server rules and A11 ask of a bookie; it leaves to its owner the
// directory, the identity, registration and where the set of live ledgers comes from.

import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Connection, Io, Logger } from '../io/index.ts'
import { collect, type Collected, type CollectOptions, type LiveLedgers } from './collector.ts'
import type { SharedSecret } from '../wire/handshake.ts'
import type { BookieJournal, JournalOwner } from './journal/contract.ts'
import { BookieServer } from './server/server.ts'
import { type ServerCounts, type ServerLimits, serverLimits } from './server/shared.ts'
import type { StoreCounts } from './store/outcomes.ts'
import { Store } from './store/store.ts'

export interface BookieLimits extends ServerLimits {
  /**
   * Memory of the index; adds beyond it are refused until collection makes room. Default 1 GiB.
   */
  readonly indexBytes: number
}

export const bookieLimits: BookieLimits = { ...serverLimits, indexBytes: 1024 * 1024 * 1024 }

export interface BookieParts {
  readonly io: Pick<Io, 'timers' | 'clock' | 'random'>
  readonly logger: Logger
  /**
   * The journal died: nothing pending will be answered, the connections are gone, and the node must
   * end. Called once.
   */
  readonly failed: (error: Error) => void
  readonly limits?: Partial<BookieLimits> | undefined
  /**
   * Whether entries or the fence of a ledger (its id in halves) may have been lost here. What it
   * lacks of such a ledger is answered as unknown, and it takes recovery adds only. Asked often.
   * Default: none.
   */
  readonly mayHaveLost?: ((high: number, low: number) => boolean) | undefined
  /** What a client must show that it knows before it is served. Default: nothing. */
  readonly secret?: SharedSecret | undefined
}

/** Plain numbers, for metrics and the console. */
export interface BookieStats extends StoreCounts, ServerCounts {
  readonly ledgers: number
  readonly entries: number
  readonly indexBytes: number
  readonly connectionsNow: number
  readonly longPollsNow: number
  readonly readOnly: boolean
  /** Records appended, and how many of them are durable. */
  readonly sequence: number
  readonly durableSequence: number
}

export interface Bookie {
  /** What the journal replays into and reports to. */
  readonly owner: JournalOwner
  /**
   * An operator's choice, kept until set again: adds are refused, except those of high priority.
   */
  readOnly: boolean
  /** Also true while the disk has no room. */
  readonly isReadOnly: boolean
  /** Once, with the journal that replayed into `owner`. */
  start(journal: BookieJournal): void
  /** Serves a connection; `first` are bytes that were read from it already. */
  accept(connection: Connection, first?: Buffer): void
  /**
   * Gives up ledgers that are gone from the metadata. One pass at a time: a second call fails with
   * QUIRE_BACKPRESSURE.
   */
  collect(live: LiveLedgers, options?: CollectOptions): Promise<Collected>
  stats(): BookieStats
  /** Takes nothing more, answers what it took, closes the journal and ends the connections. */
  close(): Promise<void>
}

export function createBookie(parts: BookieParts): Bookie {
  return new ServingBookie(parts)
}

class ServingBookie implements Bookie {
  readonly #store: Store
  readonly #server: BookieServer
  readonly #second: () => number
  #started = false
  #collecting = false

  constructor({ io, logger, failed, limits: chosen, mayHaveLost, secret }: BookieParts) {
    const limits: BookieLimits = { ...bookieLimits, ...chosen }
    this.#second = () => Math.floor(io.clock.monotonicMs() / 1000)
    this.#store = new Store({
      logger,
      indexBytes: limits.indexBytes,
      seed: io.random.below(0x7fffffff),
      second: this.#second,
      mayHaveLost,
    })
    this.#server = new BookieServer({ store: this.#store, logger, io, limits, failed, secret })
  }

  get owner(): JournalOwner {
    return this.#store
  }

  get readOnly(): boolean {
    return this.#store.readOnly
  }

  set readOnly(value: boolean) {
    this.#store.readOnly = value
  }

  get isReadOnly(): boolean {
    return this.#store.isReadOnly
  }

  start(journal: BookieJournal): void {
    invariant(!this.#started, 'a bookie is started once')
    this.#started = true
    this.#store.attach(journal, this.#server)
  }

  accept(connection: Connection, first?: Buffer): void {
    invariant(this.#started, 'a bookie is started before it serves')
    this.#server.accept(connection, first)
  }

  async collect(live: LiveLedgers, options: CollectOptions = {}): Promise<Collected> {
    if (this.#collecting) {
      throw new QuireError(
        'QUIRE_BACKPRESSURE',
        'a collection of ledgers is under way: wait for its end',
      )
    }
    this.#collecting = true
    try {
      return await collect(this.#store, live, { ...options, second: this.#second() })
    } finally {
      this.#collecting = false
    }
  }

  stats(): BookieStats {
    const { index, journal, counts, isReadOnly } = this.#store
    return {
      ...counts,
      ...this.#server.counts,
      ledgers: index.ledgerCount,
      entries: index.entryCount,
      indexBytes: index.bytes,
      connectionsNow: this.#server.connectionCount,
      longPollsNow: this.#server.longPollCount,
      readOnly: isReadOnly,
      sequence: journal.sequence,
      durableSequence: journal.durableSequence,
    }
  }

  async close(): Promise<void> {
    this.#server.stop()
    if (this.#started) await this.#store.journal.close()
    this.#server.end()
  }
}
