// Keeps this bookie registered: writable or read-only, as its disk allows, and again after its
// session expired.
//
// The registration is an ephemeral of a session of its own. When that session expires (the metadata
// did not hear from this process for too long), a new one is opened and the bookie registered anew:
// it serves all the time, its data is its own.
import { QuireError } from '../../errors.ts'
import type { Io, Logger, Timer } from '../../io/index.ts'
import type { MetadataSession } from '../../metadata/contract.ts'
import type { BookieEndpoint } from '../../metadata/managers.ts'
import { createRegistrationManager } from '../../metadata/registration.ts'

export interface RegistrationParts {
  readonly io: Pick<Io, 'timers'>
  readonly logger: Logger
  readonly endpoint: BookieEndpoint
  readonly isReadOnly: () => boolean
  /** Of the bookie's cluster. Default `/ledgers`. */
  readonly root?: string
  readonly openSession: () => Promise<MetadataSession>
  /** Fails with QUIRE_STALE_DISK when the cluster has seen a later start of this bookie. */
  readonly claim: () => Promise<void>
  /** Told of that: another one is this bookie now. */
  readonly superseded: (error: Error) => void
}

/**
 * How often the disk's state is compared with what is registered, and a failed registration tried
 * again.
 */
const checkEveryMs = 1000

export class Registration {
  readonly #parts: RegistrationParts
  #session: MetadataSession | undefined
  #mode: 'writable' | 'read-only' | undefined
  #timer: Timer | undefined
  #closed = false

  constructor(parts: RegistrationParts) {
    this.#parts = parts
  }

  /** Resolves when the bookie is registered. */
  async start(): Promise<void> {
    await this.#register()
    this.#plan()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#timer?.cancel()
    await this.#session?.close()
  }

  #plan(): void {
    if (this.#closed) return
    this.#timer = this.#parts.io.timers.after(checkEveryMs, () => void this.#check())
  }

  async #check(): Promise<void> {
    try {
      if (this.#session === undefined || this.#mode !== this.#wanted()) await this.#register()
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_STALE_DISK')) {
        this.#parts.superseded(error)
        return
      }
      this.#parts.logger.warn({ error }, 'the bookie could not be registered: trying again')
    }
    this.#plan()
  }

  async #register(): Promise<void> {
    const { endpoint, io, root = '/ledgers' } = this.#parts
    const session = (this.#session ??= await this.#open())
    if (this.#closed) {
      await session.close()
      return
    }
    const mode = this.#wanted()
    // With the incarnation of this start claimed, another session with this bookie's node is older.
    const options = { session, root, timers: io.timers, takeOver: true }
    await createRegistrationManager(options).register(endpoint, mode)
    if (this.#mode !== mode)
      this.#parts.logger.info({ mode, ...endpoint }, 'the bookie is registered')
    this.#mode = mode
  }

  async #open(): Promise<MetadataSession> {
    await this.#parts.claim()
    const session = await this.#parts.openSession()
    void this.#forgetAtEnd(session)
    return session
  }

  async #forgetAtEnd(session: MetadataSession): Promise<void> {
    await session.ended
    if (this.#session !== session) return
    this.#session = undefined
    this.#mode = undefined
  }

  #wanted(): 'writable' | 'read-only' {
    return this.#parts.isReadOnly() ? 'read-only' : 'writable'
  }
}
