// One run: a cluster of three to five nodes, clients at work, faults; then the world is whole again and
// everything must come to its end; then everything is started anew and compared with what was seen.

import type { Client } from '../../src/embedded/client.ts'
import type { ClientSettings } from '../../src/embedded/options.ts'
import { withSecret, type Io, type Logger } from '../../src/io/index.ts'
import { connectMetadata } from '../../src/metadata/client/index.ts'
import type { MetadataStore } from '../../src/metadata/contract.ts'
import {
  type ChoiceLists,
  createSimulatedIo,
  createTraceLogger,
  drawSecret,
  type FaultKind,
  Host,
  type Moment,
  Nemesis,
  type Plan,
  SimulatedCluster,
  type Told,
  World,
} from '../../src/simulation/index.ts'
import { checkError, Report, type Violation } from '../../src/simulation/report.ts'
import { createCheckers, type Checkers } from './checkers/all.ts'
import { coreGoesOn } from './core.ts'
import { CrashClones } from './crash-clone.ts'
import { heard } from './heard.ts'
import { Life } from './life.ts'
import { observed } from './observer.ts'
import { resultOf } from './result.ts'
import type { Unknowns } from './sometimes.ts'
import { useRegisters } from './registers.ts'
import type { TellMoment } from './turns.ts'
import { verify } from './verify.ts'
import { areas, tasks, type Area } from './tasks.ts'
import { watched } from './raft/observer.ts'
import { RaftOracle } from './raft/oracle.ts'
import { quorumsFor } from './workload.ts'

export interface RunOptions {
  readonly seed: number
  /** Virtual milliseconds of faults. Default: by the seed, 3,000 to 28,000. */
  readonly faultMs?: number | undefined
  /** Machines with clients on them. Default 3. */
  readonly clients?: number | undefined
  readonly kinds?: readonly FaultKind[] | undefined
  /** Numbers of the faults that happen. Default: all. */
  readonly faults?: readonly number[] | undefined
  /** Moments that faults meet. Default: by the seed. */
  readonly moments?: readonly Moment[] | undefined
  /** Choices to take again. */
  readonly choices?: ChoiceLists | undefined
  /** Mean time between two faults. Default: by the seed. */
  readonly everyMs?: number | undefined
  /** One to three hours of faults minutes apart, and clients that rest for up to two hours. */
  readonly isLong?: boolean | undefined
  /** How long clients rest at most between two pieces of work of one kind. Default 1,500. */
  readonly restMs?: number | undefined
  /** Default: by the seed, 3 to 5. */
  readonly nodes?: number | undefined
  /** How many of them keep the metadata together. Default: by the seed, one alone or three. */
  readonly founders?: number | undefined
  /** How soon clients give up on bookies. Default: by the seed. */
  readonly patience?: Patience | undefined
  /** What clients do. Default: by the seed, everything or one area alone. */
  readonly areas?: readonly Area[] | undefined
  /** Called with each line of the trace. */
  readonly trace?: ((line: string) => void) | undefined
  /** Called with what happens, for people. */
  readonly listen?: ((told: Told) => void) | undefined
}

export interface RunResult {
  readonly seed: number
  readonly traceHash: number
  readonly events: number
  readonly virtualMs: number
  readonly faults: Readonly<Record<string, number>>
  readonly ok: boolean
  readonly checker?: string
  readonly reason?: string
  /** What the run did, for "sometimes" assertions. */
  readonly counts: Readonly<Record<string, number>>
}

const machines = ['a', 'b', 'c', 'd', 'e'] as const
const short = {
  sessionTimeoutMs: 2000,
  connectTimeoutMs: 500,
  addTimeoutMs: 500,
  readTimeoutMs: 500,
}
/** Short or very short in some worlds, so that what they guard happens often. */
export const patiences = ['usual', 'short', 'least'] as const
type Patience = (typeof patiences)[number]
const patience: Readonly<Record<Patience, Partial<ClientSettings>>> = {
  usual: {},
  short,
  least: { ...short, addTimeoutMs: 60, readTimeoutMs: 200 },
}
/** Half of the runs are about one area alone. */
const swarm: readonly (readonly Area[])[] = areas.flatMap((area) => [[area], areas])
const clientMachines = ['k1', 'k2', 'k3'] as const
/** After everything is whole again, whatever has begun ends within this. */
const livenessMs = 240_000

export async function runSeed(options: RunOptions): Promise<RunResult> {
  const { result } = await runWhole(options)
  return result
}

/** With what it takes to run it again, and how many faults there were. */
export async function runWhole(
  options: RunOptions,
): Promise<{ result: RunResult; plan: Plan; faults: number }> {
  const run = new Run(options)
  const result = run.result(await run.whole())
  return { result, plan: run.plan, faults: run.faults }
}

class Run {
  readonly world: World
  readonly report: Report
  readonly cluster: SimulatedCluster
  readonly checkers: Checkers
  readonly #clones: CrashClones
  readonly #oracle: RaftOracle
  readonly #options: RunOptions
  readonly #lives: Life[] = []
  readonly #hosts: Host[]
  readonly #nemesis: Nemesis
  readonly #settings: Partial<ClientSettings>
  readonly #pace: Pace
  readonly #areas: readonly Area[]
  #stopping = false

  constructor(options: RunOptions) {
    this.#options = options
    this.world = new World({ ...options, eventsMax: 6_000_000 })
    const { scheduler } = this.world
    this.#pace = paceOf(options, this.world)
    this.report = new Report(() => scheduler.nowMs)
    const moment: TellMoment = (...at) => this.#nemesis.moment(...at)
    const damage = () => this.#nemesis.damage
    const checkers = createCheckers(this.world, this.report, { damage, moment })
    const isHeard = options.listen !== undefined || options.trace !== undefined
    this.checkers = isHeard ? heard(checkers, this.world) : checkers
    this.#clones = new CrashClones(this.world, this.report)
    const promised = (bookie: string) => this.#promised(bookie)
    this.#oracle = new RaftOracle(this.report)
    const parts = { ...this.checkers, promised, moment, now: () => scheduler.events }
    this.#settings = patience[options.patience ?? patiences[choose(this.world, 3)] ?? 'usual']
    this.cluster = new SimulatedCluster({
      world: this.world,
      nodes: machines.slice(0, options.nodes ?? [3, 3, 4, 5][choose(this.world, 4)]),
      founders: options.founders ?? [1, 3][this.world.scheduler.choose(2, 'settings.founders')],
      secret: drawSecret(this.world),
      logger: (machine) => this.#logger(machine),
      wrapNodeIo: (io, machine) =>
        watched(observed(io, machine, parts), {
          oracle: this.#oracle,
          moment: (what) => void moment(what, { machine }),
        }),
      open: {
        ...this.#settings,
        segmentBytes: [65_536, 262_144][choose(this.world, 2)] ?? 0,
        collectIntervalMs: [300, 3000, 30_000][choose(this.world, 3)] ?? 0,
      },
      connect: this.#settings,
    })
    this.#areas = options.areas ?? swarm[choose(this.world, swarm.length)] ?? areas
    const clients = clientMachines.slice(0, options.clients)
    this.#hosts = clients.map((machine) => {
      const live = (lives: () => boolean) => this.#live(machine, lives)
      return new Host({ world: this.world, machine, restartMs: [1, 4000], live })
    })
    this.#nemesis = new Nemesis({
      cluster: this.cluster,
      clients: () => clients,
      killClient: (name) => this.#hostOf(name)?.kill(),
      mayForget: (machine, records) =>
        this.checkers.budget.mayForget(machine, records, this.checkers),
      kinds: options.kinds,
      faults: options.faults,
      everyMs: this.#pace.everyMs,
      moments: options.moments,
    })
  }

  /** What it takes to do the same again, as far as it went. */
  get plan(): Plan {
    const { seed, kinds, faults, nodes, founders, moments } = this.#options
    const { areas: areasTold, patience: told } = this.#options
    const { choices } = this.world.scheduler
    const { everyMs, ...pace } = this.#pace
    const clients = this.#hosts.length
    const sizes = {
      ...pace,
      clients,
      ...(everyMs !== undefined && { everyMs }),
      ...(nodes !== undefined && { nodes }),
      ...(founders !== undefined && { founders }),
    }
    const words = {
      ...(areasTold && { areas: areasTold }),
      ...(moments && { moments }),
      ...(told && { patience: [told] }),
    }
    return { seed, sizes, words, kinds, faults, choices }
  }

  get faults(): number {
    return this.#nemesis.faults
  }

  async whole(): Promise<Violation | undefined> {
    try {
      const ended = Promise.race([this.#phases(), this.report.found.wait()])
      await this.world.settle(ended, this.#pace.faultMs + 3_600_000)
    } catch (error) {
      checkError(this.report, error, 'the run')
      if (this.report.verdict === undefined) this.report.violated('run', String(error))
    }
    await this.#clones.check()
    return this.report.verdict
  }

  async #phases(): Promise<void> {
    const { scheduler } = this.world
    for (const operator of this.cluster.operators) operator.start()
    // In some worlds faults meet the very first start; a ledger made while there is one bookie has
    // one copy.
    const isDamaged = this.#nemesis.damage !== undefined
    this.checkers.ackQuorumSize = isDamaged ? 2 : scheduler.choose(2, 'run.start') + 1
    this.checkers.quorums = quorumsFor(this.cluster.nodes.length, isDamaged)
    const begun = () => this.cluster.operators.every(({ node }) => node !== undefined)
    while (this.checkers.ackQuorumSize === 2 && !begun()) await this.world.pass(10)
    for (const host of this.#hosts) host.start()
    for (const operator of this.cluster.operators) this.#workOn(operator)
    await this.#nemesis.befall(this.#pace.faultMs)
    // In a world that may have ledgers of one copy, all nodes are needed.
    const away = this.checkers.ackQuorumSize === 2 ? this.#nemesis.healCore() : undefined
    if (away !== undefined) await coreGoesOn(this, away)
    this.#nemesis.heal()
    scheduler.tell(() => 'all is whole again', { machine: '' })
    await this.world.pass(scheduler.between([0, 5000], 'run.healed'))
    await this.#stop()
    await verify(this)
  }

  #promised(bookie: string): void {
    const { budget, bookies } = this.checkers
    if (!budget.isSound(bookie)) return
    this.#clones.told(bookie, () => budget.promisedBy(bookie, bookies))
  }

  async #live(machine: string, lives: () => boolean): Promise<void> {
    try {
      const io = createSimulatedIo(this.world, machine)
      const client = await this.cluster.client(machine, io)
      if (lives()) this.begin(machine, client, this.metadataOf(machine, io))
    } catch (error) {
      checkError(this.report, error, `connect on ${machine}`)
      if (lives()) this.#hostOf(machine)?.kill()
    }
  }

  #hostOf(machine: string): Host | undefined {
    return this.#hosts.find((host) => host.machine === machine)
  }

  /** The clients of the nodes themselves work too. */
  #workOn(operator: SimulatedCluster['operators'][number]): void {
    const begin = async (): Promise<void> => {
      while (!this.#stopping) {
        const { node } = operator
        if (node !== undefined && !this.#stopping) this.begin(operator.name, node)
        await operator.ready.wait()
      }
    }
    void begin()
  }

  /** Starts a client's tasks: some of them, by the seed. */
  begin(machine: string, client: Omit<Client, 'close'>, metadata?: MetadataStore): void {
    const { task } = this.world.node(machine)
    if (task === undefined || this.#stopping) return
    const { world, report } = this
    const { restMs } = this.#pace
    const life = new Life({ world, report, machine, task, client, restMs })
    this.#lives.push(life)
    for (const { name, area, oneIn, work } of tasks) {
      if (!this.#areas.includes(area)) continue
      const chances = this.#areas.length === 1 ? Math.ceil(oneIn / 2) : oneIn
      if (life.choose(chances) === 0) life.start(name, () => work(life, this.checkers))
    }
    if (!this.#areas.includes('registers')) return
    const { registers } = this.checkers
    if (metadata === undefined || life.choose(2) === 0) return
    const open = () => metadata.session()
    life.start('register user', () => useRegisters(life, registers, open))
  }

  /** Sessions on the tree itself, for a process. */
  metadataOf(machine: string, io: Io): MetadataStore {
    const { sessionTimeoutMs: timeoutMs = 10_000 } = this.#settings
    const { addresses, secret } = this.cluster
    const reach = withSecret(io, secret)
    return connectMetadata({ ...reach, logger: this.#logger(machine), addresses, timeoutMs })
  }

  /** Nothing new is begun; what has begun must end. */
  async #stop(): Promise<void> {
    this.#stopping = true
    for (const host of this.#hosts) host.leave()
    const { scheduler } = this.world
    const endMs = scheduler.nowMs + livenessMs
    for (const life of this.#lives) life.ending.abort()
    const waiting = () => this.#lives.filter(({ alive }) => alive).flatMap((l) => l.waitingFor)
    while (waiting().length > 0 && scheduler.nowMs < endMs) {
      await this.world.pass(100)
    }
    const stuck = waiting()
    if (stuck.length > 0) {
      this.report.violated(
        'liveness',
        `not ended ${livenessMs} ms after all was healed: ${stuck.join()}`,
      )
    }
  }

  result(violation: Violation | undefined): RunResult {
    return resultOf(this.world, violation, {
      seed: this.#options.seed,
      faults: this.#nemesis.counts,
      counts: {
        lives: this.#lives.length,
        ledgers: this.checkers.ledgers.live.length,
        copies: this.checkers.bookies.held.length,
        ...this.#rareEvents(),
      },
    })
  }

  #rareEvents(): Readonly<Record<string, number>> {
    const { logs, machines, databases, sometimes } = this.checkers
    const sum = (all: readonly { readonly unknown: Unknowns }[]): Unknowns => ({
      there: all.reduce((count, { unknown }) => count + unknown.there, 0),
      notThere: all.reduce((count, { unknown }) => count + unknown.notThere, 0),
    })
    return sometimes.counts({
      given: this.report.given,
      appends: sum([...logs.values()]),
      commands: sum([...machines.values(), ...databases.values()]),
    })
  }

  #logger(machine: string): Logger {
    const heard = (message: string) => this.checkers.sometimes.log(message)
    return createTraceLogger(machine, this.world, heard)
  }
}

export type { Run }

interface Pace {
  readonly faultMs: number
  readonly everyMs: number | undefined
  readonly restMs: number
}

/** Runs are short and crowded, or last for hours in which little happens at a time. */
function paceOf(options: RunOptions, { scheduler }: World): Pace {
  const drawn = scheduler.choose(25_000, 'run.faults')
  if (options.isLong !== true) {
    const { faultMs = 3000 + drawn, everyMs, restMs = 1500 } = options
    return { faultMs, everyMs, restMs }
  }
  const rare = [60_000, 300_000, 900_000][scheduler.choose(3, 'run.pace')]
  const { faultMs = 3_600_000 + 288 * drawn, everyMs = rare, restMs = 7_200_000 } = options
  return { faultMs, everyMs, restMs }
}

function choose(world: World, count: number): number {
  return world.scheduler.choose(count, 'settings')
}
