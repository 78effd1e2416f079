// Protobuf's text format, as BookKeeper prints it, and everything its readers accept (metadata
// 2.0). The text is handled as bytes, one character a byte; strings become UTF-8 at the end. What
// is malformed is QUIRE_BAD_METADATA.

import { badMetadata, requireAll, Values } from './proto-schema.ts'
import type { ProtoField, ProtoMessage, ProtoValue } from './proto-schema.ts'

export function printText(message: ProtoMessage, values: Values, indent: string = ''): string {
  let text = ''
  for (const field of message.fields) {
    for (const value of values.all(field.name)) text += printField(field, value, indent)
  }
  return text
}

function printField(field: ProtoField, value: ProtoValue, indent: string): string {
  const { name, type } = field
  if (value instanceof Values) {
    const inner = printText(type as ProtoMessage, value, `${indent}  `)
    return `${indent}${name} {\n${inner}${indent}}\n`
  }
  const quoted = type === 'string' || type === 'bytes'
  const text = quoted ? `"${escaped(value as string | Uint8Array)}"` : String(value)
  return `${indent}${name}: ${text}\n`
}

const escapes: Readonly<Record<string, string>> = {
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
}

function escaped(value: string | Uint8Array): string {
  let text = ''
  for (const byte of Buffer.from(value as string)) {
    const char = String.fromCharCode(byte)
    if (escapes[char] !== undefined) text += escapes[char]
    else if (byte >= 0x20 && byte <= 0x7e) text += char
    else text += `\\${byte.toString(8).padStart(3, '0')}`
  }
  return text
}

/** Unknown fields are passed over, as BookKeeper 4.18 does. */
export function parseText(message: ProtoMessage, bytes: Uint8Array): Values {
  const reader = new TextReader(Buffer.from(bytes).toString('latin1'))
  const values = reader.message(message, '')
  return requireAll(message, values)
}

const depthMax = 32
/** More would only be leading zeros, and slow to read. */
const digitsMax = 64
const blank = /(?:[ \t\n\v\f\r]+|#[^\n]*)*/y
const word = /[A-Za-z_][A-Za-z0-9_.]*/y
const integer = /-?[ \t]*(?:0[xX][0-9a-fA-F]+|[0-9]+)(?![0-9A-Za-z_.])/y
const scalar = /-?[ \t]*[A-Za-z0-9_.+-]+/y
const extension = /\[[^\]\n]*\]/y

class TextReader {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
    this.#match(blank)
  }

  /** Fields up to `close`; the empty string is the end of the text. */
  message(message: ProtoMessage | undefined, close: string): Values {
    if (++this.#depth > depthMax) throw badMetadata('messages are nested too deeply')
    const values = new Values()
    while (!this.#ends(close)) this.#field(message, values)
    this.#depth--
    return values
  }

  #ends(close: string): boolean {
    if (close !== '') return this.#take(close)
    return this.#at >= this.#text.length
  }

  #field(message: ProtoMessage | undefined, values: Values): void {
    const name = this.#token(word) ?? this.#token(extension)
    if (name === undefined) throw this.#unexpected('the name of a field')
    const field = message?.fields.find((each) => each.name === name)
    const colon = this.#take(':')
    if (field) this.#known(field, values, colon)
    else this.#unknown(colon)
    if (!this.#take(',')) this.#take(';')
  }

  #known(field: ProtoField, values: Values, colon: boolean): void {
    if (this.#take('[')) {
      if (this.#take(']')) return
      do {
        this.#value(field, values, colon)
      } while (this.#take(','))
      if (!this.#take(']')) throw this.#unexpected('the end of a list')
      return
    }
    this.#value(field, values, colon)
  }

  #value(field: ProtoField, values: Values, colon: boolean): void {
    const { type } = field
    if (typeof type === 'object' && type.kind === 'message') {
      const inner = this.message(type, this.#open())
      values.add(field, requireAll(type, inner))
      return
    }
    if (!colon) throw this.#unexpected('a colon')
    values.add(field, this.#scalar(field))
  }

  #open(): string {
    if (this.#take('{')) return '}'
    if (this.#take('<')) return '>'
    throw this.#unexpected('a message')
  }

  #scalar({ type, name }: ProtoField): ProtoValue {
    if (type === 'bytes') return this.#string()
    if (type === 'string') return this.#string().toString('utf8')
    if (type === 'int32' || type === 'int64') return this.#integer(type)
    const value = this.#token(word)
    if (value !== undefined && type.kind === 'enum' && Object.hasOwn(type.values, value)) {
      return value
    }
    throw this.#unexpected(`a value of ${name}`)
  }

  #integer(type: 'int32' | 'int64'): bigint {
    const text = this.#token(integer)?.replace(/[ \t]/g, '')
    if (text === undefined) throw this.#unexpected('an integer')
    const negative = text.startsWith('-')
    const value = magnitude(negative ? text.slice(1) : text)
    if (value === undefined) throw this.#unexpected('an integer')
    const signed = negative ? -value : value
    if (signed !== BigInt.asIntN(type === 'int32' ? 32 : 64, signed)) {
      throw badMetadata(`${signed} does not fit ${type}`)
    }
    return signed
  }

  /** Strings that follow one another are one. */
  #string(): Buffer {
    const parts: number[] = []
    let some = false
    for (;;) {
      const quote = this.#text[this.#at]
      if (quote !== '"' && quote !== "'") break
      some = true
      this.#at++
      this.#quoted(quote, parts)
      this.#match(blank)
    }
    if (!some) throw this.#unexpected('a string')
    return Buffer.from(parts)
  }

  #quoted(quote: string, parts: number[]): void {
    for (;;) {
      const char = this.#text[this.#at++]
      if (char === undefined || char === '\n') throw badMetadata('a string does not end')
      if (char === quote) return
      if (char === '\\') this.#escape(parts)
      else parts.push(char.charCodeAt(0))
    }
  }

  #escape(parts: number[]): void {
    const simple = simpleEscapes[this.#text[this.#at] ?? '']
    if (simple !== undefined) {
      this.#at++
      parts.push(simple)
      return
    }
    for (const { pattern, radix, unicode } of numericEscapes) {
      const digits = this.#match(pattern)
      if (digits === undefined) continue
      const value = Number.parseInt(digits.replace(/^[xuU]/, ''), radix)
      if (!unicode) parts.push(value & 0xff)
      else if (value > 0x10ffff) throw badMetadata(`${digits} is no character`)
      else parts.push(...Buffer.from(String.fromCodePoint(value), 'utf8'))
      return
    }
    throw this.#unexpected('an escape')
  }

  #unknown(colon: boolean): void {
    if (++this.#depth > depthMax) throw badMetadata('messages are nested too deeply')
    if (this.#take('{')) this.message(undefined, '}')
    else if (this.#take('<')) this.message(undefined, '>')
    else if (!colon) throw this.#unexpected('a colon')
    else if (this.#take('[')) this.#unknownList()
    else if (/^["']/.test(this.#text[this.#at] ?? '')) this.#string()
    else if (this.#token(scalar) === undefined) throw this.#unexpected('a value')
    this.#depth--
  }

  #unknownList(): void {
    if (this.#take(']')) return
    do {
      this.#unknown(true)
    } while (this.#take(','))
    if (!this.#take(']')) throw this.#unexpected('the end of a list')
  }

  #take(char: string): boolean {
    if (this.#text[this.#at] !== char) return false
    this.#at++
    this.#match(blank)
    return true
  }

  #token(pattern: RegExp): string | undefined {
    const token = this.#match(pattern)
    if (token !== undefined) this.#match(blank)
    return token
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const [found] = pattern.exec(this.#text) ?? []
    if (found !== undefined) this.#at += found.length
    return found
  }

  #unexpected(wanted: string): Error {
    const found = JSON.stringify(this.#text.slice(this.#at, this.#at + 16))
    return badMetadata(`the text has ${found} at ${this.#at} in place of ${wanted}`)
  }
}

function magnitude(digits: string): bigint | undefined {
  if (digits.length > digitsMax) return undefined
  if (/^0[xX]/.test(digits)) return BigInt(digits)
  if (!/^0[0-9]/.test(digits)) return BigInt(digits)
  return /^[0-7]+$/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : undefined
}

const simpleEscapes: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  '?': 63,
  '\\': 92,
  "'": 39,
  '"': 34,
}

const numericEscapes: readonly {
  readonly pattern: RegExp
  readonly radix: number
  readonly unicode: boolean
}[] = [
  { pattern: /[0-7]{1,3}/y, radix: 8, unicode: false },
  { pattern: /x[0-9a-fA-F]{1,2}/y, radix: 16, unicode: false },
  { pattern: /u[0-9a-fA-F]{4}/y, radix: 16, unicode: true },
  { pattern: /U[0-9a-fA-F]{8}/y, radix: 16, unicode: true },
]
