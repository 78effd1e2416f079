// Seeds in processes, one world at a time in each.

import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { compiledOnce } from '../support/processes.ts'
import type { RunOptions, RunResult } from './run.ts'

export interface Asked {
  readonly seed: number
  readonly faultMs: number | undefined
  readonly isLong: boolean
  /** What else is told to the run. */
  readonly more: Partial<RunOptions>
  /** Where a run that failed is written to. */
  readonly replays: string
  /** How often the seed is run. */
  readonly times: number
}

export interface Outcome {
  readonly result: RunResult
  /** Virtual milliseconds in which faults happened. */
  readonly faultMs: number
  /** Of each time that the seed was run. */
  readonly hashes: readonly number[]
  /** Of a run that failed: where it is written down, and what happened. */
  readonly file?: string
  readonly picture?: string
}

export interface PoolOptions {
  readonly jobs: number
  readonly faultMs?: number | undefined
  /** Hours of faults in each run. Default false. */
  readonly isLong?: boolean
  /** What else each run is told. */
  readonly more?: Partial<RunOptions>
  readonly replays: string
  /** How often a process runs a seed. Default 1. */
  readonly times?: number
  /** The next seed; undefined: it was the last. */
  readonly next: () => number | undefined
  /** Called with each outcome, in the order in which they come. */
  readonly done: (outcome: Outcome) => void
}

export async function runPool(options: PoolOptions): Promise<void> {
  await Promise.all(Array.from({ length: options.jobs }, () => runLane(options)))
}

/** One process after the other: one that dies has failed its seed, and another takes its place. */
async function runLane({
  next,
  done,
  faultMs,
  replays,
  times = 1,
  isLong = false,
  more = {},
}: PoolOptions): Promise<void> {
  let worker: ChildProcess | undefined
  for (let seed = next(); seed !== undefined; seed = next()) {
    worker ??= startWorker()
    const outcome = await ask(worker, { seed, faultMs, replays, times, isLong, more })
    if (worker.exitCode !== null || worker.signalCode !== null) worker = undefined
    done(outcome)
  }
  worker?.disconnect()
}

function startWorker(): ChildProcess {
  // What tap loads into the processes of its tests is left out.
  const { NODE_OPTIONS: _, ...env } = compiledOnce
  return fork(join(import.meta.dirname, 'worker.ts'), { env, execArgv: [] })
}

function ask(worker: ChildProcess, asked: Asked): Promise<Outcome> {
  return new Promise((resolve) => {
    const ended = (code: number | null, signal: string | null) => {
      const reason = `the process of the run ended: ${code ?? signal}`
      const nothing = { traceHash: 0, events: 0, virtualMs: 0, faults: {}, counts: {} }
      const result = { ...nothing, seed: asked.seed, ok: false, checker: 'process', reason }
      resolve({ result, faultMs: 0, hashes: [] })
    }
    worker.once('exit', ended)
    worker.once('message', (outcome: Outcome) => {
      worker.off('exit', ended)
      resolve(outcome)
    })
    worker.send(asked)
  })
}
