// Reading and following ledgers, deletion, and metadata that answers badly, on honest bookies in
// memory.
import t from 'tap'
import type { LedgerClient, LedgerWriter } from '../../../src/replication/api.ts'
import { statuses } from '../../../src/wire/bookie-messages.ts'
import { bench, code, contents, numbered, until } from '../../support/ledger-bench.ts'
import { settle } from '../../support/manual-time.ts'

async function filled(client: LedgerClient, count: number): Promise<LedgerWriter> {
  const writer = await client.create()
  await Promise.all(
    Array.from({ length: count }, (_, i) => writer.append(Buffer.from(`entry ${i}`))),
  )
  return writer
}

t.test('a replica that fails, lies or is slow is passed over', async (t) => {
  const { client, cluster, time } = await bench(t)
  const writer = await filled(client, 20)
  await writer.close()
  const reader = await client.tail(writer.ledgerId)
  const [first, second] = cluster.bookies
  if (!first || !second) throw new Error('three bookies')

  first.interfere = () => statuses.io
  t.same(await contents(reader), numbered(20), 'an error')
  first.interfere = () => 'serve'
  const stored = first.ledgers.get(writer.ledgerId)?.entries ?? new Map<number, Buffer>()
  for (const [entryId, entry] of stored) {
    entry[entry.length - 1] = (entry.at(-1) ?? 0) ^ 1
    if (entryId === 5) stored.set(entryId, stored.get(4) ?? entry)
  }
  t.same(await contents(reader), numbered(20), 'other bytes, and another entry')
  cluster.stop(0)
  t.same(await contents(reader), numbered(20), 'gone')
  second.interfere = () => 'hang'
  cluster.start(0)
  const reading = contents(reader)
  await settle()
  await time.advance(6_000)
  t.same(await reading, numbered(20), 'one that hangs')
})

t.test('speculation: a second replica is asked before the first has failed', async (t) => {
  const { client, cluster, time } = await bench(t)
  const writer = await filled(client, 20)
  await writer.close()
  const reader = await client.tail(writer.ledgerId)
  let hung = 0
  for (const bookie of cluster.bookies) {
    bookie.interfere = ({ operation }) => (operation === 'read' && hung++ < 20 ? 'hang' : 'serve')
  }
  const reading = contents(reader)
  await settle()
  await time.advance(1_500)
  t.same(await reading, numbered(20), 'in less than the time of a request')
})

t.test('a bookie that says nothing any more is asked over a new connection', async (t) => {
  const { client, cluster, time } = await bench(t)
  const writer = await client.create({ ensembleSize: 1 })
  await writer.append(Buffer.from('entry 0'))
  await writer.close()
  const reader = await client.tail(writer.ledgerId)
  t.same(await contents(reader), numbered(1))
  for (const bookie of cluster.bookies) bookie.interfere = () => 'hang'
  const failing = code(contents(reader))
  await time.advance(6_000)
  t.equal(await failing, 'QUIRE_ENTRY_UNREADABLE')
  for (const bookie of cluster.bookies) bookie.interfere = () => 'serve'
  const { connects } = cluster
  t.same(await contents(reader), numbered(1))
  t.equal(cluster.connects, connects + 1)
})

t.test('what cannot be read says why, and silence is never absence', async (t) => {
  const { client, cluster, ledgers } = await bench(t)
  const writer = await filled(client, 3)
  await writer.close()
  const reader = await client.tail(writer.ledgerId)
  for (const { ledgers: held } of cluster.bookies) held.get(writer.ledgerId)?.entries.delete(1)
  t.equal(await code(contents(reader)), 'QUIRE_ENTRY_MISSING', 'all replicas say so')
  cluster.stop(1)
  t.equal(await code(contents(reader)), 'QUIRE_ENTRY_UNREADABLE', 'one of them says nothing')
  t.same(await contents(reader, { from: 2 }), numbered(1, 2))
  cluster.start(1)
  for (const { ledgers: held } of cluster.bookies)
    held.get(writer.ledgerId)?.entries.get(2)?.fill(7, 32)
  t.equal(await code(contents(reader, { from: 2 })), 'QUIRE_DIGEST_MISMATCH')
  await ledgers.delete(writer.ledgerId)
  t.equal(await code(contents(reader)), 'QUIRE_LEDGER_MISSING')
})

t.test('fragments that were repaired meanwhile are read where they are now', async (t) => {
  const { client, cluster, ledgers, registration } = await bench(t)
  const writer = await filled(client, 20)
  await writer.close()
  const reader = await client.tail(writer.ledgerId)
  const old = cluster.bookie(0).ledgers.get(writer.ledgerId)
  for (let i = 0; i < 3; i++) {
    const port = cluster.add()
    await registration.register({ bookieId: `bookie-${port}`, host: 'memory', port })
    if (old) cluster.bookie(port).ledgers.set(writer.ledgerId, old)
    cluster.stop(i)
  }
  ledgers.change(writer.ledgerId, (metadata) => ({
    ...metadata,
    fragments: [{ firstEntryId: 0, ensemble: ['bookie-3', 'bookie-4', 'bookie-5'] }],
  }))
  t.same(await contents(reader), numbered(20))
})

t.test('following a writer, up to its last entry, without fencing it', async (t) => {
  const { client, another, cluster, ledgers, time } = await bench(t)
  const writer = await client.create()
  const reader = await another().tail(writer.ledgerId)
  t.equal(reader.lastAddConfirmed, -1)
  const first = reader.waitForConfirmed(-1, { timeoutMs: 20_000 })
  await settle()
  await Promise.all(Array.from({ length: 10 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))))
  // No entry follows the last one: it is told of when the writer is quiet.
  await time.advance(200)
  await first
  t.equal(await reader.waitForConfirmed(8, { timeoutMs: 20_000 }), 9)
  t.same(await contents(reader), numbered(10))
  for (const { seen } of cluster.bookies) {
    t.equal(seen.filter(({ operation }) => operation === 'writeLac').length, 1, 'once')
    t.notOk(seen.some(({ operation }) => operation === 'fence'))
  }
  const nothing = reader.waitForConfirmed(9, { timeoutMs: 1_000 })
  await time.advance(1_500)
  t.equal(await nothing, 9, 'its time is over')
  t.same((await another().tail(writer.ledgerId)).lastAddConfirmed, 9)

  const abort = new AbortController()
  const aborted = code(reader.waitForConfirmed(9, { timeoutMs: 60_000, signal: abort.signal }))
  await settle()
  abort.abort()
  t.equal(await aborted, 'QUIRE_ABORTED')

  // The end comes by the metadata, although no bookie answers any more.
  const end = reader.waitForConfirmed(9, { timeoutMs: 60_000 })
  await settle()
  for (const index of [0, 1, 2]) cluster.stop(index)
  ledgers.change(writer.ledgerId, (metadata) => ({
    ...metadata,
    state: 'closed',
    lastEntryId: 9,
    lengthBytes: 70,
  }))
  t.equal(await end, 9)
  t.equal(reader.closed, true)
  await reader[Symbol.asyncDispose]()
  t.equal(await code(contents(reader)), 'QUIRE_CLOSED')
})

t.test('waiting again and again lays one watch', async (t) => {
  const { client, another, ledgers } = await bench(t)
  const writer = await client.create()
  const reader = await another().tail(writer.ledgerId)
  const { reads } = ledgers
  for (let entryId = 0; entryId < 20; entryId++) {
    const waiting = reader.waitForConfirmed(entryId - 2, { timeoutMs: 1000 })
    await writer.append(Buffer.from(`entry ${entryId}`))
    await waiting
  }
  t.equal(ledgers.watchCount(writer.ledgerId), 1)
  t.equal(ledgers.reads - reads, 1, 'and reads the metadata once')
  await ledgers.delete(writer.ledgerId)
  const gone = reader.waitForConfirmed(100, { timeoutMs: 1000 })
  t.equal(await code(gone), 'QUIRE_LEDGER_MISSING')
  const again = reader.waitForConfirmed(100, { timeoutMs: 1000 })
  t.equal(await code(again), 'QUIRE_LEDGER_MISSING')
})

t.test('a reader follows its ledger onto other bookies', async (t) => {
  const { client, another, cluster, ledgers, time } = await bench(t, { bookies: 4 })
  const writer = await filled(client, 5)
  const reader = await another().tail(writer.ledgerId)
  const { ensemble = [] } = ledgers.metadata(writer.ledgerId).fragments[0] ?? {}
  const waiting = reader.waitForConfirmed(5, { timeoutMs: 30_000 })
  await settle()
  cluster.stop(cluster.bookies.findIndex(({ id }) => id === ensemble[0]))
  for (let i = 5; i < 10; i++) await writer.append(Buffer.from(`entry ${i}`))
  await time.advance(500)
  t.ok((await waiting) > 5)
  await time.advance(500)
  await reader.waitForConfirmed(8, { timeoutMs: 30_000 })
  t.same(await contents(reader), numbered(10))
})

t.test('deletion ends the writer first', async (t) => {
  const { client, another } = await bench(t)
  const writer = await filled(client, 5)
  t.equal(await client.exists(writer.ledgerId), true)
  await another().delete(writer.ledgerId)
  t.equal(await client.exists(writer.ledgerId), false)
  t.equal(await code(writer.append(Buffer.from('into the void'))), 'QUIRE_OUTCOME_UNKNOWN')
  await another().delete(writer.ledgerId)
  t.equal(await code(client.tail(writer.ledgerId)), 'QUIRE_LEDGER_MISSING')
  const other = await client.create()
  const ids: bigint[] = []
  for await (const id of client.list()) ids.push(id)
  t.same(ids, [other.ledgerId])
})

t.test('a ledger with a password, and every digest', async (t) => {
  const { client, another } = await bench(t)
  for (const digest of ['crc32', 'crc32c', 'mac', 'dummy'] as const) {
    const password = Buffer.from('open sesame')
    const writer = await client.create({ digest, password })
    await Promise.all(Array.from({ length: 5 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))))
    t.equal(await code(another().recover(writer.ledgerId)), 'QUIRE_LEDGER_UNAUTHORIZED')
    t.same(await contents(await another().recover(writer.ledgerId, { password })), numbered(5))
  }
})

t.test('lost replies of the metadata change nothing, conflicts are read again', async (t) => {
  const { client, another, cluster, ledgers, time } = await bench(t, { bookies: 5 })
  const writer = await filled(client, 5)
  const { ensemble = [] } = ledgers.metadata(writer.ledgerId).fragments[0] ?? {}
  ledgers.loseReplies = 1
  cluster.stop(cluster.bookies.findIndex(({ id }) => id === ensemble[0]))
  const append = writer.append(Buffer.from('entry 5'))
  await settle()
  await time.advance(1_000)
  t.equal(await append, 5)
  t.equal(ledgers.metadata(writer.ledgerId).fragments.length, 2, 'one change, not two')

  // Somebody repairs the first fragment at the same time: the change is evaluated anew.
  const [, second = { firstEntryId: -1, ensemble: [] }] = ledgers.metadata(
    writer.ledgerId,
  ).fragments
  let repaired = false
  ledgers.beforeWrite = (ledgerId) => {
    if (repaired) return
    repaired = true
    ledgers.change(ledgerId, (metadata) => ({
      ...metadata,
      fragments: [{ firstEntryId: 0, ensemble: ['x', 'y', 'z'] }, second],
    }))
  }
  cluster.stop(cluster.bookies.findIndex(({ id }) => id === second.ensemble[1]))
  t.equal(await writer.append(Buffer.from('entry 6')), 6)
  t.same(ledgers.metadata(writer.ledgerId).fragments[0]?.ensemble, ['x', 'y', 'z'])
  t.equal(ledgers.metadata(writer.ledgerId).fragments.length, 3)

  ledgers.loseReplies = 1
  const closing = writer.close()
  await settle()
  await time.advance(2_000)
  t.equal(await closing, 6)

  const fenced = await filled(another(), 3)
  ledgers.loseReplies = 2
  const recovering = client.recover(fenced.ledgerId)
  await settle()
  await time.advance(2_000)
  await time.advance(2_000)
  t.same(await contents(await recovering), numbered(3))
})

t.test(
  'no acknowledgement while a change is in doubt, and none at all behind its time',
  async (t) => {
    const { client, cluster, ledgers, time } = await bench(t, { bookies: 4 })
    const writer = await filled(client, 5)
    const { ensemble = [] } = ledgers.metadata(writer.ledgerId).fragments[0] ?? {}
    await settle()
    ledgers.unreachable = Number.POSITIVE_INFINITY
    cluster.stop(cluster.bookies.findIndex(({ id }) => id === ensemble[2]))
    const first = writer.append(Buffer.from('sent to all three'))
    const outcome = code(first)
    await until(
      () => cluster.bookies.filter((b) => b.entriesOf(writer.ledgerId).includes(5)).length > 1,
    )
    let acknowledged = 0
    void writer.append(Buffer.from('later')).then(
      () => acknowledged++,
      () => undefined,
    )
    await time.advance(10_000)
    t.equal(acknowledged, 0)
    await time.advance(30_000)
    t.match(await outcome, /^(no error|QUIRE_OUTCOME_UNKNOWN)$/, 'the first may have been in time')
    t.match(await writer.ended, { code: /QUIRE_TIMEOUT|QUIRE_METADATA_UNAVAILABLE/ })
    t.equal(acknowledged, 0)
  },
)
