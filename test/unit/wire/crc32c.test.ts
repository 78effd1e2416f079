import * as fc from 'fast-check'
import t from 'tap'
import { crc32c, crc32cEngine, crc32cJavascript } from '../../../src/wire/crc32c.ts'

/** Bit by bit, straight from the definition. */
function naive(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0)
  }
  return ~crc >>> 0
}

t.test('check values', (t) => {
  const check = Buffer.from('123456789')
  t.equal(crc32c(check, 0, 9), 0xe3069283)
  t.equal(crc32c(check, 4, 4), 0)
  t.equal(crc32c(check, 0, 0, 77), 77, 'nothing more leaves the value')
  t.equal(crc32c(Buffer.alloc(32), 0, 32), 0x8a9136aa, 'RFC 3720 B.4')
  t.equal(crc32c(Buffer.alloc(32, 0xff), 0, 32), 0x62a8ab43, 'RFC 3720 B.4')
  t.end()
})

t.test('the native module is in use where it is installed', (t) => {
  t.same(crc32cEngine, { name: 'native', reason: '' })
  t.end()
})

t.test('every engine, any range, any split: one value', (t) => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 1200, size: 'max' }),
      fc.nat(),
      fc.nat(),
      fc.nat(),
      (content, a, b, c) => {
        const cuts = [a, b, c].map((cut) => cut % (content.length + 1)).sort((x, y) => x - y)
        const [start = 0, middle = 0, end = 0] = cuts
        const buffer = Buffer.from(content)
        const shared = Buffer.from(new SharedArrayBuffer(content.length))
        buffer.copy(shared)
        const expected = naive(content.subarray(start, end))
        for (const bytes of [buffer, shared, content]) {
          const whole = crc32c(bytes, start, end)
          const resumed = crc32c(bytes, middle, end, crc32c(bytes, start, middle))
          const own = crc32cJavascript(bytes, start, end, 0)
          if (whole !== expected || resumed !== expected || own !== expected) return false
        }
        return true
      },
    ),
    { numRuns: 200 },
  )
  t.end()
})
