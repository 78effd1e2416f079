// What befalls a cluster, drawn from the seed: a world in which each seed has some kinds of faults,
// each more or less often ("swarm"). All of it is within what the cluster claims to survive: disks
// lose what was not synced and nothing else, every cable is mended, every machine comes back.

import type { CrashMode } from './crash.ts'
import { clusterPort, type Operator, type Running } from './cluster.ts'
import { defaultDiskFaults, defaultNetworkFaults } from './faults.ts'
import { Damage, damageKinds, type DamageKind } from './damage.ts'
import type { StoredRecord } from './journals.ts'
import { Moments, type Aim, type Moment } from './moments.ts'
import { messageMs, type SimulatedNode } from './node.ts'
import { disturb, leave } from './stranger.ts'
import type { World } from './world.ts'

type Kept = Pick<Operator<Running>, 'name' | 'kill' | 'cutPower' | 'restart' | 'start' | 'stop'>

/** Machines with operators: a `SimulatedCluster` is one. */
export interface Troubled {
  readonly world: World
  readonly nodes: readonly string[]
  readonly operators: readonly Kept[]
  operator(name: string): Kept
  /** Those of which one disk may be damaged, or one may stay away; by default none. */
  readonly victims?: readonly Operator[]
  /** Those that replicate the metadata. */
  readonly keepers?: readonly string[]
}

export interface NemesisOptions {
  readonly cluster: Troubled
  /** Machines of clients: cut off, paused and killed as nodes are. */
  readonly clients: () => readonly string[]
  /** What a client that is killed does then: start anew, or stay away. */
  readonly killClient: (name: string) => void
  /** Kinds of faults. Default: a part of all, by the seed. */
  readonly kinds?: readonly FaultKind[] | undefined
  /** Numbers of the faults that happen, in the order of time from 0. Default: all. */
  readonly faults?: readonly number[] | undefined
  /** Mean time between two faults. Default: by the seed. */
  readonly everyMs?: number | undefined
  /** Whether a disk may lose these records in a way that no node can notice. Default: never. */
  readonly mayForget?: (machine: string, records: readonly StoredRecord[]) => boolean
  /** Moments that faults meet. Default: by the seed. */
  readonly moments?: readonly Moment[] | undefined
}

const faultsOfProcesses = [
  'kill',
  'restart',
  'power cut',
  'power cut of all',
  'pause',
  'slow node',
  'pause of a client',
  'kill of a client',
  'clock jump',
] as const
const faultsOfNetwork = [
  'partition',
  'one-way partition',
  'cut between two',
  'reset',
  'slow network',
  'slow cable',
  'flaky network',
  'garbage',
] as const
const faultsOfDisks = [
  'disk stall',
  'hung disk',
  'slow disk',
  'sync error',
  'write error',
  'read error',
  'full disk',
] as const

type FaultOfProcess = (typeof faultsOfProcesses)[number]
type FaultOfNetwork = (typeof faultsOfNetwork)[number]
type FaultOfDisk = (typeof faultsOfDisks)[number]

export type FaultKind = FaultOfProcess | FaultOfNetwork | FaultOfDisk | DamageKind

export const faultKinds: readonly FaultKind[] = [
  ...faultsOfProcesses,
  ...faultsOfNetwork,
  ...faultsOfDisks,
  ...damageKinds,
]

export const isDamage = (kind: FaultKind): kind is DamageKind =>
  damageKinds.some((damage) => damage === kind)

/** Whether a disk may be damaged: of what was acknowledged there is a whole copy elsewhere. */
export const hasCopies = (cluster: Pick<Troubled, 'nodes'>): boolean => cluster.nodes.length > 2

/** Kinds that can be aimed at a machine, or at two that speak with one another. */
const aimed: ReadonlySet<FaultKind> = new Set([
  ...faultsOfProcesses,
  'partition',
  'one-way partition',
  'cut between two',
  'reset',
  'slow cable',
  'disk stall',
  'hung disk',
  'slow disk',
  'sync error',
  'write error',
  'full disk',
])

const crashModes = ['any', 'none', 'all', 'prefix', 'subset', 'any'] as const

export class Nemesis {
  readonly counts: Map<FaultKind, number> = new Map()
  readonly kinds: readonly FaultKind[]
  readonly everyMs: number
  readonly #options: NemesisOptions
  readonly #world: World
  /** What befell the disk that is damaged, in worlds where one is. */
  readonly damage: Damage | undefined
  readonly #faults: Record<Exclude<FaultKind, DamageKind>, () => void>
  readonly #moments: Moments
  readonly #aimed: readonly FaultKind[]
  #isBefalling = false
  #healed = false
  #drawn = 0
  #aim: Aim = {}
  /** What the present fault draws from: its own, so that one without it is like it otherwise. */
  #label = 'nemesis'

  constructor(options: NemesisOptions) {
    this.#options = options
    this.#world = options.cluster.world
    const { scheduler } = this.#world
    this.kinds = options.kinds ?? this.#someKinds()
    if (this.kinds.some(isDamage)) this.damage = this.#damage()
    this.#faults = { ...this.#ofProcesses(), ...this.#ofNetwork(), ...this.#ofDisks() }
    this.everyMs = options.everyMs ?? [150, 400, 1200, 3000][scheduler.choose(4, 'swarm.pace')] ?? 0
    this.#aimed = this.kinds.filter((kind) => aimed.has(kind))
    this.#moments = new Moments(scheduler, { everyMs: this.everyMs, favoured: options.moments })
    for (const node of this.#machines()) node.clockFaults.drift = this.#drift()
  }

  /** How many faults there were, with those that were left out. */
  get faults(): number {
    return this.#drawn
  }

  /** Lets faults happen for so long; then the world is whole again, and all nodes are started. */
  async run(forMs: number): Promise<void> {
    await this.befall(forMs)
    this.heal()
  }

  /** Lets faults happen for so long. The world stays as it is then until it is healed. */
  async befall(forMs: number): Promise<void> {
    const { scheduler } = this.#world
    const endMs = scheduler.nowMs + forMs
    this.#isBefalling = true
    while (this.kinds.length > 0) {
      const waitMs = scheduler.between([0, 2 * this.everyMs], 'nemesis.wait')
      if (scheduler.nowMs + waitMs >= endMs) break
      await this.#world.pass(waitMs)
      this.happen(this.kinds[scheduler.choose(this.kinds.length, 'nemesis.kind')] ?? 'kill')
    }
    await this.#world.pass(Math.max(0, endMs - scheduler.nowMs))
    this.#isBefalling = false
  }

  /** A moment has come that faults may meet. What befalls it, if anything does. */
  moment(moment: Moment, aim: Aim): FaultKind | undefined {
    const kinds = this.#aimed
    if (!this.#isBefalling || kinds.length === 0 || !this.#moments.isMet(moment)) return undefined
    const { scheduler } = this.#world
    const kind = kinds[scheduler.choose(kinds.length, 'moment.kind')] ?? 'reset'
    scheduler.tell(() => moment, { machine: aim.machine ?? '' })
    return this.happen(kind, aim) ? kind : undefined
  }

  /**
   * One fault of the kind, now, unless it is left out; most end by themselves. One that is aimed
   * comes when the event that it meets has ended, or up to a few milliseconds later.
   */
  happen(kind: FaultKind, aim?: Aim): boolean {
    const number = this.#drawn++
    if (this.#options.faults?.includes(number) === false) return false
    const label = `fault ${number}`
    this.#label = label
    const happened = isDamage(kind) ? this.damage?.happen(kind, label) : kind
    if (happened === undefined) return false
    this.counts.set(happened, (this.counts.get(happened) ?? 0) + 1)
    this.#world.scheduler.tell(() => `${label}: ${happened}`, { machine: '' })
    if (isDamage(kind)) return true
    const act = () => {
      this.#label = label
      this.#aim = aim ?? {}
      this.#faults[kind]()
      this.#aim = {}
    }
    if (aim === undefined || kind === 'reset') act()
    else this.#endLater([0, this.#choose(2) * 4], act)
    return true
  }

  /**
   * All is whole again but for one node that stays dead or cut off, never one that alone has the
   * metadata: what needs no more than the others must go on. Its name; undefined where none stays
   * away.
   */
  healCore(): string | undefined {
    this.heal()
    const { cluster } = this.#options
    const { cables } = this.#world
    this.#label = 'core'
    if (this.#choose(4) === 0) return undefined
    const able = cluster.victims?.map(({ name }) => name) ?? cluster.nodes.slice(1)
    const away = this.damage?.victim ?? this.#pick(able)
    const isDead = this.#choose(2) === 0
    const text = () => (isDead ? 'stays dead' : 'stays cut off')
    this.#world.scheduler.tell(text, { machine: away })
    if (isDead) cluster.operator(away).stop()
    else
      cables.partition(
        [away],
        this.#names().filter((name) => name !== away),
      )
    return away
  }

  /** All is whole again, and every node is started. */
  heal(): void {
    this.#healed = true
    for (const operator of this.#options.cluster.operators) operator.start()
    const { cables, scheduler } = this.#world
    cables.heal()
    cables.quicken()
    Object.assign(cables.faults, defaultNetworkFaults())
    for (const node of this.#machines()) {
      Object.assign(node.diskFaults, defaultDiskFaults(), { next: node.diskFaults.next })
      node.diskFaults.next.length = 0
      node.disk.capacityBytes = 2 ** 30
      node.pausedUntilMs = Math.min(node.pausedUntilMs, scheduler.nowMs)
      quicken(node)
    }
    leave(this.#world)
  }

  /** Each one with a chance; damage in a part of the worlds only, where there are other copies. */
  #someKinds(): FaultKind[] {
    const { scheduler } = this.#world
    const withDamage = scheduler.choose(3, 'swarm.damage') === 0 && hasCopies(this.#options.cluster)
    return faultKinds.filter((kind) => {
      if (isDamage(kind) && !(withDamage && this.#options.cluster.victims)) return false
      return scheduler.choose(3, 'swarm') === 0
    })
  }

  #damage(): Damage {
    const { cluster, mayForget } = this.#options
    const victim = this.#pick(cluster.victims ?? [])
    const may = mayForget && ((records: readonly StoredRecord[]) => mayForget(victim.name, records))
    const isKeeper = cluster.keepers?.includes(victim.name) === true
    return new Damage({ world: this.#world, victim, mayForget: may, isKeeper })
  }

  #ofProcesses(): Record<FaultOfProcess, () => void> {
    return {
      kill: () => this.#operator().kill(),
      restart: () => void this.#operator().restart(20_000),
      'power cut': () => this.#operator().cutPower(this.#crashMode()),
      'power cut of all': () => {
        const mode = this.#crashMode()
        for (const operator of this.#options.cluster.operators) operator.cutPower(mode)
      },
      pause: () => this.#world.pause(this.#operator().name, this.#between([10, 15_000])),
      'slow node': () => {
        const node = this.#world.node(this.#operator().name)
        node.eventMs = this.#between([0.1, 3])
        node.messageMs = [0.01, this.#between([1, 50])]
        this.#endLater([100, 8000], () => quicken(node))
      },
      'pause of a client': () => {
        this.#withClient((name) => this.#world.pause(name, this.#between([10, 15_000])))
      },
      'kill of a client': () => this.#withClient((name) => this.#options.killClient(name)),
      'clock jump': () => {
        const { clockFaults } = this.#world.node(this.#operator().name)
        clockFaults.wallOffsetMs = this.#between([-3.6e6, 3.6e6])
      },
    }
  }

  #ofNetwork(): Record<FaultOfNetwork, () => void> {
    const { cables } = this.#world
    const mended = () => this.#endLater([50, 20_000], () => cables.heal())
    return {
      partition: () => {
        cables.partition(...this.#split())
        mended()
      },
      'one-way partition': () => {
        const [one, other] = this.#split()
        for (const from of one) for (const to of other) cables.cut(from, to)
        mended()
      },
      'cut between two': () => {
        const [one, other] = this.#two()
        cables.partition([one], [other])
        mended()
      },
      reset: () => {
        const { machine, peer } = this.#aim
        const isAimed = machine !== undefined && peer !== undefined
        for (const connection of cables.connections()) {
          const isHit = isAimed ? connection.isBetween(machine, peer) : this.#choose(3) === 0
          if (isHit) connection.reset()
        }
      },
      'slow cable': () => {
        const [one, other] = this.#two()
        const latencyMs = [0.1, this.#between([1, this.#choose(2) === 0 ? 60 : 1500])] as const
        cables.slowDown(one, other, latencyMs)
        if (this.#choose(2) === 0) cables.slowDown(other, one, latencyMs)
        this.#endLater([100, 8000], () => {
          cables.quicken(one, other)
          cables.quicken(other, one)
        })
      },
      'slow network': () => {
        cables.faults.latencyMs = [0.1, this.#between([5, 400])]
        cables.faults.reset = this.#choose(2) === 0 ? 0 : 0.002
        this.#endLater([100, 8000], () => Object.assign(cables.faults, defaultNetworkFaults()))
      },
      // Connections are lost all the time.
      'flaky network': () => {
        cables.faults.reset = this.#between([0.002, 0.05])
        this.#endLater([50, 4000], () => (cables.faults.reset = 0))
      },
      garbage: () => {
        void disturb(this.#world, this.#pick(this.#options.cluster.nodes), clusterPort)
      },
    }
  }

  #ofDisks(): Record<FaultOfDisk, () => void> {
    const node = () => {
      const { name } = this.#operator()
      this.#world.scheduler.tell(() => `hit by ${this.#label}`, { machine: name })
      return this.#world.node(name)
    }
    return {
      'disk stall': () => {
        const forMs = this.#between([50, 12_000])
        node().diskFaults.stalledUntilMs = this.#world.scheduler.nowMs + forMs
      },
      // It never answers again; an operator who sees that ends the node.
      'hung disk': () => {
        const operator = this.#operator()
        const { diskFaults } = this.#world.node(operator.name)
        diskFaults.stalledUntilMs = Infinity
        this.#endLater([1000, 20_000], () => {
          diskFaults.stalledUntilMs = 0
          operator.kill()
        })
      },
      'slow disk': () => {
        const { diskFaults } = node()
        diskFaults.slow = 0.3
        this.#endLater([100, 8000], () => (diskFaults.slow = 0))
      },
      'sync error': () => void node().diskFaults.next.push({ kind: 'sync' }),
      'write error': () => void node().diskFaults.next.push({ kind: 'write' }),
      'read error': () => void node().diskFaults.next.push({ kind: 'read' }),
      'full disk': () => this.#fill(node()),
    }
  }

  #fill(node: SimulatedNode): void {
    const { disk } = node
    disk.capacityBytes = disk.usedBytes() + this.#choose(3) * 30_000
    this.#endLater([100, 10_000], () => (node.disk.capacityBytes = 2 ** 30))
  }

  /** Of two that speak with one another, if a moment has them; else any two. */
  #two(): [string, string] {
    const names = this.#names()
    const { machine = this.#pick(names), peer = this.#pick(names) } = this.#aim
    return [machine, peer]
  }

  /** Two groups of machines, neither empty. */
  #split(): [string[], string[]] {
    const names = this.#names()
    const { machine } = this.#aim
    if (machine !== undefined) return [[machine], names.filter((name) => name !== machine)]
    const one = names.filter(() => this.#choose(2) === 0)
    const other = names.filter((name) => !one.includes(name))
    if (one.length > 0 && other.length > 0) return [one, other]
    return [names.slice(0, 1), names.slice(1)]
  }

  /** A drift of at most 500 ppm; of 5 % in some worlds, where no lease may matter. */
  #drift(): number {
    const most = this.#choose(4) === 0 ? 0.05 : 0.0005
    return this.#between([-most, most])
  }

  #endLater(rangeMs: readonly [number, number], call: () => void): void {
    const { scheduler, outside } = this.#world
    const guarded = () => {
      if (!this.#healed) call()
    }
    const label = 'nemesis.end'
    scheduler.schedule(outside, this.#between(rangeMs), { label, call: guarded })
  }

  #withClient(call: (name: string) => void): void {
    const clients = this.#options.clients()
    const { peer } = this.#aim
    if (peer !== undefined && clients.includes(peer)) return call(peer)
    if (clients.length > 0) call(this.#pick(clients))
  }

  #operator(): Kept {
    const { cluster } = this.#options
    const { machine } = this.#aim
    const isNode = machine !== undefined && cluster.nodes.includes(machine)
    return cluster.operator(isNode ? machine : this.#pick(cluster.nodes))
  }

  #names(): string[] {
    return [...this.#options.cluster.nodes, ...this.#options.clients()]
  }

  #machines(): SimulatedNode[] {
    return this.#names().map((name) => this.#world.node(name))
  }

  #crashMode(): CrashMode {
    return crashModes[this.#choose(crashModes.length)] ?? 'any'
  }

  #pick<T>(from: readonly T[]): T {
    const picked = from[this.#choose(from.length)]
    if (picked === undefined) throw new Error('there is something to pick from')
    return picked
  }

  #choose(count: number): number {
    return this.#world.scheduler.choose(count, this.#label)
  }

  #between(range: readonly [number, number]): number {
    return this.#world.scheduler.between(range, this.#label)
  }
}

function quicken(node: SimulatedNode): void {
  node.eventMs = 0
  node.messageMs = messageMs
}
