// A real ZooKeeper is the oracle of our own tree: random calls of all kinds run on both.
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { createIo } from '../../src/io/real/index.ts'
import { createMemoryMetadata } from '../../src/metadata/memory/memory-metadata.ts'
import { connectZooKeeper } from '../../src/metadata/zookeeper/store.ts'
import { Comparison, program, Side } from '../support/metadata-oracle.ts'
import { quiet } from '../support/quiet.ts'
import { startZooKeeper } from '../support/zookeeper.ts'

const io = { ...createIo(), logger: quiet }
const server = await startZooKeeper(join(t.testdir(), 'zookeeper'))
t.teardown(() => server.stop())

/** `QUIRE_ORACLE_SEEDS=1,2` repeats programs; otherwise new ones are made. */
const given = process.env['QUIRE_ORACLE_SEEDS']
const seeds =
  given?.split(',').map(Number) ?? Array.from({ length: 5 }, () => io.random.below(2 ** 31))
const steps = Number(process.env['QUIRE_ORACLE_STEPS'] ?? 300)

for (const [number, seed] of seeds.entries()) {
  t.test(`${steps} random steps, seed ${seed}`, async (t) => {
    const base = `/oracle-${number}`
    const zooKeeper = connectZooKeeper({ ...io, addresses: [server.address] })
    const memory = createMemoryMetadata(io)
    t.teardown(() => Promise.all([zooKeeper.close(), memory.close()]))
    const sides = [new Side(zooKeeper), new Side(memory)] as const
    for (const side of sides) await side.open(base)
    const comparison = new Comparison()
    const outcomes = new Set<string>()
    for (const [at, step] of program({ seed, steps, base }).entries()) {
      const [left, right] = await Promise.all(sides.map((side) => side.run(step)))
      const difference = comparison.difference(left, right)
      outcomes.add(inspect(left).match(/QUIRE_\w+/)?.[0] ?? step.step.type)
      if (difference === undefined) continue
      t.fail(`seed ${seed}, step ${at}: ${inspect(step, { depth: 9 })}: ${difference}`)
      return
    }
    t.ok(outcomes.size > 8, `all kinds of ends: ${[...outcomes].sort().join(', ')}`)
  })
}
