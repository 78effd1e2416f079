// The search for a canary: a process of its own, whose sources have the mistake, runs seeds until a
// checker names it. A crash, an error or a time-out of a run is no catch.

import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RunResult } from '../simulation/run.ts'
import type { Canary } from './canary.ts'

const program = join(import.meta.dirname, 'trial.ts')

type Trial = Omit<RunResult, 'counts'> & { readonly caught: boolean }

export interface Found {
  readonly canary: string
  readonly caught: boolean
  /** Seeds from 1 on until it was caught; else those that were run. */
  readonly seeds: number
  /** The one that caught it. */
  readonly seed?: number
  readonly checker?: string | undefined
  readonly reason?: string | undefined
}

export interface SeedRange {
  readonly from: number
  readonly to: number
}

async function tryOut(id: string, { from, to }: SeedRange, ...how: 'unharmed'[]): Promise<Trial[]> {
  const args = [program, id, String(from), String(to), ...how]
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 })
  const lines = stdout.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line))
}

export async function searchFor({ id }: Canary, seeds: SeedRange): Promise<Found> {
  const trials = await tryOut(id, seeds)
  const last = trials.at(-1)
  if (!last?.caught) return { canary: id, caught: false, seeds: trials.length }
  const { seed, checker, reason } = last
  return { canary: id, caught: true, seeds: seed, seed, checker, reason }
}

/** What a run with the same seeds says when the mistake is not there; undefined: nothing. */
export async function unharmed({ id }: Canary, seeds: SeedRange): Promise<string | undefined> {
  const bad = (await tryOut(id, seeds, 'unharmed')).find(({ ok }) => !ok)
  return bad && `${bad.checker} of seed ${bad.seed}: ${bad.reason}`
}

/** Works on each of a list, as many at a time as there are cores. */
export async function onAllCores<T>(
  each: readonly T[],
  work: (one: T) => Promise<void>,
): Promise<void> {
  const left = [...each]
  const worker = async (): Promise<void> => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) await work(one)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
}

/** Seeds more than the one that caught it: what a seed does changes with the code. */
const furtherSeeds = 20

export function seedsFromLast({ seed = 1 }: Canary): SeedRange {
  return { from: seed, to: seed + furtherSeeds }
}
