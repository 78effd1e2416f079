// The fast path inside one process: a writer puts each entry here when it is acknowledged, never
// before, and readers of the same log take it from memory. The last entries are kept within a byte
// budget; a reader that falls behind them goes to the ledgers and comes back when it has caught up.
// Without a writer in this process there is nothing here.

import { invariant } from '../../invariant.ts'
import type { SealedEntry } from './core/batcher.ts'
import { Gate } from './wait.ts'

export type Lookup =
  | { readonly type: 'entry'; readonly payload: Buffer }
  /** The writer of this process has acknowledged nothing from there on yet. */
  | { readonly type: 'wait' }
  /** Not here: read the ledgers. */
  | { readonly type: 'elsewhere' }

export class Feed {
  /** Opens when an entry was acknowledged, and when a writer comes or goes. */
  readonly changed: Gate = new Gate()
  readonly #bytesMax: number
  #owner: object | undefined
  #entries: SealedEntry[] = []
  #bytes = 0
  #end = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  /** A writer begins to serve at `position`. The one before it, if any, is silent from now on. */
  attach(owner: object, position: number): void {
    this.#owner = owner
    this.#entries = []
    this.#bytes = 0
    this.#end = position
    this.changed.open()
  }

  detach(owner: object): void {
    if (this.#owner !== owner) return
    this.#owner = undefined
    this.#entries = []
    this.#bytes = 0
    this.changed.open()
  }

  /** The next acknowledged entry of the writer. */
  publish(owner: object, entry: SealedEntry): void {
    if (this.#owner !== owner) return
    invariant(entry.firstPosition === this.#end, 'entries are acknowledged in order', {
      expected: this.#end,
      found: entry.firstPosition,
    })
    this.#entries.push(entry)
    this.#bytes += entry.payload.length
    this.#end += entry.count
    while (this.#bytes > this.#bytesMax && this.#entries.length > 1) {
      this.#bytes -= this.#entries.shift()?.payload.length ?? 0
    }
    this.changed.open()
  }

  /** Where this process's writer is, if it has one: everything before is acknowledged. */
  get end(): number | undefined {
    return this.#owner ? this.#end : undefined
  }

  lookup(position: number): Lookup {
    if (!this.#owner) return { type: 'elsewhere' }
    if (position >= this.#end) return { type: 'wait' }
    const entry = this.#find(position)
    return entry ? { type: 'entry', payload: entry.payload } : { type: 'elsewhere' }
  }

  #find(position: number): SealedEntry | undefined {
    let low = 0
    let high = this.#entries.length - 1
    while (low <= high) {
      const middle = (low + high) >> 1
      const entry = this.#entries[middle]
      if (!entry) return undefined
      if (position < entry.firstPosition) high = middle - 1
      else if (position >= entry.firstPosition + entry.count) low = middle + 1
      else return entry
    }
    return undefined
  }
}
