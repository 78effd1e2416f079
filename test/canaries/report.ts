// What a look for canaries found, for programs and for people.

import Table from 'cli-table3'
import type { Canary, ToCome } from './canary.ts'
import type { Found } from './search.ts'

export interface Line {
  readonly canary: string
  /** Null: the code in which the mistake could be made is to come. */
  readonly caught: boolean | null
  readonly seeds: number
  readonly checker: string | null
}

export function lineOf({ canary, caught, seeds, checker }: Found): Line {
  return { canary, caught, seeds, checker: checker ?? null }
}

export function lineToCome({ id }: ToCome): Line {
  return { canary: id, caught: null, seeds: 0, checker: null }
}

/** In the order of their numbers. */
export function tableOf(
  canaries: readonly Canary[],
  found: readonly Found[],
  toCome: readonly ToCome[],
): string {
  const table = new Table({
    head: ['canary', 'mistake', 'seeds', 'caught by'],
    style: { head: [] },
  })
  const made = canaries.flatMap(({ id, what }) => {
    const one = found.find(({ canary }) => canary === id)
    if (!one) return []
    return [[id, what, String(one.seeds), one.caught ? (one.checker ?? '') : 'not caught']]
  })
  const rest = toCome.map(({ id, what, bringer }) => [id, what, '', `to come with ${bringer}`])
  table.push(...[...made, ...rest].sort(([a = ''], [b = '']) => Number(a) - Number(b)))
  return table.toString()
}
