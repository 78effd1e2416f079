// The replicated log's tables beside the tree's, as the writing thread changes them: each call is
// made inside a transaction of its caller.
import { entryChecksum } from '../log-entry.ts'
import type { LogChange } from '../tree-store.ts'
import type { SqliteDatabase, SqliteStatement, SqliteValue } from './sqlite.ts'

/** Kept in the file: docs/format/tree.md. */
export const logSchema = `
  create table if not exists entry (
    number integer primary key, term integer not null, kind integer not null, data blob not null,
    checksum integer not null
  );
  create table if not exists log_fact (name text primary key, value blob not null) without rowid;
  create table if not exists staged_node (
    path text primary key, parent text not null, name text not null, data blob not null,
    czxid integer not null, mzxid integer not null, pzxid integer not null,
    ctime_ms integer not null, mtime_ms integer not null,
    version integer not null, cversion integer not null, sequence integer not null,
    child_count integer not null, owner text not null, kind text not null, ttl_ms integer not null
  );
  create table if not exists staged_fact (
    name text primary key, value blob not null
  ) without rowid;
`

export class LogTables {
  readonly #database: SqliteDatabase
  readonly #truncate: SqliteStatement
  readonly #cut: SqliteStatement
  readonly #put: SqliteStatement
  readonly #putFact: SqliteStatement
  readonly #removeFact: SqliteStatement
  readonly #stageNode: SqliteStatement
  readonly #stageFact: SqliteStatement

  constructor(database: SqliteDatabase) {
    this.#database = database
    this.#truncate = database.prepare('delete from entry where number >= ?')
    this.#cut = database.prepare('delete from entry where number <= ?')
    this.#put = database.prepare('insert into entry values (?, ?, ?, ?, ?)')
    this.#putFact = database.prepare('insert or replace into log_fact values (?, ?)')
    this.#removeFact = database.prepare('delete from log_fact where name = ?')
    this.#stageNode = database.prepare(
      `insert or replace into staged_node values (${'?,'.repeat(15)}?)`,
    )
    this.#stageFact = database.prepare('insert or replace into staged_fact values (?, ?)')
  }

  append({ truncateFrom, cutTo, entries, facts }: LogChange): void {
    if (truncateFrom !== undefined) this.#truncate.run(truncateFrom)
    if (cutTo !== undefined) this.#cut.run(cutTo)
    for (const entry of entries) {
      const { index, term, kind, data } = entry
      this.#put.run(index, term, kind, data, entryChecksum(entry))
    }
    for (const [name, value] of facts) {
      if (value === undefined) this.#removeFact.run(name)
      else this.#putFact.run(name, value)
    }
  }

  forgetStaged(): void {
    this.#database.exec('delete from staged_node; delete from staged_fact')
  }

  stage(
    rows: readonly (readonly SqliteValue[])[],
    facts: ReadonlyMap<string, Uint8Array | undefined>,
  ): void {
    for (const row of rows) this.#stageNode.run(...row)
    for (const [name, value] of facts) if (value) this.#stageFact.run(name, value)
  }

  install(change: LogChange): void {
    this.#database.exec(`
      delete from node; insert into node select * from staged_node; delete from staged_node;
      delete from fact; insert into fact select * from staged_fact; delete from staged_fact;
    `)
    this.append(change)
  }
}
