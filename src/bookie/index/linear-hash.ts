// Chained hashing that grows by one bucket at a time (Litwin's linear hashing): neither an insert
// that copies a whole table nor memory held twice. The chain runs through one word of the records
// themselves; the owner compares keys.

import { invariant } from '../../invariant.ts'
import { PagedWords } from './paged-words.ts'

export interface HashedRecords {
  readonly records: PagedWords
  /** The word that chains records of one bucket. */
  readonly nextWord: number
  /** Records a bucket on average: a larger load costs time and saves 4 bytes / load a record. */
  readonly load: number
  hashOf(record: number): number
}

/** Mixes two halves and a seed into 32 bits (the finalizer of MurmurHash3). */
export function mix(high: number, low: number, seed: number): number {
  let hash = Math.imul(low ^ seed, 0x9e3779b1) ^ Math.imul(high + 0x7f4a7c15, 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

const firstLevel = 4

export class LinearHash {
  readonly #of: HashedRecords
  readonly #heads = new PagedWords(1)
  #level = firstLevel
  /** Buckets below it are already split to the next level. */
  #split = 0
  #count = 0

  constructor(of: HashedRecords) {
    this.#of = of
    for (let bucket = 0; bucket < 1 << firstLevel; bucket++) this.#heads.allocate()
  }

  get bytes(): number {
    return this.#heads.bytes
  }

  /** The first record of the chain a hash falls in; follow `nextWord` until 0. */
  first(hash: number): number {
    return this.#heads.get(this.#bucket(hash) + 1, 0)
  }

  insert(record: number, hash: number): void {
    const bucket = this.#bucket(hash) + 1
    this.#of.records.set(record, this.#of.nextWord, this.#heads.get(bucket, 0))
    this.#heads.set(bucket, 0, record)
    this.#count++
    if (this.#count > this.#of.load * ((1 << this.#level) + this.#split)) this.#grow()
  }

  remove(record: number, hash: number): void {
    const { records, nextWord } = this.#of
    const bucket = this.#bucket(hash) + 1
    const after = records.get(record, nextWord)
    let at = this.#heads.get(bucket, 0)
    if (at === record) {
      this.#heads.set(bucket, 0, after)
    } else {
      let next = records.get(at, nextWord)
      while (next !== record) {
        invariant(next !== 0, 'a hashed record is in its chain', { record })
        at = next
        next = records.get(at, nextWord)
      }
      records.set(at, nextWord, after)
    }
    this.#count--
  }

  #bucket(hash: number): number {
    const bucket = hash & ((1 << this.#level) - 1)
    return bucket < this.#split ? hash & ((2 << this.#level) - 1) : bucket
  }

  /** Splits one bucket: its records go to it or to the new last bucket. */
  #grow(): void {
    const { records, nextWord } = this.#of
    const low = this.#split + 1
    const high = this.#heads.allocate()
    invariant(high === (1 << this.#level) + low, 'buckets are dense', { high, low })
    const bit = 1 << this.#level
    let at = this.#heads.get(low, 0)
    this.#heads.set(low, 0, 0)
    while (at !== 0) {
      const next = records.get(at, nextWord)
      const to = (this.#of.hashOf(at) & bit) === 0 ? low : high
      records.set(at, nextWord, this.#heads.get(to, 0))
      this.#heads.set(to, 0, at)
      at = next
    }
    this.#split++
    if (this.#split === bit) {
      this.#level++
      this.#split = 0
    }
  }
}
