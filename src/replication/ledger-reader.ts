// Reads a ledger: of a closed one everything, of an open one what is known to be confirmed. Never
// fences.

import { QuireError } from '../errors.ts'
import type { Versioned } from '../metadata/managers.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import type { LedgerIdentity } from './add-pipeline.ts'
import type { LedgerEntry, LedgerReader } from './api.ts'
import { ConfirmedPoll } from './confirmed.ts'
import { fragmentOf, lastFragment } from './core/metadata-update.ts'
import { createQuorum } from './core/quorum.ts'
import type { ClientParts } from './parts.ts'
import { RangeRead } from './range-read.ts'
import type { ReadSource } from './range-read.ts'
import { checkSignal, Gate, pause } from './wait.ts'

/**
 * A bookie parks a poll no longer than this; then it is asked anew, of the ensemble as it is by
 * then.
 */
const pollMs = 10_000
/** Between polls that all failed at once. */
const restMs = 100

export interface LedgerReaderOptions {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly metadata: Versioned<LedgerMetadata>
  /** Highest confirmation known of an open ledger. */
  readonly lac: number
}

export class DrivenLedgerReader implements LedgerReader, ReadSource {
  readonly ledgerId: bigint
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  #metadata: Versioned<LedgerMetadata>
  #lac: number
  #closed = false
  readonly #moved = new Gate()
  readonly #ending = new AbortController()
  /** Begun by the first wait, for the life of the reader: a wait must not leave a watch behind. */
  #watching: Promise<void> | undefined
  #watchFailure: unknown

  constructor({ parts, identity, metadata, lac }: LedgerReaderOptions) {
    this.ledgerId = identity.ledgerId
    this.parts = parts
    this.identity = identity
    this.#metadata = metadata
    this.#lac = lac
  }

  get closed(): boolean {
    return this.#metadata.value.state === 'closed'
  }

  get lastAddConfirmed(): number {
    return this.closed ? this.#metadata.value.lastEntryId : this.#lac
  }

  get customMetadata(): ReadonlyMap<string, Uint8Array> {
    return this.#metadata.value.customMetadata
  }

  get metadata(): LedgerMetadata {
    return this.#metadata.value
  }

  async *read(
    options: { from?: number; to?: number; signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LedgerEntry, void, undefined> {
    this.#checkOpen()
    checkSignal(options.signal)
    const { from = 0, to = this.lastAddConfirmed, signal } = options
    if (!Number.isSafeInteger(from) || from < 0) {
      throw new QuireError('QUIRE_BAD_OPTION', `entries are numbered from 0: from is ${from}`)
    }
    const last = Math.min(to, this.lastAddConfirmed)
    if (from > last) return
    try {
      yield* new RangeRead(this, { from, to: last }).entries(this.#endOf(signal))
    } catch (error) {
      throw this.#reasonOf(error, signal)
    }
  }

  async waitForConfirmed(
    above: number,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<number> {
    this.#checkOpen()
    const { signal } = options
    const deadlineMs = this.parts.clock.monotonicMs() + options.timeoutMs
    // The timer's word, not the clock's: by the clock a timer may come a moment early, and nothing
    // would wake this call again.
    const time = { isUp: false }
    const timer = this.parts.timers.after(options.timeoutMs, () => {
      time.isUp = true
      this.#moved.open()
    })
    const following = new AbortController()
    const call = this.#endOf(signal)
    const stop = (): void => following.abort()
    call.addEventListener('abort', stop, { once: true })
    try {
      checkSignal(call)
      const failure = this.#follow(above, { deadlineMs, signal: following.signal })
      while (!this.closed && this.#lac <= above) {
        if (this.#watching === undefined) throw this.#watchFailure
        if (time.isUp) break
        await Promise.race([this.#moved.wait(call), failure])
      }
      return this.lastAddConfirmed
    } catch (error) {
      throw this.#reasonOf(error, signal)
    } finally {
      call.removeEventListener('abort', stop)
      following.abort()
      timer.cancel()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#ending.abort(new QuireError('QUIRE_CLOSED', 'the reader was closed'))
  }

  heardConfirmed(entryId: number): void {
    this.heardLac(entryId)
  }

  heardLac(lac: number): void {
    if (lac <= this.#lac) return
    this.#lac = lac
    this.#moved.open()
  }

  async refresh(entryId: number): Promise<boolean> {
    const before = fragmentOf(this.metadata, entryId).ensemble
    this.#accept(await this.parts.ledgers.read(this.ledgerId))
    return fragmentOf(this.metadata, entryId).ensemble.join('\n') !== before.join('\n')
  }

  #checkOpen(): void {
    if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the reader was closed: open another')
    if (this.parts.closed.aborted) throw this.parts.closed.reason
  }

  /** Aborted by the caller's signal, and at the end of the reader or of its client. */
  #endOf(signal: AbortSignal | undefined): AbortSignal {
    const ends = [this.#ending.signal, this.parts.closed]
    return AbortSignal.any(signal === undefined ? ends : [...ends, signal])
  }

  /** A call that was cut short by a close, and not by its own signal, is told of the close. */
  #reasonOf(error: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted === true) return error
    const ended = [this.#ending.signal, this.parts.closed].find(({ aborted }) => aborted)
    return ended === undefined ? error : ended.reason
  }

  /** Rejects with what ends the wait before its time; else it ends with its signal, silently. */
  async #follow(
    above: number,
    options: { deadlineMs: number; signal: AbortSignal },
  ): Promise<never> {
    const failed = Promise.withResolvers<never>()
    failed.promise.catch(() => undefined) // Heard by the race; nobody listens once that is over.
    const fail = (error: unknown): void => {
      if (!options.signal.aborted) failed.reject(error)
    }
    this.#watching ??= this.#watch()
    this.#poll(above, options).catch(fail)
    return failed.promise
  }

  /** Never rejects: what ends it is for whoever waits, and the next wait begins it anew. */
  async #watch(): Promise<void> {
    try {
      await this.#watchToTheEnd(this.#ending.signal)
    } catch (error) {
      this.#watchFailure = error
      this.#watching = undefined
      this.#moved.open()
    }
  }

  /** The end of the ledger, or a new fragment, may come while its old bookies are dead. */
  async #watchToTheEnd(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const changed = new Gate()
      const change = changed.wait(signal)
      change.catch(() => undefined)
      try {
        const watch = (): void => changed.open()
        this.#accept(await this.parts.ledgers.read(this.ledgerId, { watch, signal }))
        if (this.closed) return
        await change
      } catch (error) {
        if (signal.aborted) return
        if (!QuireError.is(error) || !error.retryable) throw error
        await pause(this.parts.timers, restMs, signal)
      }
    }
  }

  /** Answers may come in another order than the reads were made in. */
  #accept(found: Versioned<LedgerMetadata>): void {
    if (found.version < this.#metadata.version) return
    this.#metadata = found
    this.#moved.open()
  }

  async #poll(
    above: number,
    { deadlineMs, signal }: { deadlineMs: number; signal: AbortSignal },
  ): Promise<void> {
    while (!signal.aborted && !this.closed) {
      const nowMs = this.parts.clock.monotonicMs()
      const timeoutMs = Math.min(pollMs, Math.ceil(deadlineMs - nowMs))
      if (timeoutMs <= 0) return
      const rested = Promise.withResolvers<undefined>()
      const { ensemble } = lastFragment(this.metadata)
      const poll = new ConfirmedPoll({
        parts: this.parts,
        identity: this.identity,
        quorum: createQuorum(this.metadata),
        ensemble,
        above,
        timeoutMs,
        heard: (lac) => this.heardLac(lac),
        rested: () => rested.resolve(undefined),
      })
      await this.#restOrMoved(rested.promise, { poll, signal })
      if (signal.aborted || this.#lac > above) return
      await pause(this.parts.timers, restMs, signal)
    }
  }

  /** Until a poll is over, or the ensemble it asked is no more the last one. */
  async #restOrMoved(
    rested: Promise<undefined>,
    { poll, signal }: { poll: ConfirmedPoll; signal: AbortSignal },
  ): Promise<void> {
    const end = rested.then(() => 'rested' as const)
    while (!signal.aborted && !this.closed && this.#lac <= poll.options.above) {
      if (lastFragment(this.metadata).ensemble !== poll.options.ensemble) return
      const moved = this.#moved.wait(signal).catch(() => undefined)
      if ((await Promise.race([end, moved])) === 'rested') return
    }
  }
}
