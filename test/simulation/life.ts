// One process of a client while it lives: what its tasks wait for, and what went wrong. A task of a
// process that was killed is never heard of again; one of a process that lives must end.

import type { SimulatedProcess, World } from '../../src/simulation/index.ts'
import type { Client } from '../../src/embedded/client.ts'
import { Gate } from '../../src/embedded/log/wait.ts'
import { checkError, type Report } from '../../src/simulation/report.ts'

export interface LifeParts {
  readonly world: World
  readonly report: Report
  readonly machine: string
  readonly task: SimulatedProcess
  readonly client: Omit<Client, 'close'>
  /** How long it rests at most between two pieces of work of one kind. Default 1,500. */
  readonly restMs?: number
}

export class Life {
  readonly world: World
  readonly report: Report
  readonly machine: string
  readonly client: Omit<Client, 'close'>
  /** Aborted when the run comes to its end: what waits for ever ends then. */
  readonly ending: AbortController = new AbortController()
  readonly #task: SimulatedProcess
  readonly #running = new Map<object, string>()
  readonly #restMs: number
  #calls = 0

  constructor(parts: LifeParts) {
    this.world = parts.world
    this.report = parts.report
    this.machine = parts.machine
    this.client = parts.client
    this.#task = parts.task
    this.#restMs = parts.restMs ?? 1500
  }

  get alive(): boolean {
    return this.#task.alive
  }

  get stopping(): boolean {
    return this.ending.signal.aborted
  }

  /** What has begun and not ended. */
  get waitingFor(): string[] {
    return [...this.#running.values()]
  }

  /** A name that no other has. */
  unique(what: string): string {
    this.#calls += 1
    return `${this.#task.label}.${what}${this.#calls}`
  }

  choose(count: number): number {
    return this.world.scheduler.choose(count, 'work')
  }

  pause(rangeMs: readonly [number, number]): Promise<void> {
    return this.#task.later('work.pause', rangeMs, () => undefined)
  }

  /** Bytes of a name and some more, of a length from the seed; mostly short. */
  payload(what: string): Buffer {
    const name = `${this.unique(what)}:`
    const most = this.choose(8) === 0 ? 12_000 : 200
    return Buffer.from(name.padEnd(this.choose(most), name))
  }

  /** Runs until the end, again and again; what it is given as errors is checked. */
  start(name: string, work: (life: Life) => Promise<void>): void {
    void this.during(`${name} on ${this.machine}`, async () => {
      while (!this.stopping) {
        try {
          await work(this)
        } catch (error) {
          if (!this.stopping) checkError(this.report, error, `${name} on ${this.machine}`)
        }
        await this.#rest()
      }
    })
  }

  /** Ends with the run. */
  async #rest(): Promise<void> {
    const ended = new Gate()
    const end = () => ended.open()
    this.ending.signal.addEventListener('abort', end, { once: true })
    await Promise.race([this.pause([1, this.#restMs]), ended.wait()])
    this.ending.signal.removeEventListener('abort', end)
  }

  async during<T>(what: string, work: () => Promise<T>): Promise<T> {
    const key = {}
    const since = this.world.scheduler.nowMs.toFixed(0)
    this.#running.set(key, `${what} since ${since}`)
    const result = await work().finally(() => this.#running.delete(key))
    return result
  }
}
