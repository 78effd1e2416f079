// A node that is slow, and one that is spoken to by nobody it knows.
import t from 'tap'
import { createSimulatedIo, SimulatedCluster, World } from '../../../src/simulation/index.ts'
import { disturb, leave } from '../../../src/simulation/stranger.ts'
import { quiet } from '../../support/quiet.ts'

t.test('each event of a slow node takes its time, in order; others go on', async (t) => {
  const world = new World({ seed: 1 })
  const slow = createSimulatedIo(world, 'slow')
  const fast = createSimulatedIo(world, 'fast')
  world.node('slow').eventMs = 5
  const seen: string[] = []
  for (const name of ['1', '2', '3']) {
    slow.timers.soon(() => seen.push(`slow ${name}`))
    fast.timers.soon(() => seen.push(`fast ${name}`))
  }
  const startMs = slow.clock.monotonicMs()
  await world.run(4)
  t.same(seen, ['slow 1', 'fast 1', 'fast 2', 'fast 3'])
  await world.run(20)
  t.same(seen.slice(4), ['slow 2', 'slow 3'])
  t.ok(slow.clock.monotonicMs() - startMs >= 10)
})

t.test('garbage on its port costs a node nothing', async (t) => {
  const world = new World({ seed: 2 })
  const cluster = new SimulatedCluster({ world, nodes: ['a'], logger: () => quiet })
  const operator = cluster.operator('a')
  operator.start()
  while (operator.node === undefined) await world.run(50)
  const client = await world.settle(cluster.client('k'))
  const writer = await world.settle(client.ledgers.create())
  for (let round = 0; round < 60; round += 1) {
    await world.settle(disturb(world, 'a', 3181))
    await world.run(50)
    t.equal(await world.settle(writer.append(Buffer.from('x'))), round)
  }
  leave(world)
  await world.run(1000)
  t.same(operator.refusals, [], 'it never ended')
  const others = world.cables.connections().filter(({ remote }) => remote.host === 'stranger')
  t.same(others, [], 'and holds no connection of it')
})
