// A bookie whose disk was wiped comes back as a new one, at the address of the old. Whoever asks for
// the old one must not take the new one's "no entry" for its word.
import t from 'tap'
import { claimAddress } from '../../../src/embedded/node/address-claim.ts'
import { createRegistrationManager } from '../../../src/metadata/registration.ts'
import {
  createMemoryMetadata,
  createSimulatedIo,
  journalOn,
  SimulatedCluster,
  World,
} from '../../../src/simulation/index.ts'
import { quiet } from '../../support/quiet.ts'

t.setTimeout(120_000)

t.test('a new bookie at an old address never answers for the old one', async (t) => {
  for (let seed = 1; seed <= 2; seed += 1) {
    const world = new World({ seed })
    const nodes = ['a', 'b', 'c']
    const cluster = new SimulatedCluster({
      world,
      nodes,
      logger: () => quiet,
      restartMs: [10, 50],
    })
    for (const operator of cluster.operators) operator.start()
    const isUp = () => cluster.operators.every(({ node }) => node !== undefined)
    while (!isUp()) await world.run(50)
    const client = await world.settle(cluster.client('k'))
    const shape = { ensembleSize: 2, writeQuorumSize: 2, ackQuorumSize: 2 } as const
    const isOn = (name: string, ledgerId: bigint): boolean =>
      journalOn(world.node(name).disk)?.batches.some(({ records }) =>
        records.some((record) => record.ledgerId === ledgerId),
      ) === true
    const append = async (): Promise<bigint> => {
      const writer = await client.ledgers.create(shape)
      await writer.append(Buffer.from('acknowledged'))
      return isOn('a', writer.ledgerId) ? append() : writer.ledgerId
    }
    const ledgerId = await world.settle(append())
    world.kill('k')
    cluster.operator('b').cutPower('none')
    for (const path of world.node('b').disk.files()) world.node('b').disk.lose(path)
    const other = await world.settle(cluster.client('k2'))
    while (!isUp()) await world.run(50)
    world.pause('c', 3000)
    const reader = await world.settle(other.ledgers.recover(ledgerId))
    t.equal(reader.lastAddConfirmed, 0, `seed ${seed}`)
  }
})

t.test('nobody listens where another bookie is registered', async (t) => {
  const world = new World({ seed: 1 })
  const io = createSimulatedIo(world, 'x')
  const metadata = createMemoryMetadata({ ...io, logger: quiet })
  const session = await world.settle(metadata.session())
  const registration = createRegistrationManager({ session, timers: io.timers })
  const claim = (bookieId: string, port: number) =>
    claimAddress({
      registration,
      timers: io.timers,
      logger: quiet,
      bookieId,
      address: { host: 'x', port },
    })
  const old = { bookieId: 'old', host: 'x', port: 3181 }
  await world.settle(registration.register(old, 'read-only'))
  const nowhere = session.create('/ledgers/available/nowhere', Buffer.from('?'), {
    mode: 'ephemeral',
  })
  await world.settle(nowhere)
  await world.settle(claim('old', 3181))
  await world.settle(claim('new', 3182))
  await world.settle(claim('new', 0))
  const [refused] = await world.settle(Promise.allSettled([claim('new', 3181)]))
  t.match(refused, { status: 'rejected', reason: { code: 'QUIRE_ADDRESS_IN_USE' } })
  const waiting = claim('new', 3181)
  await world.run(5000)
  await world.settle(registration.unregister('old'))
  await world.settle(waiting)
  t.ok(world.scheduler.nowMs < 70_000, 'and it listens when that one is gone')
  await world.settle(metadata.close())
})
