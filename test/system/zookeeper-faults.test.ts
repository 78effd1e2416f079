// What befalls sessions of a real ZooKeeper: the server dies, stands still or forgets them, and the
// way to it falls silent.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { RenewedSession } from '../../src/embedded/renewed-session.ts'
import { QuireError } from '../../src/errors.ts'
import { connect, open } from '../../src/index.ts'
import { createIo } from '../../src/io/real/index.ts'
import type { Address } from '../../src/io/network.ts'
import type { ZooKeeperGreeting, ZooKeepers } from '../../src/io/zookeeper.ts'
import type { MetadataSession, MetadataStore, WatchEvent } from '../../src/metadata/contract.ts'
import { connectZooKeeper } from '../../src/metadata/zookeeper/store.ts'
import { startProxy } from '../support/proxy.ts'
import { quiet } from '../support/quiet.ts'
import { startEnsemble, startZooKeeper } from '../support/zookeeper.ts'

const io = createIo()
const empty = Buffer.alloc(0)
const server = await startZooKeeper(join(t.testdir(), 'zookeeper'), { tickMs: 1_000 })
t.teardown(() => server.stop())

/** `timeoutMs`: short where an expiry is waited for, long where none may come. */
function storeAt(
  t: Test,
  address: Address,
  {
    timeoutMs = 20_000,
    zookeepers = io.zookeepers,
  }: { timeoutMs?: number; zookeepers?: ZooKeepers },
): MetadataStore {
  const parts = { ...io, zookeepers, logger: quiet, addresses: [address], timeoutMs }
  const store = connectZooKeeper(parts)
  t.teardown(() => store.close())
  return store
}

/** Asks until it is so: how long that takes is not the matter. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(50)
}

/** Makes children until told to stop; what became of each. */
function creator(
  session: MetadataSession,
  base: string,
): {
  stop: () => Promise<{ made: string[]; unknown: string[] }>
} {
  const state = { stopped: false }
  const made: string[] = []
  const unknown: string[] = []
  const work = async (): Promise<void> => {
    for (let n = 0; !state.stopped; n++) {
      try {
        await session.create(`${base}/${n}`, empty)
        made.push(String(n))
      } catch (error) {
        if (!QuireError.is(error, 'QUIRE_METADATA_UNAVAILABLE')) throw error
        unknown.push(String(n))
      }
    }
  }
  const working = work()
  return {
    async stop() {
      state.stopped = true
      await working
      return { made, unknown }
    },
  }
}

t.test('a server that is killed and comes back costs no session and no change', async (t) => {
  const session = await storeAt(t, server.address, {}).session()
  await session.create('/killed', empty)
  await session.create('/killed-e', empty, { mode: 'ephemeral' })
  const told: WatchEvent[] = []
  await session.exists('/killed-later', { watch: (event) => told.push(event) })
  const { sessionId } = session
  const { stop } = creator(session, '/killed')
  for (let round = 0; round < 3; round++) {
    await sleep(150)
    await server.kill()
    const waiting = session.get('/killed')
    await server.restart()
    t.ok((await waiting).stat, 'a read waits for the server')
  }
  const { made, unknown } = await stop()
  t.ok(made.length > 0)
  t.comment(`${made.length} made, ${unknown.length} unknown`)
  const { names } = await session.children('/killed', { linearizable: true })
  const missing = made.filter((name) => !names.includes(name))
  t.same(missing, [], 'what was said to be made is there')
  const extra = names.filter((name) => !made.includes(name) && !unknown.includes(name))
  t.same(extra, [], 'and nothing that nobody asked for')
  t.equal(session.sessionId, sessionId)
  t.equal((await session.exists('/killed-e'))?.ephemeralOwner, sessionId)
  await session.create('/killed-later', empty)
  await until(async () => told.length > 0)
  t.same(told, [{ type: 'created', path: '/killed-later' }], 'watches were laid again')
})

t.test('a way that falls silent is left, and the session goes on by another', async (t) => {
  const proxy = await startProxy(server.listen)
  t.teardown(() => proxy.close())
  const [host = '', port = ''] = proxy.listen.split(':')
  const other = await storeAt(t, server.address, {}).session()
  const session = await storeAt(t, { host, port: Number(port) }, { timeoutMs: 9_000 }).session()
  await session.create('/silent-e', empty, { mode: 'ephemeral' })
  const told: string[] = []
  const watch = ({ type, path }: WatchEvent): void => void told.push(`${type} ${path}`)
  await session.exists('/silent-1', { watch })
  await session.get('/silent-e', { watch })
  await session.children('/', { watch })
  proxy.silence()
  const writing = session.create('/silent-2', empty).then(
    () => 'done',
    (error: unknown) => (QuireError.is(error) ? error.code : 'another error'),
  )
  await other.create('/silent-1', empty)
  await other.set('/silent-e', Buffer.from('x'), 0)
  const reading = session.get('/silent-1')
  t.equal(await writing, 'QUIRE_METADATA_UNAVAILABLE', 'the connection was given up')
  proxy.resume()
  t.equal((await reading).stat.version, 0, 'within the session')
  t.same(told.sort(), ['changed /silent-e', 'children /', 'created /silent-1'])
  t.equal((await other.exists('/silent-e'))?.ephemeralOwner, session.sessionId)
})

t.test('a session that the server forgets', async (t) => {
  const greetings: ZooKeeperGreeting[] = []
  const overheard: ZooKeepers = {
    connect: (dial, handler) =>
      io.zookeepers.connect(dial, {
        ...handler,
        opened(greeting) {
          greetings.push(greeting)
          handler.opened(greeting)
        },
        expired: () => handler.expired(),
        event: (event) => handler.event(event),
        closed: (error) => handler.closed(error),
      }),
  }
  const store = storeAt(t, server.address, { zookeepers: overheard })
  const session = await store.session()
  await session.create('/forgotten', empty, { mode: 'ephemeral' })
  const told: WatchEvent[] = []
  await session.get('/', { watch: (event) => told.push(event) })
  const [greeting] = greetings
  if (!greeting) throw new Error('a session has a greeting')
  await endSession(greeting)
  t.equal(await session.ended, 'expired')
  t.same(told, [{ type: 'session', path: '/' }])
  await t.rejects(session.get('/'), { code: 'QUIRE_SESSION_EXPIRED' })
  const next = await store.session()
  t.equal(await next.exists('/forgotten', { linearizable: true }), undefined)

  const renewed = await RenewedSession.open(store, { timeoutMs: 2_000 })
  t.teardown(() => renewed.close())
  const last = greetings.at(-1)
  if (!last) throw new Error('a session has a greeting')
  const before = renewed.sessionId
  await endSession(last)
  await until(async () => (await renewed.exists('/')) !== undefined && renewed.sessionId !== before)
  t.ok(await renewed.create('/renewed', empty), 'the layer above goes on with another one')
})

/** Whoever has its password may end a session: it is taken over, and closed. */
async function endSession({ sessionId, password }: ZooKeeperGreeting): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const dial = { address: server.address, timeoutMs: 2_000, sessionId, password, lastZxid: 0n }
  const connection = io.zookeepers.connect(dial, {
    opened: () => connection.send({ type: 'closeSession' }, () => resolve()),
    expired: resolve,
    event: () => undefined,
    closed: reject,
  })
  await promise
  connection.destroy()
}

t.test('a bookie and its clients outlive a ZooKeeper that stands still', async (t) => {
  const metadata = `zk://${server.listen}/ledgers`
  const options = { metadata, sessionTimeoutMs: 1_000, logger: quiet }
  const node = await open({
    ...options,
    dir: t.testdir(),
    init: true,
    bookieId: 'still',
    threads: 'inline',
    segmentBytes: 1 << 20,
  })
  t.teardown(() => node.close())
  const client = await connect(metadata, { logger: quiet, sessionTimeoutMs: 1_000 })
  t.teardown(() => client.close())
  const writer = await client.ledgers.create({ ensembleSize: 1 })
  await writer.append(Buffer.from('before'))
  const watcher = await storeAt(t, server.address, { timeoutMs: 2_000 }).session()
  const path = '/ledgers/available/still'
  const first = (await watcher.exists(path))?.ephemeralOwner
  server.pause()
  t.equal(await writer.append(Buffer.from('meanwhile')), 1, 'entries need no metadata')
  t.equal(await watcher.ended, 'expired', 'by this end, which hears nothing')
  server.resume()
  const renewed = await RenewedSession.open(storeAt(t, server.address, {}), { timeoutMs: 2_000 })
  t.teardown(() => renewed.close())
  await until(async () => {
    const now = (await renewed.exists(path, { linearizable: true }))?.ephemeralOwner
    return now !== undefined && now !== first
  })
  t.equal(await writer.close(), 1)
  const reader = await client.ledgers.recover(writer.ledgerId)
  const found: string[] = []
  for await (const { payload } of reader.read()) found.push(payload.toString())
  t.same(found, ['before', 'meanwhile'])
})

t.test('a session moves from server to server of an ensemble', async (t) => {
  const servers = await startEnsemble(t.testdir(), 3)
  t.teardown(() => Promise.all(servers.map((each) => each.stop())))
  const addresses = servers.map(({ address }) => address)
  const parts = { ...io, logger: quiet, addresses, timeoutMs: 20_000 }
  const store = connectZooKeeper(parts)
  t.teardown(() => store.close())
  const sessions = await Promise.all([store.session(), store.session(), store.session()])
  const [session, follower, last] = sessions
  const ids = sessions.map(({ sessionId }) => sessionId)
  await session.create('/moved', empty)
  await session.create('/moved-e', empty, { mode: 'ephemeral' })
  const seen = follow(follower, '/moved')
  const { stop } = creator(session, '/moved')
  for (const server of servers) {
    await sleep(200)
    await server.kill()
    t.ok(await last.exists('/moved', { linearizable: true }), 'two of three go on')
    await server.restart()
  }
  const { made, unknown } = await stop()
  t.comment(`${made.length} made, ${unknown.length} unknown`)
  const { names } = await last.children('/moved', { linearizable: true })
  const missing = made.filter((name) => !names.includes(name))
  t.same(missing, [], 'what was said to be made is there')
  await session.create('/moved/end', empty)
  const known = await seen
  const unseen = [...names, 'end'].filter((name) => !known.has(name))
  t.same(unseen, [], 'who watches and reads again has seen all of it')
  t.same(
    sessions.map(({ sessionId }) => sessionId),
    ids,
  )
  t.equal((await last.exists('/moved-e', { linearizable: true }))?.ephemeralOwner, ids[0])
})

/** The children, read anew whenever the watch says so, until one is called `end`. */
async function follow(session: MetadataSession, path: string): Promise<Set<string>> {
  for (;;) {
    const changed = Promise.withResolvers<void>()
    const { names } = await session.children(path, { watch: () => changed.resolve() })
    if (names.includes('end')) return new Set(names)
    await changed.promise
  }
}
