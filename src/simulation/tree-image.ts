// What the file of a simulated tree store holds, in memory: the tree, the log that it is made from,
// and the pieces of another tree that wait beside it.

import { entryChecksum, verifyEntry } from '../io/log-entry.ts'
import type { TreeChange } from '../io/real/tree-thread.ts'
import type { LogChange, LogEntry, TreeBatch, TreeRow } from '../io/tree-store.ts'
import { MemoryTreeStore } from '../metadata/memory/tree-store.ts'

/** Rows in memory that can be taken as one batch. */
class Rows extends MemoryTreeStore {
  readonly #paths = new Set<string>()

  override async commit(batch: TreeBatch): Promise<void> {
    for (const path of batch.remove) this.#paths.delete(path)
    for (const { path } of batch.put) this.#paths.add(path)
    await super.commit(batch)
  }

  async whole(): Promise<TreeBatch> {
    const rows = await this.get([...this.#paths].sort())
    return {
      put: rows.flatMap((row) => row ?? []),
      remove: [],
      facts: await this.facts(''),
    }
  }
}

/** An entry as it lies in the file. */
type StoredEntry = LogEntry & { readonly checksum: number }

/** A change as it lies in the file: its entries have their checksums. */
export type StoredChange =
  | Exclude<TreeChange, { log: LogChange }>
  | {
      readonly type: 'append' | 'install'
      readonly log: LogChange & { readonly entries: readonly StoredEntry[] }
    }

export function stored(change: TreeChange): StoredChange {
  if (!('log' in change)) return change
  const entries = change.log.entries.map((entry) => ({ ...entry, checksum: entryChecksum(entry) }))
  return { ...change, log: { ...change.log, entries } }
}

export class TreeImage {
  rows: Rows = new Rows()
  readonly logFacts: Map<string, Uint8Array> = new Map()
  readonly #entries: Map<number, StoredEntry> = new Map()
  #staged = new Rows()

  async make(change: StoredChange): Promise<void> {
    switch (change.type) {
      case 'commit':
      case 'apply':
        await this.rows.commit(change.batch)
        break
      case 'append':
        this.#append(change.log)
        break
      case 'stage':
        if (change.isFirst) this.#staged = new Rows()
        await this.#staged.commit(change.batch)
        break
      case 'install':
        this.rows = this.#staged
        this.#staged = new Rows()
        this.#append(change.log)
        break
    }
  }

  /** A part of another tree that never came whole. */
  forgetStaged(): void {
    this.#staged = new Rows()
  }

  /** What makes this image anew. */
  async whole(): Promise<StoredChange[]> {
    const log = { entries: [...this.#entries.values()], facts: this.logFacts }
    return [
      { type: 'commit', batch: await this.rows.whole() },
      { type: 'append', log },
    ]
  }

  get range(): { first: number; last: number } | undefined {
    const indexes = [...this.#entries.keys()]
    if (indexes.length === 0) return undefined
    return { first: Math.min(...indexes), last: Math.max(...indexes) }
  }

  entries(range: { from: number; to: number; bytesMax: number }): LogEntry[] {
    const found: LogEntry[] = []
    let bytes = 0
    for (let index = range.from; index <= range.to; index++) {
      const kept = this.#entries.get(index)
      if (kept === undefined) continue
      const { checksum, ...entry } = kept
      verifyEntry(entry, checksum)
      bytes += entry.data.length
      if (found.length > 0 && bytes > range.bytesMax) break
      found.push({ ...entry, data: Buffer.from(entry.data) })
    }
    return found
  }

  /** All that the log holds, damaged or not. */
  get log(): readonly StoredEntry[] {
    return [...this.#entries.values()].sort((a, b) => a.index - b.index)
  }

  async *pieces(chunkBytes: number): AsyncGenerator<TreeBatch> {
    const { put, facts } = await this.rows.whole()
    const parts: { row?: TreeRow; fact?: readonly [string, Uint8Array]; bytes: number }[] = []
    for (const fact of facts) {
      const [name, value] = fact
      if (value) parts.push({ fact: [name, value], bytes: name.length + value.length })
    }
    for (const row of put) parts.push({ row, bytes: row.path.length + row.data.length })
    for (let from = 0, at = 0; from === 0 || from < parts.length; from = at) {
      for (let bytes = 0; at < parts.length && bytes < chunkBytes; at++) {
        bytes += parts[at]?.bytes ?? 0
      }
      const taken = parts.slice(from, at)
      yield {
        put: taken.flatMap(({ row }) => row ?? []),
        remove: [],
        facts: new Map(taken.flatMap(({ fact }) => (fact ? [fact] : []))),
      }
      if (parts.length === 0) return
    }
  }

  #append(change: LogChange & { readonly entries: readonly StoredEntry[] }): void {
    const { truncateFrom, cutTo, entries, facts } = change
    for (const index of this.#entries.keys()) {
      if (index >= (truncateFrom ?? Infinity) || index <= (cutTo ?? -1)) this.#entries.delete(index)
    }
    for (const entry of entries) this.#entries.set(entry.index, entry)
    for (const [name, value] of facts) {
      if (value) this.logFacts.set(name, value)
      else this.logFacts.delete(name)
    }
  }
}
