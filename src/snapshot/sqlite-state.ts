// A replicated state in a SQLite database. A batch of the log is one transaction: what the commands
// changed, the sessions that make them exactly once, and the position, move together or not at all
// (D10). A command runs under a savepoint, so one that throws leaves nothing behind. Tables whose
// names begin with `quire_` are this file's.

import { crc32 } from 'node:zlib'
import { QuireError } from '../errors.ts'
import type { SqlRow, SqlTransaction, SqlValue, StateStore, StateStores } from '../io/index.ts'
import {
  Progress,
  type Answer,
  type ApplyContext,
  type Check,
  type RecordBatch,
  type ReplicatedState,
} from './state.ts'
import type { Sessions } from './sessions.ts'
import { decodeValue, encodeResult } from './values.ts'

/**
 * Changes the database and returns the command's result. Synchronous; uses nothing but its
 * arguments: no clock but `context.timeMs`, no random. A throw undoes the command and is its result
 * (QUIRE_COMMAND_FAILED). Arguments and result are made of JSON values, bigint and Uint8Array.
 */
export type SqlCommand<Args, Result> = (
  tx: SqlTransaction,
  args: Args,
  context: ApplyContext,
) => Result

/**
 * A command as it stands in the log. A migration carries its text: whoever replays the log needs
 * nothing else.
 */
export type SqlBody = readonly ['command', string, unknown] | readonly ['migrate', number, string]

export interface SqliteStateParts {
  readonly states: StateStores
  readonly path: string
  /** The log that the state follows; a database of another log is set aside. */
  readonly logId: string
  readonly commands: Readonly<Record<string, SqlCommand<never, unknown>>>
  readonly checkEvery: number
}

const tables = `
create table if not exists quire_meta (name text primary key, value) without rowid;
create table if not exists quire_sessions (id text primary key, session blob not null)
  without rowid;
`

export class SqliteState implements ReplicatedState {
  readonly format = 'sqlite-1'
  readonly #parts: SqliteStateParts
  #store: StateStore
  #progress: Progress
  #migrations = 0
  #failed: unknown
  #restoring: Promise<void> | undefined
  #closed = false

  private constructor(parts: SqliteStateParts, store: StateStore) {
    this.#parts = parts
    this.#store = store
    this.#progress = new Progress(parts.checkEvery)
  }

  static async open(parts: SqliteStateParts): Promise<SqliteState> {
    const state = new SqliteState(parts, await parts.states.open(parts.path))
    await state.#load()
    return state
  }

  get position(): number {
    return this.#progress.position
  }

  get sessions(): Pick<Sessions, 'has' | 'resultOf'> {
    return this.#progress.sessions
  }

  get check(): Check | undefined {
    return this.#progress.check
  }

  /** Migrations that the log has applied. */
  get migrations(): number {
    return this.#migrations
  }

  async #load(): Promise<void> {
    const foreign = await this.#store.transact((tx) => {
      tx.script(tables)
      const logId = tx.get('select value from quire_meta where name = ?', 'logId')?.['value']
      if (logId !== undefined && logId !== this.#parts.logId) return true
      tx.run('insert or ignore into quire_meta values (?, ?)', 'logId', this.#parts.logId)
      this.#read(tx)
      return false
    })
    if (!foreign) return
    // It followed a log that is no more: everything in it comes from a log, so this one's tells it
    // anew.
    await this.#store.close()
    await this.#parts.states.remove(this.#parts.path)
    this.#store = await this.#parts.states.open(this.#parts.path)
    await this.#load()
  }

  #read(tx: SqlTransaction): void {
    const progress = new Progress(this.#parts.checkEvery)
    const value = (name: string): unknown =>
      tx.get('select value from quire_meta where name = ?', name)?.['value']
    const stored = value('progress')
    if (stored instanceof Uint8Array) progress.load(stored)
    for (const { id, session } of tx.all('select id, session from quire_sessions order by id')) {
      if (session instanceof Uint8Array) progress.sessions.load(String(id), session)
    }
    this.#migrations = Number(value('migrations') ?? 0)
    this.#progress = progress
  }

  async apply(batch: RecordBatch): Promise<readonly Answer[]> {
    if (this.#failed !== undefined) throw this.#failed
    try {
      return await this.#store.transact((tx) => {
        const guarded = new GuardedTransaction(tx)
        const answers = this.#progress.apply(batch, (body, context) =>
          this.#run(guarded, body, context),
        )
        this.#persist(tx)
        return answers
      })
    } catch (error) {
      // Memory is ahead of the database now.
      this.#failed = error
      throw error
    }
  }

  #persist(tx: SqlTransaction): void {
    const { sessions } = this.#progress
    for (const id of sessions.changed) {
      const session = sessions.encode(id)
      if (session) tx.run('insert or replace into quire_sessions values (?, ?)', id, session)
      else tx.run('delete from quire_sessions where id = ?', id)
    }
    sessions.changed.clear()
    const put = 'insert or replace into quire_meta values (?, ?)'
    tx.run(put, 'progress', this.#progress.encode())
    tx.run(put, 'migrations', this.#migrations)
  }

  #run(
    tx: GuardedTransaction,
    bytes: Buffer,
    context: ApplyContext,
  ): { result: Buffer; trace: number } {
    const body: SqlBody = decodeValue(bytes)
    return tx.atomically(() =>
      body[0] === 'migrate' ? this.#migrate(tx, body) : this.#command(tx, body, context),
    )
  }

  #command(
    tx: GuardedTransaction,
    [, name, args]: readonly ['command', string, unknown],
    context: ApplyContext,
  ): unknown {
    const command:
      | ((tx: SqlTransaction, args: unknown, context: ApplyContext) => unknown)
      | undefined = commandOf(this.#parts.commands, name)
    if (!command) {
      // Not the command's failure: a program that knows it would do something else here.
      throw new QuireError(
        'QUIRE_UNSUPPORTED',
        `the log has a command ${name} at position ${context.position} that this program ` +
          'does not define; commands that are in a log must stay defined',
        { facts: { name, position: context.position } },
      )
    }
    const result = command(tx, args, context)
    if (result instanceof Promise) {
      result.catch(() => undefined)
      throw new TypeError(`the command ${name} returned a promise; commands are synchronous`)
    }
    return result
  }

  /** One of several nodes that start at once applies it; for the others it is done. */
  #migrate(tx: GuardedTransaction, [, index, sql]: readonly ['migrate', number, string]): boolean {
    if (index !== this.#migrations) return false
    tx.script(sql)
    this.#migrations += 1
    return true
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlRow[]> {
    // While a snapshot takes its place there is no database to ask.
    while (this.#restoring) await this.#restoring
    if (this.#closed) {
      throw new QuireError('QUIRE_CLOSED', 'the database was closed: open it again to ask it')
    }
    return this.#store.query(sql, values)
  }

  snapshot(chunkBytes: number): AsyncIterable<Uint8Array> {
    return this.#store.snapshot(chunkBytes)
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#restoring = promise
    try {
      await this.#replace(chunks)
    } finally {
      this.#restoring = undefined
      resolve()
    }
  }

  async #replace(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const { states, path } = this.#parts
    await this.#store.close()
    try {
      await states.restore(path, chunks)
    } finally {
      this.#store = await states.open(path)
      await this.#load()
    }
  }

  close(): Promise<void> {
    this.#closed = true
    return this.#store.close()
  }
}

function commandOf(
  commands: Readonly<Record<string, unknown>>,
  name: string,
): ((tx: SqlTransaction, args: unknown, context: ApplyContext) => unknown) | undefined {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  return typeof command === 'function' ? (...values) => command(...values) : undefined
}

const ownTables = /\bquire_(?:meta|sessions)\b/i
const transactionControl =
  /^\s*(?:begin|commit|end|rollback|savepoint|release|attach|detach|pragma|vacuum)\b/i
const leavesTransaction = /^\s*(?:commit|rollback|attach|detach|vacuum)\b/i

/** What a command gets: no way out of its transaction, and a trace of everything that it writes. */
class GuardedTransaction implements SqlTransaction {
  readonly #tx: SqlTransaction
  #trace = 0

  constructor(tx: SqlTransaction) {
    this.#tx = tx
  }

  atomically(work: () => unknown): { result: Buffer; trace: number } {
    this.#trace = 0
    this.#tx.run('savepoint quire_command')
    try {
      const result = encodeResult(work())
      this.#tx.run('release quire_command')
      return { result, trace: this.#trace }
    } catch (error) {
      this.#undo(error)
      throw error
    }
  }

  #undo(cause: unknown): void {
    try {
      this.#tx.run('rollback to quire_command')
      this.#tx.run('release quire_command')
    } catch (error) {
      throw new QuireError('QUIRE_INVARIANT', 'a command left its transaction; its state is lost', {
        cause: new AggregateError([cause, error]),
      })
    }
  }

  run(sql: string, ...values: SqlValue[]): { changes: number } {
    this.#note(sql, values)
    return this.#tx.run(sql, ...values)
  }

  get(sql: string, ...values: SqlValue[]): SqlRow | undefined {
    this.#note(sql, values)
    return this.#tx.get(sql, ...values)
  }

  all(sql: string, ...values: SqlValue[]): SqlRow[] {
    this.#note(sql, values)
    return this.#tx.all(sql, ...values)
  }

  script(sql: string): void {
    // `begin` and `end` stand in triggers too; the savepoint tells if one of them was more than
    // that.
    for (const statement of sql.split(';')) check(statement, leavesTransaction)
    this.#trace = crc32(sql, this.#trace)
    this.#tx.script(sql)
  }

  #note(sql: string, values: readonly SqlValue[]): void {
    check(sql, transactionControl)
    this.#trace = crc32(sql, this.#trace)
    for (const value of values) {
      this.#trace = crc32(value instanceof Uint8Array ? value : String(value), this.#trace)
    }
  }
}

function check(sql: string, forbidden: RegExp): void {
  if (forbidden.test(sql)) {
    throw new TypeError(`a command is one transaction: ${sql.trim().slice(0, 40)} is not for it`)
  }
  if (ownTables.test(sql)) throw new TypeError('tables that begin with quire_ are not for commands')
}
