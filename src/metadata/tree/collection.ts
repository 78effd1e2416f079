// Containers that became empty and TTL nodes whose time is over go, a little later: somebody has to
// look.

import type { Logger } from '../../io/log.ts'
import type { Timer, Timers } from '../../io/time.ts'

export interface CollectionParts {
  readonly timers: Timers
  readonly logger: Logger
  /** Default 60,000. */
  readonly intervalMs: number | undefined
  /** Proposes what is due, if anything is. */
  readonly collect: () => Promise<void>
}

const intervalMsDefault = 60_000

/** Looks again and again until it is stopped, one look at a time. */
export class Collection {
  readonly #parts: CollectionParts
  #timer: Timer | undefined
  #isStopped = false

  constructor(parts: CollectionParts) {
    this.#parts = parts
    this.#schedule()
  }

  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #schedule(): void {
    const { timers, intervalMs = intervalMsDefault } = this.#parts
    this.#timer = timers.after(intervalMs, () => void this.#look())
  }

  async #look(): Promise<void> {
    try {
      await this.#parts.collect()
    } catch (error) {
      this.#parts.logger.warn({ err: error }, 'containers and TTL nodes were not collected')
    }
    if (!this.#isStopped) this.#schedule()
  }
}
