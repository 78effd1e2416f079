// Sessions that somebody keeps alive over connections, whatever is spoken on them.

import { QuireError, abortedError } from '../errors.ts'

/** What keeps one session alive. */
export interface SessionKeeper {
  /** Resolves with the first connection. */
  readonly ready: Promise<void>
  readonly ended: Promise<unknown>
  close(): Promise<unknown>
}

export class Supervised<K extends SessionKeeper> {
  readonly #open = new Set<K>()
  #closed = false

  /** Begins a session. QUIRE_CLOSED, QUIRE_ABORTED, and what a first connection fails with. */
  async begin(make: () => K, signal: AbortSignal | undefined): Promise<K> {
    if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the metadata store is closed')
    if (signal?.aborted) throw abortedError(signal)
    const keeper = make()
    this.#open.add(keeper)
    void keeper.ended.then(() => this.#open.delete(keeper))
    const onAbort = (): void => void keeper.close()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await keeper.ready
      return keeper
    } catch (error) {
      throw signal?.aborted ? abortedError(signal) : error
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Ends all of them. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#open].map((keeper) => keeper.close()))
  }
}
