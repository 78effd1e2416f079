import { deepEqual, equal, throws } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { ByteReader, ByteWriter } from '../../../src/wire/bytes.ts'
import {
  highHalf,
  ledgerIdFromHalves,
  ledgerIdHigh,
  ledgerIdLow,
  lowHalf,
  numberFromHalves,
  readI32,
  readInt64,
  readU32,
  writeInt64,
  writeU32,
} from '../../../src/wire/int64.ts'
import { holds } from '../../support/properties.ts'

const badFrame = { code: 'QUIRE_BAD_FRAME' }

t.test('64-bit numbers: what DataView says', (t) => {
  const edges = [0n, -1n, 1n, 2n ** 32n, 2n ** 32n - 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n]
  const values = [...edges, ...edges.map((edge) => -edge), -(2n ** 63n), -2882382797n]
  const check = (value: bigint): void => {
    const bytes = Buffer.alloc(12)
    bytes.writeBigInt64BE(value, 3)
    const high = readU32(bytes, 3)
    const low = readU32(bytes, 7)
    equal(high, bytes.readUInt32BE(3))
    equal(readI32(bytes, 7), bytes.readInt32BE(7))
    const number = Number(value)
    const safe = Number.isSafeInteger(number) ? number : value > 0n ? Infinity : -Infinity
    equal(readInt64(bytes, 3), safe)
    equal(numberFromHalves(high, low), safe)
    equal(ledgerIdFromHalves(high, low), value)
    equal(ledgerIdHigh(value), high)
    equal(ledgerIdLow(value), low)
    if (!Number.isSafeInteger(number)) return
    equal(highHalf(number), high)
    equal(lowHalf(number), low)
    const written = Buffer.alloc(12)
    equal(writeInt64(written, 3, number), 11)
    deepEqual(written, bytes)
    equal(writeU32(written, 4, low), 8)
    equal(written.readUInt32BE(4), low)
  }
  values.forEach(check)
  fc.assert(fc.property(fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n), check), { numRuns: 50 })
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => check(BigInt(value))),
    { numRuns: 50 },
  )
  t.equal(highHalf(Infinity), 0x7fffffff)
  t.equal(lowHalf(Infinity), 0xffffffff)
  t.equal(highHalf(-Infinity), 0x80000000)
  t.equal(lowHalf(-Infinity), 0)
  t.end()
})

t.test('what the writer wrote the reader reads, from any range', (t) => {
  const field = fc.oneof(
    fc.tuple(fc.constant('u8' as const), fc.integer({ min: 0, max: 0xff })),
    fc.tuple(fc.constant('u16' as const), fc.integer({ min: 0, max: 0xffff })),
    fc.tuple(fc.constant('u32' as const), fc.integer({ min: 0, max: 0xffffffff })),
    fc.tuple(fc.constant('i32' as const), fc.integer()),
    fc.tuple(fc.constant('i64' as const), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n)),
    fc.tuple(fc.constant('safeInteger' as const), fc.maxSafeInteger()),
    fc.tuple(fc.constant('bytes' as const), fc.uint8Array({ maxLength: 400, size: 'max' })),
    fc.tuple(fc.constant('utf8' as const), fc.string({ unit: 'grapheme' })),
  )
  const write = (writer: ByteWriter, [kind, value]: [string, unknown]): unknown =>
    (writer as unknown as Record<string, (value: unknown) => unknown>)[kind]?.(value)
  const read = (reader: ByteReader, [kind]: [string, unknown]): unknown =>
    (reader as unknown as Record<string, () => unknown>)[kind]?.()
  const run = (fields: [string, unknown][], before: number): void => {
    const writer = new ByteWriter(1)
    writer.raw(Buffer.alloc(before))
    for (const each of fields) write(writer, each)
    const length = writer.length
    const bytes = writer.raw(Buffer.from('tail')).finish()
    equal(bytes.length, length + 4)
    const reader = new ByteReader(bytes, before, length)
    for (const each of fields) {
      const value = read(reader, each)
      deepEqual(value instanceof Uint8Array ? new Uint8Array(value) : value, each[1])
    }
    equal(reader.remaining, 0)
    throws(() => reader.u8(), badFrame, 'nothing beyond the range')
    // Any cut of it is short, and never more than short.
    const cut = new ByteReader(bytes, before, Math.max(before, length - 1))
    if (fields.length > 0) throws(() => fields.forEach((each) => read(cut, each)), badFrame)
  }
  holds(t, 'round trip', fc.property(fc.array(field), fc.nat(20), run))
  t.end()
})

t.test('limits and bad content are QUIRE_BAD_FRAME and move nothing', (t) => {
  const bytes = new ByteWriter()
    .utf8('four')
    .i64(2n ** 53n)
    .bytes(Buffer.from([0xc3, 0x28]))
    .finish()
  const reader = new ByteReader(new Uint8Array(bytes))
  t.throws(() => reader.utf8(3), badFrame)
  t.equal(reader.offset, 0)
  t.equal(reader.utf8(4), 'four')
  t.throws(() => reader.safeInteger(), badFrame)
  t.equal(reader.i64(), 2n ** 53n)
  t.throws(() => reader.utf8(), badFrame)
  t.equal(reader.bytes().length, 2)
  t.equal(reader.rest().length, 0)
  const huge = new ByteReader(Buffer.from('ffffffff00', 'hex'))
  t.throws(() => huge.bytes(), badFrame, 'an announced length allocates nothing')
  t.equal(huge.remaining, 5)
  t.end()
})

t.test('the writer: a length set at the end, handed out once', (t) => {
  const writer = new ByteWriter()
  writer.u32(0).u8(7)
  const frame = writer.setU32(0, 1).finish()
  t.equal(frame.toString('hex'), '0000000107')
  t.equal(writer.length, 0)
  writer.u32(9)
  t.equal(frame.toString('hex'), '0000000107', 'what was handed out stays')
  t.throws(() => writer.setU32(1, 0), { code: 'QUIRE_INVARIANT' })
  t.throws(() => writer.safeInteger(2 ** 53), { code: 'QUIRE_INVARIANT' })
  t.throws(() => new ByteReader(Buffer.alloc(2), 0, 3), { code: 'QUIRE_INVARIANT' })
  t.ok(QuireError.is(new QuireError('QUIRE_BAD_FRAME', ''), 'QUIRE_BAD_FRAME'))
  t.end()
})
