// All histories of a small group of Raft cores, breadth first: messages arrive in any order, twice
// or never, writes are done early or late, nodes crash, campaign and propose whenever they may. The
// oracle sees every step.
//
// Pre-votes bind nobody: they are asked and answered at once. Messages that could do nothing any
// more are forgotten. What is committed is applied at once.

import type { Message } from '../../src/metadata/raft/core/messages.ts'
import type { MemberChange } from '../../src/metadata/raft/core/inputs.ts'
import type { RaftState } from '../../src/metadata/raft/core/state.ts'
import type { NodeId } from '../../src/metadata/raft/core/types.ts'
import { violationOf } from './mutated-core.ts'
import type { Violation } from './mutated-core.ts'
import type { RaftCore } from './raft-core.ts'
import { RaftNetwork } from './raft-network.ts'
import type { RaftNode } from './raft-node.ts'

export interface RaftModel {
  readonly core?: RaftCore
  readonly voters: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  /** What has happened before. */
  readonly prepare?: (network: RaftNetwork) => void
  /** More messages under way at a time are not looked at. */
  readonly underWay?: number
  /** Who may campaign; all unless told otherwise. */
  readonly campaigners?: readonly NodeId[]
  /** How often each may happen in a history. */
  readonly campaigns?: number
  readonly proposals?: number
  readonly crashes?: number
  readonly repeats?: number
  readonly heartbeats?: number
  readonly reads?: number
  /** Asked for in this order, by whoever leads. */
  readonly changes?: readonly (readonly MemberChange[])[]
}

export interface RaftSearchResult {
  readonly states: number
  readonly transitions: number
  /** False when the bound on states was reached, or a violation found. */
  readonly complete: boolean
  readonly violation: Violation | undefined
  /** States in which so many entries were committed. */
  readonly committed: ReadonlyMap<number, number>
}

interface Budget {
  campaigns: number
  proposals: number
  crashes: number
  repeats: number
  heartbeats: number
  reads: number
  changes: number
}

interface System {
  readonly network: RaftNetwork
  readonly budget: Budget
}

type Move = (system: System) => void

/** Nothing here happens because time passes. */
const timeless = {
  electionTicks: 1_000,
  heartbeatTicks: 1,
  storageStallTicks: 1e6,
  snapshotStallTicks: 1e6,
  readTicks: 1e6,
  // Each entry has a message of its own.
  appendBytesMax: 1,
}

export function searchRaft(model: RaftModel, maxStates: number): RaftSearchResult {
  const { core, voters, learners = [], prepare } = model
  const network = new RaftNetwork({ ...(core && { core }), voters, learners, options: timeless })
  const seen = new Set<string>()
  const committed = new Map<number, number>()
  let transitions = 0
  let violation: Violation | undefined
  try {
    prepare?.(network)
    const {
      campaigns = 0,
      proposals = 0,
      crashes = 0,
      repeats = 0,
      heartbeats = 0,
      reads = 0,
    } = model
    const budget = { campaigns, proposals, crashes, repeats, heartbeats, reads, changes: 0 }
    const first = { network, budget }
    settleQuietly(first)
    let frontier: System[] = [first]
    while (frontier.length > 0 && seen.size < maxStates) {
      const next: System[] = []
      for (const system of frontier) {
        for (const move of movesOf(model, system)) {
          const copy = { network: system.network.clone(), budget: { ...system.budget } }
          move(copy)
          settleQuietly(copy)
          transitions++
          if (copy.network.wire.length > (model.underWay ?? 99)) continue
          const key = keyOf(copy)
          if (seen.has(key)) continue
          seen.add(key)
          const { committedIndex } = copy.network.oracle
          committed.set(committedIndex, (committed.get(committedIndex) ?? 0) + 1)
          next.push(copy)
        }
        if (seen.size >= maxStates) break
      }
      frontier = next
    }
  } catch (error) {
    violation = violationOf(error)
  }
  const complete = !violation && seen.size < maxStates
  return { states: seen.size, transitions, complete, violation, committed }
}

function movesOf(model: RaftModel, { network, budget }: System): Move[] {
  const moves: Move[] = []
  const unlike = new Set<string>()
  network.wire.forEach((message, at) => {
    const key = messageKey(message)
    if (unlike.has(key)) return
    unlike.add(key)
    moves.push((s) => s.network.deliver(at))
    if (budget.repeats > 0) {
      moves.push((s) => {
        s.budget.repeats--
        const again = s.network.wire[at]
        if (again) s.network.inject(again)
      })
    }
  })
  for (const id of network.running) moves.push(...movesAt(model, { network, budget }, id))
  return moves
}

function movesAt(model: RaftModel, { network, budget }: System, id: NodeId): Move[] {
  const moves: Move[] = []
  const { role } = network.state(id)
  if (network.node(id).writes.length > 0) moves.push((s) => s.network.persist(id))
  const mayCampaign = (model.campaigners ?? model.voters).includes(id) && budget.campaigns > 0
  if (role !== 'leader' && mayCampaign) {
    moves.push((s) => {
      s.budget.campaigns--
      campaign(s.network, id)
    })
  }
  if (budget.crashes > 0) {
    moves.push((s) => {
      s.budget.crashes--
      s.network.crash(id)
      s.network.start(id)
    })
  }
  if (role !== 'leader') return moves
  const spend = (what: keyof Budget, move: Move): void => {
    if (budget[what] > 0) moves.push((s) => (s.budget[what]--, move(s)))
  }
  spend('proposals', (s) => s.network.propose(id, 'x'))
  spend('heartbeats', (s) => s.network.tick(id))
  spend('reads', (s) => s.network.read(id))
  const change = model.changes?.[budget.changes]
  if (change) {
    moves.push((s) => {
      s.budget.changes++
      s.network.change(id, ...change)
    })
  }
  return moves
}

/** Everybody but a leader has lost its leader; this one campaigns, if it hears that it may. */
export function campaign(network: RaftNetwork, id: NodeId): void {
  for (const each of network.running) {
    const state = network.state(each)
    if (state.role !== 'leader') state.electionTicks = timeless.electionTicks
  }
  network.state(id).timeoutTicks = 1
  network.tick(id, 1, 0)
  for (let asked = true; asked;) {
    const at = network.wire.findIndex(
      (message) =>
        (message.type === 'vote' && message.preVote) ||
        (message.type === 'vote-response' && message.preVote),
    )
    asked = at >= 0
    if (asked) network.deliver(at)
  }
}

/**
 * Applies what is committed; writes what no crash can take away any more; forgets what can do
 * nothing any more, and what is of a term that its receiver has left (as if it were lost).
 */
function settleQuietly({ network, budget }: System): void {
  for (const id of network.running) {
    const node = network.node(id)
    for (let busy = true; busy;) {
      if (budget.crashes === 0) network.persist(id)
      network.apply(id)
      busy = node.applies.length > 0 || (budget.crashes === 0 && node.writes.length > 0)
    }
  }
  network.wire = network.wire.filter((message) => mayMatter(network, message))
}

function mayMatter(network: RaftNetwork, message: Message): boolean {
  const { to, from, term, type } = message
  if (term < network.node(to).durable.hard.term) return false
  const { state, durable } = network.node(to)
  // What a crash may still undo is not relied on.
  if (!state || state.term !== term || durable.hard.term !== term) return true
  if (type === 'vote-response') return state.role === 'candidate'
  if (type === 'append-response' || type === 'heartbeat-response') {
    const progress = state.progress.get(from)
    if (!progress) return false
    if (type === 'heartbeat-response') return message.round > progress.ackedRound
    return message.rejected || message.index > progress.match || progress.state === 'probe'
  }
  return true
}

const keys = new WeakMap<Message, string>()

function messageKey(message: Message): string {
  const known = keys.get(message)
  if (known !== undefined) return known
  const key = JSON.stringify(message, (name, value: unknown) =>
    name === 'bytes' ? Buffer.from(value as Uint8Array).toString() : value,
  )
  keys.set(message, key)
  return key
}

/** Equal for states that have the same future. */
function keyOf({ network, budget }: System): string {
  const nodes = [...network.nodes.values()].map(nodeKey)
  const wire = network.wire.map(messageKey).sort()
  return JSON.stringify([nodes, wire, Object.values(budget), network.oracle.key()])
}

function nodeKey({ state, view, durable, writes, held }: RaftNode): unknown {
  if (!state) return 'down'
  const { log, storage } = state
  return [
    roleKey(state),
    [log.cutIndex, log.lastIndex, log.durable, log.handed, log.terms],
    view.log.map(({ term, bytes }) => `${term}${Buffer.from(bytes).toString('latin1')}`),
    [view.hard, view.applied, durable.hard, durable.log.length, durable.applied],
    writes.map(({ truncateFrom, entries, hard }) => [
      truncateFrom,
      entries.map(({ index, term }) => [index, term]),
      hard,
    ]),
    held.map(({ afterToken, message }) => [afterToken - storage.token, messageKey(message)]),
  ]
}

const roleKey = (state: RaftState): unknown => [
  state.role,
  state.term,
  state.vote,
  state.leader,
  state.commit,
  state.campaignRound,
  [...state.votes],
  state.round,
  state.leaderRound,
  state.proposals.map(({ index }) => index),
  state.reads.map(({ readId, round }) => [readId, round]),
  state.storage.pending.map(({ lastIndex, term, vote }) => [lastIndex, term, vote]),
  [...state.progress.values()].map((each) => [
    each.id,
    each.state,
    each.match,
    each.next,
    each.sentCommit,
    each.paused,
    each.ackedRound,
    each.checkedRound,
    each.checkedMatch,
    each.inflight.map(({ lastIndex }) => lastIndex),
  ]),
]
