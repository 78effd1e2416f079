// Fresh seeds on all cores for a while, and whether a seed gives one run.
import { availableParallelism } from 'node:os'
import { runMany, type Tally } from '../simulation/many.ts'
import { runPool, type Outcome } from '../simulation/pool.ts'

export interface SimulateOptions {
  readonly minutes: number
  /** Hours of faults in each run. */
  readonly isLong: boolean
  /** The first seed; the others follow. */
  readonly seed: number
  readonly json: boolean
  readonly replays: string
}

/** One line for each run that failed. */
export async function runSimulate(options: SimulateOptions): Promise<Tally> {
  const { minutes, ...how } = options
  const endMs = performance.now() + minutes * 60_000
  let { seed } = options
  const next = () => (performance.now() < endMs ? seed++ : undefined)
  return runMany({ ...how, next, jobs: availableParallelism(), onlyFailed: true })
}

export interface DeterminismOptions {
  readonly seeds: number
  /** Virtual milliseconds of faults in each run. */
  readonly faultMs: number
  readonly replays: string
}

export interface DeterminismReport {
  readonly ok: boolean
  readonly seeds: number
  /** Runs: two in one process, and one in another. */
  readonly runs: number
  readonly events: number
  readonly minutes: number
  /** Seeds that did not give one run. */
  readonly differing: readonly number[]
  /** Seeds whose run failed. */
  readonly failed: readonly number[]
}

export async function runDeterminism(options: DeterminismOptions): Promise<DeterminismReport> {
  const startMs = performance.now()
  const hashes = new Map<number, Set<number>>()
  const failed = new Set<number>()
  let events = 0
  const done = ({ result, hashes: each }: Outcome): void => {
    const { seed } = result
    events += result.events
    if (!result.ok) failed.add(seed)
    hashes.set(seed, new Set([...(hashes.get(seed) ?? []), ...each]))
  }
  const common = { ...options, jobs: availableParallelism(), done }
  const rising = upTo(options.seeds)
  await runPool({ ...common, times: 2, next: () => rising.shift() })
  // In another order, so that what one run leaves to the next is another's.
  const falling = upTo(options.seeds).reverse()
  await runPool({ ...common, next: () => falling.shift() })
  const differing = [...hashes].filter(([, all]) => all.size !== 1).map(([seed]) => seed)
  return {
    ok: differing.length === 0 && failed.size === 0 && hashes.size === options.seeds,
    seeds: hashes.size,
    runs: 3 * hashes.size,
    events,
    minutes: Number(((performance.now() - startMs) / 60_000).toFixed(2)),
    differing,
    failed: [...failed],
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1)
