// Writes what a core wants durable: batches in order, those that wait as one, with one sync.

import type { LogChange, ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { ChunkToWrite, Effects } from './core/effects.ts'
import type { Entry, HardState } from './core/types.ts'
import type { StoreLane } from './store-lane.ts'
import { hardStateFact, storedEntry } from './stored.ts'

interface Waiting {
  token: number
  truncateFrom: number | undefined
  entries: Entry[]
  hardState: HardState | undefined
  readonly chunks: ChunkToWrite[]
}

export interface LogWriterParts {
  readonly store: ReplicatedTreeStore
  readonly lane: StoreLane
  /** Puts a piece of a snapshot aside. */
  readonly stage: (chunk: ChunkToWrite) => Promise<void>
  /** Everything up to this token is durable. */
  readonly done: (token: number) => void
  readonly failed: (error: unknown) => void
}

export class LogWriter {
  readonly #parts: LogWriterParts
  #waiting: Waiting | undefined
  #running: Promise<void> | undefined
  /** Of entries that were written and not yet counted by whoever cuts the log. */
  bytesWritten = 0
  /** Writes so far: each has one sync. */
  #syncs = 0

  constructor(parts: LogWriterParts) {
    this.#parts = parts
  }

  get syncs(): number {
    return this.#syncs
  }

  add(effects: Effects): void {
    const { token, truncateFrom, entriesToAppend, hardState, chunksToWrite } = effects
    const waiting = (this.#waiting ??= {
      token,
      truncateFrom: undefined,
      entries: [],
      hardState: undefined,
      chunks: [],
    })
    waiting.token = token
    if (truncateFrom !== undefined) {
      waiting.truncateFrom = Math.min(truncateFrom, waiting.truncateFrom ?? truncateFrom)
      waiting.entries = waiting.entries.filter(({ index }) => index < truncateFrom)
    }
    waiting.entries.push(...entriesToAppend)
    waiting.hardState = hardState ?? waiting.hardState
    waiting.chunks.push(...chunksToWrite)
    this.#running ??= this.#run()
  }

  /** Resolves when everything that was given is durable, or never will be. */
  async idle(): Promise<void> {
    await this.#running
  }

  async #run(): Promise<void> {
    try {
      for (let next = this.#take(); next !== undefined; next = this.#take()) await this.#write(next)
    } catch (error) {
      this.#parts.failed(error)
    }
    this.#running = undefined
  }

  #take(): Waiting | undefined {
    const next = this.#waiting
    this.#waiting = undefined
    return next
  }

  async #write({ token, truncateFrom, entries, hardState, chunks }: Waiting): Promise<void> {
    const { store, lane, stage, done } = this.#parts
    for (const chunk of chunks) await stage(chunk)
    const facts = new Map(hardState ? [hardStateFact(hardState)] : [])
    const change: LogChange = { truncateFrom, entries: entries.map(storedEntry), facts }
    await lane.run(() => store.append(change))
    this.#syncs += 1
    for (const { bytes } of entries) this.bytesWritten += bytes.length
    done(token)
  }
}
