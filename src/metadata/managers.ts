// What ledger clients and bookies ask of the metadata, in BookKeeper's paths and bytes. Written
// once, on MetadataSession.

import type { CallOptions } from './contract.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'

export interface Versioned<T> {
  readonly value: T
  readonly version: number
}

export interface LedgerManager {
  /**
   * Writes new metadata. QUIRE_NODE_EXISTS when the id is taken by another creator (its own, by
   * cToken, is success).
   */
  create(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    options?: CallOptions,
  ): Promise<Versioned<LedgerMetadata>>
  /** QUIRE_LEDGER_MISSING when there is none. Always linearizable. */
  read(
    ledgerId: bigint,
    options?: CallOptions & { watch?: (() => void) | undefined },
  ): Promise<Versioned<LedgerMetadata>>
  /** CAS. QUIRE_BAD_VERSION on conflict, QUIRE_LEDGER_MISSING when deleted. */
  write(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    version: number,
    options?: CallOptions,
  ): Promise<Versioned<LedgerMetadata>>
  /** Unconditional; absent counts as success. */
  delete(ledgerId: bigint, options?: CallOptions): Promise<void>
  list(options?: CallOptions): AsyncIterable<bigint>
  /** A new id, never given before. */
  nextId(options?: CallOptions): Promise<bigint>
}

export interface BookieEndpoint {
  readonly bookieId: string
  readonly host: string
  readonly port: number
}

export interface RegistrationManager {
  /** The live bookies, sorted by id. `watch` is called once at the next change of the set. */
  writable(options?: CallOptions & { watch?: (() => void) | undefined }): Promise<string[]>
  readOnly(options?: CallOptions & { watch?: (() => void) | undefined }): Promise<string[]>
  /** Where a bookie listens; undefined when it is not registered. */
  resolve(bookieId: string, options?: CallOptions): Promise<BookieEndpoint | undefined>
  /** Lays the ephemeral registration node of this session (and waits out an older session's). */
  register(
    endpoint: BookieEndpoint,
    mode: 'writable' | 'read-only',
    options?: CallOptions,
  ): Promise<void>
  unregister(bookieId: string, options?: CallOptions): Promise<void>
}
