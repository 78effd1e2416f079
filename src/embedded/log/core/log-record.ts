// The one record of a named log, and every change that may be made to it, as pure functions. A
// change is applied by compare-and-set on the record's version, so each function must be safe to
// run again on a newer record: it recognises its own effect (I1) and refuses when the owner's epoch
// has moved on (I2). docs/logs.md draws the record and argues each crash.

import { invariant } from '../../../invariant.ts'

export interface LogSegment {
  /** Grows by one with each segment of the log, never used twice. */
  readonly seq: number
  readonly ledgerId: bigint
  readonly firstPosition: number
  /** First position after it; undefined while nobody has recorded its end. */
  readonly endPosition: number | undefined
  /** Epoch of the owner that made it. */
  readonly epoch: number
}

export interface LogSnapshot {
  /** First position that is not in it: where reading goes on. */
  readonly position: number
  readonly ledgerId: bigint
  readonly bytes: number
  readonly crc: number
  readonly format: string
  /** The owner's epoch when its ledger was made. */
  readonly epoch: number
}

export interface LogRecord {
  readonly name: string
  /** A UUID: a log that was removed and made anew under the same name is another log. */
  readonly logId: string
  /** The fencing token; only ever increases. 0 = nobody has owned it yet. */
  readonly ownerEpoch: number
  readonly ownerId: string
  /** A UUID of one call of `acquire`: how an owner recognises its own claim after a lost answer. */
  readonly ownerToken: string
  /** Ascending, without holes; only the last may be open. */
  readonly segments: readonly LogSegment[]
  readonly truncatedBefore: number
  /** Log time at the last recorded end: a later owner's entries are never earlier. */
  readonly lastTimeMs: number
  /** Newest first, at most two. */
  readonly snapshots: readonly LogSnapshot[]
}

/** What a change came to: a record to write, or the reason why there is nothing to write. */
export type Change =
  | { readonly type: 'write'; readonly record: LogRecord }
  /** It is in the record already. */
  | { readonly type: 'done' }
  /** A newer owner's epoch is in the record. */
  | { readonly type: 'lost'; readonly epoch: number }
  /** Something newer makes it pointless. */
  | { readonly type: 'superseded' }

export const noToken = '00000000-0000-0000-0000-000000000000'

/** Snapshots kept: one that cannot be read must not be the end of the log. */
export const snapshotsKept = 2

export function newLog({ name, logId }: Pick<LogRecord, 'name' | 'logId'>): LogRecord {
  return {
    name,
    logId,
    ownerEpoch: 0,
    ownerId: '',
    ownerToken: noToken,
    segments: [],
    truncatedBefore: 0,
    lastTimeMs: 0,
    snapshots: [],
  }
}

/**
 * The first position after everything whose end is recorded, or undefined while the last segment is
 * open.
 */
export function endOf(record: LogRecord): number | undefined {
  const last = record.segments.at(-1)
  return last ? last.endPosition : record.truncatedBefore
}

/**
 * Becoming the owner: from here on, every change of an older owner is lost. With `ifEpoch`, only
 * after the owner of that epoch: of two who want to follow it, one does (E4).
 */
export function claim(
  record: LogRecord,
  owner: { id: string; token: string; ifEpoch?: number | undefined },
): Change {
  if (record.ownerToken === owner.token) return { type: 'done' }
  const { ifEpoch = record.ownerEpoch } = owner
  if (record.ownerEpoch !== ifEpoch) return { type: 'lost', epoch: record.ownerEpoch }
  return {
    type: 'write',
    record: {
      ...record,
      ownerEpoch: record.ownerEpoch + 1,
      ownerId: owner.id,
      ownerToken: owner.token,
    },
  }
}

export interface SegmentEnd {
  readonly ledgerId: bigint
  readonly endPosition: number
  /** Log time of its last entry, or 0 when it has none. */
  readonly timeMs: number
}

export function recordEnd(record: LogRecord, epoch: number, end: SegmentEnd): Change {
  if (record.ownerEpoch !== epoch) return { type: 'lost', epoch: record.ownerEpoch }
  const segment = record.segments.find(({ ledgerId }) => ledgerId === end.ledgerId)
  if (!segment) return { type: 'superseded' }
  if (segment.endPosition !== undefined) {
    invariant(segment.endPosition === end.endPosition, 'a segment has one end', { segment, end })
    return { type: 'done' }
  }
  return { type: 'write', record: withEnd(record, end) }
}

/**
 * A new open segment, together with the end of the one before it if that is given. Empty closed
 * segments at the tail are dropped: many restarts must not make a long record. Their ledgers have
 * an older epoch, so they are collected.
 */
export function appendSegment(
  record: LogRecord,
  segment: { ledgerId: bigint; epoch: number },
  end?: SegmentEnd,
): Change {
  if (record.ownerEpoch !== segment.epoch) return { type: 'lost', epoch: record.ownerEpoch }
  if (record.segments.some(({ ledgerId }) => ledgerId === segment.ledgerId)) return { type: 'done' }
  const ended = end ? withEnd(record, end) : record
  const firstPosition = endOf(ended)
  invariant(firstPosition !== undefined, 'a segment begins where a recorded one ends', { segment })
  const seq = (ended.segments.at(-1)?.seq ?? lastSeqOf(ended)) + 1
  const kept = ended.segments.filter((old) => old.endPosition !== old.firstPosition)
  const opened: LogSegment = { ...segment, seq, firstPosition, endPosition: undefined }
  return { type: 'write', record: { ...ended, segments: [...kept, opened] } }
}

// Truncation keeps at least the last segment, so there is a number to go on from, except in a log
// that never had one.
function lastSeqOf(record: LogRecord): number {
  invariant(record.truncatedBefore === 0, 'a truncated log keeps its last segment', { record })
  return 0
}

function withEnd(record: LogRecord, end: SegmentEnd): LogRecord {
  const segments = record.segments.map((segment) => {
    if (segment.ledgerId !== end.ledgerId) return segment
    invariant(end.endPosition >= segment.firstPosition, 'a segment does not end before it begins', {
      segment,
      end,
    })
    return { ...segment, endPosition: end.endPosition }
  })
  return { ...record, segments, lastTimeMs: Math.max(record.lastTimeMs, end.timeMs) }
}

export interface Truncation {
  readonly change: Change
  /** Where the log begins afterwards. */
  readonly oldest: number
  /** Ledgers that the record no longer names: to be deleted once the change is written. */
  readonly dropped: readonly bigint[]
}

/**
 * Whole segments that lie before `position`, never what the oldest kept snapshot still needs, never
 * the last segment.
 */
export function truncate(record: LogRecord, position: number): Truncation {
  const floor = Math.min(position, record.snapshots.at(-1)?.position ?? position)
  const kept = record.segments.filter(
    ({ endPosition }, index) =>
      endPosition === undefined || endPosition > floor || index === record.segments.length - 1,
  )
  const dropped = record.segments.filter((segment) => !kept.includes(segment))
  const oldest = kept[0]?.firstPosition ?? record.truncatedBefore
  if (dropped.length === 0) return { change: { type: 'done' }, oldest, dropped: [] }
  return {
    change: { type: 'write', record: { ...record, segments: kept, truncatedBefore: oldest } },
    oldest,
    dropped: dropped.map(({ ledgerId }) => ledgerId),
  }
}

/**
 * The single point at which a snapshot exists. Only under the epoch its ledger was made in: else it
 * may be collected.
 */
export function publishSnapshot(record: LogRecord, snapshot: LogSnapshot): Change {
  if (record.snapshots.some(({ ledgerId }) => ledgerId === snapshot.ledgerId)) {
    return { type: 'done' }
  }
  if (record.ownerEpoch !== snapshot.epoch) return { type: 'lost', epoch: record.ownerEpoch }
  const newest = record.snapshots[0]
  if (newest && newest.position >= snapshot.position) return { type: 'superseded' }
  const snapshots = [snapshot, ...record.snapshots].slice(0, snapshotsKept)
  return { type: 'write', record: { ...record, snapshots } }
}

/**
 * True when a ledger of this log that says `epoch` may be deleted: its creator can no longer put it
 * into the record.
 */
export function isOrphan(record: LogRecord, ledger: { ledgerId: bigint; epoch: number }): boolean {
  const named = [...record.segments, ...record.snapshots].some(
    ({ ledgerId }) => ledgerId === ledger.ledgerId,
  )
  return !named && ledger.epoch < record.ownerEpoch
}
