// What admission answers, and what it needs from and tells to those around it.

import type { Logger } from '../../io/index.ts'
import type { Status } from '../../wire/bookie-messages.ts'

/** Outcomes beside the statuses. */
export const outcomes = {
  /** Will be OK when the record `awaited` is durable; never if the journal fails. */
  pending: -1,
  /** No room: nothing was done, ask again after `writable`. */
  blocked: -2,
  /** The id is held and its copy is at `place`, on disk: read it and call `judgeDuplicate`. */
  compare: -3,
} as const

export type Outcome = Status | (typeof outcomes)[keyof typeof outcomes]

/** Keys are compared byte for byte, whatever their length up to this (Java sends 20). */
export const maxKeyBytes = 1024
export interface StoreListener {
  durable(sequence: number): void
  failed(error: Error): void
  writable(): void
  /** The journal's memory is used up by those who hold it. */
  starved(): void
  /**
   * The known last confirmed position of a watched ledger advanced, or (`ended`) no waiting for it
   * makes sense.
   */
  advanced(ledger: number, ended: boolean): void
}

export interface StoreOptions {
  readonly logger: Logger
  /** The index's budget: adds beyond it are refused with "too many requests". */
  readonly indexBytes: number
  /** Random: keeps chosen ids from colliding in the index. */
  readonly seed: number
  /** Seconds of a clock that never goes back. */
  readonly second: () => number
  /**
   * Whether entries or the fence of a ledger may have been lost here, as after a lost range or
   * disk; asked at each add.
   */
  readonly mayHaveLost?: ((high: number, low: number) => boolean) | undefined
}

/** Plain counters, for metrics. */
export interface StoreCounts {
  adds: number
  duplicates: number
  conflicts: number
  fences: number
  reads: number
  deletedLedgers: number
}
