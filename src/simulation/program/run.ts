// One run of a program: nodes and clients start, faults come and go, everything must come to its
// end; then all is started anew, and the states are built once more from their logs.

import type { ClientSettings } from '../../embedded/options.ts'
import { QuireError } from '../../errors.ts'
import { holdGlobals } from '../../io/real/globals.ts'
import { drawSecret, SimulatedCluster } from '../cluster.ts'
import { allStarted, quiet, restartAll } from '../ending.ts'
import { Host } from '../host.ts'
import { createTraceLogger } from '../logger.ts'
import { hasCopies, isDamage, Nemesis } from '../nemesis.ts'
import type { Plan } from '../replay.ts'
import { Report, type Violation } from '../report.ts'
import type { Told } from '../scheduler.ts'
import { World } from '../world.ts'
import type { ProgramOptions } from './options.ts'
import { Programs } from './programs.ts'
import { WatchedRun } from './watched-client.ts'

/** After everything is whole again, whatever has begun ends within this. */
const livenessMs = 240_000
/** The machine of the last look. */
export const observer = 'observer'

export interface ProgramRunParts<Model> {
  readonly options: ProgramOptions<Model>
  readonly plan: Plan
  readonly trace?: ((line: string) => void) | undefined
  /** Called with what happens, for people. */
  readonly listen?: ((told: Told) => void) | undefined
}

/** What happened in a run. */
export interface RunFacts {
  readonly traceHash: number
  readonly events: number
  readonly virtualMs: number
  /** How often each kind of fault happened. */
  readonly faults: Readonly<Record<string, number>>
  /** Commands that were executed and answered; entries that were applied. */
  readonly commands: {
    readonly executed: number
    readonly answered: number
    readonly applied: number
  }
}

export class ProgramRun<Model> {
  readonly world: World
  readonly report: Report
  readonly cluster: SimulatedCluster
  readonly #parts: ProgramRunParts<Model>
  readonly #watched: WatchedRun
  readonly #nemesis: Nemesis
  readonly #programs: Programs<Model>
  readonly #hosts: Host[]
  readonly #faultMs: number

  constructor(parts: ProgramRunParts<Model>) {
    this.#parts = parts
    const { plan, trace, listen, options } = parts
    const { seed, choices, sizes } = plan
    this.world = new World({ seed, choices, trace, listen, eventsMax: 5_000_000 })
    const { scheduler } = this.world
    this.#faultMs = sizes['faultMs'] ?? 3000 + scheduler.choose(12_000, 'run.faults')
    this.report = new EndingReport(this.world)
    this.#watched = new WatchedRun(this, replicasOf(this.world))
    const settings = { ...settingsOf(this.world), ...options.settings }
    const nodes = names('node', sizes['nodes'] ?? 3)
    this.cluster = new SimulatedCluster({
      world: this.world,
      nodes,
      // As people run it: with fewer there is no majority without one of them.
      founders: nodes.length < 3 ? 1 : 3,
      secret: drawSecret(this.world),
      logger: (machine) => createTraceLogger(machine, this.world),
      open: { ...settings, segmentBytes: 65_536, collectIntervalMs: 3000 },
      connect: settings,
      wrapProcessIo: (io, machine) => this.#programs.onNode(io, machine),
    })
    this.#programs = new Programs(this, { options, watched: this.#watched })
    if (plan.kinds?.some(isDamage) === true && !hasCopies(this.cluster)) {
      throw new QuireError(
        'QUIRE_BAD_OPTION',
        'damage of disks takes three nodes, for a copy to stay',
      )
    }
    const clients = options.run === undefined ? [] : names('client', sizes['clients'] ?? 2)
    this.#hosts = clients.map((machine) => this.#programs.host(machine))
    this.#nemesis = new Nemesis({
      cluster: this.cluster,
      clients: () => clients,
      killClient: (name) => this.#hosts.find(({ machine }) => machine === name)?.kill(),
      kinds: plan.kinds,
      faults: plan.faults,
    })
  }

  /** Of all that take part. */
  get machines(): string[] {
    return [...this.cluster.nodes, ...this.#hosts.map(({ machine }) => machine), observer]
  }

  /** The states that were opened, as reasons name them. */
  get states(): string[] {
    return this.#watched.oracles.map(({ name }) => `state ${name}`)
  }

  /** What it takes to do the same again, as far as it went. */
  get plan(): Plan {
    const { plan } = this.#parts
    const { choices } = this.world.scheduler
    const sizes = { ...plan.sizes, faultMs: this.#faultMs, clients: this.#hosts.length }
    return { ...plan, sizes, choices }
  }

  /** How many faults there were. */
  get faults(): number {
    return this.#nemesis.faults
  }

  get facts(): RunFacts {
    const { traceHash, events, nowMs } = this.world.scheduler
    const commands = { executed: 0, answered: 0, applied: 0 }
    for (const { counts } of this.#watched.oracles) {
      commands.executed += counts.executed
      commands.answered += counts.answered
      commands.applied += counts.applied
    }
    const faults = Object.fromEntries(this.#nemesis.counts)
    return { traceHash, events, virtualMs: Math.round(nowMs), faults, commands }
  }

  async whole(): Promise<Violation | undefined> {
    const release = holdGlobals()
    try {
      await this.world.settle(this.#phases(), 3_600_000)
    } catch (error) {
      // The report has ended the run, or something else has, which is told then.
      if (this.report.verdict === undefined) this.report.violated('run', textOf(error))
    } finally {
      release()
    }
    return this.report.verdict
  }

  async #phases(): Promise<void> {
    const { scheduler } = this.world
    for (const operator of this.cluster.operators) operator.start()
    await allStarted(this)
    for (const host of this.#hosts) host.start()
    for (const operator of this.cluster.operators) this.#programs.serve(operator)
    await this.#nemesis.run(this.#faultMs)
    scheduler.tell(() => 'all is whole again', { machine: '' })
    await this.world.pass(scheduler.between([0, 5000], 'run.healed'))
    await this.#stop()
    await this.#lastLook()
  }

  /** Nothing new is begun; what has begun must end. */
  async #stop(): Promise<void> {
    for (const host of this.#hosts) host.leave()
    this.#programs.stop()
    const endMs = this.world.scheduler.nowMs + livenessMs
    while (this.#programs.waitingFor.length > 0 && this.world.scheduler.nowMs < endMs) {
      await this.world.pass(100)
    }
    const stuck = this.#programs.waitingFor
    const text = `not ended ${livenessMs} ms after all was healed: ${stuck.join('; ')}`
    this.report.holds(stuck.length === 0, 'liveness', () => text)
  }

  async #lastLook(): Promise<void> {
    const { world, cluster, report } = this
    for (const { machine } of this.#hosts) world.kill(machine)
    const mayStayDown = (name: string, error: unknown): boolean =>
      this.#nemesis.damage?.explains(name, error) === true
    await restartAll({ world, cluster, report, mayStayDown })
    await this.#programs.lastLook(observer)
    for (const operator of cluster.operators.reverse()) {
      const isDown = operator.node === undefined
      await operator.close()
      if (isDown) world.kill(operator.name)
    }
    await quiet(this, [...this.cluster.nodes, observer])
  }
}

/** Ends the run with the first violation: what comes behind it may only follow from it. */
class EndingReport extends Report {
  readonly #world: World

  constructor(world: World) {
    super(() => world.scheduler.nowMs)
    this.#world = world
  }

  override violated(checker: string, reason: string): void {
    super.violated(checker, reason)
    this.#world.scheduler.tell(() => `=> ${checker}`)
    this.#world.scheduler.fail(new Error(reason))
  }

  override get verdict(): Violation | undefined {
    return this.violations[0]
  }
}

function names(what: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${what}-${index + 1}`)
}

/** Short in some runs, so that what they guard happens often. */
function settingsOf({ scheduler }: World): Partial<ClientSettings> {
  return scheduler.choose(2, 'settings') === 1
    ? { sessionTimeoutMs: 2000, connectTimeoutMs: 500, addTimeoutMs: 500, readTimeoutMs: 500 }
    : {}
}

/** Often in most runs, so that states begin with snapshots, and logs are cut. */
function replicasOf({ scheduler }: World): { snapshotEvery?: number; checkEvery?: number } {
  const snapshotEvery = [undefined, 15, 60][scheduler.choose(3, 'settings')]
  return { checkEvery: 10, ...(snapshotEvery !== undefined && { snapshotEvery }) }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
