// The metadata contract: ZooKeeper's data model, wherever the tree lives (memory, SQLite on one
// node, Raft, a real ZooKeeper). BookKeeper's managers are written once on top of it.
//
// Promises of every implementation: writes are linearizable and ordered; a session sees its own
// writes; a watch tells each change after the read that laid it, exactly once and before any read
// of the same session shows the new value; an operation whose answer was lost fails with
// QUIRE_METADATA_UNAVAILABLE (outcome unknown), never as "not done".

import type { QuireError } from '../errors.ts'

export type CreateMode =
  | 'persistent'
  | 'ephemeral'
  | 'persistent-sequential'
  | 'ephemeral-sequential'
  | 'container'
  | 'ttl'

/** ZooKeeper's stat, 64-bit fields as safe integers. */
export interface NodeStat {
  readonly czxid: number
  readonly mzxid: number
  readonly pzxid: number
  readonly ctimeMs: number
  readonly mtimeMs: number
  /** Data version, 0 at creation, +1 with each set. */
  readonly version: number
  /** Children version: +1 with each creation or removal of a child. */
  readonly cversion: number
  readonly aversion: number
  /** Session that owns an ephemeral, 0n otherwise. */
  readonly ephemeralOwner: bigint
  readonly dataLength: number
  readonly childCount: number
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

export interface ReadOptions extends CallOptions {
  /**
   * Read at least everything that was committed anywhere before this call. Default false: a
   * session's own view.
   */
  readonly linearizable?: boolean
  /** Called once, at the next change of what was read. */
  readonly watch?: ((event: WatchEvent) => void) | undefined
}

export interface WatchEvent {
  /**
   * `session`: the session is gone, so are its watches; read anew with a new one. `missed`: changes
   * may have passed while nobody was connected; only of watches that tell every change.
   */
  readonly type: 'created' | 'deleted' | 'changed' | 'children' | 'missed' | 'session'
  readonly path: string
}

export interface StandingWatchOptions extends CallOptions {
  /**
   * Tells what happens to the node and to everything below it, without `children`, as ZooKeeper
   * has it. Default false: to the node, and to its children as such.
   */
  readonly recursive?: boolean
}

/** A watch that tells every change until it is taken back or its session ends. */
export interface StandingWatch {
  cancel(): Promise<void>
}

export interface MetadataRead {
  readonly type: 'get' | 'children'
  readonly path: string
}

export type MetadataReadResult =
  | { readonly type: 'get'; readonly data: Uint8Array; readonly stat: NodeStat }
  | { readonly type: 'children'; readonly names: string[]; readonly stat: NodeStat }
  | { readonly type: 'error'; readonly error: QuireError }

export interface CreateOptions extends CallOptions {
  readonly mode?: CreateMode
  /** For mode `ttl`: milliseconds without change and without children after which the node goes. */
  readonly ttlMs?: number
}

export type MultiOperation =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Uint8Array
      readonly mode?: CreateMode
      readonly ttlMs?: number
    }
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Uint8Array
      readonly version: number
    }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export type MultiResult =
  | { readonly type: 'create'; readonly path: string; readonly stat: NodeStat }
  | { readonly type: 'set'; readonly stat: NodeStat }
  | { readonly type: 'delete' }
  | { readonly type: 'check' }

/** In place of a version: whatever it is. */
export const anyVersion = -1

/**
 * One session on a tree. Paths are absolute, `/` separated, without a slash at the end.
 *
 * Errors: QUIRE_NO_NODE, QUIRE_NODE_EXISTS, QUIRE_BAD_VERSION, QUIRE_NOT_EMPTY,
 * QUIRE_NO_CHILDREN_FOR_EPHEMERALS, QUIRE_BAD_PATH, QUIRE_FRAME_TOO_LARGE (data of more than
 * 1,048,575 bytes), QUIRE_BAD_OPTION (no time to live), QUIRE_UNSUPPORTED, each with `facts.path`;
 * QUIRE_SESSION_EXPIRED, QUIRE_BACKPRESSURE (nothing was done), QUIRE_METADATA_UNAVAILABLE,
 * QUIRE_CLOSED, QUIRE_ABORTED (a write that was on its way may have been made).
 *
 * Calls take their bytes when they are made. Reads come behind the session's own writes made
 * before them.
 */
export interface MetadataSession extends AsyncDisposable {
  readonly sessionId: bigint
  /** Resolves when the session has expired or was closed: its ephemerals are gone or will be. */
  readonly ended: Promise<'closed' | 'expired'>
  /** Resolves to the path as created: a sequential name has ten digits appended. */
  create(
    path: string,
    data: Uint8Array,
    options?: CreateOptions,
  ): Promise<{ path: string; stat: NodeStat }>
  get(path: string, options?: ReadOptions): Promise<{ data: Uint8Array; stat: NodeStat }>
  exists(path: string, options?: ReadOptions): Promise<NodeStat | undefined>
  /** Names of the children, sorted. */
  children(path: string, options?: ReadOptions): Promise<{ names: string[]; stat: NodeStat }>
  /** With capability `multi-read`: several reads of one and the same state of the tree. */
  multiRead(
    reads: readonly MetadataRead[],
    options?: CallOptions & { readonly linearizable?: boolean },
  ): Promise<MetadataReadResult[]>
  /**
   * With capability `standing-watch`: calls for every change from now on, in their order, and once
   * with `session` at the session's end. The node needs not be there.
   */
  watch(
    path: string,
    call: (event: WatchEvent) => void,
    options?: StandingWatchOptions,
  ): Promise<StandingWatch>
  set(path: string, data: Uint8Array, version: number, options?: CallOptions): Promise<NodeStat>
  delete(path: string, version: number, options?: CallOptions): Promise<void>
  /** All or nothing. On failure the error's `facts.index` names the operation that failed. */
  multi(operations: readonly MultiOperation[], options?: CallOptions): Promise<MultiResult[]>
  /** Ends the session and removes its ephemerals. */
  close(): Promise<void>
}

export interface MetadataStore extends AsyncDisposable {
  /** What this implementation lacks, in words of the conformance suite. */
  readonly capabilities: ReadonlySet<MetadataCapability>
  /** Opens a session of its own. `timeoutMs`: silence after which its ephemerals go. */
  session(options?: {
    timeoutMs?: number
    signal?: AbortSignal | undefined
  }): Promise<MetadataSession>
  close(): Promise<void>
}

export type MetadataCapability = 'container' | 'ttl' | 'multi-read' | 'standing-watch'
