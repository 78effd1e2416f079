// The conformance suite over nodes that replicate the tree: one by itself, three, and three of which
// one is killed whenever the suite breaks connections.

import t from 'tap'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import {
  clusterPort,
  createSimulatedIo,
  SimulatedCluster,
  World,
} from '../../../src/simulation/index.ts'
import { metadataSuite } from '../../conformance/metadata-suite.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(240_000)

const capabilities = ['container', 'ttl', 'multi-read', 'standing-watch'] as const

const groups: Record<string, { nodes: readonly string[]; kills: boolean }> = {
  'a group of one': { nodes: ['a'], kills: true },
  'a group of three, one of which is killed': { nodes: ['a', 'b', 'c'], kills: true },
}

for (const [name, { nodes, kills }] of Object.entries(groups)) {
  metadataSuite(t, {
    name,
    capabilities,
    async open() {
      const world = new World({ seed: name })
      const cluster = new SimulatedCluster({
        world,
        nodes,
        founders: nodes.length,
        logger: () => quiet,
        restartMs: [50, 300],
        open: { peers: nodes.map((node) => `${node}:${clusterPort}`) },
      })
      for (const operator of cluster.operators) operator.start()
      while (!cluster.operators.every(({ node }) => node !== undefined)) await world.run(50)
      const addresses = nodes.map((host) => ({ host, port: clusterPort }))
      const io = createSimulatedIo(world, 'k')
      const store = connectMetadata({ ...io, logger: quiet, addresses, timeoutMs: 30_000 })
      const some = (): string => nodes[world.scheduler.choose(nodes.length, 'suite')] ?? 'a'
      return {
        store,
        settle: (promise) => world.settle(promise),
        breakConnections: () => {
          if (kills) cluster.operator(some()).kill()
          for (const connection of world.cables.connections()) connection.reset()
        },
        close: () => store.close(),
      }
    },
  })
}
