// Calls that a signal may abandon. What was sent is not called back: an aborted write may have been
// made.

import { abortedError } from '../errors.ts'

/**
 * Rejects with QUIRE_ABORTED at once when the signal is or becomes aborted, while `work` goes on
 * unheard.
 */
export async function withSignal<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (!signal) return work()
  if (signal.aborted) throw abortedError(signal)
  const { promise, reject } = Promise.withResolvers<never>()
  const abort = (): void => reject(abortedError(signal))
  signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([work(), promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
