// Reads of what is published. The store may already hold the group that is being committed, and may
// publish one while a read is under way: rows of the first are shown as they were before, reads
// that the second touched are made again.

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
  /** Rows that the group in flight changes, as they were before it. */
  #hidden: Rows | undefined

  constructor(store: TreeStore, watches: Watches) {
    this.#store = store
    this.#watches = watches
  }

  /** From here on a commit may become visible in the store. */
  hide(before: Rows): void {
    this.#hidden = before
  }

  /** The commit is published. */
  show(before: Rows): void {
    this.#hidden = undefined
    for (const pending of this.#pending) {
      for (const path of before.keys()) if (pending.paths.has(path)) pending.touched = true
    }
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
    const hidden = this.#hidden
    const row = hidden?.has(path) ? hidden.get(path) : rows.get(path)
    const stored = type === 'children' ? (names.get(path) ?? []) : []
    return { row, names: hidden ? namesBefore(path, stored, hidden) : stored }
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

/**
 * The children as they were before the group in flight, whether the store shows it already or not.
 */
function namesBefore(parent: string, stored: readonly string[], hidden: Rows): readonly string[] {
  if (!hidden.has(parent)) return stored
  const names = new Set(stored)
  for (const [path, row] of hidden) {
    if (path === '/' || parentOf(path) !== parent) continue
    if (row) names.add(nameOf(path))
    else names.delete(nameOf(path))
  }
  return [...names].sort()
}
