// Watches a member from outside: what its store called durable, and what left it for its peers.

import { QuireError } from '../../../src/errors.ts'
import { asBuffer } from '../../../src/wire/bytes.ts'
import type {
  Connection,
  Io,
  LogChange,
  LogEntry,
  Network,
  ReplicatedTreeStore,
  TreeBatch,
  TreeStores,
} from '../../../src/io/index.ts'
import type { Moment } from '../../../src/simulation/index.ts'
import { decodeMessage } from '../../../src/metadata/raft/message-codec.ts'
import { appliedBy, appliedIn, identityIn, identityOf } from '../../../src/metadata/raft/stored.ts'
import { authenticationMagic } from '../../../src/wire/authentication.ts'
import { FrameReader } from '../../../src/wire/frame-reader.ts'
import {
  decodePeerFrame,
  decodePeerHello,
  peerMagic,
  peerSeed,
} from '../../../src/wire/peer-frames.ts'
import type { RaftOracle } from './oracle.ts'

export interface Watch {
  readonly oracle: RaftOracle
  /** Is given each member's store. */
  readonly opened?: (store: ReplicatedTreeStore) => void
  /** May send messages again, whenever it likes; most likely a piece of a snapshot. */
  readonly repeat?: (again: () => void, isSnapshot: boolean) => void
  /** Told of moments that faults may meet, with the ids of those concerned. */
  readonly moment?: (moment: Moment, member: string, peer?: string) => void
}

export function watched(io: Io, watch: Watch): Io {
  const { oracle, opened } = watch
  const trees: TreeStores = {
    async open(path) {
      const store = await io.trees.open(path)
      await tell(store, oracle)
      opened?.(store)
      return new WatchedStore(store, (await identityIn(store))?.id, watch)
    },
  }
  const network: Network = {
    listen: (address, accept) => io.network.listen(address, accept),
    async connect(address, options) {
      const connection = await io.network.connect(address, options)
      return new WatchedConnection(connection, watch)
    },
  }
  return { ...io, trees, network }
}

/** What is on the disk at a start; of a damaged log nothing. */
async function tell(store: ReplicatedTreeStore, oracle: RaftOracle): Promise<void> {
  const facts = await store.logFacts()
  const member = identityOf(facts)?.id
  if (member === undefined) return
  const range = await store.logRange()
  const applied = (await appliedIn(store))?.at.index ?? 0
  const { first, last } = range ?? { first: applied + 1, last: applied }
  const entries: LogEntry[] = []
  for (let index = first; index <= last; index++) {
    try {
      entries.push(...(await store.entries({ from: index, to: index, bytesMax: 1 })))
    } catch (error) {
      // Damaged: what was durable is not known any more, and must not be taken for less.
      if (QuireError.is(error, 'QUIRE_BAD_METADATA')) return
      throw error
    }
  }
  oracle.opened(member, { entries, cut: first - 1, applied, facts })
}

class WatchedStore implements ReplicatedTreeStore {
  readonly #store: ReplicatedTreeStore
  readonly #oracle: RaftOracle
  readonly #moment: Watch['moment']
  /** Undefined before it belongs to a group. */
  #member: string | undefined
  #staged: { index: number; term: number } | undefined

  constructor(store: ReplicatedTreeStore, member: string | undefined, { oracle, moment }: Watch) {
    this.#store = store
    this.#member = member
    this.#oracle = oracle
    this.#moment = moment
  }

  get: ReplicatedTreeStore['get'] = (paths) => this.#store.get(paths)
  children: ReplicatedTreeStore['children'] = (path) => this.#store.children(path)
  ownedBy: ReplicatedTreeStore['ownedBy'] = (session) => this.#store.ownedBy(session)
  expirable: ReplicatedTreeStore['expirable'] = () => this.#store.expirable()
  facts: ReplicatedTreeStore['facts'] = (prefix) => this.#store.facts(prefix)
  logFacts: ReplicatedTreeStore['logFacts'] = () => this.#store.logFacts()
  logRange: ReplicatedTreeStore['logRange'] = () => this.#store.logRange()
  entries: ReplicatedTreeStore['entries'] = (range) => this.#store.entries(range)
  image: ReplicatedTreeStore['image'] = (chunkBytes) => this.#store.image(chunkBytes)
  commit: ReplicatedTreeStore['commit'] = (batch) => this.#store.commit(batch)
  close: ReplicatedTreeStore['close'] = () => this.#store.close()

  async apply(batch: TreeBatch): Promise<void> {
    await this.#store.apply(batch)
    if (this.#member !== undefined) this.#oracle.applied(this.#member, batch)
  }

  async append(change: LogChange): Promise<void> {
    const isChange = change.entries.some(({ kind }) => kind === 1)
    if (isChange && this.#member !== undefined) this.#moment?.('members change', this.#member)
    await this.#store.append(change)
    if (this.#member === undefined) {
      this.#member = identityOf(change.facts)?.id
      if (this.#member !== undefined) this.#oracle.founded(this.#member)
    }
    if (this.#member !== undefined) this.#oracle.appended(this.#member, change)
  }

  async stage(piece: TreeBatch, isFirst: boolean): Promise<void> {
    await this.#store.stage(piece, isFirst)
    this.#staged = appliedBy(piece) ?? this.#staged
  }

  async install(change: LogChange): Promise<void> {
    if (this.#member !== undefined) this.#moment?.('a snapshot is taken in', this.#member)
    await this.#store.install(change)
    if (this.#member === undefined) return
    if (this.#staged) this.#oracle.installed(this.#member, this.#staged)
    this.#oracle.appended(this.#member, { ...change, truncateFrom: undefined })
  }
}

/** Frames that are written to a peer, taken apart. */
class WatchedConnection implements Connection {
  readonly #connection: Connection
  readonly #watch: Watch
  readonly #frames = new FrameReader()
  #closed = false
  /** False once it has said something else. */
  #mayBePeers = true
  #hasSnapshot = false
  #ends: { from: string; to: string; seed: number } | undefined

  constructor(connection: Connection, watch: Watch) {
    this.#connection = connection
    this.#watch = watch
  }

  get remote(): Connection['remote'] {
    return this.#connection.remote
  }
  get queuedBytes(): number {
    return this.#connection.queuedBytes
  }
  start: Connection['start'] = (handler) =>
    this.#connection.start({
      data: (chunk) => handler.data(chunk),
      drain: () => handler.drain(),
      close: (error) => {
        this.#closed = true
        handler.close(error)
      },
    })
  cork: Connection['cork'] = () => this.#connection.cork()
  uncork: Connection['uncork'] = () => this.#connection.uncork()
  pause: Connection['pause'] = () => this.#connection.pause()
  resume: Connection['resume'] = () => this.#connection.resume()
  end: Connection['end'] = () => this.#connection.end()
  destroy(error?: Error): void {
    this.#closed = true
    this.#connection.destroy(error)
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    const isFirst = this.#ends === undefined
    this.#hasSnapshot = false
    if (this.#mayBePeers) {
      this.#frames.push(asBuffer(bytes), (chunk, start, end) => {
        this.#take(chunk.subarray(start, end))
      })
    }
    if (!isFirst) {
      this.#watch.repeat?.(() => {
        if (!this.#closed) this.#connection.write(bytes)
      }, this.#hasSnapshot)
    }
    return this.#connection.write(bytes, flushed)
  }

  #take(payload: Buffer): void {
    if (this.#ends === undefined) {
      const magic = payload.toString('latin1', 0, peerMagic.length)
      this.#mayBePeers = magic === peerMagic || magic === authenticationMagic
      if (magic !== peerMagic) return
      const { from, to } = decodePeerHello(payload)
      this.#ends = { from, to, seed: peerSeed(payload) }
      return
    }
    const message = decodeMessage(decodePeerFrame(payload, this.#ends.seed), this.#ends)
    if (message === undefined) return
    const { from, to } = this.#ends
    this.#watch.oracle.sent(message)
    if (message.type === 'snapshot') {
      this.#hasSnapshot = true
      this.#watch.moment?.('a snapshot is sent', from, to)
    }
    if (message.type !== 'append' || message.entries.length === 0) return
    this.#watch.moment?.('a leader sends entries', from, to)
  }
}
