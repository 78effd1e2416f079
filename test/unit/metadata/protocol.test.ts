// The client and the server of the metadata protocol together, over a network in memory and on a
// clock that the test moves.

import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { MetadataSession, MetadataStore, WatchEvent } from '../../../src/metadata/contract.ts'
import { settle } from '../../support/manual-time.ts'
import { recordingLogger } from '../../support/bookie-requests.ts'
import { address, openBench, type Bench } from '../../support/metadata-bench.ts'

const data = (text: string): Buffer => Buffer.from(text)
const textOf = async (session: MetadataSession, path: string): Promise<string> =>
  Buffer.from((await session.get(path)).data).toString()

/** Resolves to the code an operation fails with. */
const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'no error',
    (error: unknown) => (QuireError.is(error) ? error.code : String(error)),
  )

/** Whether a promise has settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false
  const note = (): void => void (done = true)
  void promise.then(note, note)
  await settle()
  return done
}

async function two(bench: Bench): Promise<[MetadataSession, MetadataSession]> {
  const store: MetadataStore = bench.store()
  return [await store.session(), await store.session()]
}

t.test('every operation of the contract crosses the network', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  const made = await session.create('/a', data('one'))
  t.equal(made.path, '/a')
  t.match(await session.get('/a'), { data: data('one'), stat: made.stat })
  t.equal((await session.set('/a', data('two'), 0)).version, 1)
  t.equal(await codeOf(session.set('/a', data('x'), 0)), 'QUIRE_BAD_VERSION')
  const { path } = await session.create('/a/n-', data(''), { mode: 'ephemeral-sequential' })
  t.equal(path, '/a/n-0000000000')
  t.equal((await session.exists(path))?.ephemeralOwner, session.sessionId)
  t.same((await session.children('/a')).names, ['n-0000000000'])
  t.equal(await session.exists('/nothing'), undefined)
  t.equal(await codeOf(session.delete('/a', -1)), 'QUIRE_NOT_EMPTY')
  const results = await session.multi([
    { type: 'check', path: '/a', version: 1 },
    { type: 'create', path: '/b', data: data('b') },
    { type: 'set', path: '/b', data: data('c'), version: 0 },
    { type: 'delete', path, version: -1 },
  ])
  t.same(
    results.map(({ type }) => type),
    ['check', 'create', 'set', 'delete'],
  )
  t.equal(await textOf(session, '/b'), 'c')
})

t.test('errors arrive with their code, path and index', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  await t.rejects(session.get('/nothing'), { code: 'QUIRE_NO_NODE', facts: { path: '/nothing' } })
  const multi = session.multi([
    { type: 'create', path: '/a', data: data('') },
    { type: 'delete', path: '/nothing', version: -1 },
  ])
  await t.rejects(multi, { code: 'QUIRE_NO_NODE', facts: { index: 1 } })
  t.equal(await session.exists('/a'), undefined, 'all or nothing')
  t.equal(await codeOf(session.create('no-slash', data(''))), 'QUIRE_BAD_PATH')
  const large = Buffer.alloc(2 * 1024 * 1024)
  t.equal(await codeOf(session.create('/large', large)), 'QUIRE_FRAME_TOO_LARGE')
})

t.test('a buffer may be changed once the call has returned', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  const bytes = data('before')
  bench.network.breakAll()
  await settle()
  const made = session.create('/a', bytes)
  bytes.fill(0)
  await bench.time.advance(1_000)
  await made
  t.equal(await textOf(session, '/a'), 'before')
})

t.test('an answer lost at any point: one effect, the right answer', async (t) => {
  for (const lost of ['request', 'answer'] as const) {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/n', data('0'))
    const calls = [
      () => session.create('/n/s-', data(''), { mode: 'persistent-sequential' }),
      () => session.set('/n', data('1'), 0),
      () => session.multi([{ type: 'create', path: '/m', data: data('m') }]),
      () => session.delete('/m', 0),
    ]
    const results: unknown[] = []
    for (const call of calls) {
      let armed = true
      bench.network.tap = (end) => {
        if (!armed || end.side !== (lost === 'request' ? 'client' : 'server')) return 'pass'
        armed = false
        return 'break'
      }
      const result = call()
      await bench.time.advance(500)
      results.push(await result)
      t.equal(armed, false, `the ${lost} was lost`)
    }
    t.match(results, [{ path: '/n/s-0000000000' }, { version: 1 }, [{ path: '/m' }], undefined])
    t.same((await other.children('/n')).names, ['s-0000000000'])
    t.equal((await other.get('/n')).stat.version, 1)
    t.equal(await other.exists('/m'), undefined)
  }
})

t.test(
  'many calls in flight when the connection breaks keep their order, each with one effect',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/q', data(''))
    let writes = 0
    bench.network.tap = () => (++writes % 97 === 0 ? 'break' : 'pass')
    const calls = Array.from({ length: 300 }, () =>
      session.create('/q/s-', data(''), { mode: 'persistent-sequential' }),
    )
    for (let i = 0; i < 80 && !(await settled(Promise.all(calls))); i++)
      await bench.time.advance(200)
    bench.network.tap = () => 'pass'
    const paths = (await Promise.all(calls)).map(({ path }) => path)
    t.same(paths, [...paths].sort(), 'in the order of the calls')
    t.equal(new Set(paths).size, 300)
    await bench.time.advance(1_000)
    t.equal((await other.children('/q')).names.length, 300, 'none was done twice')
  },
)

t.test('a session lives through a lost connection and keeps its ephemerals', async (t) => {
  const bench = await openBench(t)
  const [session, other] = await two(bench)
  await session.create('/e', data(''), { mode: 'ephemeral' })
  bench.network.breakAll()
  const waiting = session.get('/e')
  t.equal(await settled(waiting), false, 'a call made meanwhile waits')
  await bench.time.advance(1_000)
  t.equal((await waiting).stat.ephemeralOwner, session.sessionId)
  await bench.time.advance(60_000)
  t.ok(await other.exists('/e'), 'heartbeats keep it alive')
})

t.test(
  'a session is lost on the own clock before the server expires it, and ephemerals go then',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/e', data(''), { mode: 'ephemeral' })
    const events: WatchEvent[] = []
    await session.get('/e', { watch: (event) => events.push(event) })
    bench.cut(session)
    const never = session.set('/e', data('x'), 0)
    const sentRead = codeOf(session.get('/e'))
    const outcome = codeOf(never)
    await bench.time.advance(9_400)
    t.equal(await settled(session.ended), false)
    t.ok(await other.exists('/e'), 'not early')
    await bench.time.advance(500)
    t.equal(await session.ended, 'expired')
    t.same(events, [{ type: 'session', path: '/e' }])
    t.equal(await outcome, 'QUIRE_METADATA_UNAVAILABLE', 'a sent change is unknown')
    t.equal(await sentRead, 'QUIRE_SESSION_EXPIRED')
    t.equal(await codeOf(session.get('/e')), 'QUIRE_SESSION_EXPIRED')
    t.ok(await other.exists('/e'), 'the server waits its whole time')
    await bench.time.advance(1_000)
    t.equal(await other.exists('/e'), undefined)
  },
)

t.test('what was never sent ends as not done', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  bench.network.unreachable = true
  bench.network.breakAll()
  await settle()
  const unsent = codeOf(session.create('/a', data('')))
  await bench.time.advance(10_000)
  t.equal(await unsent, 'QUIRE_SESSION_EXPIRED')
})

t.test('a server that expired the session says so at the next connection', async (t) => {
  const bench = await openBench(t)
  const [session, other] = await two(bench)
  await session.create('/e', data(''), { mode: 'ephemeral' })
  await bench.expire(session.sessionId)
  await bench.time.advance(100)
  t.equal(await session.ended, 'expired')
  t.equal(await other.exists('/e'), undefined)
})

t.test(
  'changes while nobody was connected fire the watches on reconnect, and only those',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    for (const path of ['/data', '/gone', '/kids', '/same', '/kids-same']) {
      await session.create(path, data(''))
    }
    const events: string[] = []
    const note = ({ type, path }: WatchEvent): void => void events.push(`${type} ${path}`)
    await session.get('/data', { watch: note })
    await session.exists('/gone', { watch: note })
    await session.exists('/born', { watch: note })
    await session.children('/kids', { watch: note })
    await session.get('/same', { watch: note })
    await session.children('/kids-same', { watch: note })
    await session.exists('/never', { watch: note })
    bench.network.unreachable = true
    bench.end(session)
    await settle()
    await other.set('/data', data('x'), 0)
    await other.delete('/gone', -1)
    await other.create('/born', data(''))
    await other.create('/kids/one', data(''))
    t.same(events, [], 'nobody is there to hear it')
    const seen = session.get('/data').then((read) => ({ read, told: events.length }))
    bench.network.unreachable = false
    await bench.time.advance(5_000)
    t.same([...events].sort(), [
      'changed /data',
      'children /kids',
      'created /born',
      'deleted /gone',
    ])
    t.equal((await seen).told, 4, 'before a read shows the new value')
    await other.set('/same', data('x'), 0)
    await other.create('/never', data(''))
    await settle()
    t.same(
      events.slice(4).sort(),
      ['changed /same', 'created /never'],
      'the others were laid again',
    )
    await other.set('/data', data('y'), 1)
    await settle()
    t.equal(events.length, 6, 'each once')
  },
)

t.test('a watch tells one change, before the answer that shows it', async (t) => {
  const bench = await openBench(t)
  const [session, other] = await two(bench)
  await session.create('/a', data('0'))
  const log: string[] = []
  await session.get('/a', { watch: ({ type }) => void log.push(type) })
  await other.set('/a', data('1'), 0)
  await session.get('/a').then(({ data: bytes }) => log.push(Buffer.from(bytes).toString()))
  await other.set('/a', data('2'), 1)
  await settle()
  t.same(log, ['changed', '1'])
  log.length = 0
  const throwing = (): never => {
    throw new Error('a mistake of the watcher')
  }
  await session.get('/a', { watch: throwing })
  await other.set('/a', data('3'), 2)
  t.equal(await textOf(session, '/a'), '3', 'a watcher that throws hurts nobody')
})

t.test('a session presented on a second connection moves there', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  await session.create('/e', data(''), { mode: 'ephemeral' })
  const thief = await bench.resume(session, { password: Buffer.alloc(16) })
  t.equal(thief.status, 'sessionExpired', 'not without its password')
  bench.freeze(session)
  await bench.time.advance(7_000)
  t.equal(bench.connectionsOf(session), 1, 'the client has come again on a new one')
  t.ok(await session.exists('/e'))
})

t.test('calls end when their signal aborts, and the session goes on', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  bench.network.breakAll()
  const abort = new AbortController()
  const waiting = codeOf(session.create('/a', data(''), { signal: abort.signal }))
  abort.abort()
  t.equal(await waiting, 'QUIRE_ABORTED')
  t.equal(await codeOf(session.get('/', { signal: abort.signal })), 'QUIRE_ABORTED')
  await bench.time.advance(1_000)
  t.equal(await session.exists('/a'), undefined, 'what was not sent is not sent later')
})

t.test(
  'close ends the session, its ephemerals and every pending call, and leaves nothing behind',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/e', data(''), { mode: 'ephemeral' })
    const pending = codeOf(session.get('/e'))
    await session.close()
    t.equal(await pending, 'QUIRE_CLOSED')
    t.equal(await session.ended, 'closed')
    t.equal(await codeOf(session.get('/e')), 'QUIRE_CLOSED')
    t.equal(await other.exists('/e'), undefined)
    await bench.close()
    await settle()
    t.equal(bench.time.pending, 0, 'no timer')
    t.equal(bench.network.open.size, 0, 'no connection')
  },
)

t.test('closing while nobody can be reached ends at once', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  bench.network.unreachable = true
  bench.network.breakAll()
  await settle()
  await session.close()
  t.equal(await session.ended, 'closed')
})

t.test(
  'opening a session: no server, a signal, a server that comes later, another address',
  async (t) => {
    const bench = await openBench(t)
    const { logger, lines } = recordingLogger()
    const nowhere = bench.store({
      addresses: [{ host: 'nowhere', port: 1 }],
      connectTimeoutMs: 3_000,
      logger,
    })
    const failed = codeOf(nowhere.session())
    await bench.time.advance(1_500)
    const told = lines.filter(({ level }) => level === 'warn')
    t.match(told, [{ message: /cannot be reached/ }], 'who waits says for what, once')
    await bench.time.advance(2_000)
    t.equal(await failed, 'QUIRE_METADATA_UNAVAILABLE')
    const abort = new AbortController()
    const aborted = codeOf(nowhere.session({ signal: abort.signal }))
    abort.abort()
    t.equal(await aborted, 'QUIRE_ABORTED')
    const several = bench.store({ addresses: [{ host: 'nowhere', port: 1 }, address] })
    const found = several.session()
    await bench.time.advance(1_000)
    t.equal((await (await found).children('/')).names.includes('zookeeper'), false)
    t.equal(await codeOf(nowhere.close().then(() => nowhere.session())), 'QUIRE_CLOSED')
  },
)

t.test(
  'a server that starts again on what was durable keeps sessions, with their whole time',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/e', data(''), { mode: 'ephemeral' })
    await bench.time.advance(3_000)
    const calls = Array.from({ length: 60 }, () =>
      other.create('/during-', data(''), { mode: 'persistent-sequential' }),
    )
    await settle(5)
    await bench.restart()
    await bench.time.advance(2_000)
    t.ok(await session.exists('/e'))
    const paths = (await Promise.all(calls)).map(({ path }) => path)
    t.same(paths, [...paths].sort(), 'in the order of the calls')
    const names = (await session.children('/')).names.filter((name) => name.startsWith('during'))
    t.same(
      names.map((name) => `/${name}`),
      paths,
      'what was committed before the end was not done again after the start',
    )
  },
)

t.test('a command that changed nothing does not make the next start look behind', async (t) => {
  const bench = await openBench(t)
  const [session] = await two(bench)
  await bench.tree.endSession(999n, 'expired')
  t.equal(await session.exists('/nothing'), undefined)
  await bench.restart()
  const resumed = session.exists('/nothing')
  await bench.time.advance(2_000)
  t.equal(await settled(resumed), true)
})

t.test(
  'an ephemeral of a client that never returns goes its whole time after the restart',
  async (t) => {
    const bench = await openBench(t)
    const [session, other] = await two(bench)
    await session.create('/e', data(''), { mode: 'ephemeral' })
    bench.freeze(session)
    const closing = session.close()
    await bench.time.advance(5_000)
    await closing
    await bench.restart()
    await bench.time.advance(9_000)
    t.ok(await other.exists('/e'), 'fourteen seconds of silence, nine of them since the start')
    await bench.time.advance(2_000)
    t.equal(await other.exists('/e'), undefined)
  },
)
