// How records become entries. Pure: no promises, no clock. An idle writer sends at once; while
// entries are in flight, records gather into the next one, up to its size; there is no timer.
// Positions are given when a record is taken, and records keep that order. Budgets: bytes taken and
// not yet acknowledged.

import { invariant } from '../../../invariant.ts'
import {
  LogEntryBuilder,
  entryHeaderBytes,
  recordHeaderBytes,
  type LogEntryHeader,
} from './log-entry.ts'

export interface BatchLimits {
  /** Largest payload of one entry. */
  readonly entryBytes: number
  /** Entries in flight above which an entry waits until it is full. */
  readonly depth: number
  /** Bytes taken and not yet acknowledged; at least one entry is always taken. */
  readonly pendingBytes: number
}

/**
 * What a ledger is given at once, well below what it takes (16 MiB, 4,096 entries): it never has to
 * refuse.
 */
const inFlightMax = { entries: 1000, bytes: 8_388_608 } as const

export interface SealedEntry extends LogEntryHeader {
  readonly payload: Buffer
}

export class Batcher {
  readonly #limits: BatchLimits
  readonly #full: LogEntryBuilder[] = []
  readonly #inFlight: { readonly end: number; readonly bytes: number }[] = []
  #gathering: LogEntryBuilder | undefined
  #next: number
  #acked: number
  #bytes = 0
  #inFlightBytes = 0
  /** The last entry's size: the next one's buffer begins as large. */
  #lastBytes = 0

  constructor(firstPosition: number, limits: BatchLimits) {
    this.#next = firstPosition
    this.#acked = firstPosition
    this.#limits = limits
  }

  /** Position of the record that is taken next. */
  get nextPosition(): number {
    return this.#next
  }

  /** Everything before it is acknowledged. */
  get ackedPosition(): number {
    return this.#acked
  }

  /** Everything before it has been sent. */
  get sentPosition(): number {
    return this.#full[0]?.firstPosition ?? this.#gathering?.firstPosition ?? this.#next
  }

  get inFlight(): number {
    return this.#inFlight.length
  }

  /** Nothing is gathered and nothing is in flight. */
  get idle(): boolean {
    return this.#acked === this.#next
  }

  get pendingBytes(): number {
    return this.#bytes
  }

  /** True when a record would be taken now. */
  get open(): boolean {
    return this.#bytes < this.#limits.pendingBytes
  }

  fits(record: Uint8Array): boolean {
    return entryHeaderBytes + recordHeaderBytes + record.length <= this.#limits.entryBytes
  }

  /** Takes the bytes of a record that fits; returns its position. */
  take(record: Uint8Array): number {
    const needed = recordHeaderBytes + record.length
    let entry = this.#gathering
    if (entry && entry.length + needed > this.#limits.entryBytes) {
      this.#full.push(entry)
      entry = undefined
    }
    if (!entry) {
      const capacity = Math.max(this.#lastBytes, entryHeaderBytes + needed)
      entry = new LogEntryBuilder({
        firstPosition: this.#next,
        capacity: Math.min(capacity, this.#limits.entryBytes),
      })
      this.#gathering = entry
      this.#bytes += entryHeaderBytes
    }
    entry.add(record)
    this.#bytes += needed
    this.#next += 1
    return this.#next - 1
  }

  /** The entry to send now, if any. It counts as in flight. */
  send(timeMs: number): SealedEntry | undefined {
    if (this.#inFlight.length >= inFlightMax.entries) return undefined
    if (this.#inFlightBytes >= inFlightMax.bytes) return undefined
    let entry = this.#full.shift()
    if (!entry && this.#inFlight.length < this.#limits.depth) {
      entry = this.#gathering
      this.#gathering = undefined
    }
    if (!entry) return undefined
    const payload = entry.seal(timeMs)
    this.#lastBytes = payload.length
    this.#inFlight.push({ end: entry.endPosition, bytes: payload.length })
    this.#inFlightBytes += payload.length
    return { firstPosition: entry.firstPosition, count: entry.count, timeMs, payload }
  }

  /** The oldest entry in flight is durable; returns the position behind it. */
  acknowledge(): number {
    const entry = this.#inFlight.shift()
    invariant(entry !== undefined, 'an acknowledged entry was in flight')
    this.#bytes -= entry.bytes
    this.#inFlightBytes -= entry.bytes
    this.#acked = entry.end
    return entry.end
  }
}
