// The metadata tree as what a group replicates: commands come in the order of the log, the same on
// every node.

import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import { decodeCommand } from '../tree/command-codec.ts'
import { PublishedTree, type AppliedAhead } from '../tree/published.ts'

export interface MachineParts {
  readonly store: ReplicatedTreeStore
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

  /** Applies encoded commands in order, and shows what has changed before it is written. */
  apply(commands: readonly Uint8Array[]): Promise<AppliedAhead> {
    return this.#tree.applyAhead(commands.map(decodeCommand))
  }

  /** The store holds another tree now. Its watches have ended: what they saw is of the old one. */
  async reload(): Promise<void> {
    this.#tree.watches.end()
    this.#tree = await PublishedTree.load(this.#parts.store, this.#parts.threw)
  }
}
