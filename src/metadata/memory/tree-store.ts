// The rows of a tree in memory. What it holds ends with the process.

import type { TreeBatch, TreeRow, TreeStore } from '../../io/tree-store.ts'
import { nameOf, parentOf } from '../tree/path.ts'

export class MemoryTreeStore implements TreeStore {
  readonly #rows = new Map<string, TreeRow>()
  readonly #children = new Map<string, Set<string>>()
  readonly #facts = new Map<string, Uint8Array>()

  async get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    return paths.map((path) => {
      const row = this.#rows.get(path)
      return row && { ...row, data: Buffer.from(row.data) }
    })
  }

  async children(path: string): Promise<string[]> {
    return [...(this.#children.get(path) ?? [])].sort()
  }

  async ownedBy(session: bigint): Promise<string[]> {
    return this.#pathsWhere(({ owner }) => owner === session)
  }

  async expirable(): Promise<string[]> {
    return this.#pathsWhere(({ kind }) => kind === 'container' || kind === 'ttl')
  }

  async facts(prefix: string): Promise<Map<string, Uint8Array>> {
    const found = [...this.#facts].filter(([key]) => key.startsWith(prefix))
    return new Map(found.sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  async commit(batch: TreeBatch): Promise<void> {
    for (const path of batch.remove) {
      this.#rows.delete(path)
      this.#children.get(parentOf(path))?.delete(nameOf(path))
    }
    for (const row of batch.put) {
      this.#rows.set(row.path, { ...row, data: Buffer.from(row.data) })
      if (row.path !== '/') this.#childrenOf(parentOf(row.path)).add(nameOf(row.path))
    }
    for (const [key, value] of batch.facts) {
      if (value) this.#facts.set(key, Buffer.from(value))
      else this.#facts.delete(key)
    }
  }

  async close(): Promise<void> {}

  #childrenOf(path: string): Set<string> {
    const children = this.#children.get(path) ?? new Set<string>()
    this.#children.set(path, children)
    return children
  }

  #pathsWhere(wanted: (row: TreeRow) => boolean): string[] {
    return [...this.#rows.values()]
      .filter(wanted)
      .map(({ path }) => path)
      .sort()
  }
}
