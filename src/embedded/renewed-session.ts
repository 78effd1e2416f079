// A metadata session that outlives its expiry, for callers that own nothing in it: reads and
// compare-and-sets, no ephemerals. When the session underneath has ended, the next call opens
// another one.
import { QuireError } from '../errors.ts'
import { withSignal } from '../metadata/abort.ts'
import type {
  CallOptions,
  CreateOptions,
  MetadataRead,
  MetadataReadResult,
  MetadataSession,
  MetadataStore,
  MultiOperation,
  MultiResult,
  NodeStat,
  ReadOptions,
  StandingWatch,
  StandingWatchOptions,
  WatchEvent,
} from '../metadata/contract.ts'

export class RenewedSession implements MetadataSession {
  readonly ended: Promise<'closed' | 'expired'>
  readonly #open: () => Promise<MetadataSession>
  readonly #end: (how: 'closed') => void
  #current: Promise<MetadataSession>
  #sessionId = 0n
  #closed = false

  /**
   * Opens the first session before it resolves, so that a cluster that cannot be reached is told at
   * once.
   */
  static async open(
    store: Pick<MetadataStore, 'session'>,
    options: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<RenewedSession> {
    const { timeoutMs, signal } = options
    const first = await store.session({ timeoutMs, signal })
    return new RenewedSession(first, () => store.session({ timeoutMs }))
  }

  private constructor(first: MetadataSession, open: () => Promise<MetadataSession>) {
    const { promise, resolve } = Promise.withResolvers<'closed' | 'expired'>()
    this.ended = promise
    this.#end = resolve
    this.#open = open
    this.#current = Promise.resolve(first)
    this.#watch(first, this.#current)
  }

  /** Of the session of the moment. */
  get sessionId(): bigint {
    return this.#sessionId
  }

  async create(
    path: string,
    data: Uint8Array,
    options?: CreateOptions,
  ): Promise<{ path: string; stat: NodeStat }> {
    return this.#call(options?.signal, (session) => session.create(path, data, options))
  }

  async get(path: string, options?: ReadOptions): Promise<{ data: Uint8Array; stat: NodeStat }> {
    return this.#call(options?.signal, (session) => session.get(path, options))
  }

  async exists(path: string, options?: ReadOptions): Promise<NodeStat | undefined> {
    return this.#call(options?.signal, (session) => session.exists(path, options))
  }

  async children(
    path: string,
    options?: ReadOptions,
  ): Promise<{ names: string[]; stat: NodeStat }> {
    return this.#call(options?.signal, (session) => session.children(path, options))
  }

  async multiRead(
    reads: readonly MetadataRead[],
    options?: CallOptions & { linearizable?: boolean },
  ): Promise<MetadataReadResult[]> {
    return this.#call(options?.signal, (session) => session.multiRead(reads, options))
  }

  /** It ends, with the event `session`, with the session of the moment. */
  async watch(
    path: string,
    call: (event: WatchEvent) => void,
    options?: StandingWatchOptions,
  ): Promise<StandingWatch> {
    return this.#call(options?.signal, (session) => session.watch(path, call, options))
  }

  async set(
    path: string,
    data: Uint8Array,
    version: number,
    options?: CallOptions,
  ): Promise<NodeStat> {
    return this.#call(options?.signal, (session) => session.set(path, data, version, options))
  }

  async delete(path: string, version: number, options?: CallOptions): Promise<void> {
    return this.#call(options?.signal, (session) => session.delete(path, version, options))
  }

  async multi(
    operations: readonly MultiOperation[],
    options?: CallOptions,
  ): Promise<MultiResult[]> {
    return this.#call(options?.signal, (session) => session.multi(operations, options))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // One that could not be opened needs no end.
    const last = await this.#current.catch(() => undefined)
    await last?.close()
    this.#end('closed')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * A call that fails because its session expired was not made (a write whose outcome is not known
   * fails otherwise): it is made on the next session.
   */
  #call<T>(
    signal: AbortSignal | undefined,
    make: (session: MetadataSession) => Promise<T>,
  ): Promise<T> {
    return withSignal(signal, async () => {
      for (;;) {
        const current = this.#current
        const session = await this.#session()
        try {
          return await make(session)
        } catch (error) {
          if (!QuireError.is(error, 'QUIRE_SESSION_EXPIRED')) throw error
          await this.#renew(current)
        }
      }
    })
  }

  async #session(): Promise<MetadataSession> {
    if (this.#closed) throw closedError()
    const current = this.#current
    try {
      return await current
    } catch {
      // The attempt after an expiry failed: the cluster could not be reached then; it may be now.
      return this.#renew(current)
    }
  }

  /** In the place of one that is gone. Many may find that out at once: one session comes of it. */
  async #renew(gone: Promise<MetadataSession>): Promise<MetadataSession> {
    if (this.#closed) throw closedError()
    if (this.#current !== gone) return this.#current
    const next = this.#open()
    this.#current = next
    next.then(
      (session) => this.#watch(session, next),
      () => undefined, // Told to the callers of #session.
    )
    return next
  }

  #watch(session: MetadataSession, current: Promise<MetadataSession>): void {
    this.#sessionId = session.sessionId
    void this.#renewAtExpiry(session, current)
  }

  async #renewAtExpiry(session: MetadataSession, current: Promise<MetadataSession>): Promise<void> {
    const how = await session.ended
    if (how === 'expired' && !this.#closed) this.#renew(current).catch(() => undefined)
  }
}

function closedError(): QuireError {
  return new QuireError('QUIRE_CLOSED', 'the client is closed: open a new one')
}
