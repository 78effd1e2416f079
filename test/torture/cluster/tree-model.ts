// One node of the metadata tree, as clients see it that create, set, delete, get and list it.
import type { Model } from '../../simulation/checkers/linearizability.ts'

export type TreeInput =
  | { readonly type: 'create'; readonly value: string }
  | { readonly type: 'set'; readonly version: number; readonly value: string }
  | { readonly type: 'delete'; readonly version: number }
  | { readonly type: 'get' }
  /** Among the children of its parent? */
  | { readonly type: 'list' }

export type TreeOutput =
  /** Of a read, or of a change that was made: what is there then. */
  | { readonly type: 'is'; readonly version: number; readonly value: string }
  | { readonly type: 'deleted' | 'none' | 'exists' | 'bad version' }
  | { readonly type: 'listed'; readonly isThere: boolean }

/** Without a node: version −1. */
export interface TreeState {
  readonly version: number
  readonly value: string
}

const none: TreeState = { version: -1, value: '' }

/** What a copy answers, and what it is then. */
function answer(state: TreeState, input: TreeInput): { next: TreeState; output: TreeOutput } {
  const isThere = state.version >= 0
  const unchanged = (output: TreeOutput) => ({ next: state, output })
  if (input.type === 'list') return unchanged({ type: 'listed', isThere })
  if (input.type === 'create') {
    const next = { version: 0, value: input.value }
    return isThere ? unchanged({ type: 'exists' }) : { next, output: { type: 'is', ...next } }
  }
  if (!isThere) return unchanged({ type: 'none' })
  if (input.type === 'get') return unchanged({ type: 'is', ...state })
  if (input.version !== state.version) return unchanged({ type: 'bad version' })
  if (input.type === 'delete') return { next: none, output: { type: 'deleted' } }
  const next = { version: state.version + 1, value: input.value }
  return { next, output: { type: 'is', ...next } }
}

export const treeModel: Model<TreeState, TreeInput, TreeOutput> = {
  initial: none,
  step(state, input, told) {
    const { next, output } = answer(state, input)
    if (told === undefined || isSame(output, told)) return next
    return undefined
  },
  key: ({ version, value }) => `${version} ${value}`,
}

function isSame(one: TreeOutput, other: TreeOutput): boolean {
  if (one.type === 'is' && other.type === 'is') {
    return one.version === other.version && one.value === other.value
  }
  if (one.type === 'listed' && other.type === 'listed') return one.isThere === other.isThere
  return one.type === other.type
}
