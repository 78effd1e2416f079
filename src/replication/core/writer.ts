// The writer of one ledger as a reducer (A4 to A8): it numbers entries, counts acknowledgements,
// confirms in order, replaces failed members or leaves them behind, and ends. No promise, clock or
// I/O; it changes its own state, takes batches, and writes what it wants done into effects that the
// driver reuses.
//
// W1. Only `scan` confirms, in order, at an ack quorum of the committed ensemble, and never while a
//     change is in flight (A5).
// W2. A member is named by index and generation: what a replaced one still says is ignored.
// W3. A change of ensemble takes effect in two phases: the acknowledgements of the replaced members
//     are unset in every pending entry, then the scan runs once, whether anything was replaced or
//     not (A7, D4, D5).
// W4. Without a spare a failed member is left behind, as long as every write set keeps an ack
//     quorum (A16).

import { invariant } from '../../invariant.ts'
import { statuses } from '../../wire/bookie-messages.ts'
import { withFragment } from './metadata-update.ts'
import type { EnsembleChange, Refusal, Replacement } from './metadata-update.ts'
import { canAckWithout, popcount, writeSet } from './quorum.ts'
import { growRing, holesOf } from './writer-state.ts'
import type { EndReason, WriterEffects, WriterState } from './writer-state.ts'

/** The replies of one socket read; of fixed size, reused. */
export interface ReplyBatch {
  count: number
  readonly entryIds: Float64Array
  readonly indexes: Uint8Array
  readonly generations: Uint32Array
  readonly statuses: Uint16Array
}

export function createReplyBatch(capacity: number): ReplyBatch {
  return {
    count: 0,
    entryIds: new Float64Array(capacity),
    indexes: new Uint8Array(capacity),
    generations: new Uint32Array(capacity),
    statuses: new Uint16Array(capacity),
  }
}

/** Numbers an entry. The caller has seen `canAppend`. */
export function append(state: WriterState, payloadBytes: number): number {
  invariant(canAppend(state), 'an entry is appended only where there is room', { lap: state.lap })
  if (state.lap + 1 - state.head === state.acked.length) growRing(state)
  state.lap += 1
  const slot = slotOf(state, state.lap)
  state.acked[slot] = 0
  state.payloadBytes[slot] = payloadBytes
  state.sentAtMs[slot] = Number.POSITIVE_INFINITY
  state.pendingBytes += payloadBytes
  return state.lap
}

export function canAppend(state: WriterState): boolean {
  const taken = state.lap + 1 - state.head
  return state.end === undefined && !state.closing && taken < state.limits.capacity
}

/** Members that an entry goes to now. */
export function targets(state: WriterState, entryId: number): number {
  return writeSet(state.quorum, entryId) & ~state.lagging
}

/** The entries up to `upTo` left at `nowMs`. */
export function sent(
  state: WriterState,
  from: number,
  options: { upTo: number; nowMs: number },
): void {
  for (let entryId = from; entryId <= options.upTo; entryId += 1) {
    state.sentAtMs[slotOf(state, entryId)] = options.nowMs
  }
}

export function onReplies(state: WriterState, batch: ReplyBatch, effects: WriterEffects): void {
  for (let i = 0; i < batch.count && state.end === undefined; i += 1) {
    const index = batch.indexes[i] ?? 0
    if (batch.generations[i] !== state.generations[index]) continue // W2
    const entryId = batch.entryIds[i] ?? -1
    const status = batch.statuses[i]
    if (status === statuses.ok) acknowledge(state, entryId, index)
    else if (status === statuses.fenced) finish(state, 'fenced')
    else if (status === statuses.unauthorized) finish(state, 'unauthorized')
    else fail(state, index)
  }
  settle(state, effects)
}

/** A member's connection is gone: what it was sent and did not acknowledge is unknown. */
export function onMemberFailed(
  state: WriterState,
  member: { index: number; generation: number },
  effects: WriterEffects,
): void {
  const current = state.generations[member.index] === member.generation
  // A member that owes nothing may come back before it is needed.
  const owes = firstLacking(state, member.index) <= state.lap
  if (state.end === undefined && current && owes) fail(state, member.index)
  settle(state, effects)
}

/** Time passed. Members that were silent for too long have failed. */
export function onTick(state: WriterState, nowMs: number, effects: WriterEffects): void {
  if (state.end !== undefined) return
  const { addTimeoutMs, quorumTimeoutMs } = state.limits
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    const bit = 1 << index
    if (((state.lagging | state.delayed | state.handling) & bit) !== 0) continue
    const oldest = firstLacking(state, index)
    if (oldest > state.lap) continue
    const since = Math.max(state.sentAtMs[slotOf(state, oldest)] ?? 0, state.sinceMs[index] ?? 0)
    if (nowMs - since > addTimeoutMs) fail(state, index)
  }
  const waiting =
    state.lac < state.lap ? (state.sentAtMs[slotOf(state, state.lac + 1)] ?? 0) : nowMs
  if (nowMs - waiting > quorumTimeoutMs) finish(state, 'timed-out')
  settle(state, effects)
}

/** Answer to `choose`: a bookie by index, undefined where there is none. */
export function onChosen(
  state: WriterState,
  options: { chosen: readonly (string | undefined)[]; nowMs: number },
  effects: WriterEffects,
): void {
  if (state.end !== undefined) return
  invariant(state.phase === 'choosing', 'replacements come when asked for', { phase: state.phase })
  const replacements: Replacement[] = []
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    if ((state.handling & (1 << index)) === 0) continue
    const failed = state.committed[index]
    const bookieId = state.closing ? undefined : options.chosen[index]
    if (failed !== undefined && bookieId !== undefined)
      replacements.push({ index, failed, bookieId })
    else leaveBehind(state, index, effects)
  }
  const without = withoutReplaced(state.lagging, replacements)
  if (!state.closing && !canAckWithout(state.quorum, without)) {
    finish(state, 'not-enough-bookies')
    return
  }
  if (replacements.length === 0) {
    finishChange(state, options.nowMs, effects)
    return
  }
  startChange(state, replacements, effects)
  if (state.local) applyLocally(state, options.nowMs, effects)
}

/**
 * The change in flight is in the metadata, or was found superfluous: `ensemble` is the last
 * fragment now.
 */
export function onChanged(
  state: WriterState,
  options: { ensemble: readonly string[]; nowMs: number },
  effects: WriterEffects,
): void {
  if (state.end !== undefined) return
  invariant(state.phase === 'changing', 'a change that was asked for ends', { phase: state.phase })
  state.committed = options.ensemble
  const gone = replacedMask(state)
  state.delayed &= ~gone // Their failures were those of bookies that are out.
  state.handling = 0
  if (state.delayed !== 0 && !state.closing) {
    choose(state, effects) // Again, with the gate still shut (A7).
    return
  }
  finishChange(state, options.nowMs, effects)
}

const reasonOf: Record<Refusal, EndReason> = {
  closed: 'closed-elsewhere',
  'in-recovery': 'fenced',
  missing: 'deleted',
}

/** The metadata refused a change, or could not be reached: nothing is confirmed any more. */
export function onRefused(state: WriterState, reason: Refusal | 'metadata-lost'): void {
  finish(state, reason === 'metadata-lost' ? reason : reasonOf[reason])
}

/** A bookie came up: members left behind may be replaced. */
export function onSpare(state: WriterState, effects: WriterEffects): void {
  if (state.end !== undefined || state.closing) return
  state.delayed |= state.lagging & ~state.handling
  settle(state, effects)
}

/** Takes nothing more and drops what is not confirmed; its entries are not of the ledger (A8). */
export function beginClose(state: WriterState): void {
  if (state.end !== undefined) return
  state.closing = true
  drain(state)
}

/** Nothing is left to wait for before the closing write. */
export function isDrained(state: WriterState): boolean {
  return state.head > state.lac && state.phase === 'idle'
}

/** The end of a close that was recorded. Members that still lack something are holes by then. */
export function onClosed(state: WriterState): void {
  if (state.end === undefined) finish(state, 'closed')
}

/** Members that never acknowledged something confirmed become holes of the closing write. */
export function leaveRestBehind(state: WriterState, effects: WriterEffects): void {
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    if ((state.lagging & (1 << index)) !== 0) continue
    if (firstLacking(state, index) <= state.lac) leaveBehind(state, index, effects)
  }
  advanceHead(state)
}

function slotOf(state: WriterState, entryId: number): number {
  return entryId % state.acked.length
}

function acknowledge(state: WriterState, entryId: number, index: number): void {
  if (entryId < state.head || entryId > state.lap) return
  if ((writeSet(state.quorum, entryId) & (1 << index)) === 0) return
  const slot = slotOf(state, entryId)
  state.acked[slot] = (state.acked[slot] ?? 0) | (1 << index)
}

function fail(state: WriterState, index: number): void {
  if ((state.lagging & (1 << index)) !== 0) return
  if (state.phase !== 'changing' && (state.handling & (1 << index)) !== 0) return
  state.delayed |= 1 << index
}

function settle(state: WriterState, effects: WriterEffects): void {
  if (state.end !== undefined) return
  scan(state)
  state.delayed &= ~(state.phase === 'choosing' ? state.handling : 0)
  if (state.delayed !== 0 && state.phase === 'idle') choose(state, effects)
}

/**
 * W1. The one place where an entry becomes confirmed. A member that answers, only later than the
 *     others, sets the pace once so much is kept for it: nothing more is confirmed until it catches
 *     up, or is silent for too long and fails.
 */
function scan(state: WriterState): void {
  for (let before = -2; before !== state.lac;) {
    before = state.lac
    advanceHead(state)
    while (!state.gated && state.lac < state.lap && hasRoomToKeep(state)) {
      const entryId = state.lac + 1
      const slot = slotOf(state, entryId)
      const members = (state.acked[slot] ?? 0) & writeSet(state.quorum, entryId)
      if (popcount(members) < state.quorum.ackQuorumSize) break
      const bytes = state.payloadBytes[slot] ?? 0
      state.lac = entryId
      state.pendingBytes -= bytes
      state.keptBytes += bytes
      state.confirmedBytes += bytes
    }
  }
}

function hasRoomToKeep(state: WriterState): boolean {
  const { keptEntriesMax, keptBytesMax } = state.limits
  return state.lac + 1 - state.head < keptEntriesMax && state.keptBytes < keptBytesMax
}

function advanceHead(state: WriterState): void {
  while (state.head <= state.lac) {
    const slot = slotOf(state, state.head)
    if ((targets(state, state.head) & ~(state.acked[slot] ?? 0)) !== 0) break
    state.keptBytes -= state.payloadBytes[slot] ?? 0
    state.head += 1
  }
}

function choose(state: WriterState, effects: WriterEffects): void {
  state.phase = 'choosing'
  state.handling = state.delayed
  state.delayed = 0
  effects.choose = state.handling
}

/**
 * First entry of the ring that a member should have and did not acknowledge; lap + 1 when there is
 * none.
 */
function firstLacking(state: WriterState, index: number): number {
  let entryId = state.head
  for (; entryId <= state.lap; entryId += 1) {
    if ((writeSet(state.quorum, entryId) & (1 << index)) === 0) continue
    if (((state.acked[slotOf(state, entryId)] ?? 0) & (1 << index)) === 0) break
  }
  return entryId
}

function leaveBehind(state: WriterState, index: number, effects: WriterEffects): void {
  if ((state.lagging & (1 << index)) !== 0) return
  state.holeFrom[index] = firstLacking(state, index)
  state.lagging |= 1 << index
  effects.recordHoles = true
}

function withoutReplaced(lagging: number, replacements: readonly Replacement[]): number {
  let mask = lagging
  for (const { index } of replacements) mask &= ~(1 << index)
  return mask
}

function startChange(
  state: WriterState,
  replacements: readonly Replacement[],
  effects: WriterEffects,
): void {
  state.changes += 1
  if (state.changes > state.limits.ensembleChangesMax) {
    finish(state, 'not-enough-bookies')
    return
  }
  state.phase = 'changing'
  state.gated = true
  state.handling = 0
  for (const { index } of replacements) state.handling |= 1 << index
  const holes = [...holesOf(state), ...holesOfReplaced(state, state.handling)]
  const change: EnsembleChange = { firstEntryId: state.lac + 1, replacements, holes }
  effects.change = change
}

/** What members that are being replaced lack of the confirmed entries: those stay theirs. */
function holesOfReplaced(
  state: WriterState,
  mask: number,
): { bookieId: string; from: number; to: number }[] {
  const holes = []
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    const bookieId = state.ensemble[index]
    if ((mask & (1 << index)) === 0 || bookieId === undefined) continue
    const lagging = (state.lagging & (1 << index)) !== 0
    const from = lagging ? (state.holeFrom[index] ?? 0) : firstLacking(state, index)
    // Also an empty hole is told when the growing one was recorded: it ends it.
    if (from <= state.lac || lagging) holes.push({ bookieId, from, to: state.lac })
  }
  return holes
}

function applyLocally(state: WriterState, nowMs: number, effects: WriterEffects): void {
  const { change } = effects
  if (state.end !== undefined || change === undefined) return
  effects.change = undefined
  const ensemble = [...state.committed]
  for (const { index, bookieId } of change.replacements) ensemble[index] = bookieId
  state.newFragments = withFragment(state.newFragments, {
    firstEntryId: change.firstEntryId,
    ensemble,
  })
  onChanged(state, { ensemble, nowMs }, effects)
}

/** Indexes whose bookie differs between what entries are sent to and the metadata. */
function replacedMask(state: WriterState): number {
  let mask = 0
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    if (state.ensemble[index] !== state.committed[index]) mask |= 1 << index
  }
  return mask
}

/** W3. */
function finishChange(state: WriterState, nowMs: number, effects: WriterEffects): void {
  const replaced = replacedMask(state)
  state.finishedHoles = [...state.finishedHoles, ...holesOfReplaced(state, replaced)]
  state.lagging &= ~replaced
  state.ensemble = state.committed
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    if ((replaced & (1 << index)) === 0) continue
    state.generations[index] = (state.generations[index] ?? 0) + 1
    state.sinceMs[index] = nowMs
    state.holeFrom[index] = -1
  }
  state.gated = false
  state.phase = 'idle'
  state.handling = 0
  if (replaced !== 0) unsetReplaced(state, replaced, effects)
  settle(state, effects)
}

function unsetReplaced(state: WriterState, replaced: number, effects: WriterEffects): void {
  // Confirmed entries stay with the fragment before: nobody waits for the new member to have them.
  for (let entryId = state.head; entryId <= state.lac; entryId += 1) {
    const slot = slotOf(state, entryId)
    state.acked[slot] = (state.acked[slot] ?? 0) | replaced
  }
  for (let entryId = state.lac + 1; entryId <= state.lap; entryId += 1) {
    const slot = slotOf(state, entryId)
    state.acked[slot] = (state.acked[slot] ?? 0) & ~replaced
    const again = writeSet(state.quorum, entryId) & replaced
    for (let index = 0; again >>> index !== 0; index += 1) {
      if (((again >>> index) & 1) === 0) continue
      effects.resendEntries.push(entryId)
      effects.resendIndexes.push(index)
    }
  }
}

function drain(state: WriterState): void {
  state.lap = state.lac
  state.pendingBytes = 0
}

function finish(state: WriterState, reason: EndReason): void {
  if (state.end !== undefined) return
  state.end = reason
  drain(state)
}
