// One use of a segment file: where it is, what is written to it, who holds its memory.

import { join } from 'node:path'
import type { JournalFile } from '../../io/index.ts'
import { invariant } from '../../invariant.ts'
import { asBuffer } from '../../wire/bytes.ts'
import type { ManifestSegment } from '../identity/superblock-codec.ts'
import { recordTypes, type RecordType } from './contract.ts'
import {
  addHeader,
  alignToBlock,
  batchEndBytes,
  batchEndPayloadBytes,
  blockBytes,
  recordBytes,
  seedOf,
  writeBatchEnd,
  writeRecord,
} from './format.ts'

const slotDigits = 5

export function segmentPath(directory: string, slot: number): string {
  return join(directory, `segment-${String(slot).padStart(slotDigits, '0')}.journal`)
}

/** The slot that a name stands for; undefined for anything else. */
export function slotOfName(name: string): number | undefined {
  const match = /^segment-(\d{5,9})\.journal$/.exec(name)
  return match === null ? undefined : Number(match[1])
}

export interface SegmentUse {
  readonly slot: number
  readonly sequence: number
  readonly uuid: Buffer
  readonly path: string
  /** Of the whole file. */
  readonly bytes: number
}

export class Segment {
  readonly slot: number
  readonly sequence: number
  readonly uuid: Buffer
  readonly path: string
  fileBytes: number
  readonly seed: number
  /** Its image, as long as that is in memory. */
  image: Buffer | undefined
  /** As long as it may be written to. */
  file: JournalFile | undefined
  /** Records from here on are not there. */
  tail: number = blockBytes
  /** Where everything durable ends; the end of the segment once it is complete. */
  durableEnd: number = blockBytes
  firstSequence = 0
  lastSequence = 0
  /** Complete and durable as a whole: nothing is written to it any more. */
  isSealed = false
  /** Given back: its records are void, and its file is not used again while it is held. */
  isDropped = false
  holders = 0
  entries = 0
  /** Bytes of records that are no entries: what giving it back may cost. */
  stateBytes = 0
  #batchStart: number = blockBytes
  #batchFirst = 0
  #batchCount = 0
  #headersCrc = 0
  readonly #head: { seed: number; sequence: number }
  readonly #scratch = Buffer.alloc(batchEndPayloadBytes)

  constructor(use: SegmentUse) {
    this.slot = use.slot
    this.sequence = use.sequence
    this.uuid = use.uuid
    this.path = use.path
    this.fileBytes = use.bytes
    this.seed = seedOf(use.uuid)
    this.#head = { seed: this.seed, sequence: 0 }
  }

  /** Makes it ready to be written to. */
  open(file: JournalFile): void {
    this.file = file
    this.image = asBuffer(file.image)
  }

  /** Records appended and not yet closed into a batch. */
  get openRecords(): number {
    return this.#batchCount
  }

  /** Whether a payload fits, the end of its batch included, before `limit`. */
  fits(payloadBytes: number, limit: number): boolean {
    return this.tail + recordBytes(payloadBytes) + batchEndBytes <= limit
  }

  /** Copies a record in behind the last one; it must fit. Returns its offset. */
  append(type: RecordType, sequence: number, source: Buffer, start: number, end: number): number {
    const { image, tail } = this
    if (image === undefined) invariant(false, 'a segment that is written to is in memory')
    if (this.#batchCount === 0) this.#batchFirst = sequence
    if (this.firstSequence === 0) this.firstSequence = sequence
    this.#head.sequence = sequence
    this.tail = writeRecord(image, tail, this.#head, type, source, start, end)
    this.#headersCrc = addHeader(this.#headersCrc, image, tail)
    this.#batchCount += 1
    this.lastSequence = sequence
    if (type !== recordTypes.entry) this.stateBytes += this.tail - tail
    return tail
  }

  /** Ends the batch that is open; returns the span of the image to be written. */
  closeBatch(durable: number): { from: number; to: number } {
    const { image, tail } = this
    if (image === undefined) invariant(false, 'a segment that is written to is in memory')
    invariant(this.#batchCount > 0, 'a batch holds something')
    const from = this.#batchStart
    const first = this.#batchFirst
    writeBatchEnd(this.#scratch, {
      first,
      count: this.#batchCount,
      headersCrc: this.#headersCrc,
      durable,
      start: from,
    })
    const end = this.#scratch.length
    this.#head.sequence = this.lastSequence
    const behind = writeRecord(image, tail, this.#head, recordTypes.batchEnd, this.#scratch, 0, end)
    const to = alignToBlock(behind)
    image.fill(0, behind, to)
    this.tail = to
    this.#batchStart = to
    this.#batchCount = 0
    this.#headersCrc = 0
    return { from, to }
  }

  /** What the manifest says of it. */
  manifest(): ManifestSegment {
    const { slot, sequence, uuid } = this
    if (!this.isSealed) {
      return { slot, sequence, uuid, sealedBytes: 0, firstSequence: 0, lastSequence: 0 }
    }
    const { lastSequence } = this
    // Without records: first and last say so.
    const firstSequence = lastSequence === 0 ? 1 : this.firstSequence
    return { slot, sequence, uuid, sealedBytes: this.durableEnd, firstSequence, lastSequence }
  }
}
