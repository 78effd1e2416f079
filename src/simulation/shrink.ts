// Makes a run that fails smaller, as long as it fails in the same way: sizes are lowered first,
// then faults are left out, then choices are lowered or left out. What fails in the end is shorter
// to read; it need not be the smallest there is.

import type { ChoiceLists } from './choices.ts'
import type { Plan } from './replay.ts'

export interface ShrinkOptions {
  /**
   * Runs a candidate. What it chose, if it failed in the same way as the first did; undefined if
   * it did not, or failed otherwise.
   */
  readonly fails: (candidate: Plan) => Promise<ChoiceLists | undefined>
  /** How many runs it may take. */
  readonly runsMax: number
  /** Sizes that may be lowered, and how far. A size without a bound stays as it is. */
  readonly least?: Readonly<Record<string, number>>
  /** How many faults happened in the first run. */
  readonly faults?: number
}

/** The smallest plan that was found to fail; the given one if none is smaller. */
export async function shrink(plan: Plan, options: ShrinkOptions): Promise<Plan> {
  const shrinker = new Shrinker(plan, options)
  await shrinker.lowerSizes()
  await shrinker.leaveOutFaults()
  await shrinker.lowerChoices()
  return shrinker.plan
}

class Shrinker {
  /** Always one that fails. */
  plan: Plan
  readonly #options: ShrinkOptions
  /** Of the last run that failed. */
  #chosen: ChoiceLists | undefined
  #runsLeft: number

  constructor(plan: Plan, options: ShrinkOptions) {
    this.plan = plan
    this.#options = options
    this.#runsLeft = options.runsMax
  }

  async lowerSizes(): Promise<void> {
    for (const [name, least] of Object.entries(this.#options.least ?? {})) {
      const accepts = (size: number) => {
        const sizes = { ...this.plan.sizes, [name]: size }
        return this.#tries({ ...this.plan, sizes })
      }
      await this.#lower({ least, from: this.plan.sizes[name] ?? least, accepts })
    }
  }

  /** Halves the distance to the least, as long as there is a tenth to gain. */
  async #lower(size: Lowering): Promise<void> {
    const { least, from, accepts } = size
    if (from <= least || (await accepts(least))) return
    let [low, high] = [least, from]
    while (high - low > Math.max(1, high / 10)) {
      const middle = Math.floor((low + high) / 2)
      if (await accepts(middle)) high = middle
      else low = middle
      if (this.#runsLeft === 0) return
    }
  }

  async leaveOutFaults(): Promise<void> {
    const all = Array.from({ length: this.#options.faults ?? 0 }, (_, number) => number)
    let left: readonly number[] = this.plan.faults ?? all
    for (let size = left.length; size >= 1 && this.#runsLeft > 0; size = Math.floor(size / 2)) {
      for (let at = 0; at < left.length && this.#runsLeft > 0;) {
        const faults = left.toSpliced(at, size)
        if (await this.#tries({ ...this.plan, faults })) left = faults
        else at += size
      }
    }
  }

  /** Whole lists first, then halves, quarters, and so on down to single choices. */
  async lowerChoices(): Promise<void> {
    const written = this.plan.choices ?? this.#chosen ?? (await this.#record())
    if (written === undefined) return
    this.plan = { ...this.plan, choices: trimmed(written) }
    for (let parts = 1, more = true; more && this.#runsLeft > 0; parts *= 2) {
      more = false
      for (const label of this.plan.choices?.keys() ?? []) {
        const size = Math.ceil(this.#list(label).length / parts)
        if (size > 1) more = true
        await this.#lowerList(label, Math.max(1, size))
      }
    }
    if (this.#chosen !== undefined) this.#forgetUnused(this.#chosen)
  }

  /** Part by part: the lowest choices in its place, or none at all. */
  async #lowerList(label: string, size: number): Promise<void> {
    for (let at = 0; at < this.#list(label).length && this.#runsLeft > 0;) {
      const list = this.#list(label)
      const part = list.slice(at, at + size)
      const zeros = part.map(() => 0)
      const instead = (others: number[]) =>
        this.#withList(label, list.slice(0, at).concat(others, list.slice(at + size)))
      const isLowest = part.every((choice) => choice === 0)
      const tries = [...(isLowest ? [] : [zeros]), ...(at + size < list.length ? [[]] : [])]
      // A single choice is better gone than the lowest.
      if (size === 1) tries.reverse()
      const taken = await this.#first(tries, (others) => this.#tries(instead(others)))
      if (taken === undefined && size === 1 && !isLowest) await this.#lowerOne(label, at)
      at += taken?.length ?? size
    }
  }

  async #first<T>(of: readonly T[], accepts: (one: T) => Promise<boolean>): Promise<T | undefined> {
    for (const one of of) if (await accepts(one)) return one
    return undefined
  }

  async #lowerOne(label: string, at: number): Promise<void> {
    const list = this.#list(label)
    const accepts = (choice: number) => this.#tries(this.#withList(label, list.with(at, choice)))
    // That the lowest will not do is known.
    const from = list[at] ?? 0
    if (from > 1) await this.#lower({ least: 1, from, accepts })
  }

  #list(label: string): number[] {
    return Array.from(this.plan.choices?.get(label) ?? [])
  }

  #withList(label: string, list: number[]): Plan {
    const choices = trimmed(new Map([...(this.plan.choices ?? []), [label, list]]))
    return { ...this.plan, choices }
  }

  /** The first run once more, if nothing smaller has failed. */
  async #record(): Promise<ChoiceLists | undefined> {
    await this.#tries(this.plan)
    return this.#chosen
  }

  async #tries(candidate: Plan): Promise<boolean> {
    if (this.#runsLeft === 0) return false
    this.#runsLeft -= 1
    const chosen = await this.#options.fails(candidate)
    if (chosen === undefined) return false
    this.plan = candidate
    this.#chosen = chosen
    return true
  }

  /** Behind what the run took, a list means nothing. */
  #forgetUnused(taken: ChoiceLists): void {
    const used = [...(this.plan.choices ?? [])].flatMap(([label, list]) => {
      const count = taken.get(label)?.length ?? 0
      return count === 0 ? [] : [[label, Array.from(list).slice(0, count)] as const]
    })
    this.plan = { ...this.plan, choices: trimmed(new Map(used)) }
  }
}

interface Lowering {
  readonly least: number
  readonly from: number
  readonly accepts: (size: number) => Promise<boolean>
}

/** Without the lowest choices at the ends of lists: behind its end, a list has no others. */
function trimmed(choices: ChoiceLists): ChoiceLists {
  return new Map(
    [...choices].map(([label, list]) => {
      let end = list.length
      while (end > 0 && list[end - 1] === 0) end -= 1
      return [label, end === list.length ? list : Array.from(list).slice(0, end)] as const
    }),
  )
}
