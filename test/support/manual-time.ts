// A clock and timers that move only when a test says so. Between two timers everything asynchronous
// that is ready runs.

import type { Clock, Timer, Timers } from '../../src/io/time.ts'

interface Due {
  readonly atMs: number
  readonly order: number
  readonly call: () => void
}

export class ManualTime implements Clock, Timers {
  #nowMs = 1_000
  #order = 0
  #due: Due[] = []

  monotonicMs(): number {
    return this.#nowMs
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs
  }

  after(delayMs: number, call: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, call }
    this.#due.push(due)
    return { cancel: () => void (this.#due = this.#due.filter((each) => each !== due)) }
  }

  soon(call: () => void): void {
    setImmediate(call)
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#due.length
  }

  async advance(ms: number): Promise<void> {
    const until = this.#nowMs + ms
    await settle()
    for (let next = this.#next(until); next; next = this.#next(until)) {
      this.#nowMs = Math.max(this.#nowMs, next.atMs)
      this.#due = this.#due.filter((each) => each !== next)
      next.call()
      await settle()
    }
    this.#nowMs = until
  }

  /** Time passes and nothing runs, as when the loop stands still. */
  stall(ms: number): void {
    this.#nowMs += ms
  }

  #next(untilMs: number): Due | undefined {
    const [first] = this.#due
      .filter(({ atMs }) => atMs <= untilMs)
      .sort((a, b) => a.atMs - b.atMs || a.order - b.order)
    return first
  }
}

/**
 * Lets everything that is ready run: a few turns of the loop, for answers that need several steps.
 */
export async function settle(turns = 12): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve))
}
