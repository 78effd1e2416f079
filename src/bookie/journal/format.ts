// The bytes of a journal segment (docs/format/journal.md): a header block, then batches of records.
// Every checksum is seeded by the segment's uuid and the record's offset, so that a record of an
// earlier use of the file, or one that landed elsewhere, does not verify.

import { asBuffer, ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { crc32c, crc32cJavascript } from '../../wire/crc32c.ts'
import { readInt64, readU32, writeInt64, writeU32 } from '../../wire/int64.ts'
import { QuireError } from '../../errors.ts'
import { recordTypes, type RecordType } from './contract.ts'

/** Batches begin at multiples of this, and so does the first behind the header. */
export const blockBytes = 4096
export const recordHeaderBytes = 32
export const batchEndPayloadBytes = 32
export const batchEndBytes: number = recordHeaderBytes + batchEndPayloadBytes
/** What of a payload has a checksum of its own: the ids of an entry can be trusted without it. */
export const prefixBytes = 32
/** Offsets are 32-bit integers in units of bytes. */
export const segmentBytesMax: number = 1024 * 1024 * 1024
export const segmentBytesMin: number = 16 * blockBytes
/** Longest id in a header block. */
export const idBytesMax = 128

const recordMagic = 0x5152_4543
const headerMagic = Buffer.from('QUIRESEG')
const headerCrcAt = 508
const formatVersion = 1
const types: readonly (RecordType | undefined)[] = Array.from({ length: 256 }, (_, number) =>
  Object.values(recordTypes).find((type) => type === number),
)

/** What a record takes: header, payload, and zeros to a multiple of 8. */
export function recordBytes(payloadBytes: number): number {
  return (recordHeaderBytes + payloadBytes + 7) & ~7
}

export function alignToBlock(offset: number): number {
  return (offset + blockBytes - 1) & -blockBytes
}

/** What the checksums of a segment start from; the offset of a record is mixed in. */
export function seedOf(uuid: Uint8Array): number {
  return crc32c(uuid, 0, uuid.length)
}

function recordSeed(seed: number, at: number): number {
  return (seed ^ (at >>> 3)) >>> 0
}

//  0       4      5       8                16        20         24         28         32
//  +-------+------+-------+----------------+---------+----------+----------+----------+---------
//  | magic | type | zeros | sequence (i64) | payload | prefix   | payload  | header   | payload
//  | QREC  |      |       |                | length  | checksum | checksum | checksum |
//  +-------+------+-------+----------------+---------+----------+----------+----------+---------

/**
 * Writes source[start, end) as a record at offset `at`; returns the offset behind it. The checksums
 * are those of the source, so that a bad copy is found.
 */
export function writeRecord(
  target: Buffer,
  at: number,
  head: { readonly seed: number; readonly sequence: number },
  type: RecordType,
  source: Buffer,
  start: number,
  end: number,
): number {
  const seed = recordSeed(head.seed, at)
  const prefixEnd = Math.min(end, start + prefixBytes)
  const prefixCrc = crc32c(source, start, prefixEnd, seed)
  const payloadCrc = prefixEnd === end ? prefixCrc : crc32c(source, prefixEnd, end, prefixCrc)
  writeU32(target, at, recordMagic)
  writeU32(target, at + 4, type << 24)
  writeInt64(target, at + 8, head.sequence)
  writeU32(target, at + 16, end - start)
  writeU32(target, at + 20, prefixCrc)
  writeU32(target, at + 24, payloadCrc)
  writeU32(target, at + 28, crc32cJavascript(target, at, at + 28, seed))
  source.copy(target, at + recordHeaderBytes, start, end)
  const behind = at + recordBytes(end - start)
  for (let zero = at + recordHeaderBytes + end - start; zero < behind; zero++) target[zero] = 0
  return behind
}

/** Whether a record's header verifies at this offset, with all of its payload before `limit`. */
export function isRecordAt(bytes: Buffer, at: number, limit: number, seed: number): boolean {
  if (at + recordHeaderBytes > limit || !isHeaderAt(bytes, at, seed)) return false
  return payloadLengthAt(bytes, at) <= limit - at - recordHeaderBytes
}

/** Whether 32 bytes are a record's header; `offset` as in `payloadStateAt`. */
export function isHeaderAt(bytes: Buffer, at: number, seed: number, offset: number = at): boolean {
  if (readU32(bytes, at) !== recordMagic) return false
  const crc = crc32cJavascript(bytes, at, at + 28, recordSeed(seed, offset))
  return crc === readU32(bytes, at + 28) && types[bytes[at + 4] ?? 0] !== undefined
}

/** Only of a record that `isRecordAt`. */
export function typeAt(bytes: Buffer, at: number): RecordType {
  return types[bytes[at + 4] ?? 0] ?? recordTypes.batchEnd
}

export function sequenceAt(bytes: Buffer, at: number): number {
  return readInt64(bytes, at + 8)
}

export function payloadLengthAt(bytes: Buffer, at: number): number {
  return readU32(bytes, at + 16)
}

export const payloadStates = { whole: 0, holed: 1, broken: 2 } as const
export type PayloadState = (typeof payloadStates)[keyof typeof payloadStates]

/**
 * How much of a payload verifies: all of it, the first 32 bytes, or less. `offset` is the record's
 * in its file, where `bytes` may begin elsewhere.
 */
export function payloadStateAt(
  bytes: Buffer,
  at: number,
  seed: number,
  offset: number = at,
): PayloadState {
  const start = at + recordHeaderBytes
  const end = start + payloadLengthAt(bytes, at)
  const prefixEnd = Math.min(end, start + prefixBytes)
  const prefixCrc = crc32c(bytes, start, prefixEnd, recordSeed(seed, offset))
  if (prefixCrc !== readU32(bytes, at + 20)) return payloadStates.broken
  const payloadCrc = prefixEnd === end ? prefixCrc : crc32c(bytes, prefixEnd, end, prefixCrc)
  return payloadCrc === readU32(bytes, at + 24) ? payloadStates.whole : payloadStates.holed
}

/** Continues the checksum over a batch's header checksums. */
export function addHeader(crc: number, bytes: Buffer, at: number): number {
  return crc32cJavascript(bytes, at + 28, at + 32, crc)
}

//  0                    8       12          16                    24       28
//  +--------------------+-------+-----------+---------------------+--------+----------+
//  | first sequence     | count | headers'  | durable sequence    | start  | reserved |
//  | of the batch (i64) |       | checksum  | when it closed (i64)| offset |          |
//  +--------------------+-------+-----------+---------------------+--------+----------+

export interface BatchEnd {
  readonly first: number
  readonly count: number
  readonly headersCrc: number
  readonly durable: number
  readonly start: number
}

export function writeBatchEnd(scratch: Buffer, batch: BatchEnd): void {
  writeInt64(scratch, 0, batch.first)
  writeU32(scratch, 8, batch.count)
  writeU32(scratch, 12, batch.headersCrc)
  writeInt64(scratch, 16, batch.durable)
  writeU32(scratch, 24, batch.start)
  writeU32(scratch, 28, 0)
}

/** The batch end at `at`, if a record of that kind verifies there. */
export function readBatchEnd(bytes: Buffer, at: number, seed: number): BatchEnd | undefined {
  if (typeAt(bytes, at) !== recordTypes.batchEnd) return undefined
  if (payloadLengthAt(bytes, at) !== batchEndPayloadBytes) return undefined
  if (payloadStateAt(bytes, at, seed) !== payloadStates.whole) return undefined
  const payload = at + recordHeaderBytes
  return {
    first: readInt64(bytes, payload),
    count: readU32(bytes, payload + 8),
    headersCrc: readU32(bytes, payload + 12),
    durable: readInt64(bytes, payload + 16),
    start: readU32(bytes, payload + 24),
  }
}

export interface SegmentHeader {
  readonly segmentBytes: number
  readonly sequence: number
  readonly uuid: Buffer
  /** The segment before it, zeros if there is none. */
  readonly previous: Buffer
  readonly incarnation: number
  /** Batches written before the superblock named the segment: a tail written anew at start. */
  readonly carriedBatches: number
  readonly clusterId: string
  readonly bookieId: string
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const fields = new ByteWriter(blockBytes)
    .raw(headerMagic)
    .u32(formatVersion)
    .u32(header.segmentBytes)
    .safeInteger(header.sequence)
    .raw(header.uuid)
    .raw(header.previous)
    .safeInteger(header.incarnation)
    .u32(header.carriedBatches)
    .utf8(header.clusterId)
    .utf8(header.bookieId)
    .finish()
  const block = Buffer.alloc(blockBytes)
  fields.copy(block, 0, 0, headerCrcAt)
  writeU32(block, headerCrcAt, crc32c(block, 0, headerCrcAt))
  return block
}

/** Undefined for anything that is no header: garbage, zeros, too short. */
export function decodeSegmentHeader(bytes: Uint8Array): SegmentHeader | undefined {
  if (bytes.length < headerCrcAt + 4) return undefined
  const block = asBuffer(bytes)
  if (block.compare(headerMagic, 0, headerMagic.length, 0, headerMagic.length) !== 0) {
    return undefined
  }
  if (readU32(block, headerCrcAt) !== crc32c(block, 0, headerCrcAt)) return undefined
  const reader = new ByteReader(block, headerMagic.length, headerCrcAt)
  const version = reader.u32()
  if (version !== formatVersion) {
    const text = `a journal segment has format ${version}, this release knows ${formatVersion}`
    throw new QuireError('QUIRE_UNSUPPORTED', `${text}: start a newer release on this directory`)
  }
  return {
    segmentBytes: reader.u32(),
    sequence: reader.safeInteger(),
    uuid: Buffer.from(reader.raw(16)),
    previous: Buffer.from(reader.raw(16)),
    incarnation: reader.safeInteger(),
    carriedBatches: reader.u32(),
    clusterId: reader.utf8(idBytesMax),
    bookieId: reader.utf8(idBytesMax),
  }
}
