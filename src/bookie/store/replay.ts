// What a record means when it is met again: at start-up, and when the segment that holds it is
// given back.

import { readInt64 } from '../../wire/int64.ts'
import { ledgerFlags, type LedgerIndex } from '../index/ledger-index.ts'
import { type RecordPlace, type RecordType, recordTypes } from '../journal/contract.ts'
import { storedLac } from './entry-fields.ts'

/** In place of a segment's number: whichever the journal goes on with behind the replay. */
export const replayedSegment = 0

export interface ReplayedRecord {
  readonly index: LedgerIndex
  readonly type: RecordType
  readonly place: RecordPlace
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** The owner's clock, for how long a tombstone is remembered. */
  readonly second: number
  /** Entries that live in a segment slot. */
  count(slot: number, entries: number): void
  warn(facts: object, message: string): void
}

/**
 * Takes one record into the index. Records come in the order of their sequence numbers; a key or a
 * fence may follow entries of its ledger, since it is written again when its first segment goes.
 */
export function replayRecord(record: ReplayedRecord): void {
  const { index, type, bytes, start } = record
  const high = bytes.readUInt32BE(start)
  const low = bytes.readUInt32BE(start + 4)
  const found = index.find(high, low)
  const ledger = found === 0 ? index.create(high, low) : found
  if (type === recordTypes.tombstone) {
    const burial = { second: record.second, segment: replayedSegment }
    index.bury(ledger, burial, (slot) => record.count(slot, -1))
    return
  }
  if (index.has(ledger, ledgerFlags.deleted)) return
  switch (type) {
    case recordTypes.entry:
      replayEntry(ledger, record)
      return
    case recordTypes.ledgerKey:
      replayKey(ledger, record)
      return
    case recordTypes.fence:
      replayKey(ledger, record)
      index.mark(ledger, ledgerFlags.fenced)
      index.mark(ledger, ledgerFlags.fenceRecorded)
      return
    case recordTypes.explicitLac: {
      const lac = storedLac(bytes, start + 8)
      if (lac >= index.explicitLacValue(ledger)) {
        index.setExplicitLac(ledger, lac, record.place)
        index.raiseLac(ledger, lac)
      }
      return
    }
    case recordTypes.batchEnd:
  }
}

/**
 * Whether a key, fence, explicit LAC or tombstone must be written again before its segment goes:
 * the ledger's record in the index, or 0.
 */
export function stillNeeded(
  index: LedgerIndex,
  record: { type: RecordType; bytes: Buffer; start: number },
): number {
  const { type, bytes, start } = record
  const ledger = index.find(bytes.readUInt32BE(start), bytes.readUInt32BE(start + 4))
  if (ledger === 0) return 0
  const deleted = index.has(ledger, ledgerFlags.deleted)
  if (type === recordTypes.tombstone) return deleted ? ledger : 0
  if (deleted) return 0
  if (type === recordTypes.ledgerKey) return ledger
  if (type === recordTypes.fence) return index.has(ledger, ledgerFlags.fenced) ? ledger : 0
  if (type !== recordTypes.explicitLac) return 0
  const lac = storedLac(bytes, start + 8)
  return lac === index.explicitLacValue(ledger) ? ledger : 0
}

function replayEntry(ledger: number, record: ReplayedRecord): void {
  const { index, bytes, start, place } = record
  const entryId = readInt64(bytes, start + 8)
  const held = { slot: 0, offset8: 0 }
  // Written anew after an unclean end, and still in its first place: the first is kept.
  if (index.lookup(ledger, entryId, held)) return
  index.insert(ledger, entryId, place)
  index.raiseLac(ledger, storedLac(bytes, start + 16))
  record.count(place.slot, 1)
}

function replayKey(ledger: number, record: ReplayedRecord): void {
  const { index, bytes, start, end } = record
  const range = { start: start + 8, end }
  if (!index.hasKey(ledger)) {
    index.setKey(ledger, bytes, range)
  } else if (!index.keyMatches(ledger, bytes, range)) {
    record.warn(
      { ledgerId: bytes.readBigInt64BE(start) },
      'the journal holds two keys for one ledger: the first counts',
    )
  }
}
