// Messages between cores. Each carries the sender's term, except a request for a pre-vote, which
// carries the term the sender would campaign for, and its grant, which repeats it (F3.7).

import type { Entry, NodeId, SnapshotMeta } from './types.ts'

interface Common {
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
}

/** "Would you, will you elect me?" */
export interface VoteRequest extends Common {
  readonly type: 'vote'
  readonly preVote: boolean
  /** Counts the sender's campaigns: answers repeat it (F3.17). */
  readonly round: number
  readonly lastIndex: number
  readonly lastTerm: number
  /** The leader asked for this campaign: having heard from it is no reason to refuse. */
  readonly transfer: boolean
}

export interface VoteResponse extends Common {
  readonly type: 'vote-response'
  readonly preVote: boolean
  readonly round: number
  readonly granted: boolean
}

/** From a leader: entries behind `prevIndex`, or none, to find out whether that one is there. */
export interface AppendRequest extends Common {
  readonly type: 'append'
  readonly prevIndex: number
  readonly prevTerm: number
  readonly entries: readonly Entry[]
  /** The leader's. */
  readonly commit: number
}

/** Everything up to `index` is as the leader has it, and durable (F3.21); or nothing is known. */
export interface AppendResponse extends Common {
  readonly type: 'append-response'
  readonly rejected: boolean
  /** Last entry verified by the request; of a rejection its `prevIndex`. */
  readonly index: number
  /** Of a rejection: an entry of the sender that may agree, and its term (F3.27). */
  readonly hintIndex: number
  readonly hintTerm: number
}

export interface Heartbeat extends Common {
  readonly type: 'heartbeat'
  /** Never above what this follower has acknowledged (F3.28). */
  readonly commit: number
  /** Counts the leader's heartbeats: answers repeat it (F3.37). */
  readonly round: number
}

export interface HeartbeatResponse extends Common {
  readonly type: 'heartbeat-response'
  readonly round: number
  /** Last entry of the sender: less than it acknowledged means that it lost data (F3.62). */
  readonly lastIndex: number
}

/** From a leader that hands over: campaign at once. */
export interface TimeoutNow extends Common {
  readonly type: 'timeout-now'
  readonly lastIndex: number
  /** The leader's last heartbeat: overtaken by a later one, the request is void (F3.71). */
  readonly round: number
}

/** A follower asks the leader for an index to read at. */
export interface ReadRequest extends Common {
  readonly type: 'read'
  readonly runId: number
  readonly readId: number
}

export interface ReadResponse extends Common {
  readonly type: 'read-response'
  readonly runId: number
  readonly readId: number
  /** False: ask again, later or elsewhere. */
  readonly ok: boolean
  readonly index: number
}

export interface SnapshotChunk extends Common {
  readonly type: 'snapshot'
  readonly snapshot: SnapshotMeta
  readonly offset: number
  readonly bytes: Uint8Array
  readonly last: boolean
}

export interface SnapshotResponse extends Common {
  readonly type: 'snapshot-response'
  readonly id: string
  /**
   * `more`: go on at `offset`. `installed`: everything up to `index` is there and durable.
   * `failed`: the sender could not use it.
   */
  readonly status: 'more' | 'installed' | 'failed'
  readonly offset: number
  readonly index: number
}

/** "You were removed": to one that asks for votes and does not know. */
export interface Retired extends Common {
  readonly type: 'retired'
}

export type Message =
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | Heartbeat
  | HeartbeatResponse
  | TimeoutNow
  | ReadRequest
  | ReadResponse
  | SnapshotChunk
  | SnapshotResponse
  | Retired
