// The supervisor of a ZooKeeper session against servers and connections that fail in every way that
// node-zookeeper-client is known to suffer from (N1 to N11), on a manual clock.
import t, { type Test } from 'tap'
import type { MetadataSession, MetadataStore, WatchEvent } from '../../../src/metadata/contract.ts'
import { connectZooKeeper } from '../../../src/metadata/zookeeper/store.ts'
import { createSimulatedIo, World as SimulatedWorld } from '../../../src/simulation/index.ts'
import { FakeZooKeepers, stat, type FakeConnection } from '../../support/fake-zookeeper.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { random } from '../../support/metadata-bench.ts'
import { quiet } from '../../support/quiet.ts'

const empty = Buffer.alloc(0)
/** As the fake grants it; pings are due after a third of it. */
const timeoutMs = 9_000
const thirdMs = timeoutMs / 3

interface World {
  readonly zookeepers: FakeZooKeepers
  readonly time: ManualTime
  readonly store: MetadataStore
}

function world({ servers = 1 } = {}): World {
  const zookeepers = new FakeZooKeepers()
  const time = new ManualTime()
  const addresses = Array.from({ length: servers }, (_, index) => ({ host: 'zk', port: index + 1 }))
  const parts = { zookeepers, clock: time, timers: time, random, logger: quiet }
  return { zookeepers, time, store: connectZooKeeper({ ...parts, addresses, timeoutMs }) }
}

async function opened(
  t: Test,
  options = {},
): Promise<World & { session: MetadataSession; first: FakeConnection }> {
  const made = world(options)
  const opening = made.store.session()
  const first = made.zookeepers.last
  first.open()
  const session = await opening
  t.teardown(async () => {
    const closing = made.store.close()
    await made.time.advance(5_000)
    await closing
  })
  return { ...made, session, first }
}

const codeOf = async (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: unknown) => String((error as { code?: unknown }).code),
  )

/** Waits out the back-off, and opens what is dialled then. */
async function reconnected({ zookeepers, time }: World): Promise<FakeConnection> {
  const before = zookeepers.dialled.length
  while (zookeepers.dialled.length === before) await time.advance(50)
  zookeepers.last.open()
  return zookeepers.last
}

t.test('a session goes on over connections, with what it has seen', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  t.match(first.dial, { sessionId: 0n, lastZxid: 0n, timeoutMs })
  t.equal(session.sessionId, 7n)
  const reading = session.get('/a')
  first.answer({ zxid: 44n })
  await reading
  first.close()
  const second = await reconnected(all)
  t.match(second.dial, { sessionId: 7n, lastZxid: 44n, password: Buffer.alloc(16, 3) })
})

t.test('N1: a connection that is silent is ended, and its reads are asked again', async (t) => {
  const all = await opened(t)
  const { session, first, time } = all
  const reading = session.get('/a')
  const writing = codeOf(session.set('/a', empty, 0))
  await time.advance(thirdMs - 10)
  t.same(first.waiting, ['get /a', 'set /a'], 'no ping yet')
  await time.advance(20)
  t.same(first.waiting, ['get /a', 'set /a', 'ping'])
  await time.advance(thirdMs - 20)
  t.notOk(first.destroyed)
  await time.advance(30)
  t.ok(first.destroyed)
  t.equal(await writing, 'QUIRE_METADATA_UNAVAILABLE', 'a change may have been made')
  const second = await reconnected(all)
  t.same(second.waiting, ['get /a'], 'and is not made twice')
  second.answer()
  t.equal((await reading).stat.version, 0)
})

t.test('N1: pings that are answered keep it; so do answers, without pings', async (t) => {
  const { session, first, time } = await opened(t)
  for (let n = 0; n < 10; n++) {
    await time.advance(thirdMs + 1)
    t.same(first.waiting, ['ping'])
    first.answer()
  }
  const pings = first.sent.length
  for (let n = 0; n < 10; n++) {
    const reading = session.exists('/a')
    first.answer()
    await reading
    await time.advance(thirdMs - 10)
  }
  t.equal(first.sent.filter(({ type }) => type === 'ping').length, pings)
  t.notOk(first.destroyed)
})

t.test('N2: a server that accepts and says nothing does not keep the others waiting', async (t) => {
  const { store, zookeepers, time } = world({ servers: 2 })
  const opening = store.session()
  const hung = zookeepers.last
  await time.advance(thirdMs + 1)
  t.ok(hung.destroyed)
  await time.advance(100)
  t.equal(zookeepers.dialled.length, 2)
  t.not(zookeepers.last.dial.address.port, hung.dial.address.port)
  zookeepers.last.open()
  const session = await opening
  const closing = session.close()
  zookeepers.last.answer()
  await closing
})

t.test('nobody answers: the session is not given, in time and with a reason', async (t) => {
  const { store, zookeepers, time } = world()
  const opening = codeOf(store.session())
  while (zookeepers.dialled.length < 4) {
    zookeepers.last.close()
    await time.advance(1_000)
  }
  await time.advance(30_000)
  t.equal(await opening, 'QUIRE_METADATA_UNAVAILABLE')
  t.equal(time.pending, 0, 'nothing is left behind')
})

t.test(
  'N4: an expiry ends all calls, each with what is known of it, and all watches',
  async (t) => {
    const all = await opened(t)
    const { session, first } = all
    const told: WatchEvent[] = []
    const watched = session.children('/w', { watch: (event) => told.push(event) })
    first.answer()
    await watched
    const sent = codeOf(session.create('/sent', empty))
    const read = codeOf(session.get('/read'))
    first.close()
    t.equal(await sent, 'QUIRE_METADATA_UNAVAILABLE')
    const queued = codeOf(session.create('/queued', empty))
    await all.time.advance(200)
    all.zookeepers.last.handler.expired()
    t.equal(await session.ended, 'expired')
    t.equal(await queued, 'QUIRE_SESSION_EXPIRED', 'it never left')
    t.equal(await read, 'QUIRE_SESSION_EXPIRED')
    t.same(told, [{ type: 'session', path: '/w' }])
    t.equal(await codeOf(session.get('/later')), 'QUIRE_SESSION_EXPIRED')
    t.equal(all.time.pending, 0)
  },
)

t.test('an outage longer than the time-out ends the session by our own clock', async (t) => {
  const { session, first, time } = await opened(t)
  const state = { ended: '' }
  void session.ended.then((how) => (state.ended = how))
  first.close()
  await time.advance(timeoutMs * 0.95 - 20)
  t.equal(state.ended, '', 'not before')
  await time.advance(40)
  t.equal(state.ended, 'expired')
  t.equal(time.pending, 0)
})

t.test('a process that stood still finds its session expired, and sends nothing', async (t) => {
  const { session, first, time } = await opened(t)
  time.stall(timeoutMs)
  t.equal(await codeOf(session.create('/a', empty)), 'QUIRE_SESSION_EXPIRED')
  t.same(first.sent, [])
})

t.test('N5: a moved session, and errors that nobody knows', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const reading = session.get('/a')
  const writing = codeOf(session.create('/b', empty))
  first.answer({ error: -118 })
  t.ok(first.destroyed)
  t.equal(await writing, 'QUIRE_METADATA_UNAVAILABLE')
  const second = await reconnected(all)
  second.answer()
  t.equal((await reading).stat.version, 0)
  for (const [error, code] of [
    [-127, 'QUIRE_METADATA_UNAVAILABLE'],
    [-9999, 'QUIRE_METADATA_UNAVAILABLE'],
    [-102, 'QUIRE_UNSUPPORTED'],
    [-6, 'QUIRE_UNSUPPORTED'],
    [-101, 'QUIRE_NO_NODE'],
    [-110, 'QUIRE_NODE_EXISTS'],
  ] as const) {
    const creating = codeOf(session.create('/a', empty))
    second.answer({ error })
    t.equal(await creating, code, String(error))
  }
  const last = codeOf(session.create('/a', empty))
  second.answer({ error: -112 })
  t.equal(await last, 'QUIRE_METADATA_UNAVAILABLE')
  t.equal(await session.ended, 'expired')
})

t.test('N6, N8: versions and data are sent as they are', async (t) => {
  const { session, first } = await opened(t)
  const doing = session.multi([
    { type: 'check', path: '/a', version: 0 },
    { type: 'set', path: '/a', data: empty, version: 0 },
    { type: 'delete', path: '/a', version: 0 },
    { type: 'create', path: '/a', data: empty },
  ])
  t.match(first.sent, [
    {
      type: 'multi',
      operations: [
        { type: 'check', version: 0 },
        { type: 'set', version: 0, data: empty },
        { type: 'delete', version: 0 },
        { type: 'create', flags: 0, data: empty },
      ],
    },
  ])
  first.answer()
  await doing
  for (const version of [1.5, -2, 2 ** 31, Number.NaN]) {
    t.equal(await codeOf(session.set('/a', empty, version)), 'QUIRE_BAD_OPTION', String(version))
  }
})

t.test('N9: watches come first on a new connection, then what waited, in its order', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const told: string[] = []
  const watch = ({ type, path }: WatchEvent): void => void told.push(`${type} ${path}`)
  const laid = [
    session.get('/data', { watch }),
    session.exists('/none', { watch }),
    session.children('/list', { watch }),
  ]
  first.answer({ zxid: 10n })
  first.answer({ zxid: 11n, error: -101 })
  first.answer({ zxid: 12n })
  await Promise.all(laid)
  const asked = session.get('/1')
  first.close()
  const more = [session.get('/2', { linearizable: true }), session.create('/3', empty)]
  const second = await reconnected(all)
  t.same(second.sent, [
    { type: 'setWatches', zxid: 12n, data: ['/data'], exist: ['/none'], children: ['/list'] },
    { type: 'get', path: '/1', watch: false },
    { type: 'sync', path: '/2' },
    { type: 'get', path: '/2', watch: false },
    { type: 'create', path: '/3', data: empty, flags: 0 },
  ])
  second.handler.event({ type: 'created', path: '/none' })
  second.handler.event({ type: 'created', path: '/none' })
  second.answerAll()
  await Promise.all([asked, ...more])
  t.same(told, ['created /none'], 'each once')
  second.handler.event({ type: 'children', path: '/list' })
  second.handler.event({ type: 'deleted', path: '/data' })
  t.same(told, ['created /none', 'children /list', 'deleted /data'])
})

t.test('N10: many watches are laid in parts, as of what was seen before the first', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const path = (n: number): string => `/${'long'.repeat(100)}-${n}`
  const reads = Array.from({ length: 700 }, (_, n) => session.get(path(n), { watch: () => {} }))
  for (let n = 0; n < 700; n++) first.answer({ zxid: 20n })
  await Promise.all(reads)
  first.close()
  const second = await reconnected(all)
  t.same(second.waiting, ['setWatches', 'setWatches', 'setWatches'])
  second.answer({ zxid: 30n })
  // It breaks when one part has been laid: events of the others may be lost.
  second.close()
  const third = await reconnected(all)
  t.match(third.dial, { lastZxid: 30n })
  const zxids = third.sent.map((request) => request.type === 'setWatches' && request.zxid)
  t.same(zxids, [20n, 20n, 20n], 'as before')
  third.answer({ zxid: 31n })
  third.answer({ zxid: 32n })
  third.answer({ zxid: 33n })
  third.close()
  const fourth = await reconnected(all)
  t.match(fourth.sent[0], { type: 'setWatches', zxid: 33n })
})

t.test('N10: a watcher that throws harms nobody', async (t) => {
  const { session, first } = await opened(t)
  const told: string[] = []
  const read = [
    session.get('/a', { watch: () => [].at(0) ?? raise() }),
    session.get('/a', { watch: ({ type }) => void told.push(type) }),
  ]
  first.answerAll()
  await Promise.all(read)
  first.handler.event({ type: 'changed', path: '/a' })
  t.same(told, ['changed'])
})

function raise(): never {
  throw new Error('a mistake of the application')
}

t.test('N11: nothing is made again by itself, reads aside', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const writes = [
    session.create('/a', empty, { mode: 'ephemeral-sequential' }),
    session.set('/a', empty, 0),
    session.delete('/a', 0),
    session.multi([{ type: 'check', path: '/a', version: 0 }]),
  ].map(codeOf)
  first.close()
  const unknown = 'QUIRE_METADATA_UNAVAILABLE'
  t.same(await Promise.all(writes), [unknown, unknown, unknown, unknown])
  t.same((await reconnected(all)).sent, [])
})

t.test('a linearizable read that lost its answer syncs anew', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const reading = session.get('/a', { linearizable: true })
  t.same(first.waiting, ['sync /a', 'get /a'])
  first.answer()
  first.close()
  const second = await reconnected(all)
  t.same(second.waiting, ['sync /a', 'get /a'])
  second.answer({ error: -127 })
  second.answer()
  t.equal(await codeOf(reading), 'QUIRE_METADATA_UNAVAILABLE', 'a sync that failed is none')
})

t.test('calls that are given up', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const controller = new AbortController()
  const { signal } = controller
  const calls = [session.get('/a', { signal }), session.create('/b', empty, { signal })].map(codeOf)
  controller.abort()
  t.same(await Promise.all(calls), ['QUIRE_ABORTED', 'QUIRE_ABORTED'])
  first.close()
  const second = await reconnected(all)
  t.same(second.sent, [], 'are not asked again')
})

t.test('too much at once is refused before it is sent', async (t) => {
  const all = await opened(t)
  const { session, first } = all
  const calls = Array.from({ length: 10_001 }, () => codeOf(session.get('/a')))
  t.equal(await calls.at(-1), 'QUIRE_BACKPRESSURE')
  t.equal(first.waiting.length, 128, 'and no more than a server takes is on its way')
  first.answerAll()
  t.same(new Set(await Promise.all(calls.slice(0, -1))), new Set(['done']))
})

t.test('closing', async (t) => {
  const { session, first, time } = await opened(t)
  const writing = codeOf(session.create('/a', empty))
  const closing = session.close()
  t.equal(await writing, 'QUIRE_CLOSED')
  t.same(first.waiting, ['create /a', 'closeSession'])
  // The server never says good-bye.
  await time.advance(2_010)
  await closing
  t.equal(await session.ended, 'closed')
  t.ok(first.destroyed)
  t.equal(time.pending, 0)
})

t.test('a server that goes on with another session is left', async (t) => {
  const all = await opened(t)
  all.first.close()
  while (all.zookeepers.dialled.length === 1) await all.time.advance(50)
  const second = all.zookeepers.last
  second.open({ sessionId: 8n })
  t.ok(second.destroyed)
  t.equal(all.session.sessionId, 7n)
})

t.test('stats that Quire cannot hold, and owners that are none', async (t) => {
  const { session, first } = await opened(t)
  const read = async (changes: object): Promise<bigint | undefined> => {
    const reading = session.exists('/a')
    first.answer({ result: { type: 'exists', stat: { ...stat, ...changes } } })
    return (await reading)?.ephemeralOwner
  }
  t.equal(await read({ ephemeralOwner: 0x8000_0000_0000_0000n }), 0n, 'a container')
  t.equal(await read({ ephemeralOwner: 0xff00_0000_0000_1388n }), 0n, 'a time to live')
  t.equal(await read({ ephemeralOwner: 0xff12_3400_0000_1388n }), 0xff12_3400_0000_1388n)
  t.equal(await codeOf(read({ mzxid: 2n ** 60n })), 'QUIRE_BAD_METADATA')
})

t.test('the simulator has no ZooKeeper, and says so', async (t) => {
  const { zookeepers } = createSimulatedIo(new SimulatedWorld({ seed: 1 }), 'node')
  const time = new ManualTime()
  const parts = { zookeepers, clock: time, timers: time, random, logger: quiet }
  const store = connectZooKeeper({ ...parts, addresses: [{ host: 'zk', port: 2181 }] })
  await t.rejects(store.session(), { code: 'QUIRE_UNSUPPORTED', message: /simulator/ })
  t.throws(() => connectZooKeeper({ ...parts, addresses: [] }), { code: 'QUIRE_BAD_OPTION' })
})

t.test('an answer of the wrong kind says nothing of the change', async (t) => {
  const { session, first } = await opened(t)
  const writing = codeOf(session.set('/a', empty, 0))
  first.answer({ result: { type: 'delete' } })
  t.equal(await writing, 'QUIRE_METADATA_UNAVAILABLE')
  await settle()
})
