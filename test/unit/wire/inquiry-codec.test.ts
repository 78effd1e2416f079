import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  decodeQuestion,
  decodeIntroduction,
  decodeReply,
  encodeQuestion,
  encodeIntroduction,
  encodeReply,
  inquiryLimits,
  inquiryMagic,
  inquiryVersion,
} from '../../../src/wire/inquiry-codec.ts'
import type { Question, Reply } from '../../../src/wire/inquiry-codec.ts'
import type { ByteWriter } from '../../../src/wire/bytes.ts'
import { beginSealed, seal } from '../../../src/wire/sealed-frames.ts'

const payload = (frame: Buffer): Buffer => frame.subarray(4)

const introduction = fc.record({
  id: fc.string(),
  clusterId: fc.string(),
  token: fc.string(),
  founders: fc.array(fc.string(), { maxLength: 9 }),
  members: fc.array(fc.record({ id: fc.string(), host: fc.string(), port: fc.nat(65_535) }), {
    maxLength: 9,
  }),
  status: fc.json(),
  formerly: fc.array(fc.string(), { maxLength: 9 }),
})
const member = { id: fc.string(), host: fc.string(), port: fc.nat(65_535) }
const change = fc.record({ kind: fc.constantFrom('learner', 'voter', 'remove'), ...member })
const question: fc.Arbitrary<Question> = fc.oneof(
  fc.constant({ type: 'who' } as const),
  fc.record({ type: fc.constant('change' as const), changes: fc.array(change, { maxLength: 9 }) }),
  fc.record({ type: fc.constant('transfer' as const), target: fc.string() }),
)
const reply: fc.Arbitrary<Reply> = fc.record({
  outcome: fc.constantFrom('done', 'refused', 'unknown'),
  reason: fc.string(),
  leader: fc.record(member),
})

t.test('what is said of oneself arrives as it was said', async () => {
  fc.assert(
    fc.property(introduction, (said) => {
      const frame = encodeIntroduction(said)
      t.equal(frame.readUInt32BE(0), frame.length - 4)
      t.same(decodeIntroduction(payload(frame)), said)
    }),
  )
})

t.test('what is asked and what is replied arrives as it was', async () => {
  fc.assert(
    fc.property(question, (asked) => t.same(decodeQuestion(payload(encodeQuestion(asked))), asked)),
  )
  fc.assert(fc.property(reply, (said) => t.same(decodeReply(payload(encodeReply(said))), said)))
})

t.test('the question, byte for byte', async (t) => {
  t.equal(encodeQuestion({ type: 'who' }).toString('hex'), '0000000b51524931374eb207010001')
  t.doesNotThrow(() => decodeQuestion(payload(encodeQuestion({ type: 'who' }))))
})

t.test('another version, another question, another magic', async (t) => {
  const said = {
    id: 'a',
    clusterId: '',
    token: '',
    founders: [],
    members: [],
    status: '',
    formerly: [],
  }
  t.throws(() => decodeQuestion(payload(encodeIntroduction(said))), { code: 'QUIRE_UNSUPPORTED' })
  t.throws(() => decodeIntroduction(payload(encodeQuestion({ type: 'who' }))), {
    code: 'QUIRE_BAD_FRAME',
  })
  const other = Buffer.from(payload(encodeQuestion({ type: 'who' })))
  other.write('QRP1', 0, 'latin1')
  t.throws(() => decodeQuestion(other), { code: 'QUIRE_BAD_FRAME' })
})

t.test('garbage and damage are told, and never take more memory than they bring', async (t) => {
  const code = (work: () => unknown): string => {
    try {
      work()
      return 'none'
    } catch (error) {
      return QuireError.is(error) ? error.code : String(error)
    }
  }
  const known = ['none', 'QUIRE_BAD_FRAME', 'QUIRE_UNSUPPORTED']
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const decode of [decodeIntroduction, decodeQuestion, decodeReply]) {
        t.ok(known.includes(code(() => decode(Buffer.from(bytes)))))
      }
    }),
  )
  fc.assert(
    fc.property(introduction, fc.nat(), (said, at) => {
      const damaged = Buffer.from(payload(encodeIntroduction(said)))
      const bit = at % (damaged.length * 8)
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      t.equal(
        code(() => decodeIntroduction(damaged)),
        'QUIRE_BAD_FRAME',
      )
    }),
  )
  fc.assert(
    fc.property(question, fc.nat(), (asked, at) => {
      const damaged = Buffer.from(payload(encodeQuestion(asked)))
      const bit = at % (damaged.length * 8)
      damaged.writeUInt8(damaged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      t.equal(
        code(() => decodeQuestion(damaged)),
        'QUIRE_BAD_FRAME',
      )
    }),
  )
  const sealedBody = (fill: (to: ByteWriter) => ByteWriter): Buffer =>
    payload(seal(fill(beginSealed(inquiryMagic).u16(inquiryVersion))))
  for (const [decode, body] of [
    [decodeQuestion, sealedBody((to) => to.u8(2).u32(0xffff_ffff))],
    [decodeQuestion, sealedBody((to) => to.u8(2).u32(1).u8(9).utf8('a').utf8('b').u16(1))],
    [decodeQuestion, sealedBody((to) => to.u8(3).u32(0xffff_ffff))],
    [decodeReply, sealedBody((to) => to.u8(3).utf8('').utf8('').utf8('').u16(0))],
  ] as const) {
    t.equal(
      code(() => decode(body)),
      'QUIRE_BAD_FRAME',
    )
  }
  const founders = Array.from({ length: inquiryLimits.members + 1 }, () => 'x')
  const many = { id: '', clusterId: '', token: '', founders, members: [], status: '', formerly: [] }
  t.equal(
    code(() => decodeIntroduction(payload(encodeIntroduction(many)))),
    'QUIRE_BAD_FRAME',
  )
})
