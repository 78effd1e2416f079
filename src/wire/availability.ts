// The list of entries that a bookie holds of a ledger, as GET_LIST_OF_ENTRIES_OF_LEDGER carries it
// (wire 2.12), big-endian:
//
//   header, 64 bytes    i32 version 0 | i32 number of groups | 56 zero bytes
//   group, 24 bytes     i64 first start | i64 last start | i32 size | i32 period
//
// A group stands for the runs [s, s + size − 1] of s = first, first + period, … last; period 0: one
// run. Written as Java writes it, one group for each run; read with any period.

import { invariant } from '../invariant.ts'
import { ByteWriter } from './bytes.ts'
import { readI32, readInt64 } from './int64.ts'

const headerBytes = 64
const groupBytes = 24
const sizeMax = 0x7fff_ffff

/** Consecutive ids, both ends included. */
export interface Run {
  readonly first: number
  readonly last: number
}

/**
 * Takes runs in ascending order, and merges those that touch: Java has one group for a maximal run.
 */
export class AvailabilityWriter {
  readonly #writer = new ByteWriter(1024)
  #groups = 0
  #first = 0
  /** Below the first id until there is a run. */
  #last = -1
  #open = false

  constructor() {
    this.#writer.raw(Buffer.alloc(headerBytes))
  }

  add(first: number, last: number): void {
    invariant(first > this.#last && first <= last, 'runs are ascending', { first, last })
    const joins = this.#open && first === this.#last + 1
    if (!joins) {
      this.#close()
      this.#first = first
      this.#open = true
    }
    this.#last = last
  }

  #close(): void {
    if (!this.#open) return
    for (let first = this.#first; first <= this.#last; first += sizeMax) {
      const size = Math.min(this.#last - first + 1, sizeMax)
      this.#writer.safeInteger(first).safeInteger(first).i32(size).i32(0)
      this.#groups++
    }
  }

  /** The bytes; nothing may be added any more. */
  finish(): Buffer {
    this.#close()
    return this.#writer.setU32(4, this.#groups).finish()
  }
}

/** The bytes of runs in ascending order. */
export function encodeAvailability(runs: Iterable<Run>): Buffer {
  const writer = new AvailabilityWriter()
  for (const { first, last } of runs) writer.add(first, last)
  return writer.finish()
}

/**
 * What a bookie said that it holds. Reads the bytes where they lie: copy them if they are a
 * chunk's.
 */
export class Availability {
  readonly #bytes: Buffer
  readonly #start: number
  readonly #groups: number

  /** Use `decodeAvailability`, which checks the bytes. */
  constructor(bytes: Buffer, start: number, groups: number) {
    this.#bytes = bytes
    this.#start = start
    this.#groups = groups
  }

  #at(group: number): number {
    return this.#start + headerBytes + group * groupBytes
  }

  /** How many entries it holds. */
  get entryCount(): number {
    let count = 0
    for (let group = 0; group < this.#groups; group++) {
      const at = this.#at(group)
      const period = readI32(this.#bytes, at + 20)
      const span = readInt64(this.#bytes, at + 8) - readInt64(this.#bytes, at)
      const repeats = period === 0 ? 1 : Math.floor(span / period) + 1
      count += repeats * readI32(this.#bytes, at + 16)
    }
    return count
  }

  has(entryId: number): boolean {
    // The group with the greatest first start that is not beyond the id.
    let low = 0
    let high = this.#groups
    while (low < high) {
      const middle = (low + high) >>> 1
      if (readInt64(this.#bytes, this.#at(middle)) <= entryId) low = middle + 1
      else high = middle
    }
    if (low === 0) return false
    const at = this.#at(low - 1)
    const first = readInt64(this.#bytes, at)
    const size = readI32(this.#bytes, at + 16)
    const period = readI32(this.#bytes, at + 20)
    if (entryId >= readInt64(this.#bytes, at + 8) + size) return false
    return (period > 0 ? (entryId - first) % period : entryId - first) < size
  }

  /** The runs in ascending order, one by one: a group may stand for very many. */
  *runs(): Generator<Run, void, undefined> {
    for (let group = 0; group < this.#groups; group++) {
      const at = this.#at(group)
      const first = readInt64(this.#bytes, at)
      const last = readInt64(this.#bytes, at + 8)
      const size = readI32(this.#bytes, at + 16)
      const period = readI32(this.#bytes, at + 20)
      for (let start = first; start <= last; start += period || Infinity) {
        yield { first: start, last: start + size - 1 }
      }
    }
  }
}

/** Reads bytes[start, end). Undefined: another version, short, or groups that make no sense. */
export function decodeAvailability(
  bytes: Buffer,
  start: number,
  end: number,
): Availability | undefined {
  if (end - start < headerBytes || readI32(bytes, start) !== 0) return undefined
  const groups = readI32(bytes, start + 4)
  if (groups < 0 || groups > (end - start - headerBytes) / groupBytes) return undefined
  let before = -1
  for (let group = 0; group < groups; group++) {
    const at = start + headerBytes + group * groupBytes
    const first = readInt64(bytes, at)
    const last = readInt64(bytes, at + 8)
    const size = readI32(bytes, at + 16)
    const period = readI32(bytes, at + 20)
    // Groups may interleave (periods) but begin in ascending order; runs of one do not overlap.
    const sound =
      first > before &&
      Number.isSafeInteger(last + size) &&
      size > 0 &&
      (period === 0 ? first === last : period >= size && (last - first) % period === 0) &&
      last >= first
    if (!sound) return undefined
    before = first
  }
  return new Availability(bytes, start, groups)
}
