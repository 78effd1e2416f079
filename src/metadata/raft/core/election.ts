// Campaigns and votes. Pre-vote and check-quorum are always on: each alone leaves a node stuck or
// lets one disturb the others (F3.8).

import { invariant } from '../../../invariant.ts'
import { isVoter, membersOf, voteOutcome } from './configuration.ts'
import { lastTerm } from './log.ts'
import { isHardStateDurable, sendAfterPersist, sendNow } from './outbox.ts'
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from './roles.ts'
import { configurationOf } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { VoteRequest, VoteResponse } from './messages.ts'

/** A leader was heard of within an election timeout, or is this node (F3.11). */
const inLease = (state: RaftState): boolean =>
  state.leader !== undefined && state.electionTicks < state.options.electionTicks

/**
 * A voter of the configuration in force, or, while that is not known to be committed, of one since
 * the last that is: such a node may be the only one whose log is long enough to be elected, even if
 * its own vote does not count any more.
 */
function mayBeVoter({ configurations, commit, options }: RaftState): boolean {
  const committed = configurations.findLastIndex(({ index }) => index <= commit)
  const open = configurations.slice(Math.max(committed, 0))
  return open.some(({ configuration }) => isVoter(configuration, options.id))
}

/** Whether this node may ask for votes now. */
export function canCampaign(state: RaftState): boolean {
  const { options, storage, retired, installing } = state
  if (retired || installing || state.role === 'leader') return false
  if (!options.whole || !mayBeVoter(state)) return false
  // F3.45, F3.49: a leader has to be able to write.
  if (!storage.writable || storage.stalledTicks > options.storageStallTicks) return false
  // F3.47: a campaign whose own vote is still being written is not begun anew.
  return state.role !== 'candidate' || isHardStateDurable(state)
}

/** `transfer`: the leader asked for it, nobody needs to be asked before (F3.71). */
export function campaign(
  state: RaftState,
  { transfer }: { transfer: boolean },
  effects: Effects,
): void {
  if (transfer) becomeCandidate(state, effects)
  else becomePreCandidate(state, effects)
  requestVotes(state, { transfer }, effects)
  tally(state, effects)
}

function requestVotes(
  state: RaftState,
  { transfer }: { transfer: boolean },
  effects: Effects,
): void {
  const configuration = configurationOf(state)
  const preVote = state.role === 'pre-candidate'
  const { id } = state.options
  for (const to of membersOf(configuration)) {
    if (to === id || !isVoter(configuration, to)) continue
    const request: VoteRequest = {
      type: 'vote',
      from: id,
      to,
      term: preVote ? state.term + 1 : state.term,
      preVote,
      round: state.campaignRound,
      lastIndex: state.log.lastIndex,
      lastTerm: lastTerm(state.log),
      transfer,
    }
    if (preVote) sendNow(effects, request)
    else sendAfterPersist(effects, request)
  }
}

function tally(state: RaftState, effects: Effects): void {
  const outcome = voteOutcome(configurationOf(state), state.votes)
  if (outcome === 'open') return
  if (outcome === 'lost') {
    becomeFollower(state, { term: state.term, leader: undefined }, effects)
  } else if (state.role === 'candidate') {
    becomeLeader(state, effects)
  } else {
    becomeCandidate(state, effects)
    requestVotes(state, { transfer: false }, effects)
  }
}

/** Something became durable: perhaps the candidate's vote for itself. */
export function countOwnVote(state: RaftState, effects: Effects): void {
  const { id } = state.options
  if (state.role !== 'candidate' || state.votes.has(id) || !isHardStateDurable(state)) return
  state.votes.set(id, true)
  // Its requests leave only now.
  state.electionTicks = 0
  tally(state, effects)
}

/**
 * True if the request is of a term that this node must not take over: somebody who does not hear
 * the leader, or was removed, disturbs those who do not miss anything (F3.11, F3.12).
 */
export const isDisruptive = (state: RaftState, request: VoteRequest): boolean =>
  !request.transfer && request.term > state.term && inLease(state)

/** Answers a request; a real vote comes with the term already taken over. */
export function onVoteRequest(state: RaftState, request: VoteRequest, effects: Effects): void {
  const { from, term, preVote, lastIndex, lastTerm: theirs } = request
  invariant(preVote || term === state.term, 'a vote is given in its term')
  const own = lastTerm(state.log)
  const canVote =
    state.vote === from ||
    (state.vote === undefined && state.leader === undefined) ||
    (preVote && term > state.term)
  // F3.4.
  const isUpToDate = theirs > own || (theirs === own && lastIndex >= state.log.lastIndex)
  const granted = canVote && isUpToDate && !isDisruptive(state, request) && term >= state.term
  if (granted && !preVote) {
    state.vote = from
    state.electionTicks = 0
    state.timeoutTicks = 0
  }
  sendAfterPersist(effects, {
    type: 'vote-response',
    from: state.options.id,
    to: from,
    // F3.9: a rejection tells the own term, so that one who is behind in terms catches up.
    term: granted ? term : state.term,
    preVote,
    round: request.round,
    granted,
  })
}

export function onVoteResponse(state: RaftState, response: VoteResponse, effects: Effects): void {
  const { from, preVote, round, granted } = response
  // F3.17: an answer to another campaign, or to the other kind, is none to this one.
  if (state.role !== (preVote ? 'pre-candidate' : 'candidate')) return
  if (round !== state.campaignRound || state.votes.has(from)) return
  state.votes.set(from, granted)
  tally(state, effects)
}
