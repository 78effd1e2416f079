// Where a reader finds a position: the decisions of D4 and D11, from the log's record alone. A
// closed ledger is never the end of the log, and an error of a read never is: only the record says
// where a segment ends and whether another follows.

import type { LogRecord, LogSegment } from './log-record.ts'

export type Location =
  /** Before the log's beginning: gone, read a snapshot instead. */
  | {
      readonly type: 'truncated'
      readonly oldest: number
      readonly snapshot: number | undefined
    }
  /** In this segment, or at the not yet known end of it. */
  | { readonly type: 'segment'; readonly segment: LogSegment }
  /** Behind everything that the record knows: wait for the record to change. */
  | { readonly type: 'ahead' }

export function locate(record: LogRecord, position: number): Location {
  const oldest = record.segments[0]?.firstPosition ?? record.truncatedBefore
  if (position < oldest) {
    return { type: 'truncated', oldest, snapshot: record.snapshots[0]?.position }
  }
  // Empty segments hold no position: the search passes over them.
  const segment = record.segments.find(
    ({ endPosition }) => endPosition === undefined || position < endPosition,
  )
  return segment ? { type: 'segment', segment } : { type: 'ahead' }
}

export type Recovery =
  /** Somebody else claimed the log since. */
  | { readonly type: 'lost'; readonly epoch: number }
  /**
   * Fence, find the end, record it; oldest first, so that every end is where the next one begins.
   */
  | { readonly type: 'recover'; readonly segment: LogSegment }
  /** Every end is recorded: a ledger may be made and appended. */
  | { readonly type: 'open' }

/**
 * What the holder of `epoch` does next on its way to serve. Every segment without an end is
 * recovered, not only the last.
 */
export function nextRecovery(record: LogRecord, epoch: number): Recovery {
  if (record.ownerEpoch !== epoch) return { type: 'lost', epoch: record.ownerEpoch }
  const segment = record.segments.find(({ endPosition }) => endPosition === undefined)
  return segment ? { type: 'recover', segment } : { type: 'open' }
}
