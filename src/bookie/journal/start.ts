// From a directory to a journal that serves. Each step can be repeated after a crash in it:
//
// 1 what sealed segments hold is checked and replayed; 2 the segments that may have been written to
// are scanned, and recovery.ts decides; 3 a tail that is not proven durable is written to a new
// segment and synced; 4 the superblock seals the old and names the new; 5 the tail is replayed from
// its new place. Until 4 is durable nothing that is named was changed.

import type { Io, JournalDevice, Logger } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import type { ManifestSegment } from '../identity/superblock-codec.ts'
import type { SuperblockStore } from '../identity/superblock-store.ts'
import { type JournalOwner, recordTypes } from './contract.ts'
import { alignToBlock, blockBytes, decodeSegmentHeader, seedOf } from './format.ts'
import { Journal, type JournalLimits } from './journal.ts'
import { Keeper } from './keeper.ts'
import { checkSealed, type FoundSegment, type OpenOutcome, recoverOpen } from './recovery.ts'
import { type Batch, scanSegment, visitBatch } from './scan.ts'
import { FileLoader, prepareSegment, removeUnfinished, shortenFile } from './segment-files.ts'
import { SegmentReader } from './segment-reader.ts'
import { Segment, segmentPath } from './segment.ts'

export interface JournalSettings extends JournalLimits {
  readonly arenas: number
  readonly spareSegments: number
}

export interface StartParts {
  readonly io: Pick<Io, 'files' | 'journals' | 'timers' | 'random'>
  readonly logger: Logger
  readonly directory: string
  /** Its incarnation is this start's. */
  readonly superblock: SuperblockStore
  /** Slots of files that the superblock does not name. */
  readonly spares: readonly number[]
  readonly owner: JournalOwner
  readonly settings: JournalSettings
}

/**
 * Replays into the owner and resolves to a journal that takes records. QUIRE_RANGE_LOST when
 * something that was durable cannot be read; QUIRE_DISK_FULL without room for a first segment.
 */
export async function startJournal(parts: StartParts): Promise<Journal> {
  const device = await parts.io.journals.open()
  try {
    return await new Start(parts, device).run()
  } catch (error) {
    await device.close()
    throw error
  }
}

/** Out of the memory that the next load overwrites. */
interface Tail {
  readonly bytes: Buffer
  readonly batch: Batch
}

class Start {
  readonly #parts: StartParts
  readonly #device: JournalDevice
  readonly #loader: FileLoader
  readonly #sealed: Segment[] = []
  #holes = 0

  constructor(parts: StartParts, device: JournalDevice) {
    this.#parts = parts
    this.#device = device
    this.#loader = new FileLoader(parts.io.files)
  }

  async run(): Promise<Journal> {
    const { superblock, logger } = this.#parts
    const { current } = superblock
    await removeUnfinished(this.#parts.io.files, this.#parts.directory)
    for (const named of current.segments) {
      if (named.sealedBytes > 0) await this.#replaySealed(named)
    }
    const open = current.segments.filter(({ sealedBytes }) => sealedBytes === 0)
    const outcome = recoverOpen(await this.#findAll(open), current)
    const complete = this.#sealed.length
    const tail = await this.#replayOpen(open, outcome)
    const active = await this.#beginSegment(outcome, tail)
    await superblock.write({
      isClean: false,
      durableSequence: outcome.lastSequence,
      sealedSequence: outcome.provenSequence,
      nextSegment: active.sequence + 1,
      segments: [...this.#sealed, active].map((one) => one.manifest()),
    })
    this.#replayTail(active, tail)
    await this.#shorten(this.#sealed.slice(complete))
    if (this.#holes > 0) {
      logger.error({ entries: this.#holes }, 'entries of the journal are damaged: read elsewhere')
    }
    const live = [...this.#sealed, active].map(({ slot }) => slot)
    const free = [...this.#parts.spares, ...current.segments.map(({ slot }) => slot)]
    const spares = free.filter((slot) => !live.includes(slot))
    return this.#serve(active, outcome.lastSequence, spares)
  }

  // ---- reading

  #segmentOf(named: ManifestSegment, bytes: number): Segment {
    const { slot, sequence, uuid } = named
    const path = segmentPath(this.#parts.directory, slot)
    return new Segment({ slot, sequence, uuid, path, bytes })
  }

  /** Its bytes are in the loader's memory until the next. */
  async #find(named: ManifestSegment): Promise<{ found: FoundSegment; bytes: Buffer }> {
    const path = segmentPath(this.#parts.directory, named.slot)
    const facts = await this.#parts.io.files.facts(path)
    const none = { path, header: 'unreadable', to: named.sealedBytes } as const
    const scan = { batches: [], end: 0, durable: 0 }
    const bytes = Buffer.alloc(0)
    if (facts === undefined) return { found: { ...none, file: 'missing', scan }, bytes }
    const to = named.sealedBytes === 0 ? facts.bytes : named.sealedBytes
    // A sealed segment is judged record by record. In one that was written to, a sector that cannot
    // be read must not pass for one that was never written.
    const unreadable = named.sealedBytes > 0 ? 'zeros' : 'fail'
    const loaded = await this.#loader.load(path, Math.min(to, facts.bytes), unreadable)
    const header = decodeSegmentHeader(loaded)
    const wanted = named.sealedBytes === 0 ? (header?.segmentBytes ?? 2 * blockBytes) : to
    if (loaded.length < wanted)
      return { found: { ...none, file: 'short', scan, to: wanted }, bytes }
    const isSame = header?.uuid.equals(named.uuid) === true
    const found: FoundSegment = {
      path,
      file: 'there',
      header: header === undefined ? 'unreadable' : isSame ? 'matches' : 'other',
      scan: scanSegment(loaded, seedOf(named.uuid), to),
      to,
    }
    return { found, bytes: loaded }
  }

  async #findAll(named: readonly ManifestSegment[]): Promise<FoundSegment[]> {
    const all: FoundSegment[] = []
    for (const one of named) all.push((await this.#find(one)).found)
    return all
  }

  async #replaySealed(named: ManifestSegment): Promise<void> {
    const { found, bytes } = await this.#find(named)
    checkSealed(found, named.firstSequence, named.lastSequence)
    const segment = this.#segmentOf(named, named.sealedBytes)
    segment.firstSequence = named.firstSequence
    segment.lastSequence = named.lastSequence
    this.#replay(segment, { bytes, batches: found.scan.batches, end: named.sealedBytes })
    this.#sealed.push(segment)
  }

  /** Replays what is kept of the segments that were open; resolves to the tail. */
  async #replayOpen(
    open: readonly ManifestSegment[],
    outcome: OpenOutcome,
  ): Promise<Tail | undefined> {
    let tail: Tail | undefined
    for (const [index, named] of open.entries()) {
      const kept = outcome.kept[index]
      const isTail = outcome.tail?.index === index
      if (kept === undefined || (kept.end === 0 && !isTail)) continue
      const { found, bytes } = await this.#find(named)
      if (outcome.tail !== undefined && isTail) {
        const { batch } = outcome.tail
        tail = { bytes: Buffer.from(bytes.subarray(0, batch.end)), batch }
      }
      if (kept.end === 0) continue
      const segment = this.#segmentOf(named, found.to)
      segment.firstSequence = kept.first
      segment.lastSequence = kept.last
      const batches = found.scan.batches.filter(({ end }) => end <= kept.end)
      this.#replay(segment, { bytes, batches, end: kept.end })
      this.#sealed.push(segment)
    }
    return tail
  }

  #replay(segment: Segment, what: { bytes: Buffer; batches: readonly Batch[]; end: number }): void {
    const { bytes, batches, end } = what
    segment.isSealed = true
    segment.durableEnd = end
    segment.tail = end
    for (const batch of batches) {
      this.#holes += batch.holes.length
      for (const offset of batch.holes) {
        const facts = { path: segment.path, offset }
        this.#parts.logger.warn(facts, 'an entry of the journal is damaged')
      }
      this.#replayBatch(segment, bytes, batch)
    }
  }

  #replayBatch(segment: Segment, bytes: Buffer, batch: Batch): void {
    const place = { slot: segment.slot, offset8: 0 }
    visitBatch(bytes, batch, (type, at, start, end) => {
      if (type !== recordTypes.entry) segment.stateBytes += end - at
      place.offset8 = at >>> 3
      this.#parts.owner.replay(type, place, bytes, start, end)
    })
  }

  // ---- writing

  /** A new segment, never one that the superblock names, with the tail in it, synced. */
  async #beginSegment(outcome: OpenOutcome, tail: Tail | undefined): Promise<Segment> {
    const { io, directory, superblock, settings } = this.#parts
    const { clusterId, bookieId, incarnation, nextSegment, segments } = superblock.current
    const tailBytes = tail === undefined ? 0 : tail.batch.end - tail.batch.start
    // What once fitted a segment is written whole, also when segments have become smaller.
    const segmentBytes = Math.max(settings.segmentBytes, alignToBlock(tailBytes) + 2 * blockBytes)
    const header = {
      segmentBytes,
      sequence: nextSegment,
      uuid: io.random.bytes(16),
      previous: segments.at(-1)?.uuid ?? Buffer.alloc(16),
      incarnation,
      carriedBatches: tail === undefined ? 0 : 1,
      clusterId,
      bookieId,
    }
    const image = this.#device.allocate(segmentBytes)
    const slot = this.#freeSlot()
    const device = this.#device
    const use = { files: io.files, device, directory, slot, header, image }
    const segment = await prepareSegment(use)
    if (tail !== undefined) await this.#writeTail(segment, tail, outcome.provenSequence)
    return segment
  }

  #freeSlot(): number {
    const { spares, superblock } = this.#parts
    const [spare] = spares
    if (spare !== undefined) return spare
    const used = new Set(superblock.current.segments.map(({ slot }) => slot))
    let slot = 0
    while (used.has(slot)) slot += 1
    return slot
  }

  async #writeTail(segment: Segment, tail: Tail, proven: number): Promise<void> {
    const { bytes, batch } = tail
    let sequence = batch.first
    visitBatch(bytes, batch, (type, _at, start, end) => {
      segment.append(type, sequence, bytes, start, end)
      sequence += 1
    })
    const { from, to } = segment.closeBatch(proven)
    const { file } = segment
    await new Promise<void>((resolve, reject) => {
      if (file === undefined) {
        reject(new QuireError('QUIRE_INVARIANT', 'a segment that is begun is open'))
        return
      }
      this.#device.commit(file, from, to, (error) => {
        if (error === undefined) resolve()
        else reject(error)
      })
    })
    segment.durableEnd = to
  }

  #replayTail(active: Segment, tail: Tail | undefined): void {
    const { image } = active
    if (tail === undefined || image === undefined) return
    const scan = scanSegment(image, active.seed, active.durableEnd)
    // Counted by `append`, and again by the replay.
    active.stateBytes = 0
    for (const batch of scan.batches) this.#replayBatch(active, image, batch)
  }

  /** A segment that ended early keeps no room that it does not need. Only for the space. */
  async #shorten(segments: readonly Segment[]): Promise<void> {
    for (const segment of segments) {
      const { path, durableEnd } = segment
      if (segment.fileBytes === durableEnd) continue
      try {
        await shortenFile(this.#parts.io.files, path, durableEnd)
        segment.fileBytes = durableEnd
      } catch (error) {
        this.#parts.logger.warn({ error }, 'a journal segment could not be shortened')
      }
    }
  }

  async #serve(active: Segment, sequence: number, spares: readonly number[]): Promise<Journal> {
    const { io, logger, directory, superblock, owner, settings } = this.#parts
    const { files, timers, random } = io
    const device = this.#device
    const reader = new SegmentReader(files)
    const poison = (): void => files.poison(directory)
    const parts = { owner, device, timers, logger, reader, limits: settings, poison }
    const journal = new Journal(parts, { active, sequence })
    for (const segment of this.#sealed) journal.segments[segment.slot] = segment
    const beside = { files, random, superblock, directory, ...settings }
    const keeper = new Keeper({ ...parts, ...beside }, journal, spares)
    journal.attach(keeper)
    await keeper.measure()
    keeper.wake()
    return journal
  }
}
