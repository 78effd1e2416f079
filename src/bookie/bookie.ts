// One bookie: admission, its server and collection around a journal that somebody else opens.
//
//   const bookie = createBookie({ io, logger, failed })
//   const journal = await openJournal({ owner: bookie.owner, … })   // replays into the bookie
//   bookie.start(journal)
//   bookie.accept(connection, firstBytes)
//
// It guarantees what the wire's server rules and A11 ask of a bookie; it leaves to its owner the directory, the identity,
// registration and where the set of live ledgers comes from.

import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Connection, Io, Logger } from '../io/index.ts'
import { collect, type Collected, type CollectOptions, type LiveLedgers } from './collector.ts'
import type { BookieJournal, JournalOwner } from './journal/contract.ts'
import { BookieServer } from './server/server.ts'
import { type ServerCounts, type ServerLimits, serverLimits } from './server/shared.ts'
import type { StoreCounts } from './store/outcomes.ts'
import { Store } from './store/store.ts'

export interface BookieLimits extends ServerLimits {
  /** Memory of the index; adds beyond it are refused until collection makes room. Default 512 MiB. */
  readonly indexBytes: number
}

export const bookieLimits: BookieLimits = { ...serverLimits, indexBytes: 512 * 1024 * 1024 }

export interface BookieParts {
  readonly io: Pick<Io, 'timers' | 'clock' | 'random'>
  readonly logger: Logger
  /** The journal died: nothing pending will be answered, the connections are gone, and the node must end. Called once. */
  readonly failed: (error: Error) => void
  readonly limits?: Partial<BookieLimits> | undefined
  /**
   * Whether entries or the fence of a ledger (its id in halves) may have been lost here. What it lacks of such a ledger is
   * answered as unknown, and it takes recovery adds only. Asked often. Default: none.
   */
  readonly mayHaveLost?: ((high: number, low: number) => boolean) | undefined
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
  /** An operator's choice, kept until set again: adds are refused, except those of high priority. */
  readOnly: boolean
  /** Also true while the disk has no room. */
  readonly isReadOnly: boolean
  /** Once, with the journal that replayed into `owner`. */
  start(journal: BookieJournal): void
  /** Serves a connection; `first` are bytes that were read from it already. */
  accept(connection: Connection, first?: Buffer): void
  /** Gives up ledgers that are gone from the metadata. One pass at a time: a second call fails with QUIRE_BACKPRESSURE. */
  collect(live: LiveLedgers, options?: CollectOptions): Promise<Collected>
  stats(): BookieStats
  /** Takes nothing more, answers what it took, closes the journal and ends the connections. */
  close(): Promise<void>
}

export function createBookie(parts: BookieParts): Bookie {
  const { io, logger } = parts
  const limits: BookieLimits = { ...bookieLimits, ...parts.limits }
  const second = (): number => Math.floor(io.clock.monotonicMs() / 1000)
  const store = new Store({
    logger,
    indexBytes: limits.indexBytes,
    seed: io.random.below(0x7fffffff),
    second,
    mayHaveLost: parts.mayHaveLost,
  })
  const server = new BookieServer({ store, logger, io, limits, failed: parts.failed })
  let collecting = false
  let started = false
  return {
    owner: store,
    get readOnly() {
      return store.readOnly
    },
    set readOnly(value: boolean) {
      store.readOnly = value
    },
    get isReadOnly() {
      return store.isReadOnly
    },
    start(journal) {
      invariant(!started, 'a bookie is started once')
      started = true
      store.attach(journal, server)
    },
    accept(connection, first) {
      invariant(started, 'a bookie is started before it serves')
      server.accept(connection, first)
    },
    async collect(live, options = {}) {
      if (collecting) {
        throw new QuireError(
          'QUIRE_BACKPRESSURE',
          'a collection of ledgers is under way: wait for its end',
        )
      }
      collecting = true
      try {
        return await collect(store, live, { ...options, second: second() })
      } finally {
        collecting = false
      }
    },
    stats: () => ({
      ...store.counts,
      ...server.counts,
      ledgers: store.index.ledgerCount,
      entries: store.index.entryCount,
      indexBytes: store.index.bytes,
      connectionsNow: server.connectionCount,
      longPollsNow: server.longPollCount,
      readOnly: store.isReadOnly,
      sequence: store.journal.sequence,
      durableSequence: store.journal.durableSequence,
    }),
    async close() {
      server.stop()
      if (started) await store.journal.close()
      server.end()
    },
  }
}
