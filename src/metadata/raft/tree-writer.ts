// Writes what was applied to the tree, behind the answers: the log has it already, and a start
// applies again what is not written. What comes meanwhile is written as one.
//
// I1. Rows are written with how far the log was applied to them, at once.
// I2. What waits is bounded: whoever applies waits for `room`.

import type { Timer, Timers } from '../../io/time.ts'
import type { ReplicatedTreeStore, TreeBatch, TreeRow } from '../../io/tree-store.ts'
import type { StoreLane } from './store-lane.ts'

/** Of one group of commands. */
export interface AppliedGroup {
  /** Of its last entry. */
  readonly index: number
  readonly changes: TreeBatch | undefined
  /** Changed with the rows. */
  readonly facts: ReadonlyMap<string, Uint8Array>
  /** Told when the store has it, and all before. */
  readonly written: () => void
}

export interface TreeWriterParts {
  readonly store: ReplicatedTreeStore
  readonly lane: StoreLane
  readonly timers: Timers
  /** Up to here it is written. */
  readonly written: number
  readonly failed: (error: unknown) => void
}

interface Waiting {
  readonly rows: Map<string, TreeRow | undefined>
  readonly facts: Map<string, Uint8Array | undefined>
  /** Of the last group, which tells it for those before. */
  written: () => void
  index: number
  bytes: number
}

/** Writes of the log go first: this long, or until so many rows wait, there is no hurry. */
const hurry = { afterMs: 200, rows: 1_024 } as const
const most = { rows: 4_096, bytes: 8_388_608 } as const

export class TreeWriter {
  readonly #parts: TreeWriterParts
  #waiting: Waiting | undefined
  #running: Promise<void> | undefined
  #timer: Timer | undefined
  #written: number
  #ended = false

  constructor(parts: TreeWriterParts) {
    this.#parts = parts
    this.#written = parts.written
  }

  /** The last index that the store has. */
  get written(): number {
    return this.#written
  }

  add({ index, changes, facts, written }: AppliedGroup): void {
    if (this.#ended) return
    const fresh = { rows: new Map(), facts: new Map(), written, index, bytes: 0 }
    const waiting = (this.#waiting ??= fresh)
    for (const row of changes?.put ?? []) {
      waiting.rows.set(row.path, row)
      waiting.bytes += row.data.length
    }
    for (const path of changes?.remove ?? []) waiting.rows.set(path, undefined)
    for (const [name, value] of changes?.facts ?? []) waiting.facts.set(name, value)
    for (const [name, value] of facts) waiting.facts.set(name, value)
    waiting.written = written
    waiting.index = index
    if (waiting.rows.size >= hurry.rows) this.#start()
    else this.#timer ??= this.#parts.timers.after(hurry.afterMs, () => this.#start())
  }

  /** A snapshot took the tree's place. */
  installed(index: number): void {
    this.#written = Math.max(this.#written, index)
  }

  /** I2. */
  async room(): Promise<void> {
    while (!this.#ended && this.#waiting && isMuch(this.#waiting)) await this.flush()
  }

  /** Resolves when all that was given is written, or never will be. */
  async flush(): Promise<void> {
    this.#start()
    await this.#running
  }

  /** What waits is written no more. */
  stop(): void {
    this.#ended = true
    this.#timer?.cancel()
    this.#waiting = undefined
  }

  #start(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#waiting) this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    try {
      for (let next = this.#take(); next !== undefined; next = this.#take()) await this.#write(next)
    } catch (error) {
      this.stop()
      this.#parts.failed(error)
    }
    this.#running = undefined
  }

  #take(): Waiting | undefined {
    const next = this.#waiting
    this.#waiting = undefined
    return next
  }

  async #write({ rows, facts, written, index }: Waiting): Promise<void> {
    const { store, lane } = this.#parts
    const put = [...rows.values()].filter((row) => row !== undefined)
    const remove = [...rows].flatMap(([path, row]) => (row === undefined ? [path] : []))
    await lane.run(() => store.apply({ put, remove, facts }))
    this.#written = index
    written()
  }
}

const isMuch = ({ rows, bytes }: Waiting): boolean => rows.size >= most.rows || bytes >= most.bytes
