// What clients asked of a few registers of the tree and what they were told, as a history for each.

import { Histories } from '../checkers/histories.ts'
import type { Model } from '../checkers/linearizability.ts'
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

export class RegisterHistories extends Histories<State, RegisterInput, RegisterOutput> {
  constructor() {
    super(registerModel, ['read'])
  }

  /** At the end of a run. */
  check(report: Report): void {
    for (const { path, calls, isLinearizable } of this.verdicts()) {
      report.holds(
        isLinearizable,
        'linearizable',
        () => `${path}: no order of ${calls} calls explains their answers`,
      )
    }
  }
}
