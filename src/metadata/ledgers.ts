// Ledgers in the metadata: BookKeeper's paths and bytes, so that Java's clients and bookies see
// ours and we see theirs.
//
// A failed read of a list is an error, never the end of the list: bookies delete what is not listed
// (metadata 3.4).

import { QuireError } from '../errors.ts'
import type { Random } from '../io/time.ts'
import type { LedgerLayout } from '../wire/cluster-records.ts'
import { decodeLedgerMetadata, encodeLedgerMetadata } from '../wire/ledger-metadata-codec.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import { ledgerBuckets, ledgerIdOfNames, ledgerPath } from '../wire/ledger-path.ts'
import type { CallOptions, MetadataSession, NodeStat } from './contract.ts'
import { anyVersion } from './contract.ts'
import { LedgerIds } from './ids.ts'
import type { LedgerManager, Versioned } from './managers.ts'
import { createWithParents, isMissing, removeIfThere } from './nodes.ts'
import { parentOf } from './tree/path.ts'

export interface LedgerManagerOptions {
  readonly session: MetadataSession
  readonly random: Random
  /** Default `/ledgers`. */
  readonly root?: string
  /** As LAYOUT says: `readCluster`. Default `hierarchical`. */
  readonly layout?: LedgerLayout
}

export function createLedgerManager(options: LedgerManagerOptions): LedgerManager {
  return new TreeLedgerManager(options)
}

class TreeLedgerManager implements LedgerManager {
  readonly #session: MetadataSession
  readonly #random: Random
  readonly #root: string
  readonly #layout: LedgerLayout
  readonly #ids: LedgerIds

  constructor({
    session,
    random,
    root = '/ledgers',
    layout = 'hierarchical',
  }: LedgerManagerOptions) {
    this.#session = session
    this.#random = random
    this.#root = root
    this.#layout = layout
    this.#ids = new LedgerIds(session, { root, layout })
  }

  async create(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    options: CallOptions = {},
  ): Promise<Versioned<LedgerMetadata>> {
    const { signal } = options
    const value = metadata.formatVersion === 3 ? this.#withToken(metadata) : metadata
    const path = this.#path(ledgerId)
    try {
      const data = encodeLedgerMetadata(value)
      const { stat } = await createWithParents(this.#session, path, { data, signal })
      return { value, version: stat.version }
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
      if (await this.#isOwn(ledgerId, value, options)) return { value, version: 0 }
      throw new QuireError('QUIRE_NODE_EXISTS', `ledger ${ledgerId} exists already`, {
        cause: error,
        facts: { path, ledgerId },
      })
    }
  }

  async read(
    ledgerId: bigint,
    options: CallOptions & { watch?: (() => void) | undefined } = {},
  ): Promise<Versioned<LedgerMetadata>> {
    const { signal, watch } = options
    const path = this.#path(ledgerId)
    try {
      const read = { signal, linearizable: true, watch: watch && (() => watch()) }
      const { data, stat } = await this.#session.get(path, read)
      return { value: this.#decode(ledgerId, data), version: stat.version }
    } catch (error) {
      throw this.#missing(error, ledgerId)
    }
  }

  async write(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    version: number,
    options: CallOptions = {},
  ): Promise<Versioned<LedgerMetadata>> {
    // An update forgets the creator's token, as Java's does: it recognises the create only.
    const value = { ...metadata, creatorToken: 0n }
    try {
      const data = encodeLedgerMetadata(value)
      const stat = await this.#session.set(this.#path(ledgerId), data, version, options)
      return { value, version: stat.version }
    } catch (error) {
      throw this.#missing(error, ledgerId)
    }
  }

  async delete(ledgerId: bigint, options: CallOptions = {}): Promise<void> {
    const path = this.#path(ledgerId)
    await removeIfThere(this.#session, path, options)
    if (this.#layout !== 'flat') await this.#removeEmptyAbove(path, options)
  }

  async *list(options: CallOptions = {}): AsyncIterable<bigint> {
    const names = await this.#names(this.#root, options)
    if (this.#layout === 'flat') {
      const ledgers = names.filter((name) => /^L\d{10,19}$/.test(name))
      yield* sorted(ledgers.map((name) => ledgerIdOfNames('flat', [name])))
      return
    }
    const { short, long } = ledgerBuckets(this.#layout)
    if (short) yield* this.#buckets(names, { pattern: /^\d{2}$/, depth: 1, ...options })
    if (long) yield* this.#buckets(names, { pattern: /^\d{3}$/, depth: 3, ...options })
  }

  nextId(options: CallOptions = {}): Promise<bigint> {
    return this.#ids.next(options)
  }

  #path(ledgerId: bigint): string {
    return ledgerPath(this.#root, this.#layout, ledgerId)
  }

  /** A positive number of 63 bits; 0 is that of metadata which was updated. */
  #withToken(metadata: LedgerMetadata): LedgerMetadata {
    if (metadata.creatorToken !== 0n) return metadata
    const token = this.#random.bytes(8).readBigUInt64BE() >> 1n
    // Java draws from [0, 2^63 - 1).
    const creatorToken = token % 9_223_372_036_854_775_806n || 1n
    return { ...metadata, creatorToken }
  }

  /** Whether what is there is of this very create, sent twice. */
  async #isOwn(
    ledgerId: bigint,
    { formatVersion, creatorToken }: LedgerMetadata,
    options: CallOptions,
  ): Promise<boolean> {
    if (formatVersion !== 3) return false
    try {
      const found = await this.read(ledgerId, options)
      return found.version === 0 && found.value.creatorToken === creatorToken
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) return false
      throw error
    }
  }

  #decode(ledgerId: bigint, data: Uint8Array): LedgerMetadata {
    try {
      return decodeLedgerMetadata(data)
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_BAD_METADATA')) throw error
      throw new QuireError(error.code, `the metadata of ledger ${ledgerId}: ${error.message}`, {
        cause: error,
        facts: { ledgerId, path: this.#path(ledgerId) },
      })
    }
  }

  #missing(error: unknown, ledgerId: bigint): unknown {
    if (!isMissing(error)) return error
    return new QuireError('QUIRE_LEDGER_MISSING', `there is no ledger ${ledgerId}`, {
      cause: error,
      facts: { ledgerId },
    })
  }

  /**
   * Buckets that became empty go. The ledger is deleted already: the first that cannot be removed
   * ends it.
   */
  async #removeEmptyAbove(ledger: string, options: CallOptions): Promise<void> {
    try {
      for (let path = parentOf(ledger); path !== this.#root; path = parentOf(path)) {
        const stat: NodeStat | undefined = await this.#session.exists(path, options)
        if (!stat || stat.childCount > 0) return
        await this.#session.delete(path, anyVersion, options)
      }
    } catch (error) {
      if (!(error instanceof QuireError)) throw error
    }
  }

  async *#buckets(
    names: readonly string[],
    options: CallOptions & { pattern: RegExp; depth: number },
  ): AsyncGenerator<bigint> {
    const { pattern, depth, signal } = options
    for (const name of names.filter((each) => pattern.test(each))) {
      yield* this.#below([name], { depth, signal })
    }
  }

  async *#below(
    bucket: readonly string[],
    options: CallOptions & { depth: number },
  ): AsyncGenerator<bigint> {
    const { depth, signal } = options
    const names = await this.#namesIfThere([this.#root, ...bucket].join('/'), { signal })
    for (const name of names) {
      const path = [...bucket, name]
      if (depth > 0) yield* this.#below(path, { depth: depth - 1, signal })
      else yield ledgerIdOfNames(this.#layout, path)
    }
  }

  async #names(path: string, options: CallOptions): Promise<string[]> {
    const { signal } = options
    return (await this.#session.children(path, { signal, linearizable: true })).names
  }

  /** A bucket that is gone has become empty meanwhile. */
  async #namesIfThere(path: string, options: CallOptions): Promise<string[]> {
    try {
      return await this.#names(path, options)
    } catch (error) {
      if (isMissing(error)) return []
      throw error
    }
  }
}

function sorted(ledgerIds: readonly bigint[]): bigint[] {
  return [...ledgerIds].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
}
