// Waiting that always ends: by what is waited for, by its time, or by its signal.

import { abortedError } from '../errors.ts'
import type { Timers } from '../io/index.ts'

export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortedError(signal)
}

/** The promise, or QUIRE_ABORTED if the signal comes first; the work itself goes on. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(abortedError(signal))
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

export async function pause(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const timer = timers.after(delayMs, () => resolve(undefined))
  try {
    await orAborted(promise, signal)
  } finally {
    timer.cancel()
  }
}

/** Many wait; each `open` lets all of them through. */
export class Gate {
  #next = Promise.withResolvers<undefined>()

  open(): void {
    const opened = this.#next
    this.#next = Promise.withResolvers<undefined>()
    opened.resolve(undefined)
  }

  async wait(signal?: AbortSignal): Promise<void> {
    await orAborted(this.#next.promise, signal)
  }
}
