// A real ZooKeeper is the oracle of our own tree: random calls of all kinds run on both.
import { join } from 'node:path'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { createIo } from '../../src/io/real/index.ts'
import type { MetadataSession, MetadataStore } from '../../src/metadata/contract.ts'
import { MemoryTreeStore } from '../../src/metadata/memory/tree-store.ts'
import { TreeMetadata } from '../../src/metadata/tree-metadata.ts'
import { openTree } from '../../src/metadata/tree/tree.ts'
import { connectZooKeeper } from '../../src/metadata/zookeeper/store.ts'
import { JavaZooKeeper } from '../support/java-zookeeper.ts'
import { Comparison, plainModes, program, Side, type Shape } from '../support/metadata-oracle.ts'
import { quiet } from '../support/quiet.ts'
import { startZooKeeper, type ZooKeeperServer } from '../support/zookeeper.ts'

const io = { ...createIo(), logger: quiet }

/** `QUIRE_ORACLE_SEEDS=1,2` repeats programs; otherwise new ones are made. */
const given = process.env['QUIRE_ORACLE_SEEDS']
const seeds =
  given?.split(',').map(Number) ?? Array.from({ length: 5 }, () => io.random.below(2 ** 31))
const steps = Number(process.env['QUIRE_ORACLE_STEPS'] ?? 300)
const neverMs = 86_400_000

/** A ZooKeeper that looks for containers and TTL nodes to remove so often. */
async function serverOf(t: Test, collectIntervalMs: number): Promise<ZooKeeperServer> {
  const server = await startZooKeeper(join(t.testdir(), 'zookeeper'), {
    properties: [
      'zookeeper.extendedTypesEnabled=true',
      `znode.container.checkIntervalMs=${collectIntervalMs}`,
    ],
  })
  t.teardown(() => server.stop())
  return server
}

/** Our own tree, which does the same. */
function memoryOf(t: Test, collectIntervalMs: number): MetadataStore {
  const store = new TreeMetadata(
    openTree({ ...io, store: new MemoryTreeStore(), collectIntervalMs }),
  )
  t.teardown(() => store.close())
  return store
}

async function compared(
  t: Test,
  [left, right]: readonly [MetadataStore, MetadataStore],
  shape: Shape & { seed: number },
): Promise<void> {
  const { seed, base } = shape
  const sides = [new Side(left), new Side(right)] as const
  for (const side of sides) await side.open(base)
  const comparison = new Comparison()
  const outcomes = new Set<string>()
  for (const [at, step] of program({ ...shape, steps }).entries()) {
    const [one, other] = await Promise.all(sides.map((side) => side.run(step)))
    const difference = comparison.difference(one, other)
    outcomes.add(inspect(one).match(/QUIRE_\w+/)?.[0] ?? step.step.type)
    if (difference === undefined) continue
    t.fail(`seed ${seed}, step ${at}: ${inspect(step, { depth: 9 })}: ${difference}`)
    return
  }
  t.ok(outcomes.size > 8, `all kinds of ends: ${[...outcomes].sort().join(', ')}`)
}

t.test('through the driver', async (t) => {
  const server = await serverOf(t, neverMs)
  for (const [number, seed] of seeds.entries()) {
    await t.test(`${steps} random steps, seed ${seed}`, async (t) => {
      const zooKeeper = connectZooKeeper({ ...io, addresses: [server.address] })
      t.teardown(() => zooKeeper.close())
      const stores = [zooKeeper, memoryOf(t, neverMs)] as const
      await compared(t, stores, { seed, base: `/oracle-${number}`, modes: plainModes })
    })
  }
})

t.test("containers and TTL nodes, through ZooKeeper's own client", async (t) => {
  const server = await serverOf(t, neverMs)
  const modes = [...plainModes, 'container', 'ttl', 'container', 'ttl'] as const
  const zooKeeper = new JavaZooKeeper(server.listen)
  t.teardown(() => zooKeeper.close())
  for (const [number, seed] of seeds.entries()) {
    await t.test(`${steps} random steps, seed ${seed}`, async (t) => {
      const shape = { seed, base: `/oracle-${number}`, modes, hostile: false }
      await compared(t, [zooKeeper, memoryOf(t, neverMs)], shape)
    })
  }
})

t.test('containers and TTL nodes that nobody needs any more go', async (t) => {
  const server = await serverOf(t, 100)
  const zooKeeper = new JavaZooKeeper(server.listen)
  t.teardown(() => zooKeeper.close())
  const left = await outlived(await zooKeeper.session())
  const right = await outlived(await memoryOf(t, 100).session())
  t.same(left, ['in-use', 'long', 'short-with-child', 'unused'])
  t.same(right, left)
})

/** Which nodes are left when those that go have gone. */
async function outlived(session: MetadataSession): Promise<string[]> {
  const empty = Buffer.alloc(0)
  await session.create('/base', empty)
  const make = (name: string, mode: 'container' | 'ttl', ttlMs = 300): Promise<unknown> =>
    session.create(`/base/${name}`, empty, mode === 'ttl' ? { mode, ttlMs } : { mode })
  await make('unused', 'container')
  await make('used', 'container')
  await make('in-use', 'container')
  await make('short', 'ttl')
  await make('short-with-child', 'ttl')
  await make('long', 'ttl', neverMs)
  for (const name of ['used', 'in-use', 'short-with-child']) {
    await session.create(`/base/${name}/child`, empty)
  }
  await session.delete('/base/used/child', 0)
  const gone = ['used', 'short']
  for (;;) {
    const { names } = await session.children('/base')
    if (!names.some((name) => gone.includes(name))) return names
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
