// What the simulated network does to connections, and that one seed gives one run.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { Connection, Io } from '../../../src/io/index.ts'
import { createSimulatedIo, World, type ChoiceLists } from '../../../src/simulation/index.ts'

const address = { host: 'b', port: 3181 }

class Pair {
  readonly world: World
  readonly a: Io
  readonly b: Io
  heard = Buffer.alloc(0)
  readonly chunks: number[] = []
  readonly closes: string[] = []

  constructor(seed: number | string, choices?: ChoiceLists) {
    this.world = new World({ seed, choices })
    this.a = createSimulatedIo(this.world, 'a')
    this.b = createSimulatedIo(this.world, 'b')
  }

  async open(): Promise<{ near: Connection; far: Connection }> {
    const { promise, resolve } = Promise.withResolvers<Connection>()
    await this.world.settle(this.b.network.listen(address, resolve))
    const near = await this.world.settle(this.a.network.connect(address, { timeoutMs: 1000 }))
    const far = await this.world.settle(promise)
    near.start(this.#ear('near'))
    far.start(this.#ear('far'))
    return { near, far }
  }

  #ear(name: string) {
    return {
      data: (chunk: Buffer) => {
        this.chunks.push(chunk.length)
        this.heard = Buffer.concat([this.heard, chunk])
      },
      drain: () => undefined,
      close: (error: Error | undefined) => {
        this.closes.push(`${name} ${QuireError.is(error) ? error.code : String(error)}`)
      },
    }
  }
}

t.test('a stream comes in pieces of any size, none lost, none twice', async (t) => {
  const pair = new Pair(1)
  Object.assign(pair.world.cables.faults, { oneByte: 0.3, split: 0.5 })
  const { near } = await pair.open()
  const sent = Buffer.from(Array.from({ length: 20_000 }, (_, index) => index % 251))
  for (let at = 0; at < sent.length; at += 1000) {
    near.write(sent.subarray(at, at + 1000))
    await pair.world.run(0.5)
  }
  await pair.world.run(5000)
  t.ok(pair.heard.equals(sent))
  t.ok(pair.chunks.includes(1) && new Set(pair.chunks).size > 5)
})

t.test('a reset loses what is under way; the sender does not know how much came', async (t) => {
  const arrived = new Set<boolean>()
  for (let seed = 1; seed <= 20; seed++) {
    const pair = new Pair(seed)
    const { near } = await pair.open()
    for (let n = 0; n < 50; n++) near.write(Buffer.alloc(1000))
    await pair.world.run(0.3)
    for (const connection of pair.world.cables.connections()) connection.reset()
    await pair.world.run(100)
    arrived.add(pair.heard.length === 50_000)
    t.ok(pair.closes.includes('near QUIRE_CONNECTION_LOST'))
    t.equal(pair.closes.length, 2)
  }
  t.ok(arrived.has(false))
})

t.test(
  'a partition holds bytes back in its direction, and healing lets them through',
  async (t) => {
    const pair = new Pair(3)
    const { near, far } = await pair.open()
    pair.world.cables.cut('a', 'b')
    near.write(Buffer.from('later'))
    await pair.world.run(2000)
    t.equal(pair.heard.length, 0)
    far.write(Buffer.from('now '))
    await pair.world.run(100)
    t.equal(pair.heard.toString(), 'now ', 'the other direction works')
    pair.world.cables.heal()
    await pair.world.run(1000)
    t.equal(pair.heard.toString(), 'now later')
    pair.world.cables.partition(['a'], ['b'])
    const attempt = pair.a.network.connect(address, { timeoutMs: 200 })
    const [outcome] = await pair.world.settle(Promise.allSettled([attempt]))
    t.ok(outcome.status === 'rejected' && QuireError.is(outcome.reason, 'QUIRE_TIMEOUT'))
    near.write(Buffer.from('never'))
    await pair.world.run(60_000)
    t.same(pair.closes.toSorted(), ['far QUIRE_CONNECTION_LOST', 'near QUIRE_CONNECTION_LOST'])
  },
)

t.test('a killed process is heard of soon, a node without power late', async (t) => {
  const killed = new Pair(4)
  await killed.open()
  killed.world.kill('b')
  await killed.world.run(100)
  t.match(killed.closes, [/^near/], 'and the dead hear nothing')
  const again = killed.a.network.connect(address, { timeoutMs: 1000 })
  const [refused] = await killed.world.settle(Promise.allSettled([again]))
  t.ok(refused.status === 'rejected' && QuireError.is(refused.reason, 'QUIRE_CONNECTION_LOST'))

  const dark = new Pair(5)
  await dark.open()
  dark.world.cutPower('b')
  await dark.world.run(10_000)
  t.same(dark.closes, [], 'half open')
  await dark.world.run(60_000)
  t.same(dark.closes, ['near QUIRE_CONNECTION_LOST'])
})

t.test('bytes that change before they were flushed are noticed', async (t) => {
  const pair = new Pair(6)
  const { near } = await pair.open()
  const bytes = Buffer.alloc(100)
  near.write(bytes)
  bytes[0] = 1
  await t.rejects(pair.world.run(100), { code: 'QUIRE_INVARIANT' })
})

/** A little of everything. */
async function story(pair: Pair): Promise<void> {
  const { near, far } = await pair.open()
  const { files, timers, random } = pair.a
  await pair.world.settle(files.makeDirectory('/x'))
  const file = await pair.world.settle(files.open('/x/y', 'create'))
  timers.after(random.below(20), () => near.write(random.bytes(5000)))
  timers.after(random.below(20), () => far.write(random.bytes(5000)))
  await pair.world.settle(Promise.all([file.write(random.bytes(3000), 0), file.sync()]))
  await pair.world.run(50)
  pair.world.cutPower('b')
  await pair.world.run(1000)
}

t.test('one seed, one run; its choices replay it', async (t) => {
  const run = async (seed: string, choices?: ChoiceLists) => {
    const pair = new Pair(seed, choices)
    await story(pair)
    return { hash: pair.world.scheduler.traceHash, choices: pair.world.scheduler.choices }
  }
  const first = await run('one')
  t.same(await run('one'), first)
  t.not((await run('two')).hash, first.hash)
  const replayed = await run('one', first.choices)
  t.equal(replayed.hash, first.hash)
  const latencies = Int32Array.from(first.choices.get('net.latency') ?? [])
  latencies[0] = 4095 - (latencies[0] ?? 0)
  const changed = new Map([...first.choices, ['net.latency', latencies]])
  t.not((await run('one', changed)).hash, first.hash)
})

t.test('a paused node does nothing, then all that is due', async (t) => {
  const pair = new Pair(8)
  const { near } = await pair.open()
  const fired: number[] = []
  for (const delayMs of [10, 20, 30]) pair.b.timers.after(delayMs, () => fired.push(delayMs))
  pair.world.pause('b', 500)
  near.write(Buffer.from('hello'))
  await pair.world.run(400)
  t.same([fired.length, pair.heard.length], [0, 0])
  await pair.world.run(200)
  t.same([fired.length, pair.heard.length], [3, 5])
})

t.test('what was cancelled in or after a pause does not happen', async (t) => {
  const world = new World({ seed: 8 })
  const { timers } = createSimulatedIo(world, 'a')
  let fired = 0
  const timer = timers.after(10, () => (fired += 1))
  world.pause('a', 500)
  await world.run(100)
  timer.cancel()
  await world.run(1000)
  t.equal(fired, 0)
})

t.test('a world that cannot go on says so', async (t) => {
  const world = new World({ seed: 1 })
  await t.rejects(world.settle(new Promise(() => undefined)), { code: 'QUIRE_INVARIANT' })
  const io = createSimulatedIo(world, 'a')
  io.timers.after(10, () => {
    throw new Error('nobody catches this')
  })
  await t.rejects(world.run(100), { message: 'nobody catches this' })
  t.throws(() => createSimulatedIo(world, 'a'), { code: 'QUIRE_INVARIANT' }, 'one process a node')
})

t.test(
  'a thread that is terminated lets go of what it had: locks, listeners, connections',
  async (t) => {
    const world = new World({ seed: 9 })
    const started = Promise.withResolvers<Connection>()
    const io = createSimulatedIo(world, 'a', {
      programs: {
        'embedded/node-thread': async (port, inner) => {
          await inner.files.lock('/')
          await inner.network.listen({ host: 'a', port: 1 }, started.resolve)
          inner.timers.after(100, () => port.post('a timer of the dead'))
          port.post('ready')
        },
      },
    })
    const thread = io.threads.start('embedded/node-thread', undefined)
    const heard: unknown[] = []
    thread.receive((message) => heard.push(message))
    await world.run(50)
    const near = await world.settle(io.network.connect({ host: 'a', port: 1 }, { timeoutMs: 100 }))
    const closed = new Promise<void>((resolve) => {
      near.start({ data: () => undefined, drain: () => undefined, close: () => resolve() })
    })
    await world.settle(started.promise)
    await world.settle(thread.terminate())
    await world.settle(closed)
    await world.settle(io.files.lock('/'))
    await world.run(1000)
    t.same(heard, ['ready'])
    const again = io.network.connect({ host: 'a', port: 1 }, { timeoutMs: 100 })
    const [refused] = await world.settle(Promise.allSettled([again]))
    t.ok(refused.status === 'rejected' && QuireError.is(refused.reason, 'QUIRE_CONNECTION_LOST'))
  },
)
