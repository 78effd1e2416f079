// The part of a node that replicates the metadata with its peers: a member of their group, what it
// tells those who ask who it is, and the serving of clients while it leads.
import { abortedError, QuireError } from '../../errors.ts'
import type { Address, Connection, Io, Logger, ReplicatedTreeStore, Timer } from '../../io/index.ts'
import { membersOf } from '../../metadata/raft/core/configuration.ts'
import type { SoftState } from '../../metadata/raft/core/effects.ts'
import { AddressBook } from '../../metadata/raft/founding/address-book.ts'
import { candidateOf, found } from '../../metadata/raft/founding/found.ts'
import { answer, type Request } from '../../metadata/raft/founding/inquire.ts'
import { bookieOf } from '../../metadata/raft/founding/member-id.ts'
import { foundingToken } from '../../metadata/raft/founding/judge.ts'
import { LeaderServer } from '../../metadata/raft/leader-server.ts'
import { openMember, type Member } from '../../metadata/raft/member.ts'
import { identityIn, rescueIn } from '../../metadata/raft/stored.ts'
import type { Introduction, Reply } from '../../wire/inquiry-codec.ts'
import { readIdentity } from './identity-file.ts'
import type { PortRoutes } from './port-router.ts'
import { answerRequest, noMember } from './requests.ts'

export interface NodeGroupParts {
  readonly io: Io
  readonly logger: Logger
  /** The node's own directory, which is locked. */
  readonly dir: string
  readonly peers: readonly Address[]
  readonly failed: (error: Error) => void
  readonly signal?: AbortSignal | undefined
}

interface Own {
  readonly id: string
  readonly clusterId: string
}

/** How long a leader that is closed waits for another to take over. */
const resignMs = 1_000
/** When a node that hears of no leader says so, and how often again. */
const tellFirstMs = 3_000
const tellEveryMs = 30_000

export class NodeGroup {
  readonly #parts: NodeGroupParts
  readonly #token: string
  readonly #store: ReplicatedTreeStore
  #own: Own
  #member: Member | undefined
  #server: LeaderServer | undefined
  #addresses: AddressBook | undefined
  #last: SoftState | undefined
  readonly #inTouch = Promise.withResolvers<void>()

  private constructor(parts: NodeGroupParts, store: ReplicatedTreeStore, own: Own) {
    this.#parts = parts
    this.#token = foundingToken(parts.peers)
    this.#store = store
    this.#own = own
    // It may fail before anybody waits for it.
    this.#inTouch.promise.catch(() => undefined)
  }

  /**
   * Opens what the disk has of it; nothing is said to anybody yet. QUIRE_BAD_METADATA when this
   * node belonged to a cluster and its metadata is gone.
   */
  static async open(parts: NodeGroupParts): Promise<NodeGroup> {
    const { io, dir } = parts
    await io.files.makeDirectory(`${dir}/metadata`)
    const store = await io.trees.open(`${dir}/metadata/tree.sqlite`)
    try {
      return new NodeGroup(parts, store, await ownIn(parts, store))
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** The id that this node's bookie has, or is to have. */
  get bookieId(): string {
    return bookieOf(this.#own.id)
  }

  get clusterId(): string {
    return this.#own.clusterId
  }

  get stats(): { leader: string | undefined; metadataFsyncs: number } {
    return { leader: this.#last?.leader, metadataFsyncs: this.#member?.driver.syncs ?? 0 }
  }

  get routes(): PortRoutes {
    const accept =
      (part: () => { accept(connection: Connection, first: Buffer): void } | undefined) =>
      (connection: Connection, firstChunk: Buffer): void => {
        const target = part()
        if (target) target.accept(connection, firstChunk)
        else connection.destroy()
      }
    return {
      peers: accept(() => this.#member),
      metadata: accept(() => this.#server),
      inquiry: (connection, firstChunk) => {
        const introduction = (): Introduction => this.#introduction()
        const request = (asked: Request): Promise<Reply> => this.#request(asked)
        answer(connection, firstChunk, { ...this.#parts, ...this.#parts.io, introduction, request })
      },
    }
  }

  /**
   * Takes part, from `address`, where the routes are served already. Resolves once it has heard of
   * a leader: that may take as long as the slowest of its founders. Who was removed hears of none,
   * and so serves nothing under an id that is gone.
   */
  async begin(address: Address): Promise<void> {
    const { io, peers, signal } = this.#parts
    const logger = this.#parts.logger.child({ part: 'metadata' })
    const { network, timers } = io
    const own = { id: this.#own.id, token: this.#token }
    const clusterId = (): string => this.#own.clusterId
    const about = { network, timers, logger, signal }
    const rescued = (by: string): void => this.#fail(rescuedError(by, this.#own))
    this.#addresses = new AddressBook({ ...about, own: address, seeds: peers, clusterId, rescued })
    const addresses = this.#addresses
    const member = await openMember({
      ...io,
      store: this.#store,
      founding: () => found({ ...about, peers, own }),
      addresses,
      logger,
      changed: (softState) => this.#changed(softState),
    })
    void member.failed.then((error) => this.#fail(error))
    this.#own = member.identity
    const addressOf = (id: string): Address | undefined => addresses.of(id)
    this.#server = new LeaderServer({ ...io, member, addressOf, logger })
    this.#member = member
    if (this.#last) this.#server.changed(this.#last)
    await this.#isInTouch()
  }

  async #isInTouch(): Promise<void> {
    const { io, logger, signal } = this.#parts
    const abort = (): void => {
      if (signal) this.#inTouch.reject(abortedError(signal))
    }
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted === true) abort()
    let timer: Timer | undefined
    const tell = (): void => {
      logger.warn({ id: this.#own.id }, `waiting for the cluster: ${this.waitsFor}`)
      timer = io.timers.after(tellEveryMs, tell)
    }
    timer = io.timers.after(tellFirstMs, tell)
    try {
      await this.#inTouch.promise
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', abort)
    }
  }

  /** What it waits for, in words: who is not in touch. */
  get waitsFor(): string {
    const { configuration, leader } = this.#member?.driver.status ?? {}
    if (!configuration) return 'who belongs to the cluster is not known yet'
    if (leader !== undefined) return `${leader} leads, and does not serve yet`
    const { voters } = configuration
    const needed = Math.floor(voters.length / 2) + 1
    return `no leader yet: ${needed} of the ${voters.length} nodes ${voters.join(', ')} must run`
  }

  async close(): Promise<void> {
    await this.#member?.resign(resignMs)
    this.#server?.close()
    this.#addresses?.close()
    if (this.#member) await this.#member.close()
    else await this.#store.close()
  }

  #fail(error: Error): void {
    this.#parts.failed(error)
    this.#inTouch.reject(error)
  }

  #changed(softState: SoftState): void {
    this.#last = softState
    this.#server?.changed(softState)
    if (softState.leader !== undefined) this.#inTouch.resolve()
    if (!softState.retired) return
    this.#fail(
      new QuireError(
        'QUIRE_IDENTITY_MISMATCH',
        `node ${this.#own.id} was removed from its cluster, and its id never comes back: start ` +
          'it with empty directories to join as a new one',
      ),
    )
  }

  async #request(asked: Request): Promise<Reply> {
    const [member, addresses] = [this.#member, this.#addresses]
    return member && addresses
      ? answerRequest({ driver: member.driver, addresses }, asked)
      : noMember
  }

  #introduction(): Introduction {
    const { id, clusterId } = this.#own
    const status = this.#member?.driver.status
    const ids = status ? membersOf(status.configuration) : []
    return {
      id,
      clusterId: this.#member ? clusterId : '',
      token: this.#token,
      founders: this.#member?.founders ?? [],
      members: this.#addresses?.list(ids) ?? [],
      status: JSON.stringify({ ...status, serves: this.#server?.isServing ?? false }),
      formerly: this.#member?.formerly ?? [],
    }
  }
}

function rescuedError(by: string, { id, clusterId }: Own): QuireError {
  return new QuireError(
    'QUIRE_CLUSTER_RESCUED',
    `the cluster ${clusterId} is no more: when most of its nodes were thought to be lost, it ` +
      `was rescued as ${by}, and node ${id} is not part of that. Move its directories aside, ` +
      'start it with empty ones, and let it in with "quire add"',
    { facts: { id, clusterId, by } },
  )
}

async function ownIn({ io, dir, peers }: NodeGroupParts, store: ReplicatedTreeStore): Promise<Own> {
  const identity = await identityIn(store)
  if ((await rescueIn(store))?.done === false) {
    throw new QuireError(
      'QUIRE_BAD_METADATA',
      `the rescue of ${dir} did not come to its end: run "quire rescue --dir ${dir}" again`,
      { facts: { path: dir } },
    )
  }
  if (identity) return identity
  const token = foundingToken(peers)
  const { id } = await candidateOf(store, { token, random: io.random })
  const named = await readIdentity(io.files, dir)
  if (named === undefined) return { id, clusterId: '' }
  throw new QuireError(
    'QUIRE_BAD_METADATA',
    `${dir} is of node ${named.bookieId}, and its metadata is gone: that node cannot come back. ` +
      'Start with empty directories, and let the new one take the place of the old',
    { facts: { path: dir, ...named } },
  )
}
