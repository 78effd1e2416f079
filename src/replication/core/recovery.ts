// Recovery of one ledger as a reducer (A10): it fences the last ensemble, finds the end by fenced
// reads against metadata that is frozen, writes what it found again to an ack quorum, and names the
// end for the closing write.
//
// R1. Reading goes on only behind a floor: the highest confirmation heard, and never before the
//     last fragment (D2).
// R2. An entry is absent only at the negative threshold, and is decided as soon as a threshold is
//     met (D6); what cannot be decided aborts the recovery: unknown is never absence (D7).
// R3. Replacements stay in `newFragments` of its writer until the closing write (D9).

import { invariant } from '../../invariant.ts'
import type { LedgerFragment } from '../../wire/ledger-metadata.ts'
import { entryDecision, fencingCoverage, writeSet } from './quorum.ts'
import type { Quorum } from './quorum.ts'
import { append, canAppend } from './writer.ts'
import { cloneWriter, createWriter } from './writer-state.ts'
import type { WriterLimits, WriterState } from './writer-state.ts'

/**
 * `unauthorized` is definitive; `unknown` is everything that is neither an entry nor an explicit
 * negative.
 */
export type ReadResult = 'found' | 'negative' | 'unknown' | 'unauthorized'

export type RecoveryPhase = 'fencing' | 'copying' | 'measuring' | 'closing' | 'failed'

export type RecoveryFailure = 'no-coverage' | 'undecided' | 'unauthorized' | 'not-enough-bookies'

interface EntryReplies {
  found: number
  negative: number
  unknown: number
  payloadBytes: number
  lengthBytes: number
}

export interface RecoveryState {
  readonly quorum: Quorum
  readonly limits: WriterLimits
  /** The last fragment at the time of R1: all reads go to it. */
  readonly fragment: LedgerFragment
  /** Entries read or written again at one time. */
  readonly window: number
  phase: RecoveryPhase
  failure: RecoveryFailure | undefined
  known: number
  failed: number
  maxLac: number
  /** Replies by entry id, from `decided` on. */
  readonly replies: Map<number, EntryReplies>
  /** Next entry to read, and next to decide. */
  issued: number
  decided: number
  /** First entry that is absent. */
  end: number | undefined
  /** Writes again; exists once fencing covers. */
  writer: WriterState | undefined
  /** Length field of the last entry copied, or as measured. */
  lengthBytes: number
}

/** Reused by the driver. */
export interface RecoveryEffects {
  /** Recovery reads to send: entries, each to all of its write set in the frozen ensemble. */
  readonly reads: number[]
  /** Entries to write again, in order, already numbered in the writer. */
  readonly copies: number[]
  /** Nothing was copied: the length field of this entry is needed; −1 = nothing to measure. */
  measure: number
}

export function createRecoveryEffects(): RecoveryEffects {
  return { reads: [], copies: [], measure: -1 }
}

export function clearRecoveryEffects(effects: RecoveryEffects): void {
  effects.reads.length = 0
  effects.copies.length = 0
  effects.measure = -1
}

export function createRecovery(options: {
  quorum: Quorum
  limits: WriterLimits
  fragment: LedgerFragment
  window: number
}): RecoveryState {
  invariant(options.window > 0 && options.window <= options.limits.capacity, 'a window fits a ring')
  return {
    ...options,
    phase: 'fencing',
    failure: undefined,
    known: 0,
    failed: 0,
    maxLac: -1,
    replies: new Map(),
    issued: 0,
    decided: 0,
    end: undefined,
    writer: undefined,
    lengthBytes: 0,
  }
}

export function cloneRecovery(state: RecoveryState): RecoveryState {
  const replies = new Map<number, EntryReplies>()
  for (const [entryId, entry] of state.replies) replies.set(entryId, { ...entry })
  const writer = state.writer === undefined ? undefined : cloneWriter(state.writer)
  return { ...state, replies, writer }
}

/** An answer to the fencing read of a member. Late ones are ignored. */
export function onFenced(
  state: RecoveryState,
  reply: { index: number; result: ReadResult; lac: number; nowMs: number },
  effects: RecoveryEffects,
): void {
  if (state.phase !== 'fencing') return
  if (reply.result === 'unauthorized') {
    giveUp(state, 'unauthorized')
    return
  }
  if (reply.result === 'unknown') state.failed |= 1 << reply.index
  else state.known |= 1 << reply.index
  if (reply.result === 'found') state.maxLac = Math.max(state.maxLac, reply.lac)
  const coverage = fencingCoverage(state.quorum, { known: state.known, failed: state.failed })
  if (coverage === 'impossible') giveUp(state, 'no-coverage')
  if (coverage !== 'covered') return
  startCopying(state, reply.nowMs)
  advance(state, effects)
}

function startCopying(state: RecoveryState, nowMs: number): void {
  const floor = Math.max(state.maxLac, state.fragment.firstEntryId - 1) // R1
  state.phase = 'copying'
  state.issued = floor + 1
  state.decided = floor + 1
  state.writer = createWriter({
    quorum: state.quorum,
    limits: state.limits,
    ensemble: state.fragment.ensemble,
    lac: floor,
    local: true,
    nowMs,
  })
}

/** An answer to a recovery read. The payload of the first `found` is the caller's to keep. */
export function onRead(
  state: RecoveryState,
  reply: {
    entryId: number
    index: number
    result: ReadResult
    payloadBytes: number
    lengthBytes: number
  },
  effects: RecoveryEffects,
): void {
  if (state.phase !== 'copying') return
  if (reply.result === 'unauthorized') {
    giveUp(state, 'unauthorized')
    return
  }
  const entry = state.replies.get(reply.entryId)
  if (entry === undefined) return // Decided before.
  if (reply.result === 'found' && entry.found === 0) {
    entry.payloadBytes = reply.payloadBytes
    entry.lengthBytes = reply.lengthBytes
  }
  entry[reply.result] |= 1 << reply.index
  advance(state, effects)
}

/** Its writer moved on, or ended. */
export function onWritten(state: RecoveryState, effects: RecoveryEffects): void {
  advance(state, effects)
}

/** The length field of the last entry, where nothing was copied (A3). */
export function onMeasured(state: RecoveryState, lengthBytes: number | undefined): void {
  if (state.phase !== 'measuring') return
  if (lengthBytes === undefined) giveUp(state, 'undecided')
  else {
    state.lengthBytes = lengthBytes
    state.phase = 'closing'
  }
}

/** The last entry of the ledger, once `closing`. */
export function recoveredEnd(state: RecoveryState): number {
  invariant(state.phase === 'closing' && state.writer !== undefined, 'the end is known at the end')
  return state.writer.lac
}

/** Fragments of its own, without such as hold nothing. */
export function recoveredFragments(state: RecoveryState): readonly LedgerFragment[] {
  const fragments = state.writer?.newFragments ?? []
  return fragments.filter(({ firstEntryId }) => firstEntryId <= recoveredEnd(state))
}

function advance(state: RecoveryState, effects: RecoveryEffects): void {
  const { writer } = state
  if (state.phase !== 'copying' || writer === undefined) return
  if (writer.end !== undefined) {
    giveUp(state, writer.end === 'unauthorized' ? 'unauthorized' : 'not-enough-bookies')
    return
  }
  decide(state, writer, effects)
  if (state.phase !== 'copying') return
  while (state.end === undefined && state.issued < writer.lac + 1 + state.window) {
    state.replies.set(state.issued, {
      found: 0,
      negative: 0,
      unknown: 0,
      payloadBytes: 0,
      lengthBytes: 0,
    })
    effects.reads.push(state.issued)
    state.issued += 1
  }
  if (state.end !== undefined && writer.lac === state.end - 1) measure(state, writer, effects)
}

/** Decides in order: what lies behind an absent entry was never acknowledged. */
function decide(state: RecoveryState, writer: WriterState, effects: RecoveryEffects): void {
  while (state.end === undefined && state.decided < state.issued && canAppend(writer)) {
    const entry = state.replies.get(state.decided)
    invariant(entry !== undefined, 'every entry issued has replies until it is decided')
    const decision = entryDecision(state.quorum, state.decided, entry)
    if (decision === 'undecided') return
    if (decision === 'abort') {
      giveUp(state, 'undecided')
      return
    }
    state.replies.delete(state.decided)
    if (decision === 'absent') {
      state.end = state.decided
      state.replies.clear()
      return
    }
    const entryId = append(writer, entry.payloadBytes)
    invariant(entryId === state.decided, 'entries are written again in order', { entryId })
    state.lengthBytes = entry.lengthBytes
    effects.copies.push(entryId)
    state.decided += 1
  }
}

function measure(state: RecoveryState, writer: WriterState, effects: RecoveryEffects): void {
  const copied = writer.lac > Math.max(state.maxLac, state.fragment.firstEntryId - 1)
  if (copied || writer.lac < 0) state.phase = 'closing'
  else {
    state.phase = 'measuring'
    effects.measure = writer.lac
  }
}

function giveUp(state: RecoveryState, failure: RecoveryFailure): void {
  state.phase = 'failed'
  state.failure = failure
}

/** Members that a recovery read goes to. */
export function readTargets(state: RecoveryState, entryId: number): number {
  return writeSet(state.quorum, entryId)
}
