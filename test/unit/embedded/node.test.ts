// How a node ends: what fails ends all of it, and what cannot be closed keeps nothing else open.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Closers } from '../../../src/embedded/closers.ts'
import { parseAddress } from '../../../src/embedded/address.ts'
import { connectWith } from '../../../src/embedded/connect.ts'
import { openManagers } from '../../../src/embedded/managers.ts'
import { startNode, type NodeHandle } from '../../../src/embedded/node/node.ts'
import { Registration } from '../../../src/embedded/node/registration.ts'
import { openWith } from '../../../src/embedded/open.ts'
import { parseOpenOptions, type OpenOptions } from '../../../src/embedded/options.ts'
import { QuireError } from '../../../src/errors.ts'
import type { Io } from '../../../src/io/index.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import { claimIncarnation } from '../../../src/metadata/incarnations.ts'
import { MemoryTreeStore } from '../../../src/metadata/memory/tree-store.ts'
import { TreeMetadata } from '../../../src/metadata/tree-metadata.ts'
import { openTree } from '../../../src/metadata/tree/tree.ts'
import type { Machine } from '../../../src/snapshot/memory-state.ts'
import { encodeForceRequest } from '../../../src/wire/bookie-request.ts'
import { addFrame, ids } from '../../support/bookie-frames.ts'
import { ManualTime } from '../../support/manual-time.ts'
import { silent } from '../../support/metadata-bench.ts'

const io = createIo()

const counting: Machine<number, number, number, null, number> = {
  create: () => 0,
  apply: (state, command) => ({ state: state + command, result: state + command }),
  query: (state) => state,
  snapshot: (state) => [Buffer.from(String(state))],
  restore: async () => 0,
}

interface Started {
  readonly node: NodeHandle
  readonly failures: unknown[]
}

async function start(options: OpenOptions, outside: Io = io): Promise<Started> {
  const failures: unknown[] = []
  const settings = parseOpenOptions({ segmentBytes: 1024 * 1024, ...options })
  const failed = (error: unknown): void => void failures.push(error)
  const handed = (): void => undefined
  return {
    node: await startNode({ io: outside, logger: silent, settings, failed, handed }),
    failures,
  }
}

/** An outside world whose journal disk fails when told. */
function breakable() {
  const state = { broken: false }
  const journals: Io['journals'] = {
    async open() {
      const device = await io.journals.open()
      return {
        allocate: (bytes) => device.allocate(bytes),
        prepare: (path, bytes) => device.prepare(path, bytes),
        open: (path, image) => device.open(path, image),
        closeFile: (file) => device.closeFile(file),
        close: () => device.close(),
        commit(file, from, to, done) {
          if (!state.broken) device.commit(file, from, to, done)
          else done(new QuireError('QUIRE_FSYNC_FAILED', 'the disk failed the test'))
        },
      }
    },
  }
  return { state, outside: { ...io, journals } }
}

/** A cluster of one, and what the metadata says of its bookies. */
async function cluster(t: Test) {
  const dir = t.testdir()
  const { node } = await start({ dir: join(dir, 'a') })
  const store = connectMetadata({ ...io, logger: silent, addresses: [parseAddress(node.listen)] })
  const session = await store.session()
  const { registration } = await openManagers(session, { io })
  t.teardown(async () => {
    await store.close()
    await node.close()
  })
  /** Waits until the bookies are so many. */
  const registered = async (count: number): Promise<string[]> => {
    for (;;) {
      const changed = Promise.withResolvers<void>()
      const ids = await registration.writable({ watch: () => changed.resolve() })
      if (ids.length === count) return ids
      await changed.promise
    }
  }
  const metadata = `quire://${node.listen}`
  return { dir, metadata, registered }
}

t.test('a disk that fails ends the node at once: nobody finds it any more', async (t) => {
  const { dir, metadata, registered } = await cluster(t)
  const { state, outside } = breakable()
  const { node, failures } = await start({ dir: join(dir, 'b'), metadata }, outside)
  t.equal((await registered(2)).includes(node.id), true)
  state.broken = true
  const client = await io.network.connect(parseAddress(node.listen), { timeoutMs: 1000 })
  const ended = Promise.withResolvers<void>()
  const answers: Buffer[] = []
  client.start({ data: (chunk) => answers.push(chunk), drain() {}, close: () => ended.resolve() })
  client.write(addFrame())
  client.write(encodeForceRequest(ids({})))
  await ended.promise
  t.same(answers, [], 'nothing is answered')
  t.match(failures, [{ code: 'QUIRE_FSYNC_FAILED' }])
  t.equal((await registered(1)).includes(node.id), false)
  await t.rejects(io.network.connect(parseAddress(node.listen), { timeoutMs: 1000 }), {
    code: 'QUIRE_CONNECTION_LOST',
  })
  await node.close()
  await t.rejects(start({ dir: join(dir, 'b'), metadata }), { code: 'QUIRE_DIRECTORY_POISONED' })
})

t.test(
  'metadata whose disk failed are not opened again by any thread of the process',
  async (t) => {
    const dir = t.testdir()
    const state = { broken: false }
    const trees: Io['trees'] = {
      async open(path) {
        const store = await io.trees.open(path)
        const commit = store.commit.bind(store)
        store.commit = async (batch) => {
          if (state.broken) throw new QuireError('QUIRE_FSYNC_FAILED', 'the disk failed the test')
          await commit(batch)
        }
        return store
      },
    }
    const { node, failures } = await start({ dir }, { ...io, trees })
    state.broken = true
    const addresses = [parseAddress(node.listen)]
    const store = connectMetadata({ ...io, logger: silent, addresses, connectTimeoutMs: 100 })
    await t.rejects(store.session(), { code: 'QUIRE_METADATA_UNAVAILABLE' })
    await store.close()
    await node.close()
    t.match(failures, [{ code: 'QUIRE_FSYNC_FAILED' }])
    t.same(
      readdirSync(dir)
        .filter((name) => name.startsWith('LOCK'))
        .sort(),
      ['LOCK', 'LOCK.poisoned'],
    )
  },
)

t.test('a node that failed under its client can be closed', async (t) => {
  const { state, outside } = breakable()
  const dir = t.testdir()
  const node = await openWith({ io: outside, logger: silent }, { dir, threads: 'inline' })
  const counter = await node.replica('counter', counting)
  t.equal(await counter.execute(1), 1)
  state.broken = true
  const pending = t.rejects(counter.execute(1), { code: 'QUIRE_OUTCOME_UNKNOWN' })
  t.match(await node.failed, { code: 'QUIRE_FSYNC_FAILED' })
  // Whatever the client has to say about what it could not finish, the node is closed.
  await node.close().catch((error: unknown) => t.ok(QuireError.is(error)))
  await pending
  await t.rejects(openWith({ io, logger: silent }, { dir }), { code: 'QUIRE_DIRECTORY_POISONED' })
})

t.test('the space of the last ledgers comes back too', async (t) => {
  const { node } = await start({ dir: t.testdir(), collectIntervalMs: 10 })
  const client = await connectWith({ io, logger: silent }, `quire://${node.listen}`)
  const { ledgers } = client
  for (let count = 0; count < 12; count++) {
    await using writer = await ledgers.create()
    await writer.append(Buffer.from('entry'))
  }
  t.equal(node.stats().entries, 12)
  for await (const ledgerId of ledgers.list()) await ledgers.delete(ledgerId)
  while (node.stats().entries > 0) await new Promise((resolve) => setImmediate(resolve))
  await client.close()
  await node.close()
})

t.test('a refusal gives a directory that is not the right one no identity', async (t) => {
  const dir = t.testdir()
  const journal = join(dir, 'journal')
  const ledgers = [join(dir, 'ledgers')]
  const { node } = await start({ dir: join(dir, 'right'), journal, ledgers })
  await node.close()
  const wrong = { dir: join(dir, 'wrong'), journal, ledgers }
  await t.rejects(start(wrong), { code: 'QUIRE_IDENTITY_MISMATCH' })
  t.equal(await io.files.facts(join(dir, 'wrong', 'IDENTITY')), undefined)
  const { node: again } = await start({ dir: join(dir, 'right'), journal, ledgers })
  t.equal(again.id, node.id)
  await again.close()
})

t.test('local files of databases are one process at a time', async (t) => {
  const { dir, metadata } = await cluster(t)
  const connect = () => connectWith({ io, logger: silent }, metadata, { dir: join(dir, 'state') })
  const definition = { migrations: ['create table fact (value)'], commands: {} }
  const [one, other] = [await connect(), await connect()]
  await one.database('facts', definition)
  await t.rejects(other.database('facts', definition), { code: 'QUIRE_DIRECTORY_IN_USE' })
  await one.close()
  const facts = await other.database('facts', definition)
  t.same(await facts.query('select value from fact'), [])
  await other.close()
})

t.test('a bookie that was started elsewhere meanwhile does not register again', async (t) => {
  const time = new ManualTime()
  const parts = { ...io, clock: time, timers: time, logger: silent }
  const tree = await openTree({ ...parts, store: new MemoryTreeStore() })
  const metadata = new TreeMetadata(tree)
  const own = await metadata.session()
  const superseded: Error[] = []
  const sessions: bigint[] = []
  const registration = new Registration({
    io: parts,
    logger: silent,
    endpoint: { bookieId: 'bookie-1', host: '127.0.0.1', port: 1 },
    isReadOnly: () => false,
    async openSession() {
      const session = await metadata.session()
      sessions.push(session.sessionId)
      return session
    },
    claim: () => claimIncarnation(own, { bookieId: 'bookie-1', incarnation: 3 }),
    superseded: (error) => superseded.push(error),
  })
  await registration.start()
  const path = '/ledgers/available/bookie-1'
  await tree.endSession(sessions[0] ?? 0n, 'expired')
  t.equal(await own.exists(path), undefined)
  await time.advance(1000)
  t.equal((await own.exists(path))?.ephemeralOwner, sessions[1], 'it comes back by itself')
  await claimIncarnation(own, { bookieId: 'bookie-1', incarnation: 4 })
  await tree.endSession(sessions[1] ?? 0n, 'expired')
  await time.advance(5000)
  t.equal(await own.exists(path), undefined)
  t.match(superseded, [{ code: 'QUIRE_STALE_DISK' }])
  await registration.close()
  await metadata.close()
})

t.test('what cannot be closed keeps nothing else open', async (t) => {
  const closed: string[] = []
  const closers = new Closers()
  closers.add(async () => closed.push('first'))
  closers.add(async () => {
    throw new Error('second')
  })
  closers.add(async () => closed.push('third'))
  await t.rejects(closers.close(), { message: 'second' })
  t.same(closed, ['third', 'first'])
  await closers.close()
})
