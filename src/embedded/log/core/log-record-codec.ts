// The bytes of a log's record, at /quire/logs/NAME. Big-endian; numbers above 2^53 do not occur.
//
//   0      4       8         10      12           20                28
//   +------+-------+---------+-------+------------+-----------------+------------+
//   | QLOG | crc32 | version | flags | ownerEpoch | truncatedBefore | lastTimeMs | …
//   +------+-------+---------+-------+------------+-----------------+------------+
//   36      52           68
//   +-------+------------+----------------------------------------------
//   | logId | ownerToken | name, ownerId: each u16 length and UTF-8 · …
//   +-------+------------+----------------------------------------------
//   … segments: u32 count, each { seq u64 · ledgerId i64 · firstPosition u64 ·
//     endPosition u64, all ones while open · epoch u64 }
//   … snapshots: u8 count, each { position u64 · ledgerId i64 · bytes u64 · crc u32 · epoch u64 ·
//     format u16 length and UTF-8 }
//
// crc32 covers everything behind it. An unknown version is refused: guessing at a log's segments
// loses data.

import { crc32 } from 'node:zlib'
import { QuireError } from '../../../errors.ts'
import type { LogRecord, LogSegment, LogSnapshot } from './log-record.ts'

const magic = 0x514c4f47
const version = 1
const fixedBytes = 68
const segmentBytes = 40
const snapshotFixedBytes = 38

export function encodeLogRecord(record: LogRecord): Buffer {
  const name = Buffer.from(record.name)
  const owner = Buffer.from(record.ownerId)
  const formats = record.snapshots.map(({ format }) => Buffer.from(format))
  const size =
    fixedBytes +
    (2 + name.length + 2 + owner.length) +
    (4 + segmentBytes * record.segments.length) +
    formats.reduce((sum, format) => sum + snapshotFixedBytes + format.length, 1)
  const out = new Output(Buffer.alloc(size))
  out.u32(magic).u32(0).u16(version).u16(0)
  out.u64(record.ownerEpoch).u64(record.truncatedBefore).u64(record.lastTimeMs)
  out.uuid(record.logId).uuid(record.ownerToken).text(name).text(owner)
  out.u32(record.segments.length)
  for (const segment of record.segments) {
    out.u64(segment.seq).i64(segment.ledgerId).u64(segment.firstPosition)
    out.optional(segment.endPosition).u64(segment.epoch)
  }
  out.u8(record.snapshots.length)
  for (const [index, snapshot] of record.snapshots.entries()) {
    out.u64(snapshot.position).i64(snapshot.ledgerId).u64(snapshot.bytes)
    out
      .u32(snapshot.crc)
      .u64(snapshot.epoch)
      .text(formats[index] ?? Buffer.alloc(0))
  }
  out.bytes.writeUInt32BE(crc32(out.bytes.subarray(8)), 4)
  return out.bytes
}

/** Fails with QUIRE_BAD_METADATA. */
export function decodeLogRecord(data: Uint8Array, name: string): LogRecord {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  try {
    return decode(bytes)
  } catch (cause) {
    throw new QuireError(
      'QUIRE_BAD_METADATA',
      `the record of the log ${name} cannot be read; look at its bytes with a metadata tool ` +
        'before anything else writes it',
      { cause, facts: { name, bytes: bytes.length } },
    )
  }
}

function decode(bytes: Buffer): LogRecord {
  const input = new Input(bytes)
  if (input.u32() !== magic) throw new RangeError('it does not begin with QLOG')
  if (input.u32() !== crc32(bytes.subarray(8))) throw new RangeError('its checksum differs')
  const found = input.u16()
  if (found !== version) throw new RangeError(`it has version ${found}, this program knows 1`)
  input.u16()
  const ownerEpoch = input.u64()
  const truncatedBefore = input.u64()
  const lastTimeMs = input.u64()
  const logId = input.uuid()
  const ownerToken = input.uuid()
  const name = input.text()
  const ownerId = input.text()
  const segments = Array.from({ length: input.u32() }, () => segmentFrom(input))
  const snapshots = Array.from({ length: input.u8() }, () => snapshotFrom(input))
  return {
    name,
    logId,
    ownerEpoch,
    ownerId,
    ownerToken,
    segments,
    truncatedBefore,
    lastTimeMs,
    snapshots,
  }
}

function segmentFrom(input: Input): LogSegment {
  const seq = input.u64()
  const ledgerId = input.i64()
  const firstPosition = input.u64()
  const endPosition = input.optional()
  return { seq, ledgerId, firstPosition, endPosition, epoch: input.u64() }
}

function snapshotFrom(input: Input): LogSnapshot {
  const position = input.u64()
  const ledgerId = input.i64()
  const bytes = input.u64()
  const crc = input.u32()
  const epoch = input.u64()
  return { position, ledgerId, bytes, crc, epoch, format: input.text() }
}

class Output {
  readonly bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  u8(value: number): this {
    this.#at = this.bytes.writeUInt8(value, this.#at)
    return this
  }

  u16(value: number): this {
    this.#at = this.bytes.writeUInt16BE(value, this.#at)
    return this
  }

  u32(value: number): this {
    this.#at = this.bytes.writeUInt32BE(value, this.#at)
    return this
  }

  u64(value: number): this {
    this.#at = this.bytes.writeBigUInt64BE(BigInt(value), this.#at)
    return this
  }

  i64(value: bigint): this {
    this.#at = this.bytes.writeBigInt64BE(value, this.#at)
    return this
  }

  optional(value: number | undefined): this {
    return value === undefined ? this.i64(-1n) : this.u64(value)
  }

  uuid(value: string): this {
    const raw = Buffer.from(value.replaceAll('-', ''), 'hex')
    if (raw.length !== 16) throw new RangeError(`${value} is not a UUID`)
    this.#at += raw.copy(this.bytes, this.#at)
    return this
  }

  text(value: Buffer): this {
    this.u16(value.length)
    this.#at += value.copy(this.bytes, this.#at)
    return this
  }
}

class Input {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  #skip(count: number): number {
    const at = this.#at
    if (at + count > this.#bytes.length) throw new RangeError('it ends too early')
    this.#at += count
    return at
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#skip(1))
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#skip(2))
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#skip(4))
  }

  i64(): bigint {
    return this.#bytes.readBigInt64BE(this.#skip(8))
  }

  u64(): number {
    return safe(this.i64())
  }

  optional(): number | undefined {
    const value = this.i64()
    return value === -1n ? undefined : safe(value)
  }

  uuid(): string {
    const at = this.#skip(16)
    const hex = this.#bytes.toString('hex', at, at + 16)
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
  }

  text(): string {
    const length = this.u16()
    const at = this.#skip(length)
    return this.#bytes.toString('utf8', at, at + length)
  }
}

function safe(value: bigint): number {
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new RangeError(`${value} is not a safe integer`)
  }
  return Number(value)
}
