// The server against clients that do not behave: raw frames, on a network in memory.

import t from 'tap'
import {
  decodeConnectResponse,
  decodeServerPacket,
  encodeClientPacket,
  encodeConnectRequest,
} from '../../../src/wire/metadata-codec.ts'
import { FrameReader } from '../../../src/wire/frame-reader.ts'
import type {
  ConnectRequest,
  ConnectResponse,
  MetadataRequest,
  ServerPacket,
} from '../../../src/wire/metadata-messages.ts'
import type { Connection } from '../../../src/io/network.ts'
import { SessionTracker } from '../../../src/metadata/server/session-tracker.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { address, openBench, type Bench } from '../../support/metadata-bench.ts'

const newSession: ConnectRequest = {
  version: 0x0100,
  sessionId: 0n,
  password: Buffer.alloc(16),
  timeoutMs: 10_000,
  lastZxid: 0,
  instanceId: '',
}

/** Speaks frames and nothing more. */
class RawClient {
  readonly connection: Connection
  readonly packets: ServerPacket[] = []
  response: ConnectResponse | undefined
  closed = false
  #requestId = 0
  readonly #reader = new FrameReader()

  constructor(connection: Connection) {
    this.connection = connection
    connection.start({
      data: (chunk) =>
        void this.#reader.push(chunk, (bytes, start, end) => {
          const payload = bytes.subarray(start, end)
          if (this.response) this.packets.push(decodeServerPacket(payload))
          else this.response = decodeConnectResponse(payload)
        }),
      drain: () => undefined,
      close: () => void (this.closed = true),
    })
  }

  static async open(bench: Bench, request: ConnectRequest = newSession): Promise<RawClient> {
    const client = new RawClient(await bench.network.connect(address, { timeoutMs: 1_000 }))
    client.connection.write(encodeConnectRequest(request))
    await settle()
    return client
  }

  send(request: MetadataRequest, requestId: number = ++this.#requestId): void {
    this.#requestId = requestId
    const packet = { type: 'request', requestId, answeredUpTo: 0, request } as const
    this.connection.write(encodeClientPacket(packet))
  }

  get answers(): number[] {
    return this.packets.flatMap((packet) => (packet.type === 'answer' ? [packet.requestId] : []))
  }
}

const create = (path: string): MetadataRequest => ({
  type: 'create',
  path,
  data: Buffer.from('x'),
  mode: 'persistent',
  ttlMs: 0,
})
const get = (path: string): MetadataRequest => ({
  type: 'get',
  path,
  watch: false,
  linearizable: false,
})

t.test(
  'the handshake grants, brings the time-out into its range, and refuses with a reason',
  async (t) => {
    const bench = await openBench(t)
    const granted = await RawClient.open(bench, { ...newSession, timeoutMs: 1 })
    t.match(granted.response, { status: 'ok', version: 0x0100, timeoutMs: 1_000 })
    t.equal(granted.response?.password.length, 16)
    t.equal(granted.response?.instanceId, bench.instanceId)
    const cases: [Partial<ConnectRequest>, string][] = [
      [{ version: 0x0200 }, 'version'],
      [{ instanceId: 'another' }, 'instance'],
      [{ lastZxid: 10_000 }, 'unavailable'],
      [{ sessionId: 12_345n }, 'sessionExpired'],
      [{ sessionId: granted.response?.sessionId ?? 0n }, 'sessionExpired'],
    ]
    for (const [change, status] of cases) {
      const refused = await RawClient.open(bench, { ...newSession, ...change })
      t.equal(refused.response?.status, status)
      t.ok(refused.response?.message)
      t.equal(refused.closed, true)
    }
    const newer = await RawClient.open(bench, { ...newSession, version: 0x01ff })
    t.equal(newer.response?.status, 'ok', 'a newer minor version is welcome')
  },
)

t.test('garbage ends its own connection and nobody else notices', async (t) => {
  const bench = await openBench(t)
  const good = await RawClient.open(bench)
  const frame = (payload: Buffer): Buffer => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(payload.length)
    return Buffer.concat([length, payload])
  }
  const greetings = [
    frame(Buffer.concat([Buffer.from('QRM1'), Buffer.from([1, 0, 3])])),
    frame(Buffer.concat([Buffer.from('QRM1'), Buffer.alloc(5_000)])),
    Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff]), Buffer.from('QRM1')]),
    Buffer.concat([Buffer.from([0, 0, 4, 1]), Buffer.from('QRM1')]),
  ]
  for (const bytes of greetings) {
    const bad = new RawClient(await bench.network.connect(address, { timeoutMs: 1_000 }))
    bad.connection.write(bytes)
    await settle()
    t.equal(bad.closed, true)
  }
  const packets = [
    frame(Buffer.from([1, 0, 0])),
    Buffer.from([0xff, 0xff, 0xff, 0xff]),
    frame(Buffer.concat([Buffer.from([1]), Buffer.alloc(16, 1), Buffer.from([1])])),
  ]
  for (const bytes of packets) {
    const bad = await RawClient.open(bench)
    bad.connection.write(bytes)
    await settle()
    t.equal(bad.closed, true)
    t.match(bad.packets.at(-1), { type: 'goodbye', reason: 'protocol' })
  }
  good.send(create('/still-here'))
  await settle()
  t.same(good.answers, [1])
})

t.test('who says nothing, or half a greeting, is let go', async (t) => {
  const bench = await openBench(t)
  const slow = new RawClient(await bench.network.connect(address, { timeoutMs: 1_000 }))
  slow.connection.write(encodeConnectRequest(newSession).subarray(0, 20))
  await bench.time.advance(9_000)
  t.equal(slow.closed, false)
  await bench.time.advance(1_500)
  t.equal(slow.closed, true)
})

t.test(
  'answers come in the order of the requests, an event behind the answer that laid it',
  async (t) => {
    const bench = await openBench(t)
    const client = await RawClient.open(bench)
    client.send(create('/a'))
    client.send({ type: 'get', path: '/a', watch: true, linearizable: true })
    client.send({ type: 'set', path: '/a', data: Buffer.from('y'), version: -1 })
    client.send(get('/a'))
    client.send({ type: 'sync', path: '/' })
    client.connection.write(encodeClientPacket({ type: 'ping', number: 7 }))
    await settle(40)
    const told = client.packets.filter(({ type }) => type !== 'pong')
    t.match(told, [
      { requestId: 1, result: { type: 'create' } },
      { requestId: 2, result: { type: 'get', data: Buffer.from('x') } },
      { type: 'event', watchId: 2, event: 'changed', path: '/a' },
      { requestId: 3, result: { type: 'set' } },
      { requestId: 4, result: { type: 'get', data: Buffer.from('y') } },
      { requestId: 5, result: { type: 'sync' } },
    ])
    t.match(
      client.packets.find(({ type }) => type === 'pong'),
      { number: 7 },
    )
  },
)

t.test('a request sent twice is done once, and its first answer is given again', async (t) => {
  const bench = await openBench(t)
  const client = await RawClient.open(bench)
  client.send(create('/a'), 1)
  await settle(40)
  const granted = client.response
  if (!granted) throw new Error('not connected')
  const { sessionId, password, instanceId } = granted
  const again = await RawClient.open(bench, { ...newSession, sessionId, password, instanceId })
  t.match(again.response, { status: 'ok', sessionId })
  t.match(client.packets.at(-1), { type: 'goodbye', reason: 'moved' })
  again.send(create('/a'), 1)
  again.send(create('/a'), 2)
  await settle(40)
  t.match(again.packets, [
    { requestId: 1, result: { type: 'create', path: '/a' } },
    { requestId: 2, result: { type: 'error', code: 110, path: '/a' } },
  ])
  t.same(
    again.packets.slice(0, 1).map((packet) => packet.type === 'answer' && packet.result),
    client.packets.slice(0, 1).map((packet) => packet.type === 'answer' && packet.result),
  )
})

t.test(
  'operations of a newer version are refused alone; several reads come in one answer',
  async (t) => {
    const bench = await openBench(t)
    const client = await RawClient.open(bench)
    const newer = encodeClientPacket({
      type: 'request',
      requestId: 1,
      answeredUpTo: 0,
      request: { type: 'closeSession' },
    })
    newer[newer.length - 1] = 250
    client.connection.write(newer)
    client.connection.write(Buffer.from([0, 0, 0, 1, 99]))
    client.send(create('/a'), 2)
    client.send({
      type: 'multiRead',
      linearizable: true,
      reads: [
        { type: 'get', path: '/a' },
        { type: 'children', path: '/a' },
        { type: 'get', path: '/nothing' },
      ],
    })
    await settle(40)
    t.match(client.packets, [
      { requestId: 1, result: { type: 'error', code: 6 } },
      { requestId: 2, result: { type: 'create' } },
      {
        requestId: 3,
        result: {
          type: 'multiRead',
          results: [{ type: 'get' }, { type: 'children', names: [] }, { type: 'error', code: 101 }],
        },
      },
    ])
  },
)

t.test('a client that sends without reading, or too much at once, is not read on', async (t) => {
  const bench = await openBench(t, { inFlight: 8, outputBytes: 100_000, running: 2 })
  const setup = await RawClient.open(bench)
  const big = Buffer.alloc(50_000, 7)
  setup.send({ type: 'create', path: '/big', data: big, mode: 'persistent', ttlMs: 0 })
  await settle(40)
  const greedy = await RawClient.open(bench)
  greedy.connection.pause()
  // A hundred requests in one chunk, then one by one.
  greedy.connection.write(
    Buffer.concat(
      Array.from({ length: 100 }, (_, index) => {
        const asked = { requestId: index + 1, answeredUpTo: 0, request: get('/big') }
        return encodeClientPacket({ type: 'request', ...asked })
      }),
    ),
  )
  for (let i = 101; i <= 300; i++) greedy.send(get('/big'), i)
  await settle(800)
  const held = bench.serverEnds().map((end) => end.queuedBytes)
  t.ok(Math.max(...held) < 260_000, `answers held for it are bounded: ${held.join()}`)
  t.ok(greedy.connection.queuedBytes > 0, 'it is pushed back')
  setup.send(get('/big'))
  await settle(40)
  t.equal(setup.answers.length, 2, 'the others are served')
  greedy.connection.resume()
  for (let i = 0; i < 60 && greedy.answers.length < 300; i++) await settle(40)
  t.same(
    greedy.answers,
    Array.from({ length: 300 }, (_, i) => i + 1),
    'and it gets everything once it reads',
  )
})

t.test('watches of a connection are counted, and go with it', async (t) => {
  const bench = await openBench(t, { watches: 2 })
  const client = await RawClient.open(bench)
  const other = await RawClient.open(bench)
  for (let i = 1; i <= 3; i++) {
    client.send({ type: 'exists', path: `/w${i}`, watch: true, linearizable: false })
  }
  await settle(40)
  t.match(client.packets[2], { result: { type: 'error', code: 201 } })
  client.connection.destroy()
  await settle()
  other.send(create('/w1'))
  await settle(40)
  t.same(other.answers, [1])
  t.equal(bench.takenBack, 2)
})

t.test('an event waits for the answer that laid its watch, however late that is', async (t) => {
  const bench = await openBench(t)
  const [client, other] = [await RawClient.open(bench), await RawClient.open(bench)]
  other.send(create('/a'))
  await settle(40)
  const { promise, resolve } = Promise.withResolvers<void>()
  bench.disk.listing = promise
  client.send({ type: 'children', path: '/a', watch: false, linearizable: false })
  client.send({ type: 'get', path: '/a', watch: true, linearizable: false })
  await settle(40)
  other.send({ type: 'set', path: '/a', data: Buffer.from('y'), version: 0 })
  await settle(40)
  t.same(other.answers, [1, 2])
  t.same(client.packets, [], 'the first answer is late, so everything is')
  resolve()
  await settle(40)
  t.match(client.packets, [
    { type: 'answer', requestId: 1 },
    { type: 'answer', requestId: 2, result: { data: Buffer.from('x') } },
    { type: 'event', watchId: 2 },
  ])
})

t.test('a change does not overtake an earlier read of its session', async (t) => {
  const bench = await openBench(t)
  const [client, other] = [await RawClient.open(bench), await RawClient.open(bench)]
  other.send(create('/a'))
  await settle(40)
  const { promise, resolve } = Promise.withResolvers<void>()
  bench.disk.listing = promise
  client.send({ type: 'children', path: '/a', watch: false, linearizable: false })
  client.send(create('/a/b'))
  await settle(40)
  other.send({ type: 'exists', path: '/a/b', watch: false, linearizable: false })
  await settle(40)
  t.match(other.packets.at(-1), { result: { type: 'exists', stat: undefined } })
  resolve()
  await settle(40)
  t.match(client.packets, [{ result: { names: [] } }, { result: { type: 'create' } }])
})

t.test('a loop that stood still reads its sockets before it judges who was silent', async (t) => {
  const time = new ManualTime()
  const expired: bigint[] = []
  const tracker = new SessionTracker({
    clock: time,
    timers: time,
    expired: (id) => expired.push(id),
  })
  tracker.track(1n, 1_000)
  tracker.track(2n, 1_000)
  time.stall(5_000)
  await time.advance(0)
  t.equal(tracker.touch(1n), true)
  await time.advance(100)
  t.same(expired, [2n], 'only who has nothing to say')
  t.equal(tracker.touch(2n), false)
  await time.advance(1_000)
  t.same(expired, [2n, 1n])
  t.equal(time.pending, 0, 'no session, no timer')
})

t.test('any bytes at all behind a greeting leave the server serving', async (t) => {
  const bench = await openBench(t)
  const samples = [create('/f'), get('/f'), { type: 'closeSession' } as const]
  let seed = 12_345
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0
    return (seed >>> 8) % below
  }
  for (let i = 0; i < 60; i++) {
    const client = await RawClient.open(bench)
    const request = samples[random(samples.length)] ?? get('/f')
    const bytes = encodeClientPacket({ type: 'request', requestId: 1, answeredUpTo: 0, request })
    for (let change = 0; change < 3; change++) bytes[random(bytes.length)] = random(256)
    client.connection.write(bytes)
    await settle(4)
    client.connection.destroy()
  }
  const good = await RawClient.open(bench)
  good.send(get('/'))
  await settle(40)
  t.same(good.answers, [1])
})
