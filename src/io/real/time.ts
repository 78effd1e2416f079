import type { Clock, Timer, Timers } from '../time.ts'

/** The longest delay that Node's timers take; a longer one is made of several. */
const longestMs = 2 ** 31 - 1

export const clock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
}

export const timers: Timers = {
  after: (delayMs, call) => new RealTimer(delayMs, call),
  soon: (call) => {
    setImmediate(call)
  },
}

/**
 * It keeps the process alive until it rings or is cancelled: a program that waits for a server to
 * come back must not end in the middle.
 */
class RealTimer implements Timer {
  #timeout: NodeJS.Timeout | undefined

  constructor(delayMs: number, call: () => void) {
    this.#arm(delayMs, call)
  }

  cancel(): void {
    clearTimeout(this.#timeout)
    this.#timeout = undefined
  }

  #arm(delayMs: number, call: () => void): void {
    const rest = delayMs - longestMs
    const next = rest > 0 ? () => this.#arm(rest, call) : call
    this.#timeout = setTimeout(next, Math.min(delayMs, longestMs))
  }
}
