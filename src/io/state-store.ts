// A SQLite database that holds a replicated state. Commands run inside one transaction with the
// position they came from, so that applied state and applied position cannot part.

export type SqlValue = null | number | bigint | string | Uint8Array

export type SqlRow = Record<string, SqlValue>

/**
 * What may be done, synchronously, inside a transaction. What SQL itself refuses (a constraint, a
 * mistake in the text, a value of the wrong kind) is thrown as a plain error, the same everywhere;
 * a failing disk or file as a QuireError with its code.
 */
export interface SqlTransaction {
  run(sql: string, ...values: SqlValue[]): { changes: number }
  get(sql: string, ...values: SqlValue[]): SqlRow | undefined
  all(sql: string, ...values: SqlValue[]): SqlRow[]
  /** Several statements without values. */
  script(sql: string): void
}

export interface StateStore {
  /**
   * Runs `work` in one transaction. It is there whole or not at all. Not durable by itself unless
   * `durable`.
   */
  transact<T>(work: (transaction: SqlTransaction) => T, options?: { durable?: boolean }): Promise<T>
  /**
   * Reads outside any transaction of `transact`; a statement that would write fails with
   * QUIRE_BAD_OPTION, as any other mistake does.
   */
  query(sql: string, values: readonly SqlValue[]): Promise<SqlRow[]>
  /**
   * A copy of the database at one point, as chunks of at most `chunkBytes`; commands may go on
   * meanwhile. It is held until it was read to its end, or `return` of its iterator was called.
   */
  snapshot(chunkBytes: number): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

export interface StateStores {
  /** Opens or creates the database at `path`. */
  open(path: string): Promise<StateStore>
  /**
   * Replaces what is at `path` by the chunks of a snapshot, atomically; the caller has verified
   * them.
   */
  restore(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void>
  /** Removes the database and its side files. */
  remove(path: string): Promise<void>
}
