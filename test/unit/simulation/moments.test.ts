// Faults that meet moments: aimed at where it happens, of kinds that the run has, and not too many.
import t from 'tap'
import { createSimulatedIo, Nemesis, World } from '../../../src/simulation/index.ts'
import type { FaultKind, Moment } from '../../../src/simulation/index.ts'

const nodes = ['a', 'b', 'c']

/** A world of three machines whose operators only note whom they killed. */
function troubled(kinds: readonly FaultKind[], moments: readonly Moment[]) {
  const world = new World({ seed: 1 })
  const killed: string[] = []
  const operators = nodes.map((name) => {
    const nothing = () => undefined
    const restart = async () => undefined
    const kill = () => void killed.push(name)
    return { name, kill, cutPower: nothing, restart, start: nothing, stop: nothing }
  })
  const operator = (name: string) => operators[nodes.indexOf(name)] ?? { ...operators[0], name }
  const cluster = { world, nodes, operators, operator } as never
  const nothing = () => undefined
  const nemesis = new Nemesis({
    cluster,
    clients: () => ['k'],
    killClient: nothing,
    kinds,
    moments,
    everyMs: 1_000_000,
  })
  return { world, nemesis, killed }
}

t.test('a fault meets the moments that are favoured, where they happen', async (t) => {
  const { world, nemesis, killed } = troubled(['kill'], ['a recovery begins'])
  const tell = (moment: Moment) => nemesis.moment(moment, { machine: 'b' })
  t.equal(tell('a recovery begins'), undefined, 'nothing happens before its time')
  const over = nemesis.befall(1000)
  const happened = Array.from({ length: 60 }, () => tell('a recovery begins'))
  t.ok(happened.includes('kill'))
  t.ok(happened.includes(undefined), 'not each of them')
  t.ok(Array.from({ length: 60 }, () => tell('a ledger is closed')).every((kind) => !kind))
  t.same(killed, [], 'the event that it meets ends first')
  await world.settle(over)
  t.ok(killed.length > 1 && killed.length <= 6, 'no more than a few at once')
  t.same([...new Set(killed)], ['b'])
  t.equal(nemesis.counts.get('kill'), killed.length)
  t.equal(tell('a recovery begins'), undefined, 'nor after it')
})

t.test('what cannot be aimed does not meet a moment', async (t) => {
  const { world, nemesis } = troubled(['garbage', 'clock jump'], ['a recovery begins'])
  const over = nemesis.befall(1000)
  for (let left = 40; left > 0; left -= 1) {
    const kind = nemesis.moment('a recovery begins', { machine: 'b' })
    t.ok(kind === undefined || kind === 'clock jump')
  }
  await world.settle(over)
  t.not(world.node('b').clockFaults.wallOffsetMs, 0)
  t.equal(world.node('a').clockFaults.wallOffsetMs, 0)
})

t.test('a slow cable delays what passes it, one way or both, until it is quickened', async (t) => {
  const world = new World({ seed: 1 })
  const [near, far] = [createSimulatedIo(world, 'k'), createSimulatedIo(world, 'b')]
  const came: number[] = []
  const handler = { drain: () => undefined, close: () => undefined }
  await world.settle(
    far.network.listen({ host: 'b', port: 1 }, (connection) => {
      connection.start({ ...handler, data: () => void came.push(world.scheduler.nowMs) })
    }),
  )
  const address = { host: 'b', port: 1 }
  const connection = await world.settle(near.network.connect(address, { timeoutMs: 1000 }))
  connection.start({ ...handler, data: () => undefined })
  const sendAt = async () => {
    const sentMs = world.scheduler.nowMs
    connection.write(Buffer.of(1))
    await world.run(1000)
    return (came.at(-1) ?? 0) - sentMs
  }
  t.ok((await sendAt()) < 10)
  world.cables.slowDown('k', 'b', [300, 400])
  t.ok((await sendAt()) >= 300)
  world.cables.quicken('b', 'k')
  t.ok((await sendAt()) >= 300, 'the other way is another cable')
  world.cables.quicken('k', 'b')
  t.ok((await sendAt()) < 10)
})
