import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  decodePeerFrame,
  decodePeerHello,
  decodePeerWelcome,
  encodePeerFrame,
  encodePeerHello,
  encodePeerWelcome,
  peerLimits,
  peerSeed,
  peerStatuses,
  peerVersion,
} from '../../../src/wire/peer-frames.ts'
import type { PeerStatus } from '../../../src/wire/peer-frames.ts'

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const hello = fc.record(
  {
    version: fc.constant(peerVersion),
    clusterId: text,
    from: text,
    to: text,
    incarnation: fc.nat(Number.MAX_SAFE_INTEGER),
    host: fc.string(),
    port: fc.nat(65_535),
  },
  { noNullPrototype: true },
)
const payload = (frame: Buffer): Buffer => frame.subarray(4)
const isBadFrame = (error: unknown): boolean => QuireError.is(error, 'QUIRE_BAD_FRAME')

t.test('hello and welcome come back as they were, within their limit', async (t) => {
  fc.assert(
    fc.property(hello, (said) => {
      const frame = encodePeerHello(said)
      t.equal(frame.readUInt32BE(0), frame.length - 4)
      t.ok(frame.length <= peerLimits.helloBytes)
      t.same(decodePeerHello(payload(frame)), said)
    }),
    { numRuns: 50 },
  )
  for (const status of Object.keys(peerStatuses) as PeerStatus[]) {
    const welcome = { version: peerVersion, status, message: 'why' }
    t.same(decodePeerWelcome(payload(encodePeerWelcome(welcome))), welcome)
  }
})

t.test('of another major version nothing but the number is read', async (t) => {
  const said = {
    version: 0x0203,
    clusterId: 'c',
    from: 'a',
    to: 'b',
    incarnation: 7,
    host: 'h',
    port: 1,
  }
  const other = {
    version: 0x0203,
    clusterId: '',
    from: '',
    to: '',
    incarnation: 0,
    host: '',
    port: 0,
  }
  t.same(decodePeerHello(payload(encodePeerHello(said))), other)
})

t.test('any changed bit is noticed', async (t) => {
  const said = {
    version: peerVersion,
    clusterId: 'c',
    from: 'a',
    to: 'b',
    incarnation: 7,
    host: 'h',
    port: 1,
  }
  const frames = [encodePeerHello(said), encodePeerFrame(Buffer.from('a body'), 5)]
  for (const [which, frame] of frames.entries()) {
    for (let bit = 32; bit < frame.length * 8; bit++) {
      const damaged = Buffer.from(frame)
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      const decode = () =>
        which === 0 ? decodePeerHello(payload(damaged)) : decodePeerFrame(payload(damaged), 5)
      t.throws(decode, { code: 'QUIRE_BAD_FRAME' }, `bit ${bit}`)
    }
  }
})

t.test('a frame belongs to one conversation', async (t) => {
  const seeds = [1, 2].map((incarnation) => {
    const ends = { clusterId: 'c', from: 'a', to: 'b' }
    const said = { version: peerVersion, ...ends, incarnation, host: '', port: 0 }
    return peerSeed(payload(encodePeerHello(said)))
  })
  const frame = payload(encodePeerFrame(Buffer.from('body'), seeds[0] ?? 0))
  t.equal(decodePeerFrame(frame, seeds[0] ?? 0).toString(), 'body')
  t.throws(() => decodePeerFrame(frame, seeds[1] ?? 0), { code: 'QUIRE_BAD_FRAME' })
})

t.test('garbage is a bad frame and nothing else', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodePeerHello, decodePeerWelcome]) {
        try {
          decode(bytes)
        } catch (error) {
          if (!isBadFrame(error)) throw error
        }
      }
    }),
    { numRuns: 500 },
  )
  t.pass('nothing else was thrown')
})
