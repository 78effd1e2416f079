// Fields that several packets of the metadata protocol share.

import { QuireError } from '../errors.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { metadataMagic } from './metadata-messages.ts'
import type { WireStat } from './metadata-messages.ts'

export const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed metadata frame: ${what}`)

/** Begins a frame; `finishFrame` fills its length in. */
export const beginFrame = (): ByteWriter => new ByteWriter().u32(0)

export function finishFrame(to: ByteWriter): Buffer {
  return to.setU32(0, to.length - 4).finish()
}

export function putMagic(to: ByteWriter): ByteWriter {
  return to.raw(Buffer.from(metadataMagic, 'latin1'))
}

export function takeMagic(from: ByteReader): void {
  if (from.raw(metadataMagic.length).toString('latin1') !== metadataMagic) throw bad('magic')
}

/** Copied: the frame's memory is a socket's chunk, much larger than the field. */
export const takeBytes = (from: ByteReader, max?: number): Buffer => Buffer.from(from.bytes(max))

/** A count, then each item after its size, so that a newer version can add fields to items. */
export function putList<T>(to: ByteWriter, items: readonly T[], put: (item: T) => void): void {
  to.u32(items.length)
  for (const item of items) {
    const at = to.length
    to.u32(0)
    put(item)
    to.setU32(at, to.length - at - 4)
  }
}

export function takeList<T>(from: ByteReader, take: (from: ByteReader) => T): T[] {
  const count = from.u32()
  if (count * 4 > from.remaining) throw bad('a list longer than its frame')
  return Array.from({ length: count }, () => take(new ByteReader(from.bytes())))
}

export function putStat(to: ByteWriter, stat: WireStat): void {
  const at = to.length
  to.u32(0).safeInteger(stat.czxid).safeInteger(stat.mzxid).safeInteger(stat.pzxid)
  to.safeInteger(stat.ctimeMs).safeInteger(stat.mtimeMs)
  to.i32(stat.version).i32(stat.cversion).i32(stat.aversion).i64(stat.ephemeralOwner)
  to.u32(stat.dataLength).u32(stat.childCount)
  to.setU32(at, to.length - at - 4)
}

export function takeStat(within: ByteReader): WireStat {
  const from = new ByteReader(within.bytes())
  return {
    czxid: from.safeInteger(),
    mzxid: from.safeInteger(),
    pzxid: from.safeInteger(),
    ctimeMs: from.safeInteger(),
    mtimeMs: from.safeInteger(),
    version: from.i32(),
    cversion: from.i32(),
    aversion: from.i32(),
    ephemeralOwner: from.i64(),
    dataLength: from.u32(),
    childCount: from.u32(),
  }
}
