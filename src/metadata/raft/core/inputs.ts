// What a core is told. Time, chance, the network and the disk come in as values.

import type { Entry, NodeId, SnapshotMeta } from './types.ts'
import type { Message } from './messages.ts'

/** A change of one member. */
export interface MemberChange {
  /**
   * `voter`: a learner that has caught up counts from now on. `learner`: a new node, or a voter
   * that no longer counts. `remove`: gone for good.
   */
  readonly kind: 'voter' | 'learner' | 'remove'
  readonly node: NodeId
}

export type Input =
  /**
   * A tick of the driver's clock; after a pause one, however long it was (F3.48). `jitter`: a
   * random whole number of 0 or more, drawn anew for each tick (F3.5).
   */
  | { readonly type: 'tick'; readonly jitter: number }
  | { readonly type: 'message'; readonly message: Message }
  /** `ctx`: a number of the driver's that comes back with the outcome. */
  | { readonly type: 'propose'; readonly ctx: number; readonly bytes: Uint8Array }
  | { readonly type: 'read-index'; readonly ctx: number }
  /** Several at once, or one that replaces another: through a joint configuration. */
  | { readonly type: 'change'; readonly ctx: number; readonly changes: readonly MemberChange[] }
  /** Hand leadership to a voter. Visible in the soft state; given up after an election timeout. */
  | { readonly type: 'transfer'; readonly ctx: number; readonly target: NodeId }
  /** Everything up to this token is durable. */
  | { readonly type: 'storage-done'; readonly token: number }
  /** False: the disk is full or nearly so. The leader resigns, nobody campaigns (F3.49). */
  | { readonly type: 'storage-state'; readonly writable: boolean }
  /** The state contains everything up to `index`. */
  | { readonly type: 'apply-done'; readonly index: number }
  /** Answer to `entryReads`: entries from `from` on, as many as asked; none if they are cut. */
  | {
      readonly type: 'entries-read'
      readonly reader: NodeId
      readonly from: number
      readonly entries: readonly Entry[]
    }
  /** The store has dropped everything up to `index`, which the durable state contains. */
  | { readonly type: 'log-cut'; readonly index: number }
  /** Answer to `snapshotsWanted`; without a snapshot: it could not be taken. */
  | {
      readonly type: 'snapshot-taken'
      readonly to: NodeId
      readonly snapshot: SnapshotMeta | undefined
    }
  /** Answer to `chunkReads`; without bytes: it could not be read. */
  | {
      readonly type: 'chunk-read'
      readonly to: NodeId
      readonly id: string
      readonly offset: number
      readonly bytes: Uint8Array | undefined
    }
  /**
   * Answer to `snapshotToInstall`. `installed`: it was checked, and state, log and configuration
   * are those of the snapshot, durably (F3.52). Not installed: nothing has changed.
   */
  | { readonly type: 'snapshot-done'; readonly id: string; readonly installed: boolean }
