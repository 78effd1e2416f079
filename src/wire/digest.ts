// Digests of entries and of LAC packets (wire 4.1 to 4.4): over the metadata in front of the digest
// and all that follows it. A bookie never looks at them; readers and the scrubber do. Also the keys
// that are derived from a ledger's password.

import { createHash, createHmac } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { crc32c } from './crc32c.ts'
import { readU32, writeU32 } from './int64.ts'

export type DigestType = 'crc32' | 'crc32c' | 'mac' | 'dummy'

/** Bytes in front of the digest: ledger id, entry id, last add confirmed, length. */
export const entryMetadataBytes = 32
/** Bytes in front of a LAC packet's digest: ledger id, last add confirmed. */
export const lacMetadataBytes = 16

/** Bytes of the digest itself. */
export const digestBytes: Readonly<Record<DigestType, number>> = {
  crc32: 8,
  crc32c: 4,
  mac: 20,
  dummy: 0,
}

/** One ledger's digest, with its key if it has one. Ranges must lie inside their buffers. */
export interface EntryDigest {
  readonly type: DigestType
  readonly bytes: number
  /** Fills in the digest of the entry in target[entryStart, entryEnd). */
  write(target: Buffer, entryStart: number, entryEnd: number): void
  /** False also when the range is too short for an entry. */
  verify(bytes: Buffer, entryStart: number, entryEnd: number): boolean
  /** The same for the LAC packet that begins at `start`. */
  writeLac(target: Buffer, start: number): void
  verifyLac(bytes: Buffer, start: number, end: number): boolean
}

/** The key that bookies get to see: SHA-1 of "ledger" and the password, for every digest type. */
export function masterKey(password: Uint8Array): Buffer {
  return createHash('sha1').update('ledger').update(password).digest()
}

/** The key of the `mac` digest: SHA-1 of "mac" and the password; never sent. */
export function macKey(password: Uint8Array): Buffer {
  return createHash('sha1').update('mac').update(password).digest()
}

/** Lays a digest behind `metadata` bytes and computes it over what is before and behind it. */
abstract class PlacedDigest implements EntryDigest {
  abstract readonly type: DigestType
  abstract readonly bytes: number

  /**
   * Computes the digest of [start, start + metadata) and what follows the digest, and puts it
   * there.
   */
  protected abstract put(target: Buffer, start: number, end: number, metadata: number): void
  protected abstract matches(bytes: Buffer, start: number, end: number, metadata: number): boolean

  write(target: Buffer, entryStart: number, entryEnd: number): void {
    this.put(target, entryStart, entryEnd, entryMetadataBytes)
  }

  verify(bytes: Buffer, entryStart: number, entryEnd: number): boolean {
    if (entryEnd - entryStart < entryMetadataBytes + this.bytes) return false
    return this.matches(bytes, entryStart, entryEnd, entryMetadataBytes)
  }

  writeLac(target: Buffer, start: number): void {
    this.put(target, start, start + lacMetadataBytes + this.bytes, lacMetadataBytes)
  }

  verifyLac(bytes: Buffer, start: number, end: number): boolean {
    const packetEnd = start + lacMetadataBytes + this.bytes
    return packetEnd <= end && this.matches(bytes, start, packetEnd, lacMetadataBytes)
  }
}

class Crc32cDigest extends PlacedDigest {
  readonly type = 'crc32c'
  readonly bytes = digestBytes.crc32c

  #value(bytes: Buffer, start: number, end: number, metadata: number): number {
    const at = start + metadata
    return crc32c(bytes, at + this.bytes, end, crc32c(bytes, start, at))
  }

  protected put(target: Buffer, start: number, end: number, metadata: number): void {
    writeU32(target, start + metadata, this.#value(target, start, end, metadata))
  }

  protected matches(bytes: Buffer, start: number, end: number, metadata: number): boolean {
    return readU32(bytes, start + metadata) === this.#value(bytes, start, end, metadata)
  }
}

/** The value is an unsigned number in 8 bytes: the upper four are zero, and are compared too. */
class Crc32Digest extends PlacedDigest {
  readonly type = 'crc32'
  readonly bytes = digestBytes.crc32

  #value(bytes: Buffer, start: number, end: number, metadata: number): number {
    const at = start + metadata
    return crc32(bytes.subarray(at + this.bytes, end), crc32(bytes.subarray(start, at)))
  }

  protected put(target: Buffer, start: number, end: number, metadata: number): void {
    const next = writeU32(target, start + metadata, 0)
    writeU32(target, next, this.#value(target, start, end, metadata))
  }

  protected matches(bytes: Buffer, start: number, end: number, metadata: number): boolean {
    const at = start + metadata
    if (readU32(bytes, at) !== 0) return false
    return readU32(bytes, at + 4) === this.#value(bytes, start, end, metadata)
  }
}

class MacDigest extends PlacedDigest {
  readonly type = 'mac'
  readonly bytes = digestBytes.mac
  readonly #key: Buffer

  constructor(password: Uint8Array) {
    super()
    this.#key = macKey(password)
  }

  #value(bytes: Buffer, start: number, end: number, metadata: number): Buffer {
    const at = start + metadata
    return createHmac('sha1', this.#key)
      .update(bytes.subarray(start, at))
      .update(bytes.subarray(at + this.bytes, end))
      .digest()
  }

  protected put(target: Buffer, start: number, end: number, metadata: number): void {
    target.set(this.#value(target, start, end, metadata), start + metadata)
  }

  protected matches(bytes: Buffer, start: number, end: number, metadata: number): boolean {
    const at = start + metadata
    return this.#value(bytes, start, end, metadata).compare(bytes, at, at + this.bytes) === 0
  }
}

/** No digest: every entry that is long enough is taken as it is. */
class DummyDigest extends PlacedDigest {
  readonly type = 'dummy'
  readonly bytes = digestBytes.dummy

  protected put(): void {
    // Nothing to put.
  }

  protected matches(): boolean {
    return true
  }
}

/** The digest of a ledger. `password`: the ledger's; only `mac` needs it. */
export function createDigest(type: DigestType, password: Uint8Array): EntryDigest {
  switch (type) {
    case 'crc32c':
      return new Crc32cDigest()
    case 'crc32':
      return new Crc32Digest()
    case 'mac':
      return new MacDigest(password)
    case 'dummy':
      break
  }
  return new DummyDigest()
}
