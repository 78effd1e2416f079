// What clients asked of a few registers of the tree and what they were told, as a history for each.

import { isLinearizable, type Model, type Operation } from '../checkers/linearizability.ts'
import type { Report } from '../../../src/simulation/report.ts'

export const registerPaths = ['/r0', '/r1'] as const

export type RegisterInput =
  | { readonly type: 'read' }
  | { readonly type: 'set'; readonly version: number; readonly value: string }

/** Of a read, or of a set that was made: what is there then. */
export type RegisterOutput =
  | { readonly type: 'is'; readonly version: number; readonly value: string }
  | { readonly type: 'bad version' }

type State = { readonly version: number; readonly value: string }

export const registerModel: Model<State, RegisterInput, RegisterOutput> = {
  initial: { version: 0, value: '' },
  step(state, input, output) {
    if (input.type === 'read') {
      if (output?.type !== 'is') return output === undefined ? state : undefined
      return output.version === state.version && output.value === state.value ? state : undefined
    }
    const isTaken = input.version === state.version
    const next = isTaken ? { version: state.version + 1, value: input.value } : state
    if (output === undefined) return next
    if (output.type === 'bad version') return isTaken ? undefined : state
    return isTaken && output.version === next.version ? next : undefined
  },
  key: ({ version, value }) => `${version} ${value}`,
}

interface Open {
  readonly input: RegisterInput
  readonly calledAt: number
}

export class RegisterHistories {
  readonly #histories = new Map<string, Operation<RegisterInput, RegisterOutput>[]>()
  readonly #open = new Map<string, Set<Open>>()
  #now = 0

  called(path: string, input: RegisterInput): Open {
    const open = { input, calledAt: ++this.#now }
    const all = this.#open.get(path) ?? new Set()
    this.#open.set(path, all.add(open))
    return open
  }

  /** Undefined: nothing was done. Not called at all: nobody knows. */
  returned(path: string, open: Open, output: RegisterOutput | undefined): void {
    this.#open.get(path)?.delete(open)
    if (output === undefined) return
    const history = this.#histories.get(path) ?? []
    this.#histories.set(path, history)
    history.push({ ...open, output, returnedAt: ++this.#now })
  }

  /** At the end of a run. */
  check(report: Report): void {
    for (const [path, history] of this.#histories) {
      const open = [...(this.#open.get(path) ?? [])].filter(({ input }) => input.type !== 'read')
      const unknown = open.map((each) => ({ ...each, output: undefined, returnedAt: Infinity }))
      report.holds(
        isLinearizable([...history, ...unknown], registerModel),
        'linearizable',
        () => `${path}: no order of ${history.length} calls explains their answers`,
      )
    }
  }

  get size(): number {
    return [...this.#histories.values()].reduce((sum, { length }) => sum + length, 0)
  }
}
