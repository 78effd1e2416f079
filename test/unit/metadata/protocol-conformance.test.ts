// The conformance suite over the metadata protocol: what the contract promises holds across a
// network as well.

import t from 'tap'
import type { Connection } from '../../../src/io/network.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import { MemoryTreeStore } from '../../../src/metadata/memory/tree-store.ts'
import { createMetadataServer } from '../../../src/metadata/server/index.ts'
import { openTree } from '../../../src/metadata/tree/tree.ts'
import { metadataSuite } from '../../conformance/metadata-suite.ts'
import { openBench, silent } from '../../support/metadata-bench.ts'

const capabilities = ['container', 'ttl', 'multi-read', 'standing-watch'] as const

metadataSuite(t, {
  name: 'over a network in memory',
  capabilities,
  async open(t) {
    const bench = await openBench(t)
    const store = bench.store()
    return {
      store,
      breakConnections: () => bench.network.breakAll(),
      async settle(promise) {
        const state = { settled: false }
        const note = (): void => void (state.settled = true)
        void promise.then(note, note)
        while (!state.settled) await bench.time.advance(20)
        return promise
      },
      close: () => store.close(),
    }
  },
})

metadataSuite(t, {
  name: 'over TCP',
  capabilities,
  async open() {
    const io = { ...createIo(), logger: silent }
    const tree = await openTree({ ...io, store: new MemoryTreeStore() })
    const server = await createMetadataServer({ ...io, tree, instanceId: 'tcp' })
    const connections = new Set<Connection>()
    const listener = await io.network.listen({ host: '127.0.0.1', port: 0 }, (connection) => {
      connections.add(connection)
      connection.start({
        data: (chunk) => server.accept(connection, chunk),
        drain: () => undefined,
        close: () => undefined,
      })
    })
    const store = connectMetadata({ ...io, addresses: [listener.address] })
    return {
      store,
      breakConnections: () => {
        for (const connection of connections) connection.destroy()
        connections.clear()
      },
      close: async () => {
        await store.close()
        await listener.close()
        await server.close()
        await tree.close()
      },
    }
  },
})
