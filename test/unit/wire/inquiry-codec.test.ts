import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  decodeInquiry,
  decodeIntroduction,
  encodeInquiry,
  encodeIntroduction,
  inquiryLimits,
} from '../../../src/wire/inquiry-codec.ts'

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

t.test('the question, byte for byte', async (t) => {
  t.equal(encodeInquiry().toString('hex'), '0000000b51524931374eb207010001')
  t.doesNotThrow(() => decodeInquiry(payload(encodeInquiry())))
})

t.test('another version, another question, another magic', async (t) => {
  const said = { id: 'a', clusterId: '', token: '', founders: [], members: [], status: '' }
  t.throws(() => decodeInquiry(payload(encodeIntroduction(said))), { code: 'QUIRE_UNSUPPORTED' })
  t.throws(() => decodeIntroduction(payload(encodeInquiry())), { code: 'QUIRE_BAD_FRAME' })
  const other = Buffer.from(payload(encodeInquiry()))
  other.write('QRP1', 0, 'latin1')
  t.throws(() => decodeInquiry(other), { code: 'QUIRE_BAD_FRAME' })
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
      t.ok(known.includes(code(() => decodeIntroduction(Buffer.from(bytes)))))
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
  const founders = Array.from({ length: inquiryLimits.members + 1 }, () => 'x')
  const many = { id: '', clusterId: '', token: '', founders, members: [], status: '' }
  t.equal(
    code(() => decodeIntroduction(payload(encodeIntroduction(many)))),
    'QUIRE_BAD_FRAME',
  )
})
