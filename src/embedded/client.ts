// The client side of a cluster, the same for a process with a node of its own and for one without.
import { QuireError } from '../errors.ts'
import type { Address, Io, Logger } from '../io/index.ts'
import { connectMetadata } from '../metadata/client/index.ts'
import type { LedgerClient } from '../replication/api.ts'
import { createLedgerClient } from '../replication/index.ts'
import { createLogs, type Logs } from './log/logs.ts'
import type { ClientSettings } from './options.ts'
import { createDatabases, type Databases } from './replica/databases.ts'
import { OpenNames } from './replica/open-replica.ts'
import { createReplicas, type Replicas } from './replica/replicas.ts'
import { openManagers } from './managers.ts'
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
  readonly addresses: readonly Address[]
  /** Where local files of databases are; without it there are none. */
  readonly stateDirectory: string | undefined
  readonly owner: { readonly id: string; readonly incarnation: string }
  readonly signal?: AbortSignal | undefined
}

export async function openClient(parts: ClientParts): Promise<Client> {
  const { io, logger, settings, addresses, signal } = parts
  const store = connectMetadata({
    ...io,
    logger,
    addresses,
    timeoutMs: settings.sessionTimeoutMs,
  })
  try {
    const session = await RenewedSession.open(store, {
      timeoutMs: settings.sessionTimeoutMs,
      signal,
    })
    const managers = await openManagers(session, { io, signal })
    const ledgers = createLedgerClient({
      ...io,
      logger,
      ...managers,
      knownBookies: async (call) => (await managers.cookies.list({ signal: call })).length,
      options: settings,
    })
    const upper = onLedgers(parts, ledgers, managers.records)
    const close = async (): Promise<void> => {
      await upper.close()
      await ledgers[Symbol.asyncDispose]()
      await session.close()
      await store.close()
    }
    return { ledgers, ...upper, close, [Symbol.asyncDispose]: close }
  } catch (error) {
    await store.close()
    throw error
  }
}

function onLedgers(
  parts: ClientParts,
  ledgers: LedgerClient,
  records: Parameters<typeof createLogs>[0]['records'],
): Pick<Client, 'log' | 'replica' | 'database' | 'close'> {
  const { io, logger, owner, stateDirectory } = parts
  const logs = createLogs({ ...io, ledgers, records, logger, owner })
  const names = new OpenNames()
  const replicas = createReplicas({ logs, names })
  const directory = stateDirectory ?? ''
  const databases = createDatabases({ logs, names, states: io.states, directory })
  return {
    log: (name, options) => logs.log(name, options),
    replica: (name, machine, options) => replicas.replica(name, machine, options),
    async database(name, definition, options) {
      if (stateDirectory === undefined) throw noDirectory()
      await io.files.makeDirectory(stateDirectory)
      return databases.database(name, definition, options)
    },
    async close() {
      await names.close()
      await logs.close()
    },
  }
}

function noDirectory(): QuireError {
  return new QuireError(
    'QUIRE_BAD_OPTION',
    'a database keeps a local file: say where with connect(uri, { dir: "./state" })',
    { facts: { option: 'dir' } },
  )
}
