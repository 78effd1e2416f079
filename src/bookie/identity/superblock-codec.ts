// The superblock's bytes (docs/format/superblock.md): who this bookie is, and which segments live.

import { asBuffer, ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { crc32c } from '../../wire/crc32c.ts'
import { readInt64, readU32, writeInt64, writeU32 } from '../../wire/int64.ts'
import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'

/** A segment that lives: what the disk must hold. */
export interface ManifestSegment {
  readonly slot: number
  /** Grows with each use of a file. */
  readonly sequence: number
  /** Sixteen random bytes, new with each use of a file. */
  readonly uuid: Buffer
  /** Where a complete segment ends; 0: it may still be written to. */
  readonly sealedBytes: number
  /** Records in it, once it is sealed; else 0. */
  readonly firstSequence: number
  readonly lastSequence: number
}

export interface Superblock {
  /** Grows with each superblock written. */
  readonly sequence: number
  readonly clusterId: string
  readonly bookieId: string
  /** Grows by one with each start. */
  readonly incarnation: number
  /** Nothing was written after this superblock. */
  readonly isClean: boolean
  /** Every record up to this one was durable when this was written. */
  readonly durableSequence: number
  /** The last record that is, or was, in a sealed segment. */
  readonly sealedSequence: number
  /** Sequence number of the next segment. */
  readonly nextSegment: number
  /** Random ids of the ledger directories. */
  readonly ledgerDirectories: readonly string[]
  /** By sequence number. */
  readonly segments: readonly ManifestSegment[]
}

const magic = Buffer.from('QUIRESUP')
const formatVersion = 1
const headBytes = 32
const textBytesMax = 512
/** Written in whole blocks, and no file is smaller than this, so that it seldom has to grow. */
const blockBytes = 4096
export const superblockBytesMin: number = 4 * blockBytes

//  0          8         12        16          24                28         32
//  +----------+---------+---------+-----------+-----------------+----------+-----------
//  | QUIRESUP | format  | payload | sequence  | payload         | head     | payload
//  |          | version | bytes   | (i64)     | checksum        | checksum |
//  +----------+---------+---------+-----------+-----------------+----------+-----------

export function encodeSuperblock(block: Superblock): Buffer {
  const writer = new ByteWriter(1024)
    .utf8(block.clusterId)
    .utf8(block.bookieId)
    .safeInteger(block.incarnation)
    .u32(block.isClean ? 1 : 0)
    .safeInteger(block.durableSequence)
    .safeInteger(block.sealedSequence)
    .safeInteger(block.nextSegment)
    .u32(block.ledgerDirectories.length)
  for (const id of block.ledgerDirectories) writer.utf8(id)
  writer.u32(block.segments.length)
  for (const segment of block.segments) {
    invariant(segment.uuid.length === 16, 'a segment has a uuid of 16 bytes')
    writer
      .u32(segment.slot)
      .safeInteger(segment.sequence)
      .raw(segment.uuid)
      .u32(segment.sealedBytes)
      .safeInteger(segment.firstSequence)
      .safeInteger(segment.lastSequence)
  }
  const payload = writer.finish()
  const size = Math.ceil((headBytes + payload.length) / blockBytes) * blockBytes
  const bytes = Buffer.alloc(Math.max(size, superblockBytesMin))
  magic.copy(bytes, 0)
  writeU32(bytes, 8, formatVersion)
  writeU32(bytes, 12, payload.length)
  writeInt64(bytes, 16, block.sequence)
  writeU32(bytes, 24, crc32c(payload, 0, payload.length))
  writeU32(bytes, 28, crc32c(bytes, 0, 28))
  payload.copy(bytes, headBytes)
  return bytes
}

/** Undefined for what does not verify. QUIRE_UNSUPPORTED for a format of a later release. */
export function decodeSuperblock(input: Uint8Array): Superblock | undefined {
  if (input.length < headBytes) return undefined
  const bytes = asBuffer(input)
  if (bytes.compare(magic, 0, magic.length, 0, magic.length) !== 0) return undefined
  if (readU32(bytes, 28) !== crc32c(bytes, 0, 28)) return undefined
  const version = readU32(bytes, 8)
  if (version !== formatVersion) {
    const text = `the superblock has format ${version}, this release knows ${formatVersion}`
    throw new QuireError('QUIRE_UNSUPPORTED', `${text}: start a newer release on this directory`)
  }
  const end = headBytes + readU32(bytes, 12)
  if (end > bytes.length || crc32c(bytes, headBytes, end) !== readU32(bytes, 24)) return undefined
  return readPayload(new ByteReader(bytes, headBytes, end), readInt64(bytes, 16))
}

/** The checksum was right: what is malformed now was written so, and throws. */
function readPayload(reader: ByteReader, sequence: number): Superblock {
  return {
    sequence,
    clusterId: reader.utf8(textBytesMax),
    bookieId: reader.utf8(textBytesMax),
    incarnation: reader.safeInteger(),
    isClean: (reader.u32() & 1) !== 0,
    durableSequence: reader.safeInteger(),
    sealedSequence: reader.safeInteger(),
    nextSegment: reader.safeInteger(),
    ledgerDirectories: Array.from({ length: reader.u32() }, () => reader.utf8(textBytesMax)),
    segments: Array.from({ length: reader.u32() }, () => ({
      slot: reader.u32(),
      sequence: reader.safeInteger(),
      uuid: Buffer.from(reader.raw(16)),
      sealedBytes: reader.u32(),
      firstSequence: reader.safeInteger(),
      lastSequence: reader.safeInteger(),
    })),
  }
}
