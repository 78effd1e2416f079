// Serves a tree to the connections of metadata clients: sessions, and which connection each of them
// is on.
//
// I1. A session is on one connection at most: the newest that showed its password.
// I2. Expiry is a command of the tree. What this server decides alone is only when to propose it.
// I3. Once a session's end was proposed no connection gets it any more.

import { QuireError, messageOf } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Connection } from '../../io/network.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import {
  metadataErrorNumbers,
  metadataLimits,
  metadataVersion,
} from '../../wire/metadata-messages.ts'
import type {
  ConnectRequest,
  ConnectResponse,
  ConnectStatus,
  MetadataResult,
} from '../../wire/metadata-messages.ts'
import { ServerConnection, type ConnectionHost, type RequestPacket } from './connection.ts'
import { execute } from './execute.ts'
import { metadataServerLimits, type MetadataServerLimits } from './limits.ts'
import type { TreeSession } from '../tree/session-table.ts'
import type { ServedTree } from './served-tree.ts'
import { SessionTracker } from './session-tracker.ts'

export interface MetadataServerOptions {
  readonly tree: ServedTree
  readonly timers: Timers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** The cluster's: a client of another one is refused. */
  readonly instanceId: string
  readonly limits?: Partial<MetadataServerLimits> | undefined
}

export interface MetadataServer extends AsyncDisposable {
  /** Takes a connection over whose first bytes are `QRM1` behind a length. */
  accept(connection: Connection, firstChunk: Buffer): void
  /**
   * Ends all connections; sessions live on in the tree until they expire or another server has
   * them.
   */
  close(): Promise<void>
}

/** Reads the sessions that are alive and gives each its full time-out anew. */
export async function createMetadataServer(
  options: MetadataServerOptions,
): Promise<MetadataServer> {
  const server = new Server(options)
  await server.open()
  return server
}

const unknownOutcome = metadataErrorNumbers.QUIRE_METADATA_UNAVAILABLE

class Server implements MetadataServer, ConnectionHost {
  readonly limits: MetadataServerLimits
  readonly timers: Timers
  readonly #options: MetadataServerOptions
  readonly #tracker: SessionTracker
  readonly #sessions = new Map<bigint, TreeSession>()
  readonly #connections = new Set<ServerConnection>()
  readonly #bound = new Map<bigint, ServerConnection>()
  #closing = false

  constructor(options: MetadataServerOptions) {
    this.#options = options
    this.timers = options.timers
    this.limits = { ...metadataServerLimits, ...options.limits }
    const { clock, timers } = options
    const expired = (sessionId: bigint): void => void this.#expire(sessionId)
    this.#tracker = new SessionTracker({ clock, timers, expired })
  }

  async open(): Promise<void> {
    for (const session of await this.#options.tree.sessions()) this.#track(session)
  }

  accept(connection: Connection, firstChunk: Buffer): void {
    const accepted = new ServerConnection(this, connection)
    this.#connections.add(accepted)
    accepted.start(firstChunk)
  }

  async close(): Promise<void> {
    this.#closing = true
    this.#tracker.close()
    for (const connection of this.#connections) {
      connection.goodbye('unavailable', 'the metadata server ends')
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async connect(connection: ServerConnection, request: ConnectRequest): Promise<ConnectResponse> {
    const refusal = this.#refusal(request)
    if (refusal) return this.#refuse(...refusal)
    try {
      // One that is resumed begins a lease here, as with a ping; and nobody is told that there is
      // no such session by a server that others have replaced.
      if (request.sessionId !== 0n) await this.confirm()
      const session = await this.#sessionFor(request)
      if (!session || this.#closing) {
        return this.#refuse(
          'sessionExpired',
          'there is no such session, or this is not its password',
        )
      }
      this.#bind(connection, session)
      return { ...this.#response('ok', ''), ...session }
    } catch (error) {
      this.#options.logger.warn({ error }, 'a metadata session could not be opened')
      return this.#refuse('unavailable', messageOf(error))
    }
  }

  confirm(): Promise<void> {
    return this.#options.tree.sync()
  }

  heard(sessionId: bigint): boolean {
    return this.#tracker.touch(sessionId)
  }

  async execute(packet: RequestPacket, connection: ServerConnection): Promise<MetadataResult> {
    const { sessionId } = connection
    const { tree } = this.#options
    if (sessionId === undefined) throw new QuireError('QUIRE_CLOSED', 'the connection has ended')
    // I3. Nobody else can come in with the session while it ends.
    if (packet.request.type === 'closeSession') this.#forget(sessionId)
    const result = await execute({ tree, sessionId, packet, connection })
    if (result.type === 'error' && result.code === unknownOutcome) {
      const { type } = packet.request
      this.#options.logger.warn({ type, path: result.path }, `metadata: ${result.message}`)
      if (type === 'closeSession') this.#endLater(sessionId)
    }
    return result
  }

  zxid(): number {
    return this.#options.tree.lastZxid
  }

  closed(connection: ServerConnection): void {
    this.#connections.delete(connection)
    for (const [sessionId, bound] of this.#bound) {
      if (bound === connection) this.#bound.delete(sessionId)
    }
  }

  #refusal(request: ConnectRequest): [ConnectStatus, string] | undefined {
    const { instanceId, tree } = this.#options
    if (request.version >> 8 !== metadataVersion >> 8) {
      const [theirs, ours] = [request.version >> 8, metadataVersion >> 8]
      return [
        'version',
        `this server speaks version ${ours} of the metadata protocol, not ${theirs}`,
      ]
    }
    if (request.instanceId !== '' && request.instanceId !== instanceId) {
      return ['instance', `this is the cluster ${instanceId}, not ${request.instanceId}`]
    }
    if (this.#closing) return ['unavailable', 'the metadata server ends']
    if (this.#connections.size > this.limits.connections) {
      return ['unavailable', `the metadata server has ${this.limits.connections} connections`]
    }
    if (request.lastZxid > tree.lastZxid) {
      return ['unavailable', 'this server has not seen yet what the client saw elsewhere']
    }
    return undefined
  }

  async #sessionFor(request: ConnectRequest): Promise<TreeSession | undefined> {
    const { sessionId } = request
    if (sessionId !== 0n) {
      const session = this.#sessions.get(sessionId)
      // A session of the server's own thread has no password: nobody takes it over from elsewhere.
      if (!session?.password.some((byte) => byte !== 0)) return undefined
      return sameBytes(session.password, request.password) ? session : undefined
    }
    const { tree, random } = this.#options
    const { timeoutMsLeast, timeoutMsMost } = this.limits
    const timeoutMs = Math.min(Math.max(request.timeoutMs, timeoutMsLeast), timeoutMsMost)
    const password = random.bytes(metadataLimits.passwordBytes)
    const opened = await tree.openSession({ timeoutMs, password })
    const session = { sessionId: opened, timeoutMs, password }
    if (!this.#closing) this.#track(session)
    return session
  }

  #track(session: TreeSession): void {
    this.#sessions.set(session.sessionId, session)
    this.#tracker.track(session.sessionId, session.timeoutMs)
  }

  #forget(sessionId: bigint): void {
    this.#sessions.delete(sessionId)
    this.#tracker.forget(sessionId)
  }

  /**
   * Its end could not be committed: it is proposed again, and until then nobody gets the session
   * (I3).
   */
  #endLater(sessionId: bigint): void {
    if (!this.#closing) this.#tracker.track(sessionId, this.limits.timeoutMsLeast)
  }

  /** I1. */
  #bind(connection: ServerConnection, { sessionId }: TreeSession): void {
    const older = this.#bound.get(sessionId)
    older?.goodbye('moved', 'the session is on a newer connection')
    this.#bound.set(sessionId, connection)
    this.#tracker.touch(sessionId)
  }

  /** I2. */
  async #expire(sessionId: bigint): Promise<void> {
    this.#forget(sessionId)
    this.#bound.get(sessionId)?.goodbye('expired', 'the session was silent for too long')
    this.#bound.delete(sessionId)
    const { tree, logger } = this.#options
    try {
      await tree.endSession(sessionId, 'expired')
      logger.info({ sessionId: String(sessionId) }, 'a metadata session has expired')
    } catch (error) {
      logger.warn({ error, sessionId: String(sessionId) }, 'a metadata session could not be ended')
      this.#endLater(sessionId)
    }
  }

  #refuse(status: ConnectStatus, message: string): ConnectResponse {
    return this.#response(status, message)
  }

  #response(status: ConnectStatus, message: string): ConnectResponse {
    return {
      version: metadataVersion,
      status,
      message,
      sessionId: 0n,
      password: new Uint8Array(0),
      timeoutMs: 0,
      zxid: this.#options.tree.lastZxid,
      instanceId: this.#options.instanceId,
    }
  }
}

/** In a time that does not depend on where they differ. */
function sameBytes(left: Uint8Array, right: Uint8Array): boolean {
  if (left.length !== right.length) return false
  let difference = 0
  for (const [index, byte] of left.entries()) difference |= byte ^ (right[index] ?? 0)
  return difference === 0
}
