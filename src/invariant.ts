import { QuireError } from './errors.ts'

/**
 * A fact that the program itself guarantees. Always on, also in production: a broken invariant ends
 * the part that broke it, because going on would risk data. Never caught to continue.
 */
export function invariant(
  condition: boolean,
  message: string,
  facts?: Record<string, unknown>,
): asserts condition {
  if (!condition) throw new QuireError('QUIRE_INVARIANT', `broken invariant: ${message}`, { facts })
}
