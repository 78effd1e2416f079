// What a follower does with its leader's appends and heartbeats.

import { invariant } from '../../../invariant.ts'
import { holds, lastThatMayAgree, termAt } from './log.ts'
import { isHardStateDurable, sendAfterPersist, sendNow } from './outbox.ts'
import { advanceCommit, appendAny, truncateFrom } from './own-log.ts'
import { becomeFollower } from './roles.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { AppendRequest, Heartbeat, HeartbeatResponse } from './messages.ts'
import type { NodeId } from './types.ts'

/** The leader of this term has spoken. */
export function hearLeader(state: RaftState, from: NodeId, effects: Effects): void {
  invariant(state.role !== 'leader', 'a term has one leader', { term: state.term, from })
  invariant(state.leader === undefined || state.leader === from, 'a term has one leader', {
    term: state.term,
    leaders: [state.leader, from],
  })
  if (state.role !== 'follower' || state.leader !== from) {
    becomeFollower(state, { term: state.term, leader: from }, effects)
  }
  state.electionTicks = 0
  state.timeoutTicks = 0
}

/** Consecutive entries behind `prevIndex`; terms do not fall, and are not of the future. */
function isWellFormed(request: AppendRequest): boolean {
  const { entries, prevIndex, prevTerm, term } = request
  let before = prevTerm
  return entries.every((entry, i) => {
    const good = entry.index === prevIndex + 1 + i && entry.term >= before && entry.term <= term
    before = entry.term
    return good
  })
}

export function onAppend(state: RaftState, request: AppendRequest, effects: Effects): void {
  hearLeader(state, request.from, effects)
  // What is being installed replaces the log: the leader asks again.
  if (state.installing || !isWellFormed(request)) return
  const { prevIndex, prevTerm, entries, commit } = request
  const lastNew = prevIndex + entries.length
  // What is committed is as every later leader has it: nothing to verify, nothing to change.
  if (prevIndex >= state.commit && !holds(state.log, prevIndex, prevTerm)) {
    reject(state, request, effects)
    return
  }
  for (const entry of entries) {
    if (entry.index <= state.commit) {
      const term = termAt(state.log, entry.index) ?? entry.term
      invariant(term === entry.term, 'what is committed is never overwritten', {
        index: entry.index,
        terms: [term, entry.term],
      })
      continue
    }
    if (holds(state.log, entry.index, entry.term)) continue
    // F3.23: cut only at an entry that differs; a shorter append says nothing of what follows.
    if (entry.index <= state.log.lastIndex) truncateFrom(state, entry.index)
    appendAny(state, entry)
  }
  const verified = Math.max(lastNew, state.commit)
  // F3.22.
  advanceCommit(state, Math.min(commit, lastNew))
  respond(state, request, { rejected: false, index: verified }, effects)
}

function reject(state: RaftState, request: AppendRequest, effects: Effects): void {
  const { prevIndex, prevTerm } = request
  const hintIndex = lastThatMayAgree(state.log, { index: prevIndex, term: prevTerm })
  respond(state, request, { rejected: true, index: prevIndex, hintIndex }, effects)
}

function respond(
  state: RaftState,
  { from }: AppendRequest,
  answer: { rejected: boolean; index: number; hintIndex?: number },
  effects: Effects,
): void {
  const { rejected, index, hintIndex = 0 } = answer
  sendAfterPersist(effects, {
    type: 'append-response',
    from: state.options.id,
    to: from,
    term: state.term,
    rejected,
    index,
    hintIndex,
    hintTerm: termAt(state.log, hintIndex) ?? 0,
  })
}

/** A leader of an earlier term has spoken: it must learn that it is none any more (F3.6). */
export function tellTerm(state: RaftState, to: NodeId, effects: Effects): void {
  sendAfterPersist(effects, {
    type: 'append-response',
    from: state.options.id,
    to,
    term: state.term,
    rejected: true,
    index: 0,
    hintIndex: 0,
    hintTerm: 0,
  })
}

export function onHeartbeat(state: RaftState, heartbeat: Heartbeat, effects: Effects): void {
  const { from, round, commit } = heartbeat
  hearLeader(state, from, effects)
  state.leaderRound = Math.max(state.leaderRound, round)
  if (!state.installing) {
    // F3.29: the leader's commit index in a heartbeat is one that this node acknowledged.
    invariant(commit <= state.log.lastIndex, 'what was acknowledged is still in the log', {
      commit,
      last: state.log.lastIndex,
    })
    advanceCommit(state, commit)
  }
  const response: HeartbeatResponse = {
    type: 'heartbeat-response',
    from: state.options.id,
    to: from,
    term: state.term,
    round,
    lastIndex: state.log.lastIndex,
  }
  if (isHardStateDurable(state)) sendNow(effects, response)
  else sendAfterPersist(effects, response)
}
