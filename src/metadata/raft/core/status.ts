// What others ask of a core: for an operator's view, and for whoever cuts the log.

import { isInTouch } from './proposals.ts'
import { configurationOf, isReady } from './state.ts'
import type { RaftState } from './state.ts'
import type { ProgressState } from './progress.ts'
import type { Role } from './effects.ts'
import type { Configuration, NodeId } from './types.ts'

export interface MemberStatus {
  readonly id: NodeId
  readonly state: ProgressState
  readonly match: number
  /** Has answered within an election timeout. */
  readonly inTouch: boolean
  /** A learner that may become a voter. */
  readonly caughtUp: boolean
}

export interface RaftStatus {
  readonly role: Role
  readonly term: number
  readonly leader: NodeId | undefined
  readonly ready: boolean
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  readonly durable: number
  readonly configuration: Configuration
  /** The others as this leader knows them; empty elsewhere. */
  readonly members: readonly MemberStatus[]
}

export function statusOf(state: RaftState): RaftStatus {
  const { role, term, leader, commit, applied, log } = state
  const members = [...state.progress.values()].map((progress) => ({
    id: progress.id,
    state: progress.state,
    match: progress.match,
    inTouch: isInTouch(state, progress.id),
    caughtUp: progress.caughtUp,
  }))
  return {
    role,
    term,
    leader,
    ready: isReady(state),
    commit,
    applied,
    lastIndex: log.lastIndex,
    durable: log.durable,
    configuration: configurationOf(state),
    members,
  }
}

/**
 * The highest index that the log may be cut at: what is applied, and no more than the followers in
 * touch need that are being sent a snapshot or go on behind one (F3.56). One that is silent or
 * makes no progress does not hold the log (F3.46).
 */
export function cutLimit(state: RaftState): number {
  let limit = state.applied
  for (const { id, pinned, match, transfer } of state.progress.values()) {
    if (!pinned || !isInTouch(state, id)) continue
    limit = Math.min(limit, Math.max(match, transfer?.snapshot?.index ?? 0))
  }
  return Math.max(limit, state.log.cutIndex)
}
