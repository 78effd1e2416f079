// What a bookie knows of its ledgers and where their entries are, in typed arrays: no object for a
// ledger or an entry.
//
// I1 An entry is indexed once: the first copy stays. I2 A last confirmed position never decreases.
// I3 A fence is never unset while its ledger lives. I4 Memory grows by pages of a fixed size
// (`bytes` is all of it).
//
// A ledger's entries are one of: nothing; one place in the ledger's own record; one cell (all ids
// in one aligned run of 32); or blocks, each a cell found by hash of (ledger, block number) and
// chained for walks. Sparse ids cost 36 bytes each.

import { invariant } from '../../invariant.ts'
import type { RecordPlace } from '../journal/contract.ts'
import { CellPool, entriesPerCell } from './cell-pool.ts'
import { KeyTable } from './key-table.ts'
import { LinearHash, mix } from './linear-hash.ts'
import { PagedWords, recordsPerPage } from './paged-words.ts'

/**
 * Entry ids and positions are stored in 48 bits; last confirmed positions plus one, so that −1
 * fits.
 */
export const maxStoredId: number = 2 ** 48 - 1

const word = {
  idHigh: 0,
  idLow: 1,
  next: 2,
  key: 3,
  /** By kind: the one entry's offset, the cell, or the newest block. */
  entries: 4,
  lacLow: 5,
  maxLow: 6,
  /** Low half: bits 32 to 47 of last confirmed + 1. High half: those of the highest entry id. */
  highs: 7,
  /** Low half: flags. High half: the one entry's slot. */
  flags: 8,
  extra: 9,
} as const
const ledgerWords = 10

const block = { ledger: 0, numberLow: 1, numberHigh: 2, cell: 3, older: 4, next: 5 } as const
const blockWords = 6

const extra = { offset8: 0, slotAndHigh: 1, low: 2 } as const
const extraWords = 3

/** Bits of a ledger's state. */
export const ledgerFlags = {
  inUse: 1,
  fenced: 2,
  /** Something of it may have been lost: what is not here may not be called absent (A11.3). */
  suspect: 4,
  /** Deleted and remembered, so that late adds do not bring it back. */
  deleted: 8,
  /** Somebody waits for its last confirmed position: the owner of the index keeps who. */
  watched: 16,
  /** The fence has its record in the journal. */
  fenceRecorded: 32,
  /** Deleted, and its entries are given up. */
  buried: 64,
} as const
const kindShift = 8
const kinds = { none: 0, single: 1, cell: 2, blocks: 3 } as const

export interface Burial {
  /** Of the owner's clock. */
  readonly second: number
  /** Number of the journal's segment at that time: later ones hold nothing of the ledger. */
  readonly segment: number
}

export class LedgerIndex {
  readonly #seed: number
  readonly #ledgers = new PagedWords(ledgerWords)
  readonly #blocks = new PagedWords(blockWords)
  readonly #extras = new PagedWords(extraWords)
  readonly #cells = new CellPool()
  readonly #keys: KeyTable
  readonly #byId: LinearHash
  readonly #byBlock: LinearHash
  readonly #old: RecordPlace = { slot: 0, offset8: 0 }
  #entries = 0

  /** `seed` keeps chosen ledger ids from falling into one bucket. */
  constructor(seed: number) {
    this.#seed = seed
    this.#keys = new KeyTable(seed)
    const ledgers = this.#ledgers
    this.#byId = new LinearHash({
      records: ledgers,
      nextWord: word.next,
      load: 2,
      hashOf: (at) => mix(ledgers.get(at, word.idHigh), ledgers.get(at, word.idLow), seed),
    })
    const blocks = this.#blocks
    this.#byBlock = new LinearHash({
      records: blocks,
      nextWord: block.next,
      load: 2,
      hashOf: (at) => mix(blocks.get(at, block.ledger), blocks.get(at, block.numberLow), seed),
    })
  }

  get bytes(): number {
    const parts = [this.#ledgers, this.#blocks, this.#extras, this.#cells, this.#keys]
    const hashes = this.#byId.bytes + this.#byBlock.bytes
    return parts.reduce((sum, part) => sum + part.bytes, hashes)
  }

  /** Ledgers known, those deleted and remembered included. */
  get ledgerCount(): number {
    return this.#ledgers.live
  }

  get entryCount(): number {
    return this.#entries
  }

  get keyCount(): number {
    return this.#keys.count
  }

  /** The ledger's record, 0 when there is none. Records of removed ledgers are used again. */
  find(high: number, low: number): number {
    const ledgers = this.#ledgers
    let at = this.#byId.first(mix(high, low, this.#seed))
    while (at !== 0) {
      const page = ledgers.page(at)
      const base = ledgers.base(at)
      if (page[base + word.idLow] === low && page[base] === high) return at
      at = page[base + word.next] ?? 0
    }
    return 0
  }

  create(high: number, low: number): number {
    invariant(this.find(high, low) === 0, 'a ledger is created once')
    const at = this.#ledgers.allocate()
    this.#ledgers.set(at, word.idHigh, high)
    this.#ledgers.set(at, word.idLow, low)
    this.#ledgers.set(at, word.flags, ledgerFlags.inUse)
    this.#byId.insert(at, mix(high, low, this.#seed))
    return at
  }

  idHigh(ledger: number): number {
    return this.#ledgers.get(ledger, word.idHigh)
  }

  idLow(ledger: number): number {
    return this.#ledgers.get(ledger, word.idLow)
  }

  has(ledger: number, flag: number): boolean {
    return (this.#ledgers.get(ledger, word.flags) & flag) !== 0
  }

  mark(ledger: number, flag: number): void {
    this.#ledgers.set(ledger, word.flags, this.#ledgers.get(ledger, word.flags) | flag)
  }

  unmark(ledger: number, flag: number): void {
    invariant(flag !== ledgerFlags.fenced, 'a fence is never unset')
    this.#ledgers.set(ledger, word.flags, (this.#ledgers.get(ledger, word.flags) & ~flag) >>> 0)
  }

  hasKey(ledger: number): boolean {
    return this.#ledgers.get(ledger, word.key) !== 0
  }

  setKey(ledger: number, bytes: Buffer, { start, end }: { start: number; end: number }): void {
    invariant(!this.hasKey(ledger), 'a key is fixed once')
    this.#ledgers.set(ledger, word.key, this.#keys.intern(bytes, start, end))
  }

  keyMatches(
    ledger: number,
    bytes: Buffer,
    { start, end }: { start: number; end: number },
  ): boolean {
    return this.#keys.matches(this.#ledgers.get(ledger, word.key), bytes, start, end)
  }

  /** The highest last confirmed position that is known, −1 for none. */
  lac(ledger: number): number {
    const page = this.#ledgers.page(ledger)
    const base = this.#ledgers.base(ledger)
    const high = (page[base + word.highs] ?? 0) & 0xffff
    return high * 2 ** 32 + (page[base + word.lacLow] ?? 0) - 1
  }

  /** True when the position advanced. */
  raiseLac(ledger: number, lac: number): boolean {
    const bounded = Math.min(lac, maxStoredId - 1)
    if (bounded <= this.lac(ledger)) return false
    const page = this.#ledgers.page(ledger)
    const base = this.#ledgers.base(ledger)
    const high = Math.floor((bounded + 1) / 2 ** 32)
    page[base + word.lacLow] = (bounded + 1) >>> 0
    page[base + word.highs] = ((page[base + word.highs] ?? 0) & 0xffff0000) | high
    return true
  }

  /** The highest entry id that is indexed, −1 for none. */
  lastEntry(ledger: number): number {
    const page = this.#ledgers.page(ledger)
    const base = this.#ledgers.base(ledger)
    if ((((page[base + word.flags] ?? 0) >>> kindShift) & 3) === kinds.none) return -1
    const high = (page[base + word.highs] ?? 0) >>> 16
    return high * 2 ** 32 + (page[base + word.maxLow] ?? 0)
  }

  /** Fills `place` when the entry is indexed. */
  lookup(ledger: number, entryId: number, place: RecordPlace): boolean {
    const ledgers = this.#ledgers
    const page = ledgers.page(ledger)
    const base = ledgers.base(ledger)
    const flags = page[base + word.flags] ?? 0
    const kind = (flags >>> kindShift) & 3
    const last = this.lastEntry(ledger)
    if (kind === kinds.none || entryId > last || entryId < 0) return false
    const entries = page[base + word.entries] ?? 0
    if (kind === kinds.single) {
      place.slot = flags >>> 16
      place.offset8 = entries
      return entryId === last
    }
    const number = Math.floor(entryId / entriesPerCell)
    const position = entryId % entriesPerCell
    if (kind === kinds.cell) {
      if (number !== Math.floor(last / entriesPerCell)) return false
      return this.#cells.find(entries, position, place)
    }
    const found = this.#findBlock(ledger, number)
    return found !== 0 && this.#cells.find(this.#blocks.get(found, block.cell), position, place)
  }

  /** Indexes an entry that is not indexed yet. */
  insert(ledger: number, entryId: number, place: RecordPlace): void {
    invariant(entryId >= 0 && entryId <= maxStoredId, 'an entry id of 48 bits', { entryId })
    const flags = this.#ledgers.get(ledger, word.flags)
    const kind = (flags >>> kindShift) & 3
    this.#entries++
    if (kind === kinds.none) {
      this.#ledgers.set(ledger, word.entries, place.offset8)
      this.#setKind(ledger, kinds.single)
      const next = (this.#ledgers.get(ledger, word.flags) & 0xffff) | (place.slot << 16)
      this.#ledgers.set(ledger, word.flags, next >>> 0)
    } else {
      if (kind === kinds.single) this.#singleToCell(ledger)
      const number = Math.floor(entryId / entriesPerCell)
      if (kind !== kinds.blocks && number !== this.#cellNumber(ledger)) this.#cellToBlocks(ledger)
      this.#insertInCell(ledger, entryId, place)
    }
    if (entryId > this.lastEntry(ledger)) this.#setLast(ledger, entryId)
  }

  /** The place of the explicit LAC packet, false when there is none. */
  explicitLac(ledger: number, place: RecordPlace): boolean {
    const at = this.#ledgers.get(ledger, word.extra)
    if (at === 0 || this.has(ledger, ledgerFlags.deleted)) return false
    place.offset8 = this.#extras.get(at, extra.offset8)
    place.slot = this.#extras.get(at, extra.slotAndHigh) & 0xffff
    return true
  }

  /** The position in the explicit LAC packet, −1 when there is none. */
  explicitLacValue(ledger: number): number {
    const at = this.#ledgers.get(ledger, word.extra)
    if (at === 0 || this.has(ledger, ledgerFlags.deleted)) return -1
    const high = this.#extras.get(at, extra.slotAndHigh) >>> 16
    return high * 2 ** 32 + this.#extras.get(at, extra.low) - 1
  }

  setExplicitLac(ledger: number, lac: number, place: RecordPlace): void {
    const at = this.#extraOf(ledger)
    const stored = Math.min(lac, maxStoredId - 1) + 1
    const high = Math.floor(stored / 2 ** 32)
    this.#extras.set(at, extra.offset8, place.offset8)
    this.#extras.set(at, extra.slotAndHigh, ((high << 16) | place.slot) >>> 0)
    this.#extras.set(at, extra.low, stored >>> 0)
  }

  /** Forgets all but that it was deleted, and when. `each` hears the slot of every entry. */
  bury(ledger: number, burial: Burial, each: (slot: number) => void): void {
    this.#empty(ledger, each)
    const key = this.#ledgers.get(ledger, word.key)
    if (key !== 0) this.#keys.release(key)
    const old = this.#ledgers.get(ledger, word.extra)
    if (old !== 0) this.#extras.release(old)
    for (const at of [word.key, word.entries, word.lacLow, word.maxLow, word.highs, word.extra]) {
      this.#ledgers.set(ledger, at, 0)
    }
    this.#ledgers.set(
      ledger,
      word.flags,
      ledgerFlags.inUse | ledgerFlags.deleted | ledgerFlags.buried,
    )
    const at = this.#extraOf(ledger)
    this.#extras.set(at, extra.low, burial.second)
    this.#extras.set(at, extra.offset8, burial.segment)
  }

  /** When a remembered ledger was deleted. */
  burial(ledger: number): Burial {
    invariant(this.has(ledger, ledgerFlags.buried), 'a ledger that was deleted')
    const at = this.#ledgers.get(ledger, word.extra)
    const second = this.#extras.get(at, extra.low)
    return { second, segment: this.#extras.get(at, extra.offset8) }
  }

  /** Forgets a ledger that was buried. */
  forget(ledger: number): void {
    invariant(this.has(ledger, ledgerFlags.buried), 'only a buried ledger is forgotten')
    this.#extras.release(this.#ledgers.get(ledger, word.extra))
    this.#byId.remove(ledger, mix(this.idHigh(ledger), this.idLow(ledger), this.#seed))
    this.#ledgers.release(ledger)
  }

  /**
   * Records of ledgers from `from` on, at most a page's worth: a walk that may stop between calls.
   * Returns where to go on, 0 at the end. Ledgers created meanwhile may be missed, those removed
   * may leave their record to others.
   */
  walk(from: number, each: (ledger: number) => void): number {
    const page = Math.floor(from / recordsPerPage)
    if (page >= this.#ledgers.pageCount) return 0
    if (this.#ledgers.hasPage(page)) {
      const end = (page + 1) * recordsPerPage
      for (let at = Math.max(from, 1); at < end; at++) {
        if (this.has(at, ledgerFlags.inUse)) each(at)
      }
    }
    return page + 1 < this.#ledgers.pageCount ? (page + 1) * recordsPerPage : 0
  }

  /** The ids held of a ledger as runs of consecutive ids, ascending. */
  runs(ledger: number, each: (first: number, last: number) => void): void {
    let first = -1
    let last = -1
    const add = (entryId: number): void => {
      if (entryId !== last + 1 || first < 0) {
        if (first >= 0) each(first, last)
        first = entryId
      }
      last = entryId
    }
    const kind = this.#kind(ledger)
    if (kind === kinds.single) add(this.lastEntry(ledger))
    else if (kind === kinds.cell) {
      const cell = this.#ledgers.get(ledger, word.entries)
      eachId(this.#cellNumber(ledger), this.#cells.bitmap(cell), add)
    } else if (kind === kinds.blocks) {
      for (const at of this.#blocksInOrder(ledger)) {
        eachId(this.#blockNumber(at), this.#cells.bitmap(this.#blocks.get(at, block.cell)), add)
      }
    }
    if (first >= 0) each(first, last)
  }

  #kind(ledger: number): number {
    return (this.#ledgers.get(ledger, word.flags) >>> kindShift) & 3
  }

  #setKind(ledger: number, kind: number): void {
    const flags = this.#ledgers.get(ledger, word.flags) & ~(3 << kindShift)
    this.#ledgers.set(ledger, word.flags, (flags | (kind << kindShift)) >>> 0)
  }

  #setLast(ledger: number, entryId: number): void {
    const page = this.#ledgers.page(ledger)
    const base = this.#ledgers.base(ledger)
    const high = Math.floor(entryId / 2 ** 32)
    page[base + word.maxLow] = entryId >>> 0
    page[base + word.highs] = (((page[base + word.highs] ?? 0) & 0xffff) | (high << 16)) >>> 0
  }

  /** The run of 32 that a ledger with one entry or one cell has. */
  #cellNumber(ledger: number): number {
    return Math.floor(this.lastEntry(ledger) / entriesPerCell)
  }

  #singleToCell(ledger: number): void {
    this.#old.slot = this.#ledgers.get(ledger, word.flags) >>> 16
    this.#old.offset8 = this.#ledgers.get(ledger, word.entries)
    const position = this.lastEntry(ledger) % entriesPerCell
    const cell = this.#cells.insert(this.#cells.create(2), position, this.#old)
    this.#ledgers.set(ledger, word.entries, cell)
    this.#setKind(ledger, kinds.cell)
  }

  #cellToBlocks(ledger: number): void {
    const cell = this.#ledgers.get(ledger, word.entries)
    this.#ledgers.set(ledger, word.entries, 0)
    this.#setKind(ledger, kinds.blocks)
    this.#addBlock(ledger, this.#cellNumber(ledger), cell)
  }

  #insertInCell(ledger: number, entryId: number, place: RecordPlace): void {
    const position = entryId % entriesPerCell
    if (this.#kind(ledger) === kinds.cell) {
      const cell = this.#cells.insert(this.#ledgers.get(ledger, word.entries), position, place)
      this.#ledgers.set(ledger, word.entries, cell)
      return
    }
    const number = Math.floor(entryId / entriesPerCell)
    let found = this.#findBlock(ledger, number)
    if (found === 0) {
      // A ledger that grows in order gets its next run whole: no cell of it is ever moved.
      const inOrder = position === 0 && entryId === this.lastEntry(ledger) + 1
      found = this.#addBlock(ledger, number, this.#cells.create(inOrder ? entriesPerCell : 1))
    }
    const cell = this.#cells.insert(this.#blocks.get(found, block.cell), position, place)
    this.#blocks.set(found, block.cell, cell)
  }

  #addBlock(ledger: number, number: number, cell: number): number {
    const at = this.#blocks.allocate()
    this.#blocks.set(at, block.ledger, ledger)
    this.#blocks.set(at, block.numberLow, number >>> 0)
    this.#blocks.set(at, block.numberHigh, Math.floor(number / 2 ** 32))
    this.#blocks.set(at, block.cell, cell)
    this.#blocks.set(at, block.older, this.#ledgers.get(ledger, word.entries))
    this.#ledgers.set(ledger, word.entries, at)
    this.#byBlock.insert(at, mix(ledger, number >>> 0, this.#seed))
    return at
  }

  #blockNumber(at: number): number {
    return this.#blocks.get(at, block.numberHigh) * 2 ** 32 + this.#blocks.get(at, block.numberLow)
  }

  #findBlock(ledger: number, number: number): number {
    const blocks = this.#blocks
    const low = number >>> 0
    const high = Math.floor(number / 2 ** 32)
    let at = this.#byBlock.first(mix(ledger, low, this.#seed))
    while (at !== 0) {
      const page = blocks.page(at)
      const base = blocks.base(at)
      const same = page[base + block.numberLow] === low && page[base + block.numberHigh] === high
      if (same && page[base] === ledger) return at
      at = page[base + block.next] ?? 0
    }
    return 0
  }

  #blocksInOrder(ledger: number): number[] {
    const all: number[] = []
    let at = this.#ledgers.get(ledger, word.entries)
    while (at !== 0) {
      all.push(at)
      at = this.#blocks.get(at, block.older)
    }
    return all.sort((a, b) => this.#blockNumber(a) - this.#blockNumber(b))
  }

  #extraOf(ledger: number): number {
    const at = this.#ledgers.get(ledger, word.extra)
    if (at !== 0) return at
    const made = this.#extras.allocate()
    this.#ledgers.set(ledger, word.extra, made)
    return made
  }

  #empty(ledger: number, each: (slot: number) => void): void {
    const count = (slot: number): void => {
      this.#entries--
      each(slot)
    }
    const kind = this.#kind(ledger)
    if (kind === kinds.single) count(this.#ledgers.get(ledger, word.flags) >>> 16)
    else if (kind === kinds.cell) this.#freeCell(this.#ledgers.get(ledger, word.entries), count)
    else if (kind === kinds.blocks) {
      let at = this.#ledgers.get(ledger, word.entries)
      while (at !== 0) {
        const older = this.#blocks.get(at, block.older)
        this.#freeCell(this.#blocks.get(at, block.cell), count)
        this.#byBlock.remove(at, mix(ledger, this.#blocks.get(at, block.numberLow), this.#seed))
        this.#blocks.release(at)
        at = older
      }
    }
  }

  #freeCell(cell: number, count: (slot: number) => void): void {
    this.#cells.eachSlot(cell, count)
    this.#cells.free(cell)
  }
}

function eachId(number: number, bitmap: number, each: (entryId: number) => void): void {
  for (let position = 0; position < entriesPerCell; position++) {
    if (((bitmap >>> position) & 1) === 1) each(number * entriesPerCell + position)
  }
}
