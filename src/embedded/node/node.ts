// One node: metadata (its own tree, or another node's), a bookie, and the port that serves both.
// The order of the start is that of semantics B15: nothing is served before everything that it
// relies on is durable.
import { createBookie, openBookieStore, type Bookie, type BookieStore } from '../../bookie/index.ts'
import { QuireError } from '../../errors.ts'
import { withSecret, type Address, type Io, type Logger, type Timer } from '../../io/index.ts'
import { claimIncarnation } from '../../metadata/incarnations.ts'
import { SharedSecret } from '../../wire/handshake.ts'
import { formatAddress } from '../../io/address.ts'
import { parseAddress } from '../address.ts'
import { Closers } from '../closers.ts'
import type { NodeSettings } from '../options.ts'
import { claimAddress } from './address-claim.ts'
import { countingDevices, type SyncCount } from './counting.ts'
import { newBookieId } from './bookie-id.ts'
import { HandedConnections, type HandedDown, type HandedUp } from './handed-connections.ts'
import { Identity } from './identity.ts'
import type { NodeStats } from './messages.ts'
import { openNodeMetadata, type NodeMetadata } from './metadata.ts'
import { NodeGroup } from './group.ts'
import { Port } from './port.ts'
import { Registration } from './registration.ts'

export interface NodeParts {
  readonly io: Io
  readonly logger: Logger
  readonly settings: NodeSettings
  /** Called once, when the node can go on no more: nothing pending was answered as done. */
  readonly failed: (error: unknown) => void
  /** About connections that the application's thread serves. */
  readonly handed: (event: HandedUp) => void
  /** Gives a start up, also one that waits for metadata elsewhere. Not for a node that serves. */
  readonly signal?: AbortSignal | undefined
}

interface SecretParts extends NodeParts {
  readonly secret: SharedSecret | undefined
}

export interface NodeHandle {
  readonly id: string
  readonly listen: string
  readonly incarnation: number
  stats(): NodeStats
  handed(event: HandedDown): void
  close(): Promise<NodeStats>
}

/** With a secret, every connection that this node makes is authenticated. */
function withItsSecret(parts: NodeParts): SecretParts {
  const { secret: text } = parts.settings
  const secret = text === undefined ? undefined : new SharedSecret(text)
  return { ...parts, io: withSecret(parts.io, secret), secret }
}

export async function startNode(given: NodeParts): Promise<NodeHandle> {
  const parts = withItsSecret(given)
  const closers = new Closers()
  const failure = new Failure(parts, closers)
  try {
    const node = await start(parts, closers, failure)
    if (failure.error !== undefined) throw failure.error
    return node
  } catch (error) {
    failure.poisonIf(error)
    await closers.close().catch((closing: unknown) => {
      parts.logger.warn({ error: closing }, 'a node that could not start did not end in order')
    })
    throw error
  }
}

async function start(parts: SecretParts, closers: Closers, failure: Failure): Promise<NodeHandle> {
  const { io, logger, settings, signal } = parts
  const startedAtMs = io.clock.monotonicMs()
  const failed = (error: Error): void => failure.happened(error)
  await io.files.makeDirectory(settings.dir)
  const lock = await io.files.lock(settings.dir)
  closers.add(() => lock.release())

  const port = new Port(parts)
  const group = await openGroup(parts, { failed, port, closers })
  const metadata = await openNodeMetadata({ io, logger, settings, failed, group, signal })
  closers.add(() => metadata.close())

  const syncs: SyncCount = { count: 0 }
  const bookie = createBookie({
    io,
    logger: logger.child({ part: 'bookie' }),
    failed,
    limits: { indexBytes: settings.indexBytesMax },
    secret: parts.secret,
  })
  const store = await openStore({ parts, metadata, bookie, syncs, bookieId: group?.bookieId })
  closers.add(() => store.close())
  bookie.start(store.journal)
  closers.add(() => bookie.close())

  const { bookieId } = store.identity
  await claim(parts, metadata, bookieId)
  serve(port, bookie, metadata)
  const forward = serveHanded(port, parts.handed, closers)
  // A node of a group listens since it asked its peers.
  if (!group) await port.open(closers)
  const { address } = port
  const superseded = failed
  await register({ ...parts, superseded }, { metadata, store, bookie, address }, closers)
  const collection = collectRegularly(parts, bookie, metadata)
  closers.add(async () => collection.cancel())

  const stats = (): NodeStats => {
    const { adds, reads, entries, ledgers } = bookie.stats()
    const uptimeMs = Math.round(io.clock.monotonicMs() - startedAtMs)
    const facts = { uptimeMs, adds, reads, entries, ledgers, fsyncs: syncs.count }
    return { ...facts, ...group?.stats }
  }
  return {
    id: bookieId,
    listen: formatAddress(address),
    incarnation: store.identity.incarnation,
    stats,
    handed: (event) => forward.receive(event),
    async close() {
      await closers.close()
      return stats()
    },
  }
}

/**
 * The first failure ends the node: it is told, and what still runs is closed at once, the
 * registration first, so that nobody counts on this bookie. What follows from it is not told again.
 */
class Failure {
  readonly #parts: NodeParts
  readonly #closers: Closers
  error: Error | undefined

  constructor(parts: NodeParts, closers: Closers) {
    this.#parts = parts
    this.#closers = closers
  }

  happened(error: Error): void {
    if (this.error !== undefined) return
    this.error = error
    const { failed, logger } = this.#parts
    logger.error({ error }, 'the node ends: nothing pending was answered as done')
    this.poisonIf(error)
    failed(error)
    void this.#end()
  }

  /** Before the locks are let go: no other thread of this process is to get them. */
  poisonIf(error: unknown): void {
    if (!QuireError.is(error, 'QUIRE_FSYNC_FAILED')) return
    const { io, settings, logger } = this.#parts
    for (const directory of [settings.dir, settings.journal]) {
      try {
        io.files.poison(directory)
      } catch (error) {
        // It is gone altogether: there is nothing left to open.
        logger.warn({ error, directory }, 'the directory could not be marked after an fsync error')
      }
    }
  }

  async #end(): Promise<void> {
    try {
      await this.#closers.close()
    } catch (error) {
      this.#parts.logger.warn({ error }, 'a node that failed did not end in order')
    }
  }
}

async function openStore(from: {
  parts: NodeParts
  metadata: NodeMetadata
  bookie: Bookie
  syncs: SyncCount
  bookieId: string | undefined
}): Promise<BookieStore> {
  const { io, logger, settings } = from.parts
  const identity = new Identity({
    io,
    directory: settings.dir,
    bookieId: from.bookieId ?? settings.bookieId,
    newId: () => newBookieId(settings, io.random),
    metadata: from.metadata,
  })
  const store = await openBookieStore({
    io: { ...io, journals: countingDevices(io.journals, from.syncs) },
    logger: logger.child({ part: 'journal' }),
    directory: settings.journal,
    ledgerDirectories: settings.ledgers,
    owner: from.bookie.owner,
    checkIdentity: (onDisk) => identity.check(onDisk),
    segmentBytes: settings.segmentBytes,
  })
  try {
    await identity.settle(store.identity, settings)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Where peers replicate the metadata: takes part, as soon as it listens for them. */
async function openGroup(
  parts: NodeParts,
  with_: { failed: (error: Error) => void; port: Port; closers: Closers },
): Promise<NodeGroup | undefined> {
  const { settings } = parts
  const { failed, port, closers } = with_
  if (settings.peers === undefined) return undefined
  const peers = settings.peers.map(parseAddress)
  const group = await NodeGroup.open({ ...parts, dir: settings.dir, peers, failed })
  closers.add(() => group.close())
  port.serve(group.routes)
  await port.open(closers)
  await group.begin(port.address)
  return group
}

async function register(
  parts: NodeParts & { superseded: (error: Error) => void },
  of: { metadata: NodeMetadata; store: BookieStore; bookie: Bookie; address: Address },
  closers: Closers,
): Promise<void> {
  const { metadata, store, bookie, address } = of
  const { root } = metadata.managers
  const registration = new Registration({
    ...parts,
    openSession: () => metadata.openSession(),
    endpoint: { bookieId: store.identity.bookieId, ...address },
    isReadOnly: () => bookie.isReadOnly,
    root,
    claim: () => claimIncarnation(metadata.session, store.identity, { root }),
  })
  closers.add(() => registration.close())
  await registration.start()
}

/** What is for the replicas of this process goes to their thread. */
function serveHanded(
  port: Port,
  post: (event: HandedUp) => void,
  closers: Closers,
): HandedConnections {
  const forward = new HandedConnections(post)
  closers.add(async () => forward.close())
  port.serve({ forward: forward.accept })
  return forward
}

function serve(port: Port, bookie: Bookie, { server }: NodeMetadata): void {
  port.serve({ bookie: bookie.accept.bind(bookie) })
  if (server) port.serve({ metadata: server.accept.bind(server) })
}

async function claim(parts: NodeParts, metadata: NodeMetadata, bookieId: string): Promise<void> {
  const { io, settings, logger, signal } = parts
  const address = parseAddress(settings.listen)
  const { registration } = metadata.managers
  await claimAddress({ registration, timers: io.timers, logger, bookieId, address, signal })
}

/** Looks for deleted ledgers again and again, one round at a time. */
function collectRegularly(parts: NodeParts, bookie: Bookie, metadata: NodeMetadata): Timer {
  const { io, settings, logger } = parts
  const state: { timer: Timer | undefined; cancelled: boolean } = {
    timer: undefined,
    cancelled: false,
  }
  const round = async (): Promise<void> => {
    try {
      const collected = await bookie.collect(metadata.liveLedgers)
      if (collected.refused)
        logger.warn(
          { ...collected },
          'no ledger was collected: the metadata is not that of this bookie',
        )
      else if (collected.deleted > 0)
        logger.info({ ...collected }, 'deleted ledgers were collected')
    } catch (error) {
      // Nothing was deleted without evidence; the next round asks again.
      const isExpected = state.cancelled || (QuireError.is(error) && error.retryable)
      logger[isExpected ? 'debug' : 'warn'](
        { error },
        'collection of deleted ledgers did not finish',
      )
    }
    plan()
  }
  const plan = (): void => {
    if (!state.cancelled)
      state.timer = io.timers.after(settings.collectIntervalMs, () => void round())
  }
  plan()
  return {
    cancel() {
      state.cancelled = true
      state.timer?.cancel()
    },
  }
}
