// The tree of one replica: orders what is proposed, commits it in groups, answers reads of what is
// committed, tells watches.
//
// I1. Nothing is answered, shown or told before it is durable: reads see the tree as of the last
//     group that was published, also while the next one is being committed, so a hung disk stops
//     writes and nothing else.
// I2. A watch is laid together with its read: no change between them is missed. It is called before
//     any later read shows the change, and watches are called in the order of the changes.
// I3. When a commit fails or hangs its outcome is unknown: everything pending ends with
//     QUIRE_METADATA_UNAVAILABLE, `failed` resolves, and this tree serves nothing more. Opening the
//     store anew shows what became of it.
// I4. A disk that became full is waited out: reads go on, and the same group is tried again until
//     there is room. One that is full from the start is told (I3).
//
// `#commit` is the whole way of a command into the tree: replication comes in there. Who is silent
// for too long is judged by whoever hears the sessions: `endSession`.

import { QuireError } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import type { TreeBatch, TreeStore } from '../../io/tree-store.ts'
import type { CreateMode, MultiOperation, MultiResult, NodeStat } from '../contract.ts'
import { Collection } from './collection.ts'
import { commandBytes } from './command.ts'
import type { SessionEnd, TreeCommand, TreeRequest, TreeResult } from './command.ts'
import { closedError, treeError, unavailable } from './errors.ts'
import { PublishedTree } from './published.ts'
import type { TreeRead, TreeReadResult } from './reads.ts'
import type { TreeSession } from './session-table.ts'
import type { StandingKind, TreeWatch } from './watches.ts'

export interface TreeOptions {
  readonly store: TreeStore
  readonly clock: Clock
  readonly random: Random
  readonly timers: Timers
  readonly logger: Logger
  /** Bytes of commands that wait for their commit; beyond it QUIRE_BACKPRESSURE. Default 16 MiB. */
  readonly queueBytesMax?: number
  /** After which a commit counts as hung. Default 30,000. */
  readonly commitTimeoutMs?: number
  /** How often containers and TTL nodes are looked at. Default 60,000. */
  readonly collectIntervalMs?: number | undefined
}

/** One write, as a session asks for it. */
export type TreeWrite =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: Uint8Array
      readonly mode: CreateMode
      readonly ttlMs: number
    }
  | {
      readonly type: 'set'
      readonly path: string
      readonly data: Uint8Array
      readonly version: number
    }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | { readonly type: 'multi'; readonly operations: readonly MultiOperation[] }

export interface TreeReadOptions {
  /** Here each read is: what was acknowledged anywhere was published before. */
  readonly linearizable?: boolean
  readonly watch?: TreeWatch | undefined
}

interface Proposal {
  readonly command: TreeCommand
  readonly bytes: number
  readonly resolve: (result: TreeResult) => void
  readonly reject: (error: Error) => void
}

/** A group: beyond it one commit would block the store's thread for too long. */
const groupMax = { commands: 512, bytes: 4_194_304 } as const

/** A look at a full disk costs little, and everybody waits for it. */
const fullRetryMs = 250

const defaults = {
  queueBytesMax: 16_777_216,
  commitTimeoutMs: 30_000,
} as const

/** Opens the tree that a store holds. The store belongs to the tree from then on. */
export async function openTree(options: TreeOptions): Promise<Tree> {
  const { store, logger } = options
  const threw = (error: unknown) => logger.error({ err: error }, 'what watches the metadata threw')
  return new Tree(options, await PublishedTree.load(store, threw))
}

export class Tree implements AsyncDisposable {
  /**
   * Resolves when the tree can serve nothing more (I3): to the store's own error, such as
   * QUIRE_FSYNC_FAILED, which says what its owner has to do.
   */
  readonly failed: Promise<Error>
  readonly queueBytesMax: number
  readonly #options: TreeOptions
  readonly #published: PublishedTree
  readonly #queue: Proposal[] = []
  readonly #fail: (error: Error) => void
  readonly #local = new Set<bigint>()
  #queuedBytes = 0
  #running: Promise<void> | undefined
  #ended: Error | undefined
  #hasCommitted = false
  readonly #collection: Collection

  constructor(options: TreeOptions, published: PublishedTree) {
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.failed = promise
    this.#fail = resolve
    this.#options = options
    this.queueBytesMax = options.queueBytesMax ?? defaults.queueBytesMax
    this.#published = published
    this.#collection = new Collection({
      ...options,
      intervalMs: options.collectIntervalMs,
      collect: () => this.#collect(),
    })
  }

  /** The last change that is published. */
  get lastZxid(): number {
    return this.#published.zxid
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /**
   * The sessions that are alive, also from before the start, without those that live and end with
   * this process.
   */
  async sessions(): Promise<TreeSession[]> {
    return this.#published.sessions.list().filter(({ sessionId }) => !this.#local.has(sessionId))
  }

  /** Undefined when the session has ended or never was. */
  sessionEnded(sessionId: bigint): Promise<SessionEnd> | undefined {
    return this.#published.sessions.get(sessionId)?.ended
  }

  /** `local`: it lives and ends with this process, so nobody listens for it. */
  async openSession(session: {
    timeoutMs: number
    password: Uint8Array
    local?: boolean
  }): Promise<bigint> {
    const { timeoutMs, password, local = false } = session
    const sessionId = this.#options.random.bytes(8).readBigUInt64BE() >> 1n
    if (sessionId === 0n) return this.openSession(session)
    if (local) this.#local.add(sessionId)
    const timeMs = this.#now()
    const opening = { type: 'open-session', sessionId, timeoutMs, password, timeMs } as const
    const result = await this.propose(opening)
    if (!result.ok) throw treeError(result)
    return sessionId
  }

  /** Removes the session with its ephemerals. One that is gone already is no error. */
  async endSession(sessionId: bigint, reason: SessionEnd): Promise<void> {
    this.#local.delete(sessionId)
    await this.propose({ type: 'end-session', sessionId, reason, timeMs: this.#now() })
  }

  /** In the order of the calls. Rejects with the codes of the contract. */
  async write(request: TreeRequest, write: TreeWrite): Promise<MultiResult[]> {
    const operations = write.type === 'multi' ? write.operations : [write]
    const timeMs = this.#now()
    const result = await this.propose({ type: 'write', request, operations, timeMs })
    if (!result.ok) throw treeError(result, write.type === 'multi')
    return [...result.results]
  }

  /**
   * Puts a command into the order of all changes; resolves when it is durable. A result that is not
   * `ok` changed nothing. Rejects with QUIRE_BACKPRESSURE (nothing was done), QUIRE_CLOSED,
   * QUIRE_METADATA_UNAVAILABLE (outcome unknown).
   */
  propose(command: TreeCommand): Promise<TreeResult> {
    if (this.#ended) return Promise.reject(this.#ended)
    const bytes = commandBytes(command)
    if (this.#queuedBytes > 0 && this.#queuedBytes + bytes > this.queueBytesMax) {
      const text = `${this.#queuedBytes} bytes of metadata changes wait for the disk: try again`
      return Promise.reject(new QuireError('QUIRE_BACKPRESSURE', text))
    }
    const { promise, resolve, reject } = Promise.withResolvers<TreeResult>()
    this.#queue.push({ command, bytes, resolve, reject })
    this.#queuedBytes += bytes
    this.#running ??= this.#run()
    return promise
  }

  async get(
    path: string,
    options: TreeReadOptions = {},
  ): Promise<{ data: Uint8Array; stat: NodeStat }> {
    const result = await this.#readOne({ type: 'get', path, watch: options.watch })
    if (result?.type !== 'get') throw readError(result, path)
    return { data: result.data, stat: result.stat }
  }

  async exists(path: string, options: TreeReadOptions = {}): Promise<NodeStat | undefined> {
    const result = await this.#readOne({ type: 'exists', path, watch: options.watch })
    if (result?.type !== 'exists') throw readError(result, path)
    return result.stat
  }

  async children(
    path: string,
    options: TreeReadOptions = {},
  ): Promise<{ names: string[]; stat: NodeStat }> {
    const result = await this.#readOne({ type: 'children', path, watch: options.watch })
    if (result?.type !== 'children') throw readError(result, path)
    return { names: result.names, stat: result.stat }
  }

  /** Several reads of the same state. What is not there is a result of its own. */
  async multiRead(reads: readonly TreeRead[]): Promise<TreeReadResult[]> {
    if (this.#ended) throw this.#ended
    return this.#published.reads.run(reads)
  }

  /** Resolves when a read shows everything that was acknowledged before the call. */
  async sync(): Promise<void> {
    if (this.#ended) throw this.#ended
  }

  /** Lays a watch that is called for every change from now on. Throws QUIRE_BAD_PATH. */
  stand(kind: StandingKind, path: string, watch: TreeWatch): void {
    if (this.#ended) throw this.#ended
    this.#published.stand(kind, path, watch)
  }

  /** Takes a watch back that was not called yet, or a standing one. */
  unwatch(watch: TreeWatch): void {
    this.#published.watches.remove(watch)
  }

  /** Commits what waits, and closes the store. Watches end with `session`. */
  async close(): Promise<void> {
    if (this.#ended) {
      await this.#running
      return
    }
    this.#ended = closedError()
    this.#collection.stop()
    await this.#running
    if (this.#isFailed()) return
    this.#published.watches.end()
    await this.#options.store.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #now(): number {
    return Math.floor(this.#options.clock.wallMs())
  }

  async #readOne(read: TreeRead): Promise<TreeReadResult | undefined> {
    return (await this.multiRead([read]))[0]
  }

  async #run(): Promise<void> {
    while (this.#queue.length > 0 && !this.#isFailed()) {
      const group = this.#takeGroup()
      try {
        await this.#commit(group)
      } catch (error) {
        this.#failWith(error, group)
      }
    }
    this.#running = undefined
  }

  #isFailed(): boolean {
    return QuireError.is(this.#ended, 'QUIRE_METADATA_UNAVAILABLE')
  }

  #takeGroup(): Proposal[] {
    let bytes = 0
    let count = 0
    for (const proposal of this.#queue) {
      if (count === groupMax.commands || (count > 0 && bytes + proposal.bytes > groupMax.bytes)) {
        break
      }
      bytes += proposal.bytes
      count++
    }
    return this.#queue.splice(0, count)
  }

  /** Applies a group in order, makes it durable, and publishes it. */
  async #commit(group: readonly Proposal[]): Promise<void> {
    const commands = group.map(({ command }) => command)
    const results = await this.#published.apply(commands, async (changes) => {
      if (changes) await this.#makeDurable(changes)
    })
    for (const [index, { bytes, resolve, reject }] of group.entries()) {
      this.#queuedBytes -= bytes
      const result = results[index]
      if (result) resolve(result)
      else reject(unavailable(undefined))
    }
  }

  /** I4. */
  async #makeDurable(changes: TreeBatch): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#inTime(this.#options.store.commit(changes))
        this.#hasCommitted = true
        return
      } catch (error) {
        const isFull = QuireError.is(error, 'QUIRE_DISK_FULL')
        if (!isFull || !this.#hasCommitted || this.#ended) throw error
        if (attempt === 1) {
          this.#options.logger.warn({ err: error }, 'changes of the metadata wait for room')
        }
        await new Promise<void>((resolve) => this.#options.timers.after(fullRetryMs, resolve))
      }
    }
  }

  async #inTime(commit: Promise<void>): Promise<void> {
    const { timers, commitTimeoutMs = defaults.commitTimeoutMs } = this.#options
    const { promise, reject } = Promise.withResolvers<never>()
    // It may still be done, by a thread that nobody can stop: nothing of this process may open it.
    const hung = new QuireError(
      'QUIRE_FSYNC_FAILED',
      `a commit of the metadata did not end within ${commitTimeoutMs} ms: check the disk`,
    )
    const timer = timers.after(commitTimeoutMs, () => reject(hung))
    try {
      await Promise.race([commit, promise])
    } finally {
      timer.cancel()
    }
  }

  #failWith(cause: unknown, group: readonly Proposal[]): void {
    const error = unavailable(cause)
    this.#ended = error
    this.#collection.stop()
    this.#options.logger.error({ err: cause }, 'the metadata tree failed: its store is given up')
    const pending = [...group, ...this.#queue.splice(0)]
    this.#queuedBytes = 0
    for (const { reject } of pending) reject(error)
    this.#published.watches.end()
    this.#fail(QuireError.is(cause) ? cause : error)
    // A store that failed may hang at its close too: nobody waits for it.
    this.#options.store.close().catch((closing: unknown) => {
      this.#options.logger.warn({ err: closing }, 'the failed store of the metadata did not close')
    })
  }

  async #collect(): Promise<void> {
    const paths = await this.#options.store.expirable()
    if (paths.length > 0) await this.propose({ type: 'collect', paths, timeMs: this.#now() })
  }
}

function readError(result: TreeReadResult | undefined, path: string): QuireError {
  const code = result?.type === 'none' ? result.code : 'QUIRE_NO_NODE'
  return treeError({ code, path, index: 0 })
}
