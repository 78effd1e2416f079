// Tells metadata clients that another node serves them, and where.

import type { Address, Connection } from '../../io/network.ts'
import type { Timers } from '../../io/time.ts'
import type { ConnectResponse, MetadataResult } from '../../wire/metadata-messages.ts'
import { metadataVersion } from '../../wire/metadata-messages.ts'
import { invariant } from '../../invariant.ts'
import { ServerConnection, type ConnectionHost } from './connection.ts'
import { metadataServerLimits, type MetadataServerLimits } from './limits.ts'

export interface ElsewhereParts {
  readonly timers: Timers
  /** Who serves now, if that is known. */
  readonly leader: () => Address | undefined
}

export class Elsewhere implements ConnectionHost {
  readonly limits: MetadataServerLimits = metadataServerLimits
  readonly timers: Timers
  readonly #parts: ElsewhereParts
  readonly #connections = new Set<ServerConnection>()

  constructor(parts: ElsewhereParts) {
    this.timers = parts.timers
    this.#parts = parts
  }

  accept(connection: Connection, firstChunk: Buffer): void {
    const accepted = new ServerConnection(this, connection)
    this.#connections.add(accepted)
    accepted.start(firstChunk)
  }

  close(): void {
    for (const connection of this.#connections) connection.destroy()
  }

  async connect(): Promise<ConnectResponse> {
    return {
      version: metadataVersion,
      status: 'elsewhere',
      message: 'this node does not lead the metadata now',
      sessionId: 0n,
      password: new Uint8Array(0),
      timeoutMs: 0,
      zxid: 0,
      instanceId: '',
      leader: this.#parts.leader(),
    }
  }

  closed(connection: ServerConnection): void {
    this.#connections.delete(connection)
  }

  // Nobody is let in, so nothing is ever asked.

  heard(): boolean {
    return false
  }

  confirm(): Promise<void> {
    return Promise.reject(nobodyIsIn())
  }

  execute(): Promise<MetadataResult> {
    return Promise.reject(nobodyIsIn())
  }

  zxid(): number {
    return 0
  }
}

function nobodyIsIn(): Error {
  invariant(false, 'nobody was let in')
}
