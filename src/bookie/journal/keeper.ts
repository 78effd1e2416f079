// Housekeeping of the journal, beside its path: prepares the next segment ahead of time, records
// complete ones in the superblock, gives back those in which nothing lives. One thing after the
// other; it runs when it is woken.
//
// K1 A segment is written to only after the superblock names it. K2 A file is used again only after
// the superblock has ceased to name its last use, and that only after what must outlive it is
// durable elsewhere (A11.2: a fence is never forgotten). K3 A failed sync ends the journal; any
// other failure is tried again. K4 A next segment leaves room on the disk for others.

import type { Files, JournalDevice, Logger, Random, Timers } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import type { SuperblockStore } from '../identity/superblock-store.ts'
import { type JournalOwner, slotMax } from './contract.ts'
import { type Housekeeping, type Journal, retryMs } from './journal.ts'
import { blockBytes, type SegmentHeader } from './format.ts'
import { prepareSegment, stateRecords } from './segment-files.ts'
import type { SegmentReader } from './segment-reader.ts'
import { type Segment, segmentPath } from './segment.ts'

export interface KeeperParts {
  readonly files: Files
  readonly device: JournalDevice
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  readonly superblock: SuperblockStore
  readonly owner: JournalOwner
  readonly reader: SegmentReader
  readonly directory: string
  readonly segmentBytes: number
  readonly arenas: number
  readonly spareSegments: number
}

/** A segment is worth giving back at once when it costs no more than this part of it. */
const cheapShare = 1 / 4
/** K4: half a segment, and at most this much. */
const leftFreeBytesMax = 16 * 1024 * 1024

export class Keeper implements Housekeeping {
  readonly #parts: KeeperParts
  readonly #journal: Journal
  /** Slots whose files are there and in no use. */
  readonly #spares: number[]
  readonly #arenas: Uint8Array[] = []
  readonly #closings = new Set<Promise<unknown>>()
  /** Segments that cannot be read to be given back. */
  readonly #unreadable = new Set<Segment>()
  /** A file that is ready and not yet named by the superblock. */
  #prepared: Segment | undefined
  #allocated: number
  #running: Promise<void> | undefined
  #again = false
  #isWaiting = false
  #isStarving = false
  /** The problem that was logged last and is not over. */
  #told: string | undefined
  #isClosing = false

  constructor(parts: KeeperParts, journal: Journal, spares: Iterable<number>) {
    this.#parts = parts
    this.#journal = journal
    this.#spares = [...spares]
    // The active segment has one.
    this.#allocated = 1
  }

  wake(): void {
    if (this.#isClosing || this.#journal.dead !== undefined) return
    this.#again = true
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    // Never inside the call that woke it.
    await Promise.resolve()
    while (this.#again && !this.#isClosing && this.#journal.dead === undefined) {
      this.#again = false
      const isPrepared = await this.#attempt(() => this.#prepareNext())
      const isGiven = await this.#attempt(() => this.#giveBack())
      if (isPrepared && isGiven && !this.#isWaiting) this.#told = undefined
    }
    this.#running = undefined
  }

  /** K3. */
  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      if (this.#journal.dead !== undefined) return false
      const isKnown = QuireError.is(error) && error.code !== 'QUIRE_INVARIANT'
      if (!isKnown || error.code === 'QUIRE_FSYNC_FAILED') {
        this.#journal.fail(error instanceof Error ? error : new Error(String(error)))
        return false
      }
      // A disk stays full for hours: told once.
      const level = this.#told === error.code ? 'debug' : 'warn'
      this.#told = error.code
      this.#parts.logger[level]({ error }, 'housekeeping of the journal will be tried again')
      this.#retry()
      return false
    }
  }

  #retry(): void {
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#parts.timers.after(retryMs, () => {
      this.#isWaiting = false
      this.wake()
    })
  }

  // ---- the next segment

  async #prepareNext(): Promise<void> {
    const journal = this.#journal
    if (journal.next !== undefined || this.#isWaiting) return
    try {
      // One whose record failed is recorded again as it is: the superblock may name it already.
      this.#prepared ??= await this.#prepare()
      if (this.#prepared === undefined) return
      await this.#record()
    } catch (error) {
      journal.fill()
      throw error
    }
    journal.next = this.#prepared
    this.#prepared = undefined
    journal.isFull = false
    journal.tellRoom()
    await this.measure()
  }

  /** Undefined without memory: `release` wakes. */
  async #prepare(): Promise<Segment | undefined> {
    const image = this.#takeArena()
    if (image === undefined) {
      this.#starve()
      return undefined
    }
    const spare = this.#spares.pop()
    const slot = spare ?? this.#newSlot()
    try {
      if (spare === undefined) await this.#checkRoom()
      const { files, device, directory } = this.#parts
      const header = this.#header()
      const segment = await prepareSegment({ files, device, directory, slot, header, image })
      this.#journal.segments[slot] = segment
      return segment
    } catch (error) {
      this.#arenas.push(image)
      if (spare !== undefined) this.#spares.push(spare)
      throw error
    }
  }

  /**
   * K4. Filling a file until nothing is left would fail the metadata on the same disk, although the
   * space is given back at once.
   */
  async #checkRoom(): Promise<void> {
    const { files, directory, segmentBytes } = this.#parts
    const { freeBytes } = await files.space(directory)
    const leftBytes = Math.min(segmentBytes / 2, leftFreeBytesMax)
    if (freeBytes >= segmentBytes + leftBytes) return
    throw new QuireError(
      'QUIRE_DISK_FULL',
      `the journal in ${directory} has no room for its next segment: ${segmentBytes} bytes and ` +
        `${leftBytes} left to others are needed, and ${freeBytes} are free; free space on its ` +
        'disk, what was acknowledged before is safe',
      { facts: { path: directory, freeBytes } },
    )
  }

  /** One slow reader must not stop everybody's appends. */
  #starve(): void {
    if (this.#isStarving) return
    this.#isStarving = true
    this.#parts.timers.after(retryMs, () => {
      this.#isStarving = false
      this.wake()
    })
    this.#parts.owner.starved?.()
  }

  #header(): SegmentHeader {
    const { random, superblock, segmentBytes } = this.#parts
    const { clusterId, bookieId, incarnation, nextSegment } = superblock.current
    return {
      segmentBytes,
      sequence: nextSegment,
      uuid: random.bytes(16),
      previous: this.#journal.active.uuid,
      incarnation,
      carriedBatches: 0,
      clusterId,
      bookieId,
    }
  }

  #newSlot(): number {
    let slot = 0
    while (this.#journal.segments[slot] !== undefined || this.#spares.includes(slot)) slot += 1
    if (slot <= slotMax) return slot
    throw new QuireError(
      'QUIRE_DISK_FULL',
      `the journal in ${this.#parts.directory} has ${slotMax + 1} segments, the most it can ` +
        'have: delete ledgers, or start with larger segments',
    )
  }

  /** Memory for an image: free, new, or from the oldest complete segment that nobody holds. */
  #takeArena(): Uint8Array | undefined {
    const free = this.#arenas.pop()
    if (free !== undefined) return free
    const { device, segmentBytes, arenas } = this.#parts
    if (this.#allocated < arenas) {
      this.#allocated += 1
      return device.allocate(segmentBytes)
    }
    const cached = this.#live().find((one) => one.isSealed && one.image && one.holders === 0)
    return cached === undefined ? undefined : this.#emptied(cached)
  }

  /** Takes a segment's memory; its file is closed for commits when the device comes to it. */
  #emptied(segment: Segment): Uint8Array | undefined {
    const { file } = segment
    segment.file = undefined
    segment.image = undefined
    if (file === undefined) return undefined
    const closing = this.#closed(file)
    this.#closings.add(closing)
    void closing.then(() => this.#closings.delete(closing))
    if (file.image.length === this.#parts.segmentBytes) return file.image
    // Begun with another size; the next one gets memory of the right one.
    return this.#parts.device.allocate(this.#parts.segmentBytes)
  }

  async #closed(file: NonNullable<Segment['file']>): Promise<void> {
    try {
      await this.#parts.device.closeFile(file)
    } catch (error) {
      this.#parts.logger.warn({ error }, 'a journal file could not be closed')
    }
  }

  // ---- giving back

  async #giveBack(): Promise<void> {
    for (;;) {
      this.#sweep()
      await this.#trimSpares()
      const segment = this.#candidate()
      if (segment === undefined || this.#isClosing) return
      await this.#evacuate(segment)
      segment.isDropped = true
      this.#sweep()
      await this.measure()
      this.#parts.logger.debug({ path: segment.path }, 'a journal segment was given back')
      // A full disk has room now.
      this.#isWaiting = false
      this.#again = true
    }
  }

  /**
   * The oldest complete segment without a living entry. One full of keys and fences waits until
   * several times as much was written, or such segments would only copy one another.
   */
  #candidate(): Segment | undefined {
    if (!this.#journal.hasBegun) return undefined
    const { sequence } = this.#journal.active
    const empty = this.#live().filter(
      (one) => one.isSealed && one.entries === 0 && !this.#unreadable.has(one),
    )
    const isCheap = (one: Segment) => one.stateBytes <= one.fileBytes * cheapShare
    const patience = 4 * empty.filter((one) => !isCheap(one)).length
    return empty.find(
      (one) => this.#hasRoomFor(one) && (isCheap(one) || sequence - one.sequence > patience),
    )
  }

  /** Without a next segment an attempt that fails half-way would eat the reserve. */
  #hasRoomFor(segment: Segment): boolean {
    const { active, next } = this.#journal
    return next !== undefined || active.fits(segment.stateBytes + 2 * blockBytes, active.fileBytes)
  }

  /** K2. */
  async #evacuate(segment: Segment): Promise<void> {
    const { files, owner } = this.#parts
    const journal = this.#journal
    try {
      if (segment.stateBytes > 0) {
        for await (const records of stateRecords(files, segment)) {
          if (journal.next === undefined) await this.#prepareNext()
          journal.isEvacuating = true
          try {
            owner.evacuate(records)
          } finally {
            journal.isEvacuating = false
          }
          await journal.whenDurable(journal.sequence)
        }
      }
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_JOURNAL_CORRUPT')) this.#unreadable.add(segment)
      throw error
    }
    await this.#record({ without: segment })
  }

  /** Files and memory of dropped segments that nobody holds any more. */
  #sweep(): void {
    const { segments } = this.#journal
    for (const segment of segments) {
      if (segment === undefined || !segment.isDropped || segment.holders > 0) continue
      const image = this.#emptied(segment)
      if (image !== undefined) this.#arenas.push(image)
      segments[segment.slot] = undefined
      const closing = this.#parts.reader.forget(segment.path)
      this.#closings.add(closing)
      void closing.finally(() => this.#closings.delete(closing))
      this.#spares.push(segment.slot)
    }
  }

  /** Files beyond a few spare ones go back to the disk. */
  async #trimSpares(): Promise<void> {
    const { files, directory, spareSegments } = this.#parts
    for (let slot = this.#spares[spareSegments]; slot !== undefined;) {
      await files.remove(segmentPath(directory, slot))
      this.#spares.splice(spareSegments, 1)
      slot = this.#spares[spareSegments]
    }
  }

  #live(): Segment[] {
    const live = this.#journal.segments.flatMap((one) => (one?.isDropped === false ? [one] : []))
    return live.toSorted((one, other) => one.sequence - other.sequence)
  }

  // ---- the superblock

  async #record(how: { without?: Segment; isClean?: boolean } = {}): Promise<void> {
    const { superblock } = this.#parts
    const live = this.#live().filter((one) => one !== how.without)
    const sealed = live.filter((one) => one.isSealed).map(({ lastSequence }) => lastSequence)
    const { current } = superblock
    await superblock.write({
      isClean: how.isClean ?? false,
      durableSequence: this.#journal.durableSequence,
      sealedSequence: Math.max(current.sealedSequence, how.without?.lastSequence ?? 0, ...sealed),
      nextSegment: Math.max(current.nextSegment, ...live.map(({ sequence }) => sequence + 1)),
      segments: live.map((one) => one.manifest()),
    })
  }

  /** Looks at the space on the disk. */
  async measure(): Promise<void> {
    const { files, directory } = this.#parts
    const { disk } = this.#journal
    const live = this.#live()
    const space = await files.space(directory)
    const spareBytes = this.#spares.length * this.#parts.segmentBytes
    disk.segments = live.length
    disk.bytes = live.reduce((sum, { fileBytes }) => sum + fileBytes, spareBytes)
    disk.freeBytes = space.freeBytes + spareBytes
    disk.totalBytes = space.totalBytes
  }

  async close(): Promise<void> {
    this.#isClosing = true
    await this.#running
    const { device, reader, logger } = this.#parts
    try {
      if (this.#journal.dead === undefined) await this.#record({ isClean: true })
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_FSYNC_FAILED')) this.#journal.fail(error)
      else logger.warn({ error }, 'the clean end could not be recorded: the next start checks more')
    }
    for (const segment of this.#journal.segments) {
      if (segment?.file !== undefined) this.#closings.add(this.#closed(segment.file))
    }
    await Promise.all(this.#closings)
    await reader.close()
    await device.close()
  }
}
