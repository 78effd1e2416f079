// Commands, results and questions as bytes: JSON, and beyond it bigint and bytes. What JSON cannot
// say otherwise (functions, dates as dates, NaN) is JSON's answer: left out, text, null.

import { messageOf, QuireError } from '../errors.ts'

const bigintKey = '$quire:bigint'
const bytesKey = '$quire:bytes'

/**
 * Fails with QUIRE_BAD_OPTION for what has no JSON: a cycle, or a key that begins with `$quire:`.
 */
export function encodeValue(value: unknown): Buffer {
  try {
    return Buffer.from(JSON.stringify(value, replacer) ?? '')
  } catch (cause) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      'a command, its arguments and its result are made of JSON values, bigint and Uint8Array',
      { cause },
    )
  }
}

/**
 * The result of a command. One that has no JSON is the command's mistake, the same everywhere, and
 * not the end of the replica: a plain error.
 */
export function encodeResult(value: unknown): Buffer {
  try {
    return encodeValue(value)
  } catch (error) {
    throw new TypeError(messageOf(error), { cause: error })
  }
}

/**
 * What `encodeValue` was given, as far as JSON keeps it. Its type is the reader's to say, as with
 * JSON.parse.
 */
export function decodeValue(bytes: Uint8Array): ReturnType<typeof JSON.parse> {
  if (bytes.length === 0) return undefined
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  const plain = !text.includes('"$quire:')
  return plain ? JSON.parse(text) : JSON.parse(text, reviver)
}

// `this` holds the value before a toJSON of its own turned it into something else.
function replacer(this: Record<string, unknown>, key: string, value: unknown): unknown {
  const raw = this[key]
  if (typeof raw === 'bigint') return new Tagged({ [bigintKey]: raw.toString() })
  if (raw instanceof Uint8Array) {
    const view = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength)
    return new Tagged({ [bytesKey]: view.toString('base64') })
  }
  if (key.startsWith('$quire:') && !(this instanceof Tagged)) {
    throw new TypeError(`the key ${key} is kept for Quire`)
  }
  return value
}

class Tagged {
  readonly [key: string]: string

  constructor(content: Readonly<Record<string, string>>) {
    Object.assign(this, content)
  }
}

function reviver(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (bigintKey in value) return BigInt(String(value[bigintKey]))
  if (bytesKey in value) return Buffer.from(String(value[bytesKey]), 'base64')
  return value
}
