// A journal in memory for tests of what stands on it: records become durable when the test says so,
// and a "crash" keeps exactly what was durable.
import type {
  BookieJournal,
  JournalOwner,
  RecordPlace,
  RecordType,
} from '../../src/bookie/journal/contract.ts'
import { recordTypes } from '../../src/bookie/journal/contract.ts'
import { QuireError } from '../../src/errors.ts'

interface StoredRecord {
  readonly type: RecordType
  readonly bytes: Buffer
  readonly sequence: number
}

interface Slot {
  readonly records: Map<number, StoredRecord>
  nextOffset8: number
  holders: number
  entries: number
}

export class MemoryJournal implements BookieJournal {
  sequence = 0
  durableSequence = 0
  hasRoom = true
  readonly payloadBytesMax: number = 5 << 20
  isFull = false
  /** Even urgent records find no room. */
  reserveGone = false
  /** Records are not in memory: `view` finds nothing and `read` is needed. */
  cold = false
  /** Commits by itself after each append. */
  autoCommit = false
  /** Reads wait until `settleReads`. */
  slowReads = false
  /** Places whose bytes no longer verify. */
  readonly corrupt: Set<string> = new Set<string>()
  readonly appended: StoredRecord[] = []
  readonly #owner: JournalOwner
  readonly #slots: Slot[] = []
  readonly #waiting: (() => void)[] = []
  #active = 0
  #dead = false

  constructor(owner: JournalOwner) {
    this.#owner = owner
    this.#slots.push({ records: new Map(), nextOffset8: 1, holders: 0, entries: 0 })
  }

  append(
    type: RecordType,
    source: Buffer,
    start: number,
    end: number,
    place: RecordPlace,
    urgent: boolean,
  ): boolean {
    if (this.#dead) return false
    const refused = urgent ? this.reserveGone : !this.hasRoom || this.isFull
    if (refused) return false
    const slot = this.#slot(this.#active)
    const bytes = Buffer.from(source.subarray(start, end))
    const record = { type, bytes, sequence: ++this.sequence }
    place.slot = this.#active
    place.offset8 = slot.nextOffset8
    slot.records.set(slot.nextOffset8, record)
    slot.nextOffset8 += Math.ceil((bytes.length + 32) / 8)
    this.appended.push(record)
    if (this.autoCommit) this.commit()
    return true
  }

  /** Makes everything appended durable. */
  commit(): void {
    this.durableSequence = this.sequence
    this.#owner.durable(this.sequence)
  }

  fail(): void {
    this.#dead = true
    this.#owner.failed(new QuireError('QUIRE_FSYNC_FAILED', 'the disk failed the test'))
  }

  /** Seals the active segment; what follows goes to the next. */
  roll(): void {
    this.#active = this.#slots.length
    this.#slots.push({ records: new Map(), nextOffset8: 1, holders: 0, entries: 0 })
  }

  /** Gives a sealed segment back, as the journal does when no entry in it lives. */
  recycle(index: number): void {
    const slot = this.#slot(index)
    if (slot.entries !== 0) throw new Error(`${slot.entries} entries still live in slot ${index}`)
    const records = [...slot.records.values()].filter((one) => one.type !== recordTypes.entry)
    this.#owner.evacuate(
      records.map(({ type, bytes }) => ({ type, bytes, start: 0, end: bytes.length })),
    )
    this.commit()
    slot.records.clear()
  }

  /** What a process that starts after a crash finds: durable records, in order. */
  crash(owner: JournalOwner): MemoryJournal {
    const next = new MemoryJournal(owner)
    next.#slots.length = 0
    const found: { place: RecordPlace; record: StoredRecord }[] = []
    this.#slots.forEach((slot, index) => {
      const kept = [...slot.records].filter(([, { sequence }]) => sequence <= this.durableSequence)
      next.#slots.push({ ...slot, records: new Map(kept), holders: 0, entries: 0 })
      for (const [offset8, record] of kept) found.push({ place: { slot: index, offset8 }, record })
    })
    next.sequence = this.durableSequence
    next.durableSequence = this.durableSequence
    next.roll()
    for (const { place, record } of found.toSorted(
      (a, b) => a.record.sequence - b.record.sequence,
    )) {
      owner.replay(record.type, place, record.bytes, 0, record.bytes.length)
    }
    return next
  }

  view(slot: number, offset8: number): Buffer | undefined {
    if (this.cold || this.corrupt.has(`${slot}:${offset8}`)) return undefined
    return this.#slots[slot]?.records.get(offset8)?.bytes
  }

  hold(slot: number): void {
    this.#slot(slot).holders++
  }

  release(slot: number): void {
    const held = this.#slot(slot)
    if (held.holders === 0) throw new Error(`slot ${slot} is released more often than held`)
    held.holders--
  }

  holders(slot: number): number {
    return this.#slot(slot).holders
  }

  async read(slot: number, offset8: number): Promise<Buffer> {
    if (this.slowReads) {
      await new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      })
    }
    const record = this.#slots[slot]?.records.get(offset8)
    if (record === undefined || this.corrupt.has(`${slot}:${offset8}`)) {
      throw new QuireError('QUIRE_JOURNAL_CORRUPT', 'a record does not verify')
    }
    return record.bytes
  }

  get waitingReads(): number {
    return this.#waiting.length
  }

  settleReads(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  count(slot: number, entries: number): void {
    this.#slot(slot).entries += entries
  }

  entries(slot: number): number {
    return this.#slot(slot).entries
  }

  get activeSegment(): number {
    return this.#active + 1
  }

  get oldestSegment(): number {
    const oldest = this.#slots.findIndex(({ records }) => records.size > 0)
    return oldest < 0 ? this.activeSegment : oldest + 1
  }

  usage(): { segments: number; bytes: number; freeBytes: number; totalBytes: number } {
    return { segments: this.#slots.length, bytes: 4096, freeBytes: 1000, totalBytes: 5096 }
  }

  async close(): Promise<void> {
    this.commit()
  }

  #slot(index: number): Slot {
    const slot = this.#slots[index]
    if (slot === undefined) throw new Error(`no slot ${index}`)
    return slot
  }
}
