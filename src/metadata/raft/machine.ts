// The metadata tree as what a group replicates: commands come in the order of the log, the same on
// every node.

import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import { decodeCommand } from '../tree/command-codec.ts'
import type { TreeResult } from '../tree/command.ts'
import { PublishedTree } from '../tree/published.ts'
import type { StoreLane } from './store-lane.ts'

export interface MachineParts {
  readonly store: ReplicatedTreeStore
  readonly lane: StoreLane
  readonly threw: (error: unknown) => void
}

export class TreeMachine {
  readonly #parts: MachineParts
  #tree: PublishedTree

  private constructor(parts: MachineParts, tree: PublishedTree) {
    this.#parts = parts
    this.#tree = tree
  }

  static async open(parts: MachineParts): Promise<TreeMachine> {
    return new TreeMachine(parts, await PublishedTree.load(parts.store, parts.threw))
  }

  /** Replaced when a snapshot took its place: whoever holds on to one sees the past. */
  get tree(): PublishedTree {
    return this.#tree
  }

  /** Applies encoded commands in order; `facts` change in the same transaction. */
  apply(
    commands: readonly Uint8Array[],
    facts: ReadonlyMap<string, Uint8Array>,
  ): Promise<TreeResult[]> {
    const { store, lane } = this.#parts
    return this.#tree.apply(commands.map(decodeCommand), async (changes) => {
      const all = new Map([...(changes?.facts ?? []), ...facts])
      const batch = { put: changes?.put ?? [], remove: changes?.remove ?? [], facts: all }
      await lane.run(() => store.apply(batch))
    })
  }

  /** The store holds another tree now. Its watches have ended: what they saw is of the old one. */
  async reload(): Promise<void> {
    this.#tree.watches.end()
    this.#tree = await PublishedTree.load(this.#parts.store, this.#parts.threw)
  }
}
