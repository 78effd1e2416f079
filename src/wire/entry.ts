// An entry as it is stored, and as add, read and last-entry bodies carry it (wire 4.1); and the
// explicit LAC packet (wire 4.4). All numbers are big-endian, signed 64 bits.
//
//   entry   0 ledger id | 8 entry id | 16 last add confirmed | 24 length | 32 digest | payload
//   packet  0 ledger id | 8 last add confirmed | 16 digest

import { entryMetadataBytes, lacMetadataBytes } from './digest.ts'
import type { EntryDigest } from './digest.ts'
import { readInt64, readU32, writeInt64, writeU32 } from './int64.ts'

export { entryMetadataBytes } from './digest.ts'

export interface EntryHeader {
  readonly ledgerHigh: number
  readonly ledgerLow: number
  readonly entryId: number
  /** The writer's last add confirmed when it sends the entry, not entry id − 1; −1: none. */
  readonly lac: number
  /** Payload bytes of the ledger up to and including this entry. */
  readonly length: number
}

/** Writes the 32 bytes before the digest. Returns the offset behind them. */
export function writeEntryHeader(target: Buffer, at: number, header: EntryHeader): number {
  const ids = writeU32(target, writeU32(target, at, header.ledgerHigh), header.ledgerLow)
  const lac = writeInt64(target, writeInt64(target, ids, header.entryId), header.lac)
  return writeInt64(target, lac, header.length)
}

/** Upper unsigned half of the ledger id of the entry, or LAC packet, at `start`. */
export function entryLedgerHigh(bytes: Uint8Array, start: number): number {
  return readU32(bytes, start)
}

/** Lower unsigned half of the same. */
export function entryLedgerLow(bytes: Uint8Array, start: number): number {
  return readU32(bytes, start + 4)
}

/** The id of the entry at `start`; an infinity if no safe integer holds it. */
export function entryIdOf(bytes: Uint8Array, start: number): number {
  return readInt64(bytes, start + 8)
}

/** The last add confirmed in the entry at `start`: −1 for none. */
export function entryLac(bytes: Uint8Array, start: number): number {
  return readInt64(bytes, start + 16)
}

/** The length field of the entry at `start`: payload bytes of the ledger up to and including it. */
export function entryLength(bytes: Uint8Array, start: number): number {
  return readInt64(bytes, start + 24)
}

/** Where the payload of the entry at `start` begins. */
export function entryPayloadStart(start: number, digest: EntryDigest): number {
  return start + entryMetadataBytes + digest.bytes
}

export interface ExpectedEntry {
  readonly digest: EntryDigest
  readonly ledgerHigh: number
  readonly ledgerLow: number
  /** −1: whichever it is, for reads of the last entry. */
  readonly entryId: number
}

/**
 * A reader's check (wire 4.2). `mismatch`: too short, or other bytes than were written;
 * `wrong-ids`: a good entry, but of another ledger or with another id. Either is a failed replica.
 */
export function verifyEntry(
  bytes: Buffer,
  start: number,
  end: number,
  expected: ExpectedEntry,
): 'ok' | 'mismatch' | 'wrong-ids' {
  if (!expected.digest.verify(bytes, start, end)) return 'mismatch'
  if (readU32(bytes, start) !== expected.ledgerHigh) return 'wrong-ids'
  if (readU32(bytes, start + 4) !== expected.ledgerLow) return 'wrong-ids'
  const anyId = expected.entryId === -1
  return anyId || entryIdOf(bytes, start) === expected.entryId ? 'ok' : 'wrong-ids'
}

export interface LacPacket {
  readonly ledgerHigh: number
  readonly ledgerLow: number
  readonly lac: number
}

/** The body of WRITE_LAC: exactly 16 bytes and the digest, in memory of its own. */
export function encodeLacPacket(packet: LacPacket, digest: EntryDigest): Buffer {
  const bytes = Buffer.alloc(lacMetadataBytes + digest.bytes)
  const at = writeU32(bytes, writeU32(bytes, 0, packet.ledgerHigh), packet.ledgerLow)
  writeInt64(bytes, at, packet.lac)
  digest.writeLac(bytes, 0)
  return bytes
}

/** The last add confirmed in a LAC packet, whoever wrote it: a bookie does not know the digest. */
export function lacPacketLac(bytes: Uint8Array, start: number): number {
  return readInt64(bytes, start + 8)
}

/** A reader's check of a LAC packet, as that of an entry (wire 4.4). */
export function verifyLacPacket(
  bytes: Buffer,
  start: number,
  end: number,
  expected: Pick<ExpectedEntry, 'digest' | 'ledgerHigh' | 'ledgerLow'>,
): 'ok' | 'mismatch' | 'wrong-ids' {
  if (!expected.digest.verifyLac(bytes, start, end)) return 'mismatch'
  const ours =
    readU32(bytes, start) === expected.ledgerHigh &&
    readU32(bytes, start + 4) === expected.ledgerLow
  return ours ? 'ok' : 'wrong-ids'
}
