// What is asked of a leader: entries, changes of membership, handing leadership over.

import { encodeConfiguration } from './configuration-codec.ts'
import { changed, isMajority, isVoter } from './configuration.ts'
import { entryOverheadBytes } from './log.ts'
import { sendNow } from './outbox.ts'
import { appendOwn, followMembers } from './own-log.ts'
import { configurationOf, inForce, isReady } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects, Refusal } from './effects.ts'
import type { MemberChange } from './inputs.ts'
import type { Configuration, NodeId } from './types.ts'

export function onPropose(
  state: RaftState,
  { ctx, bytes }: { ctx: number; bytes: Uint8Array },
  effects: Effects,
): void {
  const reason = refusalOf(state, bytes.length)
  if (reason) refuse(state, { ctx, reason }, effects)
  else propose(state, { ctx, index: appendOwn(state, 'normal', bytes) })
}

function refusalOf(state: RaftState, size: number): Refusal | undefined {
  const { options, role, transferee, uncommittedBytes } = state
  if (role !== 'leader') return 'not-leader'
  if (transferee !== undefined) return 'transferring'
  if (size > options.entryBytesMax) return 'too-large'
  // F3.30: one is always let through, or nothing larger than the bound ever would.
  const bytes = uncommittedBytes + size + entryOverheadBytes
  return uncommittedBytes > 0 && bytes > options.uncommittedBytesMax ? 'overloaded' : undefined
}

function refuse(
  state: RaftState,
  { ctx, reason }: { ctx: number; reason: Refusal },
  effects: Effects,
): void {
  effects.refused.push({ ctx, reason, leader: state.leader })
}

function propose(state: RaftState, { ctx, index }: { ctx: number; index: number }): void {
  state.proposals.push({ index, term: state.term, ctx })
}

export function onChange(
  state: RaftState,
  { ctx, changes }: { ctx: number; changes: readonly MemberChange[] },
  effects: Effects,
): void {
  const next = changed(configurationOf(state), changes)
  const reason = changeRefusal(state, next, changes)
  if (reason || !next) {
    refuse(state, { ctx, reason: reason ?? 'bad-change' }, effects)
    return
  }
  propose(state, { ctx, index: appendOwn(state, 'config', encodeConfiguration(next)) })
  followMembers(state, effects)
}

function changeRefusal(
  state: RaftState,
  next: Configuration | undefined,
  changes: readonly MemberChange[],
): Refusal | undefined {
  const refusal = refusalOf(state, 0)
  if (refusal) return refusal
  // F3.61: before that, a change of the leader before may still be committed beside this one.
  if (!isReady(state)) return 'not-ready'
  // F3.64.
  if (inForce(state).index > state.applied) return 'change-in-flight'
  if (!next) return 'bad-change'
  const isBehind = ({ kind, node }: MemberChange): boolean =>
    kind === 'voter' && !(state.progress.get(node)?.caughtUp && isInTouch(state, node))
  if (changes.some(isBehind)) return 'not-caught-up'
  return isSafe(state, next) ? undefined : 'quorum-at-risk'
}

/**
 * F3.68, F3.69: a majority of the new voters is in touch; and if the majority grows, every voter
 * that stays is, for it would have been one to spare.
 */
function isSafe(state: RaftState, next: Configuration): boolean {
  const { voters } = configurationOf(state)
  const half = { ...next, outgoing: [] }
  if (!isMajority(half, (id) => isInTouch(state, id))) return false
  const size = (ids: readonly NodeId[]): number => Math.floor(ids.length / 2)
  if (size(next.voters) <= size(voters)) return true
  return voters.every((id) => !next.voters.includes(id) || isInTouch(state, id))
}

/** Has answered within an election timeout. */
export function isInTouch(state: RaftState, id: NodeId): boolean {
  if (id === state.options.id) return true
  const progress = state.progress.get(id)
  return !!progress?.answered && progress.silentTicks < state.options.electionTicks
}

export function onTransfer(
  state: RaftState,
  { ctx, target }: { ctx: number; target: NodeId },
  effects: Effects,
): void {
  const isVoting = target !== state.options.id && isVoter(configurationOf(state), target)
  const reason = refusalOf(state, 0) ?? (isVoting ? undefined : 'bad-change')
  if (reason) {
    refuse(state, { ctx, reason }, effects)
    return
  }
  state.transferee = target
  state.transferTicks = 0
  state.transferAsked = false
}

/** F3.71: when the target has everything it is asked to campaign, once. */
export function askTransferee(state: RaftState, effects: Effects): void {
  const { transferee, log } = state
  if (transferee === undefined || state.transferAsked) return
  if (state.progress.get(transferee)?.match !== log.lastIndex) return
  state.transferAsked = true
  sendNow(effects, {
    type: 'timeout-now',
    from: state.options.id,
    to: transferee,
    term: state.term,
    lastIndex: log.lastIndex,
    round: state.round,
  })
}
