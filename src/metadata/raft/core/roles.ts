// The four roles and what changes between them.

import { invariant } from '../../../invariant.ts'
import { entryAt, entryBytes } from './log.ts'
import { appendOwn, followMembers } from './own-log.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { NodeId } from './types.ts'

const nothing = new Uint8Array(0)

function resetTimer(state: RaftState): void {
  state.electionTicks = 0
  state.timeoutTicks = 0
}

/** Reads that were passed on to a leader that is none any more (F3.39). */
function failForwarded(state: RaftState, effects: Effects): void {
  for (const { ctx } of state.forwarded) effects.readsFailed.push(ctx)
  state.forwarded.length = 0
}

/**
 * F3.31: what was proposed and is not known to be committed may or may not happen. What is
 * committed and was not handed out yet is still answered when it is.
 */
function leaveLeadership(state: RaftState, effects: Effects): void {
  for (const { transfer, id } of state.progress.values()) {
    if (transfer) effects.snapshotsReleased.push(id)
  }
  state.progress.clear()
  const kept = state.proposals.filter(({ index }) => index <= state.commit)
  for (const { ctx } of state.proposals.slice(kept.length)) effects.unknown.push(ctx)
  state.proposals.length = kept.length
  for (const { from, readId } of state.reads) {
    if (from === state.options.id) effects.readsFailed.push(readId)
  }
  state.reads.length = 0
  state.uncommitted.length = 0
  state.uncommittedBytes = 0
  state.transferee = undefined
}

/**
 * Follows `leader`, or nobody that is known. A term alone is no sign of life: a follower goes on
 * waiting (F3.10).
 */
export function becomeFollower(
  state: RaftState,
  { term, leader }: { term: number; leader: NodeId | undefined },
  effects: Effects,
): void {
  invariant(term >= state.term, 'terms never fall', { term, before: state.term })
  const wasFollower = state.role === 'follower'
  if (state.role === 'leader') leaveLeadership(state, effects)
  if (term !== state.term || leader !== state.leader) {
    failForwarded(state, effects)
    state.leaderRound = 0
  }
  if (term > state.term) {
    state.term = term
    state.vote = undefined
  }
  state.role = 'follower'
  state.leader = leader
  state.votes.clear()
  if (leader !== undefined || !wasFollower) resetTimer(state)
}

function leaveLeader(state: RaftState, effects: Effects): void {
  invariant(state.role !== 'leader', 'a leader does not campaign')
  failForwarded(state, effects)
  state.leader = undefined
  state.leaderRound = 0
  state.campaignRound++
  state.votes.clear()
  resetTimer(state)
}

/** Asks whether it would be elected; binds nobody, changes no term (F3.7). */
export function becomePreCandidate(state: RaftState, effects: Effects): void {
  leaveLeader(state, effects)
  state.role = 'pre-candidate'
  state.votes.set(state.options.id, true)
}

/** Its own vote counts when it is durable (F3.3). */
export function becomeCandidate(state: RaftState, effects: Effects): void {
  leaveLeader(state, effects)
  state.role = 'candidate'
  state.term++
  state.vote = state.options.id
}

export function becomeLeader(state: RaftState, effects: Effects): void {
  const { log, commit } = state
  invariant(state.role === 'candidate', 'only a candidate is elected')
  invariant(!state.installing, 'a node that installs a snapshot does not lead')
  state.role = 'leader'
  state.leader = state.options.id
  state.votes.clear()
  state.electionTicks = 0
  state.heartbeatTicks = 0
  state.receiving = undefined
  state.reads.length = 0
  state.progress.clear()
  for (let index = commit + 1; index <= log.lastIndex; index++) {
    const entry = entryAt(log, index)
    state.uncommitted.push(entry ? entryBytes(entry) : 0)
    state.uncommittedBytes += state.uncommitted.at(-1) ?? 0
  }
  followMembers(state, effects)
  // F3.16: committing an entry of its own term commits all before it, and shows what is committed.
  state.termStart = appendOwn(state, 'empty', nothing)
}
