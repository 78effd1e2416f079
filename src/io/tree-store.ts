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
  open(path: string): Promise<TreeStore>
}
