// What every part of a named log receives, and the numbers that a program may change.

import type { Clock, Logger, Random, Timers } from '../../io/index.ts'
import type { CreateLedgerOptions, LedgerClient } from '../../replication/api.ts'
import type { Confirmations } from './confirmations.ts'
import type { Feed } from './feed.ts'
import type { RecordStore } from './record-store.ts'

export interface LogOptions {
  /**
   * Largest payload of a ledger entry that a writer makes; a larger record is refused. Default
   * 262,144.
   */
  readonly entryBytes?: number
  /** Bytes appended and not yet acknowledged, beyond which a writer pushes back. Default 16 MiB. */
  readonly pendingBytes?: number
  /** Entries in flight above which records gather into larger entries. Default 4. */
  readonly depth?: number
  /**
   * A segment ends when it has this many bytes. Default 134,217,728. At twice as many without a
   * roll, sending stops.
   */
  readonly segmentBytes?: number
  /** A segment that is not empty ends at this age, at the next append. Default one hour. */
  readonly segmentAgeMs?: number
  /** Acknowledged entries kept in memory for readers in the writer's process. Default 4 MiB. */
  readonly feedBytes?: number
  /**
   * How often a reader that waits looks again although nothing told it of a change. Default 5,000.
   */
  readonly pollMs?: number
  /** Ensemble, quorums and digest of the log's ledgers. */
  readonly ledger?: Pick<
    CreateLedgerOptions,
    'ensembleSize' | 'writeQuorumSize' | 'ackQuorumSize' | 'digest'
  >
}

export const logDefaults = {
  entryBytes: 262_144,
  pendingBytes: 16_777_216,
  depth: 4,
  segmentBytes: 134_217_728,
  segmentAgeMs: 3_600_000,
  feedBytes: 4_194_304,
  pollMs: 5_000,
  ledger: {},
} as const

export interface LogOwner {
  /** Who this node is, for people; its incarnation tells two lives of it apart. */
  readonly id: string
  readonly incarnation: string
}

export interface LogParts {
  readonly name: string
  readonly ledgers: LedgerClient
  readonly store: RecordStore
  readonly feed: Feed
  readonly confirmations: Confirmations
  readonly clock: Clock
  readonly random: Random
  readonly timers: Timers
  readonly logger: Logger
  readonly owner: LogOwner
  readonly options: Required<LogOptions>
  /** Aborted when the client is closed. */
  readonly closed: AbortSignal
  /** The writers that were acquired through this client and have not ended. */
  readonly writers: Set<AsyncDisposable>
}

/**
 * Custom metadata that marks a ledger as a part of a log, so that one which no record names can be
 * found (D8).
 */
export function ledgerMark(mark: {
  readonly logId: string
  readonly epoch: number
  readonly kind: 'segment' | 'snapshot'
  readonly seq: number
}): ReadonlyMap<string, Uint8Array> {
  return new Map([
    ['quire.log', Buffer.from(mark.logId)],
    ['quire.epoch', Buffer.from(String(mark.epoch))],
    ['quire.kind', Buffer.from(mark.kind)],
    ['quire.seq', Buffer.from(String(mark.seq))],
  ])
}

/** The log and the epoch a ledger says it belongs to; undefined for every other ledger. */
export function readLedgerMark(
  metadata: ReadonlyMap<string, Uint8Array>,
): { logId: string; epoch: number } | undefined {
  const logId = metadata.get('quire.log')
  const epoch = Number(text(metadata.get('quire.epoch')))
  if (!logId || !Number.isSafeInteger(epoch)) return undefined
  return { logId: text(logId), epoch }
}

function text(bytes: Uint8Array | undefined): string {
  return bytes ? Buffer.from(bytes).toString('utf8') : 'none'
}
