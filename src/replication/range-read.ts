// Reads a range of entries in order, ahead of its consumer: several requests in flight, within a
// budget of bytes.
//
// An entry is a view of the bytes as they came from the socket: nothing is copied.

import { QuireError } from '../errors.ts'
import { statuses } from '../wire/bookie-messages.ts'
import type { BookieResponse } from '../wire/bookie-messages.ts'
import { encodeReadRequest } from '../wire/bookie-request.ts'
import { entryLac, entryLength, entryPayloadStart, verifyEntry } from '../wire/entry.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import type { LedgerIdentity } from './add-pipeline.ts'
import type { LedgerEntry } from './api.ts'
import type { ReplySink } from './bookie-connection.ts'
import { holesKey, parseHoles } from './core/holes.ts'
import type { Hole } from './core/holes.ts'
import { fragmentOf } from './core/metadata-update.ts'
import { createQuorum } from './core/quorum.ts'
import type { Quorum } from './core/quorum.ts'
import {
  askNext,
  createReader,
  endEntry,
  failureOf,
  onReplicaFailed,
  readFailures,
  startEntry,
  wantsSpeculation,
} from './core/reader.ts'
import type { ReaderState } from './core/reader.ts'
import type { ClientParts } from './parts.ts'
import { unreadable } from './reader-errors.ts'
import { Gate } from './wait.ts'

/** What a range read needs of the reader that it belongs to. */
export interface ReadSource {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly metadata: LedgerMetadata
  /** Reads the metadata again; true when the fragments of the entry have other bookies now. */
  refresh(entryId: number): Promise<boolean>
  /** An entry said what was confirmed when it was sent. */
  heardLac(lac: number): void
}

/** Requests in flight at most. */
const windowEntries = 256

/** Names the replica that answers: one for each index. */
class ReplicaSink implements ReplySink {
  readonly #read: RangeRead
  readonly #index: number

  constructor(read: RangeRead, index: number) {
    this.#read = read
    this.#index = index
  }

  answered(entryId: number, response: BookieResponse): void {
    this.#read.answered(entryId, this.#index, response)
  }

  failed(entryId: number, error: QuireError): void {
    const { lost, timedOut } = readFailures
    if (error.code === 'QUIRE_UNAUTHORIZED') this.#read.refusal = error
    this.#read.failed(entryId, this.#index, error.code === 'QUIRE_TIMEOUT' ? timedOut : lost)
  }
}

export class RangeRead {
  readonly #source: ReadSource
  readonly #state: ReaderState = createReader(windowEntries)
  readonly #entries: (LedgerEntry | undefined)[] = Array.from({ length: windowEntries })
  readonly #errors = new Map<number, QuireError>()
  readonly #moved = new Gate()
  readonly #sinks: readonly ReplicaSink[]
  readonly #quorum: Quorum
  readonly #holes: readonly Hole[]
  readonly #sticky: number
  /** Of a bookie, for want of the right secret: tells why an entry could not be read. */
  refusal: QuireError | undefined
  #poor = 0
  readonly #to: number
  /** Next to hand out, and next to ask for. */
  #next: number
  #issued: number
  #heldBytes = 0
  /** Mean payload so far: a request's share of the budget. */
  #meanBytes = 1_024
  #ended = false

  constructor(source: ReadSource, range: { from: number; to: number }) {
    this.#source = source
    this.#next = range.from
    this.#issued = range.from
    this.#to = range.to
    this.#quorum = createQuorum(source.metadata)
    this.#sinks = Array.from(
      { length: this.#quorum.ensembleSize },
      (_, index) => new ReplicaSink(this, index),
    )
    this.#holes = parseHoles(source.metadata.customMetadata.get(holesKey))
    this.#sticky = source.parts.random.below(this.#quorum.ensembleSize)
  }

  /** The entries, in order. */
  async *entries(signal?: AbortSignal): AsyncGenerator<LedgerEntry, void, undefined> {
    try {
      while (this.#next <= this.#to) {
        this.#fill()
        const slot = this.#next % windowEntries
        const entry = this.#entries[slot]
        if (entry === undefined) {
          const error = this.#errors.get(this.#next)
          if (error !== undefined) throw error
          await this.#moved.wait(signal)
          continue
        }
        this.#entries[slot] = undefined
        this.#heldBytes -= entry.payload.length
        this.#next += 1
        yield entry
      }
    } finally {
      this.#ended = true
    }
  }

  answered(entryId: number, index: number, response: BookieResponse): void {
    const { identity } = this.#source
    const { ledgerHigh, ledgerLow, digest } = identity
    if (response.status !== statuses.ok || !response.hasBody) {
      this.failed(entryId, index, response.status === statuses.ok ? statuses.io : response.status)
      return
    }
    const { bytes, bodyStart, bodyEnd } = response
    const expected = { digest, ledgerHigh, ledgerLow, entryId }
    if (verifyEntry(bytes, bodyStart, bodyEnd, expected) !== 'ok') {
      this.failed(entryId, index, readFailures.digestMismatch)
      return
    }
    if (!endEntry(this.#state, entryId) || this.#ended) return
    this.#poor &= ~(1 << index)
    const payload = bytes.subarray(entryPayloadStart(bodyStart, digest), bodyEnd)
    const lengthBytes = entryLength(bytes, bodyStart)
    this.#entries[entryId % windowEntries] = { entryId, payload, lengthBytes }
    this.#heldBytes += payload.length
    this.#meanBytes += (payload.length - this.#meanBytes) / 8
    this.#source.heardLac(entryLac(bytes, bodyStart))
    if (entryId === this.#next) this.#moved.open()
  }

  failed(entryId: number, index: number, status: number): void {
    if (this.#ended) return
    const { lost, timedOut } = readFailures
    if (status === lost || status === timedOut) this.#poor |= 1 << index
    if (!onReplicaFailed(this.#state, entryId, { index, status })) return
    const nowMs = this.#source.parts.clock.monotonicMs()
    const next = askNext(this.#state, entryId, { preference: this.#preference(entryId), nowMs })
    if (next >= 0) this.#send(entryId, next)
    else void this.#exhausted(entryId) // Tells its end itself.
  }

  sweep(nowMs: number): boolean {
    const afterMs = this.#source.parts.options.speculateAfterMs
    for (let entryId = this.#next; entryId < this.#issued && !this.#ended; entryId += 1) {
      if (!wantsSpeculation(this.#state, entryId, { afterMs, nowMs })) continue
      const preference = this.#preference(entryId)
      const index = askNext(this.#state, entryId, { preference, nowMs })
      if (index >= 0) this.#send(entryId, index)
    }
    return !this.#ended
  }

  #fill(): void {
    const { parts } = this.#source
    const budget = parts.options.readAheadBytes
    if (this.#issued > this.#to) return
    // Half a window at a time: requests leave in few writes.
    const ahead = this.#issued - this.#next
    if (ahead > windowEntries / 2) return
    const nowMs = parts.clock.monotonicMs()
    while (this.#issued <= this.#to && this.#issued - this.#next < windowEntries) {
      const expected = this.#heldBytes + (this.#issued - this.#next) * this.#meanBytes
      if (expected > budget && this.#issued > this.#next) break
      const entryId = this.#issued
      this.#issued += 1
      const preference = this.#preference(entryId)
      this.#send(entryId, startEntry(this.#state, entryId, { preference, nowMs }))
    }
    parts.sweeper.watch(this)
  }

  #preference(entryId: number): { quorum: Quorum; sticky: number; poor: number } {
    let poor = this.#poor
    const { ensemble } = fragmentOf(this.#source.metadata, entryId)
    for (const { bookieId, from, to } of this.#holes) {
      if (entryId < from || (to !== undefined && entryId > to)) continue
      const index = ensemble.indexOf(bookieId)
      if (index >= 0) poor |= 1 << index
    }
    return { quorum: this.#quorum, sticky: this.#sticky, poor }
  }

  #send(entryId: number, index: number): void {
    const { parts, identity, metadata } = this.#source
    const bookieId = fragmentOf(metadata, entryId).ensemble[index]
    const sink = this.#sinks[index]
    if (bookieId === undefined || sink === undefined) return
    const { ledgerHigh, ledgerLow } = identity
    parts.bookies.connection(bookieId).request({
      encode: (txnLow) =>
        encodeReadRequest({ txnHigh: 0, txnLow, ledgerHigh, ledgerLow, entryId, flags: 0 }),
      sink,
      token: entryId,
      timeoutMs: parts.options.readTimeoutMs,
    })
  }

  /** Every replica failed: the fragments may have been repaired to other bookies meanwhile. */
  async #exhausted(entryId: number): Promise<void> {
    const status = failureOf(this.#state, entryId)
    const { ledgerId } = this.#source.identity
    try {
      endEntry(this.#state, entryId)
      if (await this.#source.refresh(entryId)) {
        const nowMs = this.#source.parts.clock.monotonicMs()
        const preference = this.#preference(entryId)
        this.#send(entryId, startEntry(this.#state, entryId, { preference, nowMs }))
        return
      }
      this.#errors.set(entryId, unreadable({ ledgerId, entryId, status, cause: this.refusal }))
    } catch (cause) {
      const gone = QuireError.is(cause, 'QUIRE_LEDGER_MISSING')
      const error = gone ? cause : unreadable({ ledgerId, entryId, status, cause })
      this.#errors.set(entryId, error)
    }
    this.#moved.open()
  }
}
