// Which bookies there are, and the registration of our own: BookKeeper's ephemeral nodes (metadata
// 4.2 to 4.4).

import { QuireError } from '../errors.ts'
import type { Timers } from '../io/time.ts'
import { isValidBookieId } from '../wire/bookie-id.ts'
import {
  bookieAddress,
  bookieEndpointInfo,
  encodeBookieServiceInfo,
} from '../wire/bookie-service-info.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import type { BookieEndpoint, RegistrationManager } from './managers.ts'
import { createWithParents, ensure, isMissing, once, readIfThere, removeIfThere } from './nodes.ts'
import { withSignal } from './abort.ts'

export interface RegistrationManagerOptions {
  readonly session: MetadataSession
  readonly timers: Timers
  /** Default `/ledgers`. */
  readonly root?: string
  /** How long an older session's node is waited for. Default 30,000. */
  readonly waitMs?: number
  /**
   * Removes an older session's node in place of waiting for its end. Only for a bookie that has
   * proven by its superblock and incarnation that the older session was its own. Default false.
   */
  readonly takeOver?: boolean
}

export function createRegistrationManager(
  options: RegistrationManagerOptions,
): RegistrationManager {
  return new TreeRegistrationManager(options)
}

type Mode = 'writable' | 'read-only'
type WatchOptions = CallOptions & { watch?: (() => void) | undefined }

class TreeRegistrationManager implements RegistrationManager {
  readonly #session: MetadataSession
  readonly #timers: Timers
  readonly #directories: Readonly<Record<Mode, string>>
  readonly #waitMs: number
  readonly #takeOver: boolean

  constructor(options: RegistrationManagerOptions) {
    const { session, timers, root = '/ledgers', waitMs = 30_000, takeOver = false } = options
    this.#session = session
    this.#timers = timers
    this.#directories = {
      writable: `${root}/available`,
      'read-only': `${root}/available/readonly`,
    }
    this.#waitMs = waitMs
    this.#takeOver = takeOver
  }

  writable(options: WatchOptions = {}): Promise<string[]> {
    return this.#list('writable', options)
  }

  readOnly(options: WatchOptions = {}): Promise<string[]> {
    return this.#list('read-only', options)
  }

  async resolve(bookieId: string, options: CallOptions = {}): Promise<BookieEndpoint | undefined> {
    for (const mode of ['writable', 'read-only'] as const) {
      const found = await readIfThere(this.#session, this.#path(mode, bookieId), options)
      if (found) return { bookieId, ...bookieAddress(bookieId, found.data) }
    }
    return undefined
  }

  async register(endpoint: BookieEndpoint, mode: Mode, options: CallOptions = {}): Promise<void> {
    const { bookieId, host, port } = endpoint
    if (!isValidBookieId(bookieId)) {
      throw new QuireError('QUIRE_BAD_OPTION', `${JSON.stringify(bookieId)} is no bookie id`)
    }
    const data = encodeBookieServiceInfo(bookieEndpointInfo(host, port))
    // The new node comes before the old one goes: a reader may see the bookie in both sets, never
    // in none.
    if (mode === 'read-only') await ensure(this.#session, this.#directories[mode], options)
    await this.#lay(this.#path(mode, bookieId), data, options)
    const other = mode === 'writable' ? 'read-only' : 'writable'
    await removeIfThere(this.#session, this.#path(other, bookieId), options)
  }

  async unregister(bookieId: string, options: CallOptions = {}): Promise<void> {
    for (const mode of ['writable', 'read-only'] as const) {
      await removeIfThere(this.#session, this.#path(mode, bookieId), options)
    }
  }

  #path(mode: Mode, bookieId: string): string {
    return `${this.#directories[mode]}/${bookieId}`
  }

  /** A directory that is not there yet has nobody in it, and is watched for. */
  async #list(mode: Mode, { signal, watch }: WatchOptions): Promise<string[]> {
    const path = this.#directories[mode]
    const told = once(watch)
    const read = { signal, linearizable: true, watch: told }
    for (;;) {
      try {
        const { names } = await this.#session.children(path, read)
        // One bad name must not hide the others.
        return names.filter(isValidBookieId)
      } catch (error) {
        if (!isMissing(error)) throw error
      }
      if (!(await this.#session.exists(path, read))) return []
    }
  }

  async #lay(path: string, data: Uint8Array, { signal }: CallOptions): Promise<void> {
    for (;;) {
      const gone = Promise.withResolvers<void>()
      const watch = (): void => gone.resolve()
      const stat = await this.#session.exists(path, { signal, linearizable: true, watch })
      if (stat?.ephemeralOwner === this.#session.sessionId) return
      if (stat && this.#takeOver) await removeIfThere(this.#session, path, { signal })
      else if (stat) await this.#waitFor(gone.promise, path, signal)
      try {
        await createWithParents(this.#session, path, { data, mode: 'ephemeral', signal })
        return
      } catch (error) {
        // Another one was faster, or our own create was sent twice: it is looked at again.
        if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
      }
    }
  }

  async #waitFor(
    gone: Promise<void>,
    path: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const late = Promise.withResolvers<never>()
    const timer = this.#timers.after(this.#waitMs, () => {
      const text =
        `another session still holds ${path} after ${this.#waitMs} ms: ` +
        'is the bookie running twice?'
      late.reject(new QuireError('QUIRE_TIMEOUT', text, { facts: { path } }))
    })
    try {
      await withSignal(signal, () => Promise.race([gone, late.promise]))
    } finally {
      timer.cancel()
    }
  }
}
