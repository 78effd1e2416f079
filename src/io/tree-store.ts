// Durable rows of the metadata tree, one SQLite file. It knows nothing of ZooKeeper's rules: those
// are a pure reducer in `metadata/tree` that reads rows, decides, and commits changed rows.

/** One node of the tree. 64-bit fields are safe integers except `owner`, a session id. */
export interface TreeRow {
  readonly path: string
  readonly data: Uint8Array
  readonly czxid: number
  readonly mzxid: number
  readonly pzxid: number
  readonly ctimeMs: number
  readonly mtimeMs: number
  readonly version: number
  readonly cversion: number
  /** Children ever created under it: the source of sequential names. */
  readonly sequence: number
  readonly childCount: number
  /** 0n = persistent; else the session that owns the ephemeral. */
  readonly owner: bigint
  readonly kind: 'persistent' | 'ephemeral' | 'container' | 'ttl'
  readonly ttlMs: number
}

export interface TreeBatch {
  readonly put: readonly TreeRow[]
  readonly remove: readonly string[]
  /**
   * Small named values kept in the same transaction (last zxid, sessions, request ids); undefined
   * removes.
   */
  readonly facts: ReadonlyMap<string, Uint8Array | undefined>
}

export interface TreeStore {
  /**
   * Rows in the order asked; undefined where there is none. Sees everything committed before the
   * call.
   */
  get(paths: readonly string[]): Promise<(TreeRow | undefined)[]>
  /** Names (not paths) of the children, sorted by code unit. */
  children(path: string): Promise<string[]>
  /** Paths of the ephemerals that a session owns, sorted. */
  ownedBy(session: bigint): Promise<string[]>
  /** Paths of all container and TTL nodes, sorted. */
  expirable(): Promise<string[]>
  facts(prefix: string): Promise<Map<string, Uint8Array>>
  /**
   * All of the batch or nothing, durable on return. After QUIRE_DISK_FULL the same batch may be
   * committed again, and no other: a crash may show that it was done. After any other rejection
   * the store is dead, and the outcome unknown.
   */
  commit(batch: TreeBatch): Promise<void>
  close(): Promise<void>
}

export interface TreeStores {
  /** Opens or creates the file. QUIRE_DIRECTORY_* and QUIRE_IO as for files. */
  open(path: string): Promise<ReplicatedTreeStore>
}

/** One entry of a replicated log. What its bytes mean is for whoever replicates to say. */
export interface LogEntry {
  readonly index: number
  readonly term: number
  /** 0 to 255. */
  readonly kind: number
  readonly data: Uint8Array
}

/** What becomes of a log at once: cut at its ends, then lengthened. */
export interface LogChange {
  /** Entries from this index on are removed. */
  readonly truncateFrom?: number | undefined
  /** Entries up to this index are removed: the tree holds what they did. */
  readonly cutTo?: number | undefined
  readonly entries: readonly LogEntry[]
  /** Small named values kept in the same transaction (term, vote); undefined removes. */
  readonly facts: ReadonlyMap<string, Uint8Array | undefined>
}

/**
 * A tree with the log that it is made from, in one file, so that what was applied and how far it
 * was applied cannot part. Changes of either are durable in the order of their calls: whatever a
 * crash leaves is all of them up to one of them.
 */
export interface ReplicatedTreeStore extends TreeStore {
  /** All or nothing, durable on return with all that was applied before. Fails as `commit`. */
  append(change: LogChange): Promise<void>
  /**
   * As `commit`, but waits for no sync: a crash may take it away, and nothing else with it. It says
   * in a fact how far the log was applied, so that a start goes on behind it.
   */
  apply(batch: TreeBatch): Promise<void>
  logFacts(): Promise<Map<string, Uint8Array>>
  /** The first and the last index that the log holds; undefined when it holds none. */
  logRange(): Promise<{ readonly first: number; readonly last: number } | undefined>
  /**
   * Entries from `from` to `to`, both counted, as far as `bytesMax` of data reach, at least one.
   * QUIRE_BAD_METADATA for one that is damaged.
   */
  entries(range: { from: number; to: number; bytesMax: number }): Promise<LogEntry[]>
  /**
   * The whole tree of this moment, its facts first, in pieces of about `chunkBytes`. Changes that
   * come meanwhile are not in it.
   */
  image(chunkBytes: number): AsyncIterable<TreeBatch>
  /** Keeps a piece of another tree beside this one; the first one forgets what was kept before. */
  stage(piece: TreeBatch, isFirst: boolean): Promise<void>
  /** The tree is what was staged, the log what the change leaves of it: at once and durable. */
  install(change: LogChange): Promise<void>
}
