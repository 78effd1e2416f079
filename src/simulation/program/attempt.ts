// A command is applied twice to the same state, at two times and with two sources of random
// numbers. What it uses beside its arguments is seen, and what depends on anything else differs.

import { inSurroundings, type Surroundings } from '../../io/real/globals.ts'
import type { Clock } from '../../io/time.ts'
import { isFatal } from '../../snapshot/state.ts'
import { encodeResult } from '../../snapshot/values.ts'
import { randomFrom } from '../node.ts'
import type { SeededRandom } from '../random.ts'
import { difference } from './difference.ts'
import { place, type Applied, type StateOracle } from './oracle.ts'

/** What came of one attempt. */
export interface Attempt<T> {
  readonly value: T | undefined
  /** What it threw, if it did. */
  readonly error: { readonly thrown: unknown } | undefined
  /** What it used of the world, each once. */
  readonly used: ReadonlySet<string>
}

export interface AttemptParts {
  readonly clock: Clock
  readonly random: SeededRandom
}

/** Between the two attempts: a year and a bit, so that every part of a date differs. */
const laterMs = 400 * 86_400_000 + 11_471_123

/** Calls `work` at this moment, or as if it were another. What ends a replica is thrown. */
export function attempt<T>(
  { clock, random }: AttemptParts,
  when: 'now' | 'later',
  work: () => T,
): Attempt<T> {
  const used = new Set<string>()
  const addMs = when === 'now' ? 0 : laterMs
  const surroundings: Surroundings = {
    clock: {
      wallMs: () => clock.wallMs() + addMs,
      monotonicMs: () => clock.monotonicMs() + addMs,
    },
    random: randomFrom(random),
    timers: { after: () => ({ cancel: () => undefined }), soon: () => undefined },
    used: (what) => used.add(what),
  }
  try {
    return { value: inSurroundings(surroundings, work), error: undefined, used }
  } catch (thrown) {
    if (isFatal(thrown)) throw thrown
    return { value: undefined, error: { thrown }, used }
  }
}

/** What an attempt made of the state and what it returned, as text. */
export interface Effect {
  readonly after: string
  readonly result: string | undefined
}

/** As it is kept for the caller; what has no JSON is the command's mistake, as if it had thrown. */
export function resultText(result: unknown): string {
  return encodeResult(result).toString()
}

/** Tells the oracle of an entry and what is wrong with it; `to`: what it was applied to again. */
export function judge(
  oracle: StateOracle,
  entry: Applied,
  again: Effect & { readonly used: ReadonlySet<string>; readonly to: string },
): void {
  oracle.seen(entry)
  const differs = differenceOf(entry, again)
  const used = [...again.used].join(', ')
  if (used !== '') {
    const advice = 'a command uses nothing but its arguments, and context.timeMs for the time'
    const text = `${place(entry)} uses ${used} on ${entry.who}: ${advice}`
    oracle.violated('determinism', differs === undefined ? text : `${text} (${differs})`)
  } else if (differs !== undefined) {
    const text = `does something else when it is applied a second time, to ${again.to}`
    oracle.violated('determinism', `${place(entry)} ${text}: ${differs}`)
  }
  oracle.applied(entry)
}

function differenceOf(entry: Effect, again: Effect): string | undefined {
  const names = ['at first', 'then'] as const
  if (entry.after !== again.after) {
    return `the state has ${difference(entry.after, again.after, names)}`
  }
  if (entry.result === again.result) return undefined
  const [one, other] = [entry, again].map(({ result }) => result ?? 'nothing, it throws,')
  return `it returns ${one} at first, ${other} then`
}
