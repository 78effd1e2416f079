import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError, errorCodes } from '../../../src/errors.ts'
import {
  decodeClientPacket,
  decodeConnectRequest,
  decodeConnectResponse,
  decodeServerPacket,
  encodeClientPacket,
  encodeConnectRequest,
  encodeConnectResponse,
  encodeServerPacket,
  startsMetadataConnection,
} from '../../../src/wire/metadata-codec.ts'
import {
  connectStatuses,
  goodbyeReasons,
  metadataErrorCode,
  metadataErrorNumber,
  metadataErrorNumbers,
  metadataVersion,
} from '../../../src/wire/metadata-messages.ts'
import type {
  ClientPacket,
  ConnectStatus,
  GoodbyeReason,
  ServerPacket,
} from '../../../src/wire/metadata-messages.ts'

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })
const int = fc.integer({ min: -1, max: 0x7fff_ffff })
const count = fc.nat(0xffff_ffff)
const u53 = fc.nat(Number.MAX_SAFE_INTEGER)
const session = fc.bigInt(0n, 2n ** 63n - 1n)
const bytes = fc.uint8Array({ maxLength: 60 }).map((each) => Buffer.from(each))
const password = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((each) => Buffer.from(each))
const text = fc.string({ unit: 'grapheme', maxLength: 20 })
const path = text.map((name) => `/${name}`)
const modes = [
  'persistent',
  'ephemeral',
  'persistent-sequential',
  'ephemeral-sequential',
  'container',
  'ttl',
] as const

const stat = record({
  czxid: u53,
  mzxid: u53,
  pzxid: u53,
  ctimeMs: u53,
  mtimeMs: u53,
  version: int,
  cversion: int,
  aversion: int,
  ephemeralOwner: session,
  dataLength: count,
  childCount: count,
})

const is = <T extends string>(type: T) => fc.constant(type)
const create = record({
  type: is('create'),
  path,
  data: bytes,
  mode: fc.constantFrom(...modes),
  ttlMs: u53,
})
const set = record({ type: is('set'), path, data: bytes, version: int })
const remove = record({ type: is('delete'), path, version: int })
const check = record({ type: is('check'), path, version: int })
const read = record({
  type: fc.constantFrom('get', 'exists', 'children'),
  path,
  watch: fc.boolean(),
  linearizable: fc.boolean(),
})
const multi = record({
  type: is('multi'),
  operations: fc.array(fc.oneof(create, set, remove, check), { maxLength: 5 }),
})
const multiRead = record({
  type: is('multiRead'),
  linearizable: fc.boolean(),
  reads: fc.array(record({ type: fc.constantFrom('get', 'children'), path })),
})
const watch = record({
  watchId: u53,
  kind: fc.constantFrom('data', 'children'),
  path,
  zxid: u53,
})
const request = fc.oneof(
  create,
  set,
  remove,
  read,
  multi,
  multiRead,
  record({ type: is('sync'), path }),
  record({ type: is('setWatches'), watches: fc.array(watch) }),
  record({ type: is('closeSession') }),
)
const clientPacket = fc.oneof(
  record({ type: is('request'), requestId: u53, answeredUpTo: u53, request }),
  record({ type: is('ping'), number: u53 }),
)

const error = record({
  type: is('error'),
  code: fc.integer({ min: 1, max: 0xffff }),
  message: text,
  path: fc.option(path, { nil: undefined }),
  index: fc.option(fc.nat(0xffff), { nil: undefined }),
})
const operationResult = fc.oneof(
  record({ type: is('create'), path, stat }),
  record({ type: is('set'), stat }),
  record({ type: is('delete') }),
  record({ type: is('check') }),
)
const readResult = fc.oneof(
  record({ type: is('get'), data: bytes, stat }),
  record({ type: is('children'), names: fc.array(text), stat }),
  error,
)
const result = fc.oneof(
  operationResult,
  readResult,
  record({ type: is('exists'), stat: fc.option(stat, { nil: undefined }) }),
  record({ type: is('multi'), results: fc.array(operationResult) }),
  record({ type: is('multiRead'), results: fc.array(readResult) }),
  record({ type: is('sync') }),
  record({ type: is('setWatches') }),
  record({ type: is('closeSession') }),
)
const serverPacket = fc.oneof(
  record({ type: is('answer'), requestId: u53, zxid: u53, result }),
  record({ type: is('pong'), number: u53 }),
  record({
    type: is('event'),
    watchId: u53,
    event: fc.constantFrom('created', 'deleted', 'changed', 'children'),
    path,
  }),
  record({
    type: is('goodbye'),
    reason: fc.constantFrom(...(Object.keys(goodbyeReasons) as GoodbyeReason[])),
    message: text,
  }),
)
const connectRequest = record({
  version: fc.integer({ min: metadataVersion, max: metadataVersion | 0xff }),
  sessionId: session,
  password,
  timeoutMs: count,
  lastZxid: u53,
  instanceId: text,
})
const connectResponse = record({
  version: fc.nat(0xffff),
  status: is('ok'),
  message: text,
  sessionId: session,
  password,
  timeoutMs: count,
  zxid: u53,
  instanceId: text,
})

type Sent<T> = Exclude<T, { type: 'unknown' }>
const sentClient: fc.Arbitrary<Sent<ClientPacket>> = clientPacket
const sentServer: fc.Arbitrary<Sent<ServerPacket>> = serverPacket

interface Codec<T> {
  readonly values: fc.Arbitrary<T>
  readonly write: (value: T) => Buffer
  readonly read: (payload: Buffer) => unknown
}

/** The four kinds of frames, behind one face so that each property runs over all of them. */
const codecs: Record<string, (check: <T>(codec: Codec<T>) => void) => void> = {
  connectRequest: (check) =>
    check({ values: connectRequest, write: encodeConnectRequest, read: decodeConnectRequest }),
  connectResponse: (check) =>
    check({ values: connectResponse, write: encodeConnectResponse, read: decodeConnectResponse }),
  client: (check) =>
    check({ values: sentClient, write: encodeClientPacket, read: decodeClientPacket }),
  server: (check) =>
    check({ values: sentServer, write: encodeServerPacket, read: decodeServerPacket }),
}

/** Runs a decoder on anything: it returns, or throws QUIRE_BAD_FRAME. */
function survives(read: (payload: Buffer) => unknown, payload: Buffer): void {
  try {
    read(payload)
  } catch (error) {
    assert.ok(QuireError.is(error, 'QUIRE_BAD_FRAME'), String(error))
  }
}

for (const [name, using] of Object.entries(codecs)) {
  t.test(`${name}: what is written is read again, also with newer fields behind it`, async () => {
    using(({ values, write, read }) =>
      fc.assert(
        fc.property(values, fc.uint8Array({ maxLength: 9 }), (value, newer) => {
          const frame = write(value)
          assert.equal(frame.readUInt32BE(0), frame.length - 4)
          assert.deepEqual(read(frame.subarray(4)), value)
          assert.deepEqual(read(Buffer.concat([frame.subarray(4), newer])), value)
        }),
        { numRuns: 150 },
      ),
    )
  })

  t.test(`${name}: garbage, cut and changed frames are refused by one code only`, async () => {
    using(({ values, write, read }) => {
      const place = fc.tuple(fc.nat(), fc.nat(255))
      fc.assert(
        fc.property(values, fc.array(place, { maxLength: 4 }), fc.nat(), (value, changes, cut) => {
          const payload = write(value).subarray(4)
          for (const [at, byte] of changes) payload[at % payload.length] = byte
          survives(read, payload)
          survives(read, payload.subarray(0, cut % payload.length))
        }),
        { numRuns: 150 },
      )
      const noise = fc.uint8Array({ maxLength: 200 })
      fc.assert(fc.property(noise, (bytes) => survives(read, Buffer.from(bytes))))
    })
  })
}

t.test('what a decoder keeps does not share memory with the chunk it came in', async (t) => {
  const request = { type: 'set', path: '/a', data: Buffer.from('before'), version: 0 } as const
  const frame = encodeClientPacket({ type: 'request', requestId: 1, answeredUpTo: 0, request })
  const packet = decodeClientPacket(frame.subarray(4))
  frame.fill(0)
  t.match(packet, { request: { data: Buffer.from('before') } })
})

t.test(
  'a list that announces more than its frame holds is refused before memory is taken',
  async (t) => {
    const request = { type: 'multi', operations: [] } as const
    const frame = encodeClientPacket({ type: 'request', requestId: 1, answeredUpTo: 0, request })
    frame.writeUInt32BE(0xffff_ffff, frame.length - 4)
    t.throws(() => decodeClientPacket(frame.subarray(4)), { code: 'QUIRE_BAD_FRAME' })
  },
)

t.test('another major version is read up to its number, both ways', async (t) => {
  const foreign = Buffer.concat([Buffer.from('QRM1'), Buffer.from([9, 3]), Buffer.alloc(1)])
  t.equal(decodeConnectRequest(foreign).version, 0x0903)
  const refusal = encodeConnectResponse({
    version: 0x0903,
    status: 'version',
    sessionId: 0n,
    password: Buffer.alloc(0),
    timeoutMs: 0,
    zxid: 0,
    instanceId: '',
    message: 'I speak 9',
  })
  t.match(decodeConnectResponse(refusal.subarray(4)), { status: 'version', message: 'I speak 9' })
  refusal.writeUInt16BE(999, 10)
  t.match(decodeConnectResponse(refusal.subarray(4)), { status: 'unavailable' as ConnectStatus })
})

t.test('operations and packets of a newer minor version are told apart from garbage', async (t) => {
  const request = { type: 'closeSession' } as const
  const frame = encodeClientPacket({ type: 'request', requestId: 7, answeredUpTo: 6, request })
  frame[frame.length - 1] = 250
  const newer = { type: 'request', requestId: 7, request: { type: 'unknown', operation: 250 } }
  t.match(decodeClientPacket(frame.subarray(4)), newer)
  t.same(decodeClientPacket(Buffer.from([77, 1, 2])), { type: 'unknown', kind: 77 })
  t.same(decodeServerPacket(Buffer.from([77])), { type: 'unknown', kind: 77 })
})

t.test('a metadata connection is known by its first eight bytes', async (t) => {
  const request = fc.sample(connectRequest, 1)[0]
  if (!request) throw new Error('no sample')
  const frame = encodeConnectRequest(request)
  t.equal(startsMetadataConnection(frame.subarray(0, 8)), true)
  t.equal(startsMetadataConnection(frame.subarray(0, 7)), false)
  t.equal(startsMetadataConnection(Buffer.from('....QRM2')), false)
})

t.test('numbers of errors and statuses are stable, and every one has its code', async (t) => {
  t.same(metadataErrorNumbers, {
    QUIRE_METADATA_UNAVAILABLE: 4,
    QUIRE_UNSUPPORTED: 6,
    QUIRE_BAD_PATH: 8,
    QUIRE_NO_NODE: 101,
    QUIRE_BAD_VERSION: 103,
    QUIRE_NO_CHILDREN_FOR_EPHEMERALS: 108,
    QUIRE_NODE_EXISTS: 110,
    QUIRE_NOT_EMPTY: 111,
    QUIRE_SESSION_EXPIRED: 112,
    QUIRE_BACKPRESSURE: 201,
    QUIRE_FRAME_TOO_LARGE: 202,
    QUIRE_DISK_FULL: 203,
    QUIRE_BAD_OPTION: 204,
  })
  for (const [code, number] of Object.entries(metadataErrorNumbers)) {
    t.ok(code in errorCodes)
    t.equal(metadataErrorCode(number), code)
    t.equal(metadataErrorNumber(code), number)
  }
  t.equal(metadataErrorCode(9999), undefined)
  t.equal(metadataErrorNumber('QUIRE_FSYNC_FAILED'), 4, 'what has no number is unknown')
  const refusals = { version: 1, sessionExpired: 2, instance: 3, unavailable: 4, unauthorized: 5 }
  t.same(connectStatuses, { ok: 0, ...refusals, elsewhere: 6 })
  t.same(goodbyeReasons, { moved: 1, expired: 2, unavailable: 3, protocol: 4 })
})
