// The way to a real ZooKeeper: sessions through node-zookeeper-client, which the first of them
// loads.

import { QuireError } from '../../errors.ts'
import type { Address } from '../../io/network.ts'
import type { MetadataCapability, MetadataSession, MetadataStore } from '../contract.ts'
import { Supervised } from '../supervised.ts'
import { ZooKeeperSession } from './session.ts'
import { ZooKeeperSupervisor, type ZooKeeperEnvironment } from './supervisor.ts'

export interface ConnectZooKeeperOptions extends ZooKeeperEnvironment {
  /** Servers of one ensemble, tried in turn from a random one. At least one. */
  readonly addresses: readonly Address[]
  /** Session time-out asked of the server, which may grant another. Default 10,000. */
  readonly timeoutMs?: number
  /** How long `session()` looks for a server before it fails. Default 30,000. */
  readonly connectTimeoutMs?: number
}

/**
 * Opens nothing yet: each `session()` dials. Sessions survive lost connections and servers that
 * restart. Reads made meanwhile wait, at most until the session's end; a change that was on its way
 * fails with QUIRE_METADATA_UNAVAILABLE, because ZooKeeper does not say whether it was made.
 * `close` ends all sessions.
 */
export function connectZooKeeper(options: ConnectZooKeeperOptions): MetadataStore {
  if (options.addresses.length === 0) {
    throw new QuireError('QUIRE_BAD_OPTION', 'give at least one address of a ZooKeeper')
  }
  return new ZooKeeperStore(options)
}

class ZooKeeperStore implements MetadataStore {
  /** node-zookeeper-client makes neither container nor TTL nodes. */
  readonly capabilities: ReadonlySet<MetadataCapability> = new Set()
  readonly #options: ConnectZooKeeperOptions
  readonly #sessions = new Supervised<ZooKeeperSupervisor>()

  constructor(options: ConnectZooKeeperOptions) {
    this.#options = options
  }

  async session(
    options: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<MetadataSession> {
    const { timeoutMs = 10_000, connectTimeoutMs = 30_000 } = this.#options
    const make = (): ZooKeeperSupervisor =>
      new ZooKeeperSupervisor({
        ...this.#options,
        timeoutMs: options.timeoutMs ?? timeoutMs,
        connectTimeoutMs,
      })
    return new ZooKeeperSession(await this.#sessions.begin(make, options.signal))
  }

  close(): Promise<void> {
    return this.#sessions.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
