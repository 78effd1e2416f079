// The one place that loads better-sqlite3: after the version guard, and by a `require` that no
// bundler follows.

import { dirname } from 'node:path'
import { fileError, systemCode } from './file-errors.ts'
import { requireNodeVersion } from './node-version.ts'
import { requireDependency } from './package-files.ts'

/** What can be bound to a statement. */
export type SqliteValue = null | number | bigint | string | Uint8Array

export interface SqliteStatement {
  /** True when the statement returns rows. */
  readonly reader: boolean
  /** True when the statement changes nothing. */
  readonly readonly: boolean
  run(...values: readonly SqliteValue[]): { changes: number; lastInsertRowid: number | bigint }
  get(...values: readonly SqliteValue[]): unknown
  all(...values: readonly SqliteValue[]): unknown[]
  iterate(...values: readonly SqliteValue[]): IterableIterator<unknown>
  /** Rows become their first column. */
  pluck(on?: boolean): this
  /** Rows become arrays. */
  raw(on?: boolean): this
  /** Integers are read as bigint. */
  safeIntegers(on?: boolean): this
}

export interface SqliteDatabase {
  readonly open: boolean
  readonly inTransaction: boolean
  prepare(sql: string): SqliteStatement
  exec(sql: string): unknown
  pragma(source: string, options?: { simple?: boolean }): unknown
  /**
   * The function, inside a transaction when called: committed when it returns, rolled back when it
   * throws.
   */
  transaction<A extends unknown[], R>(work: (...values: A) => R): (...values: A) => R
  /** Copies the database, a few pages at a time, into a new file. */
  backup(
    path: string,
    options?: { progress?: (state: { totalPages: number; remainingPages: number }) => number },
  ): Promise<unknown>
  /** The database as the bytes of its file. */
  serialize(): Buffer
  close(): unknown
}

export interface SqliteOptions {
  readonly readonly?: boolean
  readonly fileMustExist?: boolean
  /** How long a statement waits for another holder's lock. Default 5000. */
  readonly timeoutMs?: number
}

type Constructor = new (
  path: string,
  options: { readonly: boolean; fileMustExist: boolean; timeout: number },
) => SqliteDatabase

/**
 * Opens or creates a SQLite database. Synchronous, as all of SQLite. Fails with QUIRE_NODE_VERSION,
 * QUIRE_DIRECTORY_MISSING, QUIRE_DIRECTORY_DENIED, QUIRE_DISK_FULL, QUIRE_IO.
 */
export function openSqlite(path: string, options: SqliteOptions = {}): SqliteDatabase {
  requireNodeVersion()
  const Database = requireDependency('better-sqlite3') as Constructor
  try {
    return new Database(path, {
      readonly: options.readonly ?? false,
      fileMustExist: options.fileMustExist ?? false,
      timeout: options.timeoutMs ?? 5000,
    })
  } catch (error) {
    throw sqliteError(error, path, 'open')
  }
}

/** A database in memory, empty or from the bytes of `serialize`. */
export function openSqliteImage(image: Uint8Array | undefined): SqliteDatabase {
  requireNodeVersion()
  const Database = requireDependency('better-sqlite3') as new (
    source: string | Buffer,
  ) => SqliteDatabase
  return new Database(image === undefined ? ':memory:' : Buffer.from(image))
}

/**
 * A SQLite failure as Quire's error: full disks, missing and denied files have their codes, the
 * rest is QUIRE_IO.
 */
export function sqliteError(error: unknown, path: string, doing: string): Error {
  const code = systemCode(error)
  const known = translations.find(([prefix]) => code.startsWith(prefix))?.[1]
  if (known !== undefined) return fileError(asSystem(error, known), path, doing)
  if (error instanceof TypeError && error.message.includes('directory does not exist')) {
    return fileError(asSystem(error, 'ENOENT'), dirname(path), 'find')
  }
  return fileError(error, path, doing)
}

const translations: readonly (readonly [string, string])[] = [
  ['SQLITE_FULL', 'ENOSPC'],
  // The index of the write-ahead log could not grow.
  ['SQLITE_IOERR_SHMSIZE', 'ENOSPC'],
  ['SQLITE_PERM', 'EACCES'],
  ['SQLITE_READONLY', 'EROFS'],
  ['SQLITE_AUTH', 'EACCES'],
  ['SQLITE_CANTOPEN', 'EACCES'],
]

function asSystem(error: unknown, code: string): Error {
  const message = error instanceof Error ? error.message : String(error)
  return Object.assign(new Error(message, { cause: error }), { code })
}
