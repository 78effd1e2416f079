// The single writer of a ledger: promises, back-pressure, changes of the metadata one after
// another, and the end. What counts is decided by the core; this only carries it out.

import { messageOf, QuireError } from '../errors.ts'
import type { Timer } from '../io/index.ts'
import type { Versioned } from '../metadata/managers.ts'
import { encodeWriteLacRequest } from '../wire/bookie-request.ts'
import { encodeLacPacket } from '../wire/entry.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import { AddPipeline } from './add-pipeline.ts'
import type { LedgerIdentity, PipelineOwner } from './add-pipeline.ts'
import type { LedgerWriter } from './api.ts'
import type { ReplySink } from './bookie-connection.ts'
import { ensembleChange, holesChange, lastFragment, writerClose } from './core/metadata-update.ts'
import type { EnsembleChange, MetadataChange } from './core/metadata-update.ts'
import { createQuorum } from './core/quorum.ts'
import { append, beginClose, canAppend, isDrained, leaveRestBehind } from './core/writer.ts'
import { onClosed, onRefused, targets } from './core/writer.ts'
import { createWriter, holesOf } from './core/writer-state.ts'
import type { WriterLimits, WriterState } from './core/writer-state.ts'
import { updateMetadata } from './metadata-loop.ts'
import type { Outcome } from './metadata-loop.ts'
import type { ClientParts, LedgerClientOptions } from './parts.ts'
import { Gate, orAborted } from './wait.ts'
import { backPressure, endError, entryTooLarge, outcomeUnknown } from './writer-errors.ts'

export interface LedgerWriterOptions {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly metadata: Versioned<LedgerMetadata>
  readonly txnHigh: number
  /** Copies of an entry that were asked for; there may have been fewer bookies. */
  readonly wantedCopies: number
  /** Told once, when it has ended. */
  readonly ended: (writer: DrivenLedgerWriter) => void
}

export function writerLimits(options: Required<LedgerClientOptions>): WriterLimits {
  const wanted = options.pendingEntriesMax + options.keptEntriesMax
  return {
    capacity: 2 ** Math.ceil(Math.log2(Math.max(2, wanted))),
    keptEntriesMax: options.keptEntriesMax,
    keptBytesMax: options.keptBytesMax,
    addTimeoutMs: options.addTimeoutMs,
    quorumTimeoutMs: options.quorumTimeoutMs,
    ensembleChangesMax: options.ensembleChangesMax,
  }
}

const waitingFirst = 64

type Pending = PromiseWithResolvers<number>

/** Bookies that could not be told what is confirmed are told again, at this interval. */
const lacAgainMs = 1_000

export class DrivenLedgerWriter implements LedgerWriter, PipelineOwner {
  readonly ledgerId: bigint
  readonly ended: Promise<Error | undefined>
  readonly #options: LedgerWriterOptions
  readonly #parts: ClientParts
  readonly #state: WriterState
  readonly #pipeline: AddPipeline
  /** By entryId % length; grows with what is not resolved. */
  #waiting: (Pending | undefined)[] = Array.from({ length: waitingFirst })
  readonly #end = Promise.withResolvers<Error | undefined>()
  readonly #moved = new Gate()
  #endError: QuireError | undefined
  #metadata: Versioned<LedgerMetadata>
  /** Changes of the metadata, one after another. */
  #changes: Promise<unknown> = Promise.resolve()
  #resolved: number
  /** Highest entry ever numbered: those above what is confirmed at the end fail. */
  #numbered: number
  #lengthBytes = 0
  #closing: Promise<number> | undefined
  #lacTimer: Timer | undefined
  #toldLac: number
  /** Members that were told of `toldLac`, or may still be. */
  #lacTold = 0
  #quietSinceMs = 0
  #finished = false
  /** Not all copies that were asked for were possible when the ledger was made: more are now. */
  #couldHaveMore = false
  readonly #stopWatching: (() => void) | undefined

  constructor(options: LedgerWriterOptions) {
    const { parts, identity, metadata, txnHigh } = options
    this.#options = options
    this.#parts = parts
    this.#metadata = metadata
    this.ledgerId = identity.ledgerId
    this.ended = this.#end.promise
    const limits = writerLimits(parts.options)
    this.#state = createWriter({
      quorum: createQuorum(metadata.value),
      limits,
      ensemble: lastFragment(metadata.value).ensemble,
      lac: -1,
      local: false,
      nowMs: parts.clock.monotonicMs(),
    })
    this.#resolved = -1
    this.#numbered = -1
    this.#toldLac = -1
    const state = this.#state
    this.#pipeline = new AddPipeline({ parts, identity, state, flags: 0, owner: this, txnHigh })
    if (metadata.value.writeQuorumSize < options.wantedCopies) {
      this.#stopWatching = parts.bookies.onChange(() => void this.#countBookies())
    }
  }

  /** A16: who comes back is used again, by the next ledger. */
  async #countBookies(): Promise<void> {
    try {
      const writable = await this.#parts.bookies.writable()
      this.#couldHaveMore = writable.length > this.#state.quorum.ensembleSize
    } catch (error) {
      const facts = { ledgerId: String(this.ledgerId), error: messageOf(error) }
      this.#parts.logger.debug(facts, 'whether there are more bookies by now is not known')
    }
  }

  get lastAddConfirmed(): number {
    return this.#resolved
  }

  get pendingBytes(): number {
    return this.#state.pendingBytes
  }

  get degraded(): boolean {
    return this.#state.lagging !== 0 || this.#couldHaveMore
  }

  /** Bytes of memory that its frames take. */
  get heldBytes(): number {
    return this.#pipeline.heldBytes
  }

  append(payload: Uint8Array): Promise<number> {
    const refusal = this.#refusal(payload.length)
    if (refusal !== undefined) return Promise.reject(refusal)
    const entryId = append(this.#state, payload.length)
    this.#numbered = entryId
    this.#lengthBytes += payload.length
    this.#pipeline.push(entryId, payload, this.#lengthBytes)
    const pending = Promise.withResolvers<number>()
    if (entryId - this.#resolved > this.#waiting.length) this.#growWaiting(entryId)
    this.#waiting[entryId % this.#waiting.length] = pending
    return pending.promise
  }

  async ready(signal?: AbortSignal): Promise<void> {
    while (this.#isFull()) await this.#moved.wait(signal)
    const refusal = this.#refusal(0)
    if (refusal !== undefined) throw refusal
  }

  close(options: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    this.#closing ??= this.#close()
    // Once begun it goes to its end; the signal ends the wait for it.
    return orAborted(this.#closing, options.signal)
  }

  /** Closes; a writer that has ended otherwise has told so already. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state.end === undefined) await this.close()
  }

  /**
   * The client is closing: nothing is recorded, the ledger stays open until somebody recovers it.
   */
  abandon(): void {
    if (this.#state.end !== undefined) return
    this.#endError = new QuireError('QUIRE_CLOSED', 'the ledger client was closed')
    this.#pipeline.stepped(() => onRefused(this.#state, 'metadata-lost'))
  }

  progressed(): void {
    const { lac, end } = this.#state
    if (lac > this.#resolved) this.#resolve(lac)
    if (end !== undefined && this.#numbered > lac) this.#failPending()
    if (end !== undefined && !this.#finished) this.#finish()
    this.#moved.open()
  }

  change(change: EnsembleChange): void {
    this.#enqueue(ensembleChange(change), (outcome) => {
      if (outcome.type === 'refused') {
        this.#pipeline.stepped(() => onRefused(this.#state, outcome.reason))
      } else this.#pipeline.changed(lastFragment(outcome.current.value).ensemble)
    })
  }

  recordHoles(): void {
    if (this.#state.end !== undefined || this.#state.closing) return
    const holes = holesOf(this.#state)
    const facts = { ledgerId: String(this.ledgerId), holes }
    this.#parts.logger.warn(facts, 'a member of a ledger was left behind: its copies are fewer now')
    this.#enqueue(holesChange(holes), (outcome) => {
      if (outcome.type !== 'refused') return
      this.#pipeline.stepped(() => onRefused(this.#state, outcome.reason))
    })
  }

  #resolve(lac: number): void {
    for (let entryId = this.#resolved + 1; entryId <= lac; entryId += 1) {
      const slot = entryId % this.#waiting.length
      this.#waiting[slot]?.resolve(entryId)
      this.#waiting[slot] = undefined
    }
    this.#resolved = lac
    if (lac === this.#numbered) this.#tellLacSoon()
  }

  #growWaiting(upTo: number): void {
    const before = this.#waiting
    const grown: (Pending | undefined)[] = Array.from({ length: before.length * 2 })
    for (let entryId = this.#resolved + 1; entryId < upTo; entryId += 1) {
      grown[entryId % grown.length] = before[entryId % before.length]
    }
    this.#waiting = grown
  }

  /** Whatever the size of the next entry: `ready` and `append` must be of one mind. */
  #isFull(): boolean {
    const { pendingEntriesMax, pendingBytesMax } = this.#parts.options
    const state = this.#state
    if (state.end !== undefined || state.closing) return false
    const entries = state.lap - state.lac
    const over = state.pendingBytes >= pendingBytesMax
    return entries >= pendingEntriesMax || over || !canAppend(state)
  }

  #refusal(bytes: number): QuireError | undefined {
    if (this.#state.end !== undefined || this.#state.closing) return this.#ending()
    const most = this.#parts.options.entryBytesMax
    if (bytes > most) return entryTooLarge(bytes, most)
    return this.#isFull() ? backPressure(this.ledgerId, this.#state.pendingBytes) : undefined
  }

  #ending(): QuireError {
    return (this.#endError ??= endError(this.ledgerId, {
      reason: this.#state.end ?? 'closed',
      cause: this.#pipeline.lastFailure,
    }))
  }

  #failPending(): void {
    const error = outcomeUnknown(this.ledgerId, this.#ending())
    for (let entryId = this.#state.lac + 1; entryId <= this.#numbered; entryId += 1) {
      const slot = entryId % this.#waiting.length
      this.#waiting[slot]?.reject(error)
      this.#waiting[slot] = undefined
    }
    this.#numbered = this.#state.lac
  }

  #finish(): void {
    const { end } = this.#state
    this.#finished = true
    this.#lacTimer?.cancel()
    this.#stopWatching?.()
    this.#pipeline.close()
    this.#options.ended(this)
    this.#end.resolve(end === 'closed' ? undefined : this.#ending())
    // What can be known of its end is recorded, so that nobody needs to recover it (A6).
    if (end === 'not-enough-bookies' || end === 'timed-out') this.#closing ??= this.#record()
    this.#closing?.catch((error: unknown) => {
      const facts = { ledgerId: String(this.ledgerId), error: messageOf(error) }
      this.#parts.logger.warn(facts, 'the end of a ledger could not be recorded')
    })
  }

  #enqueue(change: MetadataChange, then: (outcome: Outcome) => void): void {
    const run = async (): Promise<void> => {
      if (this.#state.end !== undefined) return
      try {
        then(await this.#update(change))
      } catch (error) {
        this.#endError ??= endError(this.ledgerId, { reason: 'metadata-lost', cause: error })
        this.#pipeline.stepped(() => onRefused(this.#state, 'metadata-lost'))
      }
    }
    this.#changes = this.#changes.then(run)
  }

  async #update(change: MetadataChange): Promise<Outcome> {
    const outcome = await updateMetadata(this.#parts, {
      ledgerId: this.ledgerId,
      current: this.#metadata,
      change,
      timeoutMs: this.#parts.options.quorumTimeoutMs,
    })
    if (outcome.type === 'done') this.#metadata = outcome.current
    return outcome
  }

  /** Whether it took effect or not: nothing more comes of a writer that has tried to close. */
  async #updateLast(change: MetadataChange): Promise<Outcome> {
    try {
      return await this.#update(change)
    } catch (error) {
      this.#endError ??= endError(this.ledgerId, { reason: 'metadata-lost', cause: error })
      this.#pipeline.stepped(() => onRefused(this.#state, 'metadata-lost'))
      throw error
    }
  }

  async #close(): Promise<number> {
    if (this.#state.end !== undefined) throw this.#ending()
    beginClose(this.#state)
    if (this.#numbered > this.#state.lac) this.#failPending()
    await this.#linger()
    await this.#changes
    if (this.#state.end !== undefined) throw this.#ending()
    return this.#record()
  }

  /** Gives members that still lack something acknowledged a moment to say that they have it. */
  async #linger(): Promise<void> {
    let over = false
    const timer = this.#parts.timers.after(this.#parts.options.closeLingerMs, () => {
      over = true
      this.#moved.open()
    })
    try {
      while (this.#state.end === undefined) {
        if (isDrained(this.#state) || (over && this.#state.phase === 'idle')) return
        await this.#moved.wait()
      }
    } finally {
      timer.cancel()
    }
  }

  async #record(): Promise<number> {
    const state = this.#state
    await this.#changes
    if (state.end === undefined)
      this.#pipeline.stepped((effects) => leaveRestBehind(state, effects))
    const { lac: lastEntryId, confirmedBytes: lengthBytes } = state
    const outcome = await this.#updateLast(
      writerClose({ lastEntryId, lengthBytes, holes: holesOf(state) }),
    )
    if (outcome.type === 'refused') {
      this.#pipeline.stepped(() => onRefused(state, outcome.reason))
      throw endError(this.ledgerId, {
        reason: outcome.reason === 'in-recovery' ? 'fenced' : 'closed-elsewhere',
        cause: undefined,
      })
    }
    this.#pipeline.stepped(() => onClosed(state))
    return lastEntryId
  }

  /**
   * Readers beside the writer learn of the last entry although no other follows: once for each
   * quiet moment (A9).
   */
  #tellLacSoon(): void {
    const { lacDelayMs } = this.#parts.options
    if (lacDelayMs === 0 || this.#state.end !== undefined) return
    this.#quietSinceMs = this.#parts.clock.monotonicMs()
    this.#lacTimer ??= this.#parts.timers.after(lacDelayMs, this.#tellLac)
  }

  readonly #tellLac = (): void => {
    this.#lacTimer = undefined
    const { lac, lap, end, closing } = this.#state
    if (end !== undefined || closing || lac < lap) return
    if (lac <= this.#toldLac || lac <= this.#pipeline.announcedLac) return
    const restMs =
      this.#quietSinceMs + this.#parts.options.lacDelayMs - this.#parts.clock.monotonicMs()
    if (restMs > 0) {
      this.#lacTimer = this.#parts.timers.after(restMs, this.#tellLac)
      return
    }
    this.#toldLac = lac
    this.#lacTold = 0
    const { identity } = this.#options
    const { ledgerHigh, ledgerLow, masterKey } = identity
    const body = encodeLacPacket({ ledgerHigh, ledgerLow, lac }, identity.digest)
    const encode = (txnLow: number): Buffer =>
      encodeWriteLacRequest({ txnHigh: 0, txnLow, ledgerHigh, ledgerLow, lac, masterKey, body })
    const members = targets(this.#state, lac)
    for (let index = 0; members >>> index !== 0; index += 1) {
      if (((members >>> index) & 1) === 0) continue
      const timeoutMs = this.#parts.options.readTimeoutMs
      const connection = this.#pipeline.connectionOf(index)
      if (connection === undefined) continue
      this.#lacTold += 1
      connection.request({ encode, sink: this.#lacSink, token: lac, timeoutMs })
    }
  }

  /** Whoever asks an ensemble meets each ack quorum of it: fewer must not be left with the news. */
  readonly #lacSink: ReplySink = {
    answered: () => undefined,
    failed: (lac) => {
      if (lac !== this.#toldLac || this.#state.end !== undefined) return
      this.#lacTold -= 1
      if (this.#lacTold >= this.#state.quorum.ackQuorumSize) return
      this.#toldLac = -1
      this.#lacTimer ??= this.#parts.timers.after(lacAgainMs, this.#tellLac)
    },
  }
}
