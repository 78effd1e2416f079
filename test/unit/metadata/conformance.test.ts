// The conformance suite over every store of this package that needs no network.
import { join } from 'node:path'
import t from 'tap'
import { createInlineThreads } from '../../../src/io/inline-threads.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { createTreeStores } from '../../../src/io/real/tree-store.ts'
import { run } from '../../../src/io/real/tree-thread.ts'
import { createMemoryMetadata } from '../../../src/metadata/memory/memory-metadata.ts'
import { TreeMetadata } from '../../../src/metadata/tree-metadata.ts'
import { openTree } from '../../../src/metadata/tree/tree.ts'
import { createSimulatedIo, World } from '../../../src/simulation/index.ts'
import { metadataSuite } from '../../conformance/metadata-suite.ts'
import { silent } from '../../support/metadata-bench.ts'

const io = { ...createIo(), logger: silent }
const capabilities = ['container', 'ttl', 'multi-read', 'standing-watch'] as const

metadataSuite(t, {
  name: 'in memory',
  capabilities,
  async open() {
    const store = createMemoryMetadata(io)
    return { store, close: () => store.close() }
  },
})

metadataSuite(t, {
  name: 'in SQLite, on a thread of its own',
  capabilities,
  async open(t) {
    const store = new TreeMetadata(
      await openTree({ ...io, store: await io.trees.open(join(t.testdir(), 'tree.sqlite')) }),
    )
    return { store, close: () => store.close() }
  },
})

metadataSuite(t, {
  name: 'in SQLite, on the thread of the test',
  capabilities,
  async open(t) {
    const threads = createInlineThreads({
      programs: { 'io/real/tree-thread': run },
      ioFor: () => io,
      deliver: (_, call) => setImmediate(call),
    })
    const rows = await createTreeStores(threads).open(join(t.testdir(), 'tree.sqlite'))
    const store = new TreeMetadata(openTree({ ...io, store: rows }))
    return { store, close: () => store.close() }
  },
})

for (const seed of [1, 2]) {
  metadataSuite(t, {
    name: `on a simulated disk, seed ${seed}`,
    capabilities,
    async open() {
      const world = new World({ seed })
      const simulated = createSimulatedIo(world, 'a')
      await world.settle(simulated.files.makeDirectory('/data'))
      const rows = simulated.trees.open('/data/tree')
      const tree = rows.then((store) => openTree({ ...simulated, logger: silent, store }))
      const store = new TreeMetadata(tree)
      return {
        store,
        settle: (promise) => world.settle(promise),
        close: () => store.close(),
      }
    },
  })
}
