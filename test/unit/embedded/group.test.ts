// Whole nodes that keep their metadata together, in the simulated world: how they find one another,
// and what they refuse.
import t from 'tap'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import type { MetadataStore } from '../../../src/metadata/contract.ts'
import { inquire } from '../../../src/metadata/raft/founding/inquire.ts'
import {
  clusterPort,
  createSimulatedIo,
  Disk,
  SimulatedCluster,
  World,
} from '../../../src/simulation/index.ts'
import { names, Scene } from '../../support/group-scene.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(240_000)

t.test(
  'nodes found one cluster, in whatever order they start, and go on when one is gone',
  async (t) => {
    for (const order of [
      ['a', 'b', 'c'],
      ['c', 'a', 'b'],
    ]) {
      const scene = new Scene(`order ${order.join('')}`)
      for (const name of order) {
        scene.start(name)
        await scene.world.run(700)
      }
      const nodes = await scene.ready()
      t.equal(new Set(nodes.map(({ id }) => id)).size, 3)
      const [first] = nodes
      if (!first) throw new Error('there is one')
      t.equal(await scene.append(first, 'one'), 0)
      await scene.until('a leader', async () => (await scene.leads()) !== undefined)
      const leader = (await scene.leads()) ?? ''
      const its = scene.cluster.operator(leader).node
      for (const node of nodes) {
        t.equal((await scene.world.settle(node.stats())).leader, its?.id, 'each knows who leads')
      }
      scene.cluster.operator(leader).stop()
      const [other] = await scene.ready(2)
      if (!other) throw new Error('there is another')
      t.equal(await scene.append(other, 'two'), 1, 'without its first leader')
      scene.start(leader)
      await scene.ready()
      for (const operator of scene.cluster.operators) operator.cutPower('none')
      const [back] = await scene.ready()
      if (!back) throw new Error('they came back')
      t.equal(await scene.append(back, 'three'), 2, 'after all lost their power')
      const clusters = await Promise.all(
        names.map(async (name) => (await scene.ask(name))?.clusterId),
      )
      t.equal(new Set(clusters).size, 1)
    }
  },
)

t.test('F3.72 with one peer silent nobody founds; and says what it waits for', async (t) => {
  const scene = new Scene(t.name).start('a', 'b')
  await scene.world.run(20_000)
  for (const name of ['a', 'b']) t.equal((await scene.ask(name))?.clusterId, '')
  t.match(scene.said, [/c:3181 must answer before a cluster is founded/])
  scene.start('c')
  await scene.ready()
})

t.test('F3.72 nodes with different lists of peers found nothing', async (t) => {
  const world = new World({ seed: t.name })
  const said: string[] = []
  const warn = (_facts: object, message: string): void => void said.push(message)
  const logger = { ...quiet, warn, child: () => ({ ...logger }) }
  const peersOf = { a: ['a', 'b'], b: ['b', 'a', 'c'], c: ['a', 'b', 'c'] }
  for (const [name, peers] of Object.entries(peersOf)) {
    const cluster = new SimulatedCluster({
      world,
      nodes: [name],
      logger: () => logger,
      open: { peers: peers.map((peer) => `${peer}:${clusterPort}`) },
    })
    cluster.operator(name).start()
  }
  await world.run(20_000)
  t.match(said.join('\n'), /has another list of peers: give all nodes the same one/)
  for (const host of ['a', 'b', 'c']) {
    const io = createSimulatedIo(world, `k${host}`)
    t.equal((await world.settle(inquire(io, { host, port: clusterPort }))).clusterId, '')
  }
})

t.test('F3.72 whatever befalls those who found, there is one cluster', async (t) => {
  for (let seed = 1; seed <= 15; seed++) {
    const scene = new Scene(seed).start()
    const { world } = scene
    const choose = (count: number) => world.scheduler.choose(count, 'test.founding')
    let wiped = false
    for (let round = 0; round < 8; round++) {
      await world.run(choose(600))
      const name = names[choose(3)] ?? 'a'
      const founded = (await scene.ask(name))?.clusterId !== ''
      if (choose(3) === 0) scene.cluster.operator(name).kill()
      else if (choose(2) === 0) scene.cluster.operator(name).cutPower('none')
      else if (!wiped && !founded) {
        wiped = true
        scene.wipe(name)
      }
    }
    await scene.ready(2)
    await world.run(10_000)
    const said = await Promise.all(names.map((name) => scene.ask(name)))
    const clusters = said.flatMap((each) => each?.clusterId || [])
    t.ok(clusters.length >= 2, `seed ${seed}: at least two belong to it`)
    t.equal(new Set(clusters).size, 1, `seed ${seed}: one cluster`)
  }
})

t.test('F3.62 a node whose disk was wiped is somebody else, and waits to be let in', async (t) => {
  const scene = new Scene(t.name).start()
  const nodes = await scene.ready()
  const before = await scene.ask('c')
  scene.wipe('c')
  await scene.world.run(30_000)
  const after = await scene.ask('c')
  t.equal(after?.clusterId, '', 'it founds nothing beside the others')
  t.not(after?.id, before?.id)
  t.match(
    scene.said.join('\n'),
    /has no data of it: let it in with "quire add HOST:PORT", or with "quire replace OLD --with/,
  )
  const [a] = nodes
  if (!a) throw new Error('there is one')
  t.equal(await scene.append(a, 'goes on'), 0)
})

t.test('a node that lost its metadata alone does not come back as what it was', async (t) => {
  const scene = new Scene(t.name).start()
  await scene.ready()
  scene.cluster.operator('c').cutPower('none')
  const { disk } = scene.world.node('c')
  for (const path of disk.files().filter((each) => each.includes('/metadata/'))) disk.lose(path)
  await scene.world.run(5000)
  const [refusal] = scene.cluster.operator('c').refusals.slice(-1)
  t.match(refusal?.error, { code: 'QUIRE_BAD_METADATA' })
  t.equal(await scene.ask('c'), undefined)
})

t.test('a directory is of a node by itself or of one with peers, never of both', async (t) => {
  const scene = new Scene(t.name).start()
  await scene.ready()
  scene.cluster.operator('c').stop()
  const { world } = scene
  const alone = new SimulatedCluster({ world, nodes: ['c'], logger: () => quiet })
  alone.operator('c').start()
  await world.run(2000)
  t.match(alone.operator('c').refusals[0]?.error, {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /start it with its peers/,
  })
  alone.operator('c').stop()
  world.node('c').disk = new Disk(world.node('c').disk.options)
  alone.operator('c').start()
  await scene.until('the node by itself', () => alone.operator('c').node !== undefined)
  alone.operator('c').stop()
  scene.start('c')
  await world.run(2000)
  t.match(scene.cluster.operator('c').refusals.at(-1)?.error, {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /a node by itself/,
  })
})

t.test(
  'a node comes back at another address, and is found, also by those that were started since',
  async (t) => {
    const scene = new Scene(t.name).start()
    const { world } = scene
    await scene.ready()
    const id = scene.cluster.operator('c').node?.id
    scene.cluster.operator('c').stop()
    world.node('moved').disk = world.node('c').disk
    const peers = names.map((name) => `${name}:${clusterPort}`)
    const moved = new SimulatedCluster({
      world,
      nodes: ['moved'],
      logger: () => quiet,
      open: { peers, sessionTimeoutMs: 4000 },
    })
    moved.operator('moved').start()
    await scene.until('it is back', () => moved.operator('moved').node !== undefined)
    t.equal(moved.operator('moved').node?.id, id)
    scene.cluster.operator('a').stop()
    const b = scene.cluster.operator('b').node
    if (!b) throw new Error('it runs')
    t.equal(await scene.append(b, 'without a'), 0, 'the one that moved counts')
  },
)

/** A process with a session of its own on the tree. */
function treeOf(scene: Scene, machine: string, hosts: readonly string[]): MetadataStore {
  const io = createSimulatedIo(scene.world, machine)
  const addresses = hosts.map((host) => ({ host, port: clusterPort }))
  return connectMetadata({ ...io, logger: quiet, addresses, timeoutMs: 10_000 })
}

t.test('F3.75 a watch misses nothing when leaders change, and tells it once', async (t) => {
  const scene = new Scene(t.name).start()
  const { world } = scene
  await scene.ready()
  const [watcher, writer] = await world.settle(
    Promise.all([treeOf(scene, 'w1', names).session(), treeOf(scene, 'w2', names).session()]),
  )
  await world.settle(writer.create('/x', Buffer.from('0')))
  for (let round = 1; round <= 6; round++) {
    let told = 0
    const watch = (): void => void told++
    const read = await world.settle(watcher.get('/x', { watch, linearizable: true }))
    t.equal(Buffer.from(read.data).toString(), String(round - 1))
    const leader = await scene.leads()
    if (leader !== undefined) scene.cluster.operator(leader).kill()
    if (round % 2 === 0) world.cables.partition(['w1'], [...names])
    const setting = writer.set('/x', Buffer.from(String(round)), round - 1)
    await world.settle(setting)
    t.equal(told, told > 0 ? 1 : 0)
    world.cables.heal()
    await scene.until('the watch tells it', () => told > 0)
    await scene.ready()
    t.equal(told, 1, 'once')
  }
})

t.test(
  'F3.77 leaders that change take no ephemeral; a process that ends loses its own',
  async (t) => {
    const scene = new Scene(t.name).start()
    const { world } = scene
    await scene.ready()
    const [owner, other] = await world.settle(
      Promise.all([treeOf(scene, 'w1', names).session(), treeOf(scene, 'w2', names).session()]),
    )
    await world.settle(owner.create('/mine', Buffer.alloc(0), { mode: 'ephemeral' }))
    const isThere = async (): Promise<boolean> =>
      (await world.settle(other.exists('/mine', { linearizable: true }))) !== undefined
    for (let round = 1; round <= 8; round++) {
      await world.run(1500 + 300 * round)
      const leader = await scene.leads()
      if (leader === undefined) continue
      if (round % 2 === 0) scene.cluster.operator(leader).kill()
      else world.pause(leader, 6000)
      t.ok(await isThere(), `round ${round}`)
    }
    await scene.ready()
    world.kill('w1')
    const sinceMs = world.scheduler.nowMs
    await scene.until('it goes', async () => !(await isThere()))
    const afterMs = world.scheduler.nowMs - sinceMs
    t.ok(afterMs > 10_000 - 10_000 / 3 - 500, `not early: ${afterMs}`)
  },
)

t.test('F3.78 a leader that others have replaced confirms nothing', async (t) => {
  const scene = new Scene(t.name).start()
  const { world } = scene
  await scene.ready()
  const writer = await world.settle(treeOf(scene, 'w2', names).session())
  await world.settle(writer.create('/x', Buffer.from('old')))
  await scene.until('a leader', async () => (await scene.leads()) !== undefined)
  const old = (await scene.leads()) ?? ''
  const reader = await world.settle(treeOf(scene, 'w1', [old]).session())
  const others = names.filter((name) => name !== old)
  world.cables.partition([old, 'w1'], [...others, 'w2'])
  const reads: string[] = []
  const read = async (): Promise<void> => {
    const { data } = await reader.get('/x', { linearizable: true })
    reads.push(Buffer.from(data).toString())
  }
  await world.settle(writer.set('/x', Buffer.from('new'), 0))
  const asked = Promise.allSettled([read(), read()])
  await world.run(3000)
  t.same(reads, [], 'what is old is not told as what is')
  world.cables.heal()
  await world.settle(asked)
  t.ok(
    reads.every((text) => text === 'new'),
    'nor later',
  )
})
