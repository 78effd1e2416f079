// Moments of the protocols at which a fault finds more than at any other time: told by those who
// listen at the doors of a cluster. The seed says which of them a world favours, and how much.

import type { Scheduler } from './scheduler.ts'

export const moments = [
  'an entry is written',
  'a fence is asked for',
  'a fence is answered',
  'an entry is recovered',
  'an ensemble changes',
  'a recovery begins',
  'a ledger is closed',
  'a log has a new owner',
  'a snapshot is loaded',
  'a leader begins',
  'a leader sends entries',
  'a snapshot is sent',
  'a snapshot is taken in',
  'members change',
] as const

export type Moment = (typeof moments)[number]

/** Where it happens: what befalls it then, befalls these. */
export interface Aim {
  /** A node of the cluster. */
  readonly machine?: string
  /** Whoever it speaks with. */
  readonly peer?: string
}

/** Chances that a fault meets a moment of a kind. */
const chances = [0, 0, 0.03, 0.25] as const
/** Of moments that were asked for. */
const askedChance = 0.5
/** For moments that there are many of. */
const frequent: Partial<Record<Moment, number>> = {
  'an entry is written': 0.02,
  'a log has a new owner': 0.1,
  'a leader sends entries': 0.02,
}
/** Faults that may meet moments all at once, and for each other fault, in the long run. */
const burst = 6
const share = 4

export interface MomentsOptions {
  /** Mean time between two faults. */
  readonly everyMs: number
  /** Those and no others. Default: by the seed. */
  readonly favoured?: readonly Moment[] | undefined
}

export class Moments {
  readonly #scheduler: Scheduler
  readonly #everyMs: number
  readonly #chances: ReadonlyMap<Moment, number>
  /** Grows with time up to `burst`: faults that may be had now. */
  #left: number = burst
  #sinceMs = 0

  constructor(scheduler: Scheduler, options: MomentsOptions) {
    const { everyMs, favoured } = options
    this.#scheduler = scheduler
    this.#everyMs = everyMs
    this.#chances = new Map(
      moments.map((moment) => {
        const drawn = chances[scheduler.choose(chances.length, 'swarm.moments')] ?? 0
        const asked = favoured?.includes(moment) === true ? askedChance : 0
        return [moment, (favoured === undefined ? drawn : asked) * (frequent[moment] ?? 1)]
      }),
    )
  }

  /** Whether a fault meets the moment. */
  isMet(moment: Moment): boolean {
    const { nowMs } = this.#scheduler
    this.#left = Math.min(burst, this.#left + (share * (nowMs - this.#sinceMs)) / this.#everyMs)
    this.#sinceMs = nowMs
    if (this.#left < 1) return false
    if (!this.#scheduler.chance(this.#chances.get(moment) ?? 0, `moment ${moment}`)) return false
    this.#left -= 1
    return true
  }
}
