// Which bookies there are, which are to be avoided for a while, and the client's connection to
// each.

import { messageOf } from '../errors.ts'
import type { RegistrationManager } from '../metadata/managers.ts'
import { BookieConnection } from './bookie-connection.ts'
import type { BookieConnectionOptions } from './bookie-connection.ts'
import { orAborted } from './wait.ts'

export interface DirectoryOptions extends Omit<BookieConnectionOptions, 'bookieId' | 'resolve'> {
  readonly registration: RegistrationManager
  readonly quarantineMs: number
}

export class BookieDirectory {
  readonly #options: DirectoryOptions
  readonly #connections = new Map<string, BookieConnection>()
  readonly #quarantine = new Map<string, number>()
  readonly #listeners = new Set<() => void>()
  #writable: Promise<string[]> | undefined
  #closed = false

  constructor(options: DirectoryOptions) {
    this.#options = options
  }

  connection(bookieId: string): BookieConnection {
    const known = this.#connections.get(bookieId)
    if (known !== undefined) return known
    const connection = new BookieConnection({
      ...this.#options,
      bookieId,
      resolve: (id) => this.#options.registration.resolve(id),
    })
    // Nobody would close it: it tells whoever uses it that the client is closed.
    if (this.#closed) connection.close()
    else this.#connections.set(bookieId, connection)
    return connection
  }

  /** The writable bookies: kept until they change. */
  async writable(signal?: AbortSignal): Promise<string[]> {
    const read = this.#writable ?? this.#read()
    try {
      return await orAborted(read, signal)
    } catch (error) {
      if (this.#writable === read) this.#writable = undefined
      throw error
    }
  }

  /** Calls at every change of the writable bookies, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  avoid(bookieId: string): void {
    const untilMs = this.#options.clock.monotonicMs() + this.#options.quarantineMs
    this.#quarantine.set(bookieId, untilMs)
  }

  /** Bookies that failed lately. */
  avoided(): ReadonlySet<string> {
    const nowMs = this.#options.clock.monotonicMs()
    for (const [bookieId, untilMs] of this.#quarantine) {
      if (untilMs <= nowMs) this.#quarantine.delete(bookieId)
    }
    return new Set(this.#quarantine.keys())
  }

  close(): void {
    this.#closed = true
    this.#listeners.clear()
    for (const connection of this.#connections.values()) connection.close()
    this.#connections.clear()
  }

  #read(): Promise<string[]> {
    const read = this.#options.registration.writable({
      watch: () => {
        if (this.#writable === read) this.#writable = undefined
        this.#changed()
      },
    })
    this.#writable = read
    return read
  }

  #changed(): void {
    if (this.#closed) return
    for (const listener of this.#listeners) listener()
    // Somebody waits for bookies: read again, so that the next change is heard of.
    if (this.#listeners.size === 0) return
    this.writable().catch((error: unknown) => {
      this.#options.logger.debug({ error: messageOf(error) }, 'bookies could not be listed')
    })
  }
}
