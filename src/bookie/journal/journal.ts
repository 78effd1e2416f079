// The journal while it serves: appends into the active segment's image, commits in groups, and
// keeps memory that somebody holds.
//
// J1 `durable` is reported only after the sync of all that it covers returned. J2 One commit is in
// flight; the next batch closes when it has ended, so that each batch's end names everything before
// it as durable. J3 After a failed sync nothing is ever reported durable again. J4 The memory of a
// segment is refilled, and its file used again, only while nobody holds it.
//
// It leaves what happens beside the path to housekeeping: the next segment, the superblock, giving
// segments back.

import type { JournalDevice, Logger, Timers } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import type { BookieJournal, JournalOwner, RecordPlace, RecordType } from './contract.ts'
import { blockBytes, payloadLengthAt, recordHeaderBytes } from './format.ts'
import type { SegmentReader } from './segment-reader.ts'
import type { Segment } from './segment.ts'

export interface JournalParts {
  readonly owner: JournalOwner
  readonly device: JournalDevice
  readonly timers: Timers
  readonly logger: Logger
  readonly reader: SegmentReader
  readonly limits: JournalLimits
  /** Called once, before the owner is told, when the disk cannot be trusted any more. */
  readonly poison: () => void
}

export interface JournalLimits {
  readonly segmentBytes: number
  /** Bytes of the active segment that only urgent records may use while there is no next one. */
  readonly reserveBytes: number
  /** Bytes appended and not yet durable. */
  readonly pendingBytes: number
}

/** What runs beside the journal. */
export interface Housekeeping {
  /** Something to do may have come up. Cheap, called often. */
  wake(): void
  /** Ends what it does, writes what a clean end needs, and closes. */
  close(): Promise<void>
}

/** Space and segments, as housekeeping last saw them. */
export interface DiskUsage {
  segments: number
  bytes: number
  freeBytes: number
  totalBytes: number
}

export class Journal implements BookieJournal {
  /** By slot; undefined where there is no file in use. */
  readonly segments: (Segment | undefined)[] = []
  /** Prepared, named by the superblock, and empty. */
  next: Segment | undefined
  /** True while the disk has no room for a next segment. */
  isFull = false
  /** True while the owner is writing again what a segment to be given back holds. */
  isEvacuating = false
  /** The owner has begun to append: what it counted of the replayed is complete. */
  hasBegun = false
  readonly disk: DiskUsage = { segments: 0, bytes: 0, freeBytes: 0, totalBytes: 0 }
  readonly #parts: JournalParts
  /** From the oldest that is not complete and durable to the active one. */
  readonly #unsettled: Segment[] = []
  readonly #waiters: { sequence: number; resolve: () => void; reject: (error: Error) => void }[] =
    []
  #housekeeping: Housekeeping | undefined
  #active: Segment
  #sequence: number
  #durable: number
  /** The batch that is with the device. */
  #flying: Segment | undefined
  #from = 0
  #to = 0
  #flyingLast = 0
  #flyingBytes = 0
  #openBytes = 0
  #isScheduled = false
  #wasRefused = false
  /** A record was refused that only the next segment has room for. */
  #needsNext = false
  #dead: Error | undefined
  #isClosing = false
  #closed: Promise<void> | undefined
  readonly #commitSoon = (): void => {
    this.#isScheduled = false
    this.#commit()
  }
  readonly #committed = (error?: Error): void => this.#afterCommit(error)

  constructor(parts: JournalParts, start: { active: Segment; sequence: number }) {
    this.#parts = parts
    this.#active = start.active
    this.#unsettled.push(start.active)
    this.segments[start.active.slot] = start.active
    this.#sequence = start.sequence
    this.#durable = start.sequence
  }

  attach(housekeeping: Housekeeping): void {
    this.#housekeeping = housekeeping
  }

  get sequence(): number {
    return this.#sequence
  }

  get durableSequence(): number {
    return this.#durable
  }

  get active(): Segment {
    return this.#active
  }

  get hasRoom(): boolean {
    const has = this.#hasRoom()
    if (!has) this.#wasRefused = true
    return has
  }

  get payloadBytesMax(): number {
    const { segmentBytes, reserveBytes } = this.#parts.limits
    return segmentBytes - reserveBytes - 3 * blockBytes
  }

  #hasRoom(): boolean {
    if (this.#dead !== undefined || this.#isClosing || this.isFull) return false
    if (this.#flyingBytes + this.#openBytes >= this.#parts.limits.pendingBytes) return false
    if (this.next !== undefined) return true
    return !this.#needsNext && this.#active.fits(0, this.#limit(false))
  }

  append(
    type: RecordType,
    source: Buffer,
    start: number,
    end: number,
    place: RecordPlace,
    urgent: boolean,
  ): boolean {
    if (!this.hasBegun) this.#begin()
    const segment = this.#segmentFor(end - start, urgent)
    if (segment === undefined) {
      this.#wasRefused = true
      return false
    }
    const before = segment.tail
    this.#sequence += 1
    const at = segment.append(type, this.#sequence, source, start, end)
    this.#openBytes += segment.tail - before
    place.slot = segment.slot
    place.offset8 = at >>> 3
    if (!this.#isScheduled && this.#flying === undefined) {
      this.#isScheduled = true
      this.#parts.timers.soon(this.#commitSoon)
    }
    return true
  }

  /** From now on what the owner has counted is complete: segments may be given back. */
  #begin(): void {
    this.hasBegun = true
    this.#housekeeping?.wake()
  }

  #segmentFor(payloadBytes: number, urgent: boolean): Segment | undefined {
    const { limits } = this.#parts
    const isUrgent = urgent || this.isEvacuating
    if (this.#dead !== undefined || this.#isClosing) return undefined
    if (!isUrgent) {
      if (this.isFull) return undefined
      if (this.#flyingBytes + this.#openBytes >= limits.pendingBytes) return undefined
    }
    if (this.#active.fits(payloadBytes, this.#limit(isUrgent))) return this.#active
    const { next } = this
    if (next === undefined) {
      this.#needsNext = true
      this.#refuseTooLarge(payloadBytes)
      return undefined
    }
    if (!next.fits(payloadBytes, limits.segmentBytes - limits.reserveBytes)) {
      this.#refuseTooLarge(payloadBytes)
      return undefined
    }
    this.#roll(next)
    return next
  }

  /** Where records must end in the active segment: all of it is free when there is a next one. */
  #limit(urgent: boolean): number {
    const { reserveBytes } = this.#parts.limits
    const { fileBytes } = this.#active
    if (this.next !== undefined || this.isEvacuating) return fileBytes
    // Half of the reserve is for giving segments back alone: without it nothing would ever be free.
    return fileBytes - (urgent ? reserveBytes / 2 : reserveBytes)
  }

  /** What never fits would wait for ever. */
  #refuseTooLarge(payloadBytes: number): void {
    const { payloadBytesMax } = this
    invariant(payloadBytes <= payloadBytesMax, 'a record fits a segment', {
      payloadBytes,
      payloadBytesMax,
    })
  }

  #roll(next: Segment): void {
    this.#active = next
    this.next = undefined
    this.#needsNext = false
    this.#unsettled.push(next)
    this.#settle()
    this.#housekeeping?.wake()
  }

  // ---- group commit

  #commit(): void {
    if (this.#flying !== undefined || this.#dead !== undefined) return
    const segment = this.#unsettled.find((one) => one.openRecords > 0)
    if (segment === undefined) return
    const before = segment.tail
    this.#flyingLast = segment.lastSequence
    const { from, to } = segment.closeBatch(this.#durable)
    // A segment that is left behind holds one open batch, and so does the active one.
    this.#flyingBytes = segment === this.#active ? this.#openBytes : before - from
    this.#openBytes -= this.#flyingBytes
    this.#from = from
    this.#to = to
    this.#flying = segment
    this.#write()
  }

  #write(): void {
    const file = this.#flying?.file
    if (file === undefined) invariant(false, 'a segment that is written to is open')
    this.#parts.device.commit(file, this.#from, this.#to, this.#committed)
  }

  #afterCommit(error: Error | undefined): void {
    if (this.#dead !== undefined) return
    if (error !== undefined) {
      this.#commitFailed(error)
      return
    }
    const segment = this.#flying
    if (segment === undefined) invariant(false, 'a commit that ends was in flight')
    segment.durableEnd = this.#to
    this.#flying = undefined
    this.#flyingBytes = 0
    this.#durable = this.#flyingLast
    if (this.next !== undefined) this.isFull = false
    this.#settle()
    this.#commit()
    this.#parts.owner.durable(this.#durable)
    while (this.#waiters[0] !== undefined && this.#waiters[0].sequence <= this.#durable) {
      this.#waiters.shift()?.resolve()
    }
    this.tellRoom()
  }

  /** Nothing was written where there was no room: the same span is tried again. */
  #commitFailed(error: Error): void {
    if (!QuireError.is(error, 'QUIRE_DISK_FULL')) {
      this.fail(error)
      return
    }
    this.#parts.logger.warn({ error }, 'the journal disk is full: a commit waits for room')
    this.fill()
    if (this.#isClosing) {
      // It would wait for ever. What is pending was not written, and nobody was told that it was.
      for (const { reject } of this.#waiters.splice(0)) reject(error)
      return
    }
    this.#parts.timers.after(retryMs, () => {
      if (this.#dead === undefined) this.#write()
    })
    this.#housekeeping?.wake()
  }

  /** Segments that were left behind and whose last batch is durable are complete. */
  #settle(): void {
    for (let oldest = this.#unsettled[0]; oldest !== undefined; oldest = this.#unsettled[0]) {
      if (oldest === this.#active || oldest === this.#flying || oldest.openRecords > 0) return
      this.#unsettled.shift()
      oldest.isSealed = true
      this.#housekeeping?.wake()
    }
  }

  /** J3. What is pending stays unknown for ever. */
  fail(error: Error): void {
    if (this.#dead !== undefined) return
    this.#dead = error
    this.#parts.poison()
    this.#parts.logger.error({ error }, 'the journal failed: this node ends')
    for (const { reject } of this.#waiters.splice(0)) reject(error)
    this.#parts.owner.failed(error)
  }

  get dead(): Error | undefined {
    return this.#dead
  }

  /** The disk has no room. Who was refused for another reason is to be told so, and not to wait. */
  fill(): void {
    if (this.isFull) return
    this.isFull = true
    if (!this.#wasRefused) return
    this.#wasRefused = false
    this.#parts.owner.writable()
  }

  /** Calls the owner back if it was refused and there is room again. */
  tellRoom(): void {
    if (!this.#wasRefused || !this.#hasRoom()) return
    this.#wasRefused = false
    this.#parts.owner.writable()
  }

  /** Resolves when the record is durable; fails when it never will be known to be. */
  whenDurable(sequence: number): Promise<void> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead)
    if (sequence <= this.#durable) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waiters.push({ sequence, resolve, reject })
    })
  }

  // ---- memory and reads

  view(slot: number, offset8: number): Buffer | undefined {
    const segment = this.segments[slot]
    const image = segment?.image
    const at = offset8 * 8
    if (image === undefined || segment === undefined || segment.isDropped) return undefined
    if (at >= segment.tail) return undefined
    const start = at + recordHeaderBytes
    return image.subarray(start, start + payloadLengthAt(image, at))
  }

  hold(slot: number): void {
    this.#held(slot).holders += 1
  }

  release(slot: number): void {
    const segment = this.#held(slot)
    invariant(segment.holders > 0, 'what is released was held', { slot })
    segment.holders -= 1
    if (segment.holders === 0) this.#housekeeping?.wake()
  }

  #held(slot: number): Segment {
    const segment = this.segments[slot]
    if (segment === undefined) invariant(false, 'a slot that is held exists', { slot })
    return segment
  }

  async read(slot: number, offset8: number): Promise<Buffer> {
    const segment = this.segments[slot]
    if (segment === undefined || segment.isDropped) throw voidPlace(slot, offset8)
    const view = this.view(slot, offset8)
    if (view !== undefined) return Buffer.from(view)
    segment.holders += 1
    try {
      return await this.#parts.reader.read(segment, offset8 * 8)
    } finally {
      this.release(slot)
    }
  }

  count(slot: number, entries: number): void {
    const segment = this.#held(slot)
    segment.entries += entries
    invariant(segment.entries >= 0, 'entries are counted off once', { slot })
    if (segment.entries === 0 && entries < 0) this.#housekeeping?.wake()
  }

  get activeSegment(): number {
    return this.#active.sequence
  }

  get oldestSegment(): number {
    let oldest = this.#active.sequence
    for (const segment of this.segments) {
      if (segment?.isDropped === false) oldest = Math.min(oldest, segment.sequence)
    }
    return oldest
  }

  usage(): DiskUsage {
    return { ...this.disk }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#isClosing = true
    try {
      if (this.#dead === undefined) await this.whenDurable(this.#sequence)
    } catch (error) {
      // The owner was told by `failed`; what is left is to close.
      this.#parts.logger.debug({ error }, 'the journal failed while it was closed')
    }
    await this.#housekeeping?.close()
  }
}

/** How long to wait before a full disk is tried again. */
export const retryMs = 1000

function voidPlace(slot: number, offset8: number): QuireError {
  return new QuireError(
    'QUIRE_JOURNAL_CORRUPT',
    `there is no record at offset ${offset8 * 8} of slot ${slot}: its segment was given back`,
    { facts: { slot, offset: offset8 * 8 } },
  )
}
