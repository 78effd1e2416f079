// A tree as one stream of bytes: what a snapshot is on its way to another node
// (docs/format/tree.md). Frames of u32 length, u32 checksum and a piece of the tree; the last one
// holds nothing but the count of those before it, so that a stream which ends early is none.

import { QuireError } from '../../errors.ts'
import type { TreeBatch, TreeRow } from '../../io/tree-store.ts'
import { ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { crc32c } from '../../wire/crc32c.ts'

const formatVersion = 1
const headBytes = 8
/** A piece holds one node at least, whose data is bounded. */
const frameBytesMax = 16_777_216
const rowKinds: readonly TreeRow['kind'][] = ['persistent', 'ephemeral', 'container', 'ttl']

const corrupt = (what: string): QuireError =>
  new QuireError('QUIRE_SNAPSHOT_CORRUPT', `a snapshot of the metadata is damaged: ${what}`)

export function encodePiece({ put, facts }: TreeBatch): Buffer {
  const to = new ByteWriter(4096).u8(formatVersion).u32(facts.size)
  for (const [name, value] of facts) to.utf8(name).bytes(value ?? new Uint8Array(0))
  to.u32(put.length)
  for (const row of put) putRow(to, row)
  return framed(to.finish())
}

export function encodeEnd(pieces: number): Buffer {
  return framed(new ByteWriter(16).u8(0).u32(pieces).finish())
}

function framed(body: Buffer): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + body.length)
  frame.writeUInt32BE(body.length, 0)
  frame.writeUInt32BE(crc32c(body, 0, body.length), 4)
  frame.set(body, headBytes)
  return frame
}

/** Takes a stream as it comes, and gives its pieces back. Throws QUIRE_SNAPSHOT_CORRUPT. */
export class ImageReader {
  #rest: Buffer = Buffer.alloc(0)
  #pieces = 0
  #ended = false

  /** True when the stream was whole. */
  get ended(): boolean {
    return this.#ended && this.#rest.length === 0
  }

  push(bytes: Uint8Array): TreeBatch[] {
    this.#rest = Buffer.concat([this.#rest, bytes])
    const pieces: TreeBatch[] = []
    for (let body = this.#next(); body !== undefined; body = this.#next()) {
      if (this.#ended) throw corrupt('something follows its end')
      const piece = takeBody(new ByteReader(body), this.#pieces)
      if (piece === undefined) this.#ended = true
      else pieces.push(piece)
      this.#pieces += 1
    }
    return pieces
  }

  #next(): Buffer | undefined {
    const rest = this.#rest
    if (rest.length < headBytes) return undefined
    const size = rest.readUInt32BE(0)
    if (size === 0 || size > frameBytesMax) throw corrupt(`a piece of ${size} bytes`)
    if (rest.length < headBytes + size) return undefined
    const body = rest.subarray(headBytes, headBytes + size)
    if (crc32c(body, 0, size) !== rest.readUInt32BE(4)) throw corrupt('a checksum is wrong')
    this.#rest = rest.subarray(headBytes + size)
    return body
  }
}

/** Undefined at the end of the stream. */
function takeBody(from: ByteReader, before: number): TreeBatch | undefined {
  const version = from.u8()
  if (version === 0) {
    if (from.u32() !== before) throw corrupt('pieces are missing')
    return undefined
  }
  if (version !== formatVersion) throw corrupt(`format ${version} is not known`)
  const facts = new Map<string, Uint8Array>()
  for (let left = from.u32(); left > 0; left--) facts.set(from.utf8(), Buffer.from(from.bytes()))
  const put: TreeRow[] = []
  for (let left = from.u32(); left > 0; left--) put.push(takeRow(from))
  return { put, remove: [], facts }
}

function putRow(to: ByteWriter, row: TreeRow): void {
  to.utf8(row.path).bytes(row.data)
  to.safeInteger(row.czxid).safeInteger(row.mzxid).safeInteger(row.pzxid)
  to.safeInteger(row.ctimeMs).safeInteger(row.mtimeMs)
  to.i32(row.version).i32(row.cversion).i32(row.sequence).u32(row.childCount)
  to.i64(row.owner).u8(rowKinds.indexOf(row.kind)).safeInteger(row.ttlMs)
}

function takeRow(from: ByteReader): TreeRow {
  const [path, data] = [from.utf8(), Buffer.from(from.bytes())]
  const zxids = { czxid: from.safeInteger(), mzxid: from.safeInteger(), pzxid: from.safeInteger() }
  const times = { ctimeMs: from.safeInteger(), mtimeMs: from.safeInteger() }
  const versions = { version: from.i32(), cversion: from.i32(), sequence: from.i32() }
  const [childCount, owner] = [from.u32(), from.i64()]
  const kind = rowKinds[from.u8()]
  if (kind === undefined) throw corrupt('a node of an unknown kind')
  const ttlMs = from.safeInteger()
  return { path, data, ...zxids, ...times, ...versions, childCount, owner, kind, ttlMs }
}
