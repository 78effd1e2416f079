// A mistake that the checkers must find (semantics G10): changes of the source that are made when a
// run's modules are loaded. Production code carries nothing of them.

import type { RunOptions } from '../simulation/run.ts'

export type Edit = readonly [from: string, to: string]

export type Runs = Pick<
  RunOptions,
  | 'areas'
  | 'clients'
  | 'everyMs'
  | 'faultMs'
  | 'founders'
  | 'kinds'
  | 'moments'
  | 'nodes'
  | 'patience'
>

export interface Canary {
  readonly id: string
  readonly what: string
  /** By file, below src. Each must match exactly once, or the canary is out of date. */
  readonly edits: Readonly<Record<string, readonly Edit[]>>
  /** What shows it: whole nodes, or a group that replicates the metadata. Default: nodes. */
  readonly world?: 'nodes' | 'group'
  /** Runs that bring it out, of those that seeds give. Default: all. */
  readonly runs?: Runs
  /** The seed that caught it when it was last searched for: where the next look begins. */
  readonly seed?: number
  /** Takes more than 500 seeds: searched for in up to 5,000. */
  readonly isRare?: boolean
}

/** A mistake that today's code has no place for. */
export interface ToCome {
  readonly id: string
  readonly what: string
  readonly bringer: string
}

/**
 * Where nothing is said of it, the metadata is with one node, since most mistakes are of other parts,
 * and faults come at any time.
 */
export const runsOf = ({ runs }: Pick<Canary, 'runs'>): Runs => ({
  founders: 1,
  moments: [],
  ...runs,
})

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
