// The store of a node of a group, as those who write to it share it: one write after the other, so
// that one which found the disk full can be made again before any other (the store's contract).
//
// A write that fails otherwise, or does not end in time, ends the node: nobody knows what became of
// it.

import { QuireError } from '../../errors.ts'
import type { Timers } from '../../io/time.ts'

export interface LaneOptions {
  readonly timers: Timers
  /** After which a write counts as hung. */
  readonly timeoutMs: number
  /** Told when the disk becomes full, and when it is not any more. */
  readonly full: (isFull: boolean) => void
}

/** A look at a full disk costs little, and everybody waits for it. */
const fullRetryMs = 250

export class StoreLane {
  readonly #options: LaneOptions
  #last: Promise<void> = Promise.resolve()
  #closed = false

  constructor(options: LaneOptions) {
    this.#options = options
  }

  /** `write` is made again while the disk is full: it must be the very same each time. */
  run(write: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(() => this.#make(write))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** A write that waits for room waits no longer. */
  close(): Promise<void> {
    this.#closed = true
    return this.#last
  }

  async #make(write: () => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#inTime(write())
        if (attempt > 1) this.#options.full(false)
        return
      } catch (error) {
        if (!QuireError.is(error, 'QUIRE_DISK_FULL') || this.#closed) throw error
        if (attempt === 1) this.#options.full(true)
        await new Promise<void>((resolve) => this.#options.timers.after(fullRetryMs, resolve))
      }
    }
  }

  async #inTime(write: Promise<void>): Promise<void> {
    const { timers, timeoutMs } = this.#options
    const { promise, reject } = Promise.withResolvers<never>()
    // It may still be done, by a thread that nobody can stop: nothing of this process may open it.
    const text = `a write of the metadata did not end within ${timeoutMs} ms: check the disk`
    const timer = timers.after(timeoutMs, () => reject(new QuireError('QUIRE_FSYNC_FAILED', text)))
    try {
      await Promise.race([write, promise])
    } finally {
      timer.cancel()
    }
  }
}
