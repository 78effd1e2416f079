// CRC-32C (Castagnoli: reflected polynomial 0x82F63B78, initial value and final xor FFFFFFFF):
// digests of entries, and checksums of the journal. Native where it pays: calling out costs as much
// as some hundred bytes cost here.
//
// The native module is loaded by `require`, so that neither a bundler nor a platform without a
// prebuilt binary breaks the import; what became of it is in `crc32cEngine`, for the log and the
// tests.

import { createRequire } from 'node:module'
import { messageOf, QuireError } from '../errors.ts'

type NativeCrc32c = (input: Uint8Array, seed: number) => number

/** Which code computes the checksums of long inputs, and why not the native one. */
export interface Crc32cEngine {
  readonly name: 'native' | 'javascript'
  /** Why the native module is not in use; empty when it is. */
  readonly reason: string
}

/**
 * From this many bytes the native code is faster (measured: calling it costs what 300 bytes cost
 * here).
 */
const nativeBytesMin = 320

const checkInput = Buffer.from('123456789')
const checkValue = 0xe3069283

/** Eight tables of 256: table k advances a byte by k further zero bytes (slicing by 8). */
const tables = makeTables()

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
    made[byte] = crc
  }
  for (let index = 256; index < made.length; index++) {
    const previous = made[index - 256] as number
    made[index] = (previous >>> 8) ^ (made[previous & 0xff] as number)
  }
  return made
}

/** The same without native code: for short inputs, and where there is no native module. */
export function crc32cJavascript(
  bytes: Uint8Array,
  start: number,
  end: number,
  seed: number,
): number {
  const t = tables
  let crc = ~seed
  let at = start
  for (const last = end - 8; at <= last; at += 8) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (t[1792 + (crc & 0xff)] as number) ^
      (t[1536 + ((crc >>> 8) & 0xff)] as number) ^
      (t[1280 + ((crc >>> 16) & 0xff)] as number) ^
      (t[1024 + (crc >>> 24)] as number) ^
      (t[768 + (bytes[at + 4] as number)] as number) ^
      (t[512 + (bytes[at + 5] as number)] as number) ^
      (t[256 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number)
  }
  for (; at < end; at++) {
    crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 0xff] as number)
  }
  return ~crc >>> 0
}

function loadNative(): { run: NativeCrc32c | undefined; reason: string } {
  try {
    const module = createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: NativeCrc32c }
    const result = module.crc32c(checkInput, 0)
    if (result === checkValue) return { run: module.crc32c, reason: '' }
    return { run: undefined, reason: `wrong check value ${result.toString(16)}` }
  } catch (error) {
    return { run: undefined, reason: messageOf(error) }
  }
}

const native = loadNative()

/** What is in use in this process. */
export const crc32cEngine: Crc32cEngine = {
  name: native.run ? 'native' : 'javascript',
  reason: native.reason,
}

const ownResult = crc32cJavascript(checkInput, 0, checkInput.length, 0)
if (ownResult !== checkValue) {
  throw new QuireError('QUIRE_INVARIANT', `CRC-32C is computed wrongly: ${ownResult.toString(16)}`)
}

/**
 * CRC-32C of bytes[start, end) as an unsigned number. `seed`, the value of what came before,
 * resumes it: the result is that of the concatenation; 0 begins. Bytes over shared memory will do.
 * The range must lie inside.
 */
export function crc32c(bytes: Uint8Array, start: number, end: number, seed: number = 0): number {
  if (end - start < nativeBytesMin || native.run === undefined) {
    return crc32cJavascript(bytes, start, end, seed)
  }
  return native.run(bytes.subarray(start, end), seed)
}
