// Two clocks of a client: the turn, at whose end everything that was collected is sent, and the
// sweep, which notices what was not answered in time. Both run only while somebody has something to
// do.

import type { Clock, Timer, Timers } from '../io/index.ts'

export interface Flushable {
  flush(): void
}

export interface Corked {
  uncork(): void
}

/** Collects what one turn of the event loop sends: one write to the system for each connection. */
export class Turn {
  readonly #timers: Timers
  #waiting: Flushable[] = []
  #running: Flushable[] = []
  readonly #corked: Corked[] = []
  #scheduled = false

  constructor(timers: Timers) {
    this.#timers = timers
  }

  /** Calls `flush` once at the end of the turn. */
  schedule(flushable: Flushable): void {
    this.#waiting.push(flushable)
    this.#wake()
  }

  /** Uncorks at the end of the turn. */
  touch(connection: Corked): void {
    this.#corked.push(connection)
    this.#wake()
  }

  #wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#timers.soon(this.#run)
  }

  readonly #run = (): void => {
    const running = this.#waiting
    this.#waiting = this.#running
    this.#running = running
    for (const flushable of running) flushable.flush()
    running.length = 0
    for (const connection of this.#corked) connection.uncork()
    this.#corked.length = 0
    this.#scheduled = false
    if (this.#waiting.length > 0) this.#wake()
  }
}

export interface Swept {
  /** False when there is nothing to watch any more. */
  sweep(nowMs: number): boolean
}

/**
 * A loop that stood still (a thread that computed, a machine that slept) finds its timer due and
 * its sockets full of answers: those are read before anybody is judged, by the time of before.
 */
export class Sweeper {
  readonly #parts: { clock: Clock; timers: Timers; everyMs: number }
  readonly #watched = new Set<Swept>()
  #timer: Timer | undefined

  constructor(parts: { clock: Clock; timers: Timers; everyMs: number }) {
    this.#parts = parts
  }

  watch(swept: Swept): void {
    this.#watched.add(swept)
    this.#timer ??= this.#parts.timers.after(this.#parts.everyMs, this.#due)
  }

  close(): void {
    this.#watched.clear()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  readonly #due = (): void => {
    const nowMs = this.#parts.clock.monotonicMs()
    this.#parts.timers.soon(() => this.#sweep(nowMs))
  }

  #sweep(nowMs: number): void {
    this.#timer = undefined
    for (const swept of this.#watched) {
      if (!swept.sweep(nowMs)) this.#watched.delete(swept)
    }
    if (this.#watched.size > 0) {
      this.#timer ??= this.#parts.timers.after(this.#parts.everyMs, this.#due)
    }
  }
}
