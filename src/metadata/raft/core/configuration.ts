// Majorities, of one configuration or of two that are joint, and how one configuration follows from
// another. Lists are sorted, so that equal configurations have equal bytes.

import type { MemberChange } from './inputs.ts'
import type { Configuration, NodeId } from './types.ts'

export const emptyConfiguration: Configuration = {
  voters: [],
  outgoing: [],
  learners: [],
  learnersNext: [],
  retired: [],
}

export const isJoint = (configuration: Configuration): boolean => configuration.outgoing.length > 0

/** A voter of either half. */
export const isVoter = ({ voters, outgoing }: Configuration, id: NodeId): boolean =>
  voters.includes(id) || outgoing.includes(id)

/** Everybody who gets the log, sorted. */
export function membersOf({ voters, outgoing, learners }: Configuration): NodeId[] {
  return sorted([...voters, ...outgoing, ...learners])
}

const majorityOf = (voters: readonly NodeId[]): number => Math.floor(voters.length / 2) + 1

/** True if `test` holds for a majority, in a joint configuration of each half. */
export function isMajority(
  { voters, outgoing }: Configuration,
  test: (id: NodeId) => boolean,
): boolean {
  const half = (ids: readonly NodeId[]): boolean => ids.filter(test).length >= majorityOf(ids)
  return half(voters) && (outgoing.length === 0 || half(outgoing))
}

/** The greatest number that a majority has reached, in a joint configuration of each half. */
export function majorityIndex(
  { voters, outgoing }: Configuration,
  indexOf: (id: NodeId) => number,
): number {
  const half = (ids: readonly NodeId[]): number =>
    ids.map(indexOf).sort((a, b) => b - a)[majorityOf(ids) - 1] ?? 0
  return outgoing.length === 0 ? half(voters) : Math.min(half(voters), half(outgoing))
}

export type VoteOutcome = 'won' | 'lost' | 'open'

export function voteOutcome(
  configuration: Configuration,
  votes: ReadonlyMap<NodeId, boolean>,
): VoteOutcome {
  if (isMajority(configuration, (id) => votes.get(id) === true)) return 'won'
  return isMajority(configuration, (id) => votes.get(id) !== false) ? 'open' : 'lost'
}

/** What follows by `changes`, joint if more than one voter changes; undefined if none does. */
export function changed(
  before: Configuration,
  changes: readonly MemberChange[],
): Configuration | undefined {
  const voters = new Set(before.voters)
  const learners = new Set(before.learners)
  const named = new Set(changes.map(({ node }) => node))
  if (isJoint(before) || changes.length === 0 || named.size !== changes.length) return undefined
  for (const { kind, node } of changes) {
    if (node === '' || before.retired.includes(node)) return undefined
    const wasVoter = voters.delete(node)
    const wasLearner = learners.delete(node)
    if (kind === 'voter' ? !wasLearner : kind === 'remove' && !wasVoter && !wasLearner) {
      return undefined
    }
    if (kind === 'learner' && wasLearner) return undefined
    if (kind === 'voter') voters.add(node)
    else if (kind === 'learner') learners.add(node)
  }
  return voters.size === 0 ? undefined : between(before, sorted(voters), sorted(learners))
}

function between(before: Configuration, voters: NodeId[], learners: NodeId[]): Configuration {
  const added = voters.filter((id) => !before.voters.includes(id))
  const left = before.voters.filter((id) => !voters.includes(id))
  const gone = before.learners.filter((id) => !voters.includes(id) && !learners.includes(id))
  const retired = sorted([...before.retired, ...gone])
  if (added.length + left.length > 1) {
    return {
      voters,
      outgoing: before.voters,
      learners: learners.filter((id) => !before.voters.includes(id)),
      learnersNext: learners.filter((id) => before.voters.includes(id)),
      retired,
    }
  }
  const removed = left.filter((id) => !learners.includes(id))
  return {
    voters,
    outgoing: [],
    learners,
    learnersNext: [],
    retired: sorted([...retired, ...removed]),
  }
}

/** What follows a joint configuration (F3.66). */
export function leaveJoint(joint: Configuration): Configuration {
  const { voters, outgoing, learners, learnersNext, retired } = joint
  const removed = outgoing.filter((id) => !voters.includes(id) && !learnersNext.includes(id))
  return {
    voters,
    outgoing: [],
    learners: sorted([...learners, ...learnersNext]),
    learnersNext: [],
    retired: sorted([...retired, ...removed]),
  }
}

function sorted(ids: Iterable<NodeId>): NodeId[] {
  return [...new Set(ids)].sort((a, b) => (a < b ? -1 : 1))
}
