// An honest LedgerClient in memory: fencing, ids in order, a last add confirmed that lags by one
// entry for who opens without recovery (A3), and faults that a test asks for. What is in `stored`
// is what bookies would hold.
import { QuireError, abortedError } from '../../src/errors.ts'
import type {
  CreateLedgerOptions,
  LedgerClient,
  LedgerEntry,
  LedgerReader,
  LedgerWriter,
} from '../../src/replication/api.ts'

interface Ledger {
  readonly id: bigint
  readonly customMetadata: ReadonlyMap<string, Uint8Array>
  readonly entries: Buffer[]
  state: 'open' | 'fenced' | 'closed'
  /** Called at each change: a confirmation, a fence, the end. */
  readonly watchers: Set<() => void>
}

export interface LedgerFaults {
  /**
   * `lose`: stored, the answer is lost. `fail`: not stored, the answer is lost. `hold`: nothing
   * happens until `release`.
   */
  append?: (ledgerId: bigint, entryId: number) => 'ok' | 'lose' | 'fail' | 'hold'
  /** An error here fails the creation. */
  create?: () => Error | undefined
  delete?: (ledgerId: bigint) => Error | undefined
  /** Called before a recovery begins: what an old writer does at that moment. */
  recover?: (ledgerId: bigint) => void
  read?: (ledgerId: bigint, entryId: number) => Error | undefined
  /** True: the ledger has lost a bookie. */
  degraded?: (ledgerId: bigint) => boolean
  /** True: `tail` does not know yet that the ledger is closed, as with metadata that lags. */
  stale?: (ledgerId: bigint) => boolean
}

export class MemoryLedgers implements LedgerClient {
  /** Entries by which a ledger opened beside its writer lags at first. */
  lag = 1
  readonly stored: Map<bigint, Ledger> = new Map()
  readonly recovered: bigint[] = []
  faults: LedgerFaults
  readonly #held: (() => void)[] = []
  #nextId = 1n

  constructor(faults: LedgerFaults = {}) {
    this.faults = faults
  }

  /** Lets everything go on that a fault held. */
  release(): void {
    for (const go of this.#held.splice(0)) go()
  }

  create(options: CreateLedgerOptions = {}): Promise<LedgerWriter> {
    const error = this.faults.create?.()
    if (error) return Promise.reject(error)
    const id = this.#nextId++
    const customMetadata = options.customMetadata ?? new Map()
    const ledger: Ledger = { id, customMetadata, entries: [], state: 'open', watchers: new Set() }
    this.stored.set(id, ledger)
    return Promise.resolve(this.#writer(ledger))
  }

  async recover(ledgerId: bigint): Promise<LedgerReader> {
    this.faults.recover?.(ledgerId)
    const ledger = this.#find(ledgerId)
    this.recovered.push(ledgerId)
    if (ledger.state === 'open') ledger.state = 'fenced'
    await Promise.resolve()
    ledger.state = 'closed'
    tell(ledger)
    return this.#reader(ledger)
  }

  async tail(ledgerId: bigint): Promise<LedgerReader> {
    await Promise.resolve()
    return this.#reader(this.#find(ledgerId))
  }

  delete(ledgerId: bigint): Promise<void> {
    const error = this.faults.delete?.(ledgerId)
    if (error) return Promise.reject(error)
    const ledger = this.stored.get(ledgerId)
    if (ledger) ledger.state = 'closed'
    this.stored.delete(ledgerId)
    return Promise.resolve()
  }

  exists(ledgerId: bigint): Promise<boolean> {
    return Promise.resolve(this.stored.has(ledgerId))
  }

  async *list(): AsyncIterable<bigint> {
    yield* this.stored.keys()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.resolve()
  }

  #find(ledgerId: bigint): Ledger {
    const ledger = this.stored.get(ledgerId)
    if (ledger) return ledger
    throw new QuireError('QUIRE_LEDGER_MISSING', `ledger ${ledgerId} does not exist`)
  }

  #writer(ledger: Ledger): LedgerWriter {
    const { promise: ended, resolve: end } = Promise.withResolvers<Error | undefined>()
    let pendingBytes = 0
    let failed: Error | undefined
    // Acknowledgements come in order.
    let order: Promise<unknown> = Promise.resolve()
    const add = async (payload: Buffer, entryId: number): Promise<number> => {
      const fault = this.faults.append?.(ledger.id, entryId) ?? 'ok'
      if (fault === 'hold') await new Promise<void>((go) => this.#held.push(go))
      else await new Promise<void>((go) => setImmediate(go))
      if (failed) throw failed
      if (ledger.state !== 'open') {
        throw new QuireError('QUIRE_LEDGER_FENCED', `ledger ${ledger.id} is fenced`)
      }
      if (fault === 'ok' || fault === 'lose' || fault === 'hold') ledger.entries.push(payload)
      if (fault === 'lose' || fault === 'fail') {
        throw new QuireError('QUIRE_OUTCOME_UNKNOWN', 'the answer was lost')
      }
      tell(ledger)
      return entryId
    }
    let next = 0
    const degraded = (): boolean => this.faults.degraded?.(ledger.id) ?? false
    return {
      ledgerId: ledger.id,
      get lastAddConfirmed() {
        return ledger.entries.length - 1
      },
      get degraded() {
        return degraded()
      },
      get pendingBytes() {
        return pendingBytes
      },
      ended,
      append(payload) {
        if (failed) return Promise.reject(failed)
        const taken = Buffer.from(payload)
        const entryId = next++
        pendingBytes += taken.length
        const added = order.then(() => add(taken, entryId))
        order = added.catch((error: Error) => {
          failed ??= error
          end(failed)
        })
        return added.finally(() => {
          pendingBytes -= taken.length
        })
      },
      ready: () => Promise.resolve(),
      async close() {
        failed ??= new QuireError('QUIRE_LEDGER_CLOSED', 'closed')
        await Promise.resolve()
        if (ledger.state === 'fenced') {
          throw new QuireError('QUIRE_LEDGER_FENCED', `ledger ${ledger.id} is fenced`)
        }
        ledger.state = 'closed'
        end(undefined)
        tell(ledger)
        return ledger.entries.length - 1
      },
      async [Symbol.asyncDispose]() {
        await this.close()
      },
    }
  }

  #reader(ledger: Ledger): LedgerReader {
    const faults = () => this.faults
    const confirmed = (): number => ledger.entries.length - 1
    // Piggybacked: entry n says that n − 1 is confirmed. Who waits is told more.
    let closed = ledger.state === 'closed' && !this.faults.stale?.(ledger.id)
    let known = closed ? confirmed() : Math.max(-1, confirmed() - this.lag)
    const entries = async function* (
      from: number,
      to: number,
      signal: AbortSignal | undefined,
    ): AsyncGenerator<LedgerEntry> {
      let lengthBytes = 0
      for (let entryId = from; entryId <= to; entryId++) {
        await Promise.resolve()
        if (signal?.aborted) throw abortedError(signal)
        const error = faults().read?.(ledger.id, entryId)
        if (error) throw error
        const payload = ledger.entries[entryId]
        if (!payload) throw new QuireError('QUIRE_ENTRY_MISSING', `no entry ${entryId}`)
        lengthBytes += payload.length
        // A view of a buffer that is used again: who keeps it must copy it.
        const view = Buffer.from(payload)
        yield { entryId, payload: view, lengthBytes }
        view.fill(0xee)
      }
    }
    return {
      ledgerId: ledger.id,
      customMetadata: ledger.customMetadata,
      get closed() {
        return closed
      },
      get lastAddConfirmed() {
        return known
      },
      read: ({ from = 0, to = known, signal } = {}) => entries(from, Math.min(to, known), signal),
      heardConfirmed(entryId) {
        known = Math.max(known, entryId)
        tell(ledger)
      },
      async waitForConfirmed(above, { timeoutMs, signal }) {
        const done = (): boolean => ledger.state === 'closed' || confirmed() > above
        if (!done()) await until(ledger, done, { timeoutMs, signal })
        if (ledger.state === 'closed') closed = true
        known = confirmed()
        return known
      },
      async [Symbol.asyncDispose]() {
        await Promise.resolve()
      },
    }
  }
}

function tell(ledger: Ledger): void {
  for (const watch of ledger.watchers) watch()
}

function until(
  ledger: Ledger,
  done: () => boolean,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal | undefined },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      clearTimeout(timer)
      ledger.watchers.delete(check)
      signal?.removeEventListener('abort', abort)
      settle()
    }
    const check = (): void => {
      if (done()) finish(resolve)
    }
    const abort = (): void => finish(() => signal && reject(abortedError(signal)))
    const timer = setTimeout(() => finish(resolve), timeoutMs)
    ledger.watchers.add(check)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort, { once: true })
  })
}
