// The owner's writer of a log: takes records, sends entries, tells positions, rolls segments.
// Guarantees:
// W1 a position is told only when its entry, and all before it, are acknowledged by the ledger;
// W2 the first failure ends it: what was sent is unknown, what was not is told so, and nothing more
// is sent (D3);
// W3 a new segment is written to only after the record names it, and only after the one before it
// is closed, so at most one segment of a log is ever open (close-then-open, D6);
// W4 an entry is shown to readers of this process only when it is acknowledged.
// The decisions on batching are in core/batcher.ts; taking ownership is in acquire.ts.

import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import type { LedgerWriter } from '../../replication/api.ts'
import { Batcher, type SealedEntry } from './core/batcher.ts'
import type { Confirmed } from './confirmations.ts'
import { appendSegment, recordEnd, type SegmentEnd } from './core/log-record.ts'
import { ledgerMark, type LogParts } from './parts.ts'
import { Gate } from './wait.ts'

export interface LogWriter extends AsyncDisposable {
  /** The fencing token: larger than that of every owner before. */
  readonly epoch: number
  /** Position of the record that is appended next. */
  readonly nextPosition: number
  /** True when a record would be taken now; wait for `ready` otherwise. */
  readonly writable: boolean
  /**
   * Resolves once: to undefined after `close`, else to the error after which nothing is appended
   * any more.
   */
  readonly ended: Promise<Error | undefined>
  /**
   * Resolves to the record's position when it is durable on an ack quorum, and everything before it
   * is. It has taken the bytes when it returns. Rejects with QUIRE_BACKPRESSURE,
   * QUIRE_ENTRY_TOO_LARGE, QUIRE_CLOSED, QUIRE_NOT_OWNER (nothing was sent), QUIRE_OUTCOME_UNKNOWN
   * (it may or may not be in the log: read it to know).
   */
  append(record: Uint8Array): Promise<number>
  /**
   * The same for several records at consecutive positions, not necessarily in one entry; resolves
   * to the first's position.
   */
  appendMany(records: readonly Uint8Array[]): Promise<number>
  /**
   * Resolves when `append` would take a record. Rejects with what ended the writer, or
   * QUIRE_ABORTED.
   */
  ready(signal?: AbortSignal): Promise<void>
  /** Waits for what is pending, closes the segment and records its end. */
  close(): Promise<void>
}

/** The open segment that a writer begins with: the record names it already (W3). */
export interface WriterStart {
  readonly logId: string
  readonly epoch: number
  readonly seq: number
  readonly ledger: LedgerWriter
  readonly firstPosition: number
  /** Log time so far. */
  readonly timeMs: number
}

/**
 * A segment that has lost a bookie is rolled no sooner, so that a flapping one does not make a
 * segment a second.
 */
const degradedRollMs = 10_000

interface Waiter {
  readonly first: number
  readonly end: number
  readonly resolve: (position: number) => void
  readonly reject: (error: Error) => void
}

export class SegmentedWriter implements LogWriter {
  readonly epoch: number
  readonly ended: Promise<Error | undefined>
  readonly #parts: LogParts
  readonly #logId: string
  readonly #batcher: Batcher
  readonly #waiters: Waiter[] = []
  readonly #room = new Gate()
  readonly #drained = new Gate()
  readonly #end: (error: Error | undefined) => void
  #ledger: LedgerWriter
  #seq: number
  #timeMs: number
  #segmentBytes = 0
  #openedMs: number
  #flushPlanned = false
  /**
   * `rolling`: the next ledger is being made, sending goes on. `switching`: nothing is sent until
   * the record names it.
   */
  #state: 'open' | 'rolling' | 'switching' | 'closing' | 'ended' = 'open'
  #failure: Error | undefined
  #closing: Promise<void> | undefined
  #closeAsked = false
  #rollNotBeforeMs = 0
  #stopWatching: (() => void) | undefined
  #confirmed: Confirmed | undefined

  constructor(parts: LogParts, start: WriterStart) {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.ended = promise
    this.#end = resolve
    this.#parts = parts
    this.epoch = start.epoch
    this.#logId = start.logId
    this.#seq = start.seq
    this.#ledger = start.ledger
    this.#timeMs = start.timeMs
    this.#openedMs = parts.clock.monotonicMs()
    this.#batcher = new Batcher(start.firstPosition, parts.options)
    parts.feed.attach(this, start.firstPosition)
    void this.#watchOwner()
  }

  /**
   * Notices a newer owner although nothing is appended: readers in this process would else wait for
   * this writer for ever. A hint; safety is the fence. Ends with the writer.
   */
  async #watchOwner(): Promise<void> {
    const { store, timers, options, logger, name } = this.#parts
    while (this.#state !== 'ended') {
      const changed = new Gate()
      const wake = (): void => changed.open()
      // Ready before the read: a change that comes at once must not be missed.
      const woken = changed.wait()
      const timer = timers.after(options.pollMs * 6, wake)
      this.#stopWatching = wake
      try {
        const { value } = await store.read({ watch: wake })
        if (value.ownerEpoch > this.epoch) this.#fail(this.#lost(value.ownerEpoch))
      } catch (error) {
        logger.debug({ log: name, err: error }, 'the record of a log could not be read')
      }
      if (this.#ended()) wake()
      await woken
      timer.cancel()
      store.unwatch(wake)
    }
  }

  #ended(): boolean {
    return this.#state === 'ended'
  }

  /** The newest entry that is acknowledged. */
  get confirmed(): Confirmed | undefined {
    return this.#confirmed
  }

  get nextPosition(): number {
    return this.#batcher.nextPosition
  }

  get writable(): boolean {
    return this.#taking && this.#batcher.open
  }

  get #taking(): boolean {
    return this.#state !== 'ended' && !this.#closeAsked
  }

  append(record: Uint8Array): Promise<number> {
    return this.appendMany([record])
  }

  appendMany(records: readonly Uint8Array[]): Promise<number> {
    const refusal = this.#refuse(records)
    if (refusal) return Promise.reject(refusal)
    const first = this.#batcher.nextPosition
    if (records.length === 0) return Promise.resolve(first)
    for (const record of records) this.#batcher.take(record)
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#waiters.push({ first, end: this.#batcher.nextPosition, resolve, reject })
    this.#planFlush()
    return promise
  }

  #refuse(records: readonly Uint8Array[]): QuireError | undefined {
    if (!this.#taking) return this.#notSent()
    const large = records.find((record) => !this.#batcher.fits(record))
    if (large) {
      return new QuireError(
        'QUIRE_ENTRY_TOO_LARGE',
        `a record of ${large.length} bytes does not fit into an entry of the log ` +
          `${this.#parts.name}; split it, or raise entryBytes`,
        { facts: { bytes: large.length, entryBytes: this.#parts.options.entryBytes } },
      )
    }
    if (this.#batcher.open) return undefined
    return new QuireError(
      'QUIRE_BACKPRESSURE',
      `the log ${this.#parts.name} has ${this.#batcher.pendingBytes} bytes that are not ` +
        'acknowledged yet; wait for ready()',
      { facts: { pendingBytes: this.#batcher.pendingBytes } },
    )
  }

  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.writable) {
      if (!this.#taking) throw this.#notSent()
      await this.#room.wait(signal)
    }
  }

  /** Entries leave together at the end of this turn, so that records of one turn share one. */
  #planFlush(): void {
    if (this.#flushPlanned) return
    this.#flushPlanned = true
    this.#parts.timers.soon(() => {
      this.#flushPlanned = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#sending()) {
      const time = Math.max(this.#timeMs, Math.floor(this.#parts.clock.wallMs()))
      const entry = this.#batcher.send(time)
      if (!entry) break
      this.#timeMs = time
      this.#segmentBytes += entry.payload.length
      const ledger = this.#ledger
      const acknowledged = (entryId: number): void => {
        this.#confirmed = { ledgerId: ledger.ledgerId, entryId }
        this.#acknowledged(entry)
      }
      ledger
        .append(entry.payload)
        .then(acknowledged)
        .catch((error: unknown) => this.#fail(error))
    }
    if (this.#rollIsDue()) void this.#roll()
  }

  #sending(): boolean {
    if (this.#state === 'ended' || this.#state === 'switching') return false
    return this.#closeAsked || this.#segmentBytes < 2 * this.#parts.options.segmentBytes
  }

  #acknowledged(entry: SealedEntry): void {
    if (this.#state === 'ended') return
    const acked = this.#batcher.acknowledge()
    for (let waiter = this.#waiters[0]; waiter && waiter.end <= acked; waiter = this.#waiters[0]) {
      this.#waiters.shift()
      waiter.resolve(waiter.first)
    }
    this.#room.open()
    this.#parts.feed.publish(this, entry)
    if (this.#batcher.inFlight === 0) this.#drained.open()
    this.#flush()
  }

  #rollIsDue(): boolean {
    if (this.#state !== 'open' || this.#segmentBytes === 0) return false
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs < this.#rollNotBeforeMs) return false
    const { segmentBytes, segmentAgeMs } = this.#parts.options
    const ageMs = nowMs - this.#openedMs
    if (this.#segmentBytes >= segmentBytes || ageMs >= segmentAgeMs) return true
    // A new ledger has as many copies as the cluster can hold now (A16).
    return this.#ledger.degraded && ageMs >= degradedRollMs
  }

  /**
   * The next ledger first, while sending goes on; then drain, close, and one change of the record
   * (W3).
   */
  async #roll(): Promise<void> {
    this.#state = 'rolling'
    const next = await this.#createNext()
    if (this.#state !== 'rolling' || !next) {
      if (next) this.#discard(next)
      return
    }
    this.#state = 'switching'
    try {
      const end = await this.#endSegment()
      const segment = { ledgerId: next.ledgerId, epoch: this.epoch }
      const { outcome } = await this.#parts.store.change((r) => appendSegment(r, segment, end))
      if (outcome.type === 'lost') throw this.#lost(outcome.epoch)
    } catch (error) {
      this.#discard(next)
      this.#fail(error)
      return
    }
    // A failure may have ended it meanwhile; the new segment is then empty, and the next owner
    // closes it.
    if (this.#failure) return
    this.#ledger = next
    this.#seq += 1
    this.#segmentBytes = 0
    this.#openedMs = this.#parts.clock.monotonicMs()
    this.#state = this.#closeAsked ? 'closing' : 'open'
    this.#parts.logger.debug({ log: this.#parts.name, seq: this.#seq }, 'a new segment began')
    this.#flush()
    this.#drained.open()
  }

  /**
   * A failure to make a ledger does not end the writer: the open segment goes on, to twice its size
   * (D11).
   */
  async #createNext(): Promise<LedgerWriter | undefined> {
    const { ledgers, options, clock, timers, logger, name } = this.#parts
    const mark = {
      logId: this.#logId,
      epoch: this.epoch,
      kind: 'segment',
      seq: this.#seq + 1,
    } as const
    try {
      return await ledgers.create({ ...options.ledger, customMetadata: ledgerMark(mark) })
    } catch (error) {
      if (this.#state !== 'rolling') return undefined
      logger.warn({ log: name, err: error }, 'the next segment could not be made yet')
      this.#rollNotBeforeMs = clock.monotonicMs() + 1000
      this.#state = this.#closeAsked ? 'closing' : 'open'
      this.#drained.open()
      timers.after(1001, () => this.#flush())
      return undefined
    }
  }

  async #endSegment(): Promise<SegmentEnd> {
    while (this.#batcher.inFlight > 0 && !this.#failure) await this.#drained.wait()
    if (this.#failure) throw this.#failure
    await this.#ledger.close()
    return {
      ledgerId: this.#ledger.ledgerId,
      endPosition: this.#batcher.ackedPosition,
      timeMs: this.#timeMs,
    }
  }

  close(): Promise<void> {
    this.#closeAsked = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    if (this.#state === 'ended') return
    while (!this.#quiet()) {
      this.#flush()
      await this.#drained.wait()
    }
    if (this.#failure) return
    try {
      const end = await this.#endSegment()
      // A newer owner may have claimed the log: then it records the end.
      await this.#parts.store.change((r) => recordEnd(r, this.epoch, end))
    } catch (error) {
      this.#fail(error)
      throw error
    }
    // A newer owner may have been noticed meanwhile: what was taken was acknowledged all the same.
    if (!this.#ended()) this.#finish(undefined)
  }

  /**
   * True when nothing more happens by itself: everything was acknowledged and no roll is under way,
   * or it failed.
   */
  #quiet(): boolean {
    if (this.#state === 'open') this.#state = 'closing'
    return this.#state === 'ended' || (this.#state === 'closing' && this.#batcher.idle)
  }

  #fail(cause: unknown): void {
    if (this.#state === 'ended') return
    const fenced = QuireError.is(cause, 'QUIRE_LEDGER_FENCED')
    const error = QuireError.is(cause, 'QUIRE_NOT_OWNER')
      ? cause
      : new QuireError(
          fenced ? 'QUIRE_NOT_OWNER' : 'QUIRE_CLOSED',
          fenced
            ? `another owner took the log ${this.#parts.name}; acquire it again to write`
            : `the writer of the log ${this.#parts.name} ended after a failure; acquire the ` +
                'log again',
          { cause, facts: { epoch: this.epoch } },
        )
    this.#parts.logger.warn({ log: this.#parts.name, err: error }, 'a writer ended')
    this.#finish(error)
    this.#discard(this.#ledger)
  }

  #finish(failure: Error | undefined): void {
    invariant(this.#state !== 'ended', 'a writer ends once')
    const sent = this.#batcher.sentPosition
    this.#state = 'ended'
    this.#failure = failure
    this.#parts.feed.detach(this)
    for (const waiter of this.#waiters.splice(0)) {
      waiter.reject(waiter.first < sent ? this.#unknown(waiter.first) : this.#notSent())
    }
    this.#end(failure)
    this.#stopWatching?.()
    this.#room.open()
    this.#drained.open()
  }

  #unknown(position: number): QuireError {
    return new QuireError(
      'QUIRE_OUTCOME_UNKNOWN',
      `the record may or may not be at position ${position} of the log ${this.#parts.name}; ` +
        'acquire or read the log to know',
      { cause: this.#failure, facts: { position } },
    )
  }

  #notSent(): QuireError {
    const lost = QuireError.is(this.#failure, 'QUIRE_NOT_OWNER')
    return new QuireError(
      lost ? 'QUIRE_NOT_OWNER' : 'QUIRE_CLOSED',
      `nothing was sent: the writer of the log ${this.#parts.name} has ended; acquire the ` +
        'log again',
      { cause: this.#failure, facts: { sent: false } },
    )
  }

  #lost(epoch: number): QuireError {
    return new QuireError(
      'QUIRE_NOT_OWNER',
      `the log ${this.#parts.name} has a newer owner; acquire it again to write`,
      { facts: { epoch, own: this.epoch } },
    )
  }

  /**
   * Lets a ledger go. Its end is found by the next owner; if it is in no record, it is collected.
   */
  #discard(ledger: LedgerWriter): void {
    ledger.close().catch((error: unknown) => {
      this.#parts.logger.debug({ log: this.#parts.name, err: error }, 'a ledger was left open')
    })
  }
}
