// One process of a program while it lives: what it is given, and what it still waits for.

import type { Node } from '../../embedded/open.ts'
import { inSurroundings } from '../../io/real/globals.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import type { SimulatedCluster } from '../cluster.ts'
import { randomFrom, simulatedClock, simulatedTimers, type SimulatedProcess } from '../node.ts'
import type { World } from '../world.ts'
import type { ProcessParts, SimulatedMachine } from './options.ts'

export interface ProgramProcessParts<Model> {
  readonly world: World
  readonly cluster: SimulatedCluster
  readonly task: SimulatedProcess
  readonly model: Model
  /** Told of an invariant that does not hold. */
  readonly failed: (what: string) => void
}

/** How long the operator waits for a node to end in order. */
const restartMs = 20_000

export class ProgramProcess<Model> {
  readonly machine: string
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly model: Model
  readonly nodes: readonly SimulatedMachine[]
  readonly check: (holds: boolean, what: string) => void
  readonly task: SimulatedProcess
  readonly #ending = new AbortController()
  readonly #running = new Map<object, string>()

  constructor(parts: ProgramProcessParts<Model>) {
    const { world, cluster, task, model, failed } = parts
    const { scheduler } = world
    this.machine = task.node.name
    this.task = task
    this.model = model
    // The code of a process that was killed may go on until it waits: nobody hears of it.
    this.check = (holds, what) => {
      if (!holds && task.alive) failed(what)
    }
    this.clock = simulatedClock(task)
    this.timers = simulatedTimers(task, `${ownLabel}timer`)
    // Choices, so that they are recorded, and lowered when a run is made smaller.
    const label = `program/${this.machine}`
    this.random = randomFrom({ below: (below) => scheduler.choose(below, label) })
    this.nodes = cluster.nodes.map((name) => machineOf(world, cluster, name))
  }

  get signal(): AbortSignal {
    return this.#ending.signal
  }

  /** What has begun and not ended; nothing once the process has ended. */
  get waitingFor(): string[] {
    return this.task.alive ? [...this.#running.values()] : []
  }

  readonly pause = (forMs: number | readonly [number, number]): Promise<void> => {
    const rangeMs = typeof forMs === 'number' ? ([forMs, forMs] as const) : forMs
    return this.task.later(`${ownLabel}pause`, rangeMs, () => undefined)
  }

  readonly during = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const key = {}
    this.#running.set(key, `${what}, on ${this.machine}`)
    return work().finally(() => this.#running.delete(key))
  }

  /** What the program's functions are given, without what differs between them. */
  get parts(): ProcessParts<Model> {
    const { machine, clock, timers, random, pause, signal, check, model, nodes } = this
    return { machine, clock, timers, random, pause, signal, check, model, nodes }
  }

  /** Runs a part of the program: global clocks and timers are those of the process. */
  inside<T>(work: () => T): T {
    const { clock, timers, random } = this
    return inSurroundings({ clock, timers, random }, work)
  }

  end(): void {
    this.inside(() => this.#ending.abort())
  }
}

/** What the program itself waits for: when it ends without, that is no leak of Quire's. */
const ownLabel = 'program.'

function machineOf(world: World, cluster: SimulatedCluster, name: string): SimulatedMachine {
  const operator = cluster.operator(name)
  return {
    name,
    get node(): Node | undefined {
      return operator.node
    },
    kill: () => operator.kill(),
    cutPower: (mode = 'any') => operator.cutPower(mode),
    restart: () => void operator.restart(restartMs),
    pause: (forMs) => world.pause(name, forMs),
  }
}
