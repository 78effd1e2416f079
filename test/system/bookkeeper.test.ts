// Quire's bookies in a BookKeeper cluster: registered in a real ZooKeeper, found and used by
// BookKeeper's own client, and by ours through the same URI.
import { join } from 'node:path'
import t from 'tap'
import { parseMetadataUri, connectPlace } from '../../src/embedded/metadata-place.ts'
import { connect } from '../../src/index.ts'
import { createIo } from '../../src/io/real/index.ts'
import { decodeBookieServiceInfo } from '../../src/wire/bookie-service-info.ts'
import { javaSource, runJava } from '../support/java.ts'
import { startQuire, type QuireProcess } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'
import { freePort, startZooKeeper } from '../support/zookeeper.ts'

const io = createIo()
const dir = t.testdir()
const zooKeeper = await startZooKeeper(join(dir, 'zookeeper'))
const uri = `zk+hierarchical://${zooKeeper.listen}/ledgers`
const bookies: QuireProcess[] = []
const listens: string[] = []
t.teardown(async () => {
  await Promise.all(bookies.map((bookie) => bookie.kill('SIGTERM')))
  await zooKeeper.stop()
})

const bookie = (name: string, ...args: string[]): QuireProcess =>
  startQuire(['--dir', join(dir, name), '--metadata', uri, ...args])

/** What BookKeeper's client says, a line a fact. */
async function javaAt(uri: string, ...args: string[]): Promise<string[]> {
  const said = await runJava([javaSource('Interop.java'), uri, ...args])
  return said.trim().split('\n')
}
const java = (...args: string[]): Promise<string[]> => javaAt(uri, ...args)

const store = connectPlace(parseMetadataUri(uri), { io, logger: quiet, timeoutMs: 5_000 })
t.teardown(() => store.close())

t.test('what is refused', async (t) => {
  const port = await freePort()
  const none = bookie('none', '--listen', `127.0.0.1:${port}`)
  await t.rejects(none.ready, /QUIRE_NO_NODE/)
  t.equal(await none.ended, 1, 'a ZooKeeper without a cluster, unless --init is said')
  const nameless = bookie('none', '--init', '--listen', '127.0.0.1:0')
  await t.rejects(nameless.ready, /cannot be the id of a bookie/)
  t.equal(await nameless.ended, 2)
})

t.test('three bookies join, and are registered as Java registers', async (t) => {
  for (const name of ['a', 'b', 'c']) {
    const listen = `127.0.0.1:${await freePort()}`
    listens.push(listen)
    bookies.push(bookie(name, '--init', '--listen', listen))
  }
  for (const [index, each] of bookies.entries()) t.equal((await each.ready).id, listens[index])
  await using session = await store.session()
  const read = async (path: string): Promise<Buffer> =>
    Buffer.from((await session.get(path, { linearizable: true })).data)
  const layout = '2\norg.apache.bookkeeper.meta.HierarchicalLedgerManagerFactory:1'
  t.equal((await read('/ledgers/LAYOUT')).toString(), layout)
  const instanceId = (await read('/ledgers/INSTANCEID')).toString()
  t.match(instanceId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  const [listen = ''] = listens
  const port = Number(listen.split(':')[1])
  const { endpoints, properties } = decodeBookieServiceInfo(
    await read(`/ledgers/available/${listen}`),
  )
  const endpoint = { id: 'bookie', host: '127.0.0.1', port, protocol: 'bookie-rpc' }
  t.match(endpoints, [{ ...endpoint, auth: [], extensions: [] }])
  t.equal(properties.size, 0)
  const stat = await session.exists(`/ledgers/available/${listen}`)
  t.not(stat?.ephemeralOwner, 0n)
  const cookie = (await read(`/ledgers/cookies/${listen}`)).toString()
  t.equal(
    cookie,
    `5\nbookieHost: "${listen}"\njournalDir: "${dir}/a/journal"\n` +
      `ledgerDirs: "1\\t${dir}/a/ledgers"\ninstanceId: "${instanceId}"\n`,
  )
  const expected = listens.flatMap((each) => [`cookie ${each}`, `writable ${each} at ${each}`])
  t.same(await java('bookies'), expected.sort(), "BookKeeper's tools see them")
})

const password = Buffer.from('secret')
const texts = (from: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${from} ${index}`)

t.test('ledgers of either client are read by the other', async (t) => {
  await using client = await connect(uri, { logger: quiet })
  const [written = ''] = await java('write', '20', '3')
  const reader = await client.ledgers.recover(BigInt(written), { password })
  const found: string[] = []
  for await (const { payload } of reader.read()) found.push(payload.toString())
  t.same(found, texts('java', 20), "what BookKeeper's client wrote to our bookies")

  const writer = await client.ledgers.create({ password, digest: 'crc32c' })
  for (const text of texts('quire', 20)) await writer.append(Buffer.from(text))
  t.same(await java('read', String(writer.ledgerId)), texts('quire', 20), 'an open ledger of ours')
  await t.rejects(writer.append(Buffer.from('late')), 'which that reader has fenced')
  t.match(await writer.ended, { code: 'QUIRE_LEDGER_FENCED' })
  const ids: bigint[] = []
  for await (const id of client.ledgers.list()) ids.push(id)
  t.same(ids, [BigInt(written), writer.ledgerId], 'of one sequence of ids')
})

t.test('logs are kept beside the cluster', async (t) => {
  await using client = await connect(uri, { logger: quiet })
  const log = await client.log('orders')
  const writer = await log.acquire()
  t.equal(await writer.append(Buffer.from('first')), 0)
  await using session = await store.session()
  t.same((await session.children('/quire/logs')).names, ['orders'])
})

t.test('a bookie comes back as itself', async (t) => {
  const [, listen = ''] = listens
  t.equal(await bookies[1]?.kill('SIGKILL'), 'SIGKILL')
  const elsewhere = bookie('b', '--bookie-id', 'other', '--listen', listen)
  await t.rejects(elsewhere.ready, /QUIRE_IDENTITY_MISMATCH/)
  const port = await freePort()
  const again = bookie('b', '--listen', `127.0.0.1:${port}`)
  bookies[1] = again
  t.match(await again.ready, { id: listen, listen: `127.0.0.1:${port}` })
  const lines = await java('bookies')
  t.ok(
    lines.includes(`writable ${listen} at 127.0.0.1:${port}`),
    'under its id, at its new address',
  )
})

t.test('the layout that is there counts', async (t) => {
  const other = (scheme: string): string => `${scheme}://${zooKeeper.listen}/ledgers`
  const wrong = connect(other('zk+longhierarchical'), { logger: quiet })
  await t.rejects(wrong, { code: 'QUIRE_BAD_OPTION', message: /has layout hierarchical/ })
  await using client = await connect(other('zk'), { logger: quiet })
  const ids: bigint[] = []
  for await (const id of client.ledgers.list()) ids.push(id)
  t.ok(ids.length > 0)
  const nowhere = connect(`zk://${zooKeeper.listen}/nowhere`, { logger: quiet })
  await t.rejects(nowhere, { code: 'QUIRE_NO_NODE' })
})

for (const [layout, path] of [
  ['longhierarchical', '/long/ledgers'],
  ['flat', '/flat'],
] as const) {
  t.test(`a cluster that BookKeeper made, in layout ${layout}`, async (t) => {
    const there = `zk+${layout}://${zooKeeper.listen}${path}`
    await using session = await store.session()
    if (path.startsWith('/long')) await session.create('/long', Buffer.alloc(0))
    await javaAt(there, 'init')
    // Ids of more than 32 bits come where this node is.
    if (layout !== 'flat') await session.create(`${path}/idgen-long`, Buffer.alloc(0))
    const listen = `127.0.0.1:${await freePort()}`
    const args = ['--metadata', there, '--listen', listen, '--bookie-id', `only.${layout}`]
    const only = startQuire(['--dir', join(dir, layout), ...args])
    bookies.push(only)
    t.equal((await only.ready).id, `only.${layout}`)
    await using client = await connect(there, { logger: quiet })
    const [written = ''] = await javaAt(there, 'write', '5', '1')
    const writer = await client.ledgers.create({ password, digest: 'crc32c' })
    for (const text of texts('quire', 5)) await writer.append(Buffer.from(text))
    t.ok(layout === 'flat' || BigInt(written) >= 4_294_967_296n, written)
    t.ok(writer.ledgerId > BigInt(written))
    t.same(await javaAt(there, 'read', String(writer.ledgerId)), texts('quire', 5))
    const reader = await client.ledgers.recover(BigInt(written), { password })
    const found: string[] = []
    for await (const { payload } of reader.read()) found.push(payload.toString())
    t.same(found, texts('java', 5))
    const ids: bigint[] = []
    for await (const id of client.ledgers.list()) ids.push(id)
    t.same(ids, [BigInt(written), writer.ledgerId])
    await (await client.log('beside')).acquire()
    t.same((await session.children(`${path}-quire/logs`)).names, ['beside'])
  })
}
