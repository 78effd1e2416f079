// What a tree shows: its sessions, watches and reads, as of the last group of commands that was
// published. The group that is being written is seen by nobody.

import type { TreeBatch, TreeStore } from '../../io/tree-store.ts'
import { Batch } from './batch.ts'
import type { TreeCommand, TreeResult } from './command.ts'
import { decodeZxid, zxidFact } from './facts.ts'
import { treeError } from './errors.ts'
import { pathProblem } from './path.ts'
import { Reads } from './reads.ts'
import { SessionTable } from './session-table.ts'
import { Watches } from './watches.ts'
import type { StandingKind, TreeWatch } from './watches.ts'

export class PublishedTree {
  readonly watches: Watches
  readonly reads: Reads
  readonly sessions: SessionTable
  readonly #store: TreeStore
  #zxid: number

  private constructor(
    store: TreeStore,
    parts: { watches: Watches; sessions: SessionTable; zxid: number },
  ) {
    this.#store = store
    this.watches = parts.watches
    this.sessions = parts.sessions
    this.#zxid = parts.zxid
    this.reads = new Reads(store, this.watches)
  }

  /** What the store holds. `threw`: told what a watch threw. */
  static async load(store: TreeStore, threw: (error: unknown) => void): Promise<PublishedTree> {
    const zxid = (await store.facts(zxidFact)).get(zxidFact)
    const sessions = await SessionTable.load(store)
    const watches = new Watches(threw)
    return new PublishedTree(store, { watches, sessions, zxid: zxid ? decodeZxid(zxid) : 0 })
  }

  /** Lays a watch that is called for every change that is published from now on. */
  stand(kind: StandingKind, path: string, watch: TreeWatch): void {
    if (pathProblem(path) !== undefined) throw treeError({ code: 'QUIRE_BAD_PATH', path, index: 0 })
    this.watches.stand(kind, path, watch)
  }

  /** The last change that is published. */
  get zxid(): number {
    return this.#zxid
  }

  /**
   * Applies commands in order, has `write` write what changes (undefined: nothing does), and
   * publishes it. When that fails nothing was published, and nothing more can be applied.
   */
  async apply(
    commands: readonly TreeCommand[],
    write: (changes: TreeBatch | undefined) => Promise<void>,
  ): Promise<TreeResult[]> {
    const batch = new Batch({ store: this.#store, sessions: this.sessions, zxid: this.#zxid })
    await batch.load(commands)
    const results: TreeResult[] = []
    for (const command of commands) results.push(await batch.apply(command))
    this.reads.hide(batch.before)
    await write(batch.changes())
    this.reads.show(batch.before)
    this.#zxid = batch.zxid
    for (const event of batch.events) this.watches.fire(event)
    batch.tellEnded()
    return results
  }
}
