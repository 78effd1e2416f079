// Replicated SQLite databases: commands are functions of a program, given a transaction; the log
// carries their names and arguments. The local file is a form of the state that starts quickly:
// when it is lost, snapshot and log bring it back.

import { QuireError } from '../../errors.ts'
import type { SqlRow, SqlValue, StateStores } from '../../io/index.ts'
import { SqliteState, type SqlBody, type SqlCommand } from '../../snapshot/sqlite-state.ts'
import { encodeValue } from '../../snapshot/values.ts'
import type { CallSignal, NamedLog } from '../log/log.ts'
import { openReplica, resultOf, type OpenReplicaParts } from './open-replica.ts'
import type { Replica, ReplicaOptions, SnapshotFacts } from './replica.ts'
import type { QueryOptions } from './replicas.ts'

/**
 * Commands by name. Their order of arguments and their names stand in logs: add new ones rather
 * than change old ones.
 */
export type SqlCommands = Readonly<Record<string, SqlCommand<never, unknown>>>

export interface DatabaseDefinition<Commands extends SqlCommands> extends ReplicaOptions {
  /**
   * Each is SQL that brings the schema one step further; applied once, through the log, in order.
   * Append to the list; never change what has been applied.
   */
  readonly migrations: readonly string[]
  readonly commands: Commands
}

type ArgumentOf<Command> = Command extends (tx: never, args: infer Args, context: never) => unknown
  ? Args
  : never

export interface QueryRequest extends QueryOptions {
  readonly sql: string
  readonly values?: readonly SqlValue[]
}

export interface Database<Commands extends SqlCommands> extends AsyncDisposable {
  readonly log: NamedLog
  /** The position that is applied next. */
  readonly position: number
  /**
   * The command's result, once it is durable and applied here. It takes effect once. Fails with
   * QUIRE_COMMAND_FAILED when the command threw (its changes are undone), QUIRE_BACKPRESSURE (wait
   * for `ready`), QUIRE_BAD_OPTION for an unknown name, QUIRE_CLOSED and others when nothing was
   * sent; with QUIRE_OUTCOME_UNKNOWN, QUIRE_SESSION_GONE and QUIRE_ABORTED it may have taken
   * effect.
   */
  execute<Name extends keyof Commands & string>(
    name: Name,
    args: ArgumentOf<Commands[Name]>,
    options?: CallSignal,
  ): Promise<ReturnType<Commands[Name]>>
  /**
   * Rows of what this node has applied. With a request, at the consistency it asks for. A statement
   * that writes is refused.
   */
  query(sql: string | QueryRequest, ...values: SqlValue[]): Promise<SqlRow[]>
  /** Resolves when `execute` would take a command. */
  ready(signal?: AbortSignal): Promise<void>
  /** Resolves when everything that was answered anywhere before the call is applied here. */
  barrier(options?: CallSignal): Promise<void>
  /** Takes and publishes a snapshot, and cuts the log behind the older of the two that are kept. */
  snapshot(options?: CallSignal): Promise<SnapshotFacts>
  close(): Promise<void>
}

export interface DatabasesParts extends OpenReplicaParts {
  readonly states: StateStores
  /** Where the local files are; made when needed. */
  readonly directory: string
}

export interface Databases {
  /**
   * Opens the database, caught up with what is confirmed and migrated. Its log is the named log of
   * that name.
   */
  database<Commands extends SqlCommands>(
    name: string,
    definition: DatabaseDefinition<Commands>,
    options?: CallSignal,
  ): Promise<Database<Commands>>
}

export function createDatabases(parts: DatabasesParts): Databases {
  return {
    async database(name, definition, call = {}) {
      const { migrations, commands, ...options } = definition
      const { replica, state, close } = await openReplica(parts, name, {
        options: { ...options, ...call },
        state: (log, checkEvery) => openState(parts, { log, checkEvery, commands, ...call }),
      })
      try {
        await migrate(replica, state, { migrations, ...call })
      } catch (error) {
        await close()
        throw error
      }
      return handleOf({ replica, state, close, commands })
    },
  }
}

async function openState(
  parts: DatabasesParts,
  from: { log: NamedLog; checkEvery: number; commands: SqlCommands } & CallSignal,
): Promise<SqliteState> {
  const { logId } = await from.log.facts({ signal: from.signal })
  return SqliteState.open({
    states: parts.states,
    path: `${parts.directory}/${from.log.name}.sqlite`,
    logId,
    commands: from.commands,
    checkEvery: from.checkEvery,
  })
}

/**
 * Each missing migration through the log. Of several nodes that start at once, each is applied for
 * one of them.
 */
async function migrate(
  replica: Replica,
  state: SqliteState,
  wanted: { migrations: readonly string[] } & CallSignal,
): Promise<void> {
  const { migrations, signal } = wanted
  if (state.migrations > migrations.length) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      `the database has ${state.migrations} migrations, this program knows ` +
        `${migrations.length}: it is older than its data`,
    )
  }
  for (let index = state.migrations; index < migrations.length; index = state.migrations) {
    const body: SqlBody = ['migrate', index, migrations[index] ?? '']
    resultOf(await replica.execute(encodeValue(body), { signal }))
  }
}

function handleOf<Commands extends SqlCommands>(parts: {
  replica: Replica
  state: SqliteState
  close: () => Promise<void>
  commands: Commands
}): Database<Commands> {
  const { replica, state, close, commands } = parts
  return {
    log: replica.log,
    get position() {
      return replica.position
    },
    async execute(name, args, call) {
      if (!Object.hasOwn(commands, name)) {
        throw new QuireError('QUIRE_BAD_OPTION', `this database has no command ${name}`)
      }
      const body: SqlBody = ['command', name, args]
      return resultOf(await replica.execute(encodeValue(body), call))
    },
    async query(request, ...values) {
      if (typeof request === 'string') return state.query(request, values)
      if (request.consistency === 'linearizable') await replica.barrier({ signal: request.signal })
      return state.query(request.sql, request.values ?? values)
    },
    ready: (signal) => replica.ready(signal),
    barrier: (call) => replica.barrier(call),
    snapshot: (call) => replica.snapshot(call),
    close,
    [Symbol.asyncDispose]: close,
  }
}
