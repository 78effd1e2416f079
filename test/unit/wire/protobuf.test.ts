// Our V3 codec beside protobufjs with BookKeeper's messages: what either writes the other reads, in
// any order of fields, with unknown fields in between.
import { deepEqual, equal, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import protobuf from 'protobufjs'
import t from 'tap'
import * as answers from '../../../src/wire/bookie-answers.ts'
import {
  type BookieRequest,
  operations,
  requestFlags,
  type Status,
  statuses,
} from '../../../src/wire/bookie-messages.ts'
import * as requests from '../../../src/wire/bookie-request.ts'
import * as responses from '../../../src/wire/bookie-response.ts'
import { highHalf, lowHalf, numberFromHalves } from '../../../src/wire/int64.ts'
import { holds } from '../../support/properties.ts'
import { ProtoReader, varintBytes, writeVarint } from '../../../src/wire/protobuf.ts'

const source = readFileSync(new URL('../../vectors/bookkeeper.proto', import.meta.url), 'utf8')
const { root } = protobuf.parse(source, { keepCase: true })
const Request = root.lookupType('Request')
const Response = root.lookupType('Response')

type Fields = Record<string, unknown>

const encode = (type: protobuf.Type, fields: Fields): Buffer =>
  Buffer.from(type.encode(type.fromObject(fields)).finish())

const decode = (type: protobuf.Type, frame: Buffer): Fields => {
  if (frame.readUInt32BE(0) !== frame.length - 4) throw new Error('a wrong length field')
  return type.toObject(type.decode(frame.subarray(4)), { longs: String, bytes: String })
}

/** The named fields, and no others, are compared. */
const has = (found: Fields, wanted: Fields): void =>
  deepEqual(Object.fromEntries(Object.keys(wanted).map((name) => [name, found[name]])), wanted)

/** protobufjs gives bytes as base64. */
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')

const int64 = fc.oneof(
  fc.constantFrom(0n, -1n, 1n, 127n, 128n, 16_384n, 2n ** 53n - 1n, 2n ** 63n - 1n, -(2n ** 63n)),
  fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
)
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
const safe = fc.oneof(fc.constantFrom(-1, 0, 127, 128, 2 ** 32), fc.maxSafeInteger())
const natural = fc.oneof(fc.nat(300), fc.maxSafeInteger().map(Math.abs))
const bytes = fc.uint8Array({ maxLength: 300, size: 'max' }).map((value) => Buffer.from(value))
const key = fc.uint8Array({ minLength: 20, maxLength: 20 }).map((value) => Buffer.from(value))
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined })
const status = fc.constantFrom<Status>(...Object.values(statuses))

/** What a 64-bit field becomes in a view. */
const asNumber = (value: bigint): number => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value > 0n ? Infinity : -Infinity
}
const halves = (value: bigint): [number, number] => [
  Number(BigInt.asUintN(64, value) >> 32n),
  Number(BigInt.asUintN(32, value)),
]

/** The fields of a message as slices of it. */
function slices(message: Buffer): Buffer[] {
  const reader = new ProtoReader()
  reader.reset(message, 0, message.length)
  const found: Buffer[] = []
  for (let at = 0, tag = reader.tag(); tag > 0; at = reader.at, tag = reader.tag()) {
    if (!reader.skip(tag)) throw new Error('not a message')
    found.push(message.subarray(at, reader.at))
  }
  return found
}

const varint = (value: number): Buffer => {
  const target = Buffer.alloc(10)
  return target.subarray(0, writeVarint(target, 0, 0, value))
}

/** The same message with its fields, and those of its sub-messages, in another order. */
function shuffled(message: Buffer, order: () => number, deep: boolean): Buffer {
  const fields = slices(message).map((field) => {
    const reader = new ProtoReader()
    reader.reset(field, 0, field.length)
    const tag = reader.tag()
    if (!deep || (tag & 7) !== 2) return field
    reader.skip(tag)
    const inner = shuffled(field.subarray(reader.rangeStart), order, false)
    return Buffer.concat([varint(tag), varint(inner.length), inner])
  })
  // Fields nobody knows: 77 of each wire type that there is.
  const unknown = ['e80401', 'e9040102030405060708', 'ea0403616263', 'ed0401020304']
  fields.push(...unknown.map((hex) => Buffer.from(hex, 'hex')))
  return Buffer.concat(
    fields
      .map((field) => ({ field, at: order() }))
      .sort((a, b) => a.at - b.at)
      .map(({ field }) => field),
  )
}

const orders = fc.array(fc.nat(), { minLength: 1, maxLength: 40 }).map((numbers) => {
  let index = 0
  return () => numbers[index++ % numbers.length] ?? 0
})

t.test('varints: every length, both directions, as protobufjs', (t) => {
  holds(
    t,
    'round trip',
    fc.property(int64, (value) => {
      const [high, low] = halves(value)
      const target = Buffer.alloc(12)
      const end = writeVarint(target, 1, high, low)
      const expected = protobuf.Writer.create().int64(new protobuf.util.Long(low | 0, high | 0))
      equal(target.toString('hex', 1, end), Buffer.from(expected.finish()).toString('hex'))
      equal(end - 1, varintBytes(high, low))
      const reader = new ProtoReader()
      reader.reset(target, 1, end)
      ok(reader.varint())
      deepEqual([reader.high, reader.low, reader.at], [high, low, end])
      equal(reader.number(), asNumber(value))
      reader.reset(target, 1, end - 1)
      ok(!reader.varint(), 'a cut one is malformed')
    }),
  )
  const reader = new ProtoReader()
  const tooLong = Buffer.alloc(11, 0x80)
  reader.reset(tooLong, 0, 11)
  t.notOk(reader.varint(), 'more than 10 bytes')
  for (const tag of ['00', '02', '8000', '0b', '0c', '0e', '0f']) {
    const bad = Buffer.from(`${tag}00000000`, 'hex')
    reader.reset(bad, 0, bad.length)
    t.notOk(reader.skip(reader.tag()), `${tag}: field 0, groups and wire types 6 and 7`)
  }
  t.end()
})

const header = fc.record({
  version: fc.constantFrom(1, 2, 3),
  operation: fc.integer({ min: 1, max: 12 }),
  txnId: fc.bigInt(0n, 2n ** 64n - 1n).map(String),
  priority: optional(uint32),
})

const ledgerId = int64.map(String)
const entryId = ledgerId
const auth = fc.record({ authPluginName: fc.string(), payload: bytes })
const requestFields: Record<string, fc.Arbitrary<Fields>> = {
  readRequest: fc.record({
    flag: optional(fc.constantFrom(1, 2)),
    ledgerId,
    entryId,
    masterKey: optional(bytes),
    previousLAC: optional(ledgerId),
    timeOut: optional(ledgerId),
  }),
  addRequest: fc.record({
    flag: optional(fc.constant(1)),
    ledgerId,
    entryId,
    masterKey: bytes,
    body: bytes,
    writeFlags: optional(fc.integer()),
  }),
  authRequest: auth,
  writeLacRequest: fc.record({ ledgerId, lac: ledgerId, masterKey: bytes, body: bytes }),
  readLacRequest: fc.record({ ledgerId }),
  getBookieInfoRequest: fc.record({ requested: optional(fc.nat(3)) }),
  startTLSRequest: fc.constant({}),
  forceLedgerRequest: fc.record({ ledgerId }),
  getListOfEntriesOfLedgerRequest: fc.record({ ledgerId }),
}
const bodyNames: Record<number, string> = {
  1: 'readRequest',
  2: 'addRequest',
  5: 'authRequest',
  6: 'writeLacRequest',
  7: 'readLacRequest',
  8: 'getBookieInfoRequest',
  9: 'startTLSRequest',
  10: 'forceLedgerRequest',
  11: 'getListOfEntriesOfLedgerRequest',
}

/** Any of the sub-messages may be there, whatever the operation. */
const anyRequest = fc.record({
  header,
  ...Object.fromEntries(
    Object.entries(requestFields).map(([name, arbitrary]) => [
      name,
      fc.option(arbitrary, { nil: undefined, freq: 2 }),
    ]),
  ),
  requestContext: fc.array(fc.record({ key: fc.string(), value: fc.string() }), { maxLength: 2 }),
}) as unknown as fc.Arbitrary<Fields & { header: Fields }>

function flagsOf(body: Fields, operation: number, priority: number): number {
  let flags = 0
  if (operation === 1 && body['flag'] === 1) flags = requestFlags.fence
  if (operation === 1 && body['flag'] === 2) flags = requestFlags.piggyback
  if (operation === 2 && body['flag'] === 1) flags = requestFlags.recovery
  else if (operation === 2 && (Number(body['writeFlags'] ?? 0) & 1) !== 0) {
    flags = requestFlags.deferredSync
  }
  return (priority | 0) > 0 ? flags | requestFlags.highPriority : flags
}

/** What a view of a request must hold, from the fields that protobufjs encoded. */
function expectedView(fields: Fields & { header: Fields }): Fields {
  const operation = Number(fields.header['operation'])
  const body = fields[bodyNames[operation] ?? ''] as Fields | undefined
  const has = body !== undefined
  const big = (name: string): bigint => BigInt((body?.[name] as string | undefined) ?? 0)
  const raw = (name: string): string =>
    Buffer.from((body?.[name] as Buffer | undefined) ?? []).toString('hex')
  const priority = Number(fields.header['priority'] ?? 0)
  return {
    protocol: 3,
    version: fields.header['version'],
    operation: [3, 4, 12].includes(operation) ? 0 : operation,
    rawOperation: operation,
    txn: halves(BigInt(String(fields.header['txnId']))),
    priority,
    flags: flagsOf(body ?? {}, operation, priority),
    ledger: halves(big('ledgerId')),
    entryId: asNumber(big('entryId')),
    hasPreviousLac: body?.['previousLAC'] !== undefined,
    previousLac: asNumber(big('previousLAC')),
    hasTimeout: body?.['timeOut'] !== undefined,
    timeoutMs: asNumber(big('timeOut')),
    requested: Number(body?.['requested'] ?? 0),
    hasBody: has,
    key: raw('masterKey'),
    body: operation === 5 ? raw('payload') : raw('body'),
    authPlugin: body?.['authPluginName'] ?? '',
  }
}

function viewFields(view: BookieRequest): Fields {
  const hex = (from: number, to: number): string => view.bytes.toString('hex', from, to)
  return {
    protocol: view.protocol,
    version: view.version,
    operation: view.operation,
    rawOperation: view.rawOperation,
    txn: [view.txnHigh, view.txnLow],
    priority: view.priority,
    flags: view.flags,
    ledger: [view.ledgerHigh, view.ledgerLow],
    entryId: view.entryId,
    hasPreviousLac: view.hasPreviousLac,
    previousLac: view.previousLac,
    hasTimeout: view.hasTimeout,
    timeoutMs: view.timeoutMs,
    requested: view.requested,
    hasBody: view.hasBody,
    key: hex(view.keyStart, view.keyEnd),
    body: hex(view.bodyStart, view.bodyEnd),
    authPlugin: view.authPlugin,
  }
}

t.test('requests of protobufjs, in any order of fields, are read as they were meant', (t) => {
  // One view for all of them: nothing of an earlier request may stay.
  const view = requests.createRequest()
  holds(
    t,
    'round trip',
    fc.property(anyRequest, orders, (fields, order) => {
      const plain = encode(Request, fields)
      const expected = expectedView(fields)
      for (const message of [plain, shuffled(plain, order, true)]) {
        equal(requests.decodeRequest(message, 0, message.length, 'v3-first', view), 'ok')
        deepEqual(viewFields(view), expected)
      }
    }),
    400,
  )
  t.end()
})

const txn = { txnHigh: uint32, txnLow: uint32 }
const ledger = { ledgerHigh: uint32, ledgerLow: uint32 }
type Ids = { txnHigh: number; txnLow: number; ledgerHigh?: number; ledgerLow?: number }
const unsigned = (high: number, low: number): string => `${(BigInt(high) << 32n) | BigInt(low)}`
const signed = (high: number, low: number): string =>
  `${BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low))}`
const ledgerOf = (ids: Ids): string => signed(ids.ledgerHigh ?? 0, ids.ledgerLow ?? 0)

/** Without fields that are undefined, as protobufjs gives them. */
const present = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

function sameRequest(frame: Buffer, ids: Ids, operation: number, body: Fields, high = false): void {
  const txnId = unsigned(ids.txnHigh, ids.txnLow)
  const head = { version: 3, operation, txnId, priority: high ? 100 : undefined }
  deepEqual(decode(Request, frame), {
    header: present(head),
    [bodyNames[operation] ?? '']: present(body),
  })
}

t.test('adds and reads that we write are read by protobufjs', (t) => {
  const adds = fc.record({ ...txn, ...ledger, entryId: safe, flags: fc.nat(15), key, body: bytes })
  holds(
    t,
    'adds',
    fc.property(adds, (input) => {
      const { body, key: masterKey, entryId } = input
      const fields = { ...input, protocol: 3 as const, masterKey, entryBytes: body.length }
      const frame = Buffer.alloc(requests.addRequestBytes(fields))
      const at = requests.writeAddRequestHeader(frame, 0, fields)
      const end = requests.writeAddRequestTail(frame, at + body.copy(frame, at), fields)
      equal(end, frame.length)
      ok(at <= requests.addRequestHeaderBytesMax)
      const recovery = (input.flags & requestFlags.recovery) !== 0
      const deferred = !recovery && (input.flags & requestFlags.deferredSync) !== 0
      const expected = {
        flag: recovery ? 1 : undefined,
        ledgerId: ledgerOf(input),
        entryId: `${entryId}`,
        masterKey: text(masterKey),
        body: text(body),
        writeFlags: deferred ? 1 : undefined,
      }
      sameRequest(frame, input, 2, expected, (input.flags & requestFlags.highPriority) !== 0)
    }),
  )
  const reads = fc.record({
    ...txn,
    ...ledger,
    entryId: safe,
    flags: fc.constantFrom(0, requestFlags.fence, requestFlags.piggyback, 5),
    masterKey: optional(key),
    previousLac: optional(safe),
    timeoutMs: optional(natural),
  })
  holds(
    t,
    'reads',
    fc.property(reads, (input) => {
      const fence = (input.flags & requestFlags.fence) !== 0
      const flag = fence ? 1 : input.flags === 0 ? undefined : 2
      const { masterKey, previousLac, timeoutMs } = input
      const expected = {
        flag,
        ledgerId: ledgerOf(input),
        entryId: `${input.entryId}`,
        masterKey: masterKey && text(masterKey),
        previousLAC: previousLac === undefined ? undefined : `${previousLac}`,
        timeOut: timeoutMs === undefined ? undefined : `${timeoutMs}`,
      }
      sameRequest(requests.encodeReadRequest(input), input, 1, expected, input.flags === 5)
    }),
  )
  const both = { ...requestFlags, flags: requestFlags.fence | requestFlags.piggyback }
  const fields = { txnHigh: 0, txnLow: 1, ledgerHigh: 0, ledgerLow: 1, entryId: 0 }
  t.throws(() => requests.encodeReadRequest({ ...fields, ...both }), { code: 'QUIRE_INVARIANT' })
  t.end()
})

t.test('all other requests that we write are read by protobufjs', (t) => {
  holds(
    t,
    'others',
    fc.property(
      fc.record({
        ...txn,
        ...ledger,
        lac: safe,
        masterKey: bytes,
        body: bytes,
        plugin: fc.string(),
      }),
      fc.nat(3),
      (input, requested) => {
        const ledgerId = ledgerOf(input)
        sameRequest(requests.encodeReadLacRequest(input), input, 7, { ledgerId })
        sameRequest(requests.encodeForceRequest(input), input, 10, { ledgerId })
        sameRequest(requests.encodeListEntriesRequest(input), input, 11, { ledgerId })
        sameRequest(requests.encodeStartTlsRequest(input), input, 9, {})
        const info = { requested: `${requested}` }
        sameRequest(requests.encodeBookieInfoRequest({ ...input, requested }), input, 8, info)
        const lac = {
          lac: `${input.lac}`,
          masterKey: text(input.masterKey),
          body: text(input.body),
        }
        sameRequest(requests.encodeWriteLacRequest(input), input, 6, { ledgerId, ...lac })
        const frame = requests.encodeAuthRequest({ ...input, payload: input.body })
        const payload = { authPluginName: input.plugin, payload: text(input.body) }
        sameRequest(frame, input, 5, payload)
      },
    ),
  )
  t.end()
})

const responseNames: Record<number, string> = Object.fromEntries(
  Object.entries(bodyNames).map(([number, name]) => [number, name.replace('Request', 'Response')]),
)

interface Answer {
  ids: Ids & { status: Status }
  operation: number
  body: Fields | undefined
}

/**
 * Both directions of one answer: protobufjs reads ours, and we read it in any order of its fields.
 */
function sameResponse(frame: Buffer, answer: Answer, order: () => number): Fields {
  const { ids, operation, body } = answer
  const head = { version: 3, operation, txnId: unsigned(ids.txnHigh, ids.txnLow) }
  const expected: Fields = { header: head, status: ids.status }
  if (body) expected[responseNames[operation] ?? ''] = present(body)
  deepEqual(decode(Response, frame), expected)
  const message = shuffled(frame.subarray(4), order, true)
  const view = responses.createResponse()
  equal(responses.decodeResponse(message, 0, message.length, 3, view), 'ok')
  deepEqual([view.operation, view.txnHigh, view.txnLow], [operation, ids.txnHigh, ids.txnLow])
  equal(view.status, ids.status)
  if (body?.['ledgerId'] !== undefined) {
    deepEqual([view.ledgerHigh, view.ledgerLow], [ids.ledgerHigh, ids.ledgerLow])
  }
  const raw = (has: boolean, from: number, to: number): string | undefined =>
    has ? view.bytes.toString('base64', from, to) : undefined
  return {
    ...view,
    body: raw(view.hasBody, view.bodyStart, view.bodyEnd),
    second: raw(view.hasSecond, view.secondStart, view.secondEnd),
  }
}

const answerFields = { ...txn, ...ledger, status, entryId: safe }

t.test('add and read responses, both directions', (t) => {
  const input = fc.record({
    ...answerFields,
    entry: optional(bytes),
    maxLac: optional(safe),
    lacUpdateTimestampMs: optional(natural),
  })
  holds(
    t,
    'add and read',
    fc.property(input, orders, (input, order) => {
      const { entry, maxLac, lacUpdateTimestampMs: moved } = input
      const fields = { ...input, protocol: 3 as const, version: 3, entryBytes: entry?.length }
      const before = responses.encodeReadResponseHeader(fields)
      const after = responses.encodeReadResponseTail(fields)
      ok(before.length <= responses.readResponseHeaderBytesMax)
      equal(after.length, responses.readResponseTailBytes(fields))
      const ids = { status: input.status, ledgerId: ledgerOf(input), entryId: `${input.entryId}` }
      const body = {
        ...ids,
        body: entry && text(entry),
        maxLAC: maxLac === undefined ? undefined : `${maxLac}`,
        lacUpdateTimestamp: moved === undefined ? undefined : `${moved}`,
      }
      const frame = Buffer.concat([before, entry ?? Buffer.alloc(0), after])
      const view = sameResponse(frame, { ids: input, operation: 1, body }, order)
      has(view, { entryId: input.entryId, hasMaxLac: maxLac !== undefined, maxLac: maxLac ?? 0 })
      has(view, { lacUpdateTimestampMs: moved ?? 0, body: body.body })
      const target = Buffer.alloc(60)
      const end = responses.writeAddResponse(target, 3, fields)
      ok(end - 3 <= responses.addResponseBytesMax)
      const add = { ids: input, operation: 2, body: ids }
      has(sameResponse(target.subarray(3, end), add, order), { entryId: input.entryId })
    }),
  )
  t.end()
})

t.test('all other responses, both directions', (t) => {
  const input = fc.record({
    ...answerFields,
    first: optional(bytes),
    second: optional(bytes),
    total: optional(natural),
    free: optional(natural),
  })
  holds(
    t,
    'others',
    fc.property(input, orders, (input, order) => {
      const { first, second, total: totalBytes, free: freeBytes } = input
      const ids = { status: input.status, ledgerId: ledgerOf(input) }
      const same = (operation: number, frame: Buffer, body: Fields | undefined): Fields =>
        sameResponse(frame, { ids: input, operation, body }, order)
      const encoded = { lacBody: first && text(first), lastEntryBody: second && text(second) }
      const lac = answers.encodeReadLacResponse(input, { lacPacket: first, lastEntry: second })
      const seen = same(operations.readLac, lac, { ...ids, ...encoded })
      deepEqual([seen['body'], seen['second']], [encoded.lacBody, encoded.lastEntryBody])
      same(operations.writeLac, answers.encodeWriteLacResponse(input), ids)
      same(operations.force, answers.encodeForceResponse(input), ids)
      const list = { ...ids, availabilityOfEntriesOfLedger: first && text(first) }
      const listed = answers.encodeListEntriesResponse(input, first)
      equal(same(operations.listEntries, listed, list)['body'], encoded.lacBody)
      const disk = present({ totalDiskCapacity: totalBytes, freeDiskSpace: freeBytes })
      const strings = Object.fromEntries(Object.entries(disk).map(([k, v]) => [k, String(v)]))
      const told = answers.encodeBookieInfoResponse(input, { totalBytes, freeBytes })
      const info = same(operations.bookieInfo, told, { status: input.status, ...strings })
      has(info, { totalBytes: totalBytes ?? 0, freeBytes: freeBytes ?? 0 })
      const tls = input.status === statuses.ok ? {} : undefined
      same(operations.startTls, answers.encodeStartTlsResponse(input), tls)
    }),
  )
  t.end()
})

t.test('numbers and halves agree where both are used', (t) => {
  holds(
    t,
    'agree',
    fc.property(safe, (value) => {
      equal(numberFromHalves(highHalf(value), lowHalf(value)), value)
    }),
  )
  t.end()
})
