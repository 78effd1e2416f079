// The managers: BookKeeper's nodes at BookKeeper's paths, what happens when others change them, and
// what they refuse.
import t, { type Test } from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { createCluster, ensureCluster, readCluster } from '../../../src/metadata/cluster.ts'
import { anyVersion } from '../../../src/metadata/contract.ts'
import type { MetadataSession, MetadataStore } from '../../../src/metadata/contract.ts'
import { createCookieManager } from '../../../src/metadata/cookies.ts'
import { claimIncarnation, readIncarnation } from '../../../src/metadata/incarnations.ts'
import { createLedgerManager } from '../../../src/metadata/ledgers.ts'
import { createLogRecordManager } from '../../../src/metadata/logs.ts'
import { createMemoryMetadata } from '../../../src/metadata/memory/memory-metadata.ts'
import { createRegistrationManager } from '../../../src/metadata/registration.ts'
import {
  decodeBookieServiceInfo,
  encodeBookieServiceInfo,
} from '../../../src/wire/bookie-service-info.ts'
import type { LedgerLayout } from '../../../src/wire/cluster-records.ts'
import { random } from '../../../src/io/real/random.ts'
import { decodeLedgerMetadata } from '../../../src/wire/ledger-metadata-codec.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'
import { ManualTime } from '../../support/manual-time.ts'
import { silent } from '../../support/metadata-bench.ts'

const bytes = (text: string): Buffer => Buffer.from(text)
const empty = bytes('')

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

interface Opened {
  readonly time: ManualTime
  readonly store: MetadataStore
  readonly session: MetadataSession
}

async function open(t: Test): Promise<Opened> {
  const time = new ManualTime()
  const store = createMemoryMetadata({ clock: time, timers: time, random, logger: silent })
  t.teardown(() => store.close())
  return { time, store, session: await store.session() }
}

const fresh: LedgerMetadata = {
  formatVersion: 3,
  state: 'open',
  ensembleSize: 1,
  writeQuorumSize: 1,
  ackQuorumSize: 1,
  fragments: [{ firstEntryId: 0, ensemble: ['a:1'] }],
  lastEntryId: -1,
  lengthBytes: 0,
  digest: 'crc32c',
  password: empty,
  ctimeMs: undefined,
  customMetadata: new Map([['k', bytes('v')]]),
  creatorToken: 0n,
}

async function all(ids: AsyncIterable<bigint>): Promise<bigint[]> {
  const found: bigint[] = []
  for await (const id of ids) found.push(id)
  return found
}

t.test('a ledger from its creation to its end', async (t) => {
  const { session } = await open(t)
  const ledgers = createLedgerManager({ session, random })
  const created = await ledgers.create(12_345n, fresh)
  t.equal(created.version, 0)
  t.ok(created.value.creatorToken > 0n, 'it is known by a token')
  const { data } = await session.get('/ledgers/00/0001/L2345')
  t.same(decodeLedgerMetadata(data), created.value)
  t.same(await ledgers.read(12_345n), created)
  let told = 0
  await ledgers.read(12_345n, { watch: () => told++ })
  const closed = { ...created.value, state: 'closed', lastEntryId: 7, lengthBytes: 70 } as const
  const written = await ledgers.write(12_345n, closed, 0)
  t.equal(written.version, 1)
  t.equal(told, 1)
  t.equal(written.value.creatorToken, 0n, 'an update forgets the token')
  t.same(await ledgers.read(12_345n), written)
  t.equal(await failure(ledgers.write(12_345n, closed, 0)), 'QUIRE_BAD_VERSION')
  t.equal(await failure(ledgers.read(1n)), 'QUIRE_LEDGER_MISSING')
  t.equal(await failure(ledgers.write(1n, closed, 0)), 'QUIRE_LEDGER_MISSING')
  await ledgers.create(12_346n, fresh)
  await ledgers.delete(12_345n)
  await ledgers.delete(12_345n)
  t.same((await session.children('/ledgers/00/0001')).names, ['L2346'])
  await ledgers.delete(12_346n)
  t.same((await session.children('/ledgers')).names, [], 'buckets that became empty go')
  await session.create('/ledgers/00', empty)
  await session.create('/ledgers/00/0000', empty)
  await session.create('/ledgers/00/0000/L0001', bytes('garbage'))
  t.equal(await failure(ledgers.read(1n)), 'QUIRE_BAD_METADATA')
  t.equal(await failure(ledgers.create(-1n, fresh)), 'QUIRE_BAD_METADATA')
  const signal = AbortSignal.abort()
  t.equal(await failure(ledgers.read(1n, { signal })), 'QUIRE_ABORTED')
  t.equal(await failure(ledgers.create(2n, fresh, { signal })), 'QUIRE_ABORTED')
  t.equal(await failure(ledgers.nextId({ signal })), 'QUIRE_ABORTED')
})

t.test('a create that was sent twice is one, that of another is refused', async (t) => {
  const { session } = await open(t)
  const ledgers = createLedgerManager({ session, random })
  const created = await ledgers.create(5n, fresh)
  t.same(await ledgers.create(5n, created.value), created)
  t.equal(await failure(ledgers.create(5n, fresh)), 'QUIRE_NODE_EXISTS', 'another token')
  const old = { ...fresh, formatVersion: 2 } as const
  t.equal(await failure(ledgers.create(5n, old)), 'QUIRE_NODE_EXISTS')
  await ledgers.create(6n, old)
  t.equal(await failure(ledgers.create(6n, old)), 'QUIRE_NODE_EXISTS', 'version 2 has no token')
  await ledgers.write(5n, created.value, 0)
  t.equal(await failure(ledgers.create(5n, created.value)), 'QUIRE_NODE_EXISTS', 'changed since')
  await session.set('/ledgers/00/0000/L0005', bytes('garbage'), anyVersion)
  t.equal(await failure(ledgers.create(5n, created.value)), 'QUIRE_BAD_METADATA', 'cannot tell')
})

/** A session of which some calls are others. */
function over(session: MetadataSession, calls: object): MetadataSession {
  return new Proxy(session, {
    get(target, name) {
      if (name in calls) return Reflect.get(calls, name)
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

t.test('ledgers are listed in order, and a failing read is no end of the list', async (t) => {
  const { session } = await open(t)
  const ids = [0n, 9_999n, 10_000n, 2_147_483_646n, 2_147_483_647n, 4_294_967_307n, 1n << 62n]
  for (const layout of ['hierarchical', 'longhierarchical', 'flat'] as const) {
    const root = `/${layout}`
    await createCluster(session, { root, layout, random })
    const ledgers = createLedgerManager({ session, random, root, layout })
    for (const id of [...ids].reverse()) await ledgers.create(id, fresh)
    await ledgers.nextId()
    t.same(await all(ledgers.list()), ids, layout)
  }
  const failing: MetadataSession = over(session, {
    children: (path: string) =>
      path.endsWith('/21')
        ? Promise.reject(new QuireError('QUIRE_METADATA_UNAVAILABLE', 'cut'))
        : session.children(path),
  })
  const root = '/hierarchical'
  const cut = createLedgerManager({ session: failing, random, root })
  t.equal(await failure(all(cut.list())), 'QUIRE_METADATA_UNAVAILABLE')
  const missing = createLedgerManager({ session, random, root: '/none' })
  t.equal(await failure(all(missing.list())), 'QUIRE_NO_NODE')
  await session.create('/hierarchical/00/0000/stranger', empty)
  const ledgers = createLedgerManager({ session, random, root })
  t.equal(await failure(all(ledgers.list())), 'QUIRE_BAD_METADATA')
  const raced: MetadataSession = over(session, {
    children: (path: string) => session.children(path.endsWith('/0000') ? '/gone' : path),
  })
  const racing = createLedgerManager({ session: raced, random, root })
  t.same((await all(racing.list())).length, ids.length - 4, 'a bucket that is gone is empty')
})

t.test('ids', async (t) => {
  const { session } = await open(t)
  const ids = async (layout: LedgerLayout, root: string) => {
    await createCluster(session, { root, layout, random })
    return createLedgerManager({ session, random, root, layout })
  }
  const short = await ids('hierarchical', '/short')
  t.equal(await short.nextId(), 0n)
  t.same(await Promise.all([short.nextId(), short.nextId()]), [1n, 2n])
  t.same((await session.children('/short/idgen')).names, [], 'their nodes are gone')
  const other = createLedgerManager({ session, random, root: '/short' })
  t.equal(await other.nextId(), 3n)
  const flat = await ids('flat', '/flat')
  t.equal(await flat.nextId(), 3n, 'all that was ever created under the root counts')

  await session.create('/long', empty)
  await session.create('/long/idgen-long', empty)
  const long = createLedgerManager({ session, random, root: '/long' })
  t.equal(await long.nextId(), 4_294_967_296n)
  t.equal(await long.nextId(), 4_294_967_297n)
  t.same((await session.children('/long/idgen-long')).names, ['HOB-0000000001'])
})

/** A session whose next sequential names have the numbers given. */
function numbering(session: MetadataSession, numbers: number[]): MetadataSession {
  return over(session, {
    create: async (path: string, data: Uint8Array, options: object) => {
      const number = path.endsWith('/ID-') ? numbers.shift() : undefined
      if (number === undefined) return session.create(path, data, options)
      await session.get(path.slice(0, path.lastIndexOf('/')))
      return { path: `${path}${String(number).padStart(10, '0')}` }
    },
  })
}

t.test('ids that come to their end go on in longer ones', async (t) => {
  const { session } = await open(t)
  await session.create('/ledgers', empty)
  await session.create('/ledgers/idgen', empty)
  const numbers = [2_147_483_646, 2_147_483_647, 0, 2_147_483_647]
  const ledgers = createLedgerManager({ session: numbering(session, numbers), random })
  t.equal(await ledgers.nextId(), 2_147_483_646n)
  t.equal(await ledgers.nextId(), 4_294_967_296n)
  t.equal(await ledgers.nextId(), 2n << 32n, 'and those in the next directory')
  for (const name of ['HOB-0000000003', 'HOB-0000000004', 'HOB-0000000005']) {
    await session.create(`/ledgers/idgen-long/${name}`, empty)
  }
  const again = createLedgerManager({ session, random })
  t.equal(await again.nextId(), 5n << 32n)
  t.same(
    (await session.children('/ledgers/idgen-long')).names,
    ['HOB-0000000003', 'HOB-0000000004', 'HOB-0000000005'],
    'three stay',
  )
  const root = '/flat'
  await session.create(root, empty)
  const flat = createLedgerManager({
    session: numbering(session, [2_147_483_647]),
    random,
    root,
    layout: 'flat',
  })
  t.equal(await failure(flat.nextId()), 'QUIRE_UNSUPPORTED')
})

t.test('bookies register, change and go', async (t) => {
  const { store, session, time } = await open(t)
  const registration = createRegistrationManager({ session, timers: time })
  let told = 0
  const watch = (): void => void told++
  t.same(await registration.writable({ watch }), [], 'before there is a cluster')
  await ensureCluster(session, { random })
  t.equal(told, 1)
  t.same(await registration.writable({ watch }), [])
  const endpoint = { bookieId: 'b', host: '10.0.0.1', port: 3181 }
  await registration.register(endpoint, 'writable')
  t.equal(told, 2)
  t.same(await registration.writable({ watch }), ['b'], 'the directory of the others is none')
  const { data, stat } = await session.get('/ledgers/available/b')
  t.equal(stat.ephemeralOwner, session.sessionId)
  t.match(decodeBookieServiceInfo(data).endpoints, [{ protocol: 'bookie-rpc', port: 3181 }])
  await registration.register(endpoint, 'writable')
  t.same(await registration.resolve('b'), endpoint)
  t.equal(await registration.resolve('nobody'), undefined)
  await registration.register(endpoint, 'read-only')
  t.equal(told, 3)
  t.same([await registration.writable(), await registration.readOnly()], [[], ['b']])
  t.same(await registration.resolve('b'), endpoint)
  await registration.register(endpoint, 'writable')
  t.same([await registration.writable(), await registration.readOnly()], [['b'], []])
  t.equal(
    await failure(registration.register({ ...endpoint, bookieId: 'a/b' }, 'writable')),
    'QUIRE_BAD_OPTION',
  )

  await session.create('/ledgers/available/c d', empty)
  await session.create('/ledgers/available/old:3181', empty)
  t.same(await registration.writable(), ['b', 'old:3181'], 'a bad name hides nobody')
  t.same(await registration.resolve('old:3181'), { bookieId: 'old:3181', host: 'old', port: 3181 })
  const none = encodeBookieServiceInfo({ endpoints: [], properties: new Map([['a', 'b']]) })
  await session.set('/ledgers/available/old:3181', none, anyVersion)
  t.equal(await failure(registration.resolve('old:3181')), 'QUIRE_BAD_METADATA')
  await registration.unregister('b')
  await registration.unregister('b')
  t.same(await registration.writable(), ['old:3181'])
  const other = await store.session()
  t.not(other.sessionId, session.sessionId)
})

t.test("an older session's registration is waited for, or taken over", async (t) => {
  const { store, session, time } = await open(t)
  await ensureCluster(session, { random })
  const endpoint = { bookieId: 'b', host: 'h', port: 1 }
  const old = await store.session()
  await createRegistrationManager({ session: old, timers: time }).register(endpoint, 'writable')

  const waiting = createRegistrationManager({ session, timers: time, waitMs: 5_000 })
  const tooLong = failure(waiting.register(endpoint, 'writable'))
  await time.advance(5_000)
  t.equal(await tooLong, 'QUIRE_TIMEOUT')
  const controller = new AbortController()
  const given = failure(waiting.register(endpoint, 'writable', { signal: controller.signal }))
  await time.advance(1_000)
  controller.abort()
  t.equal(await given, 'QUIRE_ABORTED')
  const moved = { ...endpoint, port: 2 }
  const registering = waiting.register(moved, 'writable')
  await time.advance(1_000)
  await old.close()
  await registering
  t.same(await waiting.resolve('b'), moved)

  const last = await store.session()
  const taking = createRegistrationManager({ session: last, timers: time, takeOver: true })
  await taking.register(endpoint, 'writable')
  t.same(await taking.resolve('b'), endpoint, 'at once')
  await session.close()
  t.same(await taking.writable(), ['b'], 'what was taken over does not end with the old session')
})

t.test('cookies', async (t) => {
  const { session } = await open(t)
  const cookies = createCookieManager(session)
  t.same(await cookies.list(), [])
  t.equal(await cookies.read('a:1'), undefined)
  const cookie = {
    bookieId: 'a:1',
    journalDirectories: '/j',
    ledgerDirectories: '1\t/l',
    instanceId: undefined,
    indexDirectories: undefined,
  }
  await cookies.create('a:1', cookie)
  t.equal(await failure(cookies.create('a:1', cookie)), 'QUIRE_NODE_EXISTS')
  t.same(await cookies.read('a:1'), { value: cookie, version: 0 })
  const more = { ...cookie, ledgerDirectories: '2\t/l\t/m' }
  t.equal((await cookies.write('a:1', { value: more, version: 0 })).version, 1)
  t.equal(await failure(cookies.write('a:1', { value: more, version: 0 })), 'QUIRE_BAD_VERSION')
  t.same(await cookies.list(), ['a:1'])
  t.equal(await failure(cookies.delete('a:1', 0)), 'QUIRE_BAD_VERSION')
  await cookies.delete('a:1', 1)
  t.equal(await failure(cookies.delete('a:1', 1)), 'QUIRE_NO_NODE')
})

t.test('a cluster is made once, by whoever comes first', async (t) => {
  const { store, session } = await open(t)
  t.equal(await readCluster(session), undefined)
  const sessions = await Promise.all(Array.from({ length: 4 }, () => store.session()))
  const made = await Promise.all(sessions.map((each) => ensureCluster(each, { random })))
  t.equal(new Set(made.map(({ instanceId }) => instanceId)).size, 1)
  t.same(await readCluster(session), made[0])
  t.equal(made[0]?.layout, 'hierarchical')
  t.same((await session.children('/ledgers')).names, ['INSTANCEID', 'LAYOUT', 'available'])
  t.same((await session.children('/ledgers/available')).names, ['readonly'])
  t.equal(await failure(createCluster(session, { random })), 'QUIRE_NODE_EXISTS')
  const deep = await createCluster(session, { root: '/prod/bk/ledgers', layout: 'flat', random })
  t.same(await readCluster(session, { root: '/prod/bk/ledgers' }), deep)

  await session.delete('/ledgers/LAYOUT', anyVersion)
  await session.delete('/ledgers/INSTANCEID', anyVersion)
  t.same(
    await ensureCluster(session, { layout: 'longhierarchical', random }),
    { root: '/ledgers', layout: 'longhierarchical', instanceId: undefined },
    'a root of others without LAYOUT is given one',
  )
  const unknown = bytes('2\norg.apache.bookkeeper.meta.MSLedgerManagerFactory:1')
  await session.set('/ledgers/LAYOUT', unknown, anyVersion)
  t.equal(await failure(ensureCluster(session, { random })), 'QUIRE_BAD_METADATA')
})

t.test('incarnations only go up', async (t) => {
  const { session } = await open(t)
  t.equal(await readIncarnation(session, 'b'), undefined)
  await claimIncarnation(session, { bookieId: 'b', incarnation: 3 })
  await claimIncarnation(session, { bookieId: 'b', incarnation: 3 })
  await claimIncarnation(session, { bookieId: 'b', incarnation: 5 })
  t.equal(await readIncarnation(session, 'b'), 5)
  const stale = claimIncarnation(session, { bookieId: 'b', incarnation: 4 })
  t.equal(await failure(stale), 'QUIRE_STALE_DISK')
  t.equal(await readIncarnation(session, 'b'), 5)
  const both = [6, 7].map((incarnation) =>
    failure(claimIncarnation(session, { bookieId: 'b', incarnation })),
  )
  t.ok((await Promise.all(both)).includes('no error'))
  t.equal(await readIncarnation(session, 'b'), 7, 'the higher one stays, whatever the order')
  t.ok(await session.exists('/quire/incarnations/b'), 'outside the root of BookKeeper')
  await session.set('/quire/incarnations/b', bytes('x'), anyVersion)
  t.equal(await failure(readIncarnation(session, 'b')), 'QUIRE_BAD_METADATA')
})

t.test('records of logs', async (t) => {
  const { session } = await open(t)
  const logs = createLogRecordManager(session)
  let told = 0
  const watch = (): void => void told++
  t.same(await logs.list({ watch }), [])
  t.equal(await logs.read('a', { watch }), undefined)
  t.equal((await logs.create('a', bytes('one'))).version, 0)
  t.equal(told, 2, 'both watches: of the list, and of the record')
  t.equal(await failure(logs.create('a', bytes('x'))), 'QUIRE_NODE_EXISTS')
  t.match(await logs.read('a', { watch }), { version: 0, value: bytes('one') })
  t.equal((await logs.write('a', bytes('two'), 0)).version, 1)
  t.equal(told, 3)
  t.equal(await failure(logs.write('a', bytes('x'), 0)), 'QUIRE_BAD_VERSION')
  t.ok(await session.exists('/quire/logs/a'))
  const names = ['..', '.', 'a', 'b/c', 'ä ö', '%2E', '\u{1f600}']
  for (const name of names.filter((each) => each !== 'a')) await logs.create(name, bytes(name))
  t.same(await logs.list(), [...names].sort(), 'any name')
  for (const name of names.slice(3)) {
    t.equal(Buffer.from((await logs.read(name))?.value ?? empty).toString(), name)
  }
  for (const name of ['', '\ud800']) t.equal(await failure(logs.read(name)), 'QUIRE_BAD_PATH')
  await logs.delete('a', 1)
  t.equal(await failure(logs.delete('a', 1)), 'QUIRE_NO_NODE')
  t.equal(await logs.read('a'), undefined)
})
