// Everything a core knows. One object that `step` changes; nothing in it refers to the outside.

import { invariant } from '../../../invariant.ts'
import { cloneLog, createLog } from './log.ts'
import type { Log } from './log.ts'
import { cloneProgress } from './progress.ts'
import type { Progress } from './progress.ts'
import type { Role, SoftState } from './effects.ts'
import type {
  Configuration,
  ConfigurationAt,
  NodeId,
  RaftOptions,
  SnapshotMeta,
  StoredState,
} from './types.ts'

/** A batch given to the driver and not durable yet. */
export interface PendingWrite {
  readonly token: number
  /** Last entry written up to this batch, unless it was truncated since. */
  lastIndex: number
  readonly term: number
  readonly vote: NodeId | undefined
}

export interface Storage {
  token: number
  readonly pending: PendingWrite[]
  /** Since a batch became durable, while there are some. */
  stalledTicks: number
  writable: boolean
  /** The hard state that was given to the driver last, and the one that is durable. */
  writtenTerm: number
  writtenVote: NodeId | undefined
  durableTerm: number
  durableVote: NodeId | undefined
}

/** A proposal of this leader that was not handed out as committed yet. */
export interface Proposal {
  readonly index: number
  readonly term: number
  readonly ctx: number
}

/** A read that a leader has still to confirm, its own or a follower's. */
export interface PendingRead {
  readonly from: NodeId
  readonly runId: number
  /** The driver's `ctx` if it is the leader's own. */
  readonly readId: number
  readonly ticks: number
  /** The heartbeat that confirms it: begun after the read came; 0 = none yet (F3.37). */
  round: number
  index: number
}

/** A read that was passed on to the leader. */
export interface ForwardedRead {
  readonly readId: number
  readonly ctx: number
  readonly ticks: number
}

export interface RaftState {
  readonly options: RaftOptions
  /** Ticks seen, for ages. */
  ticks: number
  term: number
  vote: NodeId | undefined
  role: Role
  leader: NodeId | undefined
  /** Told so by somebody whose committed configuration says it. */
  retired: boolean

  readonly log: Log
  commit: number
  /** Last entry handed out to be applied, and last one applied. */
  handedOut: number
  applied: number
  /** Handed out and not applied. */
  readonly applying: { readonly index: number; readonly bytes: number }[]
  applyingBytes: number
  /** The driver reads committed entries for the node itself. */
  readingCommitted: boolean
  /** Ascending; the last is in force. */
  readonly configurations: ConfigurationAt[]

  /** Since the leader, or a vote that was granted, was last heard of. */
  electionTicks: number
  /** When to campaign; 0 = to be drawn at the next tick. */
  timeoutTicks: number
  heartbeatTicks: number
  campaignRound: number
  readonly votes: Map<NodeId, boolean>

  /** A leader's: first entry of its term; heartbeats sent; the other members. */
  termStart: number
  round: number
  readonly progress: Map<NodeId, Progress>
  readonly proposals: Proposal[]
  /** Bytes of each entry behind `commit`, oldest first; 0 if a leader before appended it. */
  readonly uncommitted: number[]
  uncommittedBytes: number
  transferee: NodeId | undefined
  transferTicks: number
  transferAsked: boolean
  readonly reads: PendingRead[]

  /** A follower's: the latest heartbeat heard of this leader; reads passed on to it. */
  leaderRound: number
  readId: number
  readonly forwarded: ForwardedRead[]
  /** A snapshot that comes in, and one that is complete and being installed. */
  receiving: { readonly snapshot: SnapshotMeta; offset: number } | undefined
  installing: SnapshotMeta | undefined

  readonly storage: Storage
  /** What the driver was told last. */
  told: SoftState
  toldConfiguration: ConfigurationAt | undefined
}

/** The configuration in force: the last in the log, committed or not. */
export function configurationOf(state: RaftState): Configuration {
  return inForce(state).configuration
}

export function inForce({ configurations }: RaftState): ConfigurationAt {
  const last = configurations.at(-1)
  invariant(last !== undefined, 'there is a configuration')
  return last
}

/**
 * The configuration in force at `index`, for a snapshot: of what was applied since the start.
 */
export function configurationAt(state: RaftState, index: number): ConfigurationAt {
  const found = state.configurations.findLast((each) => each.index <= index)
  invariant(found !== undefined, 'configurations of applied entries are kept', { index })
  return found
}

/** A leader that has committed an entry of its own term (F3.16). */
export const isReady = (state: RaftState): boolean =>
  state.role === 'leader' && state.commit >= state.termStart

/** True if a configuration that is committed says that this id was removed for good. */
export function isRetired({ configurations, commit }: RaftState, id: NodeId): boolean {
  const committed = configurations.findLast(({ index }) => index <= commit)
  return !!committed?.configuration.retired.includes(id)
}

/** A core as its store left it. Throws QUIRE_INVARIANT for a store that cannot be one. */
export function createRaft(options: RaftOptions, stored: StoredState): RaftState {
  const { hardState, applied, configurations } = stored
  const { term, vote } = hardState
  checkStored(stored)
  const told: SoftState = {
    role: 'follower',
    term,
    leader: undefined,
    ready: false,
    transferee: undefined,
    retired: false,
  }
  return {
    options,
    ticks: 0,
    term,
    vote,
    role: 'follower',
    leader: undefined,
    retired: false,
    log: createLog(stored),
    commit: Math.max(hardState.commit, applied),
    handedOut: applied,
    applied,
    applying: [],
    applyingBytes: 0,
    readingCommitted: false,
    configurations: [...configurations],
    electionTicks: 0,
    timeoutTicks: 0,
    heartbeatTicks: 0,
    campaignRound: 0,
    votes: new Map(),
    termStart: 0,
    round: 0,
    progress: new Map(),
    proposals: [],
    uncommitted: [],
    uncommittedBytes: 0,
    transferee: undefined,
    transferTicks: 0,
    transferAsked: false,
    reads: [],
    leaderRound: 0,
    readId: 0,
    forwarded: [],
    receiving: undefined,
    installing: undefined,
    storage: createStorage(term, vote),
    told,
    toldConfiguration: undefined,
  }
}

function checkStored(stored: StoredState): void {
  const { hardState, cut, lastIndex, terms, applied, configurations } = stored
  const facts = { ...hardState, cut: cut.index, lastIndex, applied }
  // F3.29: a hint above what is there means that what was durable has gone.
  invariant(hardState.commit <= lastIndex, 'what was committed is in the log', facts)
  invariant(applied >= cut.index && applied <= lastIndex, 'the state is within the log', facts)
  invariant(configurations.length > 0, 'a configuration is stored with the state', facts)
  invariant((configurations[0]?.index ?? 0) <= applied, 'the first configuration is applied', facts)
  const lastTerm = terms.at(-1)?.term ?? cut.term
  invariant(hardState.term >= lastTerm, 'the term is not behind the log', { ...facts, lastTerm })
}

const createStorage = (term: number, vote: NodeId | undefined): Storage => ({
  token: 0,
  pending: [],
  stalledTicks: 0,
  writable: true,
  writtenTerm: term,
  writtenVote: vote,
  durableTerm: term,
  durableVote: vote,
})

/** A copy that shares nothing that changes: for a search through all histories. */
export function cloneRaft(state: RaftState): RaftState {
  const progress = new Map<NodeId, Progress>()
  for (const [id, each] of state.progress) progress.set(id, cloneProgress(each))
  return {
    ...state,
    log: cloneLog(state.log),
    applying: [...state.applying],
    configurations: [...state.configurations],
    votes: new Map(state.votes),
    progress,
    proposals: [...state.proposals],
    uncommitted: [...state.uncommitted],
    reads: state.reads.map((read) => ({ ...read })),
    forwarded: [...state.forwarded],
    receiving: state.receiving && { ...state.receiving },
    storage: { ...state.storage, pending: state.storage.pending.map((write) => ({ ...write })) },
  }
}
