// What a store of the tree and its replicated log owes, in SQLite or simulated.
import type { Test } from 'tap'
import { QuireError } from '../../src/errors.ts'
import type {
  LogChange,
  LogEntry,
  ReplicatedTreeStore,
  TreeBatch,
  TreeRow,
} from '../../src/io/index.ts'

export interface StoreUnderTest {
  open(): Promise<ReplicatedTreeStore>
  /** The process is killed; what it wrote stays. The next `open` is that of another process. */
  kill(): Promise<void>
  settle<T>(promise: Promise<T>): Promise<T>
}

export type StoreFactory = (t: Test) => Promise<StoreUnderTest>

type Body = (t: Test, world: StoreUnderTest) => Promise<void>

export function replicatedTreeSuite(t: Test, factory: StoreFactory): void {
  for (const [name, body] of Object.entries(bodies)) {
    t.test(name, async (t) => {
      const world = await factory(t)
      await world.settle(body(t, world))
    })
  }
}

export const rowOf = (path: string, more: Partial<TreeRow> = {}): TreeRow => ({
  path,
  data: Buffer.from(path),
  czxid: 1,
  mzxid: 2,
  pzxid: 3,
  ctimeMs: 1_700_000_000_000,
  mtimeMs: 1_700_000_000_001,
  version: 0,
  cversion: 0,
  sequence: 0,
  childCount: 0,
  owner: 0n,
  kind: 'persistent',
  ttlMs: 0,
  ...more,
})

export const batchOf = (change: Partial<TreeBatch>): TreeBatch => ({
  put: [],
  remove: [],
  facts: new Map(),
  ...change,
})

export const entryOf = (index: number, term: number = 1): LogEntry => ({
  index,
  term,
  kind: index % 256,
  data: Buffer.from(`entry ${index} of ${term}`),
})

const logOf = (change: Partial<LogChange>): LogChange => ({
  entries: [],
  facts: new Map(),
  ...change,
})

const all = { from: 0, to: Number.MAX_SAFE_INTEGER, bytesMax: 1e9 }
const plain = (entries: readonly LogEntry[]): unknown =>
  entries.map(({ index, term, kind, data }) => [index, term, kind, Buffer.from(data).toString()])
const applied = (index: number): TreeBatch =>
  batchOf({ facts: new Map([['applied', Buffer.from([index])]]), put: [rowOf(`/${index}`)] })
const appliedIn = async (store: ReplicatedTreeStore): Promise<number | undefined> =>
  (await store.facts('applied')).get('applied')?.[0]

const bodies: Record<string, Body> = {
  'a log is lengthened, cut at both ends, and read in pieces': async (t, world) => {
    const store = await world.open()
    t.equal(await store.logRange(), undefined)
    t.same(await store.logFacts(), new Map())
    const wanted = [5, 6, 7, 8, 9].map((index) => entryOf(index))
    await store.append(logOf({ entries: wanted, facts: new Map([['term', Buffer.from('1')]]) }))
    const check = async (log: readonly LogEntry[], term: string): Promise<void> => {
      const range = { first: log[0]?.index, last: log.at(-1)?.index }
      t.same(await store.logRange(), range)
      t.same(
        plain(await store.entries({ ...all, from: range.first ?? 0, to: range.last ?? 0 })),
        plain(log),
      )
      t.equal(Buffer.from((await store.logFacts()).get('term') ?? []).toString(), term)
    }
    await check(wanted, '1')
    const some = { from: 6, to: 8, bytesMax: (entryOf(6).data.length * 5) / 2 }
    t.same(plain(await store.entries(some)), plain([entryOf(6), entryOf(7)]))
    t.same(
      plain(await store.entries({ ...some, bytesMax: 1 })),
      plain([entryOf(6)]),
      'one at least',
    )
    const other = [entryOf(8, 2), entryOf(9, 2), entryOf(10, 2)]
    const facts = new Map([['term', Buffer.from('2')]])
    await store.append(logOf({ truncateFrom: 8, entries: other, facts }))
    await check([entryOf(5), entryOf(6), entryOf(7), ...other], '2')
    await store.append(logOf({ cutTo: 6, facts: new Map([['none', undefined]]) }))
    await check([entryOf(7), ...other], '2')
    await store.append(logOf({ truncateFrom: 0, facts: new Map([['term', undefined]]) }))
    t.equal(await store.logRange(), undefined)
    t.same(await store.logFacts(), new Map())
    await store.close()
  },

  'a tree and how far it was applied outlive a process together': async (t, world) => {
    const store = await world.open()
    await store.append(logOf({ entries: [entryOf(1), entryOf(2), entryOf(3)] }))
    for (const index of [1, 2]) await store.apply(applied(index))
    await store.append(logOf({ cutTo: 1 }))
    t.equal(await appliedIn(store), 2)
    await world.kill()
    const again = await world.open()
    t.same(await again.logRange(), { first: 2, last: 3 })
    t.equal(await appliedIn(again), 2)
    t.same(
      (await again.get(['/1', '/2', '/3'])).map((row) => row?.path),
      ['/1', '/2', undefined],
    )
    await again.close()
  },

  'changes take effect in the order of their calls': async (t, world) => {
    const store = await world.open()
    const made = [
      store.append(logOf({ entries: [entryOf(1)] })),
      store.apply(applied(1)),
      store.append(logOf({ truncateFrom: 1, entries: [entryOf(1, 2), entryOf(2, 2)] })),
      store.apply(applied(2)),
    ]
    await Promise.all(made)
    t.same(
      plain(await store.entries({ ...all, to: 2, from: 1 })),
      plain([entryOf(1, 2), entryOf(2, 2)]),
    )
    t.equal(await appliedIn(store), 2)
    await store.close()
  },

  'an image is the tree of one moment': async (t, world) => {
    const store = await world.open()
    const put = Array.from({ length: 40 }, (_, n) => rowOf(`/n${n}`, { data: Buffer.alloc(100) }))
    const facts = new Map(Array.from({ length: 20 }, (_, n) => [`f${n}`, Buffer.alloc(50)]))
    await store.commit(batchOf({ put, facts }))
    const pieces: TreeBatch[] = []
    for await (const piece of store.image(500)) {
      pieces.push(piece)
      await store.apply(batchOf({ put: [rowOf(`/later${pieces.length}`)], remove: ['/n39'] }))
    }
    t.ok(pieces.length > 5, 'pieces')
    const rows = pieces.flatMap((piece) => piece.put)
    t.same(rows.map(({ path }) => path).sort(), put.map(({ path }) => path).sort())
    t.same(rows[0], { ...rowOf('/n0', { data: Buffer.alloc(100) }) })
    t.same(pieces.flatMap((piece) => [...piece.facts.keys()]).sort(), [...facts.keys()].sort())
    await store.close()
  },

  'what was staged takes the place of the tree and of the log at once': async (t, world) => {
    const store = await world.open()
    await store.append(logOf({ entries: [entryOf(1), entryOf(2)] }))
    await store.apply(applied(1))
    await store.stage(batchOf({ put: [rowOf('/forgotten')] }), true)
    await store.stage(
      batchOf({ put: [rowOf('/9')], facts: new Map([['applied', Buffer.from([9])]]) }),
      true,
    )
    await store.stage(batchOf({ put: [rowOf('/9/9')] }), false)
    t.equal(await appliedIn(store), 1, 'nothing of it is seen')
    const facts = new Map([['snapshot', Buffer.from('9')]])
    await store.install(logOf({ truncateFrom: 0, entries: [entryOf(10, 3)], facts }))
    const check = async (from: ReplicatedTreeStore): Promise<void> => {
      t.equal(await appliedIn(from), 9)
      t.same(
        (await from.get(['/1', '/9', '/9/9', '/forgotten'])).map((row) => row?.path),
        [undefined, '/9', '/9/9', undefined],
      )
      t.same(await from.children('/9'), ['9'])
      t.same(await from.logRange(), { first: 10, last: 10 })
      t.equal((await from.logFacts()).size, 1)
    }
    await check(store)
    await world.kill()
    const again = await world.open()
    await check(again)
    await again.close()
  },

  'what was staged by an earlier process is forgotten': async (t, world) => {
    const store = await world.open()
    await store.stage(batchOf({ put: [rowOf('/old')] }), true)
    await world.kill()
    const again = await world.open()
    await again.stage(batchOf({ put: [rowOf('/new')] }), false)
    await again.install(logOf({}))
    t.same(
      (await again.get(['/old', '/new'])).map((row) => row?.path),
      [undefined, '/new'],
    )
    await again.close()
  },
}

/** For tests of what cannot be read. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}
