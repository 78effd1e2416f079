// What a test calls: a run from a seed, many runs, a run again; and a run that failed, made smaller
// and told.

import { requireNodeVersion } from '../../io/real/node-version.ts'
import { clock } from '../../io/real/time.ts'
import type { ChoiceLists } from '../choices.ts'
import { lanes } from '../lanes.ts'
import { readReplay, writeReplay, type Plan, type Replay } from '../replay.ts'
import type { Violation } from '../report.ts'
import type { Told } from '../scheduler.ts'
import { shrink } from '../shrink.ts'
import { SimulationFailure } from './failure.ts'
import type { ProgramOptions } from './options.ts'
import { observer, ProgramRun, type RunFacts } from './run.ts'

/** How failed runs are made smaller, and what is told. */
export interface TellOptions {
  /** Runs that are tried to make one that failed smaller. Default 100; 0: none. */
  readonly shrinkRuns?: number
  /** Real milliseconds after which no more are tried. Default 20,000. */
  readonly shrinkMs?: number
  /** Called with each line of the trace. */
  readonly trace?: (line: string) => void
}

export interface SimulateOptions<Model = undefined> extends ProgramOptions<Model>, TellOptions {
  /** One seed gives one run. Default 1. */
  readonly seed?: number
  /** `replay` of a failure: that run, made smaller as it was, in the place of a seed. */
  readonly replay?: string
}

export interface SimulateManyOptions<Model = undefined> extends ProgramOptions<Model>, TellOptions {
  /** So many, from 1; or from the first to the last. */
  readonly seeds: number | readonly [first: number, last: number]
  /** Called after each run. */
  readonly progress?: (progress: SimulationProgress) => void
}

export interface SimulationProgress {
  readonly seed: number
  readonly done: number
  readonly total: number
  /** Of all runs so far. */
  readonly virtualMs: number
}

/** A run in which everything held. */
export interface SimulationResult extends RunFacts {
  readonly seed: number
}

/**
 * Runs a program on whole nodes in a simulated world, on virtual time, while faults happen to them.
 * Resolves when everything held; else fails with a SimulationFailure, which names the checker and
 * the reason; with QUIRE_BAD_OPTION and QUIRE_NODE_VERSION when there is nothing to run.
 */
export async function simulate<Model = undefined>(
  options: SimulateOptions<Model>,
): Promise<SimulationResult> {
  requireNodeVersion()
  const replay = options.replay === undefined ? undefined : readReplay(options.replay)
  const plan = replay ?? planOf(options, options.seed ?? 1)
  const run = new ProgramRun({ options, plan, trace: options.trace })
  const violation = await run.whole()
  if (violation === undefined) return { seed: plan.seed, ...run.facts }
  throw await failure(options, { run, violation, isReplay: replay !== undefined })
}

/** One run for each seed, until one fails. Resolves to what happened in all. */
export async function simulateMany<Model = undefined>(
  options: SimulateManyOptions<Model>,
): Promise<SimulationResult[]> {
  const { seeds, progress } = options
  const [first, last] = typeof seeds === 'number' ? [1, seeds] : seeds
  const results: SimulationResult[] = []
  let virtualMs = 0
  for (let seed = first; seed <= last; seed += 1) {
    const result = await simulate({ ...options, seed })
    results.push(result)
    virtualMs += result.virtualMs
    progress?.({ seed, done: results.length, total: last - first + 1, virtualMs })
  }
  return results
}

function planOf<Model>(options: ProgramOptions<Model>, seed: number): Plan {
  const { nodes = 3, clients = 2, faultMs } = options
  const sizes = { nodes, clients, ...(faultMs !== undefined && { faultMs }) }
  return { seed, sizes, kinds: options.faults }
}

interface Failed<Model> {
  readonly run: ProgramRun<Model>
  readonly violation: Violation
  readonly isReplay: boolean
}

async function failure<Model>(
  options: SimulateOptions<Model>,
  { run, violation, isReplay }: Failed<Model>,
): Promise<SimulationFailure> {
  const first = { plan: run.plan, violation, facts: run.facts }
  const { smallest, runs } = isReplay
    ? { smallest: first, runs: 0 }
    : await smaller(options, first, run.faults)
  const { checker, reason } = smallest.violation
  const replay: Replay = { ...smallest.plan, checker, reason }
  return new SimulationFailure({
    ...smallest,
    first: violation,
    runs,
    replay: writeReplay(replay),
    picture: await pictureOf(options, smallest),
  })
}

interface FailedRun {
  readonly plan: Plan
  readonly violation: Violation
  readonly facts: RunFacts
}

/** Runs it once more, listening: what befell what the checker named. */
async function pictureOf<Model>(
  options: ProgramOptions<Model>,
  { plan, violation: { reason } }: FailedRun,
): Promise<string> {
  const story: Told[] = []
  const run = new ProgramRun({ options, plan, listen: (told) => story.push(told) })
  await run.whole()
  // What names no state may be about any, as programs saw them.
  const namesOne = reason.startsWith('state ')
  const about = namesOne ? reason : `${reason}; ${run.states.join('; ')}`
  const shown = story.filter((told) => {
    if (told.about !== undefined) return namesOne || told.machine !== observer
    return !/^(?:debug|info|warn): /.test(told.text)
  })
  return lanes(shown, { machines: run.machines, reason: about, last: 20, columns: 120 })
}

/** A run that fails by the same checker, smaller if there is one. */
async function smaller<Model>(
  options: SimulateOptions<Model>,
  failed: FailedRun,
  faults: number,
): Promise<{ smallest: FailedRun; runs: number }> {
  const { shrinkRuns: runsMax = 100, shrinkMs = 20_000 } = options
  const endMs = clock.monotonicMs() + shrinkMs
  let smallest = failed
  let runs = 0
  const fails = async (plan: Plan): Promise<ChoiceLists | undefined> => {
    if (clock.monotonicMs() > endMs) return undefined
    runs += 1
    const run = new ProgramRun({ options, plan })
    const violation = await run.whole()
    if (violation?.checker !== failed.violation.checker) return undefined
    smallest = { plan: { ...run.plan, ...plan }, violation, facts: run.facts }
    return run.plan.choices
  }
  const { choices: _, ...plan } = failed.plan
  await shrink(plan, { fails, runsMax, faults, least: { faultMs: 0, clients: 1 } })
  return { smallest, runs }
}
