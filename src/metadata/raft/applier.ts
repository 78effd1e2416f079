// Applies what a core says is committed, in order, some at a time; and lets a snapshot take the
// tree's place, between two of them.

import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { TreeResult } from '../tree/command.ts'
import { decodeConfiguration } from './core/configuration-codec.ts'
import type { Committed } from './core/effects.ts'
import type { ConfigurationAt, SnapshotMeta } from './core/types.ts'
import type { TreeMachine } from './machine.ts'
import type { StoreLane } from './store-lane.ts'
import type { Staging } from './snapshots.ts'
import { appliedFacts, cutFact } from './stored.ts'

type Work =
  | { readonly type: 'entry'; readonly committed: Committed }
  | { readonly type: 'install'; readonly snapshot: SnapshotMeta }

export interface ApplierParts {
  readonly store: ReplicatedTreeStore
  readonly lane: StoreLane
  readonly machine: TreeMachine
  readonly staging: Staging
  /** Resolves when all that the log's writer was given is written. */
  readonly written: () => Promise<void>
  /** Nothing is applied or installed until it resolves. */
  readonly applied: (index: number) => Promise<void>
  readonly answered: (ctx: number, result: TreeResult | undefined) => void
  readonly installed: (snapshot: SnapshotMeta, isDone: boolean) => void
  readonly failed: (error: unknown) => void
}

/** What one transaction applies: more would block the store's thread for too long. */
const groupMax = 512

export class Applier {
  readonly #parts: ApplierParts
  readonly #queue: Work[] = []
  #running: Promise<void> | undefined

  constructor(parts: ApplierParts) {
    this.#parts = parts
  }

  apply(committed: readonly Committed[]): void {
    for (const each of committed) this.#queue.push({ type: 'entry', committed: each })
    this.#start()
  }

  install(snapshot: SnapshotMeta): void {
    this.#queue.push({ type: 'install', snapshot })
    this.#start()
  }

  /** Resolves when what was given is applied, or never will be. */
  async idle(): Promise<void> {
    await this.#running
  }

  /** Nothing that waits is begun any more. */
  stop(): void {
    this.#queue.length = 0
  }

  #start(): void {
    if (this.#queue.length > 0) this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    try {
      for (let next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
        if (next.type === 'entry') await this.#applyGroup(this.#takeGroup())
        else {
          this.#queue.shift()
          await this.#install(next.snapshot)
        }
      }
    } catch (error) {
      this.stop()
      this.#parts.failed(error)
    }
    this.#running = undefined
  }

  #takeGroup(): Committed[] {
    const group: Committed[] = []
    for (const work of this.#queue) {
      if (work.type !== 'entry' || group.length === groupMax) break
      group.push(work.committed)
    }
    this.#queue.splice(0, group.length)
    return group
  }

  async #applyGroup(group: readonly Committed[]): Promise<void> {
    const { machine, applied, answered } = this.#parts
    const last = group.at(-1)?.entry
    if (last === undefined) return
    const commands = group.filter(({ entry }) => entry.type === 'normal')
    const facts = appliedFacts({ index: last.index, term: last.term }, lastConfiguration(group))
    const results = await machine.apply(
      commands.map(({ entry }) => entry.bytes),
      facts,
    )
    const resultOf = new Map(commands.map((each, index) => [each, results[index]]))
    for (const each of group) {
      if (each.ctx !== undefined) answered(each.ctx, resultOf.get(each))
    }
    await applied(last.index)
  }

  /** F3.52: tree, configuration and what is left of the log change at once, or not at all. */
  async #install(snapshot: SnapshotMeta): Promise<void> {
    const { store, lane, machine, staging, written, installed } = this.#parts
    await written()
    if (!staging.isWhole(snapshot)) {
      installed(snapshot, false)
      return
    }
    const { index, term } = snapshot
    const change = { truncateFrom: 0, entries: [], facts: new Map([cutFact({ index, term })]) }
    await lane.run(() => store.install(change))
    await machine.reload()
    installed(snapshot, true)
  }
}

function lastConfiguration(group: readonly Committed[]): ConfigurationAt | undefined {
  const entry = group.findLast((each) => each.entry.type === 'config')?.entry
  return entry && { index: entry.index, configuration: decodeConfiguration(entry.bytes) }
}
