// The part of protobuf that BookKeeper's V3 messages need, without an object for a message or a
// field.
//
// The reader is one mutable cursor: a call that returns true or a tag leaves its value in the
// cursor's fields, a call that returns false or −1 met malformed bytes. It never reads outside its
// range and never throws. 64-bit numbers are two unsigned halves, so negative ones take 10 bytes
// (wire 2.1). Unknown fields are skipped; groups, wire types 6 and 7 and field number 0 are
// malformed.

import { asBuffer, ByteWriter } from './bytes.ts'
import { highHalf, lowHalf, numberFromHalves } from './int64.ts'

export const wireTypes = { varint: 0, fixed64: 1, length: 2, fixed32: 5 } as const

const none = Buffer.alloc(0)

export class ProtoReader {
  bytes: Buffer = none
  at: number = 0
  end: number = 0
  /** The halves of the last varint. */
  high: number = 0
  low: number = 0
  /** The last length-delimited field. */
  rangeStart: number = 0
  rangeEnd: number = 0

  reset(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes
    this.at = start
    this.end = end
  }

  /** The next field's number × 8 + wire type; 0 at the end of the range; −1 when malformed. */
  tag(): number {
    const { bytes, at, end } = this
    if (at >= end) return 0
    const first = bytes[at] as number
    if (first < 0x80) {
      this.at = at + 1
      return first >= 8 ? first : -1
    }
    if (at + 1 < end) {
      const second = bytes[at + 1] as number
      if (second > 0 && second < 0x80) {
        this.at = at + 2
        return (first & 0x7f) | (second << 7)
      }
    }
    if (!this.#longVarint() || this.high !== 0 || this.low < 8) return -1
    return this.low
  }

  /** A varint into `high` and `low`. More than 10 bytes are malformed. */
  varint(): boolean {
    const { bytes, at, end } = this
    if (at + 4 > end) return this.#longVarint()
    let low = bytes[at] as number
    let size = 1
    if (low >= 0x80) {
      const second = bytes[at + 1] as number
      low = (low & 0x7f) | (second << 7)
      size = 2
      if (second >= 0x80) {
        const third = bytes[at + 2] as number
        if (third >= 0x80) return this.#longVarint()
        low = (low & 0x3fff) | (third << 14)
        size = 3
      }
    }
    this.at = at + size
    this.high = 0
    this.low = low
    return true
  }

  #longVarint(): boolean {
    let high = 0
    let low = 0
    const last = Math.min(this.end, this.at + 10)
    for (let at = this.at, shift = 0; at < last; at++, shift += 7) {
      const byte = this.bytes[at] as number
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) {
        this.at = at + 1
        this.high = high >>> 0
        this.low = low >>> 0
        return true
      }
    }
    return false
  }

  /** The last varint as a safe integer, or an infinity of its sign. */
  number(): number {
    return this.high === 0 ? this.low : numberFromHalves(this.high, this.low)
  }

  /** The last varint as an enum or int32: the lower 32 bits, signed. */
  int32(): number {
    return this.low | 0
  }

  /** A length-delimited value into `rangeStart` and `rangeEnd`; the cursor is behind it. */
  range(): boolean {
    if (!this.varint() || this.high !== 0 || this.low > this.end - this.at) return false
    this.rangeStart = this.at
    this.rangeEnd = this.at + this.low
    this.at = this.rangeEnd
    return true
  }

  /** Passes over the value of a field with this tag. False also for the tags that `tag` refused. */
  skip(tag: number): boolean {
    if (tag < 8) return false
    switch (tag & 7) {
      case wireTypes.varint:
        return this.varint()
      case wireTypes.length:
        return this.range()
      case wireTypes.fixed64:
        return this.#pass(8)
      case wireTypes.fixed32:
        return this.#pass(4)
      default:
        return false
    }
  }

  #pass(count: number): boolean {
    if (count > this.end - this.at) return false
    this.at += count
    return true
  }
}

/** Bytes of a 64-bit varint given as halves. */
export function varintBytes(high: number, low: number): number {
  if (high === 0) {
    if (low < 0x80) return 1
    if (low < 0x4000) return 2
    if (low < 0x20_0000) return 3
    return low < 0x1000_0000 ? 4 : 5
  }
  // 32 bits below, 7 a byte.
  return Math.ceil((64 - Math.clz32(high)) / 7)
}

/** Bytes of a signed 64-bit varint of a safe integer. */
export function numberBytes(value: number): number {
  return value >= 0 && value < 0x80 ? 1 : varintBytes(highHalf(value), lowHalf(value))
}

/** Writes a 64-bit varint given as halves. Returns the offset behind it. */
export function writeVarint(target: Uint8Array, at: number, high: number, low: number): number {
  let next = at
  let rest = low
  let above = high
  while (above !== 0) {
    target[next++] = (rest & 0x7f) | 0x80
    rest = ((rest >>> 7) | (above << 25)) >>> 0
    above >>>= 7
  }
  while (rest >= 0x80) {
    target[next++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[next++] = rest
  return next
}

/** Writes a signed 64-bit varint of a safe integer. Returns the offset behind it. */
export function writeNumber(target: Uint8Array, at: number, value: number): number {
  if (value >= 0 && value < 0x80) {
    target[at] = value
    return at + 1
  }
  return writeVarint(target, at, highHalf(value), lowHalf(value))
}

const lengthOf = (field: number): number => field * 8 + wireTypes.length

/** Builds messages that are not on a hot path. */
export class ProtoWriter {
  readonly #writer = new ByteWriter(64)

  #varint(high: number, low: number): void {
    let rest = low
    let above = high
    while (above !== 0 || rest >= 0x80) {
      this.#writer.u8((rest & 0x7f) | 0x80)
      rest = ((rest >>> 7) | (above << 25)) >>> 0
      above >>>= 7
    }
    this.#writer.u8(rest)
  }

  halves(field: number, high: number, low: number): this {
    this.#varint(0, field * 8)
    this.#varint(high, low)
    return this
  }

  /** A signed 64-bit field of a safe integer; nothing when undefined. */
  number(field: number, value: number | undefined): this {
    if (value === undefined) return this
    return this.halves(field, highHalf(value), lowHalf(value))
  }

  /** A length-delimited field; nothing when undefined. */
  bytes(field: number, value: Uint8Array | undefined): this {
    if (value === undefined) return this
    this.#varint(0, lengthOf(field))
    this.#varint(0, value.length)
    this.#writer.raw(value)
    return this
  }

  text(field: number, value: string): this {
    return this.bytes(field, Buffer.from(value, 'utf8'))
  }

  message(field: number, value: ProtoWriter | undefined): this {
    return this.bytes(field, value?.finish())
  }

  /** The message; the writer is empty again. */
  finish(): Buffer {
    return this.#writer.finish()
  }

  /** The message as a frame: with its u32 length before it. */
  frame(): Buffer {
    const message = this.finish()
    return new ByteWriter(4 + message.length).bytes(asBuffer(message)).finish()
  }
}
