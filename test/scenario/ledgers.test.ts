// Ledgers on real bookies over TCP: what was acknowledged is read back, byte for byte, whoever
// fences, leaves or comes back.
import t, { type Test } from 'tap'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  connect,
  QuireError,
  type Client,
  type CreateLedgerOptions,
  type LedgerReader,
  type LedgerWriter,
} from '../../src/index.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import { recorded, silent, startNodes, unheard, type Nodes } from '../support/nodes.ts'

const heard = unheard()

const entryBytesMax = 1 << 20
/** Bytes that look alike nowhere. */
const noise = Buffer.alloc(entryBytesMax + 65_536)
for (let at = 0, word = 1; at < noise.length; at += 4) {
  word = (Math.imul(word, 1_664_525) + 1_013_904_223) >>> 0
  noise.writeUInt32LE(word, at)
}

/** Mostly small, some empty, some large, the largest that may be. */
function sizeOf(entryId: number): number {
  if (entryId % 1000 === 999) return entryBytesMax
  if (entryId % 101 === 100) return 65_536 + (entryId % 7)
  return entryId % 17 === 0 ? 0 : (entryId * 131) % 1500
}

const payloadOf = (entryId: number, size: number = sizeOf(entryId)): Buffer => {
  const at = (entryId * 7919) % 65_536
  return noise.subarray(at, at + size)
}

const small = (entryId: number): number => 1 + (entryId % 200)

interface Appended {
  /** The highest entry id that was told to be durable. */
  acked: number
  error: unknown
}

/**
 * Appends [from, to), or until it is enough, as much at a time as the writer takes, from one buffer
 * that is overwritten at once. Ends at the first failure.
 */
async function appendAll(
  writer: LedgerWriter,
  range: { from: number; to: number; inFlight?: number; enough?: { yes: boolean } },
  size: (entryId: number) => number = sizeOf,
): Promise<Appended> {
  const outcome: Appended = { acked: range.from - 1, error: undefined }
  const scratch = Buffer.alloc(entryBytesMax)
  let last: Promise<unknown> = Promise.resolve()
  for (let entryId = range.from; entryId < range.to; entryId++) {
    const payload = payloadOf(entryId, size(entryId))
    payload.copy(scratch)
    try {
      await writer.ready()
    } catch (error) {
      outcome.error ??= error
    }
    const atMost = range.inFlight ?? Number.POSITIVE_INFINITY
    while (entryId - writer.lastAddConfirmed > atMost && outcome.error === undefined) {
      await nextTurn()
    }
    if (outcome.error !== undefined || range.enough?.yes === true) break
    last = writer.append(scratch.subarray(0, payload.length)).then(
      (id) => {
        if (id !== entryId) throw new Error(`entry ${entryId} was told as ${id}`)
        outcome.acked = Math.max(outcome.acked, id)
        return id
      },
      (error: unknown) => {
        outcome.error ??= error
        return undefined
      },
    )
    scratch.fill(0xee, 0, payload.length)
  }
  await last
  return outcome
}

/** Until the writer has confirmed so much; fails if it ends before. */
async function reached(writer: LedgerWriter, entryId: number): Promise<void> {
  const state = { ended: false }
  void writer.ended.then(() => (state.ended = true))
  while (writer.lastAddConfirmed < entryId) {
    if (state.ended) throw new Error(`the writer ended before entry ${entryId}`)
    await nextTurn()
  }
}

/** Reads [from, to] and says the first thing that is wrong; '' when nothing is. */
async function check(
  reader: LedgerReader,
  range: { from: number; to: number },
  size: (entryId: number) => number = sizeOf,
): Promise<string> {
  let expected = range.from
  let length = -1
  for await (const { entryId, payload, lengthBytes } of reader.read(range)) {
    if (entryId !== expected) return `entry ${entryId} came where ${expected} was due`
    const wanted = payloadOf(entryId, size(entryId))
    if (!payload.equals(wanted)) return `entry ${entryId} differs`
    if (length >= 0 && lengthBytes !== length + wanted.length) {
      return `entry ${entryId} says a length of ${lengthBytes} after ${length}`
    }
    length = lengthBytes
    expected += 1
  }
  return expected === range.to + 1 ? '' : `the reading ended before entry ${expected}`
}

/** Reads beside the writer until entry `to`. */
async function follow(reader: LedgerReader, to: number): Promise<string> {
  let next = 0
  while (next <= to) {
    const upTo = await reader.waitForConfirmed(next - 1, { timeoutMs: 20_000 })
    if (upTo < next) return `nothing is confirmed behind ${next - 1}`
    const wrong = await check(reader, { from: next, to: Math.min(to, upTo) })
    if (wrong !== '') return wrong
    next = upTo + 1
  }
  return ''
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'none'
  } catch (error) {
    return QuireError.is(error) ? error.code : String(error)
  }
}

async function all<T>(found: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of found) list.push(one)
  return list
}

const text = (words: string): Buffer => Buffer.from(words)
const holesOf = (metadata: LedgerMetadata): string =>
  Buffer.from(metadata.customMetadata.get('quire.missing') ?? []).toString()

const shapes: Record<number, [number, number, number][]> = {
  1: [[1, 1, 1]],
  2: [
    [2, 2, 2],
    [2, 1, 1],
  ],
  3: [
    [3, 3, 2],
    [3, 2, 2],
    [1, 1, 1],
  ],
  5: [
    [5, 3, 2],
    [5, 5, 3],
    [4, 3, 3],
  ],
}
const digests = ['crc32', 'crc32c', 'mac', 'dummy'] as const

/** Writes, is read beside, is refused to strangers, and read again when closed. */
async function life(t: Test, client: Client, options: CreateLedgerOptions): Promise<void> {
  const count = 1_100
  const other = text('another')
  const open = options.password === undefined ? {} : { password: options.password }
  const writer = await client.ledgers.create(options)
  const { ledgerId } = writer
  await using beside = await client.ledgers.tail(ledgerId, open)
  t.equal(beside.closed, false)
  const [appended, followed] = await Promise.all([
    appendAll(writer, { from: 0, to: count }),
    follow(beside, count - 1),
  ])
  t.same(appended, { acked: count - 1, error: undefined })
  t.equal(followed, '', 'read beside the writer')
  for (const way of ['tail', 'recover'] as const) {
    const code = await codeOf(client.ledgers[way](ledgerId, { password: other }))
    t.equal(code, 'QUIRE_LEDGER_UNAUTHORIZED', `${way} with another password`)
  }
  t.equal(await writer.close(), count - 1)
  t.equal(await writer.ended, undefined)
  t.equal(await codeOf(writer.append(text('late'))), 'QUIRE_LEDGER_CLOSED')
  await using closed = await client.ledgers.recover(ledgerId, open)
  t.equal(closed.closed, true)
  t.equal(closed.lastAddConfirmed, count - 1)
  t.equal(await check(closed, { from: 0, to: count - 1 }), '', 'read when closed')
  t.equal(await check(closed, { from: 990, to: 1005 }), '', 'a part')
  t.same(closed.customMetadata, options.customMetadata)
  await client.ledgers.delete(ledgerId)
}

for (const [bookies, sizes] of Object.entries(shapes)) {
  t.test(`ledgers of every digest on ${bookies} bookies`, async (t) => {
    const cluster = await startNodes(t, Number(bookies))
    await using client = await connect(cluster.uri, { logger: silent })
    const rounds = Math.max(sizes.length, bookies === '3' ? digests.length : 0)
    for (let round = 0; round < rounds; round++) {
      const [ensembleSize, writeQuorumSize, ackQuorumSize] = sizes[round % sizes.length] ?? []
      const digest = digests[(round + Number(bookies)) % digests.length] ?? 'mac'
      await life(t, client, {
        ensembleSize: ensembleSize ?? 1,
        writeQuorumSize: writeQuorumSize ?? 1,
        ackQuorumSize: ackQuorumSize ?? 1,
        digest,
        password: text(`secret of ${round}`),
        customMetadata: new Map([['round', text(String(round))]]),
      })
    }
    if (bookies === '1') {
      const writer = await client.ledgers.create()
      const { ensembleSize, writeQuorumSize, ackQuorumSize } = await recorded(
        cluster.uri,
        writer.ledgerId,
      )
      t.same([ensembleSize, writeQuorumSize, ackQuorumSize], [1, 1, 1], 'without a wish')
      await writer.close()
    }
  })
}

t.test('whoever recovers an abandoned ledger fences its writer', async (t) => {
  const cluster = await startNodes(t, 3)
  await using abandoned = await connect(cluster.uri, { logger: silent })
  await using other = await connect(cluster.uri, { logger: silent })
  for (let round = 0; round < 6; round++) {
    const writer = await abandoned.ledgers.create({ ensembleSize: 3, ackQuorumSize: 2 })
    const { ledgerId } = writer
    const appending = appendAll(writer, { from: 0, to: 100_000, inFlight: 200 }, small)
    await reached(writer, round * 300)
    await using reader = await other.ledgers.recover(ledgerId)
    const { acked, error } = await appending
    t.ok(QuireError.is(error))
    if (!QuireError.is(error)) return
    t.match(error.code, /^QUIRE_(OUTCOME_UNKNOWN|LEDGER_FENCED|LEDGER_CLOSED)$/)
    t.match(await codeOf(writer.append(text('more'))), /^QUIRE_LEDGER_(FENCED|CLOSED)$/)
    t.match(await writer.ended, { code: /^QUIRE_LEDGER_(FENCED|CLOSED)$/ })
    t.match(await codeOf(writer.close()), /^QUIRE_LEDGER_(FENCED|CLOSED)$/)
    const end = reader.lastAddConfirmed
    t.ok(end >= acked, `nothing of what was told is lost: ${acked} of ${end}`)
    t.equal(await check(reader, { from: 0, to: end }, small), '')
    await using again = await abandoned.ledgers.recover(ledgerId)
    t.equal(again.lastAddConfirmed, end, 'the end is final')
  }
})

t.test('a writer that was idle learns of the fence by its next append', async (t) => {
  const cluster = await startNodes(t, 3)
  await using abandoned = await connect(cluster.uri, { logger: silent })
  await using other = await connect(cluster.uri, { logger: silent })
  const writer = await abandoned.ledgers.create()
  await appendAll(writer, { from: 0, to: 10 }, small)
  await using reader = await other.ledgers.recover(writer.ledgerId)
  t.equal(reader.lastAddConfirmed, 9)
  t.equal(await codeOf(writer.append(text('late'))), 'QUIRE_OUTCOME_UNKNOWN')
  t.match(await writer.ended, { code: 'QUIRE_LEDGER_FENCED' })
  t.equal(await codeOf(writer.append(text('later'))), 'QUIRE_LEDGER_FENCED')
  await using whole = await other.ledgers.tail(writer.ledgerId)
  t.equal(whole.lastAddConfirmed, 9, 'the late one is not in it')
})

t.test('recoverers that meet agree', async (t) => {
  const cluster = await startNodes(t, 3)
  await using writing = await connect(cluster.uri, { logger: silent })
  await using left = await connect(cluster.uri, { logger: silent })
  await using right = await connect(cluster.uri, { logger: silent })
  for (let round = 0; round < 6; round++) {
    const writer = await writing.ledgers.create({ ensembleSize: 3, ackQuorumSize: 2 })
    const appending = appendAll(writer, { from: 0, to: 100_000, inFlight: 200 }, small)
    await reached(writer, round * 100)
    const readers = await Promise.all(
      [left, right, left, right].map((client) => client.ledgers.recover(writer.ledgerId)),
    )
    const { acked } = await appending
    const ends = new Set(readers.map((reader) => reader.lastAddConfirmed))
    t.equal(ends.size, 1, `one end: ${[...ends].join()}`)
    const end = readers[0]?.lastAddConfirmed ?? -2
    t.ok(end >= acked)
    for (const reader of readers) {
      t.equal(await check(reader, { from: 0, to: end }, small), '')
      await reader[Symbol.asyncDispose]()
    }
  }
})

t.test('who opens without recovery never disturbs the writer', async (t) => {
  const cluster = await startNodes(t, 3)
  await using writing = await connect(cluster.uri, { logger: silent })
  await using reading = await connect(cluster.uri, { logger: silent })
  const writer = await writing.ledgers.create()
  const appending = appendAll(writer, { from: 0, to: 2_000 }, small)
  for (let round = 0; round < 20; round++) {
    await using reader = await reading.ledgers.tail(writer.ledgerId)
    const end = reader.lastAddConfirmed
    t.equal(await check(reader, { from: 0, to: end }, small), '', `up to ${end}`)
  }
  t.same(await appending, { acked: 1_999, error: undefined })
  await using reader = await reading.ledgers.tail(writer.ledgerId)
  t.equal(await reader.waitForConfirmed(1_998, { timeoutMs: 20_000 }), 1_999, 'idle, yet told')
  t.equal((await recorded(cluster.uri, writer.ledgerId)).state, 'open')
  t.equal(await writer.close(), 1_999)
  t.equal(await reader.waitForConfirmed(1_999, { timeoutMs: 20_000 }), 1_999)
  t.equal(reader.closed, true, 'the wait ended with the ledger')
})

t.test('existence, lists and deletion', async (t) => {
  const cluster = await startNodes(t, 2)
  await using client = await connect(cluster.uri, { logger: silent })
  await using other = await connect(cluster.uri, { logger: silent })
  const ids: bigint[] = []
  for (let index = 0; index < 12; index++) {
    const writer = await client.ledgers.create()
    await appendAll(writer, { from: 0, to: index }, small)
    if (index % 3 !== 0) await writer.close()
    ids.push(writer.ledgerId)
  }
  t.same(await all(other.ledgers.list()), ids, 'ascending')
  const [first = 0n, open = 0n, closed = 0n] = [ids[0], ids[3], ids[4]]
  t.equal(await other.ledgers.exists(open), true)
  await using reader = await other.ledgers.tail(closed)
  for (const id of [first, open, closed]) await other.ledgers.delete(id)
  await other.ledgers.delete(closed)
  t.equal(await client.ledgers.exists(closed), false)
  for (const way of ['tail', 'recover'] as const) {
    t.equal(await codeOf(client.ledgers[way](closed)), 'QUIRE_LEDGER_MISSING')
  }
  t.match(await check(reader, { from: 0, to: 3 }, small), /^$/, 'open readers may go on for now')
  const rest = ids.filter((id) => ![first, open, closed].includes(id))
  t.same(await all(client.ledgers.list()), rest)
  const writer = await client.ledgers.create()
  t.ok(writer.ledgerId > Math.max(...ids.map(Number)), 'ids are not given twice')
})

t.test('a deleted ledger ends its writer', async (t) => {
  const cluster = await startNodes(t, 3)
  await using client = await connect(cluster.uri, { logger: silent })
  await using other = await connect(cluster.uri, { logger: silent })
  const writer = await client.ledgers.create()
  await appendAll(writer, { from: 0, to: 5 }, small)
  await other.ledgers.delete(writer.ledgerId)
  t.equal(await codeOf(writer.append(text('late'))), 'QUIRE_OUTCOME_UNKNOWN')
  t.match(await writer.ended, { code: /^QUIRE_LEDGER_(FENCED|MISSING)$/ })
})

/** Index of a node that is in the last ensemble and does not keep the metadata. */
async function memberOf(cluster: Nodes, ledgerId: bigint): Promise<number> {
  const { fragments } = await recorded(cluster.uri, ledgerId)
  const ensemble = fragments.at(-1)?.ensemble ?? []
  return cluster.nodes.findIndex(({ id }, index) => index > 0 && ensemble.includes(id))
}

t.test('a member that goes is replaced when there is a spare', async (t) => {
  const cluster = await startNodes(t, 4)
  await using client = await connect(cluster.uri, { logger: silent })
  for (const [ensembleSize, writeQuorumSize] of [
    [3, 3],
    [3, 2],
  ] as const) {
    const sizes = { ensembleSize, writeQuorumSize, ackQuorumSize: 2 }
    const writer = await client.ledgers.create(sizes)
    const { ledgerId } = writer
    const index = await memberOf(cluster, ledgerId)
    const gone = cluster.nodes[index]?.id ?? ''
    const enough = { yes: false }
    const appending = appendAll(writer, { from: 0, to: 100_000, enough }, small)
    await reached(writer, 500)
    await cluster.stop(index)
    await reached(writer, writer.lastAddConfirmed + 500)
    enough.yes = true
    const { acked: end, error } = await appending
    t.equal(error, undefined)
    t.equal(writer.degraded, false)
    t.equal(await writer.close(), end)
    const metadata = await recorded(cluster.uri, ledgerId)
    t.equal(metadata.fragments.length, 2, 'one new fragment')
    t.notOk(metadata.fragments[1]?.ensemble.includes(gone))
    await using reader = await client.ledgers.recover(ledgerId)
    t.equal(await check(reader, { from: 0, to: end }, small), '', 'with the member gone')
    await cluster.start(index)
    t.equal(await check(reader, { from: 0, to: end }, small), '', 'with the member back')
  }
})

t.test('without a spare a ledger goes on, and what is missing is recorded', async (t) => {
  const cluster = await startNodes(t, 3)
  await using client = await connect(cluster.uri, { logger: silent })
  const sizes = { ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 }
  const writer = await client.ledgers.create(sizes)
  const { ledgerId } = writer
  const enough = { yes: false }
  const appending = appendAll(writer, { from: 0, to: 100_000, enough }, small)
  await reached(writer, 500)
  const gone = cluster.nodes[2]?.id ?? ''
  await cluster.stop(2)
  await reached(writer, writer.lastAddConfirmed + 500)
  enough.yes = true
  const { acked, error } = await appending
  t.equal(error, undefined)
  t.equal(writer.degraded, true)
  t.match(holesOf(await recorded(cluster.uri, ledgerId)), new RegExp(`^\\d+ \\* ${gone}$`))
  await cluster.start(2)
  const end = acked + 100
  t.equal((await appendAll(writer, { from: acked + 1, to: end + 1 }, small)).acked, end)
  t.equal(await writer.close(), end)
  const metadata = await recorded(cluster.uri, ledgerId)
  t.equal(metadata.fragments.length, 1)
  const hole = new RegExp(`^(\\d+) ${end} ${gone}$`).exec(holesOf(metadata))
  t.ok(Number(hole?.[1]) >= 500, `the hole has an end: ${holesOf(metadata)}`)
  await using reader = await client.ledgers.recover(ledgerId)
  t.equal(await check(reader, { from: 0, to: end }, small), '')
  const next = await client.ledgers.create(sizes)
  t.equal((await appendAll(next, { from: 0, to: 100 }, small)).acked, 99)
  t.equal(next.degraded, false, 'a new ledger is whole again')
  await next.close()
})

t.test('below its ack quorum a writer ends, and its ledger is recovered later', async (t) => {
  const cluster = await startNodes(t, 3)
  await using client = await connect(cluster.uri, { logger: silent })
  const writer = await client.ledgers.create({ ensembleSize: 3, ackQuorumSize: 2 })
  const { ledgerId } = writer
  const appending = appendAll(writer, { from: 0, to: 100_000, inFlight: 200 }, small)
  await reached(writer, 200)
  await Promise.all([cluster.stop(1), cluster.stop(2)])
  const { acked, error } = await appending
  t.match(error, { code: /^QUIRE_(OUTCOME_UNKNOWN|NOT_ENOUGH_BOOKIES)$/ })
  t.match(await writer.ended, { code: 'QUIRE_NOT_ENOUGH_BOOKIES' })
  t.equal(await codeOf(client.ledgers.create()), 'QUIRE_NOT_ENOUGH_BOOKIES')
  await cluster.start(1)
  await using reader = await client.ledgers.recover(ledgerId)
  t.ok(reader.lastAddConfirmed >= acked)
  const { lastAddConfirmed: to } = reader
  t.equal(await check(reader, { from: 0, to }, small), '')
})

t.test('a bookie that comes back at another port is found', async (t) => {
  const cluster = await startNodes(t, 3)
  await using client = await connect(cluster.uri, { logger: silent })
  const writers = []
  for (let index = 0; index < 12; index++) {
    const writer = await client.ledgers.create({ ensembleSize: 1, ackQuorumSize: 1 })
    t.equal((await appendAll(writer, { from: 0, to: 20 }, small)).acked, 19)
    writers.push(writer)
  }
  const before = cluster.nodes[1]
  await cluster.stop(1)
  const after = await cluster.start(1)
  t.equal(after.id, before?.id)
  t.not(after.listen, before?.listen)
  for (const writer of writers) {
    await using reader = await client.ledgers.tail(writer.ledgerId)
    t.equal(await reader.waitForConfirmed(18, { timeoutMs: 20_000 }), 19)
    t.equal(await check(reader, { from: 0, to: 19 }, small), '')
  }
})

t.test('nothing went unheard', async (t) => {
  await nextTurn()
  t.same(heard, [])
})
