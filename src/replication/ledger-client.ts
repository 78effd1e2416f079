// The ledger client: creates, recovers, tails, deletes and lists ledgers on the bookies that are
// registered.

import { QuireError } from '../errors.ts'
import type { Clock, Logger, Network, Random, Timers } from '../io/index.ts'
import type { LedgerManager, RegistrationManager, Versioned } from '../metadata/managers.ts'
import { createDigest, masterKey } from '../wire/digest.ts'
import type { SharedSecret } from '../wire/handshake.ts'
import { ledgerIdHigh, ledgerIdLow } from '../wire/int64.ts'
import type { LedgerMetadata } from '../wire/ledger-metadata.ts'
import type { LedgerIdentity } from './add-pipeline.ts'
import type {
  CreateLedgerOptions,
  LedgerClient,
  LedgerReader,
  LedgerWriter,
  OpenLedgerOptions,
} from './api.ts'
import { BookieDirectory } from './bookie-directory.ts'
import { readConfirmed } from './confirmed.ts'
import { lastFragment } from './core/metadata-update.ts'
import { chooseEnsemble, ledgerSizes } from './core/placement.ts'
import { createQuorum, ensembleSizeMax } from './core/quorum.ts'
import type { QuorumSizes } from './core/quorum.ts'
import { DrivenLedgerReader } from './ledger-reader.ts'
import { recoverLedger } from './ledger-recovery.ts'
import { DrivenLedgerWriter } from './ledger-writer.ts'
import { defaultOptions } from './parts.ts'
import type { ClientParts, KnownBookies, LedgerClientOptions } from './parts.ts'
import { Sweeper, Turn } from './turn.ts'
import { checkSignal, orAborted } from './wait.ts'

export interface LedgerClientParts {
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly ledgers: LedgerManager
  readonly registration: RegistrationManager
  /** Asked at each creation that this decides. Without it a ledger has one copy only on demand. */
  readonly knownBookies?: KnownBookies | undefined
  readonly options?: LedgerClientOptions | undefined
  /** What this client and its bookies prove to one another that they know. Default: nothing. */
  readonly secret?: SharedSecret | undefined
}

/** Ids that are tried before a creation gives up: each is new, so a second one is rare. */
const createTries = 5
/** Where nobody asks for a number. */
const copiesDefault = 3
const sweepMs = { least: 5, most: 250 }
const emptyPassword = new Uint8Array(0)

export function createLedgerClient(given: LedgerClientParts): LedgerClient {
  return new DrivenLedgerClient(given)
}

class DrivenLedgerClient implements LedgerClient {
  readonly #parts: ClientParts
  readonly #writers = new Set<DrivenLedgerWriter>()
  readonly #closing = new AbortController()
  #nextPipeline = 1

  constructor(given: LedgerClientParts) {
    const { network, clock, timers, random, ledgers, registration, knownBookies, secret } = given
    const logger = given.logger.child({ part: 'ledgers' })
    const options = { ...defaultOptions, ...defined(given.options) }
    const shortest = Math.min(options.addTimeoutMs, options.readTimeoutMs, options.speculateAfterMs)
    const everyMs = Math.max(sweepMs.least, Math.min(sweepMs.most, shortest / 4))
    const turn = new Turn(timers)
    const sweeper = new Sweeper({ clock, timers, everyMs })
    const { connectTimeoutMs, frameBytesMax, quarantineMs } = options
    const bookies = new BookieDirectory({
      registration,
      quarantineMs,
      network,
      clock,
      timers,
      turn,
      sweeper,
      logger,
      connectTimeoutMs,
      frameBytesMax,
      authentication: secret && { secret, random, timers },
    })
    const shared = { network, clock, timers, random, logger }
    const closed = this.#closing.signal
    this.#parts = { ...shared, ledgers, bookies, knownBookies, turn, sweeper, options, closed }
  }

  async create(options: CreateLedgerOptions = {}): Promise<LedgerWriter> {
    this.#checkOpen(options.signal)
    const { sizes, ensemble } = await this.#place(options)
    const metadata = this.#newMetadata(options, sizes, ensemble)
    const created = await this.#createMetadata(metadata, options.signal)
    const writer = new DrivenLedgerWriter({
      parts: this.#parts,
      identity: identityOf(created.ledgerId, created.metadata.value),
      metadata: created.metadata,
      txnHigh: this.#pipelineId(),
      wantedCopies: options.writeQuorumSize ?? options.ensembleSize ?? copiesDefault,
      ended: (ended) => void this.#writers.delete(ended),
    })
    this.#writers.add(writer)
    return writer
  }

  async recover(ledgerId: bigint, options: OpenLedgerOptions = {}): Promise<LedgerReader> {
    this.#checkOpen(options.signal)
    const { signal } = options
    const found = await this.#parts.ledgers.read(ledgerId, { signal })
    const identity = this.#identify(ledgerId, found.value, options.password)
    const metadata =
      found.value.state === 'closed' ? found : await this.#recover(identity, found, signal)
    return this.#reader(identity, metadata, metadata.value.lastEntryId)
  }

  async tail(ledgerId: bigint, options: OpenLedgerOptions = {}): Promise<LedgerReader> {
    this.#checkOpen(options.signal)
    const metadata = await this.#parts.ledgers.read(ledgerId, { signal: options.signal })
    const identity = this.#identify(ledgerId, metadata.value, options.password)
    if (metadata.value.state === 'closed') {
      return this.#reader(identity, metadata, metadata.value.lastEntryId)
    }
    const fragment = lastFragment(metadata.value)
    const asked = readConfirmed({
      parts: this.#parts,
      identity,
      quorum: createQuorum(metadata.value),
      ensemble: fragment.ensemble,
    })
    const lac = await orAborted(asked, options.signal)
    // What lies before the last fragment is confirmed, whoever answers.
    return this.#reader(identity, metadata, Math.max(lac ?? -1, fragment.firstEntryId - 1))
  }

  async delete(
    ledgerId: bigint,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    const { signal } = options
    this.#checkOpen(signal)
    try {
      const found = await this.#parts.ledgers.read(ledgerId, { signal })
      // A13: its writer must not go on into nothing.
      if (found.value.state !== 'closed') {
        await this.#recover(identityOf(ledgerId, found.value), found, signal)
      }
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) return
      throw error
    }
    await this.#parts.ledgers.delete(ledgerId, { signal })
  }

  async exists(
    ledgerId: bigint,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<boolean> {
    this.#checkOpen(options.signal)
    try {
      await this.#parts.ledgers.read(ledgerId, { signal: options.signal })
      return true
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) return false
      throw error
    }
  }

  list(options: { signal?: AbortSignal | undefined } = {}): AsyncIterable<bigint> {
    this.#checkOpen(options.signal)
    return this.#parts.ledgers.list({ signal: options.signal })
  }

  /** Writers that are open end without closing their ledgers; whoever needs those recovers them. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort(closedError())
    for (const writer of this.#writers) writer.abandon()
    this.#parts.bookies.close()
    this.#parts.sweeper.close()
  }

  #checkOpen(signal: AbortSignal | undefined): void {
    checkSignal(signal)
    if (this.#closing.signal.aborted) throw closedError()
  }

  #pipelineId(): number {
    const id = this.#nextPipeline
    this.#nextPipeline += 1
    return id
  }

  #reader(
    identity: LedgerIdentity,
    metadata: Versioned<LedgerMetadata>,
    lac: number,
  ): LedgerReader {
    return new DrivenLedgerReader({ parts: this.#parts, identity, metadata, lac })
  }

  async #recover(
    identity: LedgerIdentity,
    metadata: Versioned<LedgerMetadata>,
    signal: AbortSignal | undefined,
  ): Promise<Versioned<LedgerMetadata>> {
    const txnHigh = this.#pipelineId()
    return recoverLedger({ parts: this.#parts, identity, metadata, txnHigh, signal })
  }

  #identify(
    ledgerId: bigint,
    metadata: LedgerMetadata,
    password: Uint8Array = emptyPassword,
  ): LedgerIdentity {
    if (metadata.digest !== undefined && Buffer.compare(password, metadata.password) !== 0) {
      throw new QuireError(
        'QUIRE_LEDGER_UNAUTHORIZED',
        `ledger ${ledgerId} was created with another password: open it with that one`,
        { facts: { ledgerId: String(ledgerId) } },
      )
    }
    return identityOf(ledgerId, { ...metadata, password })
  }

  async #place(options: CreateLedgerOptions): Promise<{ sizes: QuorumSizes; ensemble: string[] }> {
    checkSizes(options)
    const { bookies, random } = this.#parts
    const live = await bookies.writable(options.signal)
    const sizes = await this.#sizes(options, live.length)
    const ensemble =
      sizes &&
      chooseEnsemble(live, {
        count: sizes.ensembleSize,
        avoid: bookies.avoided(),
        below: (below) => random.below(below),
      })
    if (sizes !== undefined && ensemble !== undefined) return { sizes, ensemble }
    throw new QuireError(
      'QUIRE_NOT_ENOUGH_BOOKIES',
      `a new ledger needs more bookies than the ${live.length} that can be written to: ` +
        'start more, or ask for fewer copies',
      { facts: { live: live.length } },
    )
  }

  async #sizes(options: CreateLedgerOptions, live: number): Promise<QuorumSizes | undefined> {
    const { ensembleSize, writeQuorumSize, ackQuorumSize, signal } = options
    const asked = ensembleSize ?? writeQuorumSize ?? ackQuorumSize
    const { knownBookies } = this.#parts
    // Not by what lives: of three bookies two may be dead.
    if (live === 1 && asked === undefined && (await knownBookies?.(signal)) === 1) {
      return { ensembleSize: 1, writeQuorumSize: 1, ackQuorumSize: 1 }
    }
    return ledgerSizes(options, live)
  }

  #newMetadata(
    options: CreateLedgerOptions,
    sizes: QuorumSizes,
    ensemble: string[],
  ): LedgerMetadata {
    const { clock } = this.#parts
    return {
      formatVersion: 3,
      state: 'open',
      ensembleSize: sizes.ensembleSize,
      writeQuorumSize: sizes.writeQuorumSize,
      ackQuorumSize: sizes.ackQuorumSize,
      fragments: [{ firstEntryId: 0, ensemble }],
      lastEntryId: -1,
      lengthBytes: 0,
      digest: options.digest ?? 'crc32c',
      password: options.password ?? emptyPassword,
      ctimeMs: Math.floor(clock.wallMs()),
      customMetadata: options.customMetadata ?? new Map(),
      // The manager of ledgers draws it.
      creatorToken: 0n,
    }
  }

  async #createMetadata(
    metadata: LedgerMetadata,
    signal: AbortSignal | undefined,
  ): Promise<{ ledgerId: bigint; metadata: Versioned<LedgerMetadata> }> {
    const { ledgers } = this.#parts
    for (let tries = 1; ; tries += 1) {
      const ledgerId = await ledgers.nextId({ signal })
      try {
        return { ledgerId, metadata: await ledgers.create(ledgerId, metadata, { signal }) }
      } catch (error) {
        if (!QuireError.is(error, 'QUIRE_NODE_EXISTS') || tries === createTries) throw error
      }
    }
  }
}

function closedError(): QuireError {
  return new QuireError('QUIRE_CLOSED', 'the ledger client was closed: open another')
}

function identityOf(ledgerId: bigint, metadata: LedgerMetadata): LedgerIdentity {
  return {
    ledgerId,
    ledgerHigh: ledgerIdHigh(ledgerId),
    ledgerLow: ledgerIdLow(ledgerId),
    masterKey: masterKey(metadata.password),
    digest: createDigest(metadata.digest ?? 'crc32', metadata.password),
  }
}

function checkSizes(options: CreateLedgerOptions): void {
  const { ensembleSize, writeQuorumSize, ackQuorumSize } = options
  for (const size of [ensembleSize, writeQuorumSize, ackQuorumSize]) {
    if (size === undefined) continue
    if (Number.isInteger(size) && size >= 1 && size <= ensembleSizeMax) continue
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      `a quorum size is 1 to ${ensembleSizeMax}, not ${size}`,
    )
  }
  const e = ensembleSize ?? Number.POSITIVE_INFINITY
  const w = writeQuorumSize ?? e
  if (w > e || (ackQuorumSize ?? 1) > w) {
    throw new QuireError(
      'QUIRE_BAD_OPTION',
      'the ensemble is at least the write quorum, and that at least the ack quorum',
      { facts: { ensembleSize, writeQuorumSize, ackQuorumSize } },
    )
  }
}

/** Options that are set: one that is undefined leaves the default. */
function defined(options: LedgerClientOptions | undefined): LedgerClientOptions {
  const set = Object.entries(options ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(set)
}
