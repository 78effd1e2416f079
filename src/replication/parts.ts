// What the pieces of one ledger client share.

import type { Clock, Logger, Network, Random, Timers } from '../io/index.ts'
import type { LedgerManager } from '../metadata/managers.ts'
import type { BookieDirectory } from './bookie-directory.ts'
import type { Sweeper, Turn } from './turn.ts'

export interface LedgerClientOptions {
  /** Default 5 s. */
  readonly connectTimeoutMs?: number
  /** Silence of a bookie about one add, after which it is replaced or left behind. Default 5 s. */
  readonly addTimeoutMs?: number
  /** One request that is not an add. Default 5 s. */
  readonly readTimeoutMs?: number
  /**
   * Time for an append to reach its ack quorum, changes of the ensemble included; then the writer
   * ends. Default 30 s.
   */
  readonly quorumTimeoutMs?: number
  /** Silence of all replicas asked, after which one more is asked. Default 1 s. */
  readonly speculateAfterMs?: number
  /** Appends not acknowledged, of one writer. Default 4096. */
  readonly pendingEntriesMax?: number
  /**
   * Payload bytes not acknowledged, of one writer, from which on it takes no entry. Default 16 MiB.
   */
  readonly pendingBytesMax?: number
  /**
   * Acknowledged entries, and their bytes, kept for slow members before they set the pace. Defaults
   * 12,288, 16 MiB.
   */
  readonly keptEntriesMax?: number
  readonly keptBytesMax?: number
  /** Default 1 MiB. */
  readonly entryBytesMax?: number
  /** Payload that one reading iteration holds ahead of its consumer. Default 4 MiB. */
  readonly readAheadBytes?: number
  /**
   * Quiet after the last acknowledgement, until the bookies are told of it. Default 50 ms; 0 =
   * never.
   */
  readonly lacDelayMs?: number
  /** A bookie that failed is not chosen for a new place while others can be. Default 30 s. */
  readonly quarantineMs?: number
  /** How long a close waits for members that still lack acknowledged entries. Default 500 ms. */
  readonly closeLingerMs?: number
  /** Default 64. */
  readonly ensembleChangesMax?: number
  /** Most bytes of a frame, length field included. Default 5 MiB. */
  readonly frameBytesMax?: number
}

/**
 * How many bookies the cluster has ever known, dead or alive: by their cookies, linearizable. Where
 * that is exactly one, a ledger of default sizes has one copy; everywhere else an acknowledgement
 * means two (A16).
 */
export type KnownBookies = (signal: AbortSignal | undefined) => Promise<number>

export const defaultOptions: Required<LedgerClientOptions> = {
  connectTimeoutMs: 5_000,
  addTimeoutMs: 5_000,
  readTimeoutMs: 5_000,
  quorumTimeoutMs: 30_000,
  speculateAfterMs: 1_000,
  pendingEntriesMax: 4_096,
  pendingBytesMax: 16 * 1_048_576,
  keptEntriesMax: 12_288,
  keptBytesMax: 16 * 1_048_576,
  entryBytesMax: 1_048_576,
  readAheadBytes: 4 * 1_048_576,
  lacDelayMs: 50,
  quarantineMs: 30_000,
  closeLingerMs: 500,
  ensembleChangesMax: 64,
  frameBytesMax: 5_242_880,
}

export interface ClientParts {
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly ledgers: LedgerManager
  readonly bookies: BookieDirectory
  readonly knownBookies: KnownBookies | undefined
  readonly turn: Turn
  readonly sweeper: Sweeper
  readonly options: Required<LedgerClientOptions>
  /** Aborted, with QUIRE_CLOSED, when the client is closed. */
  readonly closed: AbortSignal
}
