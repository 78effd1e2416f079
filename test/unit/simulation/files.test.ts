// The crash semantics of the simulated disk: what was synced is there, what was not may be gone,
// whole or in part.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { Io } from '../../../src/io/index.ts'
import { afterPowerLoss, createSimulatedIo, World } from '../../../src/simulation/index.ts'
import type { CrashMode, Disk } from '../../../src/simulation/index.ts'

const seeds = Array.from({ length: 40 }, (_, index) => index + 1)

async function start(seed: number | string): Promise<{ world: World; io: Io }> {
  const world = new World({ seed })
  const io = createSimulatedIo(world, 'a')
  await world.settle(io.files.makeDirectory('/data'))
  return { world, io }
}

/** What is under a name, as a process sees it: undefined when there is nothing. */
function contentOf(disk: Disk, path: string): Buffer | undefined {
  const inode = disk.find(path)
  if (inode?.kind !== 'file') return undefined
  const bytes = Buffer.alloc(inode.current.size)
  inode.current.read(bytes, 0)
  return bytes
}

const filled = (byte: number, count = 4096): Uint8Array => new Uint8Array(count).fill(byte)

/** Runs a script on many seeds, cuts the power, and gives what every run left behind. */
async function outcomes(
  script: (io: Io, world: World) => Promise<void>,
  look: (disk: Disk) => unknown,
  mode: CrashMode = 'any',
): Promise<Set<unknown>> {
  const seen = new Set<unknown>()
  for (const seed of seeds) {
    const { world, io } = await start(seed)
    await world.settle(script(io, world))
    world.cutPower('a', mode)
    seen.add(look(world.node('a').disk))
  }
  return seen
}

t.test('what was synced, data and name, is there after any loss of power', async (t) => {
  const seen = await outcomes(
    async ({ files }) => {
      const file = await files.open('/data/x', 'create')
      await file.write(filled(1), 0)
      await file.datasync()
      await files.syncDirectory('/data')
      await file.write(filled(2), 4096)
    },
    (disk) => contentOf(disk, '/data/x')?.subarray(0, 4096).equals(filled(1)),
  )
  t.same([...seen], [true])
})

t.test('a name that was not synced may be gone, whatever was synced of its file', async (t) => {
  const script = async ({ files }: Io) => {
    const file = await files.open('/data/x', 'create')
    await file.write(filled(1), 0)
    await file.sync()
  }
  const seen = await outcomes(script, (disk) => disk.find('/data/x') !== undefined)
  t.same(seen, new Set([true, false]))
  const none = await outcomes(script, (disk) => disk.find('/data/x') !== undefined, 'none')
  t.same([...none], [false])
})

t.test('data that was not synced may be gone, torn by sector, or there', async (t) => {
  const seen = await outcomes(
    async ({ files }) => {
      const file = await files.open('/data/x', 'create')
      await file.write(filled(1), 0)
      await file.sync()
      await files.syncDirectory('/data')
      await file.write(filled(2), 0)
    },
    (disk) => {
      const content = contentOf(disk, '/data/x') ?? Buffer.alloc(0)
      for (let at = 0; at < content.length; at += 512) {
        const sector = new Set(content.subarray(at, at + 512))
        if (sector.size !== 1 || !(sector.has(1) || sector.has(2))) return 'mixed within a sector'
      }
      const values = new Set(content)
      return values.size === 2 ? 'torn' : `all ${[...values].join()}`
    },
  )
  t.same(seen, new Set(['all 1', 'all 2', 'torn']))
})

t.test('a write that is under way may leave garbage, and a sync does not cover it', async (t) => {
  let garbage = 0
  for (const seed of seeds) {
    const { world, io } = await start(seed)
    const file = await world.settle(io.files.open('/data/x', 'create'))
    await world.settle(file.write(filled(1), 0))
    world.node('a').diskFaults.latencyMs = [50, 100]
    void file.write(filled(2), 0)
    world.node('a').diskFaults.latencyMs = [0.1, 0.2]
    await world.settle(Promise.all([file.sync(), io.files.syncDirectory('/data')]), 40)
    world.cutPower('a', 'subset')
    const values = new Set(contentOf(world.node('a').disk, '/data/x'))
    values.delete(1)
    values.delete(2)
    garbage += values.size > 0 ? 1 : 0
  }
  t.ok(garbage > 0)
})

t.test('a rename leaves the old file or the new one', async (t) => {
  const seen = await outcomes(
    async ({ files }) => {
      for (const [name, byte] of [
        ['/data/x', 1],
        ['/data/x.new', 2],
      ] as const) {
        const file = await files.open(name, 'create')
        await file.write(filled(byte), 0)
        await file.sync()
        await files.syncDirectory('/data')
      }
      await files.rename('/data/x.new', '/data/x')
    },
    (disk) => contentOf(disk, '/data/x')?.[0],
  )
  t.same(seen, new Set([1, 2]))
})

t.test('a process that is killed loses nothing that it was told is written', async (t) => {
  for (const seed of seeds.slice(0, 10)) {
    const { world, io } = await start(seed)
    const file = await world.settle(io.files.open('/data/x', 'create'))
    await world.settle(file.write(filled(1), 0))
    let told = false
    void file.sync().then(() => (told = true))
    world.kill('a')
    await world.run(1000)
    t.notOk(told, 'what it waited for never comes')
    t.ok(contentOf(world.node('a').disk, '/data/x')?.equals(filled(1)))
    const next = createSimulatedIo(world, 'a')
    await world.settle(next.files.lock('/data'))
    world.cutPower('a', 'none')
    t.equal(world.node('a').disk.find('/data/x'), undefined, 'but the power may still fail')
  }
})

t.test(
  'a failed sync: the data may be seen until the crash, and the next sync succeeds',
  async (t) => {
    const seen = new Set<string>()
    for (const seed of seeds) {
      const { world, io } = await start(seed)
      const file = await world.settle(io.files.open('/data/x', 'create'))
      await world.settle(file.sync())
      await world.settle(io.files.syncDirectory('/data'))
      await world.settle(file.write(filled(1), 0))
      world.node('a').diskFaults.next.push({ kind: 'sync', path: '/data/x' })
      const [failed] = await world.settle(Promise.allSettled([file.datasync()]))
      t.ok(failed.status === 'rejected' && QuireError.is(failed.reason, 'QUIRE_FSYNC_FAILED'))
      const before = (await world.settle(file.bytes())) === 4096 ? 'seen' : 'unseen'
      await world.settle(file.datasync())
      world.cutPower('a', 'all')
      const after = contentOf(world.node('a').disk, '/data/x')?.length === 4096 ? 'kept' : 'lost'
      seen.add(`${before} ${after}`)
    }
    t.ok(seen.has('seen lost'), 'fsyncing once more proves nothing')
    t.ok(seen.has('seen kept'))
    t.ok(seen.has('unseen lost'))
  },
)

t.test('a full disk, bad sectors, flipped bits and a stalled disk', async (t) => {
  const { world, io } = await start(1)
  const node = world.node('a')
  const file = await world.settle(io.files.open('/data/x', 'create'))
  node.disk.capacityBytes = 4096
  await world.settle(file.write(filled(1), 0))
  const [full] = await world.settle(Promise.allSettled([file.write(filled(2), 4096)]))
  t.ok(full.status === 'rejected' && QuireError.is(full.reason, 'QUIRE_DISK_FULL'))
  await world.settle(file.write(filled(3), 0))
  t.equal((await world.settle(io.files.space('/data'))).totalBytes, 4096)

  const into = new Uint8Array(512)
  node.disk.flipBit('/data/x', 700, 1)
  await world.settle(file.read(into, 512))
  t.equal(into[188], 3 ^ 2)
  node.disk.breakSector('/data/x', 600)
  const [broken] = await world.settle(Promise.allSettled([file.read(into, 512)]))
  t.ok(broken.status === 'rejected' && QuireError.is(broken.reason, 'QUIRE_IO'))
  t.equal(await world.settle(file.read(into, 1024)), 512, 'other sectors can be read')

  node.diskFaults.stalledUntilMs = Number.POSITIVE_INFINITY
  let done = false
  const late = file.sync().then(() => (done = true))
  await world.run(5000)
  t.notOk(done)
  node.diskFaults.stalledUntilMs = 0
  await world.settle(late)
})

t.test('bytes that change while they are being written are noticed', async (t) => {
  const { world, io } = await start(1)
  const file = await world.settle(io.files.open('/data/x', 'create'))
  const bytes = filled(1)
  const writing = file.write(bytes, 0)
  bytes[7] = 2
  const [outcome] = await world.settle(Promise.allSettled([writing]))
  t.ok(outcome.status === 'rejected' && QuireError.is(outcome.reason, 'QUIRE_INVARIANT'))
})

t.test(
  'every crash of a run can be looked at, and the journal keeps its word in each',
  async (t) => {
    const { world, io } = await start(7)
    const acknowledged = { through: 0 }
    let crashes = 0
    let losses = 0
    const device = await world.settle(io.journals.open())
    await world.settle(device.prepare('/data/journal', 8192))
    const image = device.allocate(8192)
    const journal = await world.settle(device.open('/data/journal', image))
    const disk = world.node('a').disk
    disk.observe = () => {
      for (const mode of ['none', 'prefix', 'subset', 'any'] as const) {
        const left = contentOf(
          afterPowerLoss(disk, mode, (count, label) => world.scheduler.choose(count, label)),
          '/data/journal',
        )
        crashes += 1
        const good = left?.subarray(0, acknowledged.through).every((byte) => byte === 9)
        if (left?.length !== 8192 || good !== true) losses += 1
      }
    }
    for (let from = 0; from < 8192; from += 1024) {
      image.fill(9, from, from + 1024)
      await world.settle(
        new Promise<void>((resolve) => {
          device.commit(journal, from, from + 1024, () => {
            acknowledged.through = from + 1024
            resolve()
          })
        }),
      )
    }
    t.ok(crashes >= 8 * 3 * 4)
    t.equal(losses, 0)
  },
)
