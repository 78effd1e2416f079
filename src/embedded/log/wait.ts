// Waiting, with nothing left behind: every wait ends by what it waits for, by its time, or by its
// signal.

import { abortedError } from '../../errors.ts'
import type { Random, Timers } from '../../io/index.ts'

/** Waits between half of `aboutMs` and all of it. Rejects with QUIRE_ABORTED. */
export async function pause(
  parts: { random: Random; timers: Timers },
  aboutMs: number,
  signal?: AbortSignal,
): Promise<void> {
  const delayMs = Math.ceil(aboutMs / 2) + parts.random.below(Math.ceil(aboutMs / 2) + 1)
  const gate = new Gate()
  const timer = parts.timers.after(delayMs, () => gate.open())
  try {
    await gate.wait(signal)
  } finally {
    timer.cancel()
  }
}

/** Throws QUIRE_ABORTED when the signal says so. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortedError(signal)
}

/** Lets all who wait through, each time it opens. */
export class Gate {
  readonly #waiting = new Set<() => void>()

  open(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Resolves at the next `open`; rejects with QUIRE_ABORTED. */
  wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortedError(signal))
        return
      }
      const abort = (): void => {
        this.#waiting.delete(wake)
        if (signal) reject(abortedError(signal))
      }
      const wake = (): void => {
        signal?.removeEventListener('abort', abort)
        resolve()
      }
      this.#waiting.add(wake)
      signal?.addEventListener('abort', abort, { once: true })
    })
  }
}

/** The promise, or QUIRE_ABORTED if the signal comes first; the work goes on, unobserved. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work
  // Raced or not, a failure of it is not unheard of.
  work.catch(() => undefined)
  checkSignal(signal)
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(abortedError(signal))
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
