import * as fc from 'fast-check'
import t from 'tap'
import { FrameReader, type FrameProblem } from '../../../src/wire/frame-reader.ts'

const frame = (packet: Uint8Array): Buffer => {
  const bytes = Buffer.alloc(4 + packet.length)
  bytes.writeUInt32BE(packet.length)
  bytes.set(packet, 4)
  return bytes
}

interface Outcome {
  frames: string[]
  problem: FrameProblem | undefined
  heldMost: number
}

/** Feeds a stream in pieces that end at the cuts; each piece is wiped once it was taken. */
function feed(stream: Buffer, cuts: readonly number[], maxFrameBytes: number): Outcome {
  const reader = new FrameReader({ maxFrameBytes })
  const outcome: Outcome = { frames: [], problem: undefined, heldMost: 0 }
  const ends = [...new Set([...cuts, stream.length])].sort((a, b) => a - b)
  let from = 0
  for (const end of ends) {
    const chunk = Buffer.from(stream.subarray(from, end))
    outcome.problem = reader.push(chunk, (bytes, start, end) => {
      if (start < 0 || end > bytes.length || start >= end) throw new Error('a range outside')
      outcome.frames.push(bytes.toString('hex', start, end))
    })
    chunk.fill(0xee)
    outcome.heldMost = Math.max(outcome.heldMost, reader.bufferedBytes)
    from = end
  }
  return outcome
}

const packets = fc.array(fc.uint8Array({ minLength: 1, maxLength: 900, size: 'max' }), {
  maxLength: 8,
})

t.test('any split of a stream gives the same frames', (t) => {
  const limit = 904
  const run = (all: Uint8Array[], tail: Uint8Array, cuts: number[]): void => {
    const whole = Buffer.concat([...all.map(frame), tail])
    const expected = all.map((packet) => Buffer.from(packet).toString('hex'))
    const atOnce = feed(whole, [], limit)
    t.same(atOnce.frames.slice(0, expected.length), expected)
    const places = cuts.map((cut) => cut % (whole.length + 1))
    const bytewise = Array.from({ length: whole.length }, (_, index) => index + 1)
    for (const split of [places, bytewise]) {
      const other = feed(whole, split, limit)
      t.same([other.frames, other.problem], [atOnce.frames, atOnce.problem])
      t.ok(other.heldMost <= limit, 'less than the limit is held')
    }
  }
  fc.assert(
    fc.property(
      packets,
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      run,
    ),
    { numRuns: 60 },
  )
  t.end()
})

t.test('frames in one chunk are views of it', (t) => {
  const chunk = Buffer.concat([frame(Buffer.from('one')), frame(Buffer.from('two'))])
  const seen: [Buffer, number, number][] = []
  const reader = new FrameReader()
  t.equal(
    reader.push(chunk, (...range) => seen.push(range)),
    undefined,
  )
  t.equal(seen.length, 2)
  t.ok(seen.every(([bytes]) => bytes === chunk))
  t.same(
    seen.map(([, start, end]) => [start, end]),
    [
      [4, 7],
      [11, 14],
    ],
  )
  t.equal(reader.bufferedBytes, 0)
  // When only the length field straddled, the packet is still a view.
  reader.push(chunk.subarray(0, 2), () => t.fail('too early'))
  const rest = chunk.subarray(2)
  reader.push(rest, (bytes) => t.equal(bytes, rest))
  t.end()
})

t.test('what straddled was gathered apart from the chunks and from other frames', (t) => {
  const reader = new FrameReader()
  const kept: Buffer[] = []
  const keep = (bytes: Buffer, start: number, end: number): void => {
    kept.push(bytes.subarray(start, end))
  }
  const stream = Buffer.concat(
    ['first packet', 'second packet'].map((text) => frame(Buffer.from(text))),
  )
  for (let at = 0; at < stream.length; at += 5) reader.push(stream.subarray(at, at + 5), keep)
  t.same(kept.map(String), ['first packet', 'second packet'])
  t.end()
})

t.test('limits are checked on the length alone', (t) => {
  const limit = 100
  const announce = (length: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(length)
    return bytes
  }
  for (const [length, code] of [
    [0, 'QUIRE_BAD_FRAME'],
    [97, 'QUIRE_FRAME_TOO_LARGE'],
    [0x7fffffff, 'QUIRE_FRAME_TOO_LARGE'],
    [0x80000000, 'QUIRE_FRAME_TOO_LARGE'],
    [0xffffffff, 'QUIRE_FRAME_TOO_LARGE'],
  ] as const) {
    for (const cut of [1, 2, 3, 4]) {
      const stream = Buffer.concat([frame(Buffer.from('good')), announce(length)])
      const { frames, problem } = feed(stream, [8 + cut], limit)
      t.same(frames, [Buffer.from('good').toString('hex')], 'frames before it are delivered')
      t.match(problem, { code, announcedBytes: length, message: String })
    }
  }
  t.equal(feed(frame(Buffer.alloc(96)), [], limit).frames.length, 1, 'N + 4 = limit will do')
  t.equal(feed(announce(5_242_876), [], 5_242_880).problem, undefined)
  t.equal(feed(announce(5_242_877), [], 5_242_880).problem?.code, 'QUIRE_FRAME_TOO_LARGE')
  const reader = new FrameReader()
  const problem = reader.push(announce(0), () => t.fail('no frame'))
  t.equal(
    reader.push(frame(Buffer.from('late')), () => t.fail('nothing after a problem')),
    problem,
  )
  t.equal(reader.bufferedBytes, 0)
  t.end()
})

t.test('an announced length allocates nothing', (t) => {
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 2000 }, () => new FrameReader())
  const start = Buffer.from('004ffffc0102', 'hex')
  for (const reader of readers) reader.push(start, () => t.fail('no frame'))
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 8 * 1024 * 1024, `${grown} bytes for 2,000 readers`)
  t.equal(readers[0]?.bufferedBytes, 6)
  t.end()
})
