// What askers and owners of logs say to one another: bytes there and back, and whatever else comes.
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { conversationSeed, openFrame, sealFrame } from '../../../src/wire/sealed-frames.ts'
import {
  decodeForwardAnswer,
  decodeForwardHello,
  decodeForwardRequest,
  decodeForwardWelcome,
  encodeForwardAnswer,
  encodeForwardHello,
  encodeForwardRequest,
  encodeForwardWelcome,
  forwardLimits,
  forwardStatuses,
  forwardVersion,
  type ForwardAnswer,
  type ForwardRequest,
  type ForwardStatus,
} from '../../../src/wire/forward-messages.ts'
import { maxFrameBytesDefault } from '../../../src/wire/frame-reader.ts'
import { holds } from '../../support/properties.ts'

const hello = {
  version: forwardVersion,
  instanceId: 'cluster',
  from: 'client-1/0',
  to: 'quire-a/3',
}
const requests: readonly ForwardRequest[] = [
  { type: 'open', channel: 1, log: 'bank', epoch: 7 },
  { type: 'append', channel: 2 ** 32 - 1, number: 2 ** 40, record: Buffer.from('a record') },
  { type: 'append', channel: 1, number: 1, record: Buffer.alloc(0) },
  { type: 'close', channel: 3 },
  { type: 'ping', number: 4 },
]
const answers: readonly ForwardAnswer[] = [
  { type: 'opened', channel: 1, position: 99 },
  { type: 'refused', channel: 1, reason: 'notOwner' },
  { type: 'refused', channel: 1, reason: 'acquiring' },
  { type: 'appended', channel: 1, number: 5, position: 2 ** 50, ledgerId: 2n ** 62n, entryId: 7 },
  { type: 'rejected', channel: 1, number: 5, reason: 'tooLarge' },
  { type: 'rejected', channel: 1, number: 5, reason: 'unfit' },
  { type: 'pong', number: 4 },
]
const payload = (frame: Buffer): Buffer => frame.subarray(4)

t.test('everything comes back as it was', async (t) => {
  const frame = encodeForwardHello(hello)
  t.equal(frame.readUInt32BE(0), frame.length - 4)
  t.equal(frame.toString('latin1', 4, 8), 'QRX1')
  t.same(decodeForwardHello(payload(frame)), hello)
  for (const status of Object.keys(forwardStatuses) as ForwardStatus[]) {
    const welcome = { version: forwardVersion, status }
    t.same(decodeForwardWelcome(payload(encodeForwardWelcome(welcome))), welcome)
  }
  for (const request of requests) {
    t.same(decodeForwardRequest(encodeForwardRequest(request)), request)
  }
  for (const answer of answers) t.same(decodeForwardAnswer(encodeForwardAnswer(answer)), answer)
  t.equal(forwardLimits.frameBytes, maxFrameBytesDefault, 'a record fits that fits into an entry')
})

t.test('what a newer minor version says is passed over, or ends what it is about', async (t) => {
  t.equal(decodeForwardRequest(Buffer.from([9, 1, 2])), undefined)
  t.equal(decodeForwardAnswer(Buffer.from([9, 1, 2])), undefined)
  const refused = encodeForwardAnswer({ type: 'refused', channel: 1, reason: 'notOwner' })
  refused[refused.length - 1] = 77
  t.match(decodeForwardAnswer(refused), { type: 'refused', reason: 'acquiring' })
  const welcome = encodeForwardWelcome({ version: forwardVersion, status: 'ok' })
  t.throws(() => decodeForwardWelcome(payload(welcome).fill(0xff, 10)), { code: 'QUIRE_BAD_FRAME' })
  const other = { ...hello, version: 0x0200 }
  t.match(decodeForwardHello(payload(encodeForwardHello(other))), { version: 0x0200, to: '' })
})

t.test('a frame of another conversation, or with a changed bit, is none', async (t) => {
  const seed = conversationSeed(payload(encodeForwardHello(hello)))
  const frame = sealFrame(encodeForwardRequest(requests[0] ?? { type: 'ping', number: 0 }), seed)
  t.match(decodeForwardRequest(openFrame(payload(frame), seed)), { log: 'bank' })
  t.throws(() => openFrame(payload(frame), seed + 1), { code: 'QUIRE_BAD_FRAME' })
  for (const [at, byte] of payload(frame).entries()) {
    const damaged = Buffer.from(payload(frame))
    damaged[at] = byte ^ 1
    t.throws(() => openFrame(damaged, seed), { code: 'QUIRE_BAD_FRAME' }, `byte ${at}`)
  }
})

t.test('garbage is refused with a code, never with anything else', async (t) => {
  const decoders = [
    decodeForwardRequest,
    decodeForwardAnswer,
    decodeForwardHello,
    decodeForwardWelcome,
  ]
  const some = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    // Of a kind that is known, so that fields are read.
    fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 65, 66, 67, 68, 69), fc.uint8Array({ maxLength: 40 }))
      .map(([kind, rest]) => Buffer.concat([Buffer.of(kind), rest])),
  )
  const refusesWell = fc.property(some, (bytes) => {
    for (const decode of decoders) {
      try {
        decode(Buffer.from(bytes))
      } catch (error) {
        assert.ok(QuireError.is(error, 'QUIRE_BAD_FRAME'), String(error))
      }
    }
  })
  holds(t, 'every byte string', refusesWell, 2000)
})
