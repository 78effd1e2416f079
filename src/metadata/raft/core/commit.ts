// What a leader may call committed, and what follows from a configuration that is.

import { encodeConfiguration } from './configuration-codec.ts'
import { isJoint, isVoter, leaveJoint, majorityIndex } from './configuration.ts'
import { termAt } from './log.ts'
import { advanceCommit, appendOwn, followMembers } from './own-log.ts'
import { becomeFollower } from './roles.ts'
import { configurationOf, inForce, isReady } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'

/** Of the others what they acknowledged, of this node what is durable (F3.20). */
function acknowledged(state: RaftState, id: string): number {
  if (id === state.options.id) return state.log.durable
  return state.progress.get(id)?.match ?? 0
}

export function commitWhatMayBe(state: RaftState, effects: Effects): void {
  const index = majorityIndex(configurationOf(state), (id) => acknowledged(state, id))
  // F3.19: an entry of an earlier term is committed only by one of this term behind it.
  if (index > state.commit && termAt(state.log, index) === state.term) advanceCommit(state, index)
  leaveWhatIsJoint(state, effects)
}

/** F3.66: by itself, also if another leader entered. F3.61: only with an entry of its term. */
function leaveWhatIsJoint(state: RaftState, effects: Effects): void {
  const { index, configuration } = inForce(state)
  if (!isJoint(configuration) || index > state.commit || !isReady(state)) return
  const left = appendOwn(state, 'config', encodeConfiguration(leaveJoint(configuration)))
  followMembers(state, effects)
  // Whoever asked is answered when the change is complete.
  const at = state.proposals.findIndex((proposal) => proposal.index === index)
  const [asked] = at < 0 ? [] : state.proposals.splice(at, 1)
  if (asked) state.proposals.push({ index: left, term: state.term, ctx: asked.ctx })
}

/** F3.70: a leader that is no voter any more leads until that is committed. */
export function stepDownIfRemoved(state: RaftState, effects: Effects): void {
  const { index, configuration } = inForce(state)
  if (state.role !== 'leader' || index > state.commit) return
  if (isVoter(configuration, state.options.id)) return
  becomeFollower(state, { term: state.term, leader: undefined }, effects)
}
