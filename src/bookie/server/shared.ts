// What the connections of one bookie share.

import type { Clock, Logger, Random, Timers } from '../../io/index.ts'
import type { SharedSecret } from '../../wire/handshake.ts'
import type { Store } from '../store/store.ts'
import type { BookieConnection } from './connection.ts'
import type { DiskReads } from './disk-reads.ts'
import type { LongPolls } from './long-polls.ts'
import type { OutputPool } from './output.ts'

export interface ServerLimits {
  /** A frame with its length field; BookKeeper's default on both ends is 5 MiB. */
  readonly maxFrameBytes: number
  /** Reads from disk at a time; connections that need another wait. */
  readonly diskReads: number
  /**
   * Readers of one connection that may wait for a position at a time; more are answered at once.
   */
  readonly longPolls: number
  /**
   * A client that does not take an entry for so long loses its connection once the journal needs
   * the memory that the entry is sent from.
   */
  readonly stalledMs: number
  /** Bytes of a batch read's answer. */
  readonly batchReadBytes: number
  /**
   * Answers of one connection that are being put together, a batch counting as sixteen; beyond it
   * nothing more is read from the connection.
   */
  readonly callsAtOnce: number
  /** Connections that have not authenticated themselves: beyond it, the oldest is ended. */
  readonly strangers: number
  /** A frame of such a connection. */
  readonly strangerFrameBytes: number
}

export const serverLimits: ServerLimits = {
  maxFrameBytes: 5 * 1024 * 1024,
  diskReads: 16,
  longPolls: 1024,
  stalledMs: 3000,
  batchReadBytes: 5 * 1024 * 1024,
  callsAtOnce: 64,
  strangers: 256,
  strangerFrameBytes: 64 * 1024,
}

/** Plain counters, for metrics. */
export interface ServerCounts {
  connections: number
  requests: number
  /** Connections that were ended because of what they sent. */
  garbage: number
  /** Times a connection was not read from, for want of room somewhere. */
  pauses: number
  /** Connections that were ended because they held memory that the journal needed. */
  stalled: number
  diskReads: number
  /** Records that were not what the index says, or did not verify: answered as unknown. */
  unreadable: number
}

export interface Shared {
  readonly store: Store
  readonly logger: Logger
  readonly timers: Timers
  readonly clock: Clock
  readonly random: Random
  /** What a client must know to be served; undefined: nothing. */
  readonly secret: SharedSecret | undefined
  readonly limits: ServerLimits
  readonly counts: ServerCounts
  readonly pool: OutputPool
  readonly disk: DiskReads
  readonly polls: LongPolls
  /** Connections with answers that wait for the journal. */
  readonly waiting: Set<BookieConnection>
  /** Connections that have not authenticated themselves, in the order they came. */
  readonly strangers: Set<BookieConnection>
  /** Connections that are not read from until there is room again. */
  readonly blocked: Set<BookieConnection>
  closed(connection: BookieConnection): void
}
