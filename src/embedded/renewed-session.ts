// A metadata session that outlives its expiry, for callers that own nothing in it: reads and compare-and-sets, no
// ephemerals. When the session underneath has ended, the next call opens another one.
import { QuireError } from '../errors.ts'
import type {
  CallOptions,
  CreateOptions,
  MetadataSession,
  MetadataStore,
  MultiOperation,
  MultiResult,
  NodeStat,
  ReadOptions,
} from '../metadata/contract.ts'

export class RenewedSession implements MetadataSession {
  readonly ended: Promise<'closed' | 'expired'>
  readonly #open: () => Promise<MetadataSession>
  readonly #end: (how: 'closed') => void
  #current: Promise<MetadataSession>
  #sessionId = 0n
  #closed = false

  /** Opens the first session before it resolves, so that a cluster that cannot be reached is told at once. */
  static async open(
    store: MetadataStore,
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
    this.#watch(first)
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
    return (await this.#session()).create(path, data, options)
  }

  async get(path: string, options?: ReadOptions): Promise<{ data: Uint8Array; stat: NodeStat }> {
    return (await this.#session()).get(path, options)
  }

  async exists(path: string, options?: ReadOptions): Promise<NodeStat | undefined> {
    return (await this.#session()).exists(path, options)
  }

  async children(
    path: string,
    options?: ReadOptions,
  ): Promise<{ names: string[]; stat: NodeStat }> {
    return (await this.#session()).children(path, options)
  }

  async set(
    path: string,
    data: Uint8Array,
    version: number,
    options?: CallOptions,
  ): Promise<NodeStat> {
    return (await this.#session()).set(path, data, version, options)
  }

  async delete(path: string, version: number, options?: CallOptions): Promise<void> {
    return (await this.#session()).delete(path, version, options)
  }

  async multi(
    operations: readonly MultiOperation[],
    options?: CallOptions,
  ): Promise<MultiResult[]> {
    return (await this.#session()).multi(operations, options)
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

  async #session(): Promise<MetadataSession> {
    if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the client is closed: open a new one')
    try {
      return await this.#current
    } catch {
      // The attempt after an expiry failed: the cluster could not be reached then; it may be now.
      return this.#renew()
    }
  }

  #renew(): Promise<MetadataSession> {
    const next = this.#open()
    this.#current = next
    next.then(
      (session) => this.#watch(session),
      () => undefined, // Told to the caller of #session.
    )
    return next
  }

  #watch(session: MetadataSession): void {
    this.#sessionId = session.sessionId
    void this.#renewAtExpiry(session)
  }

  async #renewAtExpiry(session: MetadataSession): Promise<void> {
    const how = await session.ended
    if (how === 'expired' && !this.#closed) this.#renew().catch(() => undefined)
  }
}
