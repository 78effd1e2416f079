// Many seeds on all cores: a line for each, and at the end what they came to.

import { SingleBar } from 'cli-progress'
import Table from 'cli-table3'
import { commandFor } from './here.ts'
import type { RunOptions, RunResult } from './run.ts'
import { runPool, type Outcome } from './pool.ts'

export interface ManyOptions {
  readonly next: () => number | undefined
  /** How many seeds there are, if that is known. */
  readonly total?: number
  readonly jobs: number
  readonly faultMs?: number | undefined
  /** Hours of faults in each run. Default false. */
  readonly isLong?: boolean
  /** What else each run is told. */
  readonly more?: Partial<RunOptions>
  readonly json: boolean
  /** Where runs that failed are written to. */
  readonly replays: string
  /** Only runs that failed are printed. */
  readonly onlyFailed?: boolean
  /** Told of what each run showed. */
  readonly seen?: (counts: RunResult['counts']) => void
}

/** What many runs came to. */
export class Tally {
  seeds = 0
  failed = 0
  virtualMs = 0
  faultMs = 0
  readonly counts: Map<string, { times: number; runs: number }> = new Map()
  readonly #startMs = performance.now()

  add({ result, faultMs }: Outcome): void {
    this.seeds += 1
    if (!result.ok) this.failed += 1
    this.virtualMs += result.virtualMs
    this.faultMs += faultMs
    for (const [name, times] of Object.entries(result.counts)) {
      const sum = this.counts.get(name) ?? { times: 0, runs: 0 }
      this.counts.set(name, {
        times: sum.times + times,
        runs: sum.runs + (times > 0 ? 1 : 0),
      })
    }
  }

  get minutes(): number {
    return (performance.now() - this.#startMs) / 60_000
  }

  /** Runs, and nothing found in any. */
  get ok(): boolean {
    return this.failed === 0 && this.seeds > 0
  }

  get facts(): Readonly<Record<string, number | boolean>> {
    const faultHours = this.faultMs / 3_600_000
    return {
      ok: this.ok,
      seeds: this.seeds,
      virtualHours: rounded(this.virtualMs / 3_600_000),
      faultHours: rounded(faultHours),
      minutes: rounded(this.minutes),
      seedsPerSecond: rounded(this.seeds / this.minutes / 60),
      faultHoursPerMinute: rounded(faultHours / this.minutes),
      failed: this.failed,
    }
  }

  get summary(): string {
    const { seeds, failed, minutes, seedsPerSecond, faultHours, faultHoursPerMinute } = this.facts
    return (
      `${seeds} seeds, ${failed} failed; ${seedsPerSecond} seeds a second; ${faultHours} virtual ` +
      `hours of faults in ${minutes} minutes, ${faultHoursPerMinute} a minute`
    )
  }

  /** How often what seldom happens did happen. */
  get coverage(): string {
    const table = new Table({
      head: ['what happened', 'times', 'runs'],
      colAligns: ['left', 'right', 'right'],
      style: { head: [], border: [], compact: true },
    })
    const rows = [...this.counts].sort(([one], [other]) => one.localeCompare(other))
    for (const [name, { times, runs }] of rows) table.push([name, times, runs])
    return table.toString()
  }
}

const rounded = (value: number): number => Number(value.toPrecision(4))

export async function runMany(options: ManyOptions): Promise<Tally> {
  const tally = new Tally()
  const format = '{bar} {value}/{total} seeds, {failed} failed, {rate} a second'
  const bar = process.stderr.isTTY ? new SingleBar({ format }) : undefined
  bar?.start(options.total ?? 0, 0, { failed: 0, rate: 0 })
  const done = (outcome: Outcome) => {
    tally.add(outcome)
    options.seen?.(outcome.result.counts)
    if (!options.onlyFailed || !outcome.result.ok) print(outcome, options.json)
    const rate = (tally.seeds / tally.minutes / 60).toFixed(2)
    bar?.update(tally.seeds, { failed: tally.failed, rate })
  }
  await runPool({ ...options, done })
  bar?.stop()
  return tally
}

function print({ result, file, picture }: Outcome, json: boolean): void {
  const { counts, ...facts } = result
  console.log(JSON.stringify({ ...facts, ...(!json && { counts }), ...(file && { file }) }))
  if (file !== undefined) process.stderr.write(`${picture}\n${commandFor(file)}\n`)
}
