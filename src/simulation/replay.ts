// A run that failed, as text: what it takes to run it again, for people to read and to change.

import * as v from 'valibot'
import { messageOf, QuireError } from '../errors.ts'
import type { ChoiceLists } from './choices.ts'
import { faultKinds, type FaultKind } from './nemesis.ts'

/** All that makes a run what it is, beside the code. */
export interface Plan {
  readonly seed: number
  /** How much of what: milliseconds of faults, clients. What the sizes are, the run knows. */
  readonly sizes: Readonly<Record<string, number>>
  /** What else the run was told, in words that it knows. Default: by the seed. */
  readonly words?: Readonly<Record<string, readonly string[]>> | undefined
  /** Kinds of faults. Default: by the seed. */
  readonly kinds?: readonly FaultKind[] | undefined
  /** Numbers of the faults that happen, in the order of time from 0. Default: all. */
  readonly faults?: readonly number[] | undefined
  /** Default: all from the seed. */
  readonly choices?: ChoiceLists | undefined
}

export interface Replay extends Plan {
  /** Which checker failed it, and what it said. */
  readonly checker: string
  readonly reason: string
}

const format = 'quire replay 1'
const count = v.pipe(v.number(), v.integer(), v.minValue(0))
const schema = v.object({
  format: v.literal(format),
  checker: v.string(),
  reason: v.string(),
  seed: count,
  sizes: v.record(v.string(), v.pipe(v.number(), v.minValue(0))),
  words: v.optional(v.record(v.string(), v.array(v.string()))),
  kinds: v.optional(v.array(v.picklist(faultKinds))),
  faults: v.optional(v.array(count)),
  choices: v.optional(v.record(v.string(), v.array(count))),
})

/** One list of choices a line. */
export function writeReplay(replay: Replay): string {
  const { choices, ...rest } = replay
  const facts = Object.entries({ format, ...rest })
  const lines = facts
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `  ${JSON.stringify(name)}: ${JSON.stringify(value)}`)
  if (choices !== undefined) lines.push(`  "choices": {\n${choiceLines(choices)}\n  }`)
  return `{\n${lines.join(',\n')}\n}\n`
}

function choiceLines(choices: ChoiceLists): string {
  return [...choices]
    .map(([label, list]) => `    ${JSON.stringify(label)}: [${Array.from(list).join()}]`)
    .join(',\n')
}

/**
 * What `writeReplay` wrote, changed or not: a choice too many, too few or too high makes another
 * run, not an error. `QUIRE_BAD_OPTION` when it is no such text.
 */
export function readReplay(text: string): Replay {
  try {
    const { format: _, choices, ...replay } = v.parse(schema, JSON.parse(text))
    return { ...replay, choices: choices && new Map(Object.entries(choices)) }
  } catch (error) {
    const message = `this is no replay of a run: ${messageOf(error)}`
    throw new QuireError('QUIRE_BAD_OPTION', message, { cause: error })
  }
}
