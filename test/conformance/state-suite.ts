// What every store of replicated states owes its program, SQLite's own or the simulated one.
import type { Test } from 'tap'
import { QuireError } from '../../src/errors.ts'
import type { StateStore, StateStores } from '../../src/io/index.ts'

export interface StatesUnderTest {
  readonly states: StateStores
  readonly path: string
  /** Lets the world go on until the promise is settled. */
  settle<T>(promise: Promise<T>): Promise<T>
  /** The process ends with its databases open: what the next one finds. */
  crash(): Promise<Pick<StatesUnderTest, 'states' | 'path'>>
}

type Body = (t: Test, world: StatesUnderTest) => Promise<void>

export function stateSuite(t: Test, factory: (t: Test) => StatesUnderTest): void {
  for (const [name, body] of Object.entries(bodies)) {
    t.test(name, async (t) => {
      const world = factory(t)
      await world.settle(body(t, world))
    })
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

const create = 'create table if not exists item (n integer primary key)'

async function opened({ states, path }: Pick<StatesUnderTest, 'states' | 'path'>) {
  const store = await states.open(path)
  await store.transact((tx) => tx.script(create), { durable: true })
  return store
}

const add = (store: StateStore, n: number, durable = false): Promise<unknown> =>
  store.transact((tx) => tx.run('insert into item values (?)', n), { durable })

async function items(store: StateStore): Promise<number[]> {
  const rows = await store.query('select n from item order by n', [])
  return rows.map((row) => Number(row['n']))
}

const bodies: Record<string, Body> = {
  'a transaction is there whole, or not at all': async (t, world) => {
    const store = await opened(world)
    const result = await store.transact((tx) => {
      tx.run('insert into item values (?)', 1)
      return tx.get('select count(*) as count from item')
    })
    t.same(result, { count: 1 }, 'it sees itself, and gives its result')
    const failing = store.transact((tx) => {
      tx.run('insert into item values (?)', 2)
      throw new Error('enough')
    })
    t.equal(await codeOf(failing), 'not ours: Error: enough', 'what the work throws is as it was')
    const twice = store.transact((tx) => {
      tx.run('insert into item values (?)', 3)
      tx.run('insert into item values (?)', 3)
    })
    t.match(await codeOf(twice), /not ours: SqliteError: UNIQUE/)
    t.same(await items(store), [1])
    await store.close()
    const again = await world.states.open(world.path)
    t.same(await items(again), [1], 'and after it was closed')
    await again.close()
  },

  'calls reach it in their order': async (t, world) => {
    const store = await opened(world)
    const adding = [1, 2, 3].map((n) => add(store, n, n === 2))
    const seen = items(store)
    await Promise.all(adding)
    t.same(await seen, [1, 2, 3])
    await store.close()
  },

  'a question changes nothing, and its mistakes have a code': async (t, world) => {
    const store = await opened(world)
    t.equal(await codeOf(store.query('delete from item', [])), 'QUIRE_BAD_OPTION')
    t.equal(await codeOf(store.query('select nothing', [])), 'QUIRE_BAD_OPTION')
    t.same(await store.query('select ? as a, ? as b', [null, 'x']), [{ a: null, b: 'x' }])
    await store.close()
  },

  'a snapshot is of its moment, and takes the place of another': async (t, world) => {
    const store = await opened(world)
    await add(store, 1)
    const chunks: Buffer[] = []
    const copy = store.snapshot(1024)
    await add(store, 2)
    for await (const chunk of copy) {
      t.ok(chunk.length <= 1024)
      chunks.push(Buffer.from(chunk))
    }
    await store.close()
    await world.states.restore(world.path, each(chunks))
    const restored = await world.states.open(world.path)
    t.same(await items(restored), [1])
    await restored.close()
    await world.states.remove(world.path)
    const fresh = await opened(world)
    t.same(await items(fresh), [])
    await fresh.close()
  },

  'a crash leaves what was durable, and of the rest a beginning': async (t, world) => {
    const store = await opened(world)
    await add(store, 1)
    await add(store, 2, true)
    await add(store, 3)
    await add(store, 4)
    const after = await world.crash()
    const next = await after.states.open(after.path)
    const left = await items(next)
    t.same(left, [1, 2, 3, 4].slice(0, left.length))
    t.ok(left.length >= 2)
    await next.close()
  },
}

async function* each(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield chunk
}
