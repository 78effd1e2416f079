// Two of three disks are gone: what is left of the third becomes a cluster of its own.
import t from 'tap'
import { addNode } from '../../../src/embedded/operations/membership.ts'
import { narrowed } from '../../../src/embedded/operations/rescue/fence.ts'
import { fateOf } from '../../../src/embedded/operations/rescue/report.ts'
import { planRescue, rescue } from '../../../src/embedded/operations/rescue/rescue.ts'
import type { Node } from '../../../src/embedded/open.ts'
import { BookieSurvey } from '../../../src/bookie/survey.ts'
import { QuireError } from '../../../src/errors.ts'
import { clusterPort, createSimulatedIo, SimulatedCluster } from '../../../src/simulation/index.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'
import { names, Scene } from '../../support/group-scene.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(240_000)

const peersOfA = [`a:${clusterPort}`]

class Rescue extends Scene {
  /** On the machine of a node that is stopped. */
  get here() {
    this.world.kill('a')
    const io = createSimulatedIo(this.world, 'a')
    return { io, logger: quiet, dir: '/data' }
  }

  /** The node `a`, from now on by itself. */
  alone(): SimulatedCluster {
    const { world } = this
    const alone = new SimulatedCluster({
      world,
      nodes: ['a'],
      logger: () => quiet,
      restartMs: [50, 400],
      open: { peers: peersOfA, sessionTimeoutMs: 4000 },
    })
    alone.operator('a').start()
    return alone
  }

  read(node: Node, from: number): Promise<string[]> {
    const all = async (): Promise<string[]> => {
      const log = await node.log('orders')
      const texts: string[] = []
      for await (const { bytes } of log.read({ from })) texts.push(bytes.toString())
      return texts
    }
    return this.world.settle(all())
  }
}

/** The simulated store writes its file anew whenever it is opened. */
const filesOf = ({ world }: Rescue): string[] =>
  world
    .node('a')
    .disk.files()
    .map((path) => path.replace(/(tree\.sqlite)\.\d+$/, '$1'))

async function lostTwo(seed: string): Promise<{ scene: Rescue; ids: Record<string, string> }> {
  const scene = new Rescue(seed)
  scene.start()
  const [first] = await scene.ready()
  if (!first) throw new Error('there is one')
  for (const text of ['one', 'two', 'three']) await scene.append(first, text)
  await scene.world.run(2000)
  const ids = Object.fromEntries(
    names.map((name) => [name, scene.cluster.operator(name).node?.id ?? '']),
  )
  for (const operator of scene.cluster.operators) operator.stop()
  return { scene, ids }
}

t.test('F3.73 a rescue says what may be lost, and a dry run changes nothing', async (t) => {
  const { scene, ids } = await lostTwo(t.name)
  const { world } = scene
  const filesBefore = filesOf(scene)
  const plan = await world.settle(planRescue(scene.here))
  t.equal(plan.id, ids['a'])
  t.same(new Set(plan.lost), new Set([ids['b'], ids['c']]))
  t.ok(plan.log.appended >= plan.log.applied)
  t.ok(plan.log.appended >= plan.log.committed)
  t.equal(plan.ledgers.gone.count, 0)
  const { total, whole, lacking, open } = plan.ledgers
  t.equal(total, whole + lacking.count + open.count)
  for (const { held } of open.ledgers) t.type(held, 'number', 'the disk was read')
  t.ok(whole > 0, 'entries of closed ledgers were found on the disk')
  t.match(plan.logs, [{ name: 'orders' }])
  t.same(filesOf(scene), filesBefore)
  const again = await world.settle(planRescue(scene.here))
  t.same(again, plan)
  scene.start()
  await scene.ready()
})

t.test('F3.73 a rescued node is a cluster of its own, and fences the old one', async (t) => {
  const { scene, ids } = await lostTwo(t.name)
  const { world } = scene
  const before = await world.settle(planRescue(scene.here))
  const rescued = await world.settle(rescue(scene.here))
  t.not(rescued.newClusterId, before.clusterId)
  t.not(rescued.newId, ids['a'], 'another member')
  t.ok(
    world
      .node('a')
      .disk.files()
      .some((path) => path.startsWith(rescued.aside)),
  )
  const after = await world.settle(planRescue(scene.here))
  const epochs = (report: typeof after) => report.logs.map(({ ownerEpoch }) => ownerEpoch)
  t.ok((epochs(after)[0] ?? 0) > (epochs(before)[0] ?? 0), 'who owned the log is fenced')
  const alone = scene.alone()
  await scene.until('it runs alone', () => alone.operator('a').node !== undefined)
  const node = alone.operator('a').node
  if (!node) throw new Error('it runs')
  t.equal(node.id, ids['a'], 'the bookie is what it was')
  t.same(await scene.read(node, 0), ['one', 'two', 'three'], 'what has a copy here is read')
  t.equal(await scene.append(node, 'four'), 3, 'and the log goes on')

  for (const name of ['b', 'c']) scene.cluster.operator(name).start()
  await world.run(15_000)
  for (const name of ['b', 'c']) {
    const operator = scene.cluster.operator(name)
    t.equal(operator.node, undefined, `${name} does not serve`)
    t.ok(
      operator.refusals.some(({ error }) => QuireError.is(error, 'QUIRE_CLUSTER_RESCUED')),
      `${name} is told that its cluster is no more`,
    )
    operator.stop()
  }

  scene.wipe('b')
  const b = new SimulatedCluster({
    world,
    nodes: ['b'],
    logger: () => quiet,
    restartMs: [50, 400],
    open: { peers: [...peersOfA, `b:${clusterPort}`], sessionTimeoutMs: 4000 },
  })
  b.operator('b').start()
  await scene.until('it waits', async () => (await scene.ask('b'))?.clusterId === '')
  const parts = { ...scene.parts, seeds: [scene.address('a')] }
  await world.settle(addNode(parts, scene.address('b')))
  await scene.until('the cluster grows again', () => b.operator('b').node !== undefined)
})

t.test(
  'F3.73 a rescue that ended in the middle is run again, and nothing starts before',
  async (t) => {
    for (let seed = 1; seed <= 2; seed++) {
      const { scene } = await lostTwo(`${t.name} ${seed}`)
      const { world } = scene
      const outcome: { clusterId?: string; error?: unknown } = {}
      rescue(scene.here).then(
        ({ newClusterId }) => (outcome.clusterId = newClusterId),
        (error: unknown) => (outcome.error = error),
      )
      await world.run(world.scheduler.choose(3000, 'test.rescue'))
      world.cutPower('a', 'none')
      const alone = scene.alone()
      await world.run(4000)
      const operator = alone.operator('a')
      // It is the old one still, which finds no majority; or the new one, wholly; or it refuses.
      for (const { error } of operator.refusals) {
        t.match(error, { code: 'QUIRE_BAD_METADATA', message: /run "quire rescue/ }, `seed ${seed}`)
      }
      if (outcome.clusterId === undefined) t.equal(operator.node, undefined, `seed ${seed}`)
      operator.stop()
      const rescued = await world.settle(rescue(scene.here))
      const again = scene.alone()
      await scene.until('it runs alone', () => again.operator('a').node !== undefined)
      const said = await scene.ask('a')
      t.equal(said?.clusterId, rescued.newClusterId)
      const node = again.operator('a').node
      if (node) t.same(await scene.read(node, 0), ['one', 'two', 'three'], `seed ${seed}`)
    }
  },
)

t.test('what holds no metadata of a cluster is not rescued', async (t) => {
  const scene = new Rescue(t.name)
  const { world } = scene
  const nowhere = { ...scene.parts, dir: '/nowhere' }
  await t.rejects(world.settle(rescue(nowhere)), { code: 'QUIRE_DIRECTORY_MISSING' })
  const alone = new SimulatedCluster({ world, nodes: ['a'], logger: () => quiet })
  alone.operator('a').start()
  await scene.until('it runs', () => alone.operator('a').node !== undefined)
  alone.operator('a').stop()
  await t.rejects(world.settle(planRescue(scene.here)), {
    code: 'QUIRE_BAD_OPTION',
    message: /never belonged to a cluster with peers/,
  })
})

const ledger = (changes: Partial<LedgerMetadata>): LedgerMetadata => ({
  formatVersion: 3,
  state: 'closed',
  ensembleSize: 3,
  writeQuorumSize: 3,
  ackQuorumSize: 2,
  fragments: [{ firstEntryId: 0, ensemble: ['a', 'b', 'c'] }],
  lastEntryId: 9,
  lengthBytes: 100,
  digest: 'crc32c',
  password: Buffer.alloc(0),
  ctimeMs: 0,
  customMetadata: new Map(),
  creatorToken: 0n,
  ...changes,
})

t.test('how a ledger fares', async (t) => {
  const without = [{ firstEntryId: 0, ensemble: ['b', 'c', 'd'] }]
  const two = [{ firstEntryId: 0, ensemble: ['a', 'b'] }]
  const later = { firstEntryId: 10, ensemble: ['b', 'c', 'd'] }
  for (const [fate, changes] of [
    ['lacking', {}],
    ['whole', { ensembleSize: 2, writeQuorumSize: 2, fragments: two }],
    ['whole', { lastEntryId: -1 }],
    ['open', { state: 'open' }],
    ['open', { state: 'in-recovery' }],
    ['gone', { fragments: without }],
    ['gone', { fragments: without, state: 'open' }],
    ['lacking', { fragments: [...ledger({}).fragments, later] }],
    ['gone', { writeQuorumSize: 2 }],
  ] as const) {
    const found = fateOf(1n, ledger(changes), { bookieId: 'a' })
    t.equal(found.fate, fate, `${fate}: ${Object.keys(changes).join()}`)
  }
})

t.test('how a ledger fares whose entries were looked at', async (t) => {
  const survey = new BookieSurvey()
  for (const entryId of [0, 1, 2, 7, 5, 6, 1, 2, 3, 12]) survey.add(1n, entryId)
  t.equal(survey.held(1n, 20), 8)
  t.equal(survey.held(1n, 6), 6)
  t.equal(survey.held(1n, -1), 0)
  t.equal(survey.held(2n, 20), 0)
  const bookie = { bookieId: 'a', survey }
  t.match(fateOf(1n, ledger({}), bookie), { fate: 'lacking', held: 7, missing: 3 })
  t.match(fateOf(1n, ledger({ lastEntryId: 3 }), bookie), { fate: 'whole', held: 4, missing: 0 })
  const open = fateOf(1n, ledger({ state: 'open' }), bookie)
  t.match(open, { fate: 'open', held: 8, missing: undefined })
})

t.test('a ledger that is open is left with the copy that there is', async (t) => {
  t.equal(narrowed(ledger({}), 'a'), undefined, 'a closed one stays as it is')
  t.match(narrowed(ledger({ state: 'open' }), 'a'), {
    state: 'open',
    ensembleSize: 1,
    writeQuorumSize: 1,
    ackQuorumSize: 1,
    fragments: [{ ensemble: ['a'] }],
  })
  const later = { firstEntryId: 5, ensemble: ['b', 'c', 'd'] }
  const cut = narrowed(ledger({ state: 'open', fragments: [...ledger({}).fragments, later] }), 'a')
  t.match(cut, { state: 'closed', lastEntryId: 4, fragments: [{ ensemble: ['a'] }] })
  t.match(narrowed(ledger({ state: 'open', fragments: [{ ...later, firstEntryId: 0 }] }), 'a'), {
    state: 'closed',
    lastEntryId: -1,
  })
  t.equal(narrowed(ledger({ state: 'open', writeQuorumSize: 2 }), 'a'), undefined, 'a part of it')
})
