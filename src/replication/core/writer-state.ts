// What the writer of one ledger knows: a ring of the entries in flight, in typed arrays, and its
// ensemble.
//
// Entries [head, lap] are in the ring. (lac, lap] wait for their ack quorum; [head, lac] are
// acknowledged to the caller and are kept until every member of their write set has them or was
// left behind, so that what a member lacks is known.

import { invariant } from '../../invariant.ts'
import type { LedgerFragment } from '../../wire/ledger-metadata.ts'
import type { Hole } from './holes.ts'
import type { EnsembleChange } from './metadata-update.ts'
import type { Quorum } from './quorum.ts'

/** Why a writer ended. Only `closed` was wanted. */
export type EndReason =
  | 'closed'
  | 'fenced'
  | 'unauthorized'
  | 'not-enough-bookies'
  | 'timed-out'
  | 'closed-elsewhere'
  | 'deleted'
  | 'metadata-lost'

export interface WriterLimits {
  /** Most entries in the ring, a power of two: it begins small and grows. */
  readonly capacity: number
  /**
   * Entries that are confirmed and that a slow member still lacks: at so many, it sets the pace.
   */
  readonly keptEntriesMax: number
  readonly keptBytesMax: number
  /** Silence of a member about one entry. */
  readonly addTimeoutMs: number
  /** Time for an entry to reach its ack quorum. */
  readonly quorumTimeoutMs: number
  readonly ensembleChangesMax: number
}

/**
 * `idle`: nothing to change. `choosing`: the driver looks for replacements. `changing`: a change of
 * the metadata is in flight, and last add confirmed stands still until its outcome is known (A5).
 */
export type WriterPhase = 'idle' | 'choosing' | 'changing'

export interface WriterState {
  readonly quorum: Quorum
  readonly limits: WriterLimits
  /** A recoverer: replacements are kept to itself until the closing write (A10 R5). */
  readonly local: boolean

  // The ring, by entryId % length.
  acked: Uint32Array
  payloadBytes: Uint32Array
  sentAtMs: Float64Array
  head: number
  lac: number
  lap: number
  pendingBytes: number
  keptBytes: number
  /** Payload bytes of the ledger up to `lac`. */
  confirmedBytes: number

  /** What entries are sent to: the last fragment as known when the change before was finished. */
  ensemble: readonly string[]
  /**
   * The last fragment of the metadata: differs from `ensemble` between two changes that follow at
   * once.
   */
  committed: readonly string[]
  /** Counts the bookies that stood at an index: with the index it names a bookie for good. */
  readonly generations: Uint32Array
  readonly sinceMs: Float64Array

  phase: WriterPhase
  /**
   * True from the moment a change's first entry id was computed until it is finished: no
   * acknowledgement meanwhile.
   */
  gated: boolean
  changes: number
  /** Members that failed and are not dealt with yet. */
  delayed: number
  /** Members that the driver looks for replacements for, or that the change in flight replaces. */
  handling: number
  /** Members left behind: nothing is sent to them any more. */
  lagging: number
  /** First entry that a member left behind may lack. */
  readonly holeFrom: Float64Array
  /** Holes that have ended, because their member was replaced. */
  finishedHoles: readonly Hole[]
  /** Fragments that a recoverer made. */
  newFragments: readonly LedgerFragment[]
  closing: boolean
  end: EndReason | undefined
}

/**
 * What a step asks of the driver; reused by it. Progress is read from `lac`, `head` and `end` of
 * the state.
 */
export interface WriterEffects {
  /** Entries to send again: pairs. */
  readonly resendEntries: number[]
  readonly resendIndexes: number[]
  /** Mask of members to find replacements for; 0 = nothing to choose. */
  choose: number
  change: EnsembleChange | undefined
  /** The holes changed: record them. */
  recordHoles: boolean
}

export function createEffects(): WriterEffects {
  return {
    resendEntries: [],
    resendIndexes: [],
    choose: 0,
    change: undefined,
    recordHoles: false,
  }
}

export function clearEffects(effects: WriterEffects): void {
  effects.resendEntries.length = 0
  effects.resendIndexes.length = 0
  effects.choose = 0
  effects.change = undefined
  effects.recordHoles = false
}

/** Slots of a ring before it grows: most writers have few entries in flight. */
const ringEntriesFirst = 64

/** Doubles the ring; every entry of it moves to its new slot. */
export function growRing(state: WriterState): void {
  const { acked, payloadBytes, sentAtMs } = state
  const before = acked.length
  const length = before * 2
  invariant(length <= state.limits.capacity, 'a ring grows up to its capacity', { length })
  state.acked = new Uint32Array(length)
  state.payloadBytes = new Uint32Array(length)
  state.sentAtMs = new Float64Array(length)
  for (let entryId = state.head; entryId <= state.lap; entryId += 1) {
    const from = entryId % before
    const to = entryId % length
    state.acked[to] = acked[from] ?? 0
    state.payloadBytes[to] = payloadBytes[from] ?? 0
    state.sentAtMs[to] = sentAtMs[from] ?? 0
  }
}

export function createWriter(options: {
  quorum: Quorum
  limits: WriterLimits
  ensemble: readonly string[]
  /** Last entry that counts as confirmed at the start; −1 for a new ledger. */
  lac: number
  local: boolean
  nowMs: number
}): WriterState {
  const { quorum, limits, ensemble, lac, local } = options
  const { capacity } = limits
  invariant(capacity > 0 && (capacity & (capacity - 1)) === 0, 'the ring has a power of two', {
    capacity,
  })
  invariant(ensemble.length === quorum.ensembleSize, 'an ensemble has its size')
  const first = Math.min(capacity, ringEntriesFirst)
  return {
    quorum,
    limits,
    local,
    acked: new Uint32Array(first),
    payloadBytes: new Uint32Array(first),
    sentAtMs: new Float64Array(first),
    head: lac + 1,
    lac,
    lap: lac,
    pendingBytes: 0,
    keptBytes: 0,
    confirmedBytes: 0,
    ensemble,
    committed: ensemble,
    generations: new Uint32Array(quorum.ensembleSize),
    sinceMs: new Float64Array(quorum.ensembleSize).fill(options.nowMs),
    phase: 'idle',
    gated: false,
    changes: 0,
    delayed: 0,
    handling: 0,
    lagging: 0,
    holeFrom: new Float64Array(quorum.ensembleSize).fill(-1),
    finishedHoles: [],
    newFragments: [],
    closing: false,
    end: undefined,
  }
}

/** A copy that shares nothing that changes: for a search through all histories. */
export function cloneWriter(state: WriterState): WriterState {
  return {
    ...state,
    acked: state.acked.slice(),
    payloadBytes: state.payloadBytes.slice(),
    sentAtMs: state.sentAtMs.slice(),
    generations: state.generations.slice(),
    sinceMs: state.sinceMs.slice(),
    holeFrom: state.holeFrom.slice(),
  }
}

/** What members of this ledger lack, as far as the writer knows. */
export function holesOf(state: WriterState): Hole[] {
  const holes = [...state.finishedHoles]
  for (let index = 0; index < state.quorum.ensembleSize; index += 1) {
    const bookieId = state.ensemble[index]
    if ((state.lagging & (1 << index)) === 0 || bookieId === undefined) continue
    holes.push({ bookieId, from: state.holeFrom[index] ?? 0, to: undefined })
  }
  return holes
}
