// The way from any process to the tree of a node: sessions over the metadata protocol, each on a
// connection of its own.

import { QuireError } from '../../errors.ts'
import type { Address } from '../../io/network.ts'
import type { MetadataCapability, MetadataSession, MetadataStore } from '../contract.ts'
import { Supervised } from '../supervised.ts'
import { NetworkSession } from './session.ts'
import { Supervisor, type ClientEnvironment } from './supervisor.ts'

export interface ConnectMetadataOptions extends ClientEnvironment {
  /** Servers of one cluster, tried in turn from a random one. At least one. */
  readonly addresses: readonly Address[]
  /** Session time-out asked of the server, which may grant another. Default 10,000. */
  readonly timeoutMs?: number
  /** The cluster that is meant: servers of another one are passed over. Default: any. */
  readonly instanceId?: string | undefined
  /** How long `session()` looks for a server before it fails. Default 30,000. */
  readonly connectTimeoutMs?: number
}

export const connectDefaults = { timeoutMs: 10_000, connectTimeoutMs: 30_000 } as const

/**
 * Opens nothing yet: each `session()` dials. Sessions survive lost connections and servers that
 * restart; calls made meanwhile wait, at most until the session's end. `close` ends all sessions.
 */
export function connectMetadata(options: ConnectMetadataOptions): MetadataStore {
  if (options.addresses.length === 0) {
    throw new QuireError('QUIRE_BAD_OPTION', 'give at least one address of a metadata server')
  }
  return new NetworkStore(options)
}

class NetworkStore implements MetadataStore {
  readonly capabilities: ReadonlySet<MetadataCapability> = new Set([
    'container',
    'ttl',
    'multi-read',
    'standing-watch',
  ] as const)
  readonly #options: ConnectMetadataOptions
  readonly #sessions = new Supervised<Supervisor>()

  constructor(options: ConnectMetadataOptions) {
    this.#options = options
  }

  async session(
    options: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<MetadataSession> {
    const make = (): Supervisor =>
      new Supervisor({
        ...this.#options,
        timeoutMs: options.timeoutMs ?? this.#options.timeoutMs ?? connectDefaults.timeoutMs,
        connectTimeoutMs: this.#options.connectTimeoutMs ?? connectDefaults.connectTimeoutMs,
      })
    return new NetworkSession(await this.#sessions.begin(make, options.signal))
  }

  close(): Promise<void> {
    return this.#sessions.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
