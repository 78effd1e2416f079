// One run of a group that replicates the metadata: members, clients, changes of the membership,
// faults; then the world is whole again and all must agree; then everything is started anew.

import { QuireError } from '../../../src/errors.ts'
import type { ReplicatedTreeStore } from '../../../src/io/index.ts'
import type { RaftOptions } from '../../../src/metadata/raft/core/types.ts'
import type { Member } from '../../../src/metadata/raft/member.ts'
import {
  createTraceLogger,
  drawSecret,
  Nemesis,
  SimulatedGroup,
  World,
} from '../../../src/simulation/index.ts'
import { hashText } from '../../../src/simulation/random.ts'
import { checkError, Report, type Violation } from '../../../src/simulation/report.ts'
import { resultOf } from '../result.ts'
import type { RunOptions, RunResult } from '../run.ts'
import { Admin } from './admin.ts'
import { openSessions, readOften, useRegister } from './clients.ts'
import { watched, type Watch } from './observer.ts'
import { RaftOracle } from './oracle.ts'
import { RegisterHistories } from './registers.ts'

const machines = ['a', 'b', 'c', 'd', 'e'] as const
const clients = 4
/** After everything is whole again, all agree within this. */
const livenessMs = 120_000
/** Whoever was not told anything by then asks elsewhere. */
const answerMs = 30_000

export async function runGroup(options: RunOptions): Promise<RunResult> {
  const run = new GroupRun(options)
  return run.result(await run.whole())
}

export class GroupRun {
  readonly world: World
  readonly report: Report
  readonly group: SimulatedGroup
  readonly oracle: RaftOracle
  readonly histories: RegisterHistories = new RegisterHistories()
  readonly #options: RunOptions
  readonly #nemesis: Nemesis
  readonly #stores = new Map<string, ReplicatedTreeStore>()
  readonly #repeats: number
  #stopping = false
  #busy = 0

  constructor(options: RunOptions) {
    const { seed, trace } = options
    this.#options = options
    this.world = new World({
      seed: `group ${seed}`,
      trace,
      eventsMax: 3_000_000,
      afterEvent: () => this.#look(),
    })
    const { scheduler } = this.world
    this.report = new Report(() => scheduler.nowMs)
    this.oracle = new RaftOracle(this.report)
    this.#repeats = [0, 0, 0.1, 0.4][this.choose(4)] ?? 0
    const founders = [3, 3, 3, 5][this.choose(4)] ?? 3
    this.group = new SimulatedGroup({
      world: this.world,
      machines: founders === 5 ? machines : machines.slice(0, founders + this.choose(3)),
      founders,
      secret: drawSecret(this.world),
      logger: (machine) => createTraceLogger(machine, this.world),
      wrapIo: (io, machine) => {
        const opened = (store: ReplicatedTreeStore) => void this.#stores.set(machine, store)
        const { oracle, repeat, moment } = this
        return watched(io, { oracle, opened, repeat, moment })
      },
      member: this.#settings(),
    })
    this.#nemesis = new Nemesis({
      cluster: this.group,
      clients: () => [],
      killClient: () => undefined,
      kinds: options.kinds,
      everyMs: options.everyMs,
      moments: options.moments,
    })
  }

  get stopping(): boolean {
    return this.#stopping
  }

  /** In some worlds messages come twice, the second time late. */
  readonly repeat: NonNullable<Watch['repeat']> = (again, isSnapshot) => {
    const { scheduler, outside } = this.world
    const chance = isSnapshot ? 2 * this.#repeats : this.#repeats
    if (this.#stopping || !scheduler.chance(chance, 'group.repeat')) return
    const delayMs = scheduler.between([0, 4000], 'group.repeat')
    scheduler.schedule(outside, delayMs, { label: 'group.repeat', call: again })
  }

  readonly moment: NonNullable<Watch['moment']> = (moment, member, peer) => {
    const machine = this.group.machineOf(member)
    const aim = { machine, ...(peer !== undefined && { peer: this.group.machineOf(peer) }) }
    this.#nemesis.moment(moment, aim)
  }

  choose(count: number): number {
    return this.world.scheduler.choose(count, 'group')
  }

  /** A member that runs; most often the one that leads. */
  someMember(): Member | undefined {
    const { members } = this.group
    const leading = members.filter(({ driver }) => driver.status.role === 'leader')
    const from = leading.length > 0 && this.choose(5) > 0 ? leading : members
    return from.length === 0 ? undefined : from[this.choose(from.length)]
  }

  /** What a member answers; undefined when it ended first, or does not answer in a long time. */
  async asked<T>(member: Member, call: Promise<T>): Promise<T | undefined> {
    const gone = this.group.ended(member).then(() => undefined)
    const late = this.world.pass(answerMs).then(() => undefined)
    return Promise.race([call, gone, late])
  }

  async whole(): Promise<Violation | undefined> {
    try {
      await this.world.settle(Promise.race([this.#phases(), this.report.found.wait()]))
      this.histories.check(this.report)
    } catch (error) {
      checkError(this.report, error, 'the run')
      if (this.report.verdict === undefined) this.report.violated('run', String(error))
    }
    return this.report.verdict
  }

  async #phases(): Promise<void> {
    const { scheduler } = this.world
    for (const operator of this.group.operators) operator.start()
    const begun = () => this.group.operators.every(({ node }) => node !== undefined)
    while (!begun()) await this.world.pass(10)
    for (let client = 0; client < clients; client++)
      void this.#work(() => useRegister(this, client))
    const admin = this.choose(2) === 0 ? new Admin(this) : undefined
    this.oracle.elected = (id) => {
      const member = this.group.members.find(({ identity }) => identity.id === id)
      if (!member || this.#stopping) return
      this.moment('a leader begins', id)
      void this.#work(() => readOften(this, member))
      if (admin) void this.#work(() => admin.changeEarly(member))
    }
    if (admin) void this.#work(() => admin.work())
    if (this.choose(2) === 0) void this.#work(() => openSessions(this))
    const faultMs = this.#options.faultMs ?? 3000 + scheduler.choose(25_000, 'run.faults')
    await this.#nemesis.run(faultMs)
    scheduler.tell(() => 'healed')
    this.#stopping = true
    await this.#settled('after all was healed')
    if (this.report.named !== undefined) return
    await this.#restart()
    for (const { name, refusals } of this.group.operators) {
      for (const { error } of refusals) {
        // That is how a node tells that its disk was damaged.
        if (!QuireError.is(error, 'QUIRE_BAD_METADATA')) checkError(this.report, error, name)
      }
    }
  }

  async #work(work: () => Promise<void>): Promise<void> {
    this.#busy += 1
    try {
      await work()
    } catch (error) {
      checkError(this.report, error, 'a client')
    }
    this.#busy -= 1
  }

  async #restart(): Promise<void> {
    for (const operator of this.group.operators) operator.cutPower('none')
    await this.#settled('after all were started again')
  }

  /** Clients have ended, somebody leads, and all members that count have the same tree. */
  async #settled(when: string): Promise<void> {
    const endMs = this.world.scheduler.nowMs + livenessMs
    while (this.world.scheduler.nowMs < endMs && this.report.named === undefined) {
      await this.world.pass(100)
      if (this.#busy === 0 && this.#isLevel()) return this.#compare()
    }
    if (this.report.named !== undefined) return
    const states = this.group.members.map(({ identity, driver }) => {
      const { role, term, commit, applied } = driver.status
      return `${identity.id} ${role} ${term} ${commit} ${applied}`
    })
    this.report.violated('liveness', `not level ${when}: ${this.#busy} busy; ${states.join('; ')}`)
  }

  /** Voters whose disks are still there. */
  get #voters(): string[] {
    const leader = this.group.members.find(({ driver }) => driver.status.ready)
    const ids = new Set(this.group.nodes.map((machine) => this.group.idOf(machine)))
    return leader?.driver.status.configuration.voters.filter((id) => ids.has(id)) ?? []
  }

  #counted(): Member[] {
    const voters = this.#voters
    return this.group.members.filter(({ identity }) => voters.includes(identity.id))
  }

  #isLevel(): boolean {
    const members = this.#counted()
    const applied = new Set(members.map(({ driver }) => driver.status.applied))
    const commit = members.find(({ driver }) => driver.status.ready)?.driver.status.commit
    return (
      members.length > 0 &&
      members.length === this.#voters.length &&
      applied.size === 1 &&
      applied.has(commit ?? -1)
    )
  }

  async #compare(): Promise<void> {
    const stores = this.#counted().flatMap(
      ({ identity }) => this.#stores.get(this.group.machineOf(identity.id)) ?? [],
    )
    const trees = await Promise.all(stores.map(treeOf))
    this.report.holds(
      new Set(trees).size <= 1,
      'state equality',
      () => `members that applied the same differ: ${trees.map((tree) => hashText(tree)).join()}`,
    )
  }

  #look(): void {
    for (const member of this.group.members) {
      const { identity, driver } = member
      this.oracle.look(identity.id, driver.position, () => driver.status)
    }
  }

  /** Tiny in some worlds, so that what they bound happens often. */
  #settings(): { tickMs: number; keepEntries: number; raft: Partial<RaftOptions> } {
    const pick = <T>(...from: readonly [T, ...T[]]): T => from[this.choose(from.length)] ?? from[0]
    return {
      tickMs: pick(10, 20, 50),
      keepEntries: pick(2, 10, 10_000),
      raft: {
        appendBytesMax: pick(200, 2000, 262_144),
        inflightMessagesMax: pick(1, 4, 64),
        chunkBytesMax: pick(100, 262_144, 262_144),
        windowBytesMax: pick(0, 1000, 8_388_608),
        applyBytesMax: pick(1, 1000, 4_194_304),
        electionTicks: pick(10, 20),
      },
    }
  }

  result(violation: Violation | undefined): RunResult {
    return resultOf(this.world, violation, {
      seed: this.#options.seed,
      faults: this.#nemesis.counts,
      counts: { ...this.oracle.counts, calls: this.histories.size },
    })
  }
}

/** All that a store's tree holds, as text. */
async function treeOf(store: ReplicatedTreeStore): Promise<string> {
  const parts: string[] = []
  for await (const { put, facts } of store.image(1_000_000)) {
    for (const row of put) parts.push(JSON.stringify(row, plain))
    for (const [name, value] of facts)
      parts.push(`${name} ${Buffer.from(value ?? []).toString('hex')}`)
  }
  return parts.sort().join('\n')
}

const plain = (_name: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value
