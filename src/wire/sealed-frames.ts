// First packets of our own protocols: u32 length, four bytes of magic, u32 CRC32C of what follows,
// fields. The magic tells a node's port which protocol begins, the checksum that it really does.
// Among nodes the checksums of later frames are seeded with that of the hello: a frame belongs to
// its conversation, or it is none.

import { QuireError } from '../errors.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { crc32c } from './crc32c.ts'

const lengthBytes = 4
const magicBytes = 4
const checksumBytes = 4

/** Begins a packet; `seal` ends it. */
export function beginSealed(magic: string): ByteWriter {
  return new ByteWriter().u32(0).raw(Buffer.from(magic, 'latin1')).u32(0)
}

/** Fills length and checksum in. */
export function seal(to: ByteWriter): Buffer {
  const frame = to.setU32(0, to.length - lengthBytes).finish()
  const from = lengthBytes + magicBytes + checksumBytes
  frame.writeUInt32BE(crc32c(frame, from, frame.length), from - checksumBytes)
  return frame
}

/** The fields of a packet without its length. QUIRE_BAD_FRAME when it is not sealed so. */
export function openSealed(payload: Uint8Array, magic: string): ByteReader {
  const from = new ByteReader(payload)
  if (from.raw(magicBytes).toString('latin1') !== magic) throw bad('magic')
  const checksum = from.u32()
  if (crc32c(payload, from.offset, payload.length) !== checksum) throw bad('checksum')
  return from
}

/** What the frames of a conversation are seeded with: the checksum of its hello's payload. */
export function conversationSeed(hello: Uint8Array): number {
  return crc32c(hello, 0, hello.length)
}

/** A body as a frame of the conversation: u32 length, u32 checksum, body. */
export function sealFrame(body: Uint8Array, seed: number): Buffer {
  const frame = Buffer.allocUnsafe(lengthBytes + checksumBytes + body.length)
  frame.writeUInt32BE(checksumBytes + body.length, 0)
  frame.writeUInt32BE(crc32c(body, 0, body.length, seed), lengthBytes)
  frame.set(body, lengthBytes + checksumBytes)
  return frame
}

/** The body of a frame's payload, as a view. QUIRE_BAD_FRAME when it is of no such conversation. */
export function openFrame(payload: Uint8Array, seed: number): Buffer {
  const from = new ByteReader(payload)
  const checksum = from.u32()
  const body = from.rest()
  if (crc32c(body, 0, body.length, seed) !== checksum) throw bad('checksum')
  return body
}

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed packet: ${what}`)
