// Whoever runs the group: hands leadership over, adds and removes members, and replaces a machine
// whose disk was lost.

import { QuireError } from '../../../src/errors.ts'
import type { MemberChange } from '../../../src/metadata/raft/core/inputs.ts'
import type { Member } from '../../../src/metadata/raft/member.ts'
import type { GroupRun } from './run.ts'

export class Admin {
  readonly #run: GroupRun
  /** Machines whose logs were damaged, and since when. */
  readonly #damaged = new Map<string, number>()

  constructor(run: GroupRun) {
    this.#run = run
  }

  async work(): Promise<void> {
    const { world } = this.#run
    while (!this.#run.stopping) {
      await world.pass(world.scheduler.between([100, 2500], 'admin'))
      const leader = this.#leader()
      if (leader === undefined) continue
      const what = this.#run.choose(7)
      if (what < 2) this.#transfer(leader)
      else if (what < 5) await this.#change(leader)
      else if (what === 5) this.#lose(leader, (machine) => this.#wipe(machine))
      else this.#lose(leader, (machine) => this.#damage(machine))
      this.#replace()
    }
    // What was damaged last may say so only when it is started again.
    while (this.#damaged.size > 0) {
      await world.pass(100)
      this.#replace()
    }
  }

  /** Asks a leader that has only just begun for a change: it must not take it yet. */
  async changeEarly(leader: Member): Promise<void> {
    const { world } = this.#run
    for (let left = 8; left > 0 && leader.driver.position.role === 'leader'; left--) {
      void this.#change(leader)
      await world.pass(world.scheduler.between([0, 10], 'admin'))
    }
  }

  #leader(): Member | undefined {
    return this.#run.group.members.find(({ driver }) => driver.status.ready)
  }

  #transfer({ driver }: Member): void {
    const { voters } = driver.status.configuration
    const target = voters[this.#run.choose(voters.length)]
    if (target !== undefined) driver.transfer(target)
  }

  async #change(leader: Member): Promise<void> {
    const changes = this.#wanted(leader)
    if (changes.length > 0) await this.#run.asked(leader, leader.driver.change(changes))
  }

  /** A next step: what is not a member becomes a learner, a learner a voter, one voter leaves. */
  #wanted({ driver }: Member): MemberChange[] {
    const { group } = this.#run
    const { voters, learners } = driver.status.configuration
    const ids = group.nodes.map((machine) => group.idOf(machine))
    const outside = ids.filter((id) => !voters.includes(id) && !learners.includes(id))
    const gone = [...voters, ...learners].filter((id) => !ids.includes(id))
    const [learner] = learners
    const steps: MemberChange[][] = []
    for (const node of gone) steps.push([{ kind: 'remove', node }])
    if (learner !== undefined) steps.push([{ kind: 'voter', node: learner }])
    for (const node of outside) steps.push([{ kind: 'learner', node }])
    const one = voters[this.#run.choose(voters.length)]
    if (voters.length > 3 && one !== undefined) steps.push([{ kind: 'learner', node: one }])
    return steps[this.#run.choose(Math.max(steps.length, 1))] ?? []
  }

  /** A disk is lost only while all the others are there: that is what a group survives. */
  #lose(leader: Member, what: (machine: string) => void): void {
    const { group } = this.#run
    const { voters, outgoing } = leader.driver.status.configuration
    const machine = group.nodes[this.#run.choose(group.nodes.length)]
    if (machine === undefined || outgoing.length > 0 || this.#damaged.size > 0) return
    const ids = group.nodes.map((each) => group.idOf(each))
    const isWhole = voters.every((voter) => ids.includes(voter))
    if (isWhole && voters.length >= 3 && group.idOf(machine) !== leader.identity.id) what(machine)
  }

  #wipe(machine: string): void {
    const { group, oracle } = this.#run
    oracle.gone(group.idOf(machine))
    group.wipe(machine)
    this.#damaged.delete(machine)
  }

  #damage(machine: string): void {
    if (this.#run.group.damage(machine)) this.#damaged.set(machine, this.#run.world.scheduler.nowMs)
  }

  /** A node that says that it lost something comes back with an empty disk, as another. */
  #replace(): void {
    for (const [machine, sinceMs] of this.#damaged) {
      const { refusals, node } = this.#run.group.operator(machine)
      const last = refusals.findLast(({ timeMs }) => timeMs >= sinceMs)
      if (QuireError.is(last?.error, 'QUIRE_BAD_METADATA')) this.#wipe(machine)
      // What was damaged was of no use any more.
      else if (node !== undefined) this.#damaged.delete(machine)
    }
  }
}
