// Whole nodes with a list of peers and a secret, in the simulated world: they found a cluster with
// it, and a node with another one, or none, is told so.
import t from 'tap'
import { createSimulatedIo, SimulatedCluster, World } from '../../../src/simulation/index.ts'
import { inquire } from '../../../src/metadata/raft/founding/inquire.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(240_000)

const names = ['a', 'b', 'c'] as const

function clusterWith(
  world: World,
  secret: string | undefined,
  said: string[] = [],
): SimulatedCluster {
  const warn = (_facts: object, message: string): void => void said.push(message)
  const logger = { ...quiet, warn, child: () => ({ ...logger }) }
  return new SimulatedCluster({
    world,
    nodes: names,
    founders: 3,
    secret,
    logger: () => logger,
    restartMs: [50, 400],
    open: { sessionTimeoutMs: 4000 },
  })
}

async function until(world: World, isSo: () => boolean): Promise<boolean> {
  for (let leftMs = 60_000; leftMs > 0 && !isSo(); leftMs -= 100) await world.run(100)
  return isSo()
}

t.test('three nodes with a secret found a cluster; clients with it are served', async (t) => {
  const world = new World({ seed: 'three with a secret' })
  const cluster = clusterWith(world, 'correct horse')
  for (const name of names) cluster.operator(name).start()
  t.ok(await until(world, () => cluster.operators.every(({ node }) => node !== undefined)))
  const client = await world.settle(cluster.client('k'))
  const writer = await world.settle(client.ledgers.create())
  t.equal(await world.settle(writer.append(Buffer.from('kept'))), 0)
  cluster.operator('a').kill()
  t.equal(await world.settle(writer.append(Buffer.from('kept too'))), 1, 'two go on')
  await t.rejects(world.settle(clusterWith(world, 'something else').client('l')), {
    code: 'QUIRE_UNAUTHORIZED',
  })
  await t.rejects(world.settle(clusterWith(world, undefined).client('m')), {
    code: 'QUIRE_UNAUTHORIZED',
  })
  const asking = inquire(createSimulatedIo(world, 'asker'), { host: 'b', port: 3181 })
  await t.rejects(
    world.settle(asking),
    { code: 'QUIRE_CONNECTION_LOST' },
    'nor is it told who is there',
  )
})

for (const theirs of ['something else', undefined]) {
  t.test(
    `a founder with ${theirs === undefined ? 'no' : 'another'} secret does not start`,
    async (t) => {
      const world = new World({ seed: `a founder ${theirs}` })
      const said: string[] = []
      const cluster = clusterWith(world, 'correct horse', said)
      for (const name of ['a', 'b']) cluster.operator(name).start()
      const odd = clusterWith(world, theirs).operator('c')
      odd.start()
      const isRefused = (): boolean => odd.refusals.length > 0
      const waits = (): boolean =>
        said.some((line) => /waiting for the cluster: .*c:3181/.test(line))
      if (theirs === undefined) {
        // Without a secret it cannot be told apart from a node of an older version that is not heard.
        t.ok(await until(world, waits))
      } else {
        t.ok(await until(world, isRefused))
        t.match(odd.refusals[0]?.error, {
          code: 'QUIRE_UNAUTHORIZED',
          message: /give both the same/,
        })
      }
      t.ok(
        cluster.operators.every(({ node }) => node === undefined),
        'two of three do not found',
      )
      odd.stop()
      cluster.operator('c').start()
      t.ok(await until(world, () => cluster.operators.every(({ node }) => node !== undefined)))
    },
  )
}
