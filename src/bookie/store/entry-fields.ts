// What a bookie reads of an entry (wire 4.1) and of the ids in front of other records: offsets 0,
// 8, 16 and 24.
//
//  0           8          16              24         32
//  +-----------+----------+---------------+----------+--------+---------
//  | ledger id | entry id | last confirmed| length   | digest | payload
//  +-----------+----------+---------------+----------+--------+---------

import { noEntryId } from '../../wire/bookie-messages.ts'
import { readInt64 } from '../../wire/int64.ts'
import { maxStoredId } from '../index/ledger-index.ts'

/** Shorter ones hold no last confirmed position and are refused (wire 1.6). */
export const entryHeaderBytes = 24

/** The longest digest ends here: what follows is payload whatever the digest's type. */
const payloadForSure = 52

/** A last confirmed position as the index keeps it: −1 for none, at most 48 bits. */
export function storedLac(bytes: Buffer, at: number): number {
  return Math.min(Math.max(readInt64(bytes, at), noEntryId), maxStoredId - 1)
}

/** True when the 64-bit number there is negative. */
export function isNegativeAt(bytes: Buffer, at: number): boolean {
  return (bytes[at] ?? 0) > 0x7f
}

/** Whether the id there fits what the index stores: not negative, at most 48 bits. */
export function isStoredId(bytes: Buffer, at: number): boolean {
  return bytes[at] === 0 && bytes[at + 1] === 0
}

/**
 * Whether two copies are the same entry: recovery and re-replication repackage one with another
 * last confirmed position and so another digest (wire 4.6), and its type is not known here. Size,
 * length field and everything from byte 52 must agree.
 */
export function sameEntry(
  held: Buffer,
  bytes: Buffer,
  range: { start: number; end: number },
): boolean {
  const size = range.end - range.start
  if (held.length !== size) return false
  const lengthEnd = Math.min(32, size)
  if (bytes.compare(held, 24, lengthEnd, range.start + 24, range.start + lengthEnd) !== 0) {
    return false
  }
  if (size <= payloadForSure) return true
  return bytes.compare(held, payloadForSure, size, range.start + payloadForSure, range.end) === 0
}
