// Members of a group that replicates the metadata, each on a machine of its own, with an operator
// who starts again what ended. What is simulated is `io` and nothing else. Until a node takes part
// in a group by itself, its members are simulated without the rest of it.

import { emptyConfiguration } from '../metadata/raft/core/configuration.ts'
import { openMember } from '../metadata/raft/member.ts'
import type { Founding, Member, MemberOptions } from '../metadata/raft/member.ts'
import { PortRouter } from '../embedded/node/port-router.ts'
import { withSecret } from '../io/authenticated-network.ts'
import type { Io } from '../io/io.ts'
import type { Logger } from '../io/log.ts'
import { SharedSecret } from '../wire/handshake.ts'
import { clusterPort, Operator, type WrapIo } from './cluster.ts'
import { Disk } from './disk.ts'
import { createSimulatedIo } from './io.ts'
import { damageEntry } from './tree-damage.ts'
import type { World } from './world.ts'

export interface GroupOptions {
  readonly world: World
  /** Names of the machines; the first `founders` of them begin the group. */
  readonly machines: readonly string[]
  readonly founders: number
  readonly logger: (machine: string) => Logger
  /** Of all members. Default: none. */
  readonly secret?: string | undefined
  readonly wrapIo?: WrapIo
  readonly member?: Partial<MemberOptions>
  /** Milliseconds that the operator lets pass before a member that ended is started again. */
  readonly restartMs?: readonly [number, number]
}

const port = clusterPort
const storePath = '/data/tree.sqlite'

export class SimulatedGroup {
  readonly world: World
  readonly nodes: readonly string[]
  readonly #options: GroupOptions
  readonly #operators = new Map<string, Operator<Member>>()
  /** How often the data of a machine began anew: its id names its data. */
  readonly #generations = new Map<string, number>()
  readonly #ended = new Map<Member, Promise<void>>()

  constructor(options: GroupOptions) {
    this.#options = options
    this.world = options.world
    this.nodes = options.machines
    for (const name of options.machines) {
      const restartMs = options.restartMs ?? [10, 2000]
      const open = () => this.#open(name)
      this.#operators.set(name, new Operator(options.world, { name, restartMs, open }))
    }
  }

  operator(name: string): Operator<Member> {
    const operator = this.#operators.get(name)
    if (operator === undefined) throw new Error(`${name} is no machine of this group`)
    return operator
  }

  get operators(): Operator<Member>[] {
    return [...this.#operators.values()]
  }

  /** The members that run now. */
  get members(): Member[] {
    return this.operators.flatMap(({ node }) => node ?? [])
  }

  /** Resolves when the member's process is no more: what it was asked is never answered then. */
  ended(member: Member): Promise<void> {
    return this.#ended.get(member) ?? Promise.resolve()
  }

  /** The id of what is on the machine's disk now. */
  idOf(machine: string): string {
    return `${machine}-${this.#generations.get(machine) ?? 0}`
  }

  machineOf(id: string): string {
    return id.slice(0, id.lastIndexOf('-'))
  }

  /** The machine comes back with an empty disk. */
  wipe(machine: string): void {
    const node = this.world.node(machine)
    this.operator(machine).cutPower('none')
    node.disk = new Disk(node.disk.options)
    this.#generations.set(machine, (this.#generations.get(machine) ?? 0) + 1)
  }

  /**
   * The machine loses its power, and comes back with a byte of its log changed. False: there was
   * nothing to change.
   */
  damage(machine: string): boolean {
    const { scheduler } = this.world
    this.operator(machine).cutPower('none')
    const choose = (count: number, label: string) => scheduler.choose(count, label)
    return damageEntry(this.world.node(machine).disk, storePath, choose)
  }

  async #open(machine: string): Promise<Member> {
    const { world, wrapIo, logger, member, secret: text } = this.#options
    const secret = text === undefined ? undefined : new SharedSecret(text)
    const known = withSecret(createSimulatedIo(world, machine), secret)
    const io = (wrapIo ?? ((each: Io) => each))(known, machine)
    await io.files.makeDirectory('/data')
    const opened = await openMember({
      ...io,
      store: await io.trees.open(storePath),
      founding: async () => this.#founding(machine),
      addresses: {
        own: { host: machine, port },
        of: (id) => ({ host: this.machineOf(id), port }),
        heard() {},
        missed() {},
      },
      logger: logger(machine),
      ...member,
    })
    const task = world.node(machine).task
    const routes = { peers: opened.accept.bind(opened) }
    const router = new PortRouter({ routes, io, logger: logger(machine), secret })
    await io.network.listen({ host: machine, port }, (connection) => router.accept(connection))
    const ended = new Promise<void>((resolve) => task?.onEnd.push(() => resolve()))
    this.#ended.set(opened, ended)
    return opened
  }

  #founding(machine: string): Founding {
    const founders = this.nodes.slice(0, this.#options.founders)
    const isFounder = founders.includes(machine) && !this.#generations.has(machine)
    const voters = isFounder ? founders.map((each) => `${each}-0`) : []
    const configuration = { ...emptyConfiguration, voters }
    return { clusterId: 'simulated', id: this.idOf(machine), configuration }
  }
}
