// The metadata store's own thread: the one connection that writes. Everything here is synchronous
// on purpose: a commit or a checkpoint that hangs blocks this thread and nothing else.
import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import { QuireError, messageOf } from '../../errors.ts'
import type { ThreadPort } from '../threads.ts'
import type { LogChange, TreeBatch, TreeRow } from '../tree-store.ts'
import { LogTables, logSchema } from './log-tables.ts'
import { openSqlite, sqliteError, type SqliteDatabase, type SqliteStatement } from './sqlite.ts'
import { syncError, systemCode } from './file-errors.ts'

export type TreeRequest =
  | { readonly type: 'open'; readonly path: string }
  | { readonly type: 'change'; readonly id: number; readonly change: TreeChange }
  | { readonly type: 'close' }

/** `commit`, `append` and `install` are synced before they are answered. */
export type TreeChange =
  | { readonly type: 'commit' | 'apply'; readonly batch: TreeBatch }
  | { readonly type: 'append' | 'install'; readonly log: LogChange }
  | { readonly type: 'stage'; readonly batch: TreeBatch; readonly isFirst: boolean }

export type TreeReply =
  | { readonly type: 'opened' }
  | { readonly type: 'done'; readonly id: number }
  | { readonly type: 'failed'; readonly id: number; readonly error: TreeFailure }
  | { readonly type: 'closed' }

/** An error that can be cloned. */
export interface TreeFailure {
  readonly code: string
  readonly message: string
}

/** Bytes that are written between two checkpoints, about the size of the write-ahead log. */
const checkpointBytes = 8_388_608
/** A page of SQLite: what a row that changes costs in the log, at least. */
const pageBytes = 4096

/** Kept in the file: docs/format/tree.md. */
const formatVersion = 2

const schema = `
  create table if not exists node (
    path text primary key, parent text not null, name text not null, data blob not null,
    czxid integer not null, mzxid integer not null, pzxid integer not null,
    ctime_ms integer not null, mtime_ms integer not null,
    version integer not null, cversion integer not null, sequence integer not null,
    child_count integer not null, owner text not null, kind text not null, ttl_ms integer not null
  );
  create index if not exists node_parent on node (parent, name);
  create index if not exists node_owner on node (owner) where owner <> '0';
  create index if not exists node_expirable on node (kind) where kind in ('container', 'ttl');
  create table if not exists fact (name text primary key, value blob not null) without rowid;
  ${logSchema}
  pragma user_version = ${formatVersion};
`

export function run(port: ThreadPort): void {
  const state: { writer: TreeWriter | undefined } = { writer: undefined }
  const reply = (message: TreeReply): void => port.post(message)
  port.receive((message) => {
    const request = message as TreeRequest
    if (request.type === 'open') {
      answer(reply, 0, () => {
        state.writer = new TreeWriter(request.path)
        reply({ type: 'opened' })
      })
    } else if (request.type === 'change') {
      answer(reply, request.id, () => {
        state.writer?.make(request.change)
        reply({ type: 'done', id: request.id })
      })
      state.writer?.checkpointIfDue()
    } else {
      state.writer?.close()
      reply({ type: 'closed' })
    }
  })
}

function answer(reply: (message: TreeReply) => void, id: number, work: () => void): void {
  try {
    work()
  } catch (error) {
    const code = QuireError.is(error) ? error.code : 'QUIRE_IO'
    reply({ type: 'failed', id, error: { code, message: messageOf(error) } })
  }
}

class TreeWriter {
  readonly #path: string
  readonly #database: SqliteDatabase
  readonly #put: SqliteStatement
  readonly #remove: SqliteStatement
  readonly #putFact: SqliteStatement
  readonly #removeFact: SqliteStatement
  readonly #log: LogTables
  /** SQLite's write-ahead log. */
  readonly #wal: number
  #sinceCheckpoint = 0
  #dead: Error | undefined

  constructor(path: string) {
    this.#path = path
    this.#database = openSqlite(path)
    try {
      this.#prepareFile()
      this.#wal = openSync(`${path}-wal`, 'r+')
    } catch (error) {
      this.#database.close()
      throw translated(error, path)
    }
    const prepare = (sql: string): SqliteStatement => this.#database.prepare(sql)
    this.#put = prepare(`insert or replace into node values (${'?,'.repeat(15)}?)`)
    this.#remove = prepare('delete from node where path = ?')
    this.#putFact = prepare('insert or replace into fact values (?, ?)')
    this.#removeFact = prepare('delete from fact where name = ?')
    this.#log = new LogTables(this.#database)
  }

  /** On return all of it is there; what it throws says whether the outcome is known. */
  make(change: TreeChange): void {
    if (this.#dead) throw this.#dead
    try {
      this.#database.transaction(() => this.#make(change))()
      if (change.type !== 'apply' && change.type !== 'stage') this.#sync()
    } catch (error) {
      const failure = translated(error, this.#path)
      // What is in the log now is unknown: nothing may follow it, but for the same batch again when
      // the disk has room.
      if (!QuireError.is(failure, 'QUIRE_DISK_FULL')) this.#dead = failure
      throw failure
    }
    this.#sinceCheckpoint += costOf(change)
  }

  /**
   * Of the whole log: what went before without one is durable with it. Not SQLite's own, which
   * syncs the times of the file too, and costs more.
   */
  #sync(): void {
    try {
      fdatasyncSync(this.#wal)
    } catch (error) {
      throw syncError(error, this.#path)
    }
  }

  #make(change: TreeChange): void {
    switch (change.type) {
      case 'commit':
      case 'apply':
        this.#apply(change.batch)
        break
      case 'append':
        this.#log.append(change.log)
        break
      case 'stage':
        if (change.isFirst) this.#log.forgetStaged()
        this.#log.stage(change.batch.put.map(valuesOf), change.batch.facts)
        break
      case 'install':
        this.#log.install(change.log)
        break
    }
  }

  /**
   * Moves the log into the file, between two commits. A failure ends the thread; without room for
   * it the log grows, and it is tried again behind the next commit.
   */
  checkpointIfDue(): void {
    if (this.#dead || this.#sinceCheckpoint < checkpointBytes) return
    try {
      this.#database.pragma('wal_checkpoint(passive)')
    } catch (error) {
      const failure = translated(error, this.#path)
      if (QuireError.is(failure, 'QUIRE_DISK_FULL')) return
      throw failure
    }
    this.#sinceCheckpoint = 0
  }

  close(): void {
    closeSync(this.#wal)
    this.#database.close()
  }

  #prepareFile(): void {
    const database = this.#database
    const found = Number(database.pragma('user_version', { simple: true }))
    if (found > formatVersion) {
      throw new QuireError(
        'QUIRE_UNSUPPORTED',
        `${this.#path} has format ${found}, this release knows ${formatVersion}: ` +
          'start the newer release',
        { facts: { path: this.#path, format: found } },
      )
    }
    database.pragma('synchronous = full')
    database.pragma('journal_mode = wal')
    // Checkpoints are this thread's own, between two commits, so that none of them waits inside a
    // commit.
    database.pragma('wal_autocheckpoint = 0')
    database.exec(schema)
    // A part of another tree that never came whole.
    database.exec('delete from staged_node; delete from staged_fact')
    // A log that an earlier process left may never have reached the disk, whatever is read of it
    // now: what it holds is written anew into the file and synced before anybody sees it.
    database.pragma('wal_checkpoint(truncate)')
    // From now on commits are synced here; SQLite syncs around its checkpoints.
    database.pragma('synchronous = normal')
  }

  #apply({ put, remove, facts }: TreeBatch): void {
    for (const path of remove) this.#remove.run(path)
    for (const row of put) this.#put.run(...valuesOf(row))
    for (const [name, value] of facts) {
      if (value === undefined) this.#removeFact.run(name)
      else this.#putFact.run(name, value)
    }
  }
}

function costOf(change: TreeChange): number {
  if (change.type === 'install') return checkpointBytes
  if ('log' in change) {
    const { entries, facts } = change.log
    return entries.reduce((sum, { data }) => sum + data.length, (1 + facts.size) * pageBytes)
  }
  const { put, remove, facts } = change.batch
  let bytes = (put.length + remove.length + facts.size) * pageBytes
  for (const { data } of put) bytes += data.length
  return bytes
}

function valuesOf(row: TreeRow): (string | number | Uint8Array)[] {
  const at = row.path.lastIndexOf('/')
  const parent = row.path === '/' ? '' : row.path.slice(0, at) || '/'
  return [
    row.path,
    parent,
    row.path.slice(at + 1),
    row.data,
    row.czxid,
    row.mzxid,
    row.pzxid,
    row.ctimeMs,
    row.mtimeMs,
    row.version,
    row.cversion,
    row.sequence,
    row.childCount,
    String(row.owner),
    row.kind,
    row.ttlMs,
  ]
}

/**
 * A sync that failed has its own code: the whole node must end, and this process not open the
 * directory again.
 */
function translated(error: unknown, path: string): Error {
  if (QuireError.is(error)) return error
  if (/^SQLITE_IOERR_(?:FSYNC|DIR_FSYNC)/.test(systemCode(error))) return syncError(error, path)
  return sqliteError(error, path, 'write')
}
