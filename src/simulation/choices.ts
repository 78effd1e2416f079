// What was chosen in a run: for each label a list of integers, in the order of drawing. A list for
// each, so that a choice more or less of one kind leaves those of the others what they were. They
// can be written down, changed, and taken again.

import { invariant } from '../invariant.ts'
import type { SeededRandom } from './random.ts'

export type ChoiceLists = ReadonlyMap<string, ArrayLike<number>>

/** Where choices come from: written lists where there are some, else a seed. */
export class Choices {
  readonly #seeds: SeededRandom
  readonly #written: ChoiceLists | undefined
  readonly #labels = new Map<string, Label>()

  /**
   * `written`: a label with a list takes its choices from there, and behind its end the lowest; one
   * without draws from the seed.
   */
  constructor(seeds: SeededRandom, written?: ChoiceLists) {
    this.#seeds = seeds
    this.#written = written
  }

  /** Its next choice is one of `next(count)`, in [0, count). */
  label(text: string): Label {
    let label = this.#labels.get(text)
    if (label === undefined) {
      label = new Label(this.#seeds.fork(text), this.#written?.get(text))
      this.#labels.set(text, label)
    }
    return label
  }

  /** What was chosen so far; the lists are views of what grows. */
  get taken(): ChoiceLists {
    return new Map([...this.#labels].map(([text, label]) => [text, label.taken]))
  }
}

/** The choices of one label. */
export class Label {
  readonly #random: SeededRandom
  readonly #written: ArrayLike<number> | undefined
  #taken = new Int32Array(16)
  #count = 0

  constructor(random: SeededRandom, written: ArrayLike<number> | undefined) {
    this.#random = random
    this.#written = written
  }

  get taken(): Int32Array {
    return this.#taken.subarray(0, this.#count)
  }

  next(count: number): number {
    invariant(count >= 1, 'there is something to choose from')
    const written = this.#written
    const choice =
      written === undefined ? this.#random.below(count) : (written[this.#count] ?? 0) % count
    if (this.#count === this.#taken.length) {
      const grown = new Int32Array(this.#count * 2)
      grown.set(this.#taken)
      this.#taken = grown
    }
    this.#taken[this.#count++] = choice
    return choice
  }
}
