// What befalls the three processes while one of them submits: `kill -9` of whoever leads the
// metadata, then of whoever owns the log, then of whoever submits. Each comes back, and the others
// go on meanwhile.

import { setTimeout as sleep } from 'node:timers/promises'
import { Died, type Member } from './members.ts'
import { seconds, startProgress, type Progress } from './report.ts'

export interface Roles {
  readonly leader: Member
  readonly owner: Member
  readonly submitter: Member
}

export interface Stage {
  /** The stage ends when so many flights are in the state. */
  readonly to: number
  readonly kill: keyof Roles | undefined
}

export interface TrialsParts {
  readonly members: readonly Member[]
  readonly total: number
  /** So many are in the state already. */
  readonly fed: number
}

export class Trials {
  readonly #members: readonly Member[]
  readonly #progress: Progress
  /** Whoever was killed, until it is back. */
  readonly #back = new Map<Member, Promise<void>>()
  #waits: { count: number; resolve: () => void }[] = []
  #fed: number

  constructor({ members, total, fed }: TrialsParts) {
    this.#members = members
    this.#fed = fed
    this.#progress = startProgress(total, fed)
  }

  /** So many are in the state. One that goes on after a kill begins with fewer than were told. */
  fed(count: number): void {
    this.#fed = Math.max(this.#fed, count)
    this.#progress.update(this.#fed)
    for (const { resolve } of this.#waits.filter((wait) => wait.count <= this.#fed)) resolve()
    this.#waits = this.#waits.filter((wait) => wait.count > this.#fed)
  }

  /** Half-way one of them is killed; the stage is over when it is back, and all is fed. */
  async run({ to, kill }: Stage, submitter: Member): Promise<void> {
    if (this.#fed >= to) return
    const middle = Math.floor((this.#fed + to) / 2)
    const trial = kill ? this.#reached(middle).then(() => this.#kill(kill, submitter)) : undefined
    await Promise.all([this.#feed(submitter, to), trial])
  }

  stop(): void {
    this.#progress.stop()
  }

  #reached(count: number): Promise<void> {
    if (this.#fed >= count) return Promise.resolve()
    return new Promise((resolve) => this.#waits.push({ count, resolve }))
  }

  /** Goes on where the state is, as often as the process is killed. */
  async #feed(submitter: Member, to: number): Promise<void> {
    for (;;) {
      try {
        await submitter.feed(to)
        return
      } catch (error) {
        const back = this.#back.get(submitter)
        if (!(error instanceof Died) || !back) throw error
        await back
      }
    }
  }

  async #kill(role: keyof Roles, submitter: Member): Promise<void> {
    const victim = await this.#whoIs(role, submitter)
    const beganMs = performance.now()
    const back = this.#killed(victim)
    this.#back.set(victim, back)
    const { does, now } = trials[role]
    this.#progress.say(`  kill -9 of ${victim.name}, which ${does}`)
    await back
    this.#back.delete(victim)
    const successor = role === 'submitter' ? victim : await this.#whoIs(role, submitter)
    const away = seconds(performance.now() - beganMs)
    this.#progress.say(`  ${victim.name} is back after ${away}; ${successor.name} ${now}`)
  }

  async #killed(victim: Member): Promise<void> {
    await victim.kill()
    await victim.launch()
    await victim.start()
  }

  async #whoIs(role: keyof Roles, submitter: Member): Promise<Member> {
    if (role === 'submitter') return submitter
    for (;;) {
      const found = await (role === 'leader' ? leaderOf(this.#members) : this.#ownerOf(submitter))
      if (found) return found
      await sleep(50)
    }
  }

  async #ownerOf(submitter: Member): Promise<Member | undefined> {
    const { owner } = await submitter.log()
    return memberOf(this.#members, owner)
  }
}

const trials: Record<keyof Roles, { readonly does: string; readonly now: string }> = {
  leader: { does: 'leads the metadata', now: 'leads now' },
  owner: { does: 'owns the log', now: 'owns it now' },
  submitter: { does: 'submits the flights', now: 'goes on where the state is' },
}

/** Who says of itself that it leads. */
export async function leaderOf(members: readonly Member[]): Promise<Member | undefined> {
  const facts = await Promise.all(members.map((member) => member.node()))
  const leader = facts.find(({ id, leader: one }) => id === one)
  return leader && memberOf(members, leader.id)
}

async function memberOf(members: readonly Member[], id: string): Promise<Member | undefined> {
  const facts = await Promise.all(members.map((member) => member.node()))
  return members[facts.findIndex((each) => each.id === id)]
}
