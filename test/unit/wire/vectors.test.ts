// Every vector of test/vectors/wire.json, made with the real Java classes, in both directions: what
// we encode is the same bytes, and what we decode from them is what went in. A vector without a
// case fails.
import { ok as assert } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { crc32 } from 'node:zlib'
import { decodeAvailability, encodeAvailability } from '../../../src/wire/availability.ts'
import {
  encodeAuthDisabledResponse,
  encodeAuthResponse,
  encodeBatchReadResponse,
  encodeBookieInfoResponse,
  encodeErrorResponse,
  encodeForceResponse,
  encodeHeaderCopyResponse,
  encodeListEntriesResponse,
  encodeReadLacResponse,
  encodeStartTlsResponse,
  encodeWriteLacResponse,
} from '../../../src/wire/bookie-answers.ts'
import {
  type BookieRequest,
  type BookieResponse,
  operations,
  requestFlags,
  statuses,
} from '../../../src/wire/bookie-messages.ts'
import * as requests from '../../../src/wire/bookie-request.ts'
import * as responses from '../../../src/wire/bookie-response.ts'
import { batchEntryEnd } from '../../../src/wire/bookie-v2.ts'
import { ByteReader, ByteWriter } from '../../../src/wire/bytes.ts'
import { crc32c } from '../../../src/wire/crc32c.ts'
import { createDigest, type DigestType, macKey, masterKey } from '../../../src/wire/digest.ts'
import * as entries from '../../../src/wire/entry.ts'

const path = new URL('../../vectors/wire.json', import.meta.url)
const { vectors } = JSON.parse(readFileSync(path, 'utf8')) as { vectors: Record<string, string> }
const vector = (name: string): Buffer => {
  const hex = vectors[name]
  if (hex === undefined) throw new Error(`no vector ${name}`)
  return Buffer.from(hex, 'hex')
}

const payload = Buffer.from('hello bookkeeper')
const password = Buffer.from('testpasswd')
const key = masterKey(password)
const ledger = { ledgerHigh: 0, ledgerLow: 12345 }
const txn = { txnHigh: 0, txnLow: 7 }
const { fence, recovery, highPriority, deferredSync, piggyback } = requestFlags

const digestOf = (name: string, secret: Uint8Array = password): ReturnType<typeof createDigest> =>
  createDigest(name.toLowerCase() as DigestType, secret)

interface EntryInput {
  entryId?: number
  lac?: number
  length?: number
  payload?: Buffer
  password?: Buffer
}

function makeEntry(type: string, input: EntryInput = {}): Buffer {
  const digest = digestOf(type, input.password)
  const start = entries.entryPayloadStart(0, digest)
  const content = input.payload ?? payload
  const bytes = Buffer.alloc(start + content.length)
  const { entryId = 42, lac = 41, length = 1016 } = input
  entries.writeEntryHeader(bytes, 0, { ...ledger, entryId, lac, length })
  content.copy(bytes, start)
  digest.write(bytes, 0, bytes.length)
  return bytes
}

const entry42 = makeEntry('CRC32C')
const entry43 = makeEntry('CRC32C', { entryId: 43, lac: 42, length: 1032 })
const lacPacket = entries.encodeLacPacket({ ...ledger, lac: 41 }, digestOf('CRC32C'))

type Expected = Record<string, unknown>

interface Case {
  readonly made: () => Uint8Array
  /** What comes out of the bytes; `expected` is a part of it. */
  readonly read?: (bytes: Buffer) => Expected
  readonly expected?: Expected
}

const cases: Record<string, Case> = {}

const range = (view: BookieRequest | BookieResponse, from: number, to: number): string =>
  view.bytes.toString('hex', from, to)

/** A view without its buffer: numbers as they are, ranges as hex. */
function seen(view: BookieRequest | BookieResponse): Expected {
  const all: Expected = { ...view, body: range(view, view.bodyStart, view.bodyEnd) }
  if ('keyStart' in view) all['key'] = range(view, view.keyStart, view.keyEnd)
  else all['second'] = range(view, view.secondStart, view.secondEnd)
  return all
}

/** A request frame: the bytes behind the length are decoded in the middle of a larger chunk. */
function request(name: string, made: () => Uint8Array, expected: Expected): void {
  const read = (frame: Buffer): Expected => {
    const view = requests.createRequest()
    const chunk = Buffer.concat([Buffer.from('??'), frame, Buffer.from('?')])
    const outcome = requests.decodeRequest(chunk, 6, chunk.length - 1, 'v3-first', view)
    return { outcome, length: frame.readUInt32BE(0) === frame.length - 4, ...seen(view) }
  }
  const protocol = name.startsWith('v2') ? 2 : 3
  cases[name] = { made, read, expected: { outcome: 'ok', length: true, protocol, ...expected } }
}

function response(name: string, made: () => Uint8Array, expected: Expected): void {
  const protocol = name.startsWith('v2') ? 2 : 3
  const read = (frame: Buffer): Expected => {
    const view = responses.createResponse()
    const chunk = Buffer.concat([frame, Buffer.from('?')])
    const outcome = responses.decodeResponse(chunk, 4, frame.length, protocol, view)
    return { outcome, length: frame.readUInt32BE(0) === frame.length - 4, ...seen(view) }
  }
  cases[name] = { made, read, expected: { outcome: 'ok', length: true, protocol, ...expected } }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** The frame of an add request as a client lays it out, away from the start of its memory. */
function addFrame(fields: requests.AddRequestFields, entry: Buffer): Buffer {
  const target = Buffer.alloc(requests.addRequestBytes(fields) + 3)
  const at = requests.writeAddRequestHeader(target, 3, fields)
  assert(at === 3 + requests.addRequestHeaderBytes(fields))
  assert(at - 3 <= requests.addRequestHeaderBytesMax)
  entry.copy(target, at)
  const end = requests.writeAddRequestTail(target, at + entry.length, fields)
  assert(end === target.length)
  return target.subarray(3)
}

function add(name: string, protocol: 2 | 3, entry: Buffer, input: Expected = {}): void {
  const flags = (input['flags'] as number | undefined) ?? 0
  const secret = (input['key'] as Buffer | undefined) ?? key
  const ids = { ...ledger, ...txn, entryId: 42 }
  const fields = { protocol, ...ids, flags, masterKey: secret, entryBytes: entry.length }
  const expected: Expected = {
    operation: operations.add,
    ...ledger,
    entryId: 42,
    flags,
    key: hex(secret),
    body: hex(entry),
    hasBody: true,
  }
  if (protocol === 3) Object.assign(expected, txn, { version: 3 })
  request(name, () => addFrame(fields, entry), expected)
}

for (const type of ['DUMMY', 'CRC32', 'CRC32C', 'MAC']) {
  const digest = digestOf(type)
  const start = entries.entryPayloadStart(0, digest)
  const readEntry = (bytes: Buffer): Expected => ({
    verified: entries.verifyEntry(bytes, 0, bytes.length, { digest, ...ledger, entryId: -1 }),
    entryId: entries.entryIdOf(bytes, 0),
    lac: entries.entryLac(bytes, 0),
    length: entries.entryLength(bytes, 0),
    ledger: [entries.entryLedgerHigh(bytes, 0), entries.entryLedgerLow(bytes, 0)],
    payload: bytes.toString('utf8', start),
  })
  const common = { verified: 'ok', ledger: [0, 12345], payload: 'hello bookkeeper' }
  cases[`entry42.digest.${type}`] = { made: () => makeEntry(type).subarray(32, start) }
  cases[`entry42.${type}`] = {
    made: () => makeEntry(type),
    read: readEntry,
    expected: { ...common, entryId: 42, lac: 41, length: 1016 },
  }
  cases[`entry0.lacMinus1.${type}`] = {
    made: () => makeEntry(type, { entryId: 0, lac: -1, length: 16 }),
    read: readEntry,
    expected: { ...common, entryId: 0, lac: -1, length: 16 },
  }
  cases[`lacPacket.41.${type}`] = {
    made: () => entries.encodeLacPacket({ ...ledger, lac: 41 }, digest),
    read: (bytes) => ({
      verified: entries.verifyLacPacket(bytes, 0, bytes.length, { digest, ...ledger }),
      lac: entries.lacPacketLac(bytes, 0),
    }),
    expected: { verified: 'ok', lac: 41 },
  }
  add(`v2.add.req.${type}`, 2, makeEntry(type))
}

const u32 = (value: number): Buffer => new ByteWriter().u32(value).finish()
const check = Buffer.from('123456789')
const empty = Buffer.alloc(0)
Object.assign(cases, {
  'check.crc32.123456789': { made: () => u32(crc32(check)) },
  'check.crc32c.123456789': { made: () => u32(crc32c(check, 0, 9)) },
  'check.crc32c.empty': { made: () => u32(crc32c(check, 0, 0)) },
  'masterKey.testpasswd': { made: () => key },
  'masterKey.empty': { made: () => masterKey(empty) },
  'macKey.testpasswd': { made: () => macKey(password) },
  'macKey.empty': { made: () => macKey(empty) },
  'entry42.metadata': { made: () => entry42.subarray(0, 32) },
  'entry42.MAC.emptyPassword': {
    made: () => makeEntry('MAC', { password: empty }),
    read: (bytes: Buffer) => ({ good: digestOf('MAC', empty).verify(bytes, 0, bytes.length) }),
    expected: { good: true },
  },
  'entry0.emptyPayload.CRC32C': {
    made: () => makeEntry('CRC32C', { entryId: 0, lac: -1, length: 0, payload: empty }),
    read: (bytes: Buffer) => ({ good: digestOf('CRC32C').verify(bytes, 0, bytes.length) }),
    expected: { good: true },
  },
  'entry43.CRC32C': {
    made: () => entry43,
    read: (bytes: Buffer) => ({ good: digestOf('CRC32C').verify(bytes, 0, bytes.length) }),
    expected: { good: true },
  },
})

add('v2.add.req.CRC32C.emptyPassword', 2, entry42, { key: masterKey(empty) })
add('v2.add.req.CRC32C.recovery', 2, entry42, { flags: recovery | highPriority })
add('v3.add.req', 3, entry42)
add('v3.add.req.CRC32', 3, makeEntry('CRC32'))
add('v3.add.req.MAC', 3, makeEntry('MAC'))
add('v3.add.req.deferredSync', 3, entry42, { flags: deferredSync })
add('v3.add.req.recovery.flagFirst', 3, entry42, { flags: recovery | highPriority })

const all: BookieResponse['status'][] = Object.values(statuses)
const statusOf = (name: string): (typeof all)[number] => {
  const named: Record<string, (typeof all)[number]> = {
    EOK: statuses.ok,
    EFENCED: statuses.fenced,
    EUA: statuses.unauthorized,
    EREADONLY: statuses.readOnly,
    ETOOMANYREQUESTS: statuses.tooManyRequests,
    ENOENTRY: statuses.noEntry,
    ENOLEDGER: statuses.noLedger,
    EBADREQ: statuses.badRequest,
    EBADVERSION: statuses.badVersion,
  }
  const status = named[name]
  if (status === undefined) throw new Error(name)
  return status
}

/** Fields of an answer to the vectors' request. */
function answerTo(name: string, entryId: number, version?: number): responses.AddResponseFields {
  const protocol = name.startsWith('v2') ? 2 : 3
  const status = statusOf(name.split('.')[3] ?? '')
  return { protocol, version: version ?? protocol, ...txn, ...ledger, entryId, status }
}

for (const name of [
  'v2.add.resp.EOK',
  'v2.add.resp.EFENCED',
  'v2.add.resp.EUA',
  'v2.add.resp.EREADONLY',
  'v2.add.resp.EBADVERSION.reqVersion3',
  'v3.add.resp.EOK',
  'v3.add.resp.EFENCED',
  'v3.add.resp.EUA',
  'v3.add.resp.EREADONLY',
  'v3.add.resp.ETOOMANYREQUESTS',
]) {
  const fields = answerTo(name, 42, name.endsWith('3') ? 3 : undefined)
  const target = Buffer.alloc(responses.addResponseBytesMax)
  const made = (): Buffer => target.subarray(0, responses.writeAddResponse(target, 0, fields))
  const { status, version } = fields
  response(name, made, { operation: operations.add, status, version, ...ledger, entryId: 42 })
}

interface ReadAnswer {
  entryId?: number
  version?: number
  entry?: Buffer
  maxLac?: number
  lacUpdateTimestampMs?: number
}

function readAnswer(name: string, input: ReadAnswer = {}): void {
  const { entry, maxLac, lacUpdateTimestampMs } = input
  const head = answerTo(name, input.entryId ?? 42, input.version)
  const fields = { ...head, entryBytes: entry?.length, maxLac, lacUpdateTimestampMs }
  const made = (): Buffer => {
    if (!entry) return responses.encodeReadResponse(fields)
    const before = responses.encodeReadResponseHeader(fields)
    return Buffer.concat([before, entry, responses.encodeReadResponseTail(fields)])
  }
  response(name, made, {
    operation: operations.read,
    status: head.status,
    ...ledger,
    entryId: head.entryId,
    hasBody: entry !== undefined,
    body: entry ? hex(entry) : '',
    hasMaxLac: maxLac !== undefined,
    maxLac: maxLac ?? 0,
    lacUpdateTimestampMs: lacUpdateTimestampMs ?? 0,
  })
}

readAnswer('v2.read.resp.EOK.CRC32C', { entry: entry42 })
readAnswer('v2.read.resp.EOK.lastEntry.CRC32C', { entry: entry42, entryId: -1 })
readAnswer('v2.read.resp.ENOENTRY')
readAnswer('v2.read.resp.ENOLEDGER')
readAnswer('v3.read.resp.EOK', { entry: entry42, maxLac: 41 })
readAnswer('v3.read.resp.EOK.lastEntry', { entry: entry42, entryId: -1, maxLac: 41 })
readAnswer('v3.read.resp.EOK.fence.noMaxLAC', { entry: entry42, entryId: -1 })
readAnswer('v3.read.resp.EOK.piggyback.entry', {
  entry: entry42,
  maxLac: 42,
  lacUpdateTimestampMs: 1_700_000_000_000,
})
readAnswer('v3.read.resp.EOK.piggyback.noEntry', { entryId: -1, maxLac: 41 })
for (const code of ['ENOENTRY', 'ENOLEDGER', 'EUA', 'EBADREQ']) readAnswer(`v3.read.resp.${code}`)
{
  const name = 'v2.read.resp.version0.EOK.CRC32C'
  const head = { ...answerTo('v2.read.resp.EOK', 42, 0), entryBytes: entry42.length }
  response(name, () => Buffer.concat([responses.encodeReadResponseHeader(head), entry42]), {
    version: 0,
    status: statuses.ok,
    body: hex(entry42),
  })
}

function read(name: string, input: Omit<requests.ReadRequestFields, keyof typeof ledger>): void {
  const protocol = name.startsWith('v2') ? 2 : 3
  const fields = { ...ledger, ...input, protocol } as const
  request(name, () => requests.encodeReadRequest(fields), {
    operation: operations.read,
    ...ledger,
    entryId: input.entryId,
    flags: input.flags,
    key: hex(input.masterKey ?? empty),
    hasPreviousLac: input.previousLac !== undefined,
    previousLac: input.previousLac ?? 0,
    hasTimeout: input.timeoutMs !== undefined,
    timeoutMs: input.timeoutMs ?? 0,
  })
}

const withKey = { ...txn, masterKey: key }
read('v2.read.req', { ...txn, entryId: 42, flags: 0 })
read('v2.read.req.lastEntry', { ...txn, entryId: -1, flags: 0 })
read('v2.read.req.fence', { ...withKey, entryId: -1, flags: fence })
read('v2.read.req.recoveryRead', { ...withKey, entryId: 42, flags: fence | highPriority })
read('v3.read.req', { ...txn, entryId: 42, flags: 0 })
read('v3.read.req.lastEntry', { ...txn, entryId: -1, flags: 0 })
read('v3.read.req.fence.flagFirst', { ...withKey, entryId: -1, flags: fence })
read('v3.read.req.recoveryRead.flagFirst', { ...withKey, entryId: 42, flags: fence | highPriority })
read('v3.read.req.longPollPiggyback.flagFirst', {
  ...txn,
  entryId: -1,
  flags: piggyback,
  previousLac: 41,
  timeoutMs: 5000,
})

// What other releases send: only read by us. The other order of the same fields has the same
// meaning.
for (const name of [
  'v3.add.req.recovery',
  'v3.read.req.fence',
  'v3.read.req.recoveryRead',
  'v3.read.req.longPollPiggyback',
]) {
  const twin = cases[`${name}.flagFirst`]
  if (!twin) throw new Error(name)
  cases[`${name}.ascending`] = { ...twin, made: () => vector(`${name}.ascending`) }
}
request('v2.read.req.version0', () => vector('v2.read.req.version0'), {
  version: 0,
  operation: operations.read,
  ...ledger,
  entryId: 42,
  flags: 0,
})

const batch = { ...txn, ...ledger, entryId: 42, maxCount: 10, maxBytes: 5_242_880 }
const batchSeen = { operation: operations.batchRead, ...batch }
request('v2.batchRead.req', () => requests.encodeBatchReadRequest({ ...batch, flags: 0 }), {
  ...batchSeen,
  key: '',
})
const fencing = { ...batch, flags: fence | highPriority, masterKey: key }
request('v2.batchRead.req.fence', () => requests.encodeBatchReadRequest(fencing), {
  ...batchSeen,
  flags: fence | highPriority,
  key: hex(key),
})
const batchAnswer = { version: 2, ...txn, ...ledger, entryId: 42 }
const two = [entry42, entry43]
response(
  'v2.batchRead.resp.EOK.2entries',
  () => Buffer.concat(encodeBatchReadResponse({ ...batchAnswer, status: statuses.ok }, two)),
  {
    ...txn,
    ...ledger,
    entryId: 42,
    hasBody: true,
    body: hex(Buffer.concat(two.flatMap((entry) => [u32(entry.length), entry]))),
  },
)
response(
  'v2.batchRead.resp.ENOENTRY',
  () => Buffer.concat(encodeBatchReadResponse({ ...batchAnswer, status: statuses.noEntry }, [])),
  { ...txn, ...ledger, status: statuses.noEntry, hasBody: false },
)

const plugin = { plugin: responses.authDisabledPlugin, payload: empty }
const copied = { version: 3, rawOperation: operations.auth, ...txn, priority: 0 }
const authSeen = { operation: operations.auth, authPlugin: 'AuthDisabledPlugin', body: '' }
request(
  'v2.auth.req',
  () => requests.encodeAuthRequest({ ...txn, ...plugin, protocol: 2 }),
  authSeen,
)
request('v3.auth.req', () => requests.encodeAuthRequest({ ...txn, ...plugin }), authSeen)
response(
  'v2.auth.resp',
  () => encodeAuthDisabledResponse({ ...copied, version: 1, protocol: 2 }),
  authSeen,
)
response('v3.auth.resp.EOK', () => encodeAuthDisabledResponse({ ...copied, protocol: 3 }), authSeen)
response('v3.auth.resp.EUA', () => encodeHeaderCopyResponse(copied, statuses.unauthorized), {
  status: statuses.unauthorized,
  hasBody: false,
})
const ok = { ...txn, ...ledger, status: statuses.ok }
request('v3.startTLS.req', () => requests.encodeStartTlsRequest(txn), {
  operation: operations.startTls,
  hasBody: true,
})
response('v3.startTLS.resp.EOK', () => encodeStartTlsResponse(ok), { status: statuses.ok })
response(
  'v3.startTLS.resp.EBADREQ',
  () => encodeStartTlsResponse({ ...txn, status: statuses.badRequest }),
  { operation: operations.startTls, status: statuses.badRequest },
)

const ledgerRequest = { ...txn, ...ledger }
request('v3.readLac.req', () => requests.encodeReadLacRequest(ledgerRequest), {
  operation: operations.readLac,
  ...ledgerRequest,
})
request('v3.forceLedger.req', () => requests.encodeForceRequest(ledgerRequest), {
  operation: operations.force,
  ...ledgerRequest,
})
request('v3.getListOfEntries.req', () => requests.encodeListEntriesRequest(ledgerRequest), {
  operation: operations.listEntries,
  ...ledgerRequest,
})
request('v3.getBookieInfo.req', () => requests.encodeBookieInfoRequest(txn), {
  operation: operations.bookieInfo,
  requested: 3,
})
const writeLac = { ...ledgerRequest, lac: 41, masterKey: key, body: lacPacket }
request('v3.writeLac.req', () => requests.encodeWriteLacRequest(writeLac), {
  operation: operations.writeLac,
  ...ledgerRequest,
  key: hex(key),
  body: hex(lacPacket),
})

response(
  'v3.readLac.resp.EOK.both',
  () => encodeReadLacResponse(ok, { lacPacket, lastEntry: entry42 }),
  { ...ok, hasBody: true, body: hex(lacPacket), hasSecond: true, second: hex(entry42) },
)
response(
  'v3.readLac.resp.EOK.lastEntryOnly',
  () => encodeReadLacResponse(ok, { lastEntry: entry42 }),
  { ...ok, hasBody: false, hasSecond: true, second: hex(entry42) },
)
const noEntry = { ...ok, status: statuses.noEntry }
response('v3.readLac.resp.ENOENTRY', () => encodeReadLacResponse(noEntry), {
  ...noEntry,
  hasBody: false,
  hasSecond: false,
})
response('v3.writeLac.resp.EOK', () => encodeWriteLacResponse(ok), ok)
response('v3.forceLedger.resp.EOK', () => encodeForceResponse(ok), ok)
const disk = { totalBytes: 1_000_000_000_000, freeBytes: 400_000_000_000 }
response('v3.getBookieInfo.resp.EOK', () => encodeBookieInfoResponse(ok, disk), disk)
const ids = [0, 1, 2, 5, 7, 8, 9, 10]
const list = encodeAvailability(ids.map((id) => ({ first: id, last: id })))
response('v3.getListOfEntries.resp.EOK', () => encodeListEntriesResponse(ok, list), {
  ...ok,
  body: hex(list),
})
const unknown = { version: 3, rawOperation: 12, ...txn, priority: 0 }
response(
  'v3.unknownOp.resp.EBADREQ(BATCH_READ_ENTRY)',
  () => encodeHeaderCopyResponse(unknown, statuses.badRequest),
  { operation: 0, rawOperation: 12, status: statuses.badRequest },
)

for (const [name, held] of [
  ['availability.[0,1,2,5,7,8,9,10]', ids],
  ['availability.[]', []],
] as const) {
  cases[name] = {
    made: () => encodeAvailability(held.map((id) => ({ first: id, last: id }))),
    read: (bytes) => {
      const found = decodeAvailability(bytes, 0, bytes.length)
      const has = Array.from({ length: 20 }, (_, id) => id).filter((id) => found?.has(id))
      return { has, count: found?.entryCount }
    },
    expected: { has: [...held], count: held.length },
  }
}

/**
 * Java's journal records are not on the wire; their ids and packets are made of the same pieces.
 */
const metaRecord = (id: number): ByteWriter => new ByteWriter().safeInteger(12345).safeInteger(id)
const readMeta = (bytes: Buffer): Expected => {
  const reader = new ByteReader(bytes)
  return { ledgerId: reader.i64(), id: reader.safeInteger(), rest: hex(reader.rest()) }
}
cases['journal.ledgerKey'] = {
  made: () => metaRecord(-0x1000).bytes(key).finish(),
  read: readMeta,
  expected: { ledgerId: 12345n, id: -0x1000, rest: `00000014${hex(key)}` },
}
cases['journal.fence'] = {
  made: () => metaRecord(-0x2000).finish(),
  read: readMeta,
  expected: { ledgerId: 12345n, id: -0x2000, rest: '' },
}
cases['journal.explicitLac.CRC32C'] = {
  made: () => metaRecord(-0x8000).bytes(lacPacket).finish(),
  read: readMeta,
  expected: { ledgerId: 12345n, id: -0x8000, rest: `00000014${hex(lacPacket)}` },
}

t.test('every vector, in both directions', (t) => {
  t.same(Object.keys(vectors).sort(), Object.keys(cases).sort(), 'each vector has its case')
  for (const [name, { made, read, expected }] of Object.entries(cases)) {
    const bytes = vector(name)
    t.equal(hex(made()), hex(bytes), `${name}: encoded`)
    if (read && expected) t.has(read(bytes), expected, `${name}: decoded`)
  }
  t.end()
})

t.test('the list of a batch read is walked by its sizes', (t) => {
  const view = responses.createResponse()
  const frame = vector('v2.batchRead.resp.EOK.2entries')
  t.equal(responses.decodeResponse(frame, 4, frame.length, 2, view), 'ok')
  const found: string[] = []
  for (let at = view.bodyStart; at < view.bodyEnd;) {
    const end = batchEntryEnd(frame, at)
    found.push(frame.toString('hex', at + 4, end))
    at = end
  }
  t.same(found, two.map(hex))
  t.end()
})

t.test('a refusal of any request is the answer that belongs to it', (t) => {
  const refuse = (name: string, status: BookieResponse['status']): Buffer => {
    const frame = vector(name)
    const view = requests.createRequest()
    requests.decodeRequest(frame, 4, frame.length, 'v3-first', view)
    return encodeErrorResponse(view, status)
  }
  const expect = (asked: string, answered: string): void => {
    const status = statusOf(answered.split(/[.(]/)[3] ?? '')
    t.equal(hex(refuse(asked, status)), hex(vector(answered)), `${asked} → ${answered}`)
  }
  expect('v2.add.req.CRC32C', 'v2.add.resp.EFENCED')
  expect('v2.read.req', 'v2.read.resp.ENOLEDGER')
  expect('v2.batchRead.req', 'v2.batchRead.resp.ENOENTRY')
  expect('v3.add.req', 'v3.add.resp.EREADONLY')
  expect('v3.read.req', 'v3.read.resp.EBADREQ')
  expect('v3.readLac.req', 'v3.readLac.resp.ENOENTRY')
  expect('v3.auth.req', 'v3.auth.resp.EUA')
  expect('v3.startTLS.req', 'v3.startTLS.resp.EBADREQ')
  for (const name of ['writeLac', 'forceLedger', 'getListOfEntries', 'getBookieInfo']) {
    const frame = refuse(`v3.${name}.req`, statuses.io)
    const view = responses.createResponse()
    t.equal(responses.decodeResponse(frame, 4, frame.length, 3, view), 'ok')
    t.equal(view.status, statuses.io)
    t.equal(view.ledgerLow, name === 'getBookieInfo' ? 0 : 12345)
  }
  t.throws(() => refuse('v2.auth.req', statuses.unauthorized), { code: 'QUIRE_INVARIANT' })
  // The next message of a handshake, in the version of the request.
  const next = encodeAuthResponse({ ...copied, version: 1, protocol: 2 }, 'sasl', Buffer.from('x'))
  t.equal(hex(next), '0000000d010300000a047361736c120178')
  t.end()
})
