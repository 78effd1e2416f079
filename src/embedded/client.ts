// The client side of a cluster, the same for a process with a node of its own and for one without.
import { QuireError } from '../errors.ts'
import { withSecret, type DirectoryLock } from '../io/index.ts'
import type { Io, Logger } from '../io/index.ts'
import type { LedgerClient } from '../replication/api.ts'
import { createLedgerClient } from '../replication/index.ts'
import { SharedSecret } from '../wire/handshake.ts'
import { Asker } from './forward/asker.ts'
import { ForwardServer } from './forward/server.ts'
import type { HandedPort } from './handed-connection.ts'
import { createLogs, type Logs } from './log/logs.ts'
import { Closers } from './closers.ts'
import type { ClientSettings } from './options.ts'
import { createDatabases, type Databases } from './replica/databases.ts'
import { OpenNames, type Forwards } from './replica/open-replica.ts'
import { createReplicas, type Replicas } from './replica/replicas.ts'
import { openManagers, type Managers } from './managers.ts'
import { connectPlace, type MetadataPlace } from './metadata-place.ts'
import { RenewedSession } from './renewed-session.ts'

/** Ledgers, and what stands on them. */
export interface Client extends AsyncDisposable {
  readonly ledgers: LedgerClient
  /** The log of a name, made if there is none. */
  readonly log: Logs['log']
  /** A state machine in memory, applied to the commands of the log of its name. */
  readonly replica: Replicas['replica']
  /** The same with a SQLite database as the state. */
  readonly database: Databases['database']
  /** Ends everything that was opened through it. */
  close(): Promise<void>
}

export interface ClientParts {
  readonly io: Io
  readonly logger: Logger
  readonly settings: ClientSettings
  readonly metadata: MetadataPlace
  /** Where local files of databases are; without it there are none. */
  readonly stateDirectory: string | undefined
  readonly owner: { readonly id: string; readonly incarnation: string }
  /** Where others bring commands to; without it nobody can. */
  readonly handed?: HandedPort
  readonly signal?: AbortSignal | undefined
}

export async function openClient(parts: ClientParts): Promise<Client> {
  const { io, logger, settings, metadata, signal } = parts
  const { sessionTimeoutMs: timeoutMs, secret: text, ...ledgerOptions } = settings
  const closers = new Closers()
  const secret = text === undefined ? undefined : new SharedSecret(text)
  const known = withSecret(io, secret)
  const store = connectPlace(metadata, { io: known, logger, timeoutMs })
  closers.add(() => store.close())
  try {
    const session = await RenewedSession.open(store, { timeoutMs, signal })
    closers.add(() => session.close())
    const managers = await openManagers(session, { io, signal, ...metadata.cluster })
    const ledgers = createLedgerClient({
      ...io,
      logger,
      ...managers,
      knownBookies: async (call) => (await managers.cookies.list({ signal: call })).length,
      options: ledgerOptions,
      secret,
    })
    closers.add(async () => ledgers[Symbol.asyncDispose]())
    const upper = onLedgers({ ...parts, io: known }, closers, { ledgers, managers })
    const close = (): Promise<void> => closers.close()
    return { ledgers, ...upper, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    await closers.close()
    throw error
  }
}

function onLedgers(
  parts: ClientParts,
  closers: Closers,
  below: { ledgers: LedgerClient; managers: Managers },
): Pick<Client, 'log' | 'replica' | 'database'> {
  const { io, logger, owner, stateDirectory } = parts
  const directory = new StateDirectory(io.files, stateDirectory)
  closers.add(() => directory.release())
  const { ledgers, managers } = below
  const logs = createLogs({ ...io, ledgers, records: managers.records, logger, owner })
  closers.add(() => logs.close())
  const forwards = forwarding(parts, closers, managers)
  const names = new OpenNames()
  closers.add(() => names.close())
  const on = { logs, names, forwards }
  const replicas = createReplicas(on)
  const databases = createDatabases({
    ...on,
    states: io.states,
    directory: stateDirectory ?? '',
  })
  return {
    log: (name, options) => logs.log(name, options),
    replica: (name, machine, options) => replicas.replica(name, machine, options),
    async database(name, definition, options) {
      await directory.take()
      return databases.database(name, definition, options)
    },
  }
}

/** How commands get from here to the owners of logs, and from others to the logs owned here. */
function forwarding(parts: ClientParts, closers: Closers, managers: Managers): Forwards {
  const { io, logger, owner, handed } = parts
  const { instanceId, registration } = managers
  const shared = { ...io, logger, instanceId, self: `${owner.id}/${owner.incarnation}` }
  const addressOf = (bookieId: string) => registration.resolve(bookieId)
  const asker = new Asker({ ...shared, addressOf })
  const server = new ForwardServer(shared)
  handed?.serve(server.accept)
  closers.add(async () => {
    asker.close()
    server.close()
  })
  return { asker, server }
}

/** Where local files of databases are: one process at a time, or both would apply each command. */
class StateDirectory {
  readonly #files: Io['files']
  readonly #path: string | undefined
  #lock: Promise<DirectoryLock> | undefined

  constructor(files: Io['files'], path: string | undefined) {
    this.#files = files
    this.#path = path
  }

  async take(): Promise<void> {
    if (this.#path === undefined) throw noDirectory()
    const lock = (this.#lock ??= this.#take(this.#path))
    try {
      await lock
    } catch (error) {
      if (this.#lock === lock) this.#lock = undefined
      throw error
    }
  }

  async #take(path: string): Promise<DirectoryLock> {
    await this.#files.makeDirectory(path)
    return this.#files.lock(path)
  }

  async release(): Promise<void> {
    const lock = await this.#lock?.catch(() => undefined)
    this.#lock = undefined
    await lock?.release()
  }
}

function noDirectory(): QuireError {
  return new QuireError(
    'QUIRE_BAD_OPTION',
    'a database keeps a local file: say where with connect(uri, { dir: "./state" })',
    { facts: { option: 'dir' } },
  )
}
