// The SQLite database of a replicated state, on the caller's thread: commands are the program's own
// functions and run where the program is. WAL, so that reads and snapshots see one point while
// commands go on; commits are not synced unless asked, because the log can repeat them.

import { createReadStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { QuireError, messageOf } from '../../errors.ts'
import type { SqlRow, SqlTransaction, SqlValue, StateStore, StateStores } from '../state-store.ts'
import { fileError, systemCode } from './file-errors.ts'
import { openSqlite, sqliteError, type SqliteDatabase, type SqliteStatement } from './sqlite.ts'

/** Statements kept prepared: more than a program has, few enough for memory. */
const statementsMax = 500
/** Pages copied between two turns of the event loop: about 1 ms. */
const backupPages = 256

export const states: StateStores = {
  async open(path) {
    try {
      await mkdir(dirname(path), { recursive: true })
      await removeLeftovers(path)
    } catch (error) {
      throw fileError(error, path, 'open')
    }
    return new SqliteStateStore(path)
  },

  async restore(path, chunks) {
    const fresh = `${path}.restoring`
    try {
      await writeAll(fresh, chunks)
      // The old file first: its side files must never meet the new one, nor it a part of them.
      await removeDatabase(path)
      await rename(fresh, path)
      await syncDirectory(dirname(path))
    } catch (error) {
      await rm(fresh, { force: true })
      throw QuireError.is(error) ? error : fileError(error, path, 'restore')
    }
  },

  async remove(path) {
    try {
      await removeDatabase(path)
    } catch (error) {
      throw fileError(error, path, 'remove')
    }
  },
}

async function removeDatabase(path: string): Promise<void> {
  for (const suffix of ['', '-wal', '-shm']) await rm(`${path}${suffix}`, { force: true })
}

/** What a crash in the middle of a snapshot or a restore left. */
async function removeLeftovers(path: string): Promise<void> {
  const mine = `${basename(path)}.`
  for (const name of await readdir(dirname(path))) {
    if (!name.startsWith(mine) || !/\.(?:restoring|snapshot-\d+)$/.test(name)) continue
    await rm(join(dirname(path), name), { force: true })
  }
}

async function writeAll(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const file = await open(path, 'w')
  try {
    for await (const chunk of chunks) await file.writeFile(chunk)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

class SqliteStateStore implements StateStore {
  readonly #path: string
  readonly #writer: SqliteDatabase
  readonly #reader: SqliteDatabase
  readonly #statements = new Map<string, SqliteStatement>()
  readonly #queries = new Map<string, SqliteStatement>()
  readonly #transaction: SqlTransaction
  #snapshots = 0

  constructor(path: string) {
    this.#path = path
    this.#writer = openSqlite(path)
    try {
      this.#writer.pragma('journal_mode = WAL')
      this.#writer.pragma('synchronous = NORMAL')
      this.#writer.pragma('foreign_keys = ON')
      this.#reader = openSqlite(path, { readonly: true, fileMustExist: true })
    } catch (error) {
      this.#writer.close()
      throw sqliteError(error, path, 'open')
    }
    this.#transaction = transactionOn({
      statement: (sql) => prepared(this.#writer, this.#statements, sql),
      script: (sql) => this.#writer.exec(sql),
      path,
    })
  }

  async transact<T>(
    work: (transaction: SqlTransaction) => T,
    options: { durable?: boolean } = {},
  ): Promise<T> {
    await Promise.resolve()
    const database = this.#writer
    try {
      if (options.durable) database.pragma('synchronous = FULL')
      return database.transaction(() => work(this.#transaction))()
    } catch (error) {
      throw translated(error, this.#path)
    } finally {
      if (options.durable && database.open) database.pragma('synchronous = NORMAL')
    }
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlRow[]> {
    await Promise.resolve()
    try {
      return rowsOf(prepared(this.#reader, this.#queries, sql), values)
    } catch (error) {
      throw queryError(error, this.#path, sql)
    }
  }

  snapshot(chunkBytes: number): AsyncIterable<Uint8Array> {
    this.#snapshots += 1
    // A connection of its own in a read transaction: what it sees is this moment, however long
    // copying takes.
    const source = openSqlite(this.#path, { readonly: true, fileMustExist: true })
    try {
      source.exec('begin')
      source.prepare('select count(*) from sqlite_schema').get()
    } catch (error) {
      source.close()
      throw sqliteError(error, this.#path, 'copy')
    }
    const copy = `${this.#path}.snapshot-${this.#snapshots}`
    return released(source, copyOf(source, copy, chunkBytes))
  }

  async close(): Promise<void> {
    await Promise.resolve()
    this.#reader.close()
    this.#writer.close()
  }
}

/** A generator that was never started runs no `finally`: `return` lets go of the source itself. */
function released(
  source: SqliteDatabase,
  chunks: AsyncGenerator<Uint8Array>,
): AsyncIterable<Uint8Array> {
  const iterator: AsyncIterator<Uint8Array> = {
    next: () => chunks.next(),
    async return() {
      const last = await chunks.return(undefined)
      source.close()
      return last
    },
  }
  return { [Symbol.asyncIterator]: () => iterator }
}

async function* copyOf(
  source: SqliteDatabase,
  copy: string,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  try {
    try {
      await source.backup(copy, { progress: () => backupPages })
    } finally {
      source.close()
    }
    for await (const chunk of createReadStream(copy, { highWaterMark: chunkBytes })) {
      yield chunk as Buffer
    }
  } catch (error) {
    throw QuireError.is(error) ? error : sqliteError(error, copy, 'copy')
  } finally {
    await rm(copy, { force: true })
  }
}

export function prepared(
  database: SqliteDatabase,
  cache: Map<string, SqliteStatement>,
  sql: string,
): SqliteStatement {
  const known = cache.get(sql)
  if (known) return known
  const statement = database.prepare(sql)
  if (cache.size >= statementsMax) cache.clear()
  cache.set(sql, statement)
  return statement
}

export function rowsOf(statement: SqliteStatement, values: readonly SqlValue[]): SqlRow[] {
  return statement.all(...values) as SqlRow[]
}

/** The transaction's functions over any database that prepares statements. */
export function transactionOn(parts: {
  statement: (sql: string) => SqliteStatement
  script: (sql: string) => unknown
  path: string
}): SqlTransaction {
  const guarded = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      throw translated(error, parts.path)
    }
  }
  return {
    run: (sql, ...values) =>
      guarded(() => ({ changes: parts.statement(sql).run(...values).changes })),
    get: (sql, ...values) =>
      guarded(() => parts.statement(sql).get(...values) as SqlRow | undefined),
    all: (sql, ...values) => guarded(() => rowsOf(parts.statement(sql), values)),
    script: (sql) => guarded(() => void parts.script(sql)),
  }
}

const sameEverywhere = [
  'SQLITE_CONSTRAINT',
  'SQLITE_ERROR',
  'SQLITE_MISMATCH',
  'SQLITE_RANGE',
  'SQLITE_TOOBIG',
]

/** SQL's own refusals as they are; everything that is the disk's or the file's with a code. */
function translated(error: unknown, path: string): unknown {
  const code = systemCode(error)
  if (!code.startsWith('SQLITE_') || sameEverywhere.some((prefix) => code.startsWith(prefix))) {
    return error
  }
  return sqliteError(error, path, 'write')
}

/** A mistake in a query has a code too: the caller's text is at fault, unless the disk is. */
export function queryError(error: unknown, path: string, sql: string): unknown {
  const known = translated(error, path)
  const readonly = systemCode(error).startsWith('SQLITE_READONLY')
  if (QuireError.is(known) && !readonly) return known
  return new QuireError('QUIRE_BAD_OPTION', `the query was refused: ${messageOf(error)}`, {
    cause: error,
    facts: { sql },
  })
}
