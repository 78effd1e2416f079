// The payload of one ledger entry of a log: a header and its records. Big-endian.
//
//   0         1       2      4       8               16       24
//   +---------+-------+------+-------+---------------+--------+--------------------------------+
//   | version | flags | zero | count | firstPosition | timeMs | { length u32 · bytes } × count |
//   +---------+-------+------+-------+---------------+--------+--------------------------------+
//
// `timeMs` is log time: the writer's clock, never earlier than the entry before it. The ledger's
// digest covers the bytes, so there is no checksum here. The record at index i has position
// firstPosition + i.

import { QuireError } from '../../../errors.ts'
import { invariant } from '../../../invariant.ts'

export const entryHeaderBytes = 24
export const recordHeaderBytes = 4
const version = 1

export interface LogEntryHeader {
  readonly firstPosition: number
  readonly count: number
  readonly timeMs: number
}

export interface LogEntry extends LogEntryHeader {
  /** Views of the payload. */
  readonly records: readonly Buffer[]
}

/** Gathers records into one payload; each is copied once, when it is added. */
export class LogEntryBuilder {
  readonly firstPosition: number
  #bytes: Buffer
  #length = entryHeaderBytes
  #count = 0

  constructor({ firstPosition, capacity }: { firstPosition: number; capacity: number }) {
    this.firstPosition = firstPosition
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(capacity, entryHeaderBytes))
  }

  get count(): number {
    return this.#count
  }

  get endPosition(): number {
    return this.firstPosition + this.#count
  }

  /** Bytes of the payload so far. */
  get length(): number {
    return this.#length
  }

  add(record: Uint8Array): void {
    const needed = this.#length + recordHeaderBytes + record.length
    if (needed > this.#bytes.length) this.#grow(needed)
    this.#bytes.writeUInt32BE(record.length, this.#length)
    this.#bytes.set(record, this.#length + recordHeaderBytes)
    this.#length = needed
    this.#count += 1
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }

  /** The payload, final: nothing may be added afterwards. */
  seal(timeMs: number): Buffer {
    invariant(this.#count > 0, 'an entry holds a record')
    const bytes = this.#bytes
    bytes.writeUInt8(version, 0)
    bytes.writeUInt8(0, 1)
    bytes.writeUInt16BE(0, 2)
    bytes.writeUInt32BE(this.#count, 4)
    bytes.writeBigUInt64BE(BigInt(this.firstPosition), 8)
    bytes.writeBigUInt64BE(BigInt(timeMs), 16)
    return bytes.subarray(0, this.#length)
  }
}

/**
 * Fails with QUIRE_LOG_CORRUPT: the digest was right, so a stranger wrote this entry, or a newer
 * version.
 */
export function decodeEntryHeader(payload: Buffer): LogEntryHeader {
  if (payload.length < entryHeaderBytes) throw corrupt('it is shorter than its header')
  if (payload[0] !== version) throw corrupt(`it has version ${payload[0]}, this program knows 1`)
  const header = {
    firstPosition: Number(payload.readBigUInt64BE(8)),
    count: payload.readUInt32BE(4),
    timeMs: Number(payload.readBigUInt64BE(16)),
  }
  if (header.count === 0) throw corrupt('it holds no record')
  if (!Number.isSafeInteger(header.firstPosition + header.count)) {
    throw corrupt('its position is not a safe integer')
  }
  return header
}

export function decodeEntry(payload: Buffer): LogEntry {
  const header = decodeEntryHeader(payload)
  const records: Buffer[] = []
  let at = entryHeaderBytes
  for (let index = 0; index < header.count; index++) {
    if (at + recordHeaderBytes > payload.length) throw corrupt('it ends too early')
    const from = at + recordHeaderBytes
    at = from + payload.readUInt32BE(at)
    if (at > payload.length) throw corrupt('a record is longer than the rest of it')
    records.push(payload.subarray(from, at))
  }
  if (at !== payload.length) throw corrupt('bytes follow its last record')
  return { ...header, records }
}

function corrupt(what: string): QuireError {
  return new QuireError(
    'QUIRE_LOG_CORRUPT',
    `an entry of a log cannot be understood: ${what}; it was not written by this version of Quire`,
  )
}
