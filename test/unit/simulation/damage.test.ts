// Each kind of damage on the disk of one node of three: the node starts, or is refused for a reason
// that the damage explains; what it can know that it lost it does not deny; nothing is lost to the
// clients; and the account names what was hit.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  damageKinds,
  journalOn,
  SimulatedCluster,
  World,
  type DamageKind,
} from '../../../src/simulation/index.ts'
import { Damage } from '../../../src/simulation/damage.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(120_000)

/** More than memory keeps of a journal with segments of this size. */
const payload = Buffer.alloc(9000, 'payload')
const entryCount = 60

async function start(seed: string, isGroup = false) {
  const world = new World({ seed })
  const cluster = new SimulatedCluster({
    world,
    nodes: ['a', 'b', 'c'],
    founders: isGroup ? 3 : 1,
    open: { segmentBytes: 65_536 },
    logger: () => quiet,
    restartMs: [10, 100],
  })
  for (const operator of cluster.operators) operator.start()
  const isUp = () => cluster.operators.every(({ node }) => node !== undefined)
  while (!isUp()) await world.run(50)
  return { world, cluster }
}

async function until(world: World, condition: () => boolean): Promise<void> {
  for (let left = 2000; left > 0 && !condition(); left -= 1) await world.run(20)
}

/** Hits b until something was hit; what it takes is another start, for an image of the disk. */
async function hit(world: World, damage: Damage, kind: DamageKind): Promise<boolean> {
  for (let left = 20; left > 0; left -= 1) {
    if (damage.happen(kind) !== undefined) return true
    await world.run(2000)
  }
  return false
}

for (const kind of damageKinds) {
  t.test(kind, async (t) => {
    const isKeeper = kind === 'wiped disk'
    const { world, cluster } = await start(kind, isKeeper)
    const client = await world.settle(cluster.client('k'))
    const append = async (): Promise<bigint> => {
      const writer = await client.ledgers.create()
      const all = Array.from({ length: entryCount }, () => writer.append(payload))
      await Promise.all(all)
      return writer.ledgerId
    }
    const ids = [await world.settle(append())]
    const operator = cluster.operator('b')
    const victim = operator
    const damage = new Damage({ world, victim, timesMax: 1, mayForget: () => true, isKeeper })
    if (kind === 'restored image') {
      t.equal(damage.happen(kind), undefined, 'the image is taken')
      operator.kill()
      await until(world, () => operator.node !== undefined)
      ids.push(await world.settle(append()))
    }
    t.ok(await hit(world, damage, kind), 'something was hit')
    t.equal(damage.happen(kind), undefined, 'and the budget is spent')
    operator.cutPower('none')
    const refusal = () => operator.refusals.at(-1)
    const isRefused = () => damage.explains('b', refusal()?.error)
    await until(world, () => operator.node !== undefined || isRefused())
    t.ok(operator.node !== undefined || isRefused(), 'b runs, or says why not', {
      refusal: String(refusal()?.error),
    })
    const mustRefuse = [
      'truncated file',
      'empty mount',
      'restored image',
      'lost write',
      'wiped disk',
    ]
    if (mustRefuse.includes(kind)) t.equal(operator.node, undefined, 'what b lacks is noticed')
    for (const ledgerId of ids) {
      const reader = await world.settle(client.ledgers.recover(ledgerId))
      t.equal(reader.lastAddConfirmed, entryCount - 1)
      const read = async (): Promise<number> => {
        let same = 0
        for await (const entry of reader.read()) if (payload.equals(entry.payload)) same += 1
        return same
      }
      t.equal(await world.settle(read()), entryCount, 'all is read')
    }
    const lost = ids.flatMap((id) =>
      Array.from({ length: entryCount }, (_, entryId) => damage.isLost('b', id, entryId)),
    )
    const others = ['misdirected read', 'damaged superblock', 'lost file', 'forgotten tail']
    if (!others.includes(kind)) t.ok(lost.includes(true), 'the account names what was hit')
    t.notOk(damage.isLost('c', ids[0] ?? 0n, 0), 'of b alone')
    t.notOk(damage.explains('c', new QuireError('QUIRE_RANGE_LOST', '')))
  })
}

t.test('what is durable on a disk is told with its places', async (t) => {
  const { world, cluster } = await start('journal')
  const client = await world.settle(cluster.client('k'))
  const writer = await world.settle(client.ledgers.create())
  for (let entryId = 0; entryId < 3; entryId += 1) await world.settle(writer.append(payload))
  // Two of three copies are enough for an acknowledgement; the third comes.
  await world.run(500)
  const journal = journalOn(world.node('a').disk)
  const entries = journal?.batches.flatMap(({ records }) => records.filter((r) => r.entryId >= 0))
  t.match(
    entries?.map(({ ledgerId, entryId }) => [ledgerId, entryId]),
    [0, 1, 2].map((entryId) => [writer.ledgerId, entryId]),
  )
  t.equal(journal?.batches.at(-1)?.isProven, false, 'the last batch is proven by nothing')
  t.equal(journal?.batches.at(-2)?.isProven, true, 'the one before it by the last')
  t.equal(journalOn(world.node('k').disk), undefined)
})
