// The public face.
import { connectWith } from './embedded/connect.ts'
import type { Client } from './embedded/client.ts'
import { openWith, type Node } from './embedded/open.ts'
import type { ConnectOptions, OpenOptions } from './embedded/options.ts'
import { createIo } from './io/real/index.ts'
import { createLogger } from './io/real/logger.ts'
import { requireNodeVersion } from './io/real/node-version.ts'

/**
 * Starts a node in this process, on a thread of its own, and a client of it.
 *
 * Fails with QUIRE_BAD_OPTION, QUIRE_NODE_VERSION, and with why the directory cannot be served:
 * QUIRE_DIRECTORY_IN_USE, QUIRE_DIRECTORY_MISSING, QUIRE_DIRECTORY_DENIED,
 * QUIRE_DIRECTORY_POISONED, QUIRE_DISK_FULL, QUIRE_SUPERBLOCK_CORRUPT, QUIRE_IDENTITY_UNKNOWN,
 * QUIRE_IDENTITY_MISMATCH, QUIRE_STALE_DISK, QUIRE_RANGE_LOST, QUIRE_ADDRESS_IN_USE.
 */
export async function open(options: OpenOptions): Promise<Node> {
  requireNodeVersion()
  return openWith({ io: createIo(), logger: options.logger ?? createLogger() }, options)
}

/**
 * A client of a cluster, without a node in this process. `uri` names nodes that keep its metadata:
 * `quire://HOST:PORT,HOST:PORT`. Fails with QUIRE_BAD_OPTION, QUIRE_UNAUTHORIZED,
 * QUIRE_METADATA_UNAVAILABLE.
 */
export async function connect(uri: string, options: ConnectOptions = {}): Promise<Client> {
  requireNodeVersion()
  return connectWith({ io: createIo(), logger: options.logger ?? createLogger() }, uri, options)
}

export { QuireError, type ErrorCode } from './errors.ts'
export type { Client } from './embedded/client.ts'
export type { Node } from './embedded/open.ts'
export type { NodeStats } from './embedded/node/messages.ts'
export type { ConnectOptions, OpenOptions } from './embedded/options.ts'
export type {
  CreateLedgerOptions,
  DigestType,
  LedgerClient,
  LedgerEntry,
  LedgerReader,
  LedgerWriter,
  OpenLedgerOptions,
} from './replication/api.ts'
export type { NamedLog, ReadRecord } from './embedded/log/log.ts'
export type { LogWriter } from './embedded/log/writer.ts'
export type { Database, DatabaseDefinition, SqlCommands } from './embedded/replica/databases.ts'
export type { StateReplica } from './embedded/replica/replicas.ts'
export type { Machine } from './snapshot/memory-state.ts'
export type { Logger, SqlRow, SqlTransaction, SqlValue } from './io/index.ts'
