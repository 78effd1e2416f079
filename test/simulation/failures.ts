// What is done about a run that failed: it is told as a picture, written down so that it can be run
// again, and made smaller.

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import {
  lanes,
  moments,
  shrink,
  writeReplay,
  type Plan,
  type Told,
} from '../../src/simulation/index.ts'
import { patiences, runWhole, type RunOptions, type RunResult } from './run.ts'
import { areas } from './tasks.ts'

/** What of a plan the run takes. */
export function optionsOf({ sizes, words, ...plan }: Plan): RunOptions {
  const { faultMs, clients, everyMs, restMs, nodes, founders } = sizes
  return { ...plan, faultMs, clients, everyMs, restMs, nodes, founders, ...told(words) }
}

function told(words: Plan['words'] = {}): Pick<RunOptions, 'areas' | 'moments' | 'patience'> {
  const areasTold = words['areas'] && areas.filter((area) => words['areas']?.includes(area))
  const momentsTold = words['moments'] && moments.filter((each) => words['moments']?.includes(each))
  const patience = patiences.find((each) => words['patience']?.includes(each))
  return { areas: areasTold, moments: momentsTold, patience }
}

/** Writes the run into a file. */
export function save(plan: Plan, { checker = '', reason = '' }: RunResult, file: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, writeReplay({ ...plan, checker, reason }))
}

const storyMax = 100_000

/** Runs it once more, listening: what befell what the checker named. */
export async function pictureOf(plan: Plan): Promise<string> {
  const story: Told[] = []
  const listen = (told: Told): void => {
    story.push(told)
    // Only the last of it is drawn.
    if (story.length > 2 * storyMax) story.splice(0, storyMax)
  }
  const { result } = await runWhole({ ...optionsOf(plan), listen })
  const { checker, reason = 'nothing was wrong this time' } = result
  const machines = ['a', 'b', 'c', 'd', 'e', 'k1', 'k2', 'k3', 'v1', 'v2', 'v3', 'v4', 'v5']
  return `${lanes(story, { machines, reason })}${checker ?? 'ok'}: ${reason}\n`
}

export interface Smaller {
  readonly plan: Plan
  readonly result: RunResult
  readonly runs: number
}

/** The smallest run with the verdict of the same checker that is found within so many runs. */
export async function smaller(
  plan: Plan,
  parts: { checker: string; faults: number; runsMax: number; told?: (plan: Plan) => void },
): Promise<Smaller> {
  let last: Smaller | undefined
  let runs = 0
  const fails = async (candidate: Plan) => {
    const run = await runWhole(optionsOf(candidate))
    runs += 1
    if (run.result.checker !== parts.checker) return undefined
    last = { plan: candidate, result: run.result, runs }
    parts.told?.(candidate)
    return run.plan.choices
  }
  const { faults, runsMax } = parts
  const small = await shrink(plan, { fails, runsMax, faults, least: { faultMs: 0, clients: 0 } })
  const { result } = last ?? (await runWhole(optionsOf(plan)))
  return { plan: small, result, runs }
}
