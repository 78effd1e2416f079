// What a core asks of its driver. `step` adds to it, `finish` completes it; then the driver acts on
// it and clears it. The arrays are reused, their elements are not.

import type { ConfigurationAt, Entry, HardState, NodeId, SnapshotMeta } from './types.ts'
import type { Message } from './messages.ts'

/** A committed entry to apply; `ctx` if it was proposed here, in the term the entry has (F3.33). */
export interface Committed {
  readonly entry: Entry
  readonly ctx: number | undefined
}

/** A linearizable read that may be served as soon as the state contains `index`. */
export interface ReadState {
  readonly ctx: number
  readonly index: number
}

/**
 * `not-leader`: ask `leader`, if it is known. `not-ready`: the leader has not committed an entry
 * of its term yet. `transferring`: leadership is being handed over. `too-large`: more than
 * `entryBytesMax`. `overloaded`: a bound is reached. `change-in-flight`: another change is not
 * applied yet. `bad-change`: it names an unknown, retired or doubled node, or leaves no voter.
 * `not-caught-up`: a new voter must be a learner that has nearly everything. `quorum-at-risk`: too
 * few of the new voters are in touch.
 */
export type Refusal =
  | 'not-leader'
  | 'not-ready'
  | 'transferring'
  | 'too-large'
  | 'overloaded'
  | 'change-in-flight'
  | 'bad-change'
  | 'not-caught-up'
  | 'quorum-at-risk'

/** Nothing was done for `ctx` and nothing will be. */
export interface Refused {
  readonly ctx: number
  readonly reason: Refusal
  readonly leader: NodeId | undefined
}

/** Entries from `from` on, of at most `bytesMax` in all but one at least, up to `to`. */
export interface EntryRead {
  /** A follower that needs them, or the node itself, which applies them. */
  readonly reader: NodeId
  readonly from: number
  readonly to: number
  readonly bytesMax: number
}

export interface ChunkRead {
  readonly to: NodeId
  readonly id: string
  readonly offset: number
  readonly bytesMax: number
}

/** A piece of a snapshot to be put aside. Offset 0 begins anew, whatever was there. */
export interface ChunkToWrite {
  readonly snapshot: SnapshotMeta
  readonly offset: number
  readonly bytes: Uint8Array
}

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** What others may want to know; needs not be durable. */
export interface SoftState {
  readonly role: Role
  readonly term: number
  readonly leader: NodeId | undefined
  /** A leader that has committed an entry of its term: it knows everything committed (F3.16). */
  readonly ready: boolean
  /** Whom leadership is being handed to. */
  readonly transferee: NodeId | undefined
  /** Removed from the group for good: nothing will come any more. */
  readonly retired: boolean
}

export interface Effects {
  /**
   * To write, as one durable batch in this order: `truncateFrom`, entries, hard state; pieces of a
   * snapshot. 0 = nothing to write; else answered by `storage-done`. Tokens grow by one.
   */
  token: number
  /** Entries from here on are dropped. */
  truncateFrom: number | undefined
  readonly entriesToAppend: Entry[]
  hardState: HardState | undefined
  readonly chunksToWrite: ChunkToWrite[]
  /**
   * To be checked, and installed behind everything written before; answered by `snapshot-done`.
   */
  snapshotToInstall: SnapshotMeta | undefined

  /** May leave at once. */
  readonly messagesNow: Message[]
  /**
   * May leave when everything up to `afterToken` is durable. That is `token`, or an earlier one
   * that is still being written.
   */
  readonly messagesAfterPersist: Message[]
  afterToken: number

  /** In order, each once: apply, then `apply-done`. They are durable here. */
  readonly committed: Committed[]
  readonly readStates: ReadState[]
  /** Reads that could not be confirmed: ask again. */
  readonly readsFailed: number[]
  readonly refused: Refused[]
  /** Proposals and changes of a leader that lost leadership: may or may not happen (F3.31). */
  readonly unknown: number[]

  readonly entryReads: EntryRead[]
  /** Followers that need a snapshot: answered by `snapshot-taken`. */
  readonly snapshotsWanted: NodeId[]
  readonly chunkReads: ChunkRead[]
  /** Transfers that have ended or are not wanted any more: what was taken for them may go. */
  readonly snapshotsReleased: NodeId[]

  /** Set when it has changed. */
  softState: SoftState | undefined
  /** Set when another configuration is in force: whom to be connected with. */
  configuration: ConfigurationAt | undefined
  /** Followers that lost what they had acknowledged: nothing is sent to them any more (F3.62). */
  readonly reverted: NodeId[]
}

export function createEffects(): Effects {
  return {
    token: 0,
    truncateFrom: undefined,
    entriesToAppend: [],
    hardState: undefined,
    chunksToWrite: [],
    snapshotToInstall: undefined,
    messagesNow: [],
    messagesAfterPersist: [],
    afterToken: 0,
    committed: [],
    readStates: [],
    readsFailed: [],
    refused: [],
    unknown: [],
    entryReads: [],
    snapshotsWanted: [],
    chunkReads: [],
    snapshotsReleased: [],
    softState: undefined,
    configuration: undefined,
    reverted: [],
  }
}

/** For the next batch. Arrays that were handed on must have been copied. */
export function clearEffects(effects: Effects): void {
  effects.token = 0
  effects.truncateFrom = undefined
  effects.entriesToAppend.length = 0
  effects.hardState = undefined
  effects.chunksToWrite.length = 0
  effects.snapshotToInstall = undefined
  effects.messagesNow.length = 0
  effects.messagesAfterPersist.length = 0
  effects.afterToken = 0
  effects.committed.length = 0
  effects.readStates.length = 0
  effects.readsFailed.length = 0
  effects.refused.length = 0
  effects.unknown.length = 0
  effects.entryReads.length = 0
  effects.snapshotsWanted.length = 0
  effects.chunkReads.length = 0
  effects.snapshotsReleased.length = 0
  effects.softState = undefined
  effects.configuration = undefined
  effects.reverted.length = 0
}
