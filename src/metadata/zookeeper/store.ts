// The way to a real ZooKeeper: sessions through node-zookeeper-client, which the first of them
// loads.

import { QuireError, abortedError } from '../../errors.ts'
import type { Address } from '../../io/network.ts'
import type { MetadataCapability, MetadataSession, MetadataStore } from '../contract.ts'
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
  readonly #open = new Set<ZooKeeperSupervisor>()
  #closed = false

  constructor(options: ConnectZooKeeperOptions) {
    this.#options = options
  }

  async session(
    options: { timeoutMs?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<MetadataSession> {
    if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the metadata store is closed')
    const { signal } = options
    if (signal?.aborted) throw abortedError(signal)
    const { timeoutMs = 10_000, connectTimeoutMs = 30_000 } = this.#options
    const supervisor = new ZooKeeperSupervisor({
      ...this.#options,
      timeoutMs: options.timeoutMs ?? timeoutMs,
      connectTimeoutMs,
    })
    this.#open.add(supervisor)
    void supervisor.ended.then(() => this.#open.delete(supervisor))
    const onAbort = (): void => void supervisor.close()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await supervisor.ready
      return new ZooKeeperSession(supervisor)
    } catch (error) {
      throw signal?.aborted ? abortedError(signal) : error
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#open].map((supervisor) => supervisor.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
