// A metadata server over a real tree, its clients and the network between them, all in memory and
// on a manual clock.

import { randomBytes } from 'node:crypto'
import { QuireError } from '../../src/errors.ts'
import type { Logger } from '../../src/io/log.ts'
import type { Address, Connection } from '../../src/io/network.ts'
import type { Random } from '../../src/io/time.ts'
import type { TreeBatch, TreeRow } from '../../src/io/tree-store.ts'
import { connectMetadata, type ConnectMetadataOptions } from '../../src/metadata/client/index.ts'
import type { MetadataSession, MetadataStore } from '../../src/metadata/contract.ts'
import { MemoryTreeStore } from '../../src/metadata/memory/tree-store.ts'
import {
  createMetadataServer,
  type MetadataServer,
  type MetadataServerLimits,
} from '../../src/metadata/server/index.ts'
import type { ServedTree } from '../../src/metadata/server/served-tree.ts'
import { openTree, type Tree } from '../../src/metadata/tree/tree.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import {
  decodeConnectResponse,
  encodeConnectRequest,
  startsMetadataConnection,
} from '../../src/wire/metadata-codec.ts'
import { metadataVersion, type ConnectResponse } from '../../src/wire/metadata-messages.ts'
import { ManualTime, settle } from './manual-time.ts'
import { MemoryNetwork, type MemoryEnd } from './memory-network.ts'

export const address: Address = { host: 'node', port: 3181 }

export const random: Random = {
  bytes: (count) => randomBytes(count),
  below: (below) => randomBytes(4).readUInt32BE() % below,
  uuid: () => randomBytes(16).toString('hex'),
}

export const silent: Logger = {
  child: () => silent,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

/**
 * Answers a turn later, as a store on a thread of its own does; outlives the tree that wrote it, as
 * a disk does.
 */
class LateTreeStore extends MemoryTreeStore {
  override async get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    await nextTurn()
    return super.get(paths)
  }

  /** Listings wait for it: a disk that is slow at one thing. */
  listing: Promise<void> = Promise.resolve()

  override async children(path: string): Promise<string[]> {
    await nextTurn()
    await this.listing
    return super.children(path)
  }

  override async commit(batch: TreeBatch): Promise<void> {
    await nextTurn()
    await super.commit(batch)
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export type StoreChanges = Partial<ConnectMetadataOptions>

export class Bench {
  readonly time: ManualTime = new ManualTime()
  readonly network: MemoryNetwork = new MemoryNetwork()
  readonly instanceId = 'cluster-1'
  readonly disk: LateTreeStore = new LateTreeStore()
  /** Watches that the server took back. */
  takenBack = 0
  readonly #stores: MetadataStore[] = []
  readonly #ends = new Map<bigint, Set<MemoryEnd>>()
  readonly #limits: Partial<MetadataServerLimits>
  #server: MetadataServer | undefined
  #tree: Tree | undefined

  constructor(limits: Partial<MetadataServerLimits>) {
    this.#limits = limits
  }

  get server(): MetadataServer {
    if (!this.#server) throw new Error('the server is not open')
    return this.#server
  }

  async open(): Promise<void> {
    const { time, instanceId } = this
    const parts = { clock: time, timers: time, random, logger: silent }
    this.#tree = await openTree({ store: this.disk, collectIntervalMs: 1e9, ...parts })
    const limits = this.#limits
    const tree = this.#counted(this.#tree)
    this.#server = await createMetadataServer({ tree, instanceId, limits, ...parts })
    await this.network.listen(address, (connection) => this.#route(connection))
  }

  #counted(tree: Tree): ServedTree {
    return {
      get lastZxid() {
        return tree.lastZxid
      },
      sessions: () => tree.sessions(),
      openSession: (session) => tree.openSession(session),
      endSession: (sessionId, reason) => tree.endSession(sessionId, reason),
      write: (request, write) => tree.write(request, write),
      get: (path, options) => tree.get(path, options),
      exists: (path, options) => tree.exists(path, options),
      children: (path, options) => tree.children(path, options),
      multiRead: (reads) => tree.multiRead(reads),
      stand: (kind, path, watch) => tree.stand(kind, path, watch),
      sync: () => tree.sync(),
      unwatch: (watch) => {
        this.takenBack++
        tree.unwatch(watch)
      },
    }
  }

  async restart(): Promise<void> {
    await this.server.close()
    await this.#tree?.close()
    await this.open()
  }

  store(changes: StoreChanges = {}): MetadataStore {
    const { time, network } = this
    const parts = { clock: time, timers: time, random, logger: silent }
    const store = connectMetadata({ network, addresses: [address], ...parts, ...changes })
    this.#stores.push(store)
    return store
  }

  async closeStores(): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()))
  }

  async close(): Promise<void> {
    await this.closeStores()
    await this.server.close()
    await this.#tree?.close()
  }

  /** The tree that is served. */
  get tree(): Tree {
    if (!this.#tree) throw new Error('the tree is not open')
    return this.#tree
  }

  async expire(sessionId: bigint): Promise<void> {
    await this.restart()
    await this.#tree?.endSession(sessionId, 'expired')
    await this.server.close()
    await this.open()
  }

  /** The server's ends of what is open. */
  serverEnds(): MemoryEnd[] {
    return [...this.network.open].filter(({ side }) => side === 'server')
  }

  connectionsOf({ sessionId }: MetadataSession): number {
    return [...(this.#ends.get(sessionId) ?? [])].filter(({ closed }) => !closed).length
  }

  /** Ends the connection of one session, both ways at once. */
  end(session: MetadataSession): void {
    for (const end of this.#ends.get(session.sessionId) ?? []) {
      end.destroy(new QuireError('QUIRE_CONNECTION_LOST', 'cut by the test'))
    }
  }

  /** The connections that a session has now carry nothing any more, and nobody is told. */
  freeze(session: MetadataSession): void {
    const frozen = new Set(this.#ends.get(session.sessionId))
    const before = this.network.tap
    this.network.tap = (end, bytes) =>
      [...frozen].some((each) => each === end || each.isPeer(end)) ? 'swallow' : before(end, bytes)
  }

  /** As `freeze`, and the session's client reaches nobody any more. */
  cut(session: MetadataSession): void {
    this.freeze(session)
    this.network.unreachable = true
  }

  /** Tries to take a session over from elsewhere. */
  async resume(
    { sessionId }: MetadataSession,
    { password }: { password: Uint8Array },
  ): Promise<ConnectResponse> {
    const connection = await this.network.connect(address, { timeoutMs: 1_000 })
    const reader = new FrameReader()
    const responses: ConnectResponse[] = []
    connection.start({
      data: (chunk) =>
        void reader.push(chunk, (bytes, start, end) =>
          responses.push(decodeConnectResponse(bytes.subarray(start, end))),
        ),
      drain: () => undefined,
      close: () => undefined,
    })
    connection.write(
      encodeConnectRequest({
        version: metadataVersion,
        sessionId,
        password,
        timeoutMs: 10_000,
        lastZxid: 0,
        instanceId: '',
      }),
    )
    await settle()
    const [response] = responses
    if (!response) throw new Error('no answer to the greeting')
    return response
  }

  #route(connection: Connection): void {
    const end = [...this.network.open].find((each) => each === connection)
    connection.start({
      data: (chunk) => {
        if (!startsMetadataConnection(chunk)) connection.destroy()
        else this.server.accept(connection, chunk)
      },
      drain: () => undefined,
      close: () => undefined,
    })
    if (end) this.#note(end)
  }

  /** Learns which session a connection carries from the server's greeting. */
  #note(end: MemoryEnd): void {
    end.onFirst((greeting) => {
      const { sessionId } = decodeConnectResponse(greeting.subarray(4))
      const ends = this.#ends.get(sessionId) ?? new Set()
      this.#ends.set(sessionId, ends.add(end))
    })
  }
}

/** A bench that is closed at the test's end. */
export async function openBench(
  t: { teardown: (end: () => Promise<void>) => void },
  limits: Partial<MetadataServerLimits> = {},
): Promise<Bench> {
  const bench = new Bench(limits)
  await bench.open()
  t.teardown(() => bench.close())
  return bench
}
