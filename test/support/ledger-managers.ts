// The managers of ledgers and of registration in memory, with the faults a ledger client must
// stand: conflicts, lost replies, no answer.

import { QuireError } from '../../src/errors.ts'
import type {
  BookieEndpoint,
  LedgerManager,
  RegistrationManager,
  Versioned,
} from '../../src/metadata/managers.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'

export class MemoryLedgerManager implements LedgerManager {
  readonly stored: Map<bigint, Versioned<LedgerMetadata>> = new Map()
  readonly history: { ledgerId: bigint; metadata: LedgerMetadata }[] = []
  #nextId = 1n
  readonly #watches = new Map<bigint, (() => void)[]>()
  /** Before a write takes effect. */
  beforeWrite: (ledgerId: bigint, metadata: LedgerMetadata) => void | Promise<void> = () =>
    undefined
  /** Writes whose reply is lost although they took effect. */
  loseReplies = 0
  /** Calls that fail without effect. */
  unreachable = 0
  reads = 0

  async create(ledgerId: bigint, metadata: LedgerMetadata): Promise<Versioned<LedgerMetadata>> {
    this.#reach()
    if (this.stored.has(ledgerId)) throw new QuireError('QUIRE_NODE_EXISTS', 'taken')
    return this.#put(ledgerId, { value: metadata, version: 0 })
  }

  async read(
    ledgerId: bigint,
    options: { watch?: (() => void) | undefined } = {},
  ): Promise<Versioned<LedgerMetadata>> {
    this.#reach()
    this.reads++
    const found = this.stored.get(ledgerId)
    if (!found) throw new QuireError('QUIRE_LEDGER_MISSING', `no ledger ${ledgerId}`)
    if (options.watch) {
      this.#watches.set(ledgerId, [...(this.#watches.get(ledgerId) ?? []), options.watch])
    }
    return found
  }

  async write(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    version: number,
  ): Promise<Versioned<LedgerMetadata>> {
    this.#reach()
    await this.beforeWrite(ledgerId, metadata)
    const found = this.stored.get(ledgerId)
    if (!found) throw new QuireError('QUIRE_LEDGER_MISSING', `no ledger ${ledgerId}`)
    if (found.version !== version) throw new QuireError('QUIRE_BAD_VERSION', 'changed meanwhile')
    const written = this.#put(ledgerId, { value: metadata, version: version + 1 })
    if (this.loseReplies > 0) {
      this.loseReplies--
      throw new QuireError('QUIRE_METADATA_UNAVAILABLE', 'the reply was lost')
    }
    return written
  }

  async delete(ledgerId: bigint): Promise<void> {
    this.#reach()
    this.stored.delete(ledgerId)
    this.#notify(ledgerId)
  }

  async *list(): AsyncIterable<bigint> {
    yield* [...this.stored.keys()].sort((a, b) => Number(a - b))
  }

  async nextId(): Promise<bigint> {
    this.#reach()
    return this.#nextId++
  }

  metadata(ledgerId: bigint): LedgerMetadata {
    const found = this.stored.get(ledgerId)
    if (!found) throw new Error(`no ledger ${ledgerId}`)
    return found.value
  }

  /** Watches laid and not called yet. */
  watchCount(ledgerId: bigint): number {
    return this.#watches.get(ledgerId)?.length ?? 0
  }

  /** A change by somebody else. */
  change(ledgerId: bigint, transform: (metadata: LedgerMetadata) => LedgerMetadata): void {
    const { version } = this.stored.get(ledgerId) ?? { version: 0 }
    this.#put(ledgerId, { value: transform(this.metadata(ledgerId)), version: version + 1 })
  }

  #reach(): void {
    if (this.unreachable <= 0) return
    this.unreachable--
    throw new QuireError('QUIRE_METADATA_UNAVAILABLE', 'not reachable')
  }

  #put(ledgerId: bigint, versioned: Versioned<LedgerMetadata>): Versioned<LedgerMetadata> {
    this.stored.set(ledgerId, versioned)
    this.history.push({ ledgerId, metadata: versioned.value })
    this.#notify(ledgerId)
    return versioned
  }

  #notify(ledgerId: bigint): void {
    const watches = this.#watches.get(ledgerId) ?? []
    this.#watches.delete(ledgerId)
    for (const watch of watches) setImmediate(watch)
  }
}

export class MemoryRegistration implements RegistrationManager {
  readonly #live = new Map<string, BookieEndpoint>()
  readonly #watches: (() => void)[] = []

  async writable(options: { watch?: (() => void) | undefined } = {}): Promise<string[]> {
    if (options.watch) this.#watches.push(options.watch)
    return [...this.#live.keys()].sort()
  }

  async readOnly(): Promise<string[]> {
    return []
  }

  async resolve(bookieId: string): Promise<BookieEndpoint | undefined> {
    return this.#live.get(bookieId)
  }

  async register(endpoint: BookieEndpoint): Promise<void> {
    this.#live.set(endpoint.bookieId, endpoint)
    this.#notify()
  }

  async unregister(bookieId: string): Promise<void> {
    this.#live.delete(bookieId)
    this.#notify()
  }

  #notify(): void {
    for (const watch of this.#watches.splice(0)) setImmediate(watch)
  }
}
