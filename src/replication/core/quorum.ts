// Quorum arithmetic of one ledger: who holds an entry, and when enough is known. The only place
// with the write-set formula.
//
// Members of an ensemble are bits of a 32-bit mask, bit i for index i. Answers are three-valued
// where silence may still change: an unknown reply is never counted as a negative one.

import { invariant } from '../../invariant.ts'

/** Bits of a mask: more members than this no ensemble of ours has. */
export const ensembleSizeMax = 30

export interface Quorum {
  readonly ensembleSize: number
  readonly writeQuorumSize: number
  readonly ackQuorumSize: number
  /** Write set of every entry with `entryId % ensembleSize` = index, as a mask. */
  readonly writeSets: Uint32Array
  /** Every member. */
  readonly all: number
}

export interface QuorumSizes {
  readonly ensembleSize: number
  readonly writeQuorumSize: number
  readonly ackQuorumSize: number
}

export function createQuorum(sizes: QuorumSizes): Quorum {
  const { ensembleSize, writeQuorumSize, ackQuorumSize } = sizes
  invariant(
    ensembleSize >= writeQuorumSize && writeQuorumSize >= ackQuorumSize && ackQuorumSize >= 1,
    'ensemble size, write quorum and ack quorum descend and are at least one',
    { ...sizes },
  )
  invariant(ensembleSize <= ensembleSizeMax, 'an ensemble fits a mask', { ensembleSize })
  const writeSets = new Uint32Array(ensembleSize)
  for (let entryId = 0; entryId < ensembleSize; entryId += 1) {
    let mask = 0
    for (let j = 0; j < writeQuorumSize; j += 1) mask |= 1 << ((entryId + j) % ensembleSize)
    writeSets[entryId] = mask
  }
  return { ensembleSize, writeQuorumSize, ackQuorumSize, writeSets, all: 2 ** ensembleSize - 1 }
}

/** W(e) as a mask (A2). */
export function writeSet(quorum: Quorum, entryId: number): number {
  return quorum.writeSets[entryId % quorum.ensembleSize] ?? 0
}

/** The j-th member of W(e), in the order in which replicas are tried. */
export function writeSetMember(quorum: Quorum, entryId: number, j: number): number {
  return ((entryId % quorum.ensembleSize) + j) % quorum.ensembleSize
}

export function popcount(mask: number): number {
  let bits = mask - ((mask >>> 1) & 0x55555555)
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** Acknowledged, never to be, or open. `failed`: members that will not acknowledge any more. */
export type AckCoverage = 'acked' | 'impossible' | 'undecided'

export function ackCoverage(
  quorum: Quorum,
  entryId: number,
  members: { acked: number; failed: number },
): AckCoverage {
  const set = writeSet(quorum, entryId)
  if (popcount(set & members.acked) >= quorum.ackQuorumSize) return 'acked'
  const possible = popcount(set & (members.acked | ~members.failed))
  return possible < quorum.ackQuorumSize ? 'impossible' : 'undecided'
}

export type Coverage = 'covered' | 'impossible' | 'undecided'

/**
 * Of fencing and of last-confirmed reads (A2): covered when in every write set fewer than an ack
 * quorum are not known, so that no ack quorum is without a member that answered. `failed`: members
 * whose answer is unknown for good.
 */
export function fencingCoverage(
  quorum: Quorum,
  members: { known: number; failed: number },
): Coverage {
  let covered = true
  for (const set of quorum.writeSets) {
    if (popcount(set & members.failed & ~members.known) >= quorum.ackQuorumSize) return 'impossible'
    if (popcount(set & ~members.known) >= quorum.ackQuorumSize) covered = false
  }
  return covered ? 'covered' : 'undecided'
}

/** Explicit negatives that prove an entry was never acknowledged and never will be. */
export function negativeThreshold(quorum: QuorumSizes): number {
  return quorum.writeQuorumSize - quorum.ackQuorumSize + 1
}

export type EntryDecision = 'found' | 'absent' | 'abort' | 'undecided'

/**
 * Of a recovery read (A10 R4), as soon as a threshold is met. Three disjoint masks of replies; the
 * rest has not answered.
 */
export function entryDecision(
  quorum: Quorum,
  entryId: number,
  replies: { found: number; negative: number; unknown: number },
): EntryDecision {
  const set = writeSet(quorum, entryId)
  if ((set & replies.found) !== 0) return 'found'
  if (popcount(set & replies.negative) >= negativeThreshold(quorum)) return 'absent'
  return (set & ~(replies.negative | replies.unknown)) === 0 ? 'abort' : 'undecided'
}

/** Whether every entry can still be acknowledged without the members in `without`. */
export function canAckWithout(quorum: Quorum, without: number): boolean {
  for (const set of quorum.writeSets) {
    if (popcount(set & ~without) < quorum.ackQuorumSize) return false
  }
  return true
}
