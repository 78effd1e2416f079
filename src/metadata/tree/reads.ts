// Reads of what is published. The store may already hold a group that is not, and may not yet hold
// one that is: their rows are covered by those that are to be seen, until store and reads agree.
// Reads under way whose rows were covered until then are made again.

import type { TreeRow, TreeStore } from '../../io/tree-store.ts'
import type { NodeStat } from '../contract.ts'
import { statOf } from './apply.ts'
import { orRoot } from './batch.ts'
import { nameOf, parentOf, pathProblem } from './path.ts'
import type { TreeWatch, Watches } from './watches.ts'

export interface TreeRead {
  readonly type: 'get' | 'exists' | 'children'
  readonly path: string
  /** Laid when the node is there; of `exists` in any case. */
  readonly watch?: TreeWatch | undefined
}

export type TreeReadResult =
  | { readonly type: 'get'; readonly data: Uint8Array; readonly stat: NodeStat }
  | { readonly type: 'exists'; readonly stat: NodeStat | undefined }
  | { readonly type: 'children'; readonly names: string[]; readonly stat: NodeStat }
  | { readonly type: 'none'; readonly code: 'QUIRE_NO_NODE' | 'QUIRE_BAD_PATH' }

type Rows = ReadonlyMap<string, TreeRow | undefined>
type Names = ReadonlyMap<string, readonly string[]>

interface Covered {
  /** Undefined: there is no such node. */
  readonly row: TreeRow | undefined
  readonly group: number
}

interface Pending {
  readonly paths: ReadonlySet<string>
  touched: boolean
}

interface Seen {
  readonly row: TreeRow | undefined
  readonly names: readonly string[]
}

export class Reads {
  readonly #store: TreeStore
  readonly #watches: Watches
  readonly #pending = new Set<Pending>()
  /** What is seen in place of what the store has, and the group that it is of. */
  readonly #covered = new Map<string, Covered>()
  #groups = 0

  constructor(store: TreeStore, watches: Watches) {
    this.#store = store
    this.#watches = watches
  }

  /** These rows are seen, whatever the store has. Returns the number of the group. */
  cover(rows: Rows): number {
    const group = ++this.#groups
    for (const [path, row] of rows) this.#covered.set(path, { row, group })
    return group
  }

  /** The store has what is to be seen of all groups up to this one. */
  uncover(last: number): void {
    for (const [path, { group }] of this.#covered) {
      if (group > last) continue
      this.#covered.delete(path)
      for (const pending of this.#pending) if (pending.paths.has(path)) pending.touched = true
    }
  }

  /** The row of a path that is covered. */
  covered(path: string): Covered | undefined {
    return this.#covered.get(path)
  }

  /** What the reads see at one published state, with the watches laid in the same turn. */
  async run(reads: readonly TreeRead[]): Promise<TreeReadResult[]> {
    const valid = reads.filter(({ path }) => pathProblem(path) === undefined)
    const paths = [...new Set(valid.map(({ path }) => path))]
    const parents = new Set(valid.filter(({ type }) => type === 'children').map(({ path }) => path))
    for (;;) {
      const pending: Pending = { paths: new Set(paths), touched: false }
      this.#pending.add(pending)
      try {
        const rows = await this.#rows(paths)
        const names = await this.#names(parents)
        if (pending.touched) continue
        return reads.map((read) => this.#result(read, this.#seen(read, rows, names)))
      } finally {
        this.#pending.delete(pending)
      }
    }
  }

  async #rows(paths: readonly string[]): Promise<Rows> {
    const rows = paths.length === 0 ? [] : await this.#store.get(paths)
    return new Map(paths.map((path, index) => [path, orRoot(path, rows[index])]))
  }

  async #names(parents: Iterable<string>): Promise<Names> {
    const names = new Map<string, readonly string[]>()
    for (const path of parents) names.set(path, await this.#store.children(path))
    return names
  }

  #seen(read: TreeRead, rows: Rows, names: Names): Seen | undefined {
    const { path, type } = read
    if (!rows.has(path)) return undefined
    const covered = this.#covered.get(path)
    const row = covered ? covered.row : rows.get(path)
    const stored = type === 'children' ? (names.get(path) ?? []) : []
    return { row, names: covered ? this.#namesIn(path, stored) : stored }
  }

  /** Its children, whatever the store shows. With a child its parent changes: both are covered. */
  #namesIn(parent: string, stored: readonly string[]): readonly string[] {
    const names = new Set(stored)
    for (const [path, { row }] of this.#covered) {
      if (path === '/' || parentOf(path) !== parent) continue
      if (row) names.add(nameOf(path))
      else names.delete(nameOf(path))
    }
    return [...names].sort()
  }

  #result(read: TreeRead, seen: Seen | undefined): TreeReadResult {
    if (!seen) return { type: 'none', code: 'QUIRE_BAD_PATH' }
    const { row, names } = seen
    const { type, path, watch } = read
    if (watch && (row || type === 'exists')) {
      this.#watches.lay(type === 'children' ? 'children' : 'data', path, watch)
    }
    if (type === 'exists') return { type, stat: row && statOf(row) }
    if (!row) return { type: 'none', code: 'QUIRE_NO_NODE' }
    if (type === 'get') return { type, data: row.data, stat: statOf(row) }
    return { type, names: [...names], stat: statOf(row) }
  }
}
