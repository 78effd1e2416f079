// What clients asked of a few things that are copies of their own, and what they were told: one
// history for each.

import { isLinearizable, type Model, type Operation } from './linearizability.ts'

export interface OpenCall<Input> {
  readonly input: Input
  readonly calledAt: number
}

export interface Verdict {
  readonly path: string
  readonly calls: number
  readonly isLinearizable: boolean
}

export class Histories<State, Input extends { readonly type: string }, Output> {
  readonly #model: Model<State, Input, Output>
  /** Calls that change nothing: one without an answer says nothing. */
  readonly #reads: ReadonlySet<string>
  readonly #histories = new Map<string, Operation<Input, Output>[]>()
  readonly #open = new Map<string, Set<OpenCall<Input>>>()
  #now = 0

  constructor(model: Model<State, Input, Output>, reads: Iterable<string>) {
    this.#model = model
    this.#reads = new Set(reads)
  }

  called(path: string, input: Input): OpenCall<Input> {
    const open = { input, calledAt: ++this.#now }
    const all = this.#open.get(path) ?? new Set()
    this.#open.set(path, all.add(open))
    return open
  }

  /** Undefined: nothing was done. Not called at all: nobody knows. */
  returned(path: string, open: OpenCall<Input>, output: Output | undefined): void {
    this.#open.get(path)?.delete(open)
    if (output === undefined) return
    const history = this.#histories.get(path) ?? []
    this.#histories.set(path, history)
    history.push({ ...open, output, returnedAt: ++this.#now })
  }

  get paths(): string[] {
    return [...new Set([...this.#histories.keys(), ...this.#open.keys()])]
  }

  get size(): number {
    return [...this.#histories.values()].reduce((sum, { length }) => sum + length, 0)
  }

  verdicts(): Verdict[] {
    return [...this.#histories].map(([path, history]) => {
      const open = [...(this.#open.get(path) ?? [])].filter(
        ({ input }) => !this.#reads.has(input.type),
      )
      const unknown = open.map((each) => ({ ...each, output: undefined, returnedAt: Infinity }))
      const whole = [...history, ...unknown]
      const calls = history.length
      return { path, calls, isLinearizable: isLinearizable(whole, this.#model) }
    })
  }
}
