// Places of up to 32 entries with neighbouring ids: a bitmap of those present and, packed in its
// order, 6 bytes for each (segment slot 16 bits, offset in units of 8 bytes 32 bits). Cells come in
// sizes; one that is full moves to the next size. Words of a cell: bitmap, then one word an offset,
// then half a word a slot.

import { invariant } from '../../invariant.ts'
import type { RecordPlace } from '../journal/contract.ts'
import { PagedWords } from './paged-words.ts'

export const entriesPerCell = 32

const capacities = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] as const
const sizeShift = 28
const indexMask = (1 << sizeShift) - 1

function bitCount(bits: number): number {
  let count = bits - ((bits >>> 1) & 0x55555555)
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333)
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

export class CellPool {
  readonly #sizes: readonly PagedWords[] = capacities.map(
    (capacity) => new PagedWords(1 + capacity + ((capacity + 1) >>> 1)),
  )

  get bytes(): number {
    return this.#sizes.reduce((sum, cells) => sum + cells.bytes, 0)
  }

  /** An empty cell with room for at least `room` entries. Its reference is never 0. */
  create(room: number): number {
    let size = 0
    while ((capacities[size] ?? entriesPerCell) < room) size++
    return this.#allocate(size)
  }

  free(cell: number): void {
    this.#cells(cell).release(cell & indexMask)
  }

  bitmap(cell: number): number {
    return this.#cells(cell).get(cell & indexMask, 0)
  }

  find(cell: number, position: number, place: RecordPlace): boolean {
    const cells = this.#cells(cell)
    const page = cells.page(cell & indexMask)
    const base = cells.base(cell & indexMask)
    const bitmap = page[base] ?? 0
    if (((bitmap >>> position) & 1) === 0) return false
    const at = bitCount(bitmap & ((1 << position) - 1))
    const capacity = this.#capacity(cell)
    place.offset8 = page[base + 1 + at] ?? 0
    const pair = page[base + 1 + capacity + (at >>> 1)] ?? 0
    place.slot = (at & 1) === 0 ? pair & 0xffff : pair >>> 16
    return true
  }

  /** Puts a place at a position that is free; the reference may change. */
  insert(cell: number, position: number, place: RecordPlace): number {
    const bitmap = this.bitmap(cell)
    invariant(((bitmap >>> position) & 1) === 0, 'an entry is indexed once', { position })
    const count = bitCount(bitmap)
    const roomy = count < this.#capacity(cell) ? cell : this.#enlarge(cell, count)
    const cells = this.#cells(roomy)
    const index = roomy & indexMask
    const at = bitCount(bitmap & ((1 << position) - 1))
    for (let move = count; move > at; move--) {
      cells.set(index, 1 + move, cells.get(index, move))
      this.#setSlot(roomy, move, this.#slot(roomy, move - 1))
    }
    cells.set(index, 1 + at, place.offset8)
    this.#setSlot(roomy, at, place.slot)
    cells.set(index, 0, (bitmap | (1 << position)) >>> 0)
    return roomy
  }

  /** The segment slots of all entries in a cell, one call an entry. */
  eachSlot(cell: number, call: (slot: number) => void): void {
    const count = bitCount(this.bitmap(cell))
    for (let at = 0; at < count; at++) call(this.#slot(cell, at))
  }

  #enlarge(cell: number, count: number): number {
    const larger = this.#allocate((cell >>> sizeShift) + 1)
    const from = this.#cells(cell)
    const to = this.#cells(larger)
    to.set(larger & indexMask, 0, this.bitmap(cell))
    for (let at = 0; at < count; at++) {
      to.set(larger & indexMask, 1 + at, from.get(cell & indexMask, 1 + at))
      this.#setSlot(larger, at, this.#slot(cell, at))
    }
    this.free(cell)
    return larger
  }

  #allocate(size: number): number {
    const cells = this.#sizes[size]
    if (cells === undefined) invariant(false, 'a cell size', { size })
    const index = cells.allocate()
    invariant(index <= indexMask, 'cells of one size fit 28 bits', { index })
    return ((size << sizeShift) | index) >>> 0
  }

  #cells(cell: number): PagedWords {
    const cells = this.#sizes[cell >>> sizeShift]
    if (cells === undefined) invariant(false, 'a cell reference', { cell })
    return cells
  }

  #capacity(cell: number): number {
    return capacities[cell >>> sizeShift] ?? entriesPerCell
  }

  #slot(cell: number, at: number): number {
    const pair = this.#cells(cell).get(cell & indexMask, 1 + this.#capacity(cell) + (at >>> 1))
    return (at & 1) === 0 ? pair & 0xffff : pair >>> 16
  }

  #setSlot(cell: number, at: number, slot: number): void {
    const cells = this.#cells(cell)
    const word = 1 + this.#capacity(cell) + (at >>> 1)
    const pair = cells.get(cell & indexMask, word)
    const next = (at & 1) === 0 ? (pair & 0xffff0000) | slot : (pair & 0xffff) | (slot << 16)
    cells.set(cell & indexMask, word, next >>> 0)
  }
}
