// A session on a tree of this very thread. It lives until it is closed or the tree ends: nobody
// waits for signs of life.
//
// Reads wait for the session's own writes that were made before them: a session sees its own order.

import { QuireError } from '../errors.ts'
import { withSignal } from './abort.ts'
import type {
  CallOptions,
  CreateOptions,
  MetadataRead,
  MetadataReadResult,
  MetadataSession,
  MultiOperation,
  MultiResult,
  NodeStat,
  ReadOptions,
  StandingWatch,
  StandingWatchOptions,
  WatchEvent,
} from './contract.ts'
import type { SessionEnd } from './tree/command.ts'
import { treeError } from './tree/errors.ts'
import type { Tree, TreeReadOptions, TreeWrite } from './tree/tree.ts'
import type { TreeWatch } from './tree/watches.ts'

/** What a session asks of its tree: `Tree` is one. */
export type SessionTree = Pick<
  Tree,
  | 'sessionEnded'
  | 'failed'
  | 'endSession'
  | 'write'
  | 'get'
  | 'exists'
  | 'children'
  | 'multiRead'
  | 'stand'
  | 'unwatch'
>

export class TreeMetadataSession implements MetadataSession {
  readonly sessionId: bigint
  readonly ended: Promise<SessionEnd>
  readonly #tree: SessionTree
  readonly #end: (reason: SessionEnd) => void
  readonly #watches = new Map<TreeWatch, string>()
  #lastWrite: Promise<unknown> = Promise.resolve()
  #reason: SessionEnd | undefined
  #closing: Promise<void> | undefined

  constructor(tree: SessionTree, sessionId: bigint) {
    const { promise, resolve } = Promise.withResolvers<SessionEnd>()
    this.sessionId = sessionId
    this.ended = promise
    this.#tree = tree
    this.#end = resolve
    void tree.sessionEnded(sessionId)?.then((reason) => this.#ended(reason))
    void tree.failed.then(() => this.#ended('expired'))
  }

  async create(
    path: string,
    data: Uint8Array,
    options: CreateOptions = {},
  ): Promise<{ path: string; stat: NodeStat }> {
    const { mode = 'persistent', ttlMs = 0, signal } = options
    const write = { type: 'create', path, data: copyOf(data), mode, ttlMs } as const
    const [result] = await this.#write(write, signal)
    if (result?.type !== 'create') throw wrongResult(path)
    return { path: result.path, stat: result.stat }
  }

  async get(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ data: Uint8Array; stat: NodeStat }> {
    return this.#read(path, options, (read) => this.#tree.get(path, read))
  }

  async exists(path: string, options: ReadOptions = {}): Promise<NodeStat | undefined> {
    return this.#read(path, options, (read) => this.#tree.exists(path, read))
  }

  async children(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ names: string[]; stat: NodeStat }> {
    return this.#read(path, options, (read) => this.#tree.children(path, read))
  }

  async multiRead(
    reads: readonly MetadataRead[],
    options: CallOptions = {},
  ): Promise<MetadataReadResult[]> {
    const results = await this.#afterWrites(options.signal, () => this.#tree.multiRead(reads))
    return results.map((result, index) => {
      if (result.type === 'get' || result.type === 'children') return result
      if (result.type !== 'none') throw wrongResult(reads[index]?.path ?? '/')
      const { code } = result
      return { type: 'error', error: treeError({ code, path: reads[index]?.path ?? '/', index }) }
    })
  }

  async watch(
    path: string,
    call: (event: WatchEvent) => void,
    options: StandingWatchOptions = {},
  ): Promise<StandingWatch> {
    const watch: TreeWatch = (event) => {
      if (this.#watches.has(watch)) call(event)
    }
    await this.#afterWrites(options.signal, async () => {
      this.#tree.stand(options.recursive === true ? 'tree' : 'node', path, watch)
      this.#watches.set(watch, path)
    })
    return {
      cancel: async () => {
        this.#watches.delete(watch)
        this.#tree.unwatch(watch)
      },
    }
  }

  async set(
    path: string,
    data: Uint8Array,
    version: number,
    options: CallOptions = {},
  ): Promise<NodeStat> {
    const write = { type: 'set', path, data: copyOf(data), version } as const
    const [result] = await this.#write(write, options.signal)
    if (result?.type !== 'set') throw wrongResult(path)
    return result.stat
  }

  async delete(path: string, version: number, options: CallOptions = {}): Promise<void> {
    await this.#write({ type: 'delete', path, version }, options.signal)
  }

  async multi(
    operations: readonly MultiOperation[],
    options: CallOptions = {},
  ): Promise<MultiResult[]> {
    const copies = operations.map((each) =>
      'data' in each ? { ...each, data: copyOf(each.data) } : each,
    )
    return this.#write({ type: 'multi', operations: copies }, options.signal)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    try {
      if (!this.#reason) await this.#tree.endSession(this.sessionId, 'closed')
    } catch (error) {
      // A tree that was closed has no sessions to end; one that failed ends them when it is opened
      // again.
      if (!QuireError.is(error, 'QUIRE_CLOSED')) throw error
    } finally {
      this.#ended('closed')
    }
  }

  #write(write: TreeWrite, signal: AbortSignal | undefined): Promise<MultiResult[]> {
    return withSignal(signal, () => {
      this.#check()
      const written = this.#tree.write({ sessionId: this.sessionId }, write)
      this.#lastWrite = written.then(ignore, ignore)
      return written
    })
  }

  #read<T>(
    path: string,
    options: ReadOptions,
    read: (options: TreeReadOptions) => Promise<T>,
  ): Promise<T> {
    return this.#afterWrites(options.signal, async () => {
      const watch = options.watch && this.#watch(path, options.watch)
      try {
        return await read({ watch })
      } catch (error) {
        if (watch) this.#watches.delete(watch)
        throw error
      }
    })
  }

  #afterWrites<T>(signal: AbortSignal | undefined, read: () => Promise<T>): Promise<T> {
    return withSignal(signal, async () => {
      this.#check()
      await this.#lastWrite
      this.#check()
      return read()
    })
  }

  #watch(path: string, call: (event: WatchEvent) => void): TreeWatch {
    const watch: TreeWatch = (event) => {
      if (this.#watches.delete(watch)) call(event)
    }
    this.#watches.set(watch, path)
    return watch
  }

  #check(): void {
    if (!this.#reason && !this.#closing) return
    if (this.#reason === 'expired') {
      throw new QuireError(
        'QUIRE_SESSION_EXPIRED',
        'the metadata session has expired: open another',
      )
    }
    throw new QuireError('QUIRE_CLOSED', 'the metadata session was closed')
  }

  #ended(reason: SessionEnd): void {
    if (this.#reason) return
    this.#reason = reason
    for (const [watch, path] of this.#watches) {
      this.#tree.unwatch(watch)
      watch({ type: 'session', path })
      this.#watches.delete(watch)
    }
    this.#end(reason)
  }
}

// A caller may change its buffer once the call was made.
const copyOf = (data: Uint8Array): Uint8Array => Buffer.from(data)

const ignore = (): void => {}

function wrongResult(path: string): QuireError {
  return new QuireError('QUIRE_INVARIANT', `the tree answered another question about ${path}`)
}
