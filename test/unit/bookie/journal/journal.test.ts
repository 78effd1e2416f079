// The journal on a simulated disk: group commit, rolling, starting again, giving segments back, and
// the bad days of its disk.
import t from 'tap'
import { QuireError } from '../../../../src/errors.ts'
import type { Io } from '../../../../src/io/index.ts'
import { createIo } from '../../../../src/io/real/index.ts'
import { slotMax } from '../../../../src/bookie/journal/contract.ts'
import { Journal } from '../../../../src/bookie/journal/journal.ts'
import { Segment } from '../../../../src/bookie/journal/segment.ts'
import { createSimulatedIo, World } from '../../../../src/simulation/index.ts'
import {
  JournalModel,
  openModel,
  type OpenModelOptions,
  small,
} from '../../../support/journal-model.ts'

type Options = Omit<OpenModelOptions, 'io'>

/** A world of one node. `open` starts a process on it; the one before must have ended. */
function createWorld(seed: number | string) {
  const world = new World({ seed })
  const node = world.node('a')
  let io: Io | undefined
  const openWith = (options: Options, around: (io: Io) => Io = (inner) => inner) => {
    io ??= around(createSimulatedIo(world, 'a'))
    return world.settle(openModel({ ...options, io }))
  }
  return {
    world,
    node,
    open: (options: Options = {}, around?: (io: Io) => Io) => {
      io = undefined
      return openWith(options, around)
    },
    /** In the same process. */
    reopen: (options: Options = {}) => openWith(options),
    settle: <T>(promise: Promise<T>) => world.settle(promise),
    /** A power loss that keeps nothing that was not synced. */
    crash: () => world.cutPower('a', 'none'),
  }
}

const path = (slot: number) => `/j/segment-${String(slot).padStart(5, '0')}.journal`

t.test(
  'what is reported durable is there after a loss of power, what was not is whole or gone',
  async (t) => {
    const { world, open, settle } = createWorld('durable')
    const { model } = await open()
    let id = 0
    for (let round = 0; round < 20; round++) {
      for (let one = 0; one < 5; one++) model.add(1, id++, 300)
      if (round % 5 === 0) model.fence(round)
      await world.run(1)
    }
    const { durableSequence } = model
    t.ok(durableSequence > 20, 'commits go on while batches fill')
    t.ok(durableSequence < model.journal.sequence, 'the last ones are under way')
    world.cutPower('a')
    const again = await open()
    for (let sequence = 1; sequence <= durableSequence; sequence++) {
      const what = model.log.get(sequence) ?? ''
      const [kind, name = ''] = what.split(' ')
      const has =
        kind === 'add' ? again.model.entries.has(name) : again.model.fences.has(Number(name))
      t.equal(has, true, what)
    }
    t.same(again.model.wrong, [])
    t.equal(again.model.journal.sequence, again.model.replayed, 'numbers go on without a gap')
    await settle(again.store.close())
  },
)

/** The same io, counting commits that are with the device. */
function countCommits(io: Io, counts: { now: number; most: number; all: number }): Io {
  const journals: Io['journals'] = {
    async open() {
      const device = await io.journals.open()
      const commit = device.commit.bind(device)
      device.commit = (file, from, to, done) => {
        counts.all += 1
        counts.now += 1
        counts.most = Math.max(counts.most, counts.now)
        commit(file, from, to, (error) => {
          counts.now -= 1
          done(error)
        })
      }
      return device
    },
  }
  return { ...io, journals }
}

t.test('one commit is in flight, and what comes meanwhile is the next batch', async (t) => {
  const { node, open, settle, world } = createWorld('group')
  const commits = { now: 0, most: 0, all: 0 }
  const { model, store } = await open({}, (io) => countCommits(io, commits))
  await world.run(100)
  let syncs = 0
  node.disk.observe = (what) => (syncs += what === 'sync' ? 1 : 0)
  for (let id = 0; id < 50; id++) model.add(1, id)
  t.equal(model.durableSequence, 0)
  await settle(model.settled())
  t.equal(syncs, 1, 'what one turn appended is one batch')
  await settle(model.settled())
  model.add(1, 50)
  await world.run(0.001)
  for (let id = 51; id < 80; id++) model.add(1, id)
  await settle(model.settled())
  t.equal(syncs, 3)
  for (let id = 80; id < 400; id++) {
    await settle(model.addWaiting(1, id, 1000))
    if (id % 4 === 0) await world.run(0.3)
  }
  await settle(model.settled())
  t.ok(commits.all > 10, 'many commits')
  t.equal(commits.most, 1, 'never two at once')
  t.equal((await settle(model.read(1, 79))).length, 100)
  await settle(store.close())
  t.equal(model.add(1, 81), false, 'closed')
})

t.test(
  'segments roll while commits run, and reads find everything, in memory or not',
  async (t) => {
    const { open, settle, crash } = createWorld('roll')
    const { model, store } = await open()
    for (let id = 0; id < 2000; id++) await settle(model.addWaiting(1, id, 200))
    await settle(model.settled())
    const { segments, bytes, totalBytes } = store.journal.usage()
    t.ok(segments > 6, 'several segments')
    t.ok(bytes >= segments * small.segmentBytes && totalBytes > bytes)
    let cold = 0
    for (const [key, { place, bytes: held }] of model.entries) {
      const [, id] = key.split('/').map(Number)
      if (store.journal.view(place.slot, place.offset8) === undefined) cold += 1
      t.ok((await settle(model.read(1, id ?? -1))).equals(held), key)
    }
    t.ok(cold > 1000, 'most are not in memory any more')
    crash()
    const again = await open()
    t.equal(again.model.entries.size, 2000)
    t.same(again.model.wrong, [])
    for (const id of [0, 777, 1999]) {
      t.ok(
        (await settle(again.model.read(1, id))).equals(
          model.entries.get(`1/${id}`)?.bytes ?? Buffer.alloc(0),
        ),
      )
    }
  },
)

t.test('memory that somebody holds is not refilled', async (t) => {
  const { open, settle, world } = createWorld('hold')
  const { model, store } = await open()
  model.add(1, 0, 1000)
  const { journal } = store
  const place = model.entries.get('1/0')?.place ?? { slot: -1, offset8: -1 }
  const view = journal.view(place.slot, place.offset8)
  const expected = Buffer.from(view ?? '')
  t.equal(expected.length, 1000)
  journal.hold(place.slot)
  let last = place.slot
  for (let id = 1; last === place.slot; id++) {
    await settle(model.addWaiting(1, id, 300))
    last = model.entries.get(`1/${id}`)?.place.slot ?? -1
  }
  // A slow reader holds it, its ledger goes, and the other memory goes round several times.
  model.remove(1)
  for (let id = 0; id < 1500; id++) await settle(model.addWaiting(2, id, 300))
  await settle(model.settled())
  await world.run(5000)
  t.ok(view?.equals(expected), 'the bytes stay as they are')
  const slots = new Set([...model.entries.values()].map((held) => held.place.slot))
  t.notOk(slots.has(place.slot), 'and its file is not used again')
  journal.release(place.slot)
  await world.run(5000)
  for (let id = 1500; id < 3000; id++) await settle(model.addWaiting(2, id, 300))
  t.notOk(view?.equals(expected), 'once released it is refilled')
  t.throws(() => journal.release(place.slot), { code: 'QUIRE_INVARIANT' })
})

t.test('all memory held: appending waits for a release', async (t) => {
  const { open, settle, world } = createWorld('all held')
  const { model, store } = await open()
  const held = new Set<number>()
  let id = 0
  while (held.size < 3) {
    if (!model.add(1, id, 300)) {
      await world.run(10)
      continue
    }
    const slot = model.entries.get(`1/${id++}`)?.place.slot ?? -1
    if (!held.has(slot)) store.journal.hold(slot)
    held.add(slot)
  }
  while (store.journal.hasRoom && model.add(1, id, 300)) id += 1
  await world.run(10_000)
  while (store.journal.hasRoom && model.add(1, id, 300)) id += 1
  await world.run(10_000)
  t.equal(store.journal.hasRoom, false)
  t.equal(store.journal.isFull, false, 'that is no matter of the disk')
  t.ok(model.starvations > 5, 'the owner is asked for memory, again and again')
  const before = model.writables
  for (const slot of held) store.journal.release(slot)
  await world.run(10_000)
  t.ok(model.writables > before)
  await settle(model.addWaiting(1, id, 300))
})

t.test('a fence outlives its segment: written again, recycled, killed', async (t) => {
  const { open, settle, world, crash, node } = createWorld('evacuate')
  const { model, store } = await open()
  model.fence(7)
  model.add(1, 0)
  const first = model.entries.get('1/0')?.place.slot
  for (let id = 1; id < 1200; id++) await settle(model.addWaiting(1, id, 300))
  t.ok(store.journal.usage().segments > 4)
  model.remove(1)
  await settle(model.settled())
  await world.run(5000)
  t.ok(model.evacuations > 0)
  t.equal(store.journal.usage().segments, 2, 'space comes back')
  const names = [...node.disk.directory('/j').current.keys()]
  t.ok(names.filter((name) => name.endsWith('.journal')).length <= 4, 'files beyond spares go')
  // Its file is used again, several times over.
  const reused = new Set<number>()
  for (let id = 0; id < 1200; id++) {
    await settle(model.addWaiting(2, id, 300))
    reused.add(model.entries.get(`2/${id}`)?.place.slot ?? -1)
  }
  await settle(model.settled())
  t.ok(reused.has(first ?? -1), 'the slot of the fence holds other records')
  crash()
  const again = await open()
  t.same([...again.model.fences], [7], 'the fence holds')
  t.same([...again.model.tombstones], [1])
  t.equal(again.model.entries.size, 1200)
  t.same(again.model.wrong, [])
})

t.test('a segment full of fences waits before it is copied', async (t) => {
  const { open, settle, world } = createWorld('state')
  const { model, store } = await open()
  for (let ledger = 0; ledger < 3000; ledger++) {
    while (!model.fence(ledger)) await world.run(10)
  }
  await settle(model.settled())
  await world.run(60_000)
  t.ok(store.journal.sequence < 6000, 'fences are not copied round and round')
  for (let id = 0; id < 300; id++) await settle(model.addWaiting(1, id, 3000))
  await world.run(60_000)
  t.ok(model.evacuations > 0, 'they are when enough else was written')
  t.ok(store.journal.sequence < 20_000)
})

t.test('starting again and again', async (t) => {
  const { open, settle, world, node } = createWorld('loop')
  let expected = 0
  let incarnation = 0
  for (let round = 0; round < 12; round++) {
    const { model, store } = await open()
    t.equal(store.identity.incarnation, ++incarnation)
    t.same(model.wrong, [])
    t.equal(model.entries.size, expected)
    if (round % 3 === 0) {
      for (let id = 0; id < 3; id++) model.add(round, id)
      await settle(model.settled())
      expected += 3
    }
    if (round % 4 === 3) await settle(store.close())
    if (round % 2 === 0) world.cutPower('a', 'none')
    else world.kill('a')
  }
  const files = [...node.disk.directory('/j').current.keys()].filter((one) =>
    one.endsWith('.journal'),
  )
  t.ok(files.length < 12, 'an empty start leaves no segment behind')
  t.ok(node.disk.usedBytes() < 12 * small.segmentBytes, 'a short one keeps no room')
})

t.test('an fsync error ends it for good', async (t) => {
  const { open, reopen, settle, node, world } = createWorld('fsync')
  const { model, store } = await open()
  for (let id = 0; id < 10; id++) model.add(1, id)
  await settle(model.settled())
  node.diskFaults.next.push({ kind: 'sync', path: 'segment' })
  for (let id = 10; id < 20; id++) model.add(1, id)
  await world.run(1000)
  t.match(model.failure, { code: 'QUIRE_FSYNC_FAILED' })
  t.equal(model.durableSequence, 10, 'nothing more is reported durable')
  t.same([model.add(1, 20), model.fence(1), store.journal.hasRoom], [false, false, false])
  await settle(store.close())
  await t.rejects(reopen(), { code: 'QUIRE_DIRECTORY_POISONED' })
  world.kill('a')
  const again = await open()
  for (let id = 0; id < 10; id++) t.ok(again.model.entries.has(`1/${id}`))
  const served = [...again.model.entries.keys()]
  // What a start serves was synced anew: no later loss of power takes it away.
  world.cutPower('a', 'none')
  const third = await open()
  t.same([...third.model.entries.keys()], served)
  t.same(third.model.wrong, [])
})

t.test('what a start has served outlives any loss of power', async (t) => {
  let served = 0
  for (let seed = 0; seed < 24; seed++) {
    const { open, settle, node, world } = createWorld(`served ${seed}`)
    const { model } = await open()
    for (let id = 0; id < 10; id++) model.add(1, id)
    await settle(model.settled())
    // Its sync fails, or never ends: what was written may be seen, and not be on the disk.
    if (seed % 2 === 0) node.diskFaults.next.push({ kind: 'sync', path: 'segment' })
    for (let id = 10; id < 20; id++) model.add(1, id)
    if (seed % 2 === 0) await world.run(100)
    else while (!isWritten(node)) await world.run(0.05)
    world.kill('a')
    const again = await open()
    t.ok(again.model.entries.size >= 10)
    served += again.model.entries.size - 10
    world.cutPower('a', 'none')
    const third = await open()
    t.same([...third.model.entries.keys()], [...again.model.entries.keys()], `seed ${seed}`)
    t.same(third.model.wrong, [])
  }
  t.ok(served > 0, 'some of it was served')
})

/** A commit is written and not synced. */
function isWritten(node: ReturnType<typeof createWorld>['node']): boolean {
  return [0, 1, 2].some((slot) => {
    const inode = node.disk.find(path(slot))
    return inode?.kind === 'file' && inode.pending.some((change) => !change.flying)
  })
}

t.test('a full disk: what is urgent finds room, and it goes back by itself', async (t) => {
  const { open, settle, node, world } = createWorld('full')
  const { model, store } = await open()
  await world.run(1000)
  node.disk.capacityBytes = node.disk.usedBytes() + 10_000
  let id = 0
  while (!store.journal.isFull) {
    if (!model.add(1, id, 300)) await world.run(20)
    else id += 1
  }
  await settle(model.settled())
  t.equal(model.add(2, 0), false, 'ordinary adds are refused')
  t.equal(store.journal.hasRoom, false)
  let urgent = 0
  while (model.add(3, urgent, 300, true)) urgent += 1
  t.ok(urgent > 5, 'what is urgent is not')
  await settle(model.settled())
  t.equal(model.failure, undefined)
  // A deletion that came before gives room, out of what the urgent ones could not take.
  const { writables } = model
  model.add(1, id, 300)
  node.disk.capacityBytes += 4 * small.segmentBytes
  await world.run(5000)
  t.equal(store.journal.isFull, false)
  t.ok(model.writables > writables, 'the owner is told')
  t.equal(model.add(2, 0), true)
  await settle(store.close())
  const again = await killAndOpen()
  t.equal(again.model.entries.size, id + urgent + 1)

  async function killAndOpen() {
    world.kill('a')
    return open()
  }
})

t.test('who waits for room is told that the disk is full', async (t) => {
  const { open, node, world } = createWorld('waiting and full')
  const { model, store } = await open()
  await world.run(1000)
  node.disk.capacityBytes = node.disk.usedBytes() + 10_000
  for (let id = 0; model.add(1, id, 300); id++) t.equal(store.journal.isFull, false)
  const { writables } = model
  await world.run(500)
  t.equal(store.journal.isFull, true)
  t.equal(model.writables, writables + 1, 'and can refuse what it kept waiting')
})

t.test('a disk that is nearly full is left to others', async (t) => {
  const { open, node, world } = createWorld('nearly full')
  const { model, store } = await open()
  await world.run(1000)
  node.disk.capacityBytes = node.disk.usedBytes() + small.segmentBytes + 1000
  const most = { bytes: 0 }
  node.disk.observe = () => {
    most.bytes = Math.max(most.bytes, node.disk.usedBytes())
  }
  for (let id = 0; !store.journal.isFull; id++) if (!model.add(1, id, 300)) await world.run(20)
  await world.run(10_000)
  t.ok(most.bytes < node.disk.capacityBytes - small.segmentBytes / 2, 'no next segment was begun')
  node.disk.capacityBytes += small.segmentBytes
  await world.run(5000)
  t.equal(store.journal.isFull, false)
})

t.test('a journal has as many segments as places can name', async (t) => {
  const { open, world } = createWorld('many')
  const { model, store } = await open()
  await world.run(1000)
  const { journal } = store
  if (!(journal instanceof Journal)) throw new Error('another journal')
  for (let slot = 0; slot <= slotMax; slot++) {
    if (journal.segments[slot] !== undefined) continue
    const use = { slot, sequence: 1, uuid: Buffer.alloc(16), path: path(slot), bytes: 0 }
    const held = new Segment(use)
    held.isDropped = true
    held.holders = 1
    journal.segments[slot] = held
  }
  for (let id = 0; !journal.isFull; id++) if (!model.add(1, id, 3000)) await world.run(20)
  t.equal(journal.segments[slotMax + 1], undefined)
  const slots = [...model.entries.values()].map(({ place }) => place.slot)
  t.ok(Math.max(...slots) <= slotMax)
})

t.test('a journal whose disk is full can be closed', async (t) => {
  const { open, settle, world } = createWorld('full and closed')
  const state = { full: false }
  const { model, store } = await open({}, (io) => {
    const journals: Io['journals'] = {
      async open() {
        const device = await io.journals.open()
        const commit = device.commit.bind(device)
        device.commit = (file, from, to, done) => {
          if (state.full) io.timers.soon(() => done(new QuireError('QUIRE_DISK_FULL', 'full')))
          else commit(file, from, to, done)
        }
        return device
      },
    }
    return { ...io, journals }
  })
  model.add(1, 0)
  await settle(model.settled())
  state.full = true
  model.add(1, 1)
  await world.run(3000)
  t.equal(store.journal.isFull, true)
  await settle(store.close())
  t.equal(model.failure, undefined)
  t.equal(model.durableSequence, 1)
  world.kill('a')
  const again = await open()
  t.same([...again.model.entries.keys()], ['1/0'])
})

t.test('deletion on a full disk makes room without any from outside', async (t) => {
  const { open, settle, node, world } = createWorld('full and deleted')
  const { model, store } = await open({ spareSegments: 0 })
  model.fence(9)
  let id = 0
  for (; id < 500; id++) await settle(model.addWaiting(1, id, 300))
  node.disk.capacityBytes = node.disk.usedBytes() + 100
  while (!store.journal.isFull) {
    if (!model.add(2, id, 300)) await world.run(20)
    else id += 1
  }
  await settle(model.settled())
  t.ok(model.remove(1))
  await world.run(5000)
  t.equal(store.journal.isFull, false)
  t.equal(model.add(2, id, 300), true)
  await settle(model.settled())
  world.cutPower('a', 'none')
  const again = await open()
  t.same([...again.model.fences], [9])
  t.equal(again.model.entries.size, model.entries.size)
  t.same(again.model.wrong, [])
})

t.test('no room at any one call: nothing is lost, and it goes on', async (t) => {
  for (let call = 0; call < 40; call++) {
    const { open, settle, node, world } = createWorld(`full ${call}`)
    const { model } = await open()
    await world.run(1000)
    // The call-th write from now on finds no room, once.
    let writes = 0
    node.disk.observe = (what) => {
      if (what === 'write begins' && writes++ === call) node.diskFaults.next.push({ kind: 'full' })
    }
    for (let id = 0; id < 400; id++) await settle(model.addWaiting(1, id, 300))
    if (model.failure === undefined) await settle(model.settled())
    const durable = model.durableSequence
    // Part of a commit was written: what is on the disk is unknown, and the journal has ended.
    if (model.failure !== undefined) t.match(model.failure, { code: 'QUIRE_FSYNC_FAILED' })
    else t.equal(durable, 400, `write ${call}`)
    world.cutPower('a', 'none')
    const again = await open()
    t.ok(again.model.entries.size >= durable, `write ${call}`)
    t.same(again.model.wrong, [])
  }
})

t.test('damage at rest', async (t) => {
  const { open, settle, node, world } = createWorld('damage')
  const { model, store } = await open()
  for (let id = 0; id < 700; id++) await settle(model.addWaiting(1, id, 400))
  await settle(store.close())
  const damaged = model.entries.get('1/3')?.place ?? { slot: -1, offset8: -1 }
  const unreadable = model.entries.get('1/9')?.place ?? { slot: -1, offset8: -1 }
  node.disk.flipBit(path(damaged.slot), damaged.offset8 * 8 + 32 + 200)
  world.kill('a')
  const again = await open({ model: new JournalModel({ checksBytes: false }) })
  t.equal(again.model.entries.size, 700, 'the entry is known')
  await t.rejects(settle(again.model.read(1, 3)), {
    code: 'QUIRE_JOURNAL_CORRUPT',
    message: /does not verify/,
  })
  t.equal((await settle(again.model.read(1, 4))).length, 400, 'the others are read')
  node.disk.breakSector(path(unreadable.slot), unreadable.offset8 * 8 + 100)
  await t.rejects(settle(again.model.read(1, 9)), { code: 'QUIRE_IO' })
  await t.rejects(settle(again.store.journal.read(999, 512)), { code: 'QUIRE_JOURNAL_CORRUPT' })
  await settle(again.store.close())

  // A header of the same segment: its records cannot be listed any more.
  node.disk.flipBit(path(damaged.slot), damaged.offset8 * 8 + 9)
  world.kill('a')
  await t.rejects(open(), {
    code: 'QUIRE_RANGE_LOST',
    message: new RegExp(`${path(damaged.slot)} cannot be read from offset \\d+ to \\d+`),
  })
  node.disk.flipBit(path(damaged.slot), damaged.offset8 * 8 + 9)
  node.disk.flipBit(path(damaged.slot), damaged.offset8 * 8 + 32 + 200)
  node.disk.file(path(unreadable.slot)).badSectors.clear()
  world.kill('a')
  const restored = await open()
  t.equal(restored.model.entries.size, 700, 'once the cause is gone it starts')
  t.same(restored.model.wrong, [])
  await settle(restored.store.close())
  world.kill('a')
  node.disk.lose(path(damaged.slot))
  await t.rejects(open(), { code: 'QUIRE_RANGE_LOST', message: /is missing/ })
})

t.test('on a real disk, with the journal on its own thread', async (t) => {
  // Nothing in the journal keeps a process alive.
  const alive = setInterval(() => undefined, 1000)
  t.teardown(() => clearInterval(alive))
  const directory = t.testdir()
  const where = { directory: `${directory}/j`, ledgerDirectories: [`${directory}/l`] }
  const { model, store } = await openModel({ ...where, io: createIo() })
  for (let id = 0; id < 1000; id++) await model.addWaiting(1, id, 500)
  model.fence(1)
  await model.settled()
  t.ok(store.journal.usage().segments > 4)
  for (const id of [0, 500, 999]) {
    t.ok((await model.read(1, id)).equals(model.entries.get(`1/${id}`)?.bytes ?? Buffer.alloc(0)))
  }
  await store.close()
  const again = await openModel({ ...where, io: createIo() })
  t.equal(again.model.entries.size, 1000)
  t.same([...again.model.fences], [1])
  t.same(again.model.wrong, [])
  t.ok((await again.model.read(1, 3)).length === 500)
  await again.store.close()
})
