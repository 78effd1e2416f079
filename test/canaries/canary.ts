// A mistake that the checkers must find (semantics G10): changes of the source that are made when a
// run's modules are loaded. Production code carries nothing of them.

import type { FaultKind } from '../../src/simulation/index.ts'

export type Edit = readonly [from: string, to: string]

export interface Canary {
  readonly id: string
  readonly what: string
  /** By file, below src. Each must match exactly once, or the canary is out of date. */
  readonly edits: Readonly<Record<string, readonly Edit[]>>
  /** Faults that bring it out. Default: all, a part of them in each run. */
  readonly kinds?: readonly FaultKind[]
  /** The first seed that caught it when it was last searched for: where the next look begins. */
  readonly seed?: number
  /** Virtual milliseconds of faults in each run. */
  readonly faultMs?: number
}

/** A mistake that today's code has no place for. */
export interface ToCome {
  readonly id: string
  readonly what: string
  readonly bringer: string
}

/** The source with the mistake. */
export function mutate(source: string, edits: readonly Edit[], name: string): string {
  let mutated = source
  for (const [from, to] of edits) {
    const found = mutated.split(from).length - 1
    if (found !== 1) throw new Error(`canary ${name}: an edit matches ${found} times: ${from}`)
    mutated = mutated.replace(from, () => to)
  }
  return mutated
}
