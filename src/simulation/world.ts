// A simulated world: nodes with disks and clocks, the cables between them, and the time they share.
// One seed gives one run.

import type { DiskOptions } from './disk.ts'
import { afterKill, afterPowerLoss, type CrashMode } from './crash.ts'
import { SimulatedCables } from './network.ts'
import { randomFrom, SimulatedNode } from './node.ts'
import { Scheduler, type EventOwner, type SchedulerOptions } from './scheduler.ts'
import { createSimulatedStateStores, type SimulatedStateStores } from './state-store.ts'

export interface WorldOptions extends SchedulerOptions {
  /** For each node's disk. */
  readonly disk?: DiskOptions
}

export class World {
  readonly scheduler: Scheduler
  readonly cables: SimulatedCables
  /** Whoever acts on the world from outside it: never ends, and is never paused. */
  readonly outside: EventOwner
  /** Writes of which losses of power left a part. */
  tornWrites = 0
  readonly #options: WorldOptions
  readonly #nodes = new Map<string, SimulatedNode>()
  readonly #states = new Map<string, SimulatedStateStores>()

  constructor(options: WorldOptions) {
    this.#options = options
    this.scheduler = new Scheduler(options)
    this.cables = new SimulatedCables(this.scheduler, (name) => this.#nodes.get(name))
    const fail = (error: unknown): void => this.scheduler.fail(error)
    this.outside = { machine: '', alive: true, pausedUntilMs: 0, fail }
  }

  /** The node of that name, made when first asked for. */
  node(name: string): SimulatedNode {
    let node = this.#nodes.get(name)
    if (node === undefined) {
      node = new SimulatedNode(this.scheduler, name, this.#options.disk ?? {})
      this.#nodes.set(name, node)
    }
    return node
  }

  /** The databases of replicated states on a node. */
  statesOf(name: string): SimulatedStateStores {
    let states = this.#states.get(name)
    if (states === undefined) {
      const random = randomFrom(this.scheduler.random(`${name}/states`))
      states = createSimulatedStateStores({ random })
      this.#states.set(name, states)
    }
    return states
  }

  get nodes(): SimulatedNode[] {
    return [...this.#nodes.values()]
  }

  /** The process ends at once. The system keeps what it was given, and closes the connections. */
  kill(name: string): void {
    const node = this.node(name)
    this.scheduler.tell(() => 'killed', { machine: name })
    this.#end(node, true)
    afterKill(node.disk, this.#choose)
  }

  /** The machine loses its power: what was not synced may be lost, and nobody is told. */
  cutPower(name: string, mode: CrashMode = 'any'): void {
    const node = this.node(name)
    this.scheduler.tell(() => `power lost, unsynced: ${mode}`, { machine: name })
    this.#end(node, false)
    node.isDark = true
    node.disk = afterPowerLoss(node.disk, mode, this.#choose)
    this.tornWrites += node.disk.tornWrites
  }

  /** Nothing happens on the node for so long; then all that is due, in some order. */
  pause(name: string, forMs: number): void {
    this.scheduler.tell(() => `paused for ${Math.round(forMs)} ms`, { machine: name })
    this.node(name).pausedUntilMs = this.scheduler.nowMs + forMs
  }

  /** Lets time pass, for whoever acts from outside. */
  pass(forMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.scheduler.schedule(this.outside, forMs, { label: 'outside', call: resolve })
    })
  }

  /** Runs the world until the promise is settled, and gives its outcome. */
  settle<T>(promise: Promise<T>, limitMs?: number): Promise<T> {
    return this.scheduler.settle(promise, limitMs)
  }

  /** Runs the world for so long. */
  run(forMs: number): Promise<void> {
    return this.scheduler.run(forMs)
  }

  readonly #choose = (count: number, label: string): number => this.scheduler.choose(count, label)

  #end(node: SimulatedNode, hasPower: boolean): void {
    node.task?.end(hasPower)
    node.locks.clear()
  }
}
