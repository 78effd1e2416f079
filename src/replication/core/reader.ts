// Which replica an entry is asked of next, and when to give up (A12): replicas in the order of the
// write set, the next one at a failure or when one is slow, and of all failures the most telling. A
// window of entries in typed arrays; no I/O.

import { invariant } from '../../invariant.ts'
import { statuses } from '../../wire/bookie-messages.ts'
import { popcount, writeSetMember } from './quorum.ts'
import type { Quorum } from './quorum.ts'

/** Beside the protocol's statuses: what the client itself finds wrong. */
export const readFailures = { lost: 1001, timedOut: 1002, digestMismatch: 1003 } as const

export interface ReaderState {
  /** Slots, by entryId % capacity. */
  readonly capacity: number
  readonly entryIds: Float64Array
  readonly tried: Uint32Array
  readonly answered: Uint32Array
  readonly worst: Uint16Array
  readonly askedAtMs: Float64Array
}

export function createReader(capacity: number): ReaderState {
  return {
    capacity,
    entryIds: new Float64Array(capacity).fill(-1),
    tried: new Uint32Array(capacity),
    answered: new Uint32Array(capacity),
    worst: new Uint16Array(capacity),
    askedAtMs: new Float64Array(capacity),
  }
}

export function cloneReader(state: ReaderState): ReaderState {
  return {
    capacity: state.capacity,
    entryIds: state.entryIds.slice(),
    tried: state.tried.slice(),
    answered: state.answered.slice(),
    worst: state.worst.slice(),
    askedAtMs: state.askedAtMs.slice(),
  }
}

export interface Preference {
  readonly quorum: Quorum
  /**
   * Where every read starts when all members hold all entries: one replica's cache serves a range.
   */
  readonly sticky: number
  /** Members to ask last: they failed lately, or are known to lack entries. */
  readonly poor: number
}

/** Begins an entry; returns the index of the replica to ask. */
export function startEntry(
  state: ReaderState,
  entryId: number,
  options: { preference: Preference; nowMs: number },
): number {
  const slot = entryId % state.capacity
  invariant(state.entryIds[slot] === -1, 'a slot holds one entry', { entryId })
  state.entryIds[slot] = entryId
  state.tried[slot] = 0
  state.answered[slot] = 0
  state.worst[slot] = 0
  return askNext(state, entryId, options)
}

/** The next replica of an entry, −1 when all were asked. */
export function askNext(
  state: ReaderState,
  entryId: number,
  options: { preference: Preference; nowMs: number },
): number {
  const slot = entryId % state.capacity
  const index = pick(options.preference, entryId, state.tried[slot] ?? 0)
  if (index < 0) return -1
  state.tried[slot] = (state.tried[slot] ?? 0) | (1 << index)
  state.askedAtMs[slot] = options.nowMs
  return index
}

function pick({ quorum, sticky, poor }: Preference, entryId: number, tried: number): number {
  const first = quorum.ensembleSize === quorum.writeQuorumSize ? sticky : entryId
  let fallback = -1
  for (let j = 0; j < quorum.writeQuorumSize; j += 1) {
    const index = writeSetMember(quorum, first, j)
    if ((tried & (1 << index)) !== 0) continue
    if ((poor & (1 << index)) === 0) return index
    if (fallback < 0) fallback = index
  }
  return fallback
}

/**
 * A replica failed. True when no answer is outstanding any more: ask the next, or fail with
 * `failureOf`.
 */
export function onReplicaFailed(
  state: ReaderState,
  entryId: number,
  failure: { index: number; status: number },
): boolean {
  const slot = entryId % state.capacity
  if (state.entryIds[slot] !== entryId) return false
  state.answered[slot] = (state.answered[slot] ?? 0) | (1 << failure.index)
  if (rank(failure.status) > rank(state.worst[slot] ?? 0)) state.worst[slot] = failure.status
  return (state.answered[slot] ?? 0) === (state.tried[slot] ?? 0)
}

/** Whether the entry is still waited for; ends it. */
export function endEntry(state: ReaderState, entryId: number): boolean {
  const slot = entryId % state.capacity
  if (state.entryIds[slot] !== entryId) return false
  state.entryIds[slot] = -1
  return true
}

/** The most telling failure of an entry (A12). */
export function failureOf(state: ReaderState, entryId: number): number {
  return state.worst[entryId % state.capacity] ?? 0
}

/**
 * Nobody asked so far has answered for `afterMs`, doubled with each replica asked: ask one more.
 */
export function wantsSpeculation(
  state: ReaderState,
  entryId: number,
  options: { afterMs: number; nowMs: number },
): boolean {
  const slot = entryId % state.capacity
  if (state.entryIds[slot] !== entryId || state.answered[slot] !== 0) return false
  const asked = popcount(state.tried[slot] ?? 0)
  const patienceMs = options.afterMs * 2 ** (asked - 1)
  return options.nowMs - (state.askedAtMs[slot] ?? 0) >= patienceMs
}

/** Absence is told only when every replica says so: "not reachable" outranks it. */
function rank(status: number): number {
  if (status === 0) return 0
  if (status === statuses.noEntry || status === statuses.noLedger) return 1
  if (status === readFailures.lost || status === readFailures.timedOut) return 2
  return status === readFailures.digestMismatch ? 4 : 3
}
