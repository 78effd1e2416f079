// What a level is, what it yields, and how it is counted.
import { readFileSync } from 'node:fs'
import { createHistogram } from 'node:perf_hooks'
import type { Cluster } from '../test/support/processes.ts'

export interface LevelOptions {
  readonly inFlight: number
  readonly size: number
  readonly seconds: number
  readonly warmUpMs: number
}

export interface LevelFigures {
  readonly bookies: number
  readonly size: number
  readonly inFlight: number
  readonly ackedPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Of one bookie, the mean over all, while there was load: what came before the level too. */
  readonly fsyncsPerSecond: number
  readonly clientCpuUsPerEntry: number
  readonly bookieCpuUsPerEntry: number
}

const ticksPerSecond = 100

/** CPU time of a process so far, all threads, in µs. */
export function cpuOfProcessUs(pid: number): number {
  const fields = (readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] ?? '').split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticksPerSecond
}

/** fsyncs of one bookie, the mean over all: each tells its own total when it has closed. */
export function fsyncsOfBookie({ processes }: Pick<Cluster, 'processes'>): number {
  const totals = processes.map(({ lines, pid }) => {
    const closed = lines.find((line) => line['event'] === 'closed')
    const total = Number(closed?.['fsyncs']) + Number(closed?.['metadataFsyncs'] ?? 0)
    if (!Number.isFinite(total)) throw new Error(`process ${pid} did not tell its fsyncs`)
    return total
  })
  return totals.reduce((sum, total) => sum + total, 0) / totals.length
}

/** How long each of many took. */
export class Latencies {
  readonly #histogram = createHistogram()

  record(ms: number): void {
    this.#histogram.record(Math.max(1, Math.round(ms * 1000)))
  }

  get figures(): { count: number; p50Ms: number; p99Ms: number; maxMs: number } {
    const atMs = (share: number): number =>
      Number((this.#histogram.percentile(share) / 1000).toFixed(3))
    const maxMs = Number((this.#histogram.max / 1000).toFixed(3))
    return { count: this.#histogram.count, p50Ms: atMs(50), p99Ms: atMs(99), maxMs }
  }
}

/** Whose processor time is counted. */
export interface Measured {
  readonly processes: readonly { readonly pid: number }[]
}

/** Counts what is done between the warm-up and the end. */
export class Meter {
  readonly #options: LevelOptions
  readonly #pids: readonly number[]
  readonly #latencies = new Latencies()
  readonly #startedAt = performance.now()
  readonly #loadedSince: number
  #measureFrom = 0
  #endedAt = 0
  #measured = 0
  #clientCpu: NodeJS.CpuUsage = { user: 0, system: 0 }
  #bookieCpu = 0

  /** `loadedSince`: when the first entry was written, if that was before now. */
  constructor(cluster: Measured, options: LevelOptions, loadedSince?: number) {
    this.#options = options
    this.#loadedSince = loadedSince ?? this.#startedAt
    this.#pids = cluster.processes.map(({ pid }) => pid)
  }

  /** Records one acknowledged entry; false once the level is over. */
  record(sentAt: number): boolean {
    const now = performance.now()
    if (this.#endedAt > 0) return false
    const elapsed = now - this.#startedAt
    if (elapsed < this.#options.warmUpMs) return true
    if (this.#measureFrom === 0) this.#begin(now)
    this.#measured++
    this.#latencies.record(now - sentAt)
    if (now - this.#measureFrom >= this.#options.seconds * 1000) this.#end(now)
    return this.#endedAt === 0
  }

  /** How many were measured. */
  get count(): number {
    return this.#measured
  }

  get over(): boolean {
    return this.#endedAt > 0
  }

  figures(bookies: number, fsyncs: number): LevelFigures {
    const { inFlight, size } = this.#options
    const round = (value: number, digits: number): number => Number(value.toFixed(digits))
    const { p50Ms, p99Ms, maxMs } = this.#latencies.figures
    const cpu = this.#clientCpu
    return {
      bookies,
      size,
      inFlight,
      ackedPerSecond: Math.round(this.#measured / ((this.#endedAt - this.#measureFrom) / 1000)),
      p50Ms,
      p99Ms,
      maxMs,
      fsyncsPerSecond: Math.round(fsyncs / ((this.#endedAt - this.#loadedSince) / 1000)),
      clientCpuUsPerEntry: round((cpu.user + cpu.system) / this.#measured, 2),
      bookieCpuUsPerEntry: round(this.#bookieCpu / bookies / this.#measured, 2),
    }
  }

  #begin(now: number): void {
    this.#measureFrom = now
    this.#clientCpu = process.cpuUsage()
    this.#bookieCpu = this.#allBookiesUs()
  }

  #end(now: number): void {
    this.#endedAt = now
    this.#clientCpu = process.cpuUsage(this.#clientCpu)
    this.#bookieCpu = this.#allBookiesUs() - this.#bookieCpu
  }

  #allBookiesUs(): number {
    return this.#pids.reduce((sum, pid) => sum + cpuOfProcessUs(pid), 0)
  }
}
