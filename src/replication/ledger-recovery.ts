// Recovers a ledger (A10): ends whoever writes it, finds its true end and records it. Safe to do
// twice, at once, or again after a failure: one closing write wins, and everyone adopts it.

import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Versioned } from '../metadata/managers.ts'
import { requestFlags, statuses } from '../wire/bookie-messages.ts'
import type { BookieResponse } from '../wire/bookie-messages.ts'
import { encodeReadRequest } from '../wire/bookie-request.ts'
import { entryLac, entryLength, entryPayloadStart, verifyEntry } from '../wire/entry.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import { AddPipeline } from './add-pipeline.ts'
import type { LedgerIdentity, PipelineOwner } from './add-pipeline.ts'
import type { ReplySink } from './bookie-connection.ts'
import { beginRecovery, endRecovery, lastFragment } from './core/metadata-update.ts'
import { createQuorum } from './core/quorum.ts'
import {
  clearRecoveryEffects,
  createRecovery,
  createRecoveryEffects,
  onFenced,
  onMeasured,
  onRead,
  onWritten,
  readTargets,
  recoveredEnd,
  recoveredFragments,
} from './core/recovery.ts'
import type { ReadResult, RecoveryFailure, RecoveryState } from './core/recovery.ts'
import { leaveRestBehind, onRefused } from './core/writer.ts'
import { holesOf } from './core/writer-state.ts'
import { writerLimits } from './ledger-writer.ts'
import { updateMetadata } from './metadata-loop.ts'
import type { ClientParts } from './parts.ts'
import { RangeRead } from './range-read.ts'
import { checkSignal, Gate, orAborted } from './wait.ts'
import { refusalIn } from './writer-errors.ts'

/** Entries read and written again at one time. */
const windowEntries = 32

export interface RecoveryOptions {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly metadata: Versioned<LedgerMetadata>
  readonly txnHigh: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Resolves to the metadata of the closed ledger. QUIRE_RECOVERY_FAILED when too little could be
 * known: try again.
 */
export async function recoverLedger(options: RecoveryOptions): Promise<Versioned<LedgerMetadata>> {
  const { parts, identity, signal } = options
  const { ledgerId } = identity
  checkSignal(signal)
  const timeoutMs = parts.options.quorumTimeoutMs
  const begun = await updateMetadata(parts, {
    ledgerId,
    current: options.metadata,
    change: beginRecovery,
    timeoutMs,
    signal,
  })
  if (begun.type === 'refused') throw missing(ledgerId)
  if (begun.current.value.state === 'closed') return begun.current
  const recovery = new Recovery(options, begun.current)
  const end = await recovery.run()
  const closed = await updateMetadata(parts, {
    ledgerId,
    current: begun.current,
    change: endRecovery(end),
    timeoutMs,
    signal,
  })
  if (closed.type === 'refused') throw missing(ledgerId)
  return closed.current
}

function missing(ledgerId: bigint): QuireError {
  const facts = { ledgerId: String(ledgerId) }
  return new QuireError('QUIRE_LEDGER_MISSING', `ledger ${ledgerId} was deleted`, { facts })
}

interface Found {
  readonly payload: Buffer
  readonly lengthBytes: number
}

class RecoveryReadSink implements ReplySink {
  readonly #recovery: Recovery
  readonly #index: number

  constructor(recovery: Recovery, index: number) {
    this.#recovery = recovery
    this.#index = index
  }

  answered(entryId: number, response: BookieResponse): void {
    this.#recovery.read(entryId, this.#index, response)
  }

  failed(entryId: number): void {
    this.#recovery.read(entryId, this.#index, undefined)
  }
}

class Recovery implements ReplySink, PipelineOwner {
  readonly #options: RecoveryOptions
  readonly #metadata: Versioned<LedgerMetadata>
  readonly #state: RecoveryState
  readonly #effects = createRecoveryEffects()
  readonly #found = new Map<number, Found>()
  readonly #sinks: readonly RecoveryReadSink[]
  readonly #moved = new Gate()
  #pipeline: AddPipeline | undefined
  /** Of a bookie, for want of the right secret. */
  #refusal: QuireError | undefined

  constructor(options: RecoveryOptions, metadata: Versioned<LedgerMetadata>) {
    this.#options = options
    this.#metadata = metadata
    const quorum = createQuorum(metadata.value)
    this.#sinks = Array.from(
      { length: quorum.ensembleSize },
      (_, index) => new RecoveryReadSink(this, index),
    )
    this.#state = createRecovery({
      quorum,
      limits: writerLimits(options.parts.options),
      fragment: lastFragment(metadata.value),
      window: windowEntries,
    })
  }

  async run(): Promise<Parameters<typeof endRecovery>[0]> {
    const { signal } = this.#options
    try {
      for (let index = 0; index < this.#state.quorum.ensembleSize; index += 1) {
        this.#request(index, { entryId: -1, sink: this, token: index, flags: requestFlags.fence })
      }
      while (this.#state.phase !== 'closing') {
        if (this.#state.phase === 'failed') throw this.#failure()
        await this.#moved.wait(signal)
      }
      await this.#linger()
      return {
        lastEntryId: recoveredEnd(this.#state),
        lengthBytes: this.#state.lengthBytes,
        holes: this.#state.writer === undefined ? [] : holesOf(this.#state.writer),
        fragments: recoveredFragments(this.#state),
      }
    } finally {
      this.#stop()
    }
  }

  /** An answer to a fencing read of the last entry. */
  answered(index: number, response: BookieResponse): void {
    const result = this.#resultOf(response, -1)
    const lac = result === 'found' ? entryLac(response.bytes, response.bodyStart) : -1
    this.#fenced(index, result, lac)
  }

  failed(index: number, error: QuireError): void {
    if (error.code === 'QUIRE_UNAUTHORIZED') this.#refusal = error
    this.#fenced(index, 'unknown', -1)
  }

  read(entryId: number, index: number, response: BookieResponse | undefined): void {
    if (this.#state.phase !== 'copying' || !this.#state.replies.has(entryId)) return
    const result = response === undefined ? 'unknown' : this.#resultOf(response, entryId)
    if (response !== undefined && result === 'found' && !this.#found.has(entryId)) {
      const { bytes, bodyStart, bodyEnd } = response
      const payload = bytes.subarray(
        entryPayloadStart(bodyStart, this.#options.identity.digest),
        bodyEnd,
      )
      this.#found.set(entryId, { payload, lengthBytes: entryLength(bytes, bodyStart) })
    }
    const found = this.#found.get(entryId)
    const payloadBytes = found?.payload.length ?? 0
    const lengthBytes = found?.lengthBytes ?? 0
    onRead(this.#state, { entryId, index, result, payloadBytes, lengthBytes }, this.#effects)
    this.#act()
  }

  progressed(): void {
    onWritten(this.#state, this.#effects)
    this.#act()
  }

  change(): void {
    invariant(false, 'a recovery keeps its replacements to itself until it closes the ledger')
  }

  recordHoles(): void {
    // They are recorded with the end.
  }

  #fenced(index: number, result: ReadResult, lac: number): void {
    const nowMs = this.#options.parts.clock.monotonicMs()
    onFenced(this.#state, { index, result, lac, nowMs }, this.#effects)
    const { writer } = this.#state
    if (writer !== undefined && this.#pipeline === undefined) {
      const { parts, identity, txnHigh } = this.#options
      const flags = requestFlags.recovery | requestFlags.highPriority
      this.#pipeline = new AddPipeline({
        parts,
        identity,
        state: writer,
        flags,
        owner: this,
        txnHigh,
      })
    }
    this.#act()
  }

  #resultOf(response: BookieResponse, entryId: number): ReadResult {
    const { status, bytes, bodyStart, bodyEnd } = response
    if (status === statuses.noEntry || status === statuses.noLedger) return 'negative'
    if (status === statuses.unauthorized) return 'unauthorized'
    if (status !== statuses.ok || !response.hasBody) return 'unknown'
    const { digest, ledgerHigh, ledgerLow } = this.#options.identity
    const expected = { digest, ledgerHigh, ledgerLow, entryId }
    return verifyEntry(bytes, bodyStart, bodyEnd, expected) === 'ok' ? 'found' : 'unknown'
  }

  #act(): void {
    const { reads, copies, measure } = this.#effects
    const toRead = reads.slice()
    const toCopy = copies.slice()
    clearRecoveryEffects(this.#effects)
    for (const entryId of toCopy) {
      const found = this.#found.get(entryId)
      invariant(found !== undefined, 'what is written again was found')
      this.#pipeline?.push(entryId, found.payload, found.lengthBytes)
      this.#found.delete(entryId)
    }
    for (const entryId of toRead) this.#readEntry(entryId)
    if (measure >= 0) void this.#measure(measure) // Never rejects.
    this.#moved.open()
  }

  #readEntry(entryId: number): void {
    const members = readTargets(this.#state, entryId)
    const flags = requestFlags.fence | requestFlags.highPriority
    this.#sinks.forEach((sink, index) => {
      if ((members & (1 << index)) === 0) return
      this.#request(index, { entryId, sink, token: entryId, flags })
    })
  }

  #request(
    index: number,
    request: { entryId: number; sink: ReplySink; token: number; flags: number },
  ): void {
    const { parts, identity } = this.#options
    const { ledgerHigh, ledgerLow, masterKey } = identity
    const { entryId, flags, sink, token } = request
    const bookieId = this.#state.fragment.ensemble[index]
    invariant(bookieId !== undefined, 'an ensemble has its members')
    const encode = (txnLow: number): Buffer =>
      encodeReadRequest({ txnHigh: 0, txnLow, ledgerHigh, ledgerLow, entryId, flags, masterKey })
    const timeoutMs = parts.options.readTimeoutMs
    parts.bookies.connection(bookieId).request({ encode, sink, token, timeoutMs })
  }

  /** A3: nothing was copied, so the length is that of the last entry. */
  async #measure(entryId: number): Promise<void> {
    const { parts, identity, signal } = this.#options
    const source = {
      parts,
      identity,
      metadata: this.#metadata.value,
      refresh: async () => false,
      heardLac: () => undefined,
    }
    let lengthBytes: number | undefined
    try {
      const range = { from: entryId, to: entryId }
      for await (const entry of new RangeRead(source, range).entries(signal)) {
        lengthBytes = entry.lengthBytes
      }
    } catch (error) {
      const facts = { ledgerId: String(identity.ledgerId), entryId, err: error }
      parts.logger.warn(facts, 'the last entry cannot be read: the recovery fails for now')
      lengthBytes = undefined
    }
    onMeasured(this.#state, lengthBytes)
    this.#moved.open()
  }

  /** Members that still write what was copied get a moment; then they are holes. */
  async #linger(): Promise<void> {
    const { writer } = this.#state
    const { parts, signal } = this.#options
    if (writer === undefined) return
    const over = Promise.withResolvers<'over'>()
    const timer = parts.timers.after(parts.options.closeLingerMs, () => over.resolve('over'))
    try {
      while (writer.head <= writer.lac || writer.phase !== 'idle') {
        const next = await Promise.race([this.#moved.wait(signal), over.promise])
        if (next === 'over') break
      }
    } finally {
      timer.cancel()
    }
    await orAborted(Promise.resolve(), signal)
    this.#pipeline?.stepped((effects) => leaveRestBehind(writer, effects))
  }

  #stop(): void {
    const { writer } = this.#state
    this.#pipeline?.close()
    if (writer !== undefined) onRefused(writer, 'metadata-lost')
  }

  #failure(): QuireError {
    const { ledgerId } = this.#options.identity
    const failure = this.#state.failure ?? 'undecided'
    const facts = { ledgerId: String(ledgerId), failure }
    if (failure === 'unauthorized') {
      return new QuireError(
        'QUIRE_LEDGER_UNAUTHORIZED',
        `ledger ${ledgerId} has another password on its bookies: recover it with that one`,
        { facts },
      )
    }
    const cause = this.#pipeline?.lastFailure ?? this.#refusal
    const why = `${failures[failure]}${refusalIn(cause)}`
    const sentence = `ledger ${ledgerId} could not be recovered: ${why}; try again`
    return new QuireError('QUIRE_RECOVERY_FAILED', sentence, { cause, facts })
  }
}

const failures: Record<Exclude<RecoveryFailure, 'unauthorized'>, string> = {
  'no-coverage': 'too few bookies of its last ensemble answered',
  undecided: 'the bookies that answered do not prove whether its next entry exists',
  'not-enough-bookies': 'too few bookies took the entries that must be copied',
}
