import { deepEqual, equal, ok } from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import {
  Availability,
  AvailabilityWriter,
  decodeAvailability,
  encodeAvailability,
} from '../../../src/wire/availability.ts'
import { createDigest, type DigestType, digestBytes } from '../../../src/wire/digest.ts'
import * as entries from '../../../src/wire/entry.ts'
import { holds } from '../../support/properties.ts'

const types: DigestType[] = ['crc32', 'crc32c', 'mac', 'dummy']
const password = Buffer.from('secret')
const ledger = { ledgerHigh: 7, ledgerLow: 0x8000_0001 }

/** An entry in the middle of a larger buffer. */
function place(type: DigestType, payload: Uint8Array, entryId = 5): [Buffer, number, number] {
  const digest = createDigest(type, password)
  const start = 11
  const bytes = Buffer.alloc(start + 32 + digest.bytes + payload.length + 9, 0xaa)
  const end = bytes.length - 9
  entries.writeEntryHeader(bytes, start, { ...ledger, entryId, lac: -1, length: 99 })
  bytes.set(payload, entries.entryPayloadStart(start, digest))
  digest.write(bytes, start, end)
  return [bytes, start, end]
}

t.test('digests have the sizes of the format', (t) => {
  t.same(digestBytes, { crc32: 8, crc32c: 4, mac: 20, dummy: 0 })
  for (const type of types) t.equal(createDigest(type, password).bytes, digestBytes[type])
  t.equal(entries.entryMetadataBytes, 32)
  t.end()
})

t.test('an entry verifies where it was written, and nowhere else', (t) => {
  const input = fc.record({
    type: fc.constantFrom(...types),
    payload: fc.uint8Array({ maxLength: 700, size: 'max' }),
    flip: fc.nat(),
    bit: fc.nat(7),
  })
  const property = fc.property(input, ({ type, payload, flip, bit }) => {
    const [bytes, start, end] = place(type, payload)
    const digest = createDigest(type, password)
    const expected = { digest, ...ledger, entryId: 5 }
    equal(entries.verifyEntry(bytes, start, end, expected), 'ok')
    equal(entries.verifyEntry(bytes, start, end, { ...expected, entryId: -1 }), 'ok')
    equal(entries.verifyEntry(bytes, start, end, { ...expected, entryId: 6 }), 'wrong-ids')
    equal(entries.verifyEntry(bytes, start, end, { ...expected, ledgerLow: 1 }), 'wrong-ids')
    equal(entries.verifyEntry(bytes, start, end, { ...expected, ledgerHigh: 0 }), 'wrong-ids')
    equal(entries.entryLac(bytes, start), -1)
    equal(entries.entryLength(bytes, start), 99)
    const shared = Buffer.from(new SharedArrayBuffer(bytes.length))
    bytes.copy(shared)
    equal(entries.verifyEntry(shared, start, end, expected), 'ok')
    if (type === 'dummy') return
    // Any bit of it, in the metadata, the digest or the payload.
    const at = start + (flip % (end - start))
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
    equal(entries.verifyEntry(bytes, start, end, expected), 'mismatch')
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit)
    if (payload.length > 0) {
      equal(entries.verifyEntry(bytes, start, end - 1, expected), 'mismatch', 'cut')
    }
  })
  holds(t, 'verifies, and any flipped bit is found', property, 150)
  t.end()
})

t.test('what is too short for an entry is a mismatch, never a read outside', (t) => {
  for (const type of types) {
    const [bytes, start] = place(type, Buffer.alloc(0))
    const expected = { digest: createDigest(type, password), ...ledger, entryId: 5 }
    for (let size = 0; size < 32 + digestBytes[type]; size++) {
      t.equal(entries.verifyEntry(bytes, start, start + size, expected), 'mismatch')
    }
    const packet = entries.encodeLacPacket({ ...ledger, lac: 3 }, expected.digest)
    t.equal(packet.length, 16 + digestBytes[type], 'exactly that long (pitfall 27)')
    for (let size = 0; size < packet.length; size++) {
      t.equal(entries.verifyLacPacket(packet, 0, size, expected), 'mismatch')
    }
    t.equal(entries.verifyLacPacket(packet, 0, packet.length, expected), 'ok')
    const other = { ...expected, ledgerLow: 0 }
    t.equal(entries.verifyLacPacket(packet, 0, packet.length, other), 'wrong-ids')
    // Java serves a packet that was cut to an earlier size, or one with bytes behind it.
    const longer = Buffer.concat([packet, Buffer.from('x')])
    t.equal(entries.verifyLacPacket(longer, 0, longer.length, expected), 'ok')
    t.equal(entries.lacPacketLac(packet, 0), 3)
  }
  t.end()
})

t.test('CRC-32 has four zero bytes in front, which count', (t) => {
  const [bytes, start, end] = place('crc32', Buffer.from('x'))
  const digest = createDigest('crc32', password)
  t.equal(bytes.readUInt32BE(start + 32), 0)
  bytes[start + 32] = 0xff
  t.notOk(digest.verify(bytes, start, end))
  t.end()
})

t.test('a MAC is checked with the password of its ledger', (t) => {
  const [bytes, start, end] = place('mac', Buffer.from('payload'))
  t.ok(createDigest('mac', password).verify(bytes, start, end))
  t.notOk(createDigest('mac', Buffer.from('other')).verify(bytes, start, end))
  t.end()
})

/** Runs from gaps and sizes: ascending, never touching. */
const someRuns = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 6 })), {
    maxLength: 20,
  })
  .map((steps) => {
    let next = -1
    return steps.map(([gap, size]) => {
      const first = next + gap
      next = first + size
      return { first, last: next - 1 }
    })
  })

t.test('lists of entries: what was written is held, and nothing else', (t) => {
  const property = fc.property(someRuns, fc.nat(30), (made, before) => {
    const runs = made.filter(({ first }) => first >= 0)
    const bytes = encodeAvailability(runs)
    equal(bytes.readInt32BE(4), runs.length, 'one group for a run (pitfall 32)')
    equal(bytes.length, 64 + 24 * runs.length)
    // The same, told entry by entry.
    const writer = new AvailabilityWriter()
    const ids = runs.flatMap(({ first, last }) =>
      Array.from({ length: last - first + 1 }, (_, index) => first + index),
    )
    for (const id of ids) writer.add(id, id)
    equal(writer.finish().toString('hex'), bytes.toString('hex'))
    const framed = Buffer.concat([Buffer.alloc(before, 0xff), bytes])
    const list = decodeAvailability(framed, before, framed.length)
    ok(list instanceof Availability)
    deepEqual([...list.runs()], runs)
    equal(list.entryCount, ids.length)
    const end = (runs.at(-1)?.last ?? 0) + 3
    for (let id = -2; id < end; id++) equal(list.has(id), ids.includes(id))
  })
  holds(t, 'round trip', property)
  t.end()
})

const group = (first: number, last: number, size: number, period: number): Buffer => {
  const bytes = Buffer.alloc(24)
  bytes.writeBigInt64BE(BigInt(first), 0)
  bytes.writeBigInt64BE(BigInt(last), 8)
  bytes.writeInt32BE(size, 16)
  bytes.writeInt32BE(period, 20)
  return bytes
}
const listOf = (groups: Buffer[], count = groups.length, version = 0): Buffer => {
  const head = Buffer.alloc(64)
  head.writeInt32BE(version, 0)
  head.writeInt32BE(count, 4)
  return Buffer.concat([head, ...groups])
}
const decoded = (bytes: Buffer): Availability | undefined =>
  decodeAvailability(bytes, 0, bytes.length)

t.test('groups with a period are read (Java can, though it never writes them)', (t) => {
  const evens = decoded(listOf([group(0, 6, 1, 2)]))
  t.same(
    [...(evens?.runs() ?? [])].flatMap(({ first, last }) => [first, last]),
    [0, 0, 2, 2, 4, 4, 6, 6],
  )
  t.equal(evens?.entryCount, 4)
  const two = decoded(listOf([group(10, 30, 3, 10), group(100, 100, 5, 0)]))
  const held = Array.from({ length: 120 }, (_, id) => id).filter((id) => two?.has(id))
  t.same(held, [10, 11, 12, 20, 21, 22, 30, 31, 32, 100, 101, 102, 103, 104])
  const dense = decoded(listOf([group(4, 8, 2, 2)]))
  const ids = [3, 4, 5, 6, 7, 8, 9, 10]
  t.same(
    ids.filter((id) => dense?.has(id)),
    [4, 5, 6, 7, 8, 9],
  )
  // A few bytes may stand for very many entries: they are counted, not listed.
  const vast = decoded(listOf([group(0, 2 ** 40, 1, 2)]))
  t.equal(vast?.entryCount, 2 ** 39 + 1)
  t.ok(vast?.has(2 ** 40))
  t.end()
})

t.test('lists that make no sense are refused', (t) => {
  for (const [what, bytes] of Object.entries({
    empty: Buffer.alloc(0),
    short: listOf([]).subarray(0, 63),
    version: listOf([], 0, 1),
    'negative count': listOf([], -1),
    'count beyond the bytes': listOf([group(0, 0, 1, 0)], 2),
    'huge count': listOf([], 0x7fff_ffff),
    'no size': listOf([group(0, 0, 0, 0)]),
    'negative size': listOf([group(0, 0, -1, 0)]),
    'negative period': listOf([group(0, 2, 1, -2)]),
    'negative id': listOf([group(-1, -1, 1, 0)]),
    'last before first': listOf([group(4, 2, 1, 2)]),
    'last off the period': listOf([group(0, 3, 1, 2)]),
    'no period': listOf([group(0, 3, 1, 0)]),
    'not ascending': listOf([group(5, 5, 1, 0), group(5, 5, 1, 0)]),
  })) {
    t.equal(decoded(bytes), undefined, what)
  }
  t.ok(decoded(listOf([])), 'an empty list is good')
  t.throws(() => encodeAvailability([{ first: 3, last: 2 }]), { code: 'QUIRE_INVARIANT' })
  const back = [
    { first: 3, last: 3 },
    { first: 1, last: 1 },
  ]
  t.throws(() => encodeAvailability(back), { code: 'QUIRE_INVARIANT' })
  t.end()
})

t.test('a run longer than a group can say becomes several', (t) => {
  const long = { first: 1, last: 2 ** 32 }
  const list = decoded(encodeAvailability([long]))
  t.equal(list?.entryCount, 2 ** 32)
  t.ok(list?.has(1) && list.has(2 ** 31) && list.has(2 ** 32))
  t.notOk(list?.has(0) || list?.has(2 ** 32 + 1))
  t.end()
})
