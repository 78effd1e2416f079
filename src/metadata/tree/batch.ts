// Commands that are committed together: each is applied to what the one before left, and all of it
// goes to the store as one.

import type { TreeBatch, TreeRow, TreeStore } from '../../io/tree-store.ts'
import { applyCommand, rootRow } from './apply.ts'
import type { Applied, TreeEvent, TreeView } from './apply.ts'
import { prefetch } from './command.ts'
import type { TreeCommand, TreeResult } from './command.ts'
import { encodeZxid, zxidFact } from './facts.ts'
import type { SessionTable } from './session-table.ts'

/** The root is there before its first row is. */
export function orRoot(path: string, row: TreeRow | undefined): TreeRow | undefined {
  return row ?? (path === '/' ? rootRow : undefined)
}

export class Batch {
  readonly #store: TreeStore
  readonly #sessions: SessionTable
  readonly #rows = new Map<string, TreeRow | undefined>()
  /** Changed rows, as they were before the batch. */
  readonly before: Map<string, TreeRow | undefined> = new Map()
  readonly #facts = new Map<string, Uint8Array | undefined>()
  readonly #ended: (() => void)[] = []
  readonly events: TreeEvent[] = []
  #zxid: number

  constructor(parts: { store: TreeStore; sessions: SessionTable; zxid: number }) {
    this.#store = parts.store
    this.#sessions = parts.sessions
    this.#zxid = parts.zxid
  }

  /** The place of the last command. */
  get zxid(): number {
    return this.#zxid
  }

  /** Reads what the commands will ask for, all at once. */
  async load(commands: readonly TreeCommand[]): Promise<void> {
    await this.#fetch(commands.flatMap((command) => this.#asked(command)))
  }

  async apply(command: TreeCommand): Promise<TreeResult> {
    await this.load([command])
    const zxid = this.#zxid + 1
    for (;;) {
      const asked = new Set<string>()
      const view: TreeView = {
        row: (path) => {
          if (!this.#rows.has(path)) asked.add(path)
          return this.#rows.get(path)
        },
        session: (sessionId) => this.#sessions.get(sessionId),
      }
      const applied = applyCommand(view, command, zxid)
      if (asked.size === 0) {
        this.#absorb(applied, zxid)
        return applied.result
      }
      // Names that only the rows tell, those of sequential nodes: it is applied anew with them.
      await this.#fetch(asked)
    }
  }

  /** What the store is to hold; undefined when nothing has changed. */
  changes(): TreeBatch | undefined {
    const changed = [...this.before.keys()]
    const put = changed.flatMap((path) => this.#rows.get(path) ?? [])
    const remove = changed.filter((path) => !this.#rows.get(path) && this.before.get(path))
    if (put.length === 0 && remove.length === 0 && this.#facts.size === 0) return undefined
    const facts = new Map(this.#facts).set(zxidFact, encodeZxid(this.#zxid))
    return { put, remove, facts }
  }

  /** Tells the owners of sessions that ended; once it is durable. */
  tellEnded(): void {
    for (const tell of this.#ended) tell()
  }

  async #fetch(asked: Iterable<string>): Promise<void> {
    const paths = [...new Set(asked)].filter((path) => !this.#rows.has(path))
    if (paths.length === 0) return
    const rows = await this.#store.get(paths)
    for (const [index, path] of paths.entries()) this.#rows.set(path, orRoot(path, rows[index]))
  }

  #asked(command: TreeCommand): string[] {
    return prefetch(command, (sessionId) => this.#sessions.ephemerals(sessionId))
  }

  #absorb(applied: Applied, zxid: number): void {
    // What changes nothing takes no number: it would depend on what it was grouped with.
    if (applied.rows.size === 0 && !applied.session) return
    this.#zxid = zxid
    for (const [path, row] of applied.rows) {
      const earlier = this.#rows.get(path)
      if (!this.before.has(path)) this.before.set(path, earlier)
      this.#sessions.moved(path, earlier, row)
      this.#rows.set(path, row)
    }
    this.events.push(...applied.events)
    if (!applied.session) return
    const tell = this.#sessions.absorb(applied.session, this.#facts)
    if (tell) this.#ended.push(tell)
  }
}
