// The rows of the metadata tree in SQLite: what opening refuses, what a commit keeps, and that a
// failed one is the last.
import { copyFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { openSqlite } from '../../../src/io/real/sqlite.ts'
import { run } from '../../../src/io/real/tree-thread.ts'
import type { TreeReply } from '../../../src/io/real/tree-thread.ts'
import type { TreeBatch, TreeRow } from '../../../src/io/tree-store.ts'

const { trees } = createIo()

const row = (path: string, more: Partial<TreeRow> = {}): TreeRow => ({
  path,
  data: Buffer.from(path),
  czxid: 1,
  mzxid: 2,
  pzxid: 3,
  ctimeMs: 1_700_000_000_000,
  mtimeMs: 1_700_000_000_001,
  version: -5,
  cversion: 6,
  sequence: -2_147_483_648,
  childCount: 0,
  owner: 0n,
  kind: 'persistent',
  ttlMs: 0,
  ...more,
})

const batch = (change: Partial<TreeBatch>): TreeBatch => ({
  put: [],
  remove: [],
  facts: new Map(),
  ...change,
})

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

t.test('rows and facts come back as they were, also after a restart', async (t) => {
  const path = join(t.testdir(), 'tree')
  const store = await trees.open(path)
  const owner = (1n << 63n) - 1n
  const rows = [
    row('/'),
    row('/a', { data: Buffer.alloc(0), czxid: Number.MAX_SAFE_INTEGER }),
    row('/a/b', { owner, kind: 'ephemeral' }),
    row('/a/ä', { kind: 'ttl', ttlMs: 1_099_511_627_775 }),
    row('/c', { kind: 'container' }),
  ]
  const pooled = Buffer.from('a view of a larger buffer').subarray(2, 6)
  const facts = new Map([
    ['a/1', Buffer.from([1])],
    ['a/2', pooled],
    ['b', Buffer.alloc(0)],
  ])
  await store.commit(batch({ put: rows, facts }))
  const check = async (from: typeof store): Promise<void> => {
    const got = await from.get(['/a/b', '/none', ...rows.map(({ path }) => path)])
    t.same(got[0], rows[2])
    t.equal(got[1], undefined)
    t.same(got.slice(2), rows)
    t.same(await from.children('/'), ['a', 'c'])
    t.same(await from.children('/a'), ['b', 'ä'])
    t.same(await from.children('/c'), [])
    t.same(await from.ownedBy(owner), ['/a/b'])
    t.same(await from.ownedBy(0n), [], 'nobody owns what is persistent')
    t.same(await from.expirable(), ['/a/ä', '/c'])
    t.same(
      [...(await from.facts('a/'))].map(([name, value]) => [name, Buffer.from(value).toString()]),
      [
        ['a/1', '\u0001'],
        ['a/2', 'view'],
      ],
    )
    t.equal((await from.facts('')).size, 3)
  }
  await check(store)
  await store.close()
  const again = await trees.open(path)
  await check(again)
  const removal = batch({ remove: ['/a/b', '/none'], facts: new Map([['a/1', undefined]]) })
  await again.commit(removal)
  t.same(await again.children('/a'), ['ä'])
  t.same([...(await again.facts('a/')).keys()], ['a/2'])
  await again.close()
})

t.test('what cannot be opened says why', async (t) => {
  const directory = t.testdir()
  t.equal(await failure(trees.open(join(directory, 'none', 'tree'))), 'QUIRE_DIRECTORY_MISSING')
  const garbage = join(directory, 'garbage')
  writeFileSync(
    garbage,
    'this is no database, and it is long enough to be told from one'.repeat(99),
  )
  t.equal(await failure(trees.open(garbage)), 'QUIRE_IO')
  const newer = join(directory, 'newer')
  const database = openSqlite(newer)
  database.pragma('user_version = 3')
  database.close()
  t.equal(await failure(trees.open(newer)), 'QUIRE_UNSUPPORTED')
})

t.test('what a killed process left in the log is in the file before it is served', async (t) => {
  const directory = t.testdir()
  const [path, copy] = [join(directory, 'tree'), join(directory, 'copy')]
  const first = await trees.open(path)
  await first.commit(batch({ put: [row('/a')] }))
  for (const side of ['', '-wal']) copyFileSync(`${path}${side}`, `${copy}${side}`)
  await first.close()
  t.ok(statSync(`${copy}-wal`).size > 0)
  const again = await trees.open(copy)
  t.equal(statSync(`${copy}-wal`).size, 0)
  t.same(await again.get(['/a']), [row('/a')])
  await again.close()
})

/** The writing thread's program without a thread. */
function program(): (request: unknown) => TreeReply | undefined {
  const replies: TreeReply[] = []
  const handlers: ((message: unknown) => void)[] = []
  run({
    post: (message) => void replies.push(message as TreeReply),
    receive: (handler) => void handlers.push(handler),
  })
  return (request) => {
    for (const handler of handlers) handler(request)
    return replies.pop()
  }
}

t.test('a commit that failed is all or nothing, and the last one', (t) => {
  const path = join(t.testdir(), 'tree')
  const ask = program()
  t.same(ask({ type: 'open', path }), { type: 'opened' })
  t.same(
    ask({ type: 'change', id: 1, change: { type: 'commit', batch: batch({ put: [row('/a')] }) } }),
    {
      type: 'done',
      id: 1,
    },
  )
  const bad = batch({ put: [row('/b'), { ...row('/c'), kind: null as unknown as 'ttl' }] })
  t.match(ask({ type: 'change', id: 2, change: { type: 'commit', batch: bad } }), {
    type: 'failed',
    error: { code: 'QUIRE_IO' },
  })
  t.match(
    ask({ type: 'change', id: 3, change: { type: 'commit', batch: batch({ put: [row('/d')] }) } }),
    { type: 'failed', id: 3 },
    'nothing follows it',
  )
  t.same(ask({ type: 'close' }), { type: 'closed' })
  const database = openSqlite(path)
  t.same(database.prepare('select path from node').pluck().all(), ['/a'])
  database.close()
  t.end()
})

t.test('the log is moved into the file as it grows', (t) => {
  const path = join(t.testdir(), 'tree')
  const ask = program()
  ask({ type: 'open', path })
  for (let id = 1; id <= 24; id++) {
    const put = [row(`/${id}`, { data: Buffer.alloc(1_000_000) })]
    t.match(ask({ type: 'change', id, change: { type: 'commit', batch: batch({ put }) } }), {
      type: 'done',
      id,
    })
  }
  t.ok(statSync(`${path}-wal`).size < 16_000_000, 'about eight megabytes of it')
  ask({ type: 'close' })
  t.end()
})
