// What every metadata store owes its users: ZooKeeper's data model, whatever keeps the tree. A
// product of its own: it takes anything that opens a `MetadataStore`, and works below a path that
// it makes.

import { setImmediate as turn } from 'node:timers/promises'
import type { Test } from 'tap'
import { QuireError } from '../../src/errors.ts'
import { anyVersion } from '../../src/metadata/contract.ts'
import type {
  MetadataCapability,
  MetadataSession,
  MetadataStore,
  MultiOperation,
  WatchEvent,
} from '../../src/metadata/contract.ts'

export interface MetadataUnderTest {
  readonly store: MetadataStore
  /**
   * Lets the world go on until the promise is settled; for stores whose time does not go by itself.
   */
  readonly settle?: <T>(promise: Promise<T>) => Promise<T>
  /** Cuts what connects the sessions with the tree, where something does. Sessions survive it. */
  readonly breakConnections?: () => void
  close(): Promise<void>
}

export interface MetadataSuiteOptions {
  readonly name: string
  open(t: Test): Promise<MetadataUnderTest>
  /** What the store must say that it has. */
  readonly capabilities: readonly MetadataCapability[]
}

interface World {
  readonly t: Test
  readonly store: MetadataStore
  readonly session: MetadataSession
  /** A path of this test's own, where there is an empty node. */
  readonly base: string
  readonly breakConnections: (() => void) | undefined
}

type Body = (world: World) => Promise<void>

export function metadataSuite(t: Test, options: MetadataSuiteOptions): void {
  t.test(options.name, async (t) => {
    const opened = await options.open(t)
    const { store, breakConnections } = opened
    const settle = opened.settle ?? (async <T>(promise: Promise<T>): Promise<T> => promise)
    t.teardown(() => settle(opened.close()))
    t.same([...store.capabilities].sort(), [...options.capabilities].sort(), 'what it can')
    for (const [number, [name, body]] of Object.entries(bodies).entries()) {
      await t.test(name, async (t) => {
        const run = async (): Promise<void> => {
          const session = await store.session()
          const base = `/suite-${number}`
          await session.create(base, empty)
          await body({ t, store, session, base, breakConnections })
          await session.close()
        }
        await settle(run())
      })
    }
  })
}

const empty = Buffer.alloc(0)
const bytes = (text: string): Buffer => Buffer.from(text)
const textOf = (data: Uint8Array): string => Buffer.from(data).toString()

/** The code with which a call fails, and what the error says of where. */
async function failure(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : `not ours: ${String(error)}`
  }
}

async function factsOf(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  try {
    await promise
    return {}
  } catch (error) {
    return QuireError.is(error) ? error.facts : {}
  }
}

/** A watch with what it was told, in order. */
class Told {
  readonly events: string[] = []
  readonly #waiting: (() => void)[] = []

  readonly watch = (event: WatchEvent): void => {
    this.events.push(`${event.type} ${event.path}`)
    for (const call of this.#waiting.splice(0)) call()
  }

  async reach(count: number): Promise<void> {
    while (this.events.length < count) await this.next()
  }

  next(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

const stats: Record<string, Body> = {
  'a node and its stat': async ({ t, session, base }) => {
    const path = `${base}/a`
    const created = await session.create(path, bytes('one'))
    t.equal(created.path, path)
    const { stat } = created
    t.match(stat, { version: 0, cversion: 0, aversion: 0, dataLength: 3, childCount: 0 })
    t.equal(stat.ephemeralOwner, 0n)
    t.equal(stat.mzxid, stat.czxid)
    t.equal(stat.pzxid, stat.czxid)
    t.equal(stat.mtimeMs, stat.ctimeMs)
    t.ok(stat.czxid > 0)
    const got = await session.get(path)
    t.equal(textOf(got.data), 'one')
    t.same(got.stat, stat)
    t.same(await session.exists(path), stat)

    const changed = await session.set(path, bytes('second'), 0)
    t.match(changed, { version: 1, dataLength: 6, czxid: stat.czxid, pzxid: stat.pzxid })
    t.ok(changed.mzxid > stat.mzxid)
    t.equal(changed.ctimeMs, stat.ctimeMs)
    t.ok(changed.mtimeMs >= stat.mtimeMs)
    t.equal((await session.set(path, empty, anyVersion)).version, 2)
    t.same((await session.get(path)).data.length, 0, 'no data is empty data')
    await session.delete(path, 2)
    t.equal(await session.exists(path), undefined)
    t.equal((await session.create(path, empty)).stat.version, 0, 'made anew, it begins anew')
  },

  'what children do to the stat of their parent': async ({ t, session, base }) => {
    const before = await session.exists(base)
    const a = await session.create(`${base}/a`, empty)
    const one = await session.exists(base)
    t.match(one, { cversion: 1, childCount: 1, version: 0, pzxid: a.stat.czxid })
    t.equal(one?.mzxid, before?.mzxid, 'it was not changed itself')
    await session.create(`${base}/a/deep`, empty)
    await session.set(`${base}/a`, bytes('x'), anyVersion)
    t.same(await session.exists(base), one, 'neither grandchildren nor data of children count')
    await session.create(`${base}/b`, empty)
    await session.delete(`${base}/b`, anyVersion)
    const last = await session.exists(base)
    t.match(last, { cversion: 3, childCount: 1 }, 'creations and removals')
    t.ok(last && one && last.pzxid > one.pzxid)
  },

  'children are sorted names': async ({ t, session, base }) => {
    for (const name of ['b', 'a', 'C', 'ä', 'a.b', '10', '9']) {
      await session.create(`${base}/${name}`, empty)
    }
    const { names, stat } = await session.children(base)
    t.same(names, ['10', '9', 'C', 'a', 'a.b', 'b', 'ä'])
    t.equal(stat.childCount, 7)
    t.same((await session.children(`${base}/a`)).names, [])
  },

  'sequential names count the creations under their parent': async ({ t, session, base }) => {
    const sequential = { mode: 'persistent-sequential' } as const
    const create = async (path: string): Promise<string> =>
      (await session.create(path, empty, sequential)).path
    t.equal(await create(`${base}/n-`), `${base}/n-0000000000`)
    await session.create(`${base}/plain`, empty)
    t.equal(await create(`${base}/m-`), `${base}/m-0000000002`, 'whatever the names were')
    await session.delete(`${base}/m-0000000002`, anyVersion)
    await session.delete(`${base}/plain`, anyVersion)
    t.equal(await create(`${base}/n-`), `${base}/n-0000000003`, 'removals do not count')
    t.equal(await create(`${base}/`), `${base}/0000000004`, 'the name may be the number alone')
    await session.create(`${base}/n-0000000006`, empty)
    t.equal(await failure(create(`${base}/n-`)), 'QUIRE_NODE_EXISTS')
  },

  'many sequential names at once are all different': async ({ t, store, session, base }) => {
    const other = await store.session()
    const sessions = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? session : other))
    const made = await Promise.all(
      sessions.map((each) => each.create(`${base}/n`, empty, { mode: 'persistent-sequential' })),
    )
    const paths = made.map(({ path }) => path)
    t.equal(new Set(paths).size, 60)
    t.same((await session.children(base)).names.length, 60)
    const mine = paths.filter((_, index) => index % 2 === 0)
    t.same(mine, [...mine].sort(), "one session's come in the order of its calls")
    await other.close()
  },
}

const refusals: Record<string, Body> = {
  'what is not there, there already, of another version or not empty': async (world) => {
    const { t, session, base } = world
    const missing = `${base}/missing`
    t.equal(await failure(session.get(missing)), 'QUIRE_NO_NODE')
    t.equal(await failure(session.children(missing)), 'QUIRE_NO_NODE')
    t.equal(await failure(session.set(missing, empty, anyVersion)), 'QUIRE_NO_NODE')
    t.equal(await failure(session.delete(missing, anyVersion)), 'QUIRE_NO_NODE')
    t.equal(await failure(session.create(`${missing}/a`, empty)), 'QUIRE_NO_NODE')
    t.equal(await session.exists(missing), undefined)
    t.match(await factsOf(session.get(missing)), { path: missing })

    const path = `${base}/a`
    await session.create(path, bytes('kept'))
    t.equal(await failure(session.create(path, bytes('lost'))), 'QUIRE_NODE_EXISTS')
    t.equal(await failure(session.set(path, bytes('lost'), 1)), 'QUIRE_BAD_VERSION')
    t.equal(await failure(session.delete(path, 7)), 'QUIRE_BAD_VERSION')
    t.match(await factsOf(session.delete(path, 7)), { path })
    await session.create(`${path}/b`, empty)
    t.equal(await failure(session.delete(path, 0)), 'QUIRE_NOT_EMPTY')
    t.equal(await failure(session.delete(path, 1)), 'QUIRE_BAD_VERSION', 'the version comes first')
    const { data, stat } = await session.get(path)
    t.equal(textOf(data), 'kept')
    t.match(stat, { version: 0, cversion: 1 }, 'nothing of it left a trace')
  },

  'paths that are none': async ({ t, session, base }) => {
    const bad = ['', 'a', `${base}/`, `${base}//a`, `${base}/./a`, `${base}/..`, `${base}/\u0001`]
    for (const path of bad) {
      t.equal(await failure(session.create(path, empty)), 'QUIRE_BAD_PATH', JSON.stringify(path))
      t.equal(await failure(session.get(path)), 'QUIRE_BAD_PATH')
    }
    t.equal(await failure(session.delete('/', anyVersion)), 'QUIRE_BAD_PATH', 'the root stays')
    t.equal(await failure(session.create('/', empty)), 'QUIRE_NODE_EXISTS')
    t.ok(await session.exists('/'))
    const many = `${base}/${'n'.repeat(500)}`
    await session.create(many, empty)
    t.same((await session.children(base)).names, ['n'.repeat(500)])
  },

  'data up to a mebibyte': async ({ t, session, base }) => {
    const large = Buffer.alloc(1_000_000, 7)
    large[999_999] = 8
    await session.create(`${base}/a`, large)
    t.ok(large.equals((await session.get(`${base}/a`)).data))
    const tooLarge = Buffer.alloc(1_100_000)
    t.equal(await failure(session.create(`${base}/b`, tooLarge)), 'QUIRE_FRAME_TOO_LARGE')
    t.equal(await failure(session.set(`${base}/a`, tooLarge, 0)), 'QUIRE_FRAME_TOO_LARGE')
    t.equal((await session.exists(`${base}/a`))?.version, 0, 'the session goes on')
  },

  'bytes belong to the call from its start': async ({ t, session, base }) => {
    const data = bytes('first')
    const creating = session.create(`${base}/a`, data)
    data.fill('x')
    await creating
    const got = await session.get(`${base}/a`)
    t.equal(textOf(got.data), 'first')
    Buffer.from(got.data.buffer, got.data.byteOffset, got.data.byteLength).fill('y')
    t.equal(textOf((await session.get(`${base}/a`)).data), 'first', 'what was read is a copy')
  },

  signals: async ({ t, session, base }) => {
    const aborted = AbortSignal.abort(new Error('enough'))
    const path = `${base}/a`
    t.equal(await failure(session.create(path, empty, { signal: aborted })), 'QUIRE_ABORTED')
    t.equal(await session.exists(path), undefined, 'it was not sent')
    t.equal(await failure(session.get(base, { signal: aborted })), 'QUIRE_ABORTED')
    t.equal(await failure(session.multi([], { signal: aborted })), 'QUIRE_ABORTED')
    const controller = new AbortController()
    const pending = session.create(path, empty, { signal: controller.signal })
    controller.abort()
    t.equal(await failure(pending), 'QUIRE_ABORTED')
    await session.set(base, bytes('after'), anyVersion)
    t.equal(textOf((await session.get(base)).data), 'after', 'the session goes on')
  },
}

const multis: Record<string, Body> = {
  'a multi is one change': async ({ t, session, base }) => {
    await session.create(`${base}/old`, bytes('x'))
    const results = await session.multi([
      { type: 'check', path: `${base}/old`, version: 0 },
      { type: 'create', path: `${base}/a`, data: bytes('a') },
      { type: 'create', path: `${base}/a/b`, data: empty },
      { type: 'set', path: `${base}/a`, data: bytes('changed'), version: 0 },
      { type: 'create', path: `${base}/s-`, data: empty, mode: 'persistent-sequential' },
      { type: 'create', path: `${base}/s-`, data: empty, mode: 'persistent-sequential' },
      { type: 'delete', path: `${base}/old`, version: 0 },
    ])
    t.same(
      results.map(({ type }) => type),
      ['check', 'create', 'create', 'set', 'create', 'create', 'delete'],
    )
    t.match(results[4], { path: `${base}/s-0000000002` })
    t.match(results[5], { path: `${base}/s-0000000003` })
    const a = await session.get(`${base}/a`)
    t.equal(textOf(a.data), 'changed')
    t.match(a.stat, { version: 1, childCount: 1, mzxid: a.stat.czxid }, 'one change, one number')
    t.same((await session.children(base)).names, ['a', 's-0000000002', 's-0000000003'])
    t.same(await session.multi([]), [])
  },

  'a multi that fails does nothing, and says where': async ({ t, session, base }) => {
    await session.create(`${base}/a`, bytes('x'))
    const before = await session.exists(base)
    const first: MultiOperation[] = [
      { type: 'create', path: `${base}/new`, data: empty },
      { type: 'set', path: `${base}/a`, data: bytes('lost'), version: 0 },
    ]
    const rows: [MultiOperation, string][] = [
      [{ type: 'check', path: `${base}/a`, version: 0 }, 'QUIRE_BAD_VERSION'],
      [{ type: 'check', path: `${base}/none`, version: anyVersion }, 'QUIRE_NO_NODE'],
      [{ type: 'create', path: `${base}/new`, data: empty }, 'QUIRE_NODE_EXISTS'],
      [{ type: 'delete', path: base, version: anyVersion }, 'QUIRE_NOT_EMPTY'],
      [{ type: 'create', path: 'bad', data: empty }, 'QUIRE_BAD_PATH'],
    ]
    for (const [last, code] of rows) {
      const operations = [...first, last]
      t.equal(await failure(session.multi(operations)), code)
      t.match(await factsOf(session.multi(operations)), { index: 2, path: last.path })
    }
    t.same(await session.exists(base), before)
    t.equal(textOf((await session.get(`${base}/a`)).data), 'x')
    await session.create(`${base}/s-`, empty, { mode: 'persistent-sequential' })
    t.same((await session.children(base)).names, ['a', 's-0000000001'], 'no number was used up')
  },

  'compare-and-set counts every increment once': async ({ t, store, base }) => {
    const sessions = await Promise.all(Array.from({ length: 4 }, () => store.session()))
    await sessions[0]?.set(base, bytes('0'), anyVersion)
    const increment = async (session: MetadataSession): Promise<number> => {
      for (let conflicts = 0; ; conflicts++) {
        const { data, stat } = await session.get(base, { linearizable: true })
        const next = bytes(String(Number(textOf(data)) + 1))
        const outcome = await failure(session.set(base, next, stat.version))
        if (outcome === 'no error') return conflicts
        t.equal(outcome, 'QUIRE_BAD_VERSION')
      }
    }
    const work = async (session: MetadataSession): Promise<void> => {
      for (let n = 0; n < 10; n++) await increment(session)
    }
    await Promise.all(sessions.map(work))
    const end = await sessions[0]?.get(base, { linearizable: true })
    t.equal(textOf(end?.data ?? empty), '40')
    t.equal(end?.stat.version, 41)
    await Promise.all(sessions.map((session) => session.close()))
  },

  'a session sees its own order': async ({ t, store, session, base }) => {
    const path = `${base}/a`
    const creating = session.create(path, bytes('0'))
    const setting = [1, 2, 3, 4].map((n) => session.set(path, bytes(String(n)), n - 1))
    const { data } = await session.get(path)
    t.equal(textOf(data), '4', 'a read comes behind the writes made before it')
    await Promise.all([creating, ...setting])
    const other = await store.session()
    await session.set(path, bytes('5'), 4)
    t.equal(textOf((await other.get(path, { linearizable: true })).data), '5')
    await other.close()
  },
}

const watches: Record<string, Body> = {
  'a watch is told of the next change, once': async ({ t, store, session, base }) => {
    const other = await store.session()
    const told = new Told()
    const { watch } = told
    const path = `${base}/a`
    t.equal(await session.exists(path, { watch }), undefined)
    await other.create(path, empty)
    await told.reach(1)
    await session.get(path, { watch })
    await other.set(path, bytes('1'), anyVersion)
    await told.reach(2)
    await other.set(path, bytes('2'), anyVersion)
    await session.exists(path, { watch })
    await other.delete(path, anyVersion)
    await told.reach(3)
    await other.create(path, empty)
    await session.get(path, { linearizable: true })
    t.same(told.events, [`created ${path}`, `changed ${path}`, `deleted ${path}`])
    await other.close()
  },

  'a watch of children is told of children': async ({ t, store, session, base }) => {
    const other = await store.session()
    const told = new Told()
    const path = `${base}/a`
    await other.create(path, empty)
    await session.children(path, { watch: told.watch })
    await other.set(path, bytes('1'), anyVersion)
    await session.get(path, { linearizable: true })
    t.same(told.events, [], 'not of data')
    await other.create(`${path}/b`, empty)
    await told.reach(1)
    await session.children(path, { watch: told.watch })
    await other.create(`${path}/b/c`, empty)
    await other.set(`${path}/b`, bytes('x'), anyVersion)
    await session.get(path, { linearizable: true })
    t.equal(told.events.length, 1, 'not of what is below them')
    await other.delete(`${path}/b/c`, anyVersion)
    await other.delete(`${path}/b`, anyVersion)
    await told.reach(2)
    await session.children(path, { watch: told.watch })
    await other.delete(path, anyVersion)
    await told.reach(3)
    t.same(told.events, [`children ${path}`, `children ${path}`, `deleted ${path}`])
    await other.close()
  },

  'reads that fail lay no watch': async ({ t, session, base }) => {
    const told = new Told()
    const { watch } = told
    const path = `${base}/a`
    t.equal(await failure(session.get(path, { watch })), 'QUIRE_NO_NODE')
    t.equal(await failure(session.children(path, { watch })), 'QUIRE_NO_NODE')
    await session.create(path, empty)
    await session.delete(path, anyVersion)
    await session.get(base)
    t.same(told.events, [])
  },

  'watches come in the order of the changes': async ({ t, store, session, base }) => {
    const other = await store.session()
    const told = new Told()
    const { watch } = told
    const paths = ['a', 'b', 'c', 'd'].map((name) => `${base}/${name}`)
    for (const path of paths) await session.exists(path, { watch })
    const sequence = [...paths].reverse()
    await Promise.all(sequence.map((path) => other.create(path, empty)))
    await told.reach(4)
    t.same(
      told.events,
      sequence.map((path) => `created ${path}`),
    )
    told.events.length = 0
    for (const path of paths) await session.get(path, { watch })
    await session.children(base, { watch })
    await other.multi([
      { type: 'delete', path: `${base}/c`, version: anyVersion },
      { type: 'set', path: `${base}/a`, data: empty, version: anyVersion },
    ])
    await told.reach(3)
    t.same(told.events, [`deleted ${base}/c`, `children ${base}`, `changed ${base}/a`])
    await other.close()
  },

  'a watch is told before a later read shows the change': async (world) => {
    const { t, store, session, base } = world
    const other = await store.session()
    const told = new Told()
    let wrong = 0
    for (let n = 1; n <= 30; n++) {
      const seen = await session.get(base, { watch: told.watch })
      const count = told.events.length
      const setting = other.set(base, bytes(String(n)), anyVersion)
      for (let later = seen; later.stat.version === seen.stat.version;) {
        later = await session.get(base)
        if (later.stat.version > seen.stat.version && told.events.length === count) wrong++
        await turn()
      }
      await setting
    }
    t.equal(wrong, 0)
    t.equal(told.events.length, 30, 'and each once')
    await other.close()
  },

  'who watches and reads again misses nothing': async ({ t, store, session, base }) => {
    const writers = await Promise.all([store.session(), store.session()])
    const last = 40
    const follow = async (): Promise<number[]> => {
      const versions: number[] = []
      for (;;) {
        const changed = Promise.withResolvers<void>()
        const { stat } = await session.get(base, { watch: () => changed.resolve() })
        versions.push(stat.version)
        if (stat.version === last) return versions
        await changed.promise
      }
    }
    const following = follow()
    const write = async (writer: MetadataSession): Promise<void> => {
      for (let n = 0; n < last / 2; n++) await writer.set(base, empty, anyVersion)
    }
    await Promise.all(writers.map(write))
    const versions = await following
    t.same(
      versions,
      [...versions].sort((a, b) => a - b),
      'never back',
    )
    t.equal(new Set(versions).size, versions.length, 'each event came with something new')
    await Promise.all(writers.map((writer) => writer.close()))
  },

  'members of a directory are followed without a gap': async ({ t, store, session, base }) => {
    const writer = await store.session()
    const known = new Set<string>()
    const follow = async (): Promise<void> => {
      while (known.size < 30) {
        const changed = Promise.withResolvers<void>()
        const { names, stat } = await session.children(base, { watch: () => changed.resolve() })
        if (names.length !== stat.childCount) t.fail('names and stat are of one moment')
        for (const name of names) known.add(name)
        if (known.size < 30) await changed.promise
      }
    }
    const following = follow()
    for (let n = 0; n < 30; n += 3) {
      await Promise.all([0, 1, 2].map((each) => writer.create(`${base}/${n + each}`, empty)))
    }
    await following
    t.equal(known.size, 30)
    await writer.close()
  },
}

const sessions: Record<string, Body> = {
  'ephemerals live as long as their session': async ({ t, store, session, base }) => {
    const owner = await store.session()
    t.not(owner.sessionId, session.sessionId)
    const path = `${base}/e`
    const { stat } = await owner.create(path, bytes('x'), { mode: 'ephemeral' })
    t.equal(stat.ephemeralOwner, owner.sessionId)
    const sequential = { mode: 'ephemeral-sequential' } as const
    const { path: numbered } = await owner.create(`${base}/n-`, empty, sequential)
    t.equal(numbered, `${base}/n-0000000001`)
    await owner.create(`${base}/p`, empty)
    t.equal(await failure(owner.create(`${path}/child`, empty)), 'QUIRE_NO_CHILDREN_FOR_EPHEMERALS')
    t.equal((await session.set(path, bytes('y'), 0)).ephemeralOwner, owner.sessionId)
    await owner.create(`${base}/gone`, empty, { mode: 'ephemeral' })
    await session.delete(`${base}/gone`, anyVersion)
    const told = new Told()
    await session.exists(path, { watch: told.watch })
    const before = await session.exists(base)
    await owner.close()
    await told.reach(1)
    t.same(told.events, [`deleted ${path}`])
    const { names, stat: after } = await session.children(base, { linearizable: true })
    t.same(names, ['p'], 'what is persistent stays')
    t.equal(after.cversion, (before?.cversion ?? 0) + 2)
  },

  'a session that was closed does nothing more': async ({ t, store, session, base }) => {
    const other = await store.session()
    const told = new Told()
    await other.exists(`${base}/a`, { watch: told.watch })
    await other.close()
    t.equal(await other.ended, 'closed')
    await told.reach(1)
    t.match(told.events[0], /^session /, 'its watches end with it')
    t.equal(await failure(other.create(`${base}/a`, empty)), 'QUIRE_CLOSED')
    t.equal(await failure(other.get(base)), 'QUIRE_CLOSED')
    await other.close()
    t.equal(await session.exists(`${base}/a`), undefined)
  },

  'ephemerals in a multi': async ({ t, store, session, base }) => {
    const owner = await store.session()
    await owner.multi([
      { type: 'create', path: `${base}/a`, data: empty, mode: 'ephemeral' },
      { type: 'create', path: `${base}/b`, data: empty, mode: 'ephemeral' },
      { type: 'delete', path: `${base}/a`, version: 0 },
    ])
    await session.create(`${base}/a`, empty)
    await owner.close()
    const { names } = await session.children(base, { linearizable: true })
    t.same(names, ['a'], 'another one of the same name is not its')
  },

  'containers and time to live, where they are': async ({ t, store, session, base }) => {
    const rows = [
      ['container', {}],
      ['ttl', { ttlMs: 60_000 }],
    ] as const
    for (const [mode, more] of rows) {
      const creating = session.create(`${base}/${mode}`, empty, { mode, ...more })
      if (!store.capabilities.has(mode)) {
        t.equal(await failure(creating), 'QUIRE_UNSUPPORTED')
        continue
      }
      const { stat } = await creating
      t.equal(stat.ephemeralOwner, 0n)
      await session.create(`${base}/${mode}/child`, empty)
      t.equal(await failure(session.delete(`${base}/${mode}`, 0)), 'QUIRE_NOT_EMPTY')
    }
  },

  'several reads of one state, where they are': async ({ t, store, session, base }) => {
    await session.create(`${base}/a`, bytes('one'))
    const reading = session.multiRead(
      [
        { type: 'get', path: `${base}/a` },
        { type: 'children', path: base },
        { type: 'get', path: `${base}/none` },
        { type: 'get', path: 'no path' },
      ],
      { linearizable: true },
    )
    if (!store.capabilities.has('multi-read')) {
      t.equal(await failure(reading), 'QUIRE_UNSUPPORTED')
      return
    }
    const [one, names, none, bad] = await reading
    t.match(one, { type: 'get', data: bytes('one'), stat: { version: 0 } })
    t.match(names, { type: 'children', names: ['a'] })
    t.match(none, { type: 'error', error: { code: 'QUIRE_NO_NODE' } })
    t.match(bad, { type: 'error', error: { code: 'QUIRE_BAD_PATH' } })
    const other = await store.session()
    for (let round = 0; round < 20; round++) {
      const changing = other.multi([
        { type: 'set', path: `${base}/a`, data: bytes(`${round}`), version: round },
        { type: 'create', path: `${base}/n${round}`, data: empty },
      ])
      const reads = [
        { type: 'get', path: `${base}/a` },
        { type: 'children', path: base },
      ] as const
      const [value, below] = await session.multiRead(reads)
      const version = value?.type === 'get' ? value.stat.version : -1
      const count = below?.type === 'children' ? below.names.length : -1
      t.equal(count, version + 1, 'both of before the change, or both of behind it')
      await changing
    }
    await other.close()
  },

  'watches that tell every change, where they are': async (world) => {
    const { t, store, session, base, breakConnections } = world
    const [node, tree] = [new Told(), new Told()]
    const laying = session.watch(`${base}/a`, node.watch)
    if (!store.capabilities.has('standing-watch')) {
      t.equal(await failure(laying), 'QUIRE_UNSUPPORTED')
      return
    }
    const laid = await laying
    await session.watch(base, tree.watch, { recursive: true })
    const other = await store.session()
    await other.create(`${base}/a`, empty)
    await other.create(`${base}/a/b`, empty)
    await other.set(`${base}/a`, bytes('x'), 0)
    await other.set(`${base}/a/b`, bytes('y'), 0)
    await other.delete(`${base}/a/b`, 1)
    await other.delete(`${base}/a`, 1)
    await node.reach(5)
    await tree.reach(6)
    t.same(
      node.events.map((event) => event.replace(base, '')),
      ['created /a', 'children /a', 'changed /a', 'children /a', 'deleted /a'],
    )
    t.same(
      tree.events.map((event) => event.replace(base, '')),
      ['created /a', 'created /a/b', 'changed /a', 'changed /a/b', 'deleted /a/b', 'deleted /a'],
    )
    await laid.cancel()
    breakConnections?.()
    await other.create(`${base}/c`, empty)
    while (!tree.events.some((event) => /^created .*\/c$|^missed /.test(event))) await tree.next()
    t.equal(node.events.length, 5, 'one that was taken back tells nothing')
    t.equal(await failure(session.watch('no path', node.watch)), 'QUIRE_BAD_PATH')
    await other.close()
  },

  'a connection that breaks costs no change and doubles none': async (world) => {
    const { t, session, base, breakConnections } = world
    const made: Promise<unknown>[] = []
    for (let n = 0; n < 60; n++) {
      const mode = n % 3 === 0 ? 'ephemeral-sequential' : 'persistent-sequential'
      made.push(session.create(`${base}/n-`, empty, { mode }))
      if (n % 20 === 10) {
        await turn()
        breakConnections?.()
      }
    }
    await Promise.all(made)
    const { names, stat } = await session.children(base, { linearizable: true })
    t.equal(names.length, 60)
    t.equal(stat.cversion, 60, 'each once')
  },
}

const bodies: Record<string, Body> = { ...stats, ...refusals, ...multis, ...watches, ...sessions }
