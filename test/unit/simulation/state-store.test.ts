// The simulated stores of replicated states: the contract of the real ones, and what a disk does.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { createSimulatedIo, World } from '../../../src/simulation/index.ts'
import { stateSuite } from '../../conformance/state-suite.ts'

for (const seed of [1, 2, 3, 4]) {
  t.test(`seed ${seed}`, async (t) => {
    stateSuite(t, (t) => {
      const world = new World({ seed: `${seed} ${t.name}` })
      const path = '/state'
      return {
        states: createSimulatedIo(world, 'a').states,
        path,
        settle: (promise) => world.settle(promise),
        async crash() {
          world.cutPower('a')
          return { states: createSimulatedIo(world, 'a').states, path }
        },
      }
    })
  })
}

async function start(seed: number | string) {
  const world = new World({ seed })
  const { states } = createSimulatedIo(world, 'a')
  const store = await world.settle(states.open('/state'))
  await world.settle(store.transact((tx) => tx.script('create table item (n)'), { durable: true }))
  const add = (n: number, durable = false) =>
    store.transact((tx) => tx.run('insert into item values (?)', n), { durable })
  const count = async () => (await store.query('select count(*) as n from item', []))[0]?.['n']
  return { world, store, add, count, node: world.node('a') }
}

const codeOf = async (promise: Promise<unknown>): Promise<unknown> => {
  const [outcome] = await Promise.allSettled([promise])
  return outcome.status === 'rejected' && QuireError.is(outcome.reason) && outcome.reason.code
}

t.test('a full disk and a failing one undo the transaction', async (t) => {
  const { world, add, count, node } = await start(1)
  node.disk.capacityBytes = 0
  t.equal(await world.settle(codeOf(add(1))), 'QUIRE_DISK_FULL')
  node.disk.capacityBytes = 2 ** 30
  node.diskFaults.next.push({ kind: 'write', path: '/state' })
  t.equal(await world.settle(codeOf(add(1))), 'QUIRE_IO')
  node.diskFaults.next.push({ kind: 'read' })
  t.equal(await world.settle(codeOf(count())), 'QUIRE_IO')
  t.equal(await world.settle(count()), 0)
  await world.settle(add(2))
  t.equal(await world.settle(count()), 1)
})

t.test('a commit whose sync failed is undone, and may be there after a crash', async (t) => {
  const seen = new Set<unknown>()
  for (let seed = 1; seed <= 20; seed += 1) {
    const { world, add, count, node } = await start(seed)
    node.diskFaults.next.push({ kind: 'sync' })
    t.equal(await world.settle(codeOf(add(1, true))), 'QUIRE_IO')
    t.equal(await world.settle(count()), 0)
    const isOver = seed % 2 === 0
    if (isOver) await world.settle(add(2, true))
    world.kill('a')
    const next = await world.settle(createSimulatedIo(world, 'a').states.open('/state'))
    const rows = await world.settle(next.query('select n from item', []))
    seen.add(`${isOver ? 'another, ' : ''}${rows.map((row) => row['n']).join()}`)
  }
  t.same(seen, new Set(['', '1', 'another, 2']))
})

t.test('a stalled disk answers late, a hung one never', async (t) => {
  const { world, add, count, node, store } = await start(1)
  node.diskFaults.stalledUntilMs = world.scheduler.nowMs + 500
  await world.settle(add(1))
  t.ok(world.scheduler.nowMs >= 500)
  node.diskFaults.stalledUntilMs = Number.POSITIVE_INFINITY
  let answered = false
  void count().then(() => (answered = true))
  void store.close().then(() => (answered = true))
  await world.run(10_000)
  t.notOk(answered)
})

t.test('a crash while a snapshot takes the place of another leaves one, or none', async (t) => {
  const seen = new Set<unknown>()
  for (let seed = 1; seed <= 30; seed += 1) {
    const { world, store, add } = await start(seed)
    await world.settle(add(1))
    const chunks: Uint8Array[] = []
    const copy = async (): Promise<void> => {
      for await (const chunk of store.snapshot(4096)) chunks.push(chunk)
      await add(2, true)
      await store.close()
    }
    await world.settle(copy())
    const restored = async function* () {
      yield* chunks
    }
    void createSimulatedStates(world).restore('/state', restored())
    await world.run(seed / 20)
    world.kill('a')
    const next = await world.settle(createSimulatedIo(world, 'a').states.open('/state'))
    const [tables] = await world.settle(next.query('select count(*) as n from sqlite_schema', []))
    const rows = tables?.['n'] === 0 ? [] : await world.settle(next.query('select n from item', []))
    seen.add(tables?.['n'] === 0 ? 'none' : rows.map((row) => row['n']).join())
  }
  t.same(seen, new Set(['1,2', 'none', '1']))
})

function createSimulatedStates(world: World) {
  const { task } = world.node('a')
  if (task === undefined) throw new Error('a process runs')
  return world.statesOf('a').on(task)
}
