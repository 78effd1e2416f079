// Records of a fixed number of 32-bit words in pages of a fixed size: memory grows and shrinks by
// one page at a time, so that no doubling copies the whole and none is held twice. Record 0 is
// never given out: it stands for "none".

import { invariant } from '../../invariant.ts'

const pageShift = 12
export const recordsPerPage: number = 1 << pageShift
const recordMask = recordsPerPage - 1

export class PagedWords {
  readonly stride: number
  /** `undefined`: a page whose records are all free and whose memory was given back. */
  readonly #pages: (Uint32Array | undefined)[] = []
  /**
   * By page: first freed record, chained through word 0; records ever given out; records in use.
   */
  readonly #free: number[] = []
  readonly #used: number[] = []
  readonly #inUse: number[] = []
  /** Pages with room; the last is filled first. */
  readonly #open: number[] = []
  /** One empty page keeps its memory, so that a record freed and taken in turn costs nothing. */
  #empty = -1
  #resident = 0
  #live = 0

  constructor(stride: number) {
    this.stride = stride
  }

  /** Records in use. */
  get live(): number {
    return this.#live
  }

  /** The bound of a walk over all pages. */
  get pageCount(): number {
    return this.#pages.length
  }

  get bytes(): number {
    return this.#resident * recordsPerPage * this.stride * 4
  }

  /** A record whose words are all zero. */
  allocate(): number {
    let index = this.#open.at(-1)
    if (index === undefined) {
      index = this.#pages.length
      this.#pages.push(undefined)
      this.#free.push(0)
      // Record 0 counts as given out.
      this.#used.push(index === 0 ? 1 : 0)
      this.#inUse.push(0)
      this.#open.push(index)
    }
    const record = this.#take(index)
    if (this.#free[index] === 0 && this.#used[index] === recordsPerPage) this.#open.pop()
    return record
  }

  release(record: number): void {
    const index = record >>> pageShift
    const page = this.page(record)
    const base = this.base(record)
    page.fill(0, base, base + this.stride)
    if (this.#free[index] === 0 && this.#used[index] === recordsPerPage) this.#open.push(index)
    page[base] = this.#free[index] ?? 0
    this.#free[index] = record
    this.#live--
    const inUse = (this.#inUse[index] ?? 0) - 1
    invariant(record > 0 && inUse >= 0, 'a record that was given out', { record })
    this.#inUse[index] = inUse
    if (inUse === 0) this.#emptied(index)
  }

  /** The page that holds a record; its words begin at `base(record)`. */
  page(record: number): Uint32Array {
    const page = this.#pages[record >>> pageShift]
    if (page === undefined) invariant(false, 'a record inside the pages', { record })
    return page
  }

  /** Whether any record of the page is in memory: what a walk may look at. */
  hasPage(index: number): boolean {
    return this.#pages[index] !== undefined
  }

  base(record: number): number {
    return (record & recordMask) * this.stride
  }

  get(record: number, word: number): number {
    return this.page(record)[(record & recordMask) * this.stride + word] ?? 0
  }

  set(record: number, word: number, value: number): void {
    this.page(record)[(record & recordMask) * this.stride + word] = value
  }

  #take(index: number): number {
    if (this.#empty === index) this.#empty = -1
    let page = this.#pages[index]
    if (page === undefined) {
      page = new Uint32Array(recordsPerPage * this.stride)
      this.#pages[index] = page
      this.#resident++
    }
    this.#live++
    this.#inUse[index] = (this.#inUse[index] ?? 0) + 1
    const free = this.#free[index] ?? 0
    if (free !== 0) {
      const base = this.base(free)
      this.#free[index] = page[base] ?? 0
      page[base] = 0
      return free
    }
    const used = this.#used[index] ?? 0
    this.#used[index] = used + 1
    return (index << pageShift) + used
  }

  #emptied(index: number): void {
    if (this.#empty === -1) {
      this.#empty = index
      return
    }
    this.#pages[index] = undefined
    this.#resident--
    this.#free[index] = 0
    this.#used[index] = index === 0 ? 1 : 0
  }
}
