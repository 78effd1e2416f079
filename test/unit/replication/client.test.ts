// The ledger client's writing and recovering, on honest bookies in memory, over connections that
// deliver in pieces.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { parseHoles } from '../../../src/replication/core/holes.ts'
import { bench, code, contents, numbered, pseudoRandom, until } from '../../support/ledger-bench.ts'
import { settle } from '../../support/manual-time.ts'

t.test('append, close and read, on one to five bookies', async (t) => {
  for (const bookies of [2, 3, 5]) {
    const { client, ledgers, cluster } = await bench(t, { bookies })
    const writer = await client.create()
    const ids = await Promise.all(
      Array.from({ length: 700 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))),
    )
    t.same(ids, [...ids.keys()], 'acknowledged with dense ids')
    t.equal(await writer.close(), 699)
    t.equal(await writer.ended, undefined)
    const metadata = ledgers.metadata(writer.ledgerId)
    t.match(metadata, { state: 'closed', lastEntryId: 699, ackQuorumSize: 2 })
    t.equal(metadata.ensembleSize, Math.min(3, bookies))
    t.equal(
      metadata.lengthBytes,
      ids.reduce((sum, id) => sum + `entry ${id}`.length, 0),
    )
    t.equal(metadata.customMetadata.has('quire.missing'), false, 'every member has everything')
    const reader = await client.recover(writer.ledgerId)
    t.same(await contents(reader), numbered(700))
    t.same(await contents(reader, { from: 650, to: 5_000 }), numbered(50, 650))
    const holders = cluster.bookies.filter(({ ledgers: held }) => held.has(writer.ledgerId))
    for (const bookie of holders) t.equal(bookie.entriesOf(writer.ledgerId).length, 700)
    t.equal(await code(writer.append(Buffer.from('late'))), 'QUIRE_LEDGER_CLOSED')
  }
})

t.test('striped: each entry on its write set only', async (t) => {
  const { client, cluster, ledgers } = await bench(t, { bookies: 5 })
  const writer = await client.create({ ensembleSize: 5, writeQuorumSize: 3, ackQuorumSize: 2 })
  await Promise.all(Array.from({ length: 50 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))))
  await writer.close()
  const { ensemble } = ledgers.metadata(writer.ledgerId).fragments[0] ?? { ensemble: [] }
  for (const [index, id] of ensemble.entries()) {
    const held = cluster.bookies.find((bookie) => bookie.id === id)?.entriesOf(writer.ledgerId)
    const expected = [...Array(50).keys()].filter((e) => (((index - e) % 5) + 5) % 5 < 3)
    t.same(held, expected)
  }
  t.same(await contents(await client.tail(writer.ledgerId)), numbered(50))
})

t.test('the buffer of an append is the caller’s again at once', async (t) => {
  const { client, cluster, registration, ledgers } = await bench(t, { bookies: 4 })
  const writer = await client.create()
  const { ensemble } = ledgers.metadata(writer.ledgerId).fragments[0] ?? { ensemble: [] }
  const victim = cluster.bookies.findIndex(({ id }) => id === ensemble[1])
  const others = cluster.bookies.filter((_, index) => index !== victim)
  for (const other of others)
    other.interfere = ({ operation }) => (operation === 'add' ? 'hold' : 'serve')
  cluster.bookie(victim).interfere = ({ operation }) => (operation === 'add' ? 'hang' : 'serve')
  const buffer = Buffer.alloc(100_000)
  const appends = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => {
    buffer.fill(letter)
    return writer.append(buffer)
  })
  buffer.fill('!')
  await until(() => others.some((other) => other.heldCount === 6))
  // The victim is replaced: the new member gets the same bytes.
  cluster.stop(victim)
  await until(() => others.every((other) => other.heldCount === 6))
  for (const other of others) {
    other.interfere = () => 'serve'
    other.release()
  }
  t.same(await Promise.all(appends), [0, 1, 2, 3, 4, 5])
  for (const other of others) {
    for (const [entryId, letter] of ['a', 'b', 'c', 'd', 'e', 'f'].entries()) {
      t.equal(other.payload(writer.ledgerId, entryId), letter.repeat(100_000))
    }
  }
  t.equal(ledgers.metadata(writer.ledgerId).fragments.length, 1, 'nothing was confirmed before')
  await registration.unregister('none')
  await writer.close()
})

t.test('memory for frames is used again, and only when everyone has let go of it', async (t) => {
  const { client } = await bench(t, { options: { lacDelayMs: 0 } })
  const writer = await client.create()
  const payload = (i: number): Buffer => Buffer.alloc(40_000, `${i % 10}`)
  for (let round = 0; round < 30; round++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => writer.append(payload(round * 20 + i))))
  }
  const held = 'heldBytes' in writer ? Number(writer.heldBytes) : Number.NaN
  t.ok(held < 8_000_000, `24 MB went through ${held} bytes`)
  await writer.close()
  const reader = await client.recover(writer.ledgerId)
  let next = 0
  for await (const entry of reader.read()) {
    if (!entry.payload.equals(payload(entry.entryId))) t.fail(`entry ${entry.entryId} differs`)
    next++
  }
  t.equal(next, 600)
})

t.test('recovery ends a living writer, and its ledger', async (t) => {
  const { client, another, ledgers } = await bench(t)
  const writer = await client.create()
  await Promise.all(Array.from({ length: 100 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))))
  const reader = await another().recover(writer.ledgerId)
  t.equal(reader.closed, true)
  t.same(await contents(reader), numbered(100))
  t.equal(await code(writer.append(Buffer.from('too late'))), 'QUIRE_OUTCOME_UNKNOWN')
  t.match(await writer.ended, { code: 'QUIRE_LEDGER_FENCED' })
  t.equal(await code(writer.append(Buffer.from('nothing sent'))), 'QUIRE_LEDGER_FENCED')
  t.equal(await code(writer.ready()), 'QUIRE_LEDGER_FENCED')
  t.equal(await code(writer.close()), 'QUIRE_LEDGER_FENCED')
  const { lastEntryId, lengthBytes } = ledgers.metadata(writer.ledgerId)
  t.same({ lastEntryId, lengthBytes }, { lastEntryId: 99, lengthBytes: 790 })
  await another().recover(writer.ledgerId)
  t.equal(ledgers.metadata(writer.ledgerId).lengthBytes, 790, 'recovering again changes nothing')
})

t.test(
  'recovery with one of three bookies gone, and of ledgers that hold nothing new',
  async (t) => {
    const { client, another, cluster, ledgers } = await bench(t)
    const empty = await client.create()
    const full = await client.create()
    await Promise.all(Array.from({ length: 70 }, (_, i) => full.append(Buffer.from(`entry ${i}`))))
    cluster.stop(1)
    t.equal((await another().recover(empty.ledgerId)).lastAddConfirmed, -1)
    t.same(await contents(await another().recover(full.ledgerId)), numbered(70))
    const holes = parseHoles(ledgers.metadata(full.ledgerId).customMetadata.get('quire.missing'))
    for (const hole of holes) t.match(hole, { bookieId: 'bookie-1', to: 69 })
    cluster.stop(2)
    const third = await client.tail(full.ledgerId)
    t.equal(third.lastAddConfirmed, 69)
    const alone = another()
    const again = ledgers.metadata(full.ledgerId)
    ledgers.change(full.ledgerId, () => ({
      ...again,
      state: 'open',
      lastEntryId: -1,
      lengthBytes: 0,
    }))
    t.equal(await code(alone.recover(full.ledgerId)), 'QUIRE_RECOVERY_FAILED', 'one is not enough')
    t.equal(ledgers.metadata(full.ledgerId).state, 'in-recovery')
    cluster.start(2)
    t.equal((await another().recover(full.ledgerId)).lastAddConfirmed, 69, 'and it goes on')
  },
)

t.test(
  'without a spare a failed member is left behind, and the hole is recorded at once',
  async (t) => {
    const { client, cluster, ledgers, registration, time } = await bench(t)
    const writer = await client.create()
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))),
    )
    t.equal(writer.degraded, false)
    await settle()
    cluster.stop(2)
    const more = Array.from({ length: 10 }, (_, i) => writer.append(Buffer.from(`entry ${10 + i}`)))
    await Promise.all(more)
    t.equal(writer.degraded, true)
    await until(() => ledgers.metadata(writer.ledgerId).customMetadata.has('quire.missing'))
    const missing = (): unknown =>
      parseHoles(ledgers.metadata(writer.ledgerId).customMetadata.get('quire.missing'))
    t.same(missing(), [{ bookieId: 'bookie-2', from: 10, to: undefined }])
    const tail = await client.tail(writer.ledgerId)
    t.same(await contents(tail, { from: 5 }), numbered(tail.lastAddConfirmed - 4, 5))

    // Another bookie comes up: it takes the place, and the hole has an end.
    const port = cluster.add()
    await registration.register({ bookieId: `bookie-${port}`, host: 'memory', port })
    await until(() => ledgers.metadata(writer.ledgerId).fragments.length === 2)
    await until(() => !writer.degraded)
    await writer.append(Buffer.from('entry 20'))
    t.match(ledgers.metadata(writer.ledgerId).fragments[1], { firstEntryId: 20 })
    t.equal(await writer.close(), 20)
    t.same(missing(), [{ bookieId: 'bookie-2', from: 10, to: 19 }])
    t.same(cluster.bookie(3).entriesOf(writer.ledgerId), [20])
    t.same(await contents(await client.recover(writer.ledgerId)), numbered(21))
    await time.advance(1)
  },
)

t.test('a replacement that could not be reached a moment ago is one more failure', async (t) => {
  const { client, cluster, ledgers, registration } = await bench(t)
  const writer = await client.create()
  const other = await client.create()
  const port = cluster.add()
  cluster.stop(port)
  const absent = `bookie-${port}`
  await registration.register({ bookieId: absent, host: 'memory', port })
  ledgers.change(other.ledgerId, (metadata) => ({
    ...metadata,
    fragments: [{ firstEntryId: 0, ensemble: ['bookie-0', 'bookie-1', absent] }],
  }))
  await client.tail(other.ledgerId)
  for (const each of cluster.bookies) {
    each.interfere = ({ operation }) => (operation === 'add' ? 'hold' : 'serve')
  }
  cluster.bookie(2).interfere = () => 'hang'
  const appends = Array.from({ length: 5 }, (_, i) => writer.append(Buffer.from(`entry ${i}`)))
  await until(() => cluster.bookie(1).heldCount === 5)
  cluster.stop(2)
  const ensemble = (): string[] => [
    ...(ledgers.metadata(writer.ledgerId).fragments[0]?.ensemble ?? []),
  ]
  await until(() => ensemble().includes(absent))
  await until(() => writer.degraded)
  for (const each of cluster.bookies) each.release()
  t.same(await Promise.all(appends), [0, 1, 2, 3, 4])
})

t.test(
  'a silent bookie is replaced after its time, and what it still says is ignored',
  async (t) => {
    const { client, cluster, ledgers, time } = await bench(t, { bookies: 4 })
    const writer = await client.create()
    const { ensemble } = ledgers.metadata(writer.ledgerId).fragments[0] ?? { ensemble: [] }
    const slow = cluster.bookies.find(({ id }) => id === ensemble[0])
    if (slow === undefined) throw new Error('no such bookie')
    slow.interfere = ({ operation }) => (operation === 'add' ? 'hold' : 'serve')
    const first = Array.from({ length: 20 }, (_, i) => writer.append(Buffer.from(`entry ${i}`)))
    t.equal((await Promise.all(first)).length, 20, 'two of three are enough')
    await time.advance(4_000)
    t.equal(ledgers.metadata(writer.ledgerId).fragments.length, 1)
    await time.advance(2_000)
    await until(() => ledgers.metadata(writer.ledgerId).fragments.length === 2)
    slow.release((held) => held.reverse())
    await Promise.all(
      Array.from({ length: 5 }, (_, i) => writer.append(Buffer.from(`entry ${20 + i}`))),
    )
    t.equal(await writer.close(), 24)
    const { fragments, customMetadata } = ledgers.metadata(writer.ledgerId)
    t.equal(fragments[1]?.firstEntryId, 20)
    t.notOk(fragments[1]?.ensemble.includes(slow.id))
    const holes = parseHoles(customMetadata.get('quire.missing'))
    t.same(holes, [{ bookieId: slow.id, from: 0, to: 19 }], 'it may lack what it never confirmed')
    t.same(await contents(await client.recover(writer.ledgerId)), numbered(25))
  },
)

t.test('answers in any order are acknowledged in order', async (t) => {
  const { client, cluster } = await bench(t)
  const writer = await client.create()
  for (const bookie of cluster.bookies) bookie.interfere = () => 'hold'
  const order: number[] = []
  const appends = Array.from({ length: 64 }, async (_, i) => {
    order.push(await writer.append(Buffer.from(`entry ${i}`)))
  })
  await until(() => cluster.bookies.every(({ heldCount }) => heldCount === 64))
  const below = pseudoRandom(3)
  for (const bookie of cluster.bookies) {
    bookie.interfere = () => 'serve'
    bookie.release((held) => held.sort(() => below(3) - 1))
  }
  await Promise.all(appends)
  t.same(order, [...order.keys()])
  await writer.close()
})

t.test('a connection that ends in the middle of a batch', async (t) => {
  const { client, another, cluster, ledgers } = await bench(t, { bookies: 5 })
  const writer = await client.create()
  const { ensemble } = ledgers.metadata(writer.ledgerId).fragments[0] ?? { ensemble: [] }
  const victim = cluster.bookies.findIndex(({ id }) => id === ensemble[1])
  cluster.bookie(victim).interfere = ({ entryId }) => {
    if (entryId === 30) cluster.disconnect(victim)
    return 'serve'
  }
  const ids = await Promise.all(
    Array.from({ length: 60 }, (_, i) => writer.append(Buffer.from(`entry ${i}`))),
  )
  t.same(ids, [...ids.keys()])
  await until(() => ledgers.metadata(writer.ledgerId).fragments.at(-1)?.ensemble !== ensemble)
  t.same(await contents(await another().recover(writer.ledgerId)), numbered(60))
})

t.test(
  'too few bookies: the writer ends, what was sent is unknown, the end is recorded',
  async (t) => {
    const { client, another, cluster, ledgers } = await bench(t)
    const writer = await client.create()
    await writer.append(Buffer.from('entry 0'))
    await settle()
    for (const bookie of cluster.bookies) bookie.interfere = () => 'hang'
    const append = code(writer.append(Buffer.from('entry 1')))
    await settle()
    for (const index of [0, 1]) cluster.stop(index)
    t.equal(await append, 'QUIRE_OUTCOME_UNKNOWN')
    t.match(await writer.ended, { code: 'QUIRE_NOT_ENOUGH_BOOKIES' })
    t.equal(await code(writer.append(Buffer.from('x'))), 'QUIRE_NOT_ENOUGH_BOOKIES')
    await until(() => ledgers.metadata(writer.ledgerId).state === 'closed')
    t.equal(ledgers.metadata(writer.ledgerId).lastEntryId, 0)
    t.equal(await code(another().create({ ackQuorumSize: 3 })), 'no error')
  },
)

t.test('a close that cannot be recorded is the end of the writer all the same', async (t) => {
  const { client, ledgers } = await bench(t)
  const writer = await client.create()
  await writer.append(Buffer.from('entry 0'))
  ledgers.beforeWrite = () => {
    throw new QuireError('QUIRE_BAD_METADATA', 'refused')
  }
  t.equal(await code(writer.close()), 'QUIRE_BAD_METADATA')
  t.match(await writer.ended, { code: 'QUIRE_METADATA_UNAVAILABLE' })
  ledgers.beforeWrite = () => undefined
  t.same(await contents(await client.recover(writer.ledgerId)), numbered(1))
})

t.test('creation asks for what lives, and never for fewer copies than two by itself', async (t) => {
  const { client, another, ledgers, registration } = await bench(t, { bookies: 2 })
  const two = await client.create()
  const { creatorToken, ...sizes } = ledgers.metadata(two.ledgerId)
  t.equal(creatorToken, 0n, 'the manager of ledgers draws it')
  const { ensembleSize, writeQuorumSize, ackQuorumSize } = sizes
  t.same([ensembleSize, writeQuorumSize, ackQuorumSize], [2, 2, 2])
  await registration.unregister('bookie-0')
  await settle()
  t.equal(await code(client.create()), 'QUIRE_NOT_ENOUGH_BOOKIES')
  const one = await client.create({ ensembleSize: 1 })
  await one.append(Buffer.from('entry 0'))
  t.equal(await one.close(), 0, 'one copy when one is asked for')
  const known = { count: 2 }
  const single = another({}, { knownBookies: async () => known.count })
  t.equal(await code(single.create()), 'QUIRE_NOT_ENOUGH_BOOKIES', 'the other is dead, not absent')
  known.count = 1
  t.equal(ledgers.metadata((await single.create()).ledgerId).ackQuorumSize, 1)
  known.count = 2
  t.equal(await code(single.create()), 'QUIRE_NOT_ENOUGH_BOOKIES', 'decided each time')
  t.equal(await code(client.create({ ensembleSize: 2, ackQuorumSize: 3 })), 'QUIRE_BAD_OPTION')
})

t.test('back-pressure: beyond the budget nothing is sent', async (t) => {
  const { client, cluster } = await bench(t, {
    options: { pendingEntriesMax: 8, pendingBytesMax: 1_000, entryBytesMax: 2_000 },
  })
  const writer = await client.create()
  t.equal(await code(writer.append(Buffer.alloc(2_001))), 'QUIRE_ENTRY_TOO_LARGE')
  for (const bookie of cluster.bookies) bookie.interfere = () => 'hold'
  const few = Array.from({ length: 8 }, (_, i) => writer.append(Buffer.from(`entry ${i}`)))
  t.equal(await code(writer.append(Buffer.from('entry 8'))), 'QUIRE_BACKPRESSURE')
  let ready = false
  const waiting = writer.ready().then(() => (ready = true))
  await until(() => cluster.bookies.every(({ heldCount }) => heldCount === 8))
  t.equal(ready, false)
  for (const bookie of cluster.bookies) bookie.release()
  await waiting
  t.same(await Promise.all(few), [0, 1, 2, 3, 4, 5, 6, 7])
  const large = writer.append(Buffer.alloc(1_000))
  t.equal(await code(writer.append(Buffer.alloc(200))), 'QUIRE_BACKPRESSURE', 'bytes count too')
  t.equal(writer.pendingBytes, 1_000)
  const abort = new AbortController()
  await until(() => cluster.bookies.every(({ heldCount }) => heldCount === 1))
  for (const bookie of cluster.bookies) {
    bookie.interfere = () => 'serve'
    bookie.release()
  }
  t.equal(await large, 8)
  abort.abort()
  t.equal(await code(client.create({ signal: abort.signal })), 'QUIRE_ABORTED')
  t.equal(await writer.close(), 8)
})
