// What the bytes of a segment say, as a pure function: its batches, where they end, and how much
// they prove durable. What that means is for recovery.ts to say.

import { readU32 } from '../../wire/int64.ts'
import { recordTypes, type RecordType } from './contract.ts'
import {
  addHeader,
  alignToBlock,
  blockBytes,
  isRecordAt,
  payloadLengthAt,
  payloadStateAt,
  payloadStates,
  readBatchEnd,
  recordBytes,
  recordHeaderBytes,
  sequenceAt,
  typeAt,
} from './format.ts'

/** A batch whose structure verifies: every header, and its end. */
export interface Batch {
  readonly start: number
  /** Where the next one begins. */
  readonly end: number
  readonly first: number
  readonly last: number
  /** Offsets of entries of which no more than the first 32 bytes verify. */
  readonly holes: readonly number[]
}

export interface SegmentScan {
  /** From the first on, each followed by the next without a gap in place or sequence. */
  readonly batches: readonly Batch[]
  /** Where structure ends. */
  readonly end: number
  /** The highest sequence number that any batch's end, also behind `end`, calls durable; or 0. */
  readonly durable: number
}

const noHoles: readonly number[] = []

/** Reads batches from offset `blockBytes` on, in bytes[0, to). */
export function scanSegment(bytes: Buffer, seed: number, to: number): SegmentScan {
  const batches: Batch[] = []
  let at = blockBytes
  let durable = 0
  let expected = 0
  while (at < to) {
    const read = readBatch(bytes, { at, to, seed, expected })
    if (read === undefined) break
    batches.push(read.batch)
    durable = Math.max(durable, read.durable)
    expected = read.batch.last + 1
    at = read.batch.end
  }
  return { batches, end: at, durable: Math.max(durable, durableBehind(bytes, at, to, seed)) }
}

interface From {
  readonly at: number
  readonly to: number
  readonly seed: number
  /** Sequence number of the first record, 0 when any will do. */
  readonly expected: number
}

function readBatch(bytes: Buffer, from: From): { batch: Batch; durable: number } | undefined {
  const { to, seed } = from
  let { at, expected } = from
  let count = 0
  let headersCrc = 0
  let holes = noHoles
  while (isRecordAt(bytes, at, to, seed)) {
    if (typeAt(bytes, at) === recordTypes.batchEnd) {
      const end = readBatchEnd(bytes, at, seed)
      const fits =
        end !== undefined &&
        count > 0 &&
        end.start === from.at &&
        end.count === count &&
        end.first + count === expected &&
        end.headersCrc === headersCrc &&
        sequenceAt(bytes, at) === expected - 1
      if (!fits) return undefined
      const behind = alignToBlock(at + recordHeaderBytes + payloadLengthAt(bytes, at))
      const batch = { start: from.at, end: behind, first: end.first, last: expected - 1, holes }
      return { batch, durable: end.durable }
    }
    const sequence = sequenceAt(bytes, at)
    if (expected !== 0 && sequence !== expected) return undefined
    const state = payloadStateAt(bytes, at, seed)
    if (state !== payloadStates.whole) {
      // Whatever is not an entry must be known in full: a fence, a key, a tombstone.
      const isHole = state === payloadStates.holed && typeAt(bytes, at) === recordTypes.entry
      if (!isHole) return undefined
      holes = [...holes, at]
    }
    headersCrc = addHeader(headersCrc, bytes, at)
    expected = sequence + 1
    count += 1
    at += recordBytes(payloadLengthAt(bytes, at))
  }
  return undefined
}

/** What batch ends say that cannot be reached from the beginning. */
function durableBehind(bytes: Buffer, from: number, to: number, seed: number): number {
  let durable = 0
  for (let at = from; at + recordHeaderBytes <= to; at += 8) {
    // Most of what is there are zeros and other bytes: the first of a header's is looked at first.
    if (bytes[at] !== 0x51 || readU32(bytes, at + 4) !== batchEndWord) continue
    if (!isRecordAt(bytes, at, to, seed)) continue
    durable = Math.max(durable, readBatchEnd(bytes, at, seed)?.durable ?? 0)
  }
  return durable
}

const batchEndWord = recordTypes.batchEnd << 24

export type Visit = (
  type: RecordType,
  at: number,
  /** Of the payload. */
  start: number,
  end: number,
) => void

/** Calls for each record of a batch that was scanned, in order. */
export function visitBatch(bytes: Buffer, batch: Batch, visit: Visit): void {
  let at = batch.start
  for (let sequence = batch.first; sequence <= batch.last; sequence++) {
    const start = at + recordHeaderBytes
    const length = payloadLengthAt(bytes, at)
    visit(typeAt(bytes, at), at, start, start + length)
    at += recordBytes(length)
  }
}
