// Who a disk belongs to: superblocks torn and lost, empty and foreign disks, old copies, ledger
// directories, and the order of a start.
import t from 'tap'
import type { Io } from '../../../../src/io/index.ts'
import { readSuperblocks } from '../../../../src/bookie/identity/superblock-store.ts'
import { createSimulatedIo, World } from '../../../../src/simulation/index.ts'
import { JournalModel, openModel, type OpenModelOptions } from '../../../support/journal-model.ts'

function createWorld(seed: string) {
  const world = new World({ seed })
  const node = world.node('a')
  let io: Io | undefined
  return {
    world,
    node,
    settle: <T>(promise: Promise<T>) => world.settle(promise),
    /** Starts a process: what ran before is killed. */
    open: (options: Omit<OpenModelOptions, 'io'> = {}) => {
      world.kill('a')
      io = createSimulatedIo(world, 'a')
      return world.settle(openModel({ ...options, io }))
    },
    /** In the same process. */
    reopen: (options: Omit<OpenModelOptions, 'io'> = {}) => {
      if (io === undefined) throw new Error('nothing was opened yet')
      return world.settle(openModel({ ...options, io }))
    },
    contents: (path: string) => {
      const file = node.disk.file(path)
      const bytes = Buffer.alloc(file.current.size)
      file.current.read(bytes, 0)
      return bytes
    },
  }
}

t.test('a new bookie, and the same again', async (t) => {
  const { open, settle } = createWorld('new')
  const { store, model } = await open({ known: { incarnation: 4 } })
  t.same(store.identity, { clusterId: 'cluster', bookieId: 'bookie-1', incarnation: 5 })
  t.equal(store.isNew, true)
  model.add(1, 1)
  await settle(store.close())
  const seen: unknown[] = []
  const again = await open({
    checkIdentity: async (onDisk) => {
      seen.push(onDisk)
      return { clusterId: 'cluster', bookieId: 'bookie-1', isKnown: true, incarnation: 5 }
    },
  })
  t.same(seen, [{ clusterId: 'cluster', bookieId: 'bookie-1', incarnation: 5 }])
  t.equal(again.store.identity.incarnation, 6)
  t.equal(again.store.isNew, false)
  t.ok(again.model.entries.has('1/1'))
})

t.test('what the metadata says decides, and a refusal changes nothing', async (t) => {
  const { open, settle, contents, node, reopen } = createWorld('known')
  const isKnown = { known: { isKnown: true } }
  await t.rejects(open(isKnown), {
    code: 'QUIRE_IDENTITY_UNKNOWN',
    message: /\/j is empty, but the cluster knows bookie bookie-1/,
  })
  t.same([...node.disk.directory('/j').current.keys()], [], 'nothing was written')
  const { store, model } = await reopen()
  for (let id = 0; id < 300; id++) await settle(model.addWaiting(1, id, 300))
  await settle(store.close())
  const names = [...node.disk.directory('/j').current.keys()]
  const before = names.map((name) => contents(`/j/${name}`))
  const refused: [OpenModelOptions['known'], string][] = [
    [{ bookieId: 'bookie-2' }, 'QUIRE_IDENTITY_MISMATCH'],
    [{ clusterId: 'other' }, 'QUIRE_IDENTITY_MISMATCH'],
    [{ incarnation: 2 }, 'QUIRE_STALE_DISK'],
  ]
  for (const [known = {}, code] of refused) await t.rejects(open({ known }), { code })
  const error = new Error('the metadata does not answer')
  const checkIdentity = () => Promise.reject(error)
  await t.rejects(open({ checkIdentity }), error)
  t.same(
    names.map((name) => contents(`/j/${name}`)),
    before,
    'nothing was changed',
  )
  await open({ known: { incarnation: 1 } })
})

t.test('one process at a time, and refusals let go', async (t) => {
  const { open, reopen, settle } = createWorld('lock')
  const { store } = await open()
  await t.rejects(reopen(), { code: 'QUIRE_DIRECTORY_IN_USE' })
  await t.rejects(reopen({ directory: '/j2' }), { code: 'QUIRE_DIRECTORY_IN_USE' }, 'ledgers too')
  await settle(store.close())
  await t.rejects(reopen({ known: { bookieId: 'x' } }), { code: 'QUIRE_IDENTITY_MISMATCH' })
  await settle((await reopen()).store.close())
  await t.rejects(reopen({ segmentBytes: 1000 }), { code: 'QUIRE_BAD_OPTION' })
  await t.rejects(reopen({ arenas: 1 }), { code: 'QUIRE_BAD_OPTION' })
})

t.test('superblocks: one may be bad, both may not', async (t) => {
  const { open, settle, node } = createWorld('slots')
  const { store } = await open()
  await settle(store.close())
  await settle((await open()).store.close())
  const { disk } = node
  const flip = (name: string) => disk.flipBit(`/j/${name}`, 40)
  flip('super.A')
  flip('super.B')
  await t.rejects(open(), { code: 'QUIRE_SUPERBLOCK_CORRUPT' })
  flip('super.A')
  flip('super.B')
  await settle((await open()).store.close())
  disk.lose('/j/super.A')
  disk.lose('/j/super.B')
  await t.rejects(open(), { code: 'QUIRE_SUPERBLOCK_CORRUPT' }, 'none, and there are segments')
  t.notOk(disk.find('/j/super.A'), 'nothing was written over it')
  await t.rejects(open({ directory: '/empty', known: { isKnown: true } }), {
    code: 'QUIRE_IDENTITY_UNKNOWN',
  })
})

t.test('the newest superblock is lost: the older one does not start an old state', async (t) => {
  for (const clean of [true, false]) {
    const { open, settle, node, world } = createWorld(`outdated ${clean}`)
    const { store, model } = await open()
    // What the older one names is outdated by segments that were begun since.
    for (let id = 0; id < 400; id++) await settle(model.addWaiting(1, id, 300))
    await settle(model.settled())
    await world.run(100)
    if (clean) await settle(store.close())
    const newest = ['super.A', 'super.B'].toSorted(
      (one, other) => sequenceOf(node, other) - sequenceOf(node, one),
    )[0]
    node.disk.flipBit(`/j/${newest ?? ''}`, 20)
    const again = await open().catch((error: unknown) => error)
    if (again instanceof Error) {
      t.match(again, { code: /QUIRE_(SUPERBLOCK_CORRUPT|RANGE_LOST)/ })
    } else {
      // Nothing that counts was only in the lost one.
      t.ok(isOpened(again) && again.model.entries.size === 400)
    }
  }
  // The one of a start: its incarnation is in the segments.
  const { open, settle, node } = createWorld('outdated start')
  await settle((await open()).store.close())
  const { store, model } = await open()
  model.add(1, 1)
  await settle(model.settled())
  await settle(store.close())
  const old = ['super.A', 'super.B'].map((name) => sequenceOf(node, name))
  node.disk.flipBit(`/j/super.${(old[0] ?? 0) > (old[1] ?? 0) ? 'A' : 'B'}`, 20)
  const again = await open()
  t.ok(again.model.entries.has('1/1'))
})

t.test('a superblock that is torn while it is written', async (t) => {
  for (let seed = 0; seed < 40; seed++) {
    const { open, settle, node, world } = createWorld(`torn ${seed}`)
    const { store } = await open()
    await settle(store.close())
    let writes = 0
    // In the middle of the write that raises the incarnation, or of a later one.
    node.disk.observe = (what) => {
      if (what !== 'write begins' || ++writes !== 1 + (seed % 5)) return
      node.disk.observe = undefined
      world.cutPower('a', 'subset')
    }
    // It ends, or is never heard of again.
    await Promise.allSettled([open()])
    node.disk.observe = undefined
    const again = await open()
    t.ok(again.store.identity.incarnation >= 2, `seed ${seed}`)
    await settle(again.store.close())
  }
})

t.test(
  'a superblock that is seen and not on the disk, and power lost in the next start',
  async (t) => {
    for (let seed = 0; seed < 30; seed++) {
      const { open, settle, node, world } = createWorld(`doubt ${seed}`)
      const { model } = await open()
      const files = ['super.A', 'super.B'].map((name) => node.disk.file(`/j/${name}`))
      const before = files.map((file) => file.durable.clone())
      const newest = () => Math.max(sequenceOf(node, 'super.A'), sequenceOf(node, 'super.B'))
      const first = newest()
      let id = 0
      for (; newest() < first + 2; id++) await settle(model.addWaiting(1, id, 2000))
      await settle(model.settled())
      // As after a sync that failed: the system shows what the disk does not have.
      const index = sequenceOf(node, 'super.A') === newest() ? 0 : 1
      const [file, old] = [files[index], before[index]]
      if (file === undefined || old === undefined) throw new Error('there are two superblocks')
      file.durable = old
      world.kill('a')
      let writes = 0
      node.disk.observe = (what) => {
        if (what !== 'write begins' || ++writes !== seed + 1) return
        node.disk.observe = undefined
        // Of a superblock that is being written over, a sector becomes garbage.
        const torn = ['/j/super.A', '/j/super.B'].filter((path) => {
          const inode = node.disk.find(path)
          return inode?.kind === 'file' && inode.pending.some(({ flying }) => flying)
        })
        world.cutPower('a', 'none')
        for (const path of torn) node.disk.overwrite(path, 0, Buffer.alloc(512, 0xa5))
      }
      await Promise.allSettled([open()])
      node.disk.observe = undefined
      const again = await open()
      t.equal(again.model.entries.size, id, `seed ${seed}`)
      t.same(again.model.wrong, [])
    }
  },
)

t.test('ledger directories carry the identity', async (t) => {
  const { open, settle, node } = createWorld('ledgers')
  const two = { ledgerDirectories: ['/d1', '/d2'] }
  await settle((await open(two)).store.close())
  await settle((await open({ ledgerDirectories: ['/d2', '/d1'] })).store.close())
  await t.rejects(open({ ledgerDirectories: ['/d1'] }), {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /1 of this bookie's ledger directories/,
  })
  await t.rejects(open({ ledgerDirectories: ['/d1', '/d2', '/d3'] }), {
    code: 'QUIRE_DIRECTORY_MISSING',
  })
  node.disk.makeDirectory('/d3')
  await settle((await open({ ledgerDirectories: ['/d1', '/d2', '/d3'] })).store.close())
  await t.rejects(open(two), { code: 'QUIRE_IDENTITY_MISMATCH' })
  node.disk.lose('/d3/IDENTITY')
  await t.rejects(open({ ledgerDirectories: ['/d1', '/d2', '/d3'] }), {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /\/d3 is empty, and a ledger disk is missing/,
  })
  const other = { directory: '/other', known: { bookieId: 'bookie-2' } }
  await t.rejects(open({ ...other, ledgerDirectories: ['/d1'] }), {
    code: 'QUIRE_IDENTITY_MISMATCH',
    message: /\/d1 belongs to bookie bookie-1/,
  })
  t.notOk(node.disk.find('/other/super.A'), 'a refused bookie gets no superblock')
  node.disk.overwrite('/d1/IDENTITY', 0, Buffer.from('{"format":"quire-ledgers-9"'))
  await t.rejects(open({ ledgerDirectories: ['/d1', '/d2'] }), { code: 'QUIRE_IDENTITY_MISMATCH' })
})

t.test('ledger directories that were stamped and not named are named later', async (t) => {
  const { open, world, node } = createWorld('stamped')
  node.disk.makeDirectory('/m')
  await open()
  world.kill('a')
  const { files } = createSimulatedIo(world, 'a')
  const { store } = await world.settle(readSuperblocks(files, '/j'))
  await world.settle(store.write({ ledgerDirectories: [] }))
  await open()
  await t.rejects(open({ ledgerDirectories: ['/m'] }), { code: 'QUIRE_IDENTITY_MISMATCH' })
  await open()
})

t.test('many segments: a superblock of many blocks', async (t) => {
  const { open, settle, world, node } = createWorld('many')
  const { model } = await open()
  for (let id = 0; id < 900; id++) await settle(model.addWaiting(1, id, 26_000))
  await settle(model.settled())
  t.ok(node.disk.file('/j/super.A').current.size > 16 * 1024)
  world.cutPower('a', 'none')
  const again = await open()
  t.equal(again.model.entries.size, 900)
  t.same(again.model.wrong, [])
})

const sequenceOf = (node: ReturnType<typeof createWorld>['node'], name: string): number => {
  const bytes = Buffer.alloc(32)
  node.disk.file(`/j/${name}`).current.read(bytes, 0)
  return Number(bytes.readBigInt64BE(16))
}

const isOpened = (value: unknown): value is { model: JournalModel } =>
  typeof value === 'object' && value !== null && 'model' in value
