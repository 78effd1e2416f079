// A simulated machine and the processes on it. A machine has a disk and a clock that outlive its
// processes; a process that was killed never hears of anything again: what it was waiting for is
// never settled.

import { QuireError } from '../errors.ts'
import type { Clock, Random, Timers } from '../io/time.ts'
import { Disk, type DiskOptions } from './disk.ts'
import { defaultDiskFaults, type DiskFaults } from './faults.ts'
import type { SeededRandom } from './random.ts'
import type { EventOwner, Scheduler } from './scheduler.ts'

export interface ClockFaults {
  /** Added to the wall clock. */
  wallOffsetMs: number
  /** How much faster than true time: 0.0005 gains half a millisecond a second. */
  drift: number
}

/** Of a machine that nothing ails. */
export const messageMs: readonly [number, number] = [0.01, 0.2]

export class SimulatedNode {
  readonly name: string
  readonly scheduler: Scheduler
  readonly clockFaults: ClockFaults = { wallOffsetMs: 0, drift: 0 }
  readonly diskFaults: DiskFaults = defaultDiskFaults()
  /** Calls to the disk that failed so far, by chance or because they were told to. */
  diskFailures = 0
  /** Replaced when the power fails. */
  disk: Disk
  /**
   * The process of the present boot, if there is one; `task` and not `process`, which is Node's.
   */
  task: SimulatedProcess | undefined
  /** True from a loss of power to the next boot: nothing answers, not even a refusal. */
  isDark = false
  pausedUntilMs = 0
  /** How long each event keeps the machine busy. */
  eventMs = 0
  /** How long a message between threads takes. */
  messageMs: readonly [number, number] = messageMs
  boots = 0
  /** Directories and who has them locked. */
  readonly locks: Map<string, SimulatedProcess> = new Map()

  constructor(scheduler: Scheduler, name: string, disk: DiskOptions) {
    this.scheduler = scheduler
    this.name = name
    this.disk = new Disk(disk)
  }

  /** Starts a process; the one before it must have ended. */
  boot(): SimulatedProcess {
    if (this.task?.alive === true) {
      throw new QuireError('QUIRE_INVARIANT', `${this.name} runs already`)
    }
    this.boots += 1
    this.isDark = false
    this.task = new SimulatedProcess(this, undefined)
    return this.task
  }
}

/** A process, or a thread of one. */
export class SimulatedProcess implements EventOwner {
  readonly node: SimulatedNode
  readonly parent: SimulatedProcess | undefined
  readonly startedMs: number
  readonly poisoned: Set<string>
  readonly label: string
  readonly random: SeededRandom
  /** What to do with an error that nobody caught; by default it fails the run. */
  onFailure: (error: unknown) => void
  /** Called once when it ends: what its system, or its stores, do then. */
  readonly onEnd: ((hasPower: boolean) => void)[] = []
  readonly #children: SimulatedProcess[] = []
  #alive = true
  #threads = 0

  constructor(node: SimulatedNode, parent: SimulatedProcess | undefined) {
    this.node = node
    this.parent = parent
    this.startedMs = parent?.startedMs ?? node.scheduler.nowMs
    this.poisoned = parent?.poisoned ?? new Set()
    this.label = parent === undefined ? `${node.name}#${node.boots}` : parent.threadLabel()
    this.random = node.scheduler.random(this.label)
    this.onFailure = (error) => node.scheduler.fail(error)
  }

  get alive(): boolean {
    return this.#alive
  }

  get machine(): string {
    return this.node.name
  }

  get pausedUntilMs(): number {
    return this.node.pausedUntilMs
  }

  ran(nowMs: number): void {
    const { node } = this
    if (node.eventMs > 0) node.pausedUntilMs = Math.max(node.pausedUntilMs, nowMs + node.eventMs)
  }

  threadLabel(): string {
    this.#threads += 1
    return `${this.label}.${this.#threads}`
  }

  startThread(): SimulatedProcess {
    const thread = new SimulatedProcess(this.node, this)
    this.#children.push(thread)
    return thread
  }

  /** Ends at once, with its threads; `hasPower`: the system is there to close what it had open. */
  end(hasPower: boolean): void {
    if (!this.#alive) return
    this.#alive = false
    for (const thread of this.#children) thread.end(hasPower)
    for (const call of this.onEnd) call(hasPower)
  }

  /** What it still waits for, with its threads. */
  get pending(): string[] {
    const own = this.node.scheduler.pendingOf(this)
    return own.concat(...this.#children.map((thread) => thread.pending))
  }

  fail(error: unknown): void {
    this.onFailure(error)
  }

  /**
   * The outcome of `work`, done after a delay from the range; an event of its own. Never settled
   * when the process ends first. How a simulated store makes its synchronous work asynchronous.
   */
  later<T>(label: string, rangeMs: readonly [number, number], work: () => T): Promise<T> {
    const { scheduler } = this.node
    return new Promise((resolve, reject) => {
      const call = () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      }
      scheduler.schedule(this, scheduler.between(rangeMs, label), { label, call })
    })
  }
}

/** 2025-01-01: where the wall clocks of all worlds begin. */
const wallStartMs = 1_735_689_600_000

export function simulatedClock(task: SimulatedProcess): Clock {
  const { scheduler, clockFaults } = task.node
  return {
    monotonicMs: () => (scheduler.nowMs - task.startedMs) * (1 + clockFaults.drift),
    wallMs: () =>
      Math.floor(
        wallStartMs + scheduler.nowMs * (1 + clockFaults.drift) + clockFaults.wallOffsetMs,
      ),
  }
}

export function simulatedTimers(task: SimulatedProcess, label: string = 'timer'): Timers {
  const { scheduler, clockFaults } = task.node
  return {
    // As Node's timers, which count from when the loop last looked at the clock: a moment early.
    after: (delayMs, call) => {
      const afterMs = Math.max(1, delayMs) - scheduler.between([0, 1], 'timer.early')
      return scheduler.schedule(task, afterMs / (1 + clockFaults.drift), { label, call })
    },
    soon: (call) => {
      scheduler.soon(task, { label: 'soon', call })
    },
  }
}

export function randomFrom(source: Pick<SeededRandom, 'below'>): Random {
  const bytes = (count: number) =>
    Buffer.from(Array.from({ length: count }, () => source.below(256)))
  return {
    bytes,
    below: (below) => source.below(below),
    uuid: () => {
      const raw = bytes(16)
      raw[6] = ((raw[6] ?? 0) & 0x0f) | 0x40
      raw[8] = ((raw[8] ?? 0) & 0x3f) | 0x80
      const text = raw.toString('hex')
      const cuts = [0, 8, 12, 16, 20, 32]
      return cuts
        .slice(1)
        .map((to, index) => text.slice(cuts[index], to))
        .join('-')
    },
  }
}
