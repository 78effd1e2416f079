// The search for one canary: a process whose sources have the mistake, seeds until a checker names
// it.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { RunResult } from './run.ts'
import { vague } from '../../src/simulation/report.ts'

const main = join(import.meta.dirname, 'main.ts')
/** Virtual milliseconds of faults in each run. */
const faultMs = 8000

export interface Search {
  readonly canary: string
  /** Null: nothing was found. */
  readonly caught: boolean
  /** Seeds that were run. */
  readonly seeds: number
  readonly checker?: string | undefined
  readonly reason?: string | undefined
}

/** The lines of a process of its own; a status other than 0 says only that a seed failed. */
export async function simulateElsewhere(...args: string[]): Promise<RunResult[]> {
  const { results } = await runMain(args)
  return results
}

/** With what it wrote to standard error. */
export async function runMain(
  args: readonly string[],
): Promise<{ results: RunResult[]; stderr: string }> {
  const run = promisify(execFile)(process.execPath, [main, '--json', ...args], {
    maxBuffer: 2 ** 26,
  })
  const failed = (error: { code: unknown; stdout: string; stderr: string }) => {
    if (error.code !== 1 || error.stdout === '') throw error
    return error
  }
  const { stdout, stderr } = await run.catch(failed)
  const lines = stdout.trim().split('\n')
  return { results: lines.map((line) => JSON.parse(line)), stderr }
}

export async function search(canary: string, seeds: readonly [number, number]): Promise<Search> {
  const range = `${seeds[0]}..${seeds[1]}`
  const args = ['--canary', canary, '--seeds', range, '--ms', String(faultMs), '--until']
  const results = await simulateElsewhere(...args)
  const last = results.at(-1)
  const caught = last?.ok === false && !vague.has(last.checker ?? '')
  const found = caught ? { checker: last.checker, reason: last.reason } : {}
  return { canary, caught, seeds: results.length, ...found }
}
