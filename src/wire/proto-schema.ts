// BookKeeper's small protobuf messages (proto2), described by tables, for the metadata: the same
// table serves the binary form here and the text form in text-format.ts. What is malformed is
// QUIRE_BAD_METADATA. Not for hot paths.

import { QuireError } from '../errors.ts'
import { ByteWriter } from './bytes.ts'

export interface ProtoField {
  readonly number: number
  readonly name: string
  readonly label: 'required' | 'optional' | 'repeated'
  /** A table of names for an enum, a message's fields for a message. */
  readonly type: 'int32' | 'int64' | 'string' | 'bytes' | ProtoEnum | ProtoMessage
}

export interface ProtoEnum {
  readonly kind: 'enum'
  readonly values: Readonly<Record<string, number>>
}

export interface ProtoMessage {
  readonly kind: 'message'
  /** In ascending order of their numbers: they are written in it. */
  readonly fields: readonly ProtoField[]
}

/** Integers are bigint, enums their names, bytes and strings bytes and strings. */
export type ProtoValue = bigint | string | Uint8Array | Values

/** What a message holds, by field name. */
export class Values {
  readonly #values = new Map<string, ProtoValue[]>()

  /** Adds a value, in place of the earlier one unless the field is repeated. */
  add(field: ProtoField, value: ProtoValue): this {
    const earlier = this.#values.get(field.name)
    if (earlier && field.label === 'repeated') earlier.push(value)
    else this.#values.set(field.name, [value])
    return this
  }

  /** Sets by name what is there; nothing for undefined. */
  set(name: string, ...values: readonly (ProtoValue | undefined)[]): this {
    const there = values.filter((value) => value !== undefined)
    if (there.length > 0) this.#values.set(name, there)
    return this
  }

  all(name: string): readonly ProtoValue[] {
    return this.#values.get(name) ?? []
  }

  int(name: string): bigint | undefined {
    return this.all(name)[0] as bigint | undefined
  }

  text(name: string): string | undefined {
    return this.all(name)[0] as string | undefined
  }

  bytes(name: string): Uint8Array | undefined {
    return this.all(name)[0] as Uint8Array | undefined
  }

  texts(name: string): readonly string[] {
    return this.all(name) as readonly string[]
  }

  messages(name: string): readonly Values[] {
    return this.all(name) as readonly Values[]
  }
}

export function badMetadata(message: string, cause?: unknown): QuireError {
  return new QuireError('QUIRE_BAD_METADATA', message, { cause })
}

/** Fails when a required field is missing, also where it has a default: Java does. */
export function requireAll(message: ProtoMessage, values: Values): Values {
  for (const { name, label } of message.fields) {
    if (label === 'required' && values.all(name).length === 0) {
      throw badMetadata(`the required field ${name} is missing`)
    }
  }
  return values
}

const depthMax = 32

export function encodeProto(message: ProtoMessage, values: Values): Buffer {
  const writer = new ByteWriter(128)
  for (const field of message.fields) {
    for (const value of values.all(field.name)) writeField(writer, field, value)
  }
  return writer.finish()
}

function writeField(writer: ByteWriter, field: ProtoField, value: ProtoValue): void {
  const { type, number } = field
  const varint = wireTypeOf(type) === 0
  writeVarint(writer, BigInt(number * 8 + (varint ? 0 : 2)))
  if (varint) return writeVarint(writer, integerOf(type, value))
  const bytes = bytesOf(type, value)
  writeVarint(writer, BigInt(bytes.length))
  writer.raw(bytes)
}

const wireTypeOf = (type: ProtoField['type']): 0 | 2 =>
  type === 'int32' || type === 'int64' || (typeof type === 'object' && type.kind === 'enum') ? 0 : 2

function integerOf(type: ProtoField['type'], value: ProtoValue): bigint {
  if (typeof type === 'object' && type.kind === 'enum') {
    return BigInt(type.values[value as string] as number)
  }
  return value as bigint
}

function bytesOf(type: ProtoField['type'], value: ProtoValue): Uint8Array {
  if (value instanceof Values) return encodeProto(type as ProtoMessage, value)
  return typeof value === 'string' ? Buffer.from(value, 'utf8') : (value as Uint8Array)
}

/** Negative numbers take ten bytes, as protobuf has it. */
function writeVarint(writer: ByteWriter, value: bigint): void {
  let rest = BigInt.asUintN(64, value)
  while (rest > 0x7fn) {
    writer.u8(Number(rest & 0x7fn) | 0x80)
    rest >>= 7n
  }
  writer.u8(Number(rest))
}

/** A length, then as many bytes of message. */
export function encodeDelimited(message: ProtoMessage, values: Values): Buffer {
  const bytes = encodeProto(message, values)
  const writer = new ByteWriter(bytes.length + 5)
  writeVarint(writer, BigInt(bytes.length))
  return writer.raw(bytes).finish()
}

interface Cursor {
  readonly bytes: Uint8Array
  at: number
  readonly end: number
}

/** Unknown fields and unknown enum numbers are passed over. */
export function decodeProto(message: ProtoMessage, bytes: Uint8Array): Values {
  return decodeMessage(message, { bytes, at: 0, end: bytes.length }, 0)
}

/** The message behind a length; what follows it is ignored, as Java does. */
export function decodeDelimited(message: ProtoMessage, bytes: Uint8Array, start: number): Values {
  const cursor = { bytes, at: start, end: bytes.length }
  const size = readSize(cursor)
  return decodeMessage(message, { bytes, at: cursor.at, end: cursor.at + size }, 0)
}

function decodeMessage(message: ProtoMessage, cursor: Cursor, depth: number): Values {
  if (depth > depthMax) throw badMetadata('messages are nested too deeply')
  const values = new Values()
  while (cursor.at < cursor.end) {
    const tag = readVarint(cursor)
    const number = Number(tag >> 3n)
    const wireType = Number(tag & 7n)
    if (number === 0) throw badMetadata('a field has the number 0')
    const field = message.fields.find((each) => each.number === number)
    if (field && wireTypeOf(field.type) === wireType) {
      const value = readValue(field, cursor, depth)
      if (value !== undefined) values.add(field, value)
    } else {
      skip(cursor, wireType)
    }
  }
  return requireAll(message, values)
}

function readValue(field: ProtoField, cursor: Cursor, depth: number): ProtoValue | undefined {
  const { type } = field
  if (wireTypeOf(type) === 0) {
    const value = readVarint(cursor)
    if (type === 'int64') return BigInt.asIntN(64, value)
    const int32 = BigInt.asIntN(32, value)
    return type === 'int32' ? int32 : nameOfEnum(type as ProtoEnum, Number(int32))
  }
  const size = readSize(cursor)
  const start = cursor.at
  cursor.at += size
  if (typeof type === 'object') {
    return decodeMessage(
      type as ProtoMessage,
      { bytes: cursor.bytes, at: start, end: start + size },
      depth + 1,
    )
  }
  const bytes = Buffer.from(cursor.bytes.subarray(start, start + size))
  return type === 'string' ? bytes.toString('utf8') : bytes
}

function nameOfEnum(type: ProtoEnum, value: number): string | undefined {
  return Object.entries(type.values).find(([, each]) => each === value)?.[0]
}

function readVarint(cursor: Cursor): bigint {
  let value = 0n
  for (let shift = 0n; shift < 70n; shift += 7n) {
    if (cursor.at >= cursor.end) throw badMetadata('a number ends in the middle')
    const byte = cursor.bytes[cursor.at++] as number
    value |= BigInt(byte & 0x7f) << shift
    if (byte < 0x80) return BigInt.asUintN(64, value)
  }
  throw badMetadata('a number has more than ten bytes')
}

function readSize(cursor: Cursor): number {
  const size = readVarint(cursor)
  if (size > BigInt(cursor.end - cursor.at)) throw badMetadata('a field ends behind its message')
  return Number(size)
}

function skip(cursor: Cursor, wireType: number): void {
  if (wireType === 0) readVarint(cursor)
  else if (wireType === 1) pass(cursor, 8)
  else if (wireType === 2) pass(cursor, readSize(cursor))
  else if (wireType === 5) pass(cursor, 4)
  else throw badMetadata(`a field has the wire type ${wireType}`)
}

function pass(cursor: Cursor, count: number): void {
  if (count > cursor.end - cursor.at) throw badMetadata('a field ends behind its message')
  cursor.at += count
}
