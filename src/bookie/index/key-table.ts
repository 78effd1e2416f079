// The master keys of ledgers. Equal keys are stored once (a cluster mostly has one), counted, and
// freed with the last ledger that has them. A key of more than 20 bytes, which no known client
// sends, is kept as the first 20 bytes of its SHA-256: equality stays exact for all that can be
// found.

import { createHash } from 'node:crypto'
import { readU32 } from '../../wire/int64.ts'
import { LinearHash, mix } from './linear-hash.ts'
import { PagedWords } from './paged-words.ts'

const nextWord = 0
const countWord = 1
const bytesWord = 2
const keyWords = 5
const keyBytes = keyWords * 4
/** Stands in the place of the length for a key that is kept as a digest. */
const digested = 255
/** A key with so many ledgers is never freed. */
const countMax = 0xffffff

export class KeyTable {
  readonly #keys = new PagedWords(bytesWord + keyWords)
  readonly #seed: number
  readonly #hash: LinearHash
  /** The key being looked for: its words, and its length or `digested`. */
  readonly #probe = new Uint32Array(keyWords)
  #probeLength = 0

  constructor(seed: number) {
    this.#seed = seed
    this.#hash = new LinearHash({
      records: this.#keys,
      nextWord,
      load: 4,
      hashOf: (record) => this.#hashOfRecord(record),
    })
  }

  get bytes(): number {
    return this.#keys.bytes + this.#hash.bytes
  }

  /** Distinct keys. */
  get count(): number {
    return this.#keys.live
  }

  /** The reference of a key, one use of it counted. Never 0. */
  intern(bytes: Buffer, start: number, end: number): number {
    this.#load(bytes, start, end)
    const hash = this.#hashOfProbe()
    let key = this.#hash.first(hash)
    while (key !== 0 && !this.#equalsProbe(key)) key = this.#keys.get(key, nextWord)
    if (key === 0) {
      key = this.#keys.allocate()
      for (let word = 0; word < keyWords; word++) {
        this.#keys.set(key, bytesWord + word, this.#probe[word] ?? 0)
      }
      this.#keys.set(key, countWord, (this.#probeLength << 24) >>> 0)
      this.#hash.insert(key, hash)
    }
    const counted = this.#keys.get(key, countWord)
    if ((counted & countMax) !== countMax) this.#keys.set(key, countWord, counted + 1)
    return key
  }

  /** Takes one use back. */
  release(key: number): void {
    const counted = this.#keys.get(key, countWord)
    if ((counted & countMax) === countMax) return
    this.#keys.set(key, countWord, counted - 1)
    if (((counted - 1) & countMax) !== 0) return
    this.#hash.remove(key, this.#hashOfRecord(key))
    this.#keys.release(key)
  }

  matches(key: number, bytes: Buffer, start: number, end: number): boolean {
    if (end - start !== keyBytes) {
      this.#load(bytes, start, end)
      return this.#equalsProbe(key)
    }
    const page = this.#keys.page(key)
    const base = this.#keys.base(key)
    if ((page[base + countWord] ?? 0) >>> 24 !== keyBytes) return false
    for (let word = 0; word < keyWords; word++) {
      if (page[base + bytesWord + word] !== readU32(bytes, start + word * 4)) return false
    }
    return true
  }

  #load(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    this.#probeLength = length <= keyBytes ? length : digested
    if (length === keyBytes) {
      for (let word = 0; word < keyWords; word++) {
        this.#probe[word] = readU32(bytes, start + word * 4)
      }
      return
    }
    const from =
      length < keyBytes
        ? bytes.subarray(start, end)
        : createHash('sha256').update(bytes.subarray(start, end)).digest()
    this.#probe.fill(0)
    for (let at = 0; at < Math.min(from.length, keyBytes); at++) {
      const word = at >>> 2
      const byte = ((from[at] ?? 0) << (24 - (at & 3) * 8)) >>> 0
      this.#probe[word] = ((this.#probe[word] ?? 0) | byte) >>> 0
    }
  }

  #equalsProbe(key: number): boolean {
    if (this.#keys.get(key, countWord) >>> 24 !== this.#probeLength) return false
    for (let word = 0; word < keyWords; word++) {
      if (this.#keys.get(key, bytesWord + word) !== this.#probe[word]) return false
    }
    return true
  }

  #hashOfProbe(): number {
    let hash = this.#seed
    for (let word = 0; word < keyWords; word++) hash = mix(word, this.#probe[word] ?? 0, hash)
    return hash
  }

  #hashOfRecord(key: number): number {
    let hash = this.#seed
    for (let word = 0; word < keyWords; word++) {
      hash = mix(word, this.#keys.get(key, bytesWord + word), hash)
    }
    return hash
  }
}
