// The tree: retries without a double effect, groups, failing and hanging disks, restarts, expiry,
// and that the order of commands alone decides what it holds. What users see of it is in the
// conformance suite.
import * as fc from 'fast-check'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { TreeBatch, TreeRow } from '../../../src/io/tree-store.ts'
import type { WatchEvent } from '../../../src/metadata/contract.ts'
import { MemoryTreeStore } from '../../../src/metadata/memory/tree-store.ts'
import { TreeMetadata } from '../../../src/metadata/tree-metadata.ts'
import { applyCommand, rootRow } from '../../../src/metadata/tree/apply.ts'
import { Batch } from '../../../src/metadata/tree/batch.ts'
import { rememberedMax, type TreeCommand } from '../../../src/metadata/tree/command.ts'
import { sequenceDigits } from '../../../src/metadata/tree/path.ts'
import { SessionTable } from '../../../src/metadata/tree/session-table.ts'
import { openTree, type Tree, type TreeOptions } from '../../../src/metadata/tree/tree.ts'
import { createSimulatedIo, World } from '../../../src/simulation/index.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { random, silent } from '../../support/metadata-bench.ts'

const bytes = (text: string): Buffer => Buffer.from(text)
const empty = bytes('')

async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

/** A disk that waits, fails, and counts. */
class Disk extends MemoryTreeStore {
  commits = 0
  gate: Promise<void> | undefined
  /** As SQLite does: what is being committed can be read before it is told. */
  readonly seen: TreeBatch[] = []
  reading: Promise<void> | undefined
  isFull = false

  override async commit(batch: TreeBatch): Promise<void> {
    this.commits++
    if (this.isFull) throw new QuireError('QUIRE_DISK_FULL', 'no space left')
    this.seen.push(batch)
    await super.commit(batch)
    await this.gate
  }

  override async get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    const rows = await super.get(paths)
    await this.reading
    return rows
  }
}

interface Opened {
  readonly disk: Disk
  readonly time: ManualTime
  readonly tree: Tree
}

async function open(disk: Disk = new Disk(), options: Partial<TreeOptions> = {}): Promise<Opened> {
  const time = new ManualTime()
  const parts = { store: disk, clock: time, timers: time, random, logger: silent }
  return { disk, time, tree: await openTree({ ...parts, ...options }) }
}

const opening = { timeoutMs: 10_000, password: Buffer.alloc(16, 1) }
const create = (path: string) =>
  ({ type: 'create', path, data: empty, mode: 'persistent', ttlMs: 0 }) as const
const numbered = (path: string) =>
  ({ type: 'create', path, data: empty, mode: 'persistent-sequential', ttlMs: 0 }) as const

t.test('the same request again gives the same answer and does nothing', async (t) => {
  const { disk, tree } = await open()
  const sessionId = await tree.openSession(opening)
  const request = (requestId: number, answeredUpTo = 0) => ({ sessionId, requestId, answeredUpTo })
  const first = await tree.write(request(1), numbered('/n'))
  t.same(await tree.write(request(1), numbered('/n')), first)
  await tree.write(request(2), numbered('/n'))
  t.same(await tree.write(request(1), numbered('/n')), first, 'also behind later ones')
  t.equal(await failure(tree.write(request(3), create('/n0000000000'))), 'QUIRE_NODE_EXISTS')
  await tree.write(request(4), { type: 'delete', path: '/n0000000000', version: 0 })
  t.equal(
    await failure(tree.write(request(3), create('/n0000000000'))),
    'QUIRE_NODE_EXISTS',
    'a failure is remembered as well: it was before what came later',
  )
  const both = await Promise.all([5, 5].map((id) => tree.write(request(id), numbered('/n'))))
  t.same(both[0], both[1], 'twice in one group')
  await tree.close()

  const again = await open(disk)
  t.same(await again.tree.write(request(5), numbered('/n')), both[0], 'after a restart')
  t.same(await again.tree.write(request(1), numbered('/n')), first)
  t.equal((await again.tree.children('/')).names.length, 2)

  await again.tree.write(request(6, 5), numbered('/n'))
  t.equal((await disk.facts('result/')).size, 1, 'what the session has is forgotten')
  t.equal(
    await failure(again.tree.write(request(5), numbered('/n'))),
    'QUIRE_METADATA_UNAVAILABLE',
    'and never done again',
  )
  await again.tree.close()
  const last = await open(disk)
  t.equal(
    await failure(last.tree.write(request(4), numbered('/n'))),
    'QUIRE_METADATA_UNAVAILABLE',
    'nor after a restart',
  )
  await last.tree.endSession(sessionId, 'closed')
  t.equal((await disk.facts('result/')).size, 0)
  t.equal((await disk.facts('session/')).size, 0)
})

t.test('a session that takes no answers is refused at some point', async (t) => {
  const { tree } = await open()
  const sessionId = await tree.openSession(opening)
  const set = { type: 'set', path: '/', data: empty, version: -1 } as const
  const writes: Promise<unknown>[] = []
  for (let requestId = 1; requestId <= rememberedMax; requestId++) {
    writes.push(tree.write({ sessionId, requestId, answeredUpTo: 0 }, set))
  }
  await Promise.all(writes)
  const next = { sessionId, requestId: rememberedMax + 1, answeredUpTo: 0 }
  t.equal(await failure(tree.write(next, set)), 'QUIRE_METADATA_UNAVAILABLE')
  t.equal(await failure(tree.write({ ...next, answeredUpTo: 1 }, set)), 'no error')
})

t.test('what waits for a commit goes into the next one, together', async (t) => {
  const { disk, tree } = await open()
  const sessionId = await tree.openSession(opening)
  const before = disk.commits
  const gate = Promise.withResolvers<void>()
  disk.gate = gate.promise
  const writes = ['/a', '/b', '/c', '/d'].map((path) => tree.write({ sessionId }, create(path)))
  const failing = failure(tree.write({ sessionId }, create('/a')))
  await settle()
  t.equal(disk.commits, before + 1)
  gate.resolve()
  await Promise.all(writes)
  t.equal(await failing, 'QUIRE_NODE_EXISTS')
  t.ok(disk.commits <= before + 2, 'one commit for the first, one for all the others')
  const commits = disk.commits
  t.equal(await failure(tree.write({ sessionId }, create('/a'))), 'QUIRE_NODE_EXISTS')
  t.equal(disk.commits, commits, 'what changes nothing costs no commit')
})

t.test('the queue has a budget', async (t) => {
  const { disk, tree } = await open(new Disk(), { queueBytesMax: 100_000 })
  const sessionId = await tree.openSession(opening)
  const gate = Promise.withResolvers<void>()
  disk.gate = gate.promise
  const write = (size: number) =>
    tree.write({ sessionId }, { type: 'set', path: '/', data: Buffer.alloc(size), version: -1 })
  const first = write(60_000)
  const second = failure(write(60_000))
  t.equal(await second, 'QUIRE_BACKPRESSURE')
  const third = write(20_000)
  t.ok(tree.queuedBytes > 80_000)
  gate.resolve()
  await Promise.all([first, third])
  t.equal(tree.queuedBytes, 0)
  t.equal(
    await failure(write(500_000)),
    'no error',
    'one that is larger than the budget goes alone',
  )
})

t.test('reads show what is published, while the disk has more already', async (t) => {
  const { disk, tree } = await open()
  const sessionId = await tree.openSession(opening)
  await tree.write({ sessionId }, create('/a'))
  await tree.write({ sessionId }, create('/gone'))
  const told: WatchEvent[] = []
  await tree.children('/', { watch: (event) => told.push(event) })
  const gate = Promise.withResolvers<void>()
  disk.gate = gate.promise
  const writing = tree.write(
    { sessionId },
    {
      type: 'multi',
      operations: [
        { type: 'set', path: '/a', data: bytes('new'), version: 0 },
        { type: 'create', path: '/b', data: empty },
        { type: 'delete', path: '/gone', version: 0 },
      ],
    },
  )
  await settle()
  t.equal((await disk.get(['/b'])).length, 1)
  t.ok((await disk.get(['/b']))[0], 'the store shows it')
  t.equal((await tree.get('/a')).data.length, 0)
  t.same((await tree.children('/')).names, ['a', 'gone'])
  t.equal((await tree.children('/')).stat.childCount, 2)
  t.equal(await tree.exists('/b'), undefined)
  t.same(told, [])
  const zxid = tree.lastZxid
  gate.resolve()
  await writing
  t.same((await tree.children('/')).names, ['a', 'b'])
  t.equal((await tree.get('/a')).data.toString(), 'new')
  t.same(told, [{ type: 'children', path: '/' }])
  t.equal(tree.lastZxid, zxid + 1)
})

t.test('a read that a commit overtook is made again, with its watch', async (t) => {
  const { disk, tree } = await open()
  const sessionId = await tree.openSession(opening)
  await tree.write({ sessionId }, create('/a'))
  const slow = Promise.withResolvers<void>()
  const set = (text: string) =>
    tree.write({ sessionId }, { type: 'set', path: '/a', data: bytes(text), version: -1 })
  const told: string[] = []
  disk.reading = slow.promise
  const reading = tree.get('/a', { watch: ({ type }) => told.push(type) })
  await settle()
  disk.reading = undefined
  await set('during')
  slow.resolve()
  t.equal((await reading).data.toString(), 'during', 'not what it had seen first')
  t.same(told, [], 'the watch is for what comes after')
  await set('after')
  t.same(told, ['changed'])
})

t.test('a commit that fails is unknown, and the last one', async (t) => {
  const { disk, tree } = await open()
  const store = new TreeMetadata(tree)
  const session = await store.session()
  const told: string[] = []
  await session.exists('/a', { watch: ({ type }) => told.push(type) })
  const gate = Promise.withResolvers<void>()
  disk.gate = gate.promise
  const first = failure(session.create('/a', empty))
  await settle()
  const second = failure(session.create('/b', empty))
  gate.reject(new Error('disk gone'))
  t.equal(await first, 'QUIRE_METADATA_UNAVAILABLE')
  t.equal(await second, 'QUIRE_METADATA_UNAVAILABLE', 'also what was not begun')
  t.match((await tree.failed).message, /disk gone/)
  t.same(told, ['session'])
  t.equal(await session.ended, 'expired')
  t.equal(await failure(tree.get('/')), 'QUIRE_METADATA_UNAVAILABLE')
  t.equal(await failure(tree.sync()), 'QUIRE_METADATA_UNAVAILABLE')
  const sessionId = session.sessionId
  t.equal(await failure(tree.write({ sessionId }, create('/c'))), 'QUIRE_METADATA_UNAVAILABLE')
  await store.close()
})

t.test('a disk that hangs stops writes, then the tree, never reads before', async (t) => {
  const { disk, time, tree } = await open()
  const sessionId = await tree.openSession(opening)
  disk.gate = new Promise(() => undefined)
  const writing = failure(tree.write({ sessionId }, create('/a')))
  await time.advance(29_000)
  t.equal((await tree.children('/')).names.length, 0, 'reads go on')
  await time.advance(2_000)
  t.equal(await writing, 'QUIRE_METADATA_UNAVAILABLE')
  t.match(await tree.failed, { code: 'QUIRE_FSYNC_FAILED', message: /30000 ms/ })
  await tree.close()
})

t.test(
  'a disk that became full is waited out, one that is full from the start is told',
  async (t) => {
    const { disk, time, tree } = await open()
    const sessionId = await tree.openSession(opening)
    disk.isFull = true
    const writing = failure(tree.write({ sessionId }, create('/a')))
    const next = failure(tree.write({ sessionId }, create('/b')))
    await time.advance(60_000)
    t.ok(disk.commits > 100, 'it looks again and again')
    t.equal((await tree.children('/')).names.length, 0, 'reads go on')
    disk.isFull = false
    await time.advance(1_000)
    t.equal(await writing, 'no error')
    t.equal(await next, 'no error')
    t.same((await tree.children('/')).names, ['a', 'b'])

    disk.isFull = true
    const last = failure(tree.write({ sessionId }, create('/c')))
    await settle()
    const closed = tree.close()
    await time.advance(1_000)
    await closed
    t.equal(await last, 'QUIRE_METADATA_UNAVAILABLE', 'a close does not wait for room')

    const again = await open(disk)
    t.equal(await failure(again.tree.openSession(opening)), 'QUIRE_METADATA_UNAVAILABLE')
    t.match(await again.tree.failed, { code: 'QUIRE_DISK_FULL' })
  },
)

t.test('sessions outlive the tree, and end by a command', async (t) => {
  const { disk, tree } = await open()
  const sessionId = await tree.openSession(opening)
  const other = await tree.openSession(opening)
  const ephemeral = (path: string) =>
    ({ type: 'create', path, data: empty, mode: 'ephemeral', ttlMs: 0 }) as const
  await tree.write({ sessionId }, ephemeral('/a'))
  await tree.write({ sessionId }, ephemeral('/b'))
  await tree.write({ sessionId: other }, ephemeral('/c'))
  const zxid = tree.lastZxid
  await tree.close()
  t.equal(await failure(tree.get('/')), 'QUIRE_CLOSED')

  const again = (await open(disk)).tree
  t.equal(again.lastZxid, zxid)
  const sessions = await again.sessions()
  t.same(new Set(sessions.map((each) => each.sessionId)), new Set([sessionId, other]))
  t.match(sessions[0], { timeoutMs: 10_000, password: Buffer.alloc(16, 1) })
  const told: string[] = []
  await again.children('/', { watch: ({ type }) => told.push(type) })
  const ended = again.sessionEnded(sessionId)
  await again.endSession(sessionId, 'expired')
  t.equal(await ended, 'expired')
  t.same(told, ['children'])
  t.same((await again.children('/')).names, ['c'])
  t.equal(await failure(again.write({ sessionId }, create('/d'))), 'QUIRE_SESSION_EXPIRED')
  await again.endSession(sessionId, 'closed')
  const mixed = [
    again.write({ sessionId: other }, ephemeral('/e')),
    again.endSession(other, 'closed'),
    failure(again.write({ sessionId: other }, create('/f'))),
  ]
  t.equal((await Promise.all(mixed))[2], 'QUIRE_SESSION_EXPIRED', 'in one group, in its order')
  t.same((await again.children('/')).names, [])
})

t.test('a session of this process is not among those that somebody has to hear', async (t) => {
  const { disk, tree } = await open()
  const store = new TreeMetadata(tree)
  const session = await store.session()
  t.same(await tree.sessions(), [])
  await session.create('/e', empty, { mode: 'ephemeral' })
  const again = (await open(disk)).tree
  t.equal((await again.sessions()).length, 1, 'but the next process has to')
  await store.close()
})

t.test('containers and nodes with a time to live go when they are due', async (t) => {
  const { time, tree } = await open(new Disk(), { collectIntervalMs: 1_000 })
  const sessionId = await tree.openSession(opening)
  const write = (path: string, mode: 'container' | 'ttl' | 'persistent', ttlMs = 0) =>
    tree.write({ sessionId }, { type: 'create', path, data: empty, mode, ttlMs })
  await write('/used', 'container')
  await write('/used/child', 'persistent')
  await write('/never', 'container')
  await write('/short', 'ttl', 5_000)
  await write('/long', 'ttl', 50_000)
  await write('/full', 'ttl', 2_000)
  await write('/full/child', 'persistent')
  await time.advance(3_500)
  t.same((await tree.children('/')).names, ['full', 'long', 'never', 'short', 'used'])
  await tree.write({ sessionId }, { type: 'delete', path: '/used/child', version: -1 })
  await tree.write({ sessionId }, { type: 'set', path: '/short', data: empty, version: -1 })
  await time.advance(4_000)
  t.same((await tree.children('/')).names, ['full', 'long', 'never', 'short'], 'a change renews it')
  await time.advance(4_000)
  t.same((await tree.children('/')).names, ['full', 'long', 'never'])
  t.equal(await failure(write('/x', 'ttl', 0)), 'QUIRE_BAD_OPTION')
  await tree.close()
  t.equal(time.pending, 0, 'nothing is left behind')
})

t.test('numbers that come to their end', (t) => {
  t.equal(sequenceDigits(7), '0000000007')
  t.equal(sequenceDigits(2_147_483_647), '2147483647')
  t.equal(sequenceDigits(-2_147_483_648), '-2147483648')
  t.equal(sequenceDigits(-5), '-000000005')
  const full: TreeRow = { ...rootRow, sequence: 2_147_483_647, version: -2 }
  const session = { answeredUpTo: 0, results: new Map(), ephemerals: new Set<string>() }
  const view = {
    row: (path: string) => (path === '/' ? full : undefined),
    session: () => session,
  }
  const command = (operation: ReturnType<typeof numbered> | object): TreeCommand => ({
    type: 'write',
    request: { sessionId: 1n },
    operations: [operation as ReturnType<typeof numbered>],
    timeMs: 5,
  })
  const applied = applyCommand(view, command(numbered('/n')), 9)
  t.match(applied.result, { ok: true, results: [{ path: '/n2147483647' }] })
  t.equal(applied.rows.get('/')?.sequence, -2_147_483_648, 'it goes round')
  const set = { type: 'set', path: '/', data: empty, version: -2 }
  t.equal(applyCommand(view, command(set), 9).rows.get('/')?.version, 0, 'never "any version"')
  t.end()
})

const paths = ['/a', '/b', '/a/x', '/a/y', '/b/x', '/a/x/z']
const operation = fc.oneof(
  fc.record({
    type: fc.constant('create' as const),
    path: fc.constantFrom(...paths),
    data: fc.constant(empty),
    mode: fc.constantFrom(
      'persistent' as const,
      'ephemeral' as const,
      'persistent-sequential' as const,
      'ephemeral-sequential' as const,
    ),
  }),
  fc.record({
    type: fc.constant('set' as const),
    path: fc.constantFrom(...paths),
    data: fc.constant(bytes('x')),
    version: fc.integer({ min: -1, max: 2 }),
  }),
  fc.record({
    type: fc.constantFrom('delete' as const, 'check' as const),
    path: fc.constantFrom(...paths),
    version: fc.integer({ min: -1, max: 1 }),
  }),
)
const sessionIds = fc.constantFrom(1n, 2n)
const command: fc.Arbitrary<TreeCommand> = fc.oneof(
  { weight: 1, arbitrary: sessionIds.map(opened) },
  {
    weight: 1,
    arbitrary: sessionIds.map((sessionId) => {
      return { type: 'end-session', sessionId, reason: 'expired', timeMs: 3 } as const
    }),
  },
  {
    weight: 8,
    arbitrary: fc
      .tuple(sessionIds, fc.option(fc.nat(6)), fc.array(operation, { minLength: 1, maxLength: 3 }))
      .map(([sessionId, id, operations]) => {
        const requestId = id === null ? undefined : id + 1
        const request = { sessionId, requestId, answeredUpTo: (requestId ?? 1) > 5 ? 2 : 0 }
        return { type: 'write', request, operations, timeMs: 2 } as const
      }),
  },
)

function opened(sessionId: bigint): TreeCommand {
  return { type: 'open-session', sessionId, timeoutMs: 1000, password: empty, timeMs: 1 }
}

/** Runs commands in groups of the sizes given, reopening the store between some of them. */
async function replay(commands: readonly TreeCommand[], sizes: readonly number[]) {
  const store = new MemoryTreeStore()
  let sessions = await SessionTable.load(store)
  let zxid = 0
  const events: unknown[] = []
  const results: unknown[] = []
  for (let at = 0, group = 0; at < commands.length; group++) {
    const size = sizes[group % sizes.length] ?? 1
    const batch = new Batch({ store, sessions, zxid })
    for (const each of commands.slice(at, at + size)) results.push(await batch.apply(each))
    const changes = batch.changes()
    if (changes) await store.commit(changes)
    zxid = batch.zxid
    events.push(...batch.events)
    at += size
    if (size === 2) sessions = await SessionTable.load(store)
  }
  return { store, results, events, zxid }
}

t.test('the order of commands alone decides what the tree holds', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(command, { maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
      async (more, sizes) => {
        const commands = [opened(1n), opened(2n), ...more]
        const one = await replay(commands, [1])
        const other = await replay(commands, sizes)
        const whole = async ({ store }: typeof one) => {
          const all = await every(store, '/')
          return { rows: all, facts: [...(await store.facts(''))].map(([k, v]) => [k, [...v]]) }
        }
        const rows = await every(one.store, '/')
        for (const { path, childCount, cversion, sequence } of rows) {
          const children = await one.store.children(path)
          if (children.length !== childCount) throw new Error(`${path} counts wrongly`)
          if (cversion !== 2 * sequence - childCount) throw new Error(`${path}: cversion`)
        }
        const left = JSON.stringify([await whole(one), one.results, one.events, one.zxid], plain)
        const right = JSON.stringify(
          [await whole(other), other.results, other.events, other.zxid],
          plain,
        )
        if (left !== right) throw new Error('grouping made a difference')
      },
    ),
    { numRuns: 150 },
  )
  t.pass('whatever the groups and restarts')
})

const plain = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value

async function every(store: MemoryTreeStore, path: string): Promise<TreeRow[]> {
  const [row] = await store.get([path])
  const rows = row ? [row] : []
  for (const name of await store.children(path)) {
    rows.push(...(await every(store, path === '/' ? `/${name}` : `${path}/${name}`)))
  }
  return rows
}

t.test('what was acknowledged outlives the loss of power, whole', async (t) => {
  for (let seed = 1; seed <= 12; seed++) {
    const world = new World({ seed })
    const acked = new Map<string, number>()
    const tried = new Map<string, number>()
    for (let boot = 0; boot < 3; boot++) {
      const io = createSimulatedIo(world, 'a')
      await world.settle(io.files.makeDirectory('/d'))
      const rows = await world.settle(io.trees.open('/d/tree'))
      const tree = await world.settle(openTree({ ...io, logger: silent, store: rows }))
      const session = await world.settle(new TreeMetadata(tree).session())
      for (const path of ['/a', '/b']) {
        const found = await world.settle(session.exists(path))
        const version = found?.version ?? -1
        t.ok(version >= (acked.get(path) ?? -1), `seed ${seed}: nothing acknowledged is lost`)
        t.ok(version <= (tried.get(path) ?? -1), 'nor made up')
        tried.set(path, version)
      }
      const both = Promise.all(['/a', '/b'].map((path) => session.exists(path)))
      const [a, b] = (await world.settle(both)).map((stat) => stat?.version)
      t.equal(a, b, 'a multi is whole')
      const work = async (): Promise<void> => {
        for (;;) {
          const first = !(await session.exists('/a'))
          const operations = ['/a', '/b'].map((path) => {
            tried.set(path, (tried.get(path) ?? -1) + 1)
            return first
              ? ({ type: 'create', path, data: empty } as const)
              : ({ type: 'set', path, data: bytes('x'), version: -1 } as const)
          })
          await session.multi(operations)
          for (const path of ['/a', '/b']) acked.set(path, tried.get(path) ?? 0)
        }
      }
      void work()
      await world.run(5 + world.scheduler.choose(30, 'until the power goes'))
      world.cutPower('a')
    }
    t.ok((acked.get('/a') ?? 0) > 0, 'something was done')
  }
})
