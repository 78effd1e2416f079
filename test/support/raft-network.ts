// A group of Raft cores with their stores and a network in memory. Nothing happens by itself:
// a test delivers, drops, repeats and delays messages, lets writes and applies be done, crashes and
// starts nodes, in any order. An oracle sees everything and throws when a promise is broken.

import * as realRaft from '../../src/metadata/raft/core/raft.ts'
import * as realReady from '../../src/metadata/raft/core/ready.ts'
import * as realState from '../../src/metadata/raft/core/state.ts'
import * as realEffects from '../../src/metadata/raft/core/effects.ts'
import * as realStatus from '../../src/metadata/raft/core/status.ts'
import * as realTypes from '../../src/metadata/raft/core/types.ts'
import * as realLog from '../../src/metadata/raft/core/log.ts'
import { emptyConfiguration } from '../../src/metadata/raft/core/configuration.ts'
import type { Input, MemberChange } from '../../src/metadata/raft/core/inputs.ts'
import type { Message } from '../../src/metadata/raft/core/messages.ts'
import type { RaftState } from '../../src/metadata/raft/core/state.ts'
import type { Configuration, NodeId, RaftOptions } from '../../src/metadata/raft/core/types.ts'
import type { RaftCore } from './raft-core.ts'
import { emptyDisk } from './raft-disk.ts'
import { RaftNode } from './raft-node.ts'
import type { Outcome, Surroundings } from './raft-node.ts'
import { RaftOracle } from './raft-oracle.ts'

export const realCore: RaftCore = {
  ...realRaft,
  ...realReady,
  ...realState,
  ...realEffects,
  ...realStatus,
  ...realTypes,
  ...realLog,
}

export interface NetworkOptions {
  readonly core?: RaftCore
  /** Founders. Default a, b, c. */
  readonly voters?: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  /** Nodes that know of no group yet. */
  readonly joiners?: readonly NodeId[]
  /** Those of every node. */
  readonly options?: Partial<RaftOptions>
}

/** Campaigns come as late as they may: those a test wants come first. */
const late = 9

/** Jitter that keeps nodes of different names apart. */
export const apart = (id: NodeId): number => id.charCodeAt(0) % 10

/** Few ticks and small bounds, so that each is reached soon. */
const smallOptions = {
  electionTicks: 10,
  heartbeatTicks: 2,
  storageStallTicks: 20,
  snapshotStallTicks: 60,
  readTicks: 30,
  chunkBytesMax: 16,
}

export class RaftNetwork {
  readonly core: RaftCore
  readonly nodes: Map<NodeId, RaftNode> = new Map()
  /** Under way, oldest first. */
  wire: Message[] = []
  /** Links that lose everything, as `from>to`. */
  readonly blocked: Set<string> = new Set()
  /** Nodes whose writes, or applies, are not done by `settle`. */
  readonly hungDisks: Set<NodeId> = new Set()
  readonly hungApplies: Set<NodeId> = new Set()
  /** Messages that get lost as they leave. */
  loses: ((message: Message) => boolean) | undefined
  readonly outcomes: Map<number, Outcome> = new Map()
  oracle: RaftOracle = new RaftOracle()
  #ctx = 0
  readonly #around: Surroundings

  constructor(options: NetworkOptions = {}) {
    const { core = realCore, voters = ['a', 'b', 'c'], learners = [], joiners = [] } = options
    this.core = core
    this.#around = this.#surroundings()
    const founders = { ...emptyConfiguration, voters, learners }
    for (const id of [...voters, ...learners]) this.#add(id, founders, options.options)
    for (const id of joiners) this.#add(id, emptyConfiguration, options.options)
  }

  #surroundings(): Surroundings {
    const oracle = (): RaftOracle => this.oracle
    return {
      core: this.core,
      effects: this.core.createEffects(),
      get oracle() {
        return oracle()
      },
      send: (message) => {
        if (!this.loses?.(message)) this.wire.push(message)
      },
      onOutcome: (ctx, outcome) => {
        const known = this.outcomes.get(ctx)
        if (known) throw new Error(`${ctx} ended as ${known.type}, then as ${outcome.type}`)
        this.outcomes.set(ctx, outcome)
      },
    }
  }

  #add(id: NodeId, configuration: Configuration, options: Partial<RaftOptions> = {}): void {
    const { defaultRaftOptions, emptyStore } = this.core
    const all = { ...defaultRaftOptions, ...smallOptions, ...options, id, runId: this.nodes.size }
    const disk = emptyDisk(emptyStore(configuration), { index: 0, configuration })
    const node = new RaftNode(all, disk)
    this.nodes.set(id, node)
    node.start(this.#around)
  }

  /** A copy that shares nothing that changes. */
  clone(): RaftNetwork {
    const copy = new RaftNetwork({ core: this.core, voters: [] })
    for (const [id, node] of this.nodes) copy.nodes.set(id, node.clone(this.core))
    copy.wire = [...this.wire]
    for (const link of this.blocked) copy.blocked.add(link)
    for (const [ctx, outcome] of this.outcomes) copy.outcomes.set(ctx, outcome)
    copy.oracle = this.oracle.clone()
    copy.#ctx = this.#ctx
    return copy
  }

  node(id: NodeId): RaftNode {
    const found = this.nodes.get(id)
    if (!found) throw new Error(`no node ${id}`)
    return found
  }

  /** The state of a node that runs. */
  state(id: NodeId): RaftState {
    const { state } = this.node(id)
    if (!state) throw new Error(`${id} does not run`)
    return state
  }

  get running(): NodeId[] {
    return [...this.nodes].filter(([, { state }]) => state).map(([id]) => id)
  }

  /** Whoever leads in the highest term. */
  get leader(): NodeId | undefined {
    const leading = this.running.filter((id) => this.state(id).role === 'leader')
    return leading.sort((a, b) => this.state(b).term - this.state(a).term)[0]
  }

  step(id: NodeId, ...inputs: Input[]): void {
    this.node(id).step(inputs, this.#around)
  }

  tick(id: NodeId, times: number = 1, jitter: number = late): void {
    for (let i = 0; i < times; i++) this.step(id, { type: 'tick', jitter })
  }

  /** Ticks of all that run, each followed by everything that comes of it. */
  tickAll(times: number, jitterOf: (id: NodeId) => number = () => late): void {
    for (let i = 0; i < times; i++) {
      for (const id of this.running) this.tick(id, 1, jitterOf(id))
      this.settle()
    }
  }

  persist(id: NodeId, count?: number): void {
    this.node(id).persist(this.#around, count)
  }

  apply(id: NodeId): void {
    this.node(id).apply(this.#around)
  }

  install(id: NodeId): void {
    this.node(id).install(this.#around)
  }

  cut(id: NodeId, index?: number): void {
    this.node(id).cut(this.#around, index)
  }

  crash(id: NodeId, what: { written?: number; keepApplied?: boolean } = {}): void {
    this.node(id).crash(what)
  }

  start(id: NodeId, options: Partial<RaftOptions> = {}): void {
    this.node(id).start(this.#around, {
      runId: Math.floor(Math.E * 1_000) + ++this.#ctx,
      ...options,
    })
  }

  propose(id: NodeId, text: string): number {
    const ctx = ++this.#ctx
    this.step(id, { type: 'propose', ctx, bytes: Buffer.from(text) })
    return ctx
  }

  read(id: NodeId): number {
    const ctx = ++this.#ctx
    this.oracle.onRead(ctx)
    this.step(id, { type: 'read-index', ctx })
    return ctx
  }

  change(id: NodeId, ...changes: MemberChange[]): number {
    const ctx = ++this.#ctx
    this.step(id, { type: 'change', ctx, changes })
    return ctx
  }

  transfer(id: NodeId, target: NodeId): number {
    const ctx = ++this.#ctx
    this.step(id, { type: 'transfer', ctx, target })
    return ctx
  }

  /** `pending` until it has ended. */
  outcome(ctx: number): string {
    const found = this.outcomes.get(ctx)
    if (!found) return 'pending'
    return found.type === 'refused' ? `refused: ${found.reason}` : found.type
  }

  /** Loses everything between the two, in both directions. */
  separate(one: NodeId, other: NodeId): void {
    this.blocked.add(`${one}>${other}`).add(`${other}>${one}`)
  }

  isolate(id: NodeId): void {
    for (const other of this.nodes.keys()) if (other !== id) this.separate(id, other)
  }

  heal(): void {
    this.blocked.clear()
  }

  /** Delivers the message at this place of the wire. */
  deliver(at: number = 0): void {
    const [message] = this.wire.splice(at, 1)
    if (message) this.inject(message)
  }

  /** Delivers a message, whether it is under way or not. */
  inject(message: Message): void {
    if (this.blocked.has(`${message.from}>${message.to}`)) return
    this.nodes.get(message.to)?.step([{ type: 'message', message }], this.#around)
  }

  /** Takes messages off the wire, to be lost or to be injected later. */
  take(which: (message: Message) => boolean): Message[] {
    const taken = this.wire.filter(which)
    this.wire = this.wire.filter((message) => !which(message))
    return taken
  }

  /** Everything that is under way is done, and what comes of it, until nothing is left. */
  settle(): void {
    for (let left = 20_000; left > 0; left--) {
      if (this.wire.length > 0) this.deliver()
      else if (!this.#work()) return
    }
    throw new Error('it never ends')
  }

  #work(): boolean {
    for (const [id, node] of this.nodes) {
      if (!node.state) continue
      if (node.writes.length > 0 && !this.hungDisks.has(id)) return (this.persist(id), true)
      if (node.installing && !this.hungDisks.has(id)) return (this.install(id), true)
      if (node.applies.length > 0 && !this.hungApplies.has(id)) return (this.apply(id), true)
    }
    return false
  }

  /** Lets `id` campaign, whoever led before, and win. */
  elect(id: NodeId): void {
    for (const other of this.running) {
      const { role, options } = this.state(other)
      if (other === id || role === 'leader') continue
      while (this.state(other).electionTicks < options.electionTicks) this.tick(other)
    }
    const { electionTicks } = this.state(id).options
    for (let i = 0; i < 2 * electionTicks && this.state(id).role === 'follower'; i++) {
      this.tick(id, 1, 0)
    }
    this.settle()
    if (this.state(id).role !== 'leader') throw new Error(`${id} was not elected`)
  }

  /** The texts that a node has applied. */
  values(id: NodeId): readonly string[] {
    return this.node(id).view.values
  }

  /** `term:type` of each entry in the log that a node runs with or, if it does not, would find. */
  log(id: NodeId): string {
    const { view } = this.node(id)
    return view.log
      .map(
        ({ term, bytes, type }) =>
          `${term}${type === 'normal' ? Buffer.from(bytes).toString() : ''}`,
      )
      .join(' ')
  }
}
