// The tree and its replicated log in one file, real and simulated: one contract.
import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createIo } from '../../../src/io/real/index.ts'
import { openSqlite } from '../../../src/io/real/sqlite.ts'
import type { ReplicatedTreeStore } from '../../../src/io/index.ts'
import { createSimulatedIo, World } from '../../../src/simulation/index.ts'
import {
  batchOf,
  codeOf,
  entryOf,
  replicatedTreeSuite,
  rowOf,
} from '../../conformance/replicated-tree-suite.ts'

t.test('in SQLite', async (t) => {
  replicatedTreeSuite(t, async (t) => {
    const { trees } = createIo()
    const directory = t.testdir()
    const killed: ReplicatedTreeStore[] = []
    let last: ReplicatedTreeStore | undefined
    let boot = 0
    const path = (): string => join(directory, `tree${boot}`)
    t.teardown(() => Promise.all(killed.map((store) => store.close())))
    return {
      async open() {
        const store = await trees.open(path())
        last = store
        return store
      },
      /** What another process finds: the files as they are while the first still has them open. */
      async kill() {
        const before = path()
        boot++
        if (last) killed.push(last)
        for (const side of ['', '-wal']) {
          if (existsSync(before + side)) copyFileSync(before + side, path() + side)
        }
      },
      settle: (promise) => promise,
    }
  })
})

for (const seed of [1, 2, 3]) {
  t.test(`simulated, seed ${seed}`, async (t) => {
    replicatedTreeSuite(t, async (t) => {
      const world = new World({ seed: `${seed} ${t.name}` })
      let io = createSimulatedIo(world, 'a')
      await world.settle(io.files.makeDirectory('/data'))
      return {
        open: () => io.trees.open('/data/tree'),
        async kill() {
          world.kill('a')
          io = createSimulatedIo(world, 'a')
        },
        settle: (promise) => world.settle(promise),
      }
    })
  })
}

t.test('a loss of power takes what was not synced, from the end', async (t) => {
  const lost = new Set<number>()
  for (let seed = 1; seed <= 40; seed++) {
    const world = new World({ seed })
    const io = createSimulatedIo(world, 'a')
    await world.settle(io.files.makeDirectory('/data'))
    const store = await world.settle(io.trees.open('/data/tree'))
    const facts = (n: number): Map<string, Buffer> => new Map([['applied', Buffer.from([n])]])
    await world.settle(store.apply(batchOf({ put: [rowOf('/1')], facts: facts(1) })))
    await world.settle(store.append({ entries: [entryOf(7)], facts: new Map() }))
    for (const n of [2, 3]) {
      await world.settle(store.apply(batchOf({ put: [rowOf(`/${n}`)], facts: facts(n) })))
    }
    world.cutPower('a')
    const again = await world.settle(createSimulatedIo(world, 'a').trees.open('/data/tree'))
    const found = (await world.settle(again.facts(''))).get('applied')?.[0] ?? 0
    t.ok(found >= 1, 'what went before a sync is synced with it')
    t.same(await world.settle(again.logRange()), { first: 7, last: 7 })
    const rows = await world.settle(again.get(['/1', '/2', '/3']))
    t.same(
      rows.map((row) => row !== undefined),
      [1, 2, 3].map((n) => n <= found),
    )
    lost.add(3 - found)
  }
  t.same(lost, new Set([0, 1, 2]))
})

t.test('a damaged entry is told from one that was written', async (t) => {
  const path = join(t.testdir(), 'tree')
  const { trees } = createIo()
  const first = await trees.open(path)
  await first.append({ entries: [entryOf(1), entryOf(2), entryOf(3)], facts: new Map() })
  await first.close()
  const database = openSqlite(path)
  database.exec("update entry set data = x'00' where number = 2")
  database.close()
  const store = await trees.open(path)
  t.equal(await codeOf(store.entries({ from: 2, to: 3, bytesMax: 1000 })), 'QUIRE_BAD_METADATA')
  t.equal((await store.entries({ from: 3, to: 3, bytesMax: 1000 })).length, 1)
  await store.close()
})
