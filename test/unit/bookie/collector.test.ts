import t from 'tap'
import type { LiveLedgers } from '../../../src/bookie/index.ts'
import { statuses } from '../../../src/wire/bookie-messages.ts'
import { type BookieBench, bookieBench, settled } from '../../support/bookie-bench.ts'
import { addFrame, fenceFrame, readFrame } from '../../support/bookie-frames.ts'

/** Metadata that lists some ledgers and, asked one by one, knows some. */
function metadata(listed: bigint[], existing: bigint[] = listed): LiveLedgers {
  return {
    async *list() {
      yield* listed
    },
    exists: async (id) => existing.includes(id),
    isOurs: async () => true,
  }
}

function holding(ledgers: number[]): BookieBench {
  const bench = bookieBench()
  const client = bench.connect()
  for (const ledger of ledgers) client.send(addFrame({ ledger, entry: 0 }))
  bench.journal.commit()
  bench.journal.autoCommit = true
  return bench
}

const held = (bench: BookieBench, ledgers: number[]): number[] => {
  const client = bench.connect()
  return ledgers.filter((ledger) => {
    client.send(readFrame(0, { ledger }))
    return client.answers()[0]?.status === statuses.ok
  })
}

const many = Array.from({ length: 20 }, (_, at) => at + 1)
const ids = (ledgers: number[]): bigint[] => ledgers.map((ledger) => BigInt(ledger))

t.test('a ledger goes when it is not listed and does not exist', async (t) => {
  const bench = holding([...many, 2 ** 33 + 5])
  const even = many.filter((ledger) => ledger % 2 === 0)
  const seen: number[] = []
  const collected = await bench.bookie.collect(metadata(ids(even), ids([...even, 7])), {
    progress: (done) => seen.push(done),
  })
  t.match(collected, { held: 21, candidates: 11, deleted: 10, kept: 1 })
  t.same(
    held(bench, many),
    [...even, 7].toSorted((a, b) => a - b),
  )
  t.equal(bench.journal.entries(0), 11, 'its space can be used again')
  t.equal(seen.at(-1), 11)
  const after = bench.crash()
  t.same(held(after, many).length, 11)
  const again = await bench.bookie.collect(metadata(ids([...even, 7])))
  t.match(again, { held: 11, candidates: 0 }, 'those deleted are not held')
})

t.test('a ledger created while the listing runs is no candidate', async (t) => {
  const bench = holding([1])
  const client = bench.connect()
  await bench.bookie.collect({
    async *list() {
      client.send(addFrame({ ledger: 2, entry: 0 }))
      yield 1n
    },
    exists: async () => false,
    isOurs: async () => true,
  })
  t.same(held(bench, [1, 2]), [1, 2])
})

t.test('the last ledgers go too, but only from the metadata of their own cluster', async (t) => {
  const bench = holding(many)
  const cluster = { ours: false, asked: 0 }
  const wiped = await bench.bookie.collect({ ...metadata([]), isOurs: async () => cluster.ours })
  t.match(wiped, { refused: 'not-our-metadata', candidates: 20, deleted: 0, kept: 20 })
  const formatted = await bench.bookie.collect({
    ...metadata([]),
    // It is made anew while it is asked.
    isOurs: async () => ++cluster.asked < 2,
  })
  t.match(formatted, { refused: 'not-our-metadata', deleted: 8, kept: 12 })
  t.match(await bench.bookie.collect(metadata([])), { held: 12, deleted: 12 })
  t.equal(bench.journal.entries(0), 0)
})

t.test('an error and a doubt delete nothing', async (t) => {
  const bench = holding(many)
  await t.rejects(
    bench.bookie.collect({
      ...metadata([]),
      // oxlint-disable-next-line require-yield
      async *list() {
        throw new Error('session lost')
      },
    }),
    { message: 'session lost' },
  )
  const doubtful = await bench.bookie.collect({
    ...metadata([1n]),
    exists: async () => {
      throw new Error('not the leader')
    },
  })
  t.match(doubtful, { candidates: 19, deleted: 0, kept: 19 })
  t.same(held(bench, many), many)
  const broken = bench.bookie.collect({
    ...metadata([]),
    isOurs: async () => {
      throw new Error('session lost')
    },
  })
  await t.rejects(broken, { message: 'session lost' })
  t.same(held(bench, many), many)
})

t.test('an abort and a full disk end the pass', async (t) => {
  const bench = holding(many)
  const controller = new AbortController()
  const aborted = bench.bookie.collect(
    {
      ...metadata([1n]),
      exists: async () => {
        controller.abort(new Error('enough'))
        throw new Error('aborted')
      },
    },
    { signal: controller.signal },
  )
  await t.rejects(aborted, { message: 'aborted' })
  bench.journal.reserveGone = true
  await t.rejects(bench.bookie.collect(metadata([1n])), { code: 'QUIRE_DISK_FULL' })
  t.same(held(bench, many), many)
})

t.test('one pass at a time; a journal that fails ends it', async (t) => {
  const bench = holding(many)
  bench.journal.autoCommit = false
  const first = bench.bookie.collect(metadata([1n]))
  await t.rejects(bench.bookie.collect(metadata([1n])), { code: 'QUIRE_BACKPRESSURE' })
  await settled()
  bench.journal.fail()
  await t.rejects(first, { code: 'QUIRE_FSYNC_FAILED' })
})

t.test('a deleted ledger is not forgotten while a record could bring it back', async (t) => {
  const bench = holding([1, 2])
  await bench.bookie.collect(metadata([2n]))
  bench.journal.roll()
  bench.pass(8 * 24 * 3600 * 1000)
  t.equal((await bench.bookie.collect(metadata([2n]))).forgottenTombstones, 0)
  t.same(held(bench.crash(), [1, 2]), [2])
  await bench.bookie.collect(metadata([]))
  bench.journal.recycle(0)
  t.equal((await bench.bookie.collect(metadata([]))).forgottenTombstones, 1)
  const started = bench.crash()
  started.pass(8 * 24 * 3600 * 1000)
  t.equal((await started.bookie.collect(metadata([]))).forgottenTombstones, 0, 'nor after a start')
})

t.test('a deleted ledger is remembered for a week, then forgotten', async (t) => {
  const bench = holding([1])
  await bench.bookie.collect(metadata([]))
  bench.journal.roll()
  bench.journal.recycle(0)
  bench.connect().send(addFrame({ ledger: 2, entry: 0 }))
  const client = bench.connect()
  const late = (): number | undefined => {
    client.send(addFrame({ ledger: 1, entry: 9 }))
    return client.answers()[0]?.status
  }
  t.equal(late(), statuses.fenced)
  bench.pass(6.9 * 24 * 3600 * 1000)
  t.equal((await bench.bookie.collect(metadata([2n]))).forgottenTombstones, 0)
  client.send(fenceFrame(0, { ledger: 1 }))
  t.equal(client.answers()[0]?.status, statuses.noLedger)
  bench.pass(0.2 * 24 * 3600 * 1000)
  t.equal((await bench.bookie.collect(metadata([2n]))).forgottenTombstones, 1)
  t.equal(late(), statuses.ok)
  t.equal(bench.bookie.stats().ledgers, 2)
})
