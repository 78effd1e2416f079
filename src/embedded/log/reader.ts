// Reading a log from a position, beside its writer and without ever fencing it. Guarantees:
// R1 records come in order of position, each once, without a hole: a missing position is an error,
// never skipped;
// R2 only the record tells where a segment ends; a closed ledger or a failed read is not the end of
// the log (D4, D11);
// R3 a segment whose end is recorded is read to that end, however little a ledger opened without
// recovery confirms (A14 D12);
// R4 what another process has not acknowledged, or this one's writer, is not delivered;
// R5 a `break` or the signal releases everything.

import { QuireError } from '../../errors.ts'
import type { LedgerReader } from '../../replication/api.ts'
import { decodeEntry, decodeEntryHeader } from './core/log-entry.ts'
import { locate, type Location } from './core/locate.ts'
import type { LogRecord, LogSegment } from './core/log-record.ts'
import type { LogParts } from './parts.ts'
import { Gate, checkSignal } from './wait.ts'

export interface ReadLogOptions {
  /** The first position to read. Default: the oldest that is there. */
  readonly from?: number | undefined
  /** The first position that is not read any more. Default: none. */
  readonly to?: number | undefined
  /**
   * Wait for what is appended later, for ever, instead of ending at what is confirmed now. Default
   * false.
   */
  readonly follow?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/** The records of one entry, or the part of it that was asked for. */
export interface LogBatch {
  readonly firstPosition: number
  readonly timeMs: number
  readonly records: readonly Buffer[]
}

/**
 * One pass over a log. Fails with QUIRE_TRUNCATED (`facts.oldest`, `facts.snapshot`),
 * QUIRE_LOG_CORRUPT, QUIRE_ABORTED, and with what ledgers and metadata fail with;
 * `LogCursor.position` then says where another pass goes on.
 */
export class LogCursor {
  readonly #parts: LogParts
  readonly #options: ReadLogOptions
  readonly #recordChanged = new Gate()
  /** The record may have changed since it was read. */
  #isStale = false
  readonly #notice = (): void => {
    this.#isStale = true
    this.#recordChanged.open()
  }
  #position: number | undefined
  /**
   * Without `follow`: what was confirmed when this pass reached the open end. A busy writer must
   * not keep it for ever.
   */
  #limit: number | undefined

  constructor(parts: LogParts, options: ReadLogOptions) {
    this.#parts = parts
    this.#options = options
    this.#position = options.from
  }

  async *batches(): AsyncGenerator<LogBatch, void, undefined> {
    try {
      yield* this.#batches()
    } finally {
      this.#parts.store.unwatch(this.#notice)
    }
  }

  async *#batches(): AsyncGenerator<LogBatch, void, undefined> {
    const { signal, follow = false } = this.#options
    if (!follow) this.#limit = this.#parts.feed.end
    for (;;) {
      checkSignal(signal)
      if (this.#done()) return
      const fed = this.#fromFeed()
      if (fed === 'wait') {
        if (!follow) return
        await this.#parts.feed.changed.wait(signal)
      } else if (fed !== 'elsewhere') {
        yield fed
      } else {
        const record = await this.#readRecord()
        if (this.#position === undefined) {
          this.#position = oldestOf(record)
          continue
        }
        const next = yield* this.#visit(locate(record, this.#position))
        if (next === 'again') continue
        if (!follow && !this.#feedHasIt()) return
        await this.#waitForRecord()
      }
    }
  }

  #done(): boolean {
    const to = Math.min(this.#options.to ?? Infinity, this.#limit ?? Infinity)
    return this.#position !== undefined && this.#position >= to
  }

  #fromFeed(): LogBatch | 'wait' | 'elsewhere' {
    if (this.#position === undefined) return 'elsewhere'
    const found = this.#parts.feed.lookup(this.#position)
    return found.type === 'entry' ? this.#take(found.payload) : found.type
  }

  /** Delivers what the place holds. `wait`: the record must change before there can be more. */
  async *#visit(place: Location): AsyncGenerator<LogBatch, 'again' | 'wait', undefined> {
    if (place.type === 'ahead') return 'wait'
    if (place.type === 'truncated') throw truncated(this.#parts.name, place)
    const before = this.#position
    try {
      const { ledgerId } = place.segment
      await using reader = await this.#parts.ledgers.tail(ledgerId, this.#call)
      using _ = this.#listen(reader, ledgerId)
      const end = yield* this.#readSegment(reader, place.segment)
      if (end === 'confirmed') return 'wait'
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_LEDGER_MISSING')) throw error
      // Deleted under a slow reader: the record says whether it was truncated.
      const { value } = await this.#parts.store.read(this.#call)
      if (names(value, place.segment)) throw error
      return 'again'
    }
    if (place.segment.endPosition !== undefined) return 'again'
    return this.#position !== before || this.#parts.feed.end !== undefined ? 'again' : 'wait'
  }

  /** Who follows hears at once what the owner of the log told this process. */
  #listen(reader: LedgerReader, ledgerId: bigint): Disposable {
    const unlisten = this.#parts.confirmations.listen((confirmed) => {
      if (confirmed.ledgerId === ledgerId) reader.heardConfirmed(confirmed.entryId)
    })
    return { [Symbol.dispose]: unlisten }
  }

  /** `confirmed`: an open ledger was read as far as it is confirmed, and nobody wants to wait. */
  async *#readSegment(
    reader: LedgerReader,
    segment: LogSegment,
  ): AsyncGenerator<LogBatch, 'confirmed' | 'end', undefined> {
    const { signal } = this.#options
    let entryId = await this.#findEntry(reader, segment)
    for (;;) {
      const confirmed = reader.lastAddConfirmed
      if (entryId <= confirmed) {
        for await (const { payload } of reader.read({ from: entryId, to: confirmed, signal })) {
          entryId += 1
          // A ledger that is opened anew may know of less that is confirmed than was read before.
          if (this.#isPast(payload)) continue
          yield this.#take(Buffer.from(payload))
          if (this.#done() || this.#feedHasIt()) return 'end'
        }
        if (!this.#waits() && segment.endPosition === undefined && !reader.closed) {
          return 'confirmed'
        }
        continue
      }
      if (this.#position === segment.endPosition) return 'end'
      if (reader.closed) {
        this.#checkEnd(segment)
        return 'end'
      }
      if (!this.#waits() && segment.endPosition === undefined) return 'confirmed'
      await reader.waitForConfirmed(confirmed, { timeoutMs: this.#parts.options.pollMs, signal })
      checkSignal(signal)
      if (this.#feedHasIt()) return 'end'
    }
  }

  /**
   * Whether to wait for the open end: to follow, or because this process's writer has acknowledged
   * more than the ledger tells yet.
   */
  #waits(): boolean {
    if (this.#options.follow) return true
    return this.#limit !== undefined && this.#parts.feed.end !== undefined && !this.#done()
  }

  /** True when this process's writer took over and memory is faster than the ledgers. */
  #feedHasIt(): boolean {
    return (
      this.#position !== undefined && this.#parts.feed.lookup(this.#position).type !== 'elsewhere'
    )
  }

  // R1, R3: the record says that there is more, the closed ledger that there is not.
  #checkEnd(segment: LogSegment): void {
    if (segment.endPosition === undefined || this.#position === segment.endPosition) return
    throw new QuireError(
      'QUIRE_LOG_CORRUPT',
      `positions ${this.#position} to ${segment.endPosition - 1} of the log ` +
        `${this.#parts.name} are missing from ledger ${segment.ledgerId}`,
      { facts: { ledgerId: segment.ledgerId, position: this.#position } },
    )
  }

  /**
   * The entry that holds the position, or one before it when it is not known to be confirmed: each
   * holds at least one record, so a search over first positions finds it.
   */
  async #findEntry(reader: LedgerReader, segment: LogSegment): Promise<number> {
    const position = this.#position ?? segment.firstPosition
    if (position === segment.firstPosition) return 0
    let low = 0
    let high = Math.min(reader.lastAddConfirmed, position - segment.firstPosition)
    while (low <= high) {
      const middle = (low + high) >> 1
      const header = await this.#headerAt(reader, middle)
      if (position < header.firstPosition) high = middle - 1
      else if (position >= header.firstPosition + header.count) low = middle + 1
      else return middle
    }
    return low
  }

  async #headerAt(reader: LedgerReader, entryId: number) {
    const { signal } = this.#options
    for await (const { payload } of reader.read({ from: entryId, to: entryId, signal })) {
      return decodeEntryHeader(payload)
    }
    throw new QuireError(
      'QUIRE_ENTRY_UNREADABLE',
      `entry ${entryId} of ledger ${reader.ledgerId} was not delivered; try again`,
      { facts: { ledgerId: reader.ledgerId, entryId } },
    )
  }

  #isPast(payload: Buffer): boolean {
    const { firstPosition, count } = decodeEntryHeader(payload)
    return this.#position !== undefined && firstPosition + count <= this.#position
  }

  /** The part of an entry from the cursor on, and the cursor moves behind it. */
  #take(payload: Buffer): LogBatch {
    const { firstPosition, timeMs, records } = decodeEntry(payload)
    const position = (this.#position ??= firstPosition)
    const end = firstPosition + records.length
    if (position < firstPosition || position >= end) {
      throw new QuireError(
        'QUIRE_LOG_CORRUPT',
        `position ${position} of the log ${this.#parts.name} was expected, an entry has ` +
          `${firstPosition} to ${end - 1}`,
        { facts: { position, firstPosition } },
      )
    }
    const until = Math.min(end, this.#options.to ?? end)
    this.#position = until
    return {
      firstPosition: position,
      timeMs,
      records: records.slice(position - firstPosition, until - firstPosition),
    }
  }

  get #call(): { signal: AbortSignal | undefined } {
    return { signal: this.#options.signal }
  }

  async #readRecord(): Promise<LogRecord> {
    this.#isStale = false
    const watch = this.#options.follow ? this.#notice : undefined
    return (await this.#parts.store.read({ ...this.#call, watch })).value
  }

  /**
   * A watch may be lost with its session: the wait has an end of its own, and a writer of this
   * process ends it too.
   */
  async #waitForRecord(): Promise<void> {
    if (this.#isStale || this.#parts.feed.end !== undefined) return
    const { timers, options, feed } = this.#parts
    const timer = timers.after(options.pollMs, () => this.#recordChanged.open())
    const done = new AbortController()
    const signals = this.#options.signal ? [this.#options.signal, done.signal] : [done.signal]
    const signal = AbortSignal.any(signals)
    const waits = [this.#recordChanged.wait(signal), feed.changed.wait(signal)]
    try {
      await Promise.race(waits)
    } finally {
      timer.cancel()
      done.abort()
      await Promise.allSettled(waits)
    }
  }
}

function oldestOf(record: LogRecord): number {
  return record.segments[0]?.firstPosition ?? record.truncatedBefore
}

function names(record: LogRecord, segment: LogSegment): boolean {
  return record.segments.some(({ ledgerId }) => ledgerId === segment.ledgerId)
}

function truncated(name: string, place: { oldest: number; snapshot: number | undefined }) {
  return new QuireError(
    'QUIRE_TRUNCATED',
    `the log ${name} begins at position ${place.oldest} now; read a snapshot, or from there`,
    { facts: { oldest: place.oldest, snapshot: place.snapshot } },
  )
}
