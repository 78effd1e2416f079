// The journal's bytes, without a disk: records, batches, what a scan makes of damage, the table of
// start-up, the superblock.
import { array, assert, integer, property } from 'fast-check'
import t from 'tap'
import {
  decodeSuperblock,
  encodeSuperblock,
  type Superblock,
} from '../../../../src/bookie/identity/superblock-codec.ts'
import { recordTypes } from '../../../../src/bookie/journal/contract.ts'
import {
  blockBytes,
  decodeSegmentHeader,
  encodeSegmentHeader,
  recordHeaderBytes,
} from '../../../../src/bookie/journal/format.ts'
import {
  actionFor,
  checkSealed,
  type Finding,
  type FoundSegment,
  recoverOpen,
  rowsFor,
} from '../../../../src/bookie/journal/recovery.ts'
import { scanSegment, visitBatch } from '../../../../src/bookie/journal/scan.ts'
import { Segment } from '../../../../src/bookie/journal/segment.ts'

const uuid = Buffer.from('0123456789abcdef')
const otherUuid = Buffer.from('fedcba9876543210')

function segmentOf(bytes: number, id: Buffer = uuid): Segment {
  const segment = new Segment({ slot: 0, sequence: 1, uuid: id, path: 'segment', bytes })
  segment.open({ path: 'segment', image: new Uint8Array(bytes) })
  return segment
}

function entry(id: number, size: number = 40): Buffer {
  const bytes = Buffer.alloc(Math.max(size, 40), id & 0xff)
  bytes.writeBigInt64BE(1n, 0)
  bytes.writeBigInt64BE(BigInt(id), 8)
  return bytes
}

function imageOf(segment: Segment): Buffer {
  if (segment.image === undefined) throw new Error('the segment has no image')
  return segment.image
}

/** Batches of so many entries each; the durable sequence is that of the batch before. */
function fill(segment: Segment, batches: readonly number[], first = 1): Buffer {
  let sequence = first
  for (const count of batches) {
    const durable = sequence - 1
    for (let one = 0; one < count; one++, sequence++) {
      segment.append(recordTypes.entry, sequence, entry(sequence), 0, 40)
    }
    segment.closeBatch(durable)
  }
  return imageOf(segment)
}

const listed = (bytes: Buffer, seed: number, to = bytes.length): number[] => {
  const ids: number[] = []
  for (const batch of scanSegment(bytes, seed, to).batches) {
    visitBatch(bytes, batch, (_type, _at, start) => {
      ids.push(Number(bytes.readBigInt64BE(start + 8)))
    })
  }
  return ids
}

t.test('what was appended is scanned, in order', (t) => {
  assert(
    property(
      array(array(integer({ min: 0, max: 900 }), { minLength: 1, maxLength: 8 }), {
        minLength: 1,
        maxLength: 8,
      }),
      (batches) => {
        const segment = segmentOf(128 * 1024)
        const written: Buffer[] = []
        for (const sizes of batches) {
          for (const size of sizes) {
            const payload = Buffer.alloc(size, written.length + 1)
            written.push(payload)
            segment.append(recordTypes.fence, written.length, payload, 0, size)
          }
          segment.closeBatch(0)
        }
        const bytes = imageOf(segment)
        const found: Buffer[] = []
        const scan = scanSegment(bytes, segment.seed, bytes.length)
        for (const batch of scan.batches) {
          visitBatch(bytes, batch, (type, at, start, end) => {
            found.push(bytes.subarray(start, end))
            if (type !== recordTypes.fence || at % 8 !== 0) throw new Error('wrong type or place')
          })
        }
        return (
          scan.end === segment.tail &&
          found.length === written.length &&
          found.every((payload, index) => payload.equals(written[index] ?? Buffer.alloc(0)))
        )
      },
    ),
    { numRuns: 50 },
  )
  t.end()
})

t.test(
  'a batch torn at any sector is a torn tail, and whatever is left of it counts for nothing',
  (t) => {
    const whole = fill(segmentOf(64 * 1024), [3, 20, 90])
    const before = fill(segmentOf(64 * 1024), [3, 20])
    const { seed } = segmentOf(64 * 1024)
    const [, , last] = scanSegment(whole, seed, whole.length).batches
    const found: FoundSegment = {
      path: 'segment',
      file: 'there',
      header: 'matches',
      scan: scanSegment(whole, seed, whole.length),
      to: whole.length,
    }
    t.match(recoverOpen([found], { sealedSequence: 0, durableSequence: 0 }), {
      provenSequence: 23,
      lastSequence: 113,
    })
    if (last === undefined) throw new Error('three batches')
    const sectors = (last.end - last.start) / 512
    let torn = 0
    for (let missing = 0; missing < sectors; missing++) {
      const bytes = Buffer.from(whole)
      const at = last.start + missing * 512
      before.copy(bytes, at, at, at + 512)
      // What was padding is the same without being written.
      if (bytes.equals(whole)) continue
      torn += 1
      const scan = scanSegment(bytes, seed, bytes.length)
      t.same(listed(bytes, seed).length, 23, `sector ${missing}`)
      // Without the sector of its end nothing proves the batch before: it is written anew.
      const outcome = recoverOpen([{ ...found, scan }], { sealedSequence: 0, durableSequence: 0 })
      t.equal(outcome.lastSequence, 23)
      t.ok([3, 23].includes(outcome.provenSequence))
      // The same damage to what somebody was told is durable refuses the start.
      const bounds = { sealedSequence: 0, durableSequence: 113 }
      t.throws(() => recoverOpen([{ ...found, scan }], bounds), { code: 'QUIRE_RANGE_LOST' })
    }
    t.ok(torn > 10)
    t.end()
  },
)

t.test('damage in the middle is told from a torn tail', (t) => {
  const segment = segmentOf(64 * 1024)
  const whole = fill(segment, [3, 5, 4])
  const [, middle] = scanSegment(whole, segment.seed, whole.length).batches
  if (middle === undefined) throw new Error('three batches')
  const outcome = (bytes: Buffer) => {
    const scan = scanSegment(bytes, segment.seed, bytes.length)
    const found = {
      path: 'segment-1',
      file: 'there',
      header: 'matches',
      scan,
      to: bytes.length,
    } as const
    return recoverOpen([found], { sealedSequence: 0, durableSequence: 0 })
  }
  let refused = 0
  let held = 0
  for (let at = middle.start; at < middle.start + 5 * 72 + 64; at++) {
    const bytes = Buffer.from(whole)
    bytes[at] = (bytes[at] ?? 0) ^ 0x10
    const within = (at - middle.start) % 72
    const isRest = at < middle.start + 5 * 72 && within >= recordHeaderBytes + 32
    if (isRest) {
      // Behind the ids of an entry: its place cannot be read, all others can.
      const { kept, tail, provenSequence } = outcome(bytes)
      t.same([kept[0]?.last, tail?.batch.last, provenSequence], [8, 12, 8])
      const holes = scanSegment(bytes, segment.seed, bytes.length).batches[1]?.holes
      t.same(holes, [at - within])
      held += 1
    } else {
      t.throws(() => outcome(bytes), {
        code: 'QUIRE_RANGE_LOST',
        message: /segment-1 cannot be read from offset \d+ to 65536.*records 4 to 8/,
      })
      refused += 1
    }
  }
  t.same([held, refused], [5 * 8, 5 * 64 + 64])
  t.end()
})

t.test('records of an earlier use of the file never pass', (t) => {
  const old = segmentOf(64 * 1024, otherUuid)
  const image = fill(old, [7, 7, 7, 7])
  const recycled = segmentOf(64 * 1024)
  const fresh = fill(recycled, [2])
  const bytes = Buffer.from(image)
  fresh.copy(bytes, 0, 0, recycled.tail)
  t.same(listed(bytes, recycled.seed), [1, 2])
  t.equal(scanSegment(bytes, recycled.seed, bytes.length).durable, 0)
  t.same(listed(Buffer.from(image), recycled.seed), [])
  // Nor do records of this use that landed at another offset.
  const moved = Buffer.alloc(bytes.length)
  image.copy(moved, 2 * blockBytes, blockBytes)
  t.same(listed(moved, old.seed), [])
  t.equal(scanSegment(moved, old.seed, moved.length).durable, 0)
  t.end()
})

t.test('every finding at start fits exactly one row of the table', (t) => {
  let walked = 0
  for (const file of ['there', 'missing', 'short'] as const)
    for (const header of ['matches', 'other', 'unreadable'] as const)
      for (const segment of ['sealed', 'open'] as const)
        for (const batch of ['whole', 'holed', 'broken', 'end'] as const)
          for (const proven of [true, false])
            for (const verified of [true, false]) {
              const finding: Finding = { file, header, segment, batch, proven, verified }
              t.equal(rowsFor(finding).length, 1, JSON.stringify(finding))
              const action = actionFor(finding)
              // What is proven durable is never cut off; what is not is not replayed as it is.
              const isSealed = segment === 'sealed'
              if (proven) t.not(action, 'cut')
              if (!proven && !isSealed) t.notMatch(action, /^(keep|mark)$/)
              if (batch === 'broken' && (proven || isSealed)) t.equal(action, 'lost')
              walked += 1
            }
  t.equal(walked, 3 * 3 * 2 * 4 * 2 * 2)
  t.end()
})

t.test('segments follow one another without a gap', (t) => {
  const one = segmentOf(64 * 1024)
  const other = segmentOf(64 * 1024, otherUuid)
  fill(one, [3, 3])
  fill(other, [4], 7)
  const found = (segment: Segment): FoundSegment => {
    const bytes = imageOf(segment)
    const scan = scanSegment(bytes, segment.seed, bytes.length)
    return {
      path: segment === one ? 'one' : 'other',
      file: 'there',
      header: 'matches',
      scan,
      to: bytes.length,
    }
  }
  const bounds = { sealedSequence: 0, durableSequence: 0 }
  t.match(recoverOpen([found(one), found(other)], bounds), {
    kept: [
      { first: 1, last: 6 },
      { first: 7, last: 6 },
    ],
    tail: { index: 1, batch: { first: 7, last: 10 } },
    provenSequence: 6,
    lastSequence: 10,
  })
  // The end of the first one is gone, and the second proves that there was one.
  imageOf(one).fill(0, 3 * blockBytes - 100)
  imageOf(one).fill(0, 2 * blockBytes, 3 * blockBytes)
  t.throws(() => recoverOpen([found(one), found(other)], bounds), {
    code: 'QUIRE_RANGE_LOST',
    message: /^one cannot be read from offset 8192/,
    facts: { firstSequence: 4, lastSequence: 6 },
  })
  t.throws(() => recoverOpen([found(one)], { sealedSequence: 0, durableSequence: 6 }), {
    code: 'QUIRE_RANGE_LOST',
  })
  const missing = {
    ...found(one),
    file: 'missing',
    scan: { batches: [], end: 0, durable: 0 },
  } as const
  t.throws(() => recoverOpen([missing], bounds), { message: /^one is missing/ })
  t.throws(() => checkSealed({ ...found(one), to: 2 * blockBytes }, 1, 4), {
    code: 'QUIRE_RANGE_LOST',
  })
  t.doesNotThrow(() => checkSealed({ ...found(one), to: 2 * blockBytes }, 1, 3))
  t.end()
})

t.test('a million records are scanned in the memory of one segment', (t) => {
  const segment = segmentOf(64 * 1024 * 1024)
  const payload = entry(1, 16).subarray(0, 16)
  for (let sequence = 1; sequence <= 1_000_000; sequence++) {
    segment.append(recordTypes.entry, sequence, payload, 0, 16)
    if (sequence % 5000 === 0) segment.closeBatch(sequence - 5000)
  }
  const bytes = imageOf(segment)
  const before = process.memoryUsage()
  let seen = 0
  for (const batch of scanSegment(bytes, segment.seed, bytes.length).batches) {
    visitBatch(bytes, batch, () => (seen += 1))
  }
  const after = process.memoryUsage()
  t.equal(seen, 1_000_000)
  t.equal(after.arrayBuffers - before.arrayBuffers < 1_000_000, true, 'nothing is copied')
  t.end()
})

t.test('headers and superblocks: what was written is read, anything else is not', (t) => {
  const header = {
    segmentBytes: 65536,
    sequence: 2 ** 40,
    uuid,
    previous: otherUuid,
    incarnation: 3,
    carriedBatches: 1,
    clusterId: 'cluster',
    bookieId: 'bookie-1',
  }
  const block = encodeSegmentHeader(header)
  t.equal(block.length, blockBytes)
  t.same(decodeSegmentHeader(block), header)
  for (let at = 0; at < 512; at++) {
    const bytes = Buffer.from(block)
    bytes[at] = (bytes[at] ?? 0) ^ 1
    t.equal(decodeSegmentHeader(bytes), undefined)
  }
  t.equal(decodeSegmentHeader(block.subarray(0, 100)), undefined)

  const superblock: Superblock = {
    sequence: 12,
    clusterId: 'cluster',
    bookieId: 'bookie-1',
    incarnation: 4,
    isClean: true,
    durableSequence: 2 ** 41,
    sealedSequence: 2 ** 40,
    nextSegment: 1001,
    ledgerDirectories: ['one', 'two'],
    segments: Array.from({ length: 1000 }, (_, slot) => ({
      slot,
      sequence: slot + 1,
      uuid,
      sealedBytes: slot === 999 ? 0 : 65536,
      firstSequence: 1,
      lastSequence: 5,
    })),
  }
  const bytes = encodeSuperblock(superblock)
  t.ok(bytes.length > 40_000, 'many segments')
  t.same(decodeSuperblock(bytes), superblock)
  const older = encodeSuperblock({ ...superblock, sequence: 10, segments: [] })
  for (let at = 0; at < bytes.length; at += 512) {
    const torn = Buffer.from(bytes)
    torn.fill(0, at, at + 512)
    older.copy(torn, at, Math.min(at, older.length), at + 512)
    const read = decodeSuperblock(torn)
    // The old one may still be whole; never is there a mixture.
    t.ok([undefined, 10].includes(read?.sequence) || torn.equals(bytes), `torn at ${at}`)
  }
  t.equal(decodeSuperblock(Buffer.alloc(16384)), undefined)
  t.equal(decodeSuperblock(Buffer.alloc(0)), undefined)
  t.end()
})
