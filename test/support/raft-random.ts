// Random schedules of a group of Raft cores: everything that can happen happens, in any order; then
// all is healed, and the group must go on.

import type { Message } from '../../src/metadata/raft/core/messages.ts'
import type { MemberChange } from '../../src/metadata/raft/core/inputs.ts'
import type { NodeId } from '../../src/metadata/raft/core/types.ts'
import { isVoter } from '../../src/metadata/raft/core/configuration.ts'
import { configurationOf } from '../../src/metadata/raft/core/state.ts'
import type { Chooser } from './chooser.ts'
import { Violation } from './mutated-core.ts'
import { RaftNetwork } from './raft-network.ts'
import type { NetworkOptions } from './raft-network.ts'

export interface Weather {
  readonly episodes: number
  /** Things that happen in each. */
  readonly steps: number
  readonly weights?: Partial<Record<Happening, number>>
}

type Happening = keyof typeof usual

/** How often each thing happens within an episode. */
const usual = {
  deliver: 60,
  reorder: 6,
  drop: 1,
  repeat: 2,
  persist: 30,
  apply: 10,
  install: 5,
  tick: 10,
  propose: 10,
  read: 5,
  cut: 1,
}

/** What an episode begins with. */
const beginnings = {
  heal: 6,
  isolate: 2,
  usurp: 8,
  oneWay: 2,
  forget: 1,
  crash: 4,
  start: 6,
  campaign: 5,
  transfer: 1,
  change: 6,
}

export class RandomRun {
  readonly network: RaftNetwork
  readonly #below: Chooser
  readonly counts: Map<string, number> = new Map()
  #proposed = 0

  constructor(options: NetworkOptions, below: Chooser) {
    this.network = new RaftNetwork(options)
    this.#below = below
  }

  #pick<T>(from: readonly T[]): T | undefined {
    return from[this.#below(from.length)]
  }

  #draw<T extends string>(odds: Record<T, number>): T {
    const all = Object.entries(odds) as [T, number][]
    let at = this.#below(all.reduce((sum, [, weight]) => sum + weight, 0))
    const [drawn] = all.find(([, weight]) => (at -= weight) < 0) ?? []
    if (drawn === undefined) throw new Error('nothing to draw from')
    return drawn
  }

  run({ episodes, steps, weights }: Weather): void {
    const odds = { ...usual, ...weights }
    for (let episode = 0; episode < episodes; episode++) {
      this.#begin(this.#draw(beginnings))
      const length = 1 + this.#below(2 * steps)
      for (let i = 0; i < length; i++) this.#happen(this.#draw(odds))
    }
  }

  #begin(what: keyof typeof beginnings): void {
    const { network } = this
    const id = this.#pick(network.running)
    const other = this.#pick([...network.nodes.keys()])
    if (what === 'start' || id === undefined || other === undefined) this.#start()
    else if (what === 'heal') network.heal()
    else if (what === 'isolate') network.isolate(this.#often(network.leader ?? id, id))
    else if (what === 'usurp') this.#usurp(network.leader ?? id, id)
    else if (what === 'oneWay') network.blocked.add(`${id}>${other}`)
    else if (what === 'forget') network.wire.length = 0
    else if (what === 'crash') this.#crash(id)
    else if (what === 'campaign') this.#campaign(id)
    else if (what === 'transfer') network.transfer(network.leader ?? id, other)
    else this.#change(network.leader ?? id)
  }

  /** A leader goes on alone while the others elect another. */
  #usurp(leader: NodeId, other: NodeId): void {
    const { network } = this
    network.heal()
    network.isolate(leader)
    for (let i = this.#below(4); i > 0; i--) network.propose(leader, `${++this.#proposed}`)
    if (leader !== other) this.#campaign(other)
  }

  /** Everybody has lost the leader; this one is first. */
  #campaign(id: NodeId): void {
    const { network } = this
    for (const other of network.running) {
      const { role, options } = network.state(other)
      if (role === 'leader' && other !== id) continue
      network.tick(other, options.electionTicks, options.electionTicks - 1)
    }
    network.tick(id, 20, 0)
  }

  #happen(what: Happening): void {
    const { network } = this
    const id = this.#pick(network.running)
    if (id === undefined) this.#start()
    else if (what === 'deliver') network.deliver()
    else if (what === 'reorder') network.deliver(this.#below(network.wire.length || 1))
    else if (what === 'drop') network.wire.splice(this.#below(network.wire.length || 1), 1)
    else if (what === 'repeat') this.#repeat()
    else this.#happenAt(what, id)
  }

  #happenAt(what: Exclude<Happening, 'deliver' | 'reorder' | 'drop' | 'repeat'>, id: NodeId): void {
    const { network } = this
    const leader = network.leader ?? id
    if (what === 'tick') {
      for (const each of network.running) network.tick(each, 1, this.#below(10))
    } else if (what === 'propose') {
      network.propose(this.#often(leader, id), `${++this.#proposed}`)
    } else if (what === 'persist') network.persist(id, 1 + this.#below(3))
    else if (what === 'apply') network.apply(id)
    else if (what === 'install') network.install(id)
    else if (what === 'read') network.read(this.#often(leader, id))
    else network.cut(id)
  }

  #often<T>(one: T, other: T): T {
    return this.#below(4) === 0 ? other : one
  }

  #crash(id: NodeId): void {
    // Two may be down at a time, of three or more: nothing acknowledged may be lost by it.
    if (this.network.running.length < 2) return
    this.network.crash(id, { written: this.#below(3), keepApplied: this.#below(2) === 0 })
  }

  #start(): void {
    const down = [...this.network.nodes].filter(([, { state }]) => !state).map(([id]) => id)
    const id = this.#pick(down)
    if (id !== undefined) this.network.start(id)
  }

  #repeat(): void {
    const message: Message | undefined = this.#pick(this.network.wire)
    if (message) this.network.wire.push(message)
  }

  /** One to three changes that make sense, or would on another day. */
  #change(leader: NodeId): void {
    const { network } = this
    const { voters, learners } = configurationOf(network.state(leader))
    const changes: MemberChange[] = []
    for (const node of network.nodes.keys()) {
      const isLearner = learners.includes(node)
      if (this.#below(3) > 0) continue
      if (isLearner && this.#below(4) > 0) changes.push({ kind: 'voter', node })
      // Ids are few and never come back: most that leave become learners.
      else if (isLearner || (voters.includes(node) && this.#below(8) === 0 && node !== 'a')) {
        changes.push({ kind: 'remove', node })
      } else changes.push({ kind: 'learner', node })
    }
    network.change(leader, ...changes)
  }

  /** All is well again: a leader is found, goes on, and everybody comes to the same. */
  recover(): void {
    const { network } = this
    network.heal()
    for (const [id, { state }] of network.nodes) if (!state) network.start(id)
    const committed = this.#commitOne()
    if (!committed) throw new Violation('a healed group goes on', this.describe())
    network.tickAll(60)
    const leader = network.leader
    if (leader === undefined)
      throw new Violation('a healed group keeps its leader', this.describe())
    const { voters, learners } = configurationOf(network.state(leader))
    const wanted = network.values(leader).join(' ')
    for (const id of [...voters, ...learners]) {
      const found = network.values(id).join(' ')
      if (found !== wanted) throw new Violation('all come to the same', `${id}: ${this.describe()}`)
    }
  }

  #commitOne(): boolean {
    const { network } = this
    for (let i = 0; i < 40; i++) {
      network.tickAll(10, () => this.#below(10))
      const { leader } = network
      if (leader === undefined || !isVoter(configurationOf(network.state(leader)), leader)) continue
      const ctx = network.propose(leader, 'last')
      network.tickAll(10, () => this.#below(10))
      if (network.outcome(ctx) === 'committed') return true
    }
    return false
  }

  describe(): string {
    const { network } = this
    return network.running
      .map((id) => {
        const { role, term, commit, log, applied } = network.state(id)
        return `${id} ${role} ${term} commit ${commit} last ${log.lastIndex} applied ${applied}`
      })
      .join('; ')
  }
}
