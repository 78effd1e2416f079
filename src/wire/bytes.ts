// Reading and writing fields one after the other, big-endian, for messages that are not on a hot
// path. The reader never reads beyond its range: what is short, too long or not a number is
// QUIRE_BAD_FRAME. The writer grows, and hands its bytes out once.

import { isUtf8 } from 'node:buffer'
import { invariant } from '../invariant.ts'
import { QuireError } from '../errors.ts'
import { readInt64, readU32, writeInt64, writeU32 } from './int64.ts'

/** A view of the same bytes as a Buffer. */
export function asBuffer(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Appends fields to a buffer that grows. `u32` and `i32` write the same 32 bits. */
export class ByteWriter {
  #bytes: Buffer
  #length = 0

  /** `capacity`: bytes to begin with; it doubles as needed. */
  constructor(capacity: number = 256) {
    this.#bytes = Buffer.allocUnsafe(Math.max(capacity, 16))
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length
  }

  #grow(count: number): number {
    const at = this.#length
    this.#length = at + count
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }

  u8(value: number): this {
    const at = this.#grow(1)
    this.#bytes[at] = value
    return this
  }

  u16(value: number): this {
    const at = this.#grow(2)
    this.#bytes[at] = value >>> 8
    this.#bytes[at + 1] = value
    return this
  }

  u32(value: number): this {
    const at = this.#grow(4)
    writeU32(this.#bytes, at, value)
    return this
  }

  i32(value: number): this {
    return this.u32(value)
  }

  i64(value: bigint): this {
    const at = this.#grow(8)
    this.#bytes.writeBigInt64BE(BigInt.asIntN(64, value), at)
    return this
  }

  /** Signed 64 bits of a safe integer. */
  safeInteger(value: number): this {
    invariant(Number.isSafeInteger(value), 'a 64-bit field is a safe integer', { value })
    const at = this.#grow(8)
    writeInt64(this.#bytes, at, value)
    return this
  }

  /** The bytes alone, without a length. */
  raw(value: Uint8Array): this {
    const at = this.#grow(value.length)
    this.#bytes.set(value, at)
    return this
  }

  /** u32 length, then the bytes. */
  bytes(value: Uint8Array): this {
    return this.u32(value.length).raw(value)
  }

  /** u32 length in bytes, then the text as UTF-8. */
  utf8(value: string): this {
    const size = Buffer.byteLength(value)
    this.u32(size)
    const at = this.#grow(size)
    this.#bytes.write(value, at, size, 'utf8')
    return this
  }

  /** Overwrites 32 bits written before, such as a length that is known at the end. */
  setU32(at: number, value: number): this {
    invariant(at >= 0 && at + 4 <= this.#length, 'a field is set where one was written', { at })
    writeU32(this.#bytes, at, value)
    return this
  }

  /** What was written; the caller owns it, and the writer is empty again. */
  finish(): Buffer {
    const written = this.#bytes.subarray(0, this.#length)
    this.#bytes = Buffer.allocUnsafe(16)
    this.#length = 0
    return written
  }
}

/**
 * Takes fields from bytes[start, end). Views that it returns share memory with the input: who keeps
 * one copies it. Every method throws QUIRE_BAD_FRAME where the input is short, and leaves the
 * reader where it was.
 */
export class ByteReader {
  readonly #bytes: Buffer
  readonly #end: number
  #at: number

  constructor(bytes: Uint8Array, start: number = 0, end: number = bytes.length) {
    invariant(start >= 0 && start <= end && end <= bytes.length, 'a range lies in its buffer', {
      start,
      end,
      length: bytes.length,
    })
    this.#bytes = asBuffer(bytes)
    this.#at = start
    this.#end = end
  }

  /** Offset of the next field in the bytes given. */
  get offset(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#end - this.#at
  }

  #take(count: number): number {
    const at = this.#at
    if (count > this.#end - at) {
      throw new QuireError(
        'QUIRE_BAD_FRAME',
        `malformed message: ${count} bytes expected at ${at}, ${this.#end - at} are left`,
        { facts: { at, expected: count, left: this.#end - at } },
      )
    }
    this.#at = at + count
    return at
  }

  u8(): number {
    return this.#bytes[this.#take(1)] as number
  }

  u16(): number {
    const at = this.#take(2)
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number)
  }

  u32(): number {
    return readU32(this.#bytes, this.#take(4))
  }

  i32(): number {
    return this.u32() | 0
  }

  i64(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8))
  }

  /** Signed 64 bits as a number; one that is not a safe integer is QUIRE_BAD_FRAME. */
  safeInteger(): number {
    const at = this.#take(8)
    const value = readInt64(this.#bytes, at)
    if (Number.isSafeInteger(value)) return value
    this.#at = at
    throw new QuireError('QUIRE_BAD_FRAME', `malformed message: the number at ${at} is too large`, {
      facts: { at },
    })
  }

  /** A view of the next `count` bytes. */
  raw(count: number): Buffer {
    const at = this.#take(count)
    return this.#bytes.subarray(at, at + count)
  }

  /** u32 length of at most `max`, then that many bytes, as a view. */
  bytes(max: number = Number.MAX_SAFE_INTEGER): Buffer {
    const before = this.#at
    const size = this.u32()
    if (size <= max && size <= this.remaining) return this.raw(size)
    this.#at = before
    throw new QuireError(
      'QUIRE_BAD_FRAME',
      `malformed message: ${size} bytes announced at ${before}, at most ${max} are allowed`,
      { facts: { at: before, size, max } },
    )
  }

  /**
   * u32 length in bytes of at most `max`, then UTF-8; anything that is not UTF-8 is
   * QUIRE_BAD_FRAME.
   */
  utf8(max: number = Number.MAX_SAFE_INTEGER): string {
    const before = this.#at
    const text = this.bytes(max)
    if (isUtf8(text)) return text.toString('utf8')
    this.#at = before
    throw new QuireError('QUIRE_BAD_FRAME', `malformed message: no UTF-8 at ${before}`, {
      facts: { at: before },
    })
  }

  /** The rest, as a view. */
  rest(): Buffer {
    return this.raw(this.remaining)
  }
}
