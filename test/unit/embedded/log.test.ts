// Named logs on ledgers in memory: the promises of D3, D4 and D6, the rows of D11, A14 D12, and
// canaries 41 to 43 and 47.
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import {
  appendSegment,
  claim,
  newLog,
  publishSnapshot,
  recordEnd,
  truncate,
  type LogRecord,
} from '../../../src/embedded/log/core/log-record.ts'
import {
  decodeLogRecord,
  encodeLogRecord,
} from '../../../src/embedded/log/core/log-record-codec.ts'
import { decodeEntry } from '../../../src/embedded/log/core/log-entry.ts'
import type { Log, ReadRecord } from '../../../src/embedded/log/log.ts'
import type { ReadLogOptions } from '../../../src/embedded/log/reader.ts'
import type { LogWriter } from '../../../src/embedded/log/writer.ts'
import { MemoryCluster } from '../../support/memory-logs.ts'

const bytes = (text: string): Buffer => Buffer.from(text)

const read = async (log: Log, options: ReadLogOptions = {}): Promise<string[]> => {
  const found: string[] = []
  for await (const { position, bytes } of log.read(options))
    found.push(`${position}:${bytes.toString()}`)
  return found
}

/** The first `count` records that following the log delivers. */
const follow = async (log: Log, count: number, from = 0): Promise<string[]> => {
  const found: string[] = []
  for await (const { position, bytes } of log.read({ from, follow: true })) {
    found.push(`${position}:${bytes.toString()}`)
    if (found.length === count) break
  }
  return found
}

const appendAll = (writer: LogWriter, ...records: string[]): Promise<number[]> =>
  Promise.all(records.map((record) => writer.append(bytes(record))))

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : String(error)
  }
}

const next = async (reading: AsyncIterator<ReadRecord>): Promise<string> => {
  const { value, done } = await reading.next()
  return done ? 'end' : `${value.position}:${value.bytes.toString()}`
}

t.test('positions are dense over segments, owners and restarts', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ segmentBytes: 100 }).log('orders')
  {
    await using writer = await log.acquire()
    t.same(await appendAll(writer, 'a', 'b', 'c'), [0, 1, 2])
    t.equal(await writer.appendMany([bytes('d'), bytes('e')]), 3, 'the first of several')
    await appendAll(writer, 'f'.repeat(100))
    t.equal(await writer.append(bytes('g')), 6)
  }
  const second = await cluster.client().log('orders')
  await using writer = await second.acquire()
  t.equal(writer.epoch, 2)
  t.equal(await writer.append(bytes('h')), 7, 'a later owner goes on')
  t.match(await read(second), ['0:a', '1:b', '2:c', '3:d', '4:e', /^5:f+$/, '6:g', '7:h'])
  t.same(await read(second, { from: 3, to: 5 }), ['3:d', '4:e'])
  t.same(await read(second, { from: 6 }), ['6:g', '7:h'], 'found in the middle of a segment')
  const { segments, end, oldest } = await second.facts()
  t.equal(end, undefined, 'only the writer knows the end of an open segment')
  t.equal(oldest, 0)
  t.ok(segments.length >= 3, 'the log rolled')
  t.same(
    segments.slice(1).map(({ firstPosition }) => firstPosition),
    segments.slice(0, -1).map(({ endPosition }) => endPosition),
  )
})

t.test('an entry is found by its position, whatever entries hold', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ depth: 1, feedBytes: 0 }).log('l')
  const writer = await log.acquire()
  let expected = 0
  for (const size of [1, 7, 1, 1, 20, 3]) {
    const records = Array.from({ length: size }, (_, i) => bytes(`r${expected + i}`))
    await writer.appendMany(records)
    expected += size
  }
  await writer.close()
  for (let from = 0; from < expected; from++) {
    t.same(await read(log, { from, to: from + 1 }), [`${from}:r${from}`])
  }
  t.same(await read(log, { from: expected }), [])
})

t.test('records gather into entries while earlier ones are in flight', async (t) => {
  const cluster = new MemoryCluster()
  const { ledgers } = cluster
  ledgers.faults.append = () => 'hold'
  const log = await cluster.client({ depth: 1, entryBytes: 1000, pendingBytes: 2900 }).log('l')
  const writer = await log.acquire()
  const record = bytes('x')
  const first = writer.append(record)
  record.fill('?')
  await new Promise(setImmediate)
  const rest = Array.from({ length: 20 }, (_, i) => writer.append(bytes(`${i}`)))
  const large = Array.from({ length: 3 }, () => writer.append(Buffer.alloc(900)))
  t.equal(await codeOf(writer.append(Buffer.alloc(973))), 'QUIRE_ENTRY_TOO_LARGE')
  t.equal(writer.writable, false)
  t.equal(await codeOf(writer.append(bytes('y'))), 'QUIRE_BACKPRESSURE')
  const abort = new AbortController()
  const waiting = codeOf(writer.ready(abort.signal))
  abort.abort()
  t.equal(await waiting, 'QUIRE_ABORTED')
  let ready = false
  const becomesReady = writer.ready().then(() => {
    ready = true
    return undefined
  })
  t.equal(ready, false)
  ledgers.faults.append = () => 'ok'
  ledgers.release()
  await Promise.all([first, ...rest, ...large, becomesReady])
  const stored = [...ledgers.stored.values()][0]?.entries.map((entry) => decodeEntry(entry)) ?? []
  t.equal(String(stored[0]?.records[0]), 'x', 'it took its bytes when it returned')
  t.same(
    stored.map(({ firstPosition, records }) => [firstPosition, records.length]),
    [
      [0, 1],
      [1, 20],
      [21, 1],
      [22, 1],
      [23, 1],
    ],
  )
  await writer.close()
})

t.test('log time never goes back, over owners either', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const times: number[] = []
  for (const wall of [5000, 3000, 7000]) {
    cluster.clock.wall = wall
    await using writer = await log.acquire()
    await writer.append(bytes('x'))
  }
  for await (const { timeMs } of log.read()) times.push(timeMs)
  t.same(times, [5000, 5000, 7000])
})

t.test(
  'the first failure ends the writer: what was sent is unknown, the rest was not sent',
  async (t) => {
    const cluster = new MemoryCluster()
    const log = await cluster.client({ depth: 1 }).log('l')
    const writer = await log.acquire()
    await writer.append(bytes('a'))
    cluster.ledgers.faults.append = () => 'lose'
    const sent = codeOf(writer.append(bytes('b')))
    await new Promise(setImmediate)
    const gathered = codeOf(writer.append(bytes('c')))
    t.equal(await sent, 'QUIRE_OUTCOME_UNKNOWN')
    t.equal(await gathered, 'QUIRE_CLOSED')
    cluster.ledgers.faults.append = () => 'ok'
    t.equal(await codeOf(writer.append(bytes('d'))), 'QUIRE_CLOSED', 'canary 47')
    t.equal(await codeOf(writer.ready()), 'QUIRE_CLOSED')
    t.ok(await writer.ended)
    await writer.close()
    await using again = await log.acquire()
    t.same(await read(log), ['0:a', '1:b'], 'reading after recovery tells the truth')
    t.equal(again.nextPosition, 2)
  },
)

t.test('a new owner fences the old one, and takes over what it had acknowledged', async (t) => {
  const cluster = new MemoryCluster()
  const old = await cluster.client().log('l')
  const oldWriter = await old.acquire()
  await appendAll(oldWriter, 'a', 'b')
  const mine = await cluster.client().log('l')
  // After the epoch, before the fence, the old owner still writes: it is acknowledged, so it stays.
  const late: Promise<number>[] = []
  cluster.ledgers.faults.recover = () => late.push(oldWriter.append(bytes('late')))
  await using writer = await mine.acquire()
  const outcome = await codeOf(late[0] ?? Promise.resolve())
  const kept = await read(mine, { to: writer.nextPosition })
  if (outcome === 'no error') t.same(kept, ['0:a', '1:b', '2:late'])
  else t.same(kept.slice(0, 2), ['0:a', '1:b'])
  cluster.ledgers.faults = {}
  t.equal(await codeOf(oldWriter.append(bytes('x'))).then((c) => c !== 'no error'), true)
  t.ok(QuireError.is(await oldWriter.ended, 'QUIRE_NOT_OWNER'), 'it learns without appending')
  t.equal(await writer.append(bytes('new')), kept.length)
})

t.test('every segment without an end is recovered, not only the last', async (t) => {
  // Canary 43: a record as a pipelined writer would leave it.
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const first = await log.acquire()
  await appendAll(first, 'a', 'b')
  const { ledgers, records } = cluster
  const second = await ledgers.create()
  const record = records.record('l')
  const open = record.segments[0]
  if (!open) throw new Error('no segment')
  const next = { seq: 2, ledgerId: second.ledgerId, firstPosition: 2, endPosition: undefined }
  const two: LogRecord = { ...record, segments: [open, { ...next, epoch: 1 }] }
  const { version } = (await records.read('l')) ?? { version: -1 }
  await records.write('l', encodeLogRecord(two), version)
  const other = await cluster.client().log('l')
  await using writer = await other.acquire()
  t.same(ledgers.recovered, [open.ledgerId, second.ledgerId], 'oldest first')
  t.equal(await writer.append(bytes('c')), 2)
  t.same(
    records.record('l').segments.map(({ ledgerId, endPosition }) => [ledgerId, endPosition]),
    [
      [open.ledgerId, 2],
      [3n, undefined],
    ],
    'the empty one is dropped',
  )
})

t.test('of two who acquire at once, the older epoch stops at its next change', async (t) => {
  const cluster = new MemoryCluster()
  const a = await cluster.client().log('l')
  const b = await cluster.client().log('l')
  let other: Promise<LogWriter> | undefined
  // Canary 42: the epoch is in the predicate of every change, not only the version.
  cluster.records.before = async () => {
    if (cluster.records.writes === 1 && !other) {
      other = b.acquire()
      await other
    }
  }
  t.equal(await codeOf(a.acquire()), 'QUIRE_NOT_OWNER')
  const writer = await other
  t.equal(writer?.epoch, 2)
  t.equal(await writer?.append(bytes('b')), 0)
  await writer?.close()
  t.same(await read(a), ['0:b'])
  t.same(await (await cluster.client().log('l')).collectOrphans(), [1n], 'a crash leaves an orphan')
})

t.test('lost answers of the metadata are recognised: nothing happens twice', async (t) => {
  for (const kind of ['lose', 'fail'] as const) {
    const cluster = new MemoryCluster()
    let calls = 0
    cluster.records.fault = () => (calls++ % 2 === 0 ? kind : 'ok')
    const log = await cluster.client({ segmentBytes: 50 }).log('l')
    const writer = await log.acquire()
    for (const record of ['a', 'b', 'c']) await writer.append(Buffer.alloc(60, record))
    await writer.append(bytes('d'))
    await writer.close()
    const { ownerEpoch, segments } = cluster.records.record('l')
    t.equal(ownerEpoch, 1, `${kind}: one claim`)
    t.equal(new Set(segments.map(({ ledgerId }) => ledgerId)).size, segments.length)
    t.same(
      segments.map(({ seq }) => seq),
      segments.map((_, index) => index + 1),
    )
    t.equal((await read(log)).length, 4)
  }
})

t.test('nothing is served before the record names the segment', async (t) => {
  // Canary 41, D11: a ledger whose append to the record fails is never written to.
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const abort = new AbortController()
  cluster.records.before = () => {
    if (cluster.records.writes === 1) abort.abort()
    return Promise.resolve()
  }
  t.equal(await codeOf(log.acquire({ signal: abort.signal })), 'QUIRE_ABORTED')
  cluster.records.before = () => Promise.resolve()
  await using writer = await log.acquire()
  t.equal(await writer.append(bytes('x')), 0)
  t.same(await read(log), ['0:x'])
})

t.test(
  'a segment that cannot be followed goes on to twice its size, and then pushes back',
  async (t) => {
    const cluster = new MemoryCluster()
    const log = await cluster.client({ segmentBytes: 200, pendingBytes: 300 }).log('l')
    const writer = await log.acquire()
    cluster.ledgers.faults.create = () => new QuireError('QUIRE_NOT_ENOUGH_BOOKIES', 'none')
    const acked: number[] = []
    const appended: Promise<unknown>[] = []
    while (writer.writable) {
      appended.push(writer.append(Buffer.alloc(60)).then((p) => acked.push(p)))
      await new Promise(setImmediate)
      await new Promise(setImmediate)
    }
    t.ok(acked.length >= 4, 'twice 200 bytes and more were acknowledged')
    t.equal(await codeOf(writer.append(bytes('x'))), 'QUIRE_BACKPRESSURE')
    cluster.ledgers.faults.create = () => undefined
    cluster.clock.monotonic += 5000
    await Promise.all(appended)
    t.ok(cluster.records.record('l').segments.length > 1, 'it rolled once it could')
    await writer.close()
  },
)

t.test('a segment ends by age at the next append', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ segmentAgeMs: 1000 }).log('l')
  const writer = await log.acquire()
  await writer.append(bytes('a'))
  cluster.clock.monotonic = 1001
  await writer.append(bytes('b'))
  await writer.append(bytes('c'))
  await writer.close()
  t.equal(cluster.records.record('l').segments.length, 2)
  t.equal((await read(log)).length, 3)
})

t.test('a segment that lost a bookie is rolled, at most every ten seconds', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  cluster.ledgers.faults.degraded = (ledgerId) => ledgerId < 3n
  await using writer = await log.acquire()
  for (let step = 0; step < 10; step++) {
    await writer.append(bytes('x'))
    for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
    cluster.clock.monotonic += 5_000
  }
  t.equal(cluster.records.record('l').segments.length, 3)
})

t.test(
  'a reader in the process of the writer gets what is acknowledged, and nothing before',
  async (t) => {
    const cluster = new MemoryCluster()
    const log = await cluster.client().log('l')
    const writer = await log.acquire()
    const reading = log.read({ from: 0, follow: true })
    const first = next(reading)
    cluster.ledgers.faults.append = () => 'hold'
    const append = writer.append(bytes('a'))
    let seen = false
    void first.then(() => {
      seen = true
      return undefined
    })
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
    t.equal(seen, false)
    cluster.ledgers.release()
    cluster.ledgers.faults.append = () => 'ok'
    await append
    t.equal(await first, '0:a')
    cluster.ledgers.faults.read = () => new Error('it must not read the ledger')
    await writer.append(bytes('b'))
    t.equal(await next(reading), '1:b')
    await reading.return?.()
    await writer.close()
  },
)

t.test('a reader elsewhere follows over rolls, owners and closed ledgers', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ segmentBytes: 60 }).log('l')
  const away = await cluster.client({ pollMs: 1 }).log('l')
  const reading = follow(away, 7)
  {
    await using writer = await log.acquire()
    for (const record of ['a', 'b', 'c', 'd']) await writer.append(Buffer.from(record.repeat(30)))
  }
  // The ledger of the last segment is closed now, and nobody owns the log: that is not its end.
  const other = await cluster.client().log('l')
  await using writer = await other.acquire()
  await appendAll(writer, 'e', 'f', 'g')
  t.match(await reading, [/^0:a/, /^1:b/, /^2:c/, /^3:d/, '4:e', '5:f', '6:g'])
})

t.test('a ledger opened without recovery does not hide the committed tail (A14 D12)', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const old = await log.acquire()
  for (const record of ['a', 'b', 'c']) await old.append(bytes(record))
  const away = await cluster.client({ pollMs: 1 }).log('l')
  t.same(await read(away), ['0:a', '1:b'], 'an open ledger confirms one entry late')
  // The end gets recorded while the reader has the ledger open, as it was before.
  const reading = away.read()
  t.equal(await next(reading), '0:a')
  const other = await cluster.client().log('l')
  await using writer = await other.acquire()
  await writer.append(bytes('d'))
  t.equal(await next(reading), '1:b')
  t.same(await follow(away, 4), ['0:a', '1:b', '2:c', '3:d'])
  cluster.ledgers.faults.stale = () => true
  const end = cluster.records.record('l').segments[1]?.firstPosition
  t.same(await read(away, { to: end }), ['0:a', '1:b', '2:c'], 'the record knows the end')
  cluster.ledgers.faults = {}
  const missing = [...cluster.ledgers.stored.values()][0]
  missing?.entries.pop()
  t.equal(
    await codeOf(read(away, { to: 4 })),
    'QUIRE_LOG_CORRUPT',
    'a hole is an error, never skipped',
  )
})

t.test('a cursor ahead of what is known to be confirmed waits for its own position', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const writer = await log.acquire()
  const ten = Array.from({ length: 10 }, (_, index) => bytes(`r${index}`))
  await writer.appendMany(ten)
  await writer.appendMany(ten)
  // The second entry is not confirmed to a reader yet, and holds nothing that it wants.
  const away = await cluster.client({ pollMs: 1 }).log('l')
  const reading = follow(away, 2, 20)
  await appendAll(writer, 'x', 'y', 'z')
  t.same(await reading, ['20:x', '21:y'])
  await writer.close()
})

t.test('a pass without following ends no earlier than what was acknowledged here', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ feedBytes: 0 }).log('l')
  await using writer = await log.acquire()
  await appendAll(writer, 'a', 'b')
  await writer.append(bytes('c'))
  await writer.append(bytes('d'))
  // All but the last are only in the ledger, where it is not known yet that they are confirmed.
  cluster.ledgers.lag = 4
  t.same(await read(log), ['0:a', '1:b', '2:c', '3:d'])
  t.same(await read(log, { from: 1, to: 3 }), ['1:b', '2:c'])
})

t.test('owners that write nothing leave no ledgers behind', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  for (let round = 0; round < 5; round++) {
    await using writer = await log.acquire()
    t.equal(writer.nextPosition, 0)
  }
  await using writer = await log.acquire()
  await writer.append(bytes('a'))
  t.equal(cluster.ledgers.stored.size, 1)
})

t.test('whoever waits for a record to change shares one watch of it', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ pollMs: 1 }).log('l')
  await using first = await log.acquire()
  await first.append(bytes('a'))
  await first.close()
  const readers = [log.read({ from: 1, follow: true }), log.read({ from: 1, follow: true })]
  const waiting = readers.map((reader) => next(reader))
  const before = cluster.records.reads
  while (cluster.records.reads < before + 20) await new Promise((resolve) => setImmediate(resolve))
  t.equal(cluster.records.nodes.get('l')?.watches.length, 1)
  await using second = await log.acquire()
  await second.append(bytes('b'))
  t.same(await Promise.all(waiting), ['1:b', '1:b'])
  await Promise.all(readers.map((reader) => reader.return?.()))
})

t.test('a break and a signal release a reader that waits', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client().log('l')
  const abort = new AbortController()
  const waiting = codeOf(read(log, { follow: true, signal: abort.signal }))
  await new Promise(setImmediate)
  abort.abort()
  t.equal(await waiting, 'QUIRE_ABORTED')
  const writer = await log.acquire()
  await writer.append(bytes('a'))
  t.same(await follow(log, 1), ['0:a'])
  const other = new AbortController()
  const fed = codeOf(read(log, { from: 1, follow: true, signal: other.signal }))
  await new Promise(setImmediate)
  other.abort()
  t.equal(await fed, 'QUIRE_ABORTED')
  const stored = [...cluster.ledgers.stored.values()]
  t.same(
    stored.map(({ watchers }) => watchers.size),
    stored.map(() => 0),
  )
  await writer.close()
})

t.test(
  'truncation drops whole segments, the record first, and a slow reader is told',
  async (t) => {
    const cluster = new MemoryCluster()
    const log = await cluster.client({ segmentBytes: 50 }).log('l')
    const writer = await log.acquire()
    for (let i = 0; i < 6; i++) await writer.append(Buffer.alloc(60, 65 + i))
    await writer.close()
    const slow = log.read({ from: 0 })
    await slow.next()
    cluster.ledgers.faults.delete = () => new Error('not now')
    t.equal(await log.truncate(3), 3)
    t.equal(cluster.ledgers.stored.size, cluster.records.record('l').segments.length + 3)
    cluster.ledgers.faults = {}
    t.equal(await codeOf(read(log, { from: 2 })), 'QUIRE_TRUNCATED')
    t.equal((await read(log)).length, 3, 'reading begins at the oldest')
    t.equal(await codeOf(slow.next()), 'QUIRE_TRUNCATED')
    await using again = await log.acquire()
    t.same(await log.collectOrphans(), [1n, 2n, 3n], 'what was left is collected')
    t.equal(await log.truncate(Number.MAX_SAFE_INTEGER), 6, 'never the last segment')
    t.equal(await again.append(bytes('x')), 6)
    t.equal(await codeOf(read(log, { from: 0 })), 'QUIRE_TRUNCATED')
  },
)

t.test('the record: every change is safe to repeat, and refuses an older epoch', (t) => {
  const owner = { id: 'a', token: '11111111-1111-1111-1111-111111111111' }
  const written = (change: ReturnType<typeof claim>): LogRecord => {
    if (change.type === 'write') return change.record
    throw new Error(change.type)
  }
  const owned = written(
    claim(newLog({ name: 'l', logId: '22222222-2222-2222-2222-222222222222' }), owner),
  )
  t.same(claim(owned, owner), { type: 'done' })
  const segment = { ledgerId: 7n, epoch: 1 }
  const open = written(appendSegment(owned, segment))
  t.same(appendSegment(open, segment), { type: 'done' })
  const end = { ledgerId: 7n, endPosition: 10, timeMs: 99 }
  const ended = written(recordEnd(open, 1, end))
  t.same(recordEnd(ended, 1, end), { type: 'done' })
  t.throws(() => recordEnd(ended, 1, { ...end, endPosition: 11 }), { code: 'QUIRE_INVARIANT' })
  const later = written(claim(ended, { ...owner, token: owner.token.replaceAll('1', '3') }))
  t.same(appendSegment(later, { ledgerId: 8n, epoch: 1 }), { type: 'lost', epoch: 2 })
  t.same(recordEnd(later, 1, end), { type: 'lost', epoch: 2 })
  const second = written(appendSegment(later, { ledgerId: 8n, epoch: 2 }))
  const snapshot = { position: 4, ledgerId: 20n, bytes: 1, crc: 2, format: 'f', epoch: 2 }
  const one = written(publishSnapshot(second, snapshot))
  t.same(publishSnapshot(one, snapshot), { type: 'done' })
  t.same(publishSnapshot(one, { ...snapshot, ledgerId: 21n }), { type: 'superseded' })
  t.same(publishSnapshot(one, { ...snapshot, ledgerId: 21n, position: 5, epoch: 1 }), {
    type: 'lost',
    epoch: 2,
  })
  t.same(truncate(one, 10).change, { type: 'done' }, 'the snapshot still needs the segment')
  const two = written(publishSnapshot(one, { ...snapshot, ledgerId: 21n, position: 12 }))
  const three = written(publishSnapshot(two, { ...snapshot, ledgerId: 22n, position: 13 }))
  t.same(
    three.snapshots.map(({ position }) => position),
    [13, 12],
    'two are kept',
  )
  t.same(truncate(three, 13).dropped, [7n])
  const encoded = encodeLogRecord(three)
  t.same(decodeLogRecord(encoded, 'l'), three)
  for (let at = 0; at < encoded.length; at++) {
    const damaged = Buffer.from(encoded)
    damaged.writeUInt8(damaged.readUInt8(at) ^ 1, at)
    t.throws(() => decodeLogRecord(damaged, 'l'), { code: 'QUIRE_BAD_METADATA' })
    t.throws(() => decodeLogRecord(encoded.subarray(0, at), 'l'), { code: 'QUIRE_BAD_METADATA' })
  }
  t.end()
})

t.test('a ledger that is deleted under a reader is truncation, not damage', async (t) => {
  const cluster = new MemoryCluster()
  const log = await cluster.client({ segmentBytes: 50 }).log('l')
  await using writer = await log.acquire()
  for (let i = 0; i < 3; i++) await writer.append(Buffer.alloc(60, 65 + i))
  const { ledgers } = cluster
  const tail = ledgers.tail.bind(ledgers)
  ledgers.tail = async (ledgerId) => {
    ledgers.tail = tail
    await log.truncate(2)
    return tail(ledgerId)
  }
  const away = await cluster.client().log('l')
  t.equal(await codeOf(read(away, { from: 0 })), 'QUIRE_TRUNCATED')
  ledgers.stored.delete(3n)
  t.equal(
    await codeOf(read(away, { from: 2 })),
    'QUIRE_LEDGER_MISSING',
    'still in the record: damage',
  )
})

t.test('a client that is closed ends its writers and readers in order', async (t) => {
  const cluster = new MemoryCluster()
  const logs = cluster.client()
  const log = await logs.log('l')
  const writer = await log.acquire()
  const reading = codeOf(read(log, { follow: true }))
  const appended = writer.append(bytes('a'))
  await logs.close()
  t.equal(await appended, 0, 'what was taken is durable')
  t.equal(await reading, 'QUIRE_CLOSED')
  t.equal(await codeOf(log.acquire()), 'QUIRE_CLOSED')
  t.equal(await codeOf(logs.log('other')), 'QUIRE_CLOSED')
  t.equal((await (await cluster.client().log('l')).facts()).end, 1, 'the end is recorded')
})

t.test('names and options are checked', async (t) => {
  const cluster = new MemoryCluster()
  for (const name of ['', '.x', 'a/b', 'ä', 'x'.repeat(129)]) {
    t.equal(await codeOf(cluster.client().log(name)), 'QUIRE_BAD_OPTION')
  }
  t.equal(await codeOf(cluster.client({ depth: 0 }).log('l')), 'QUIRE_BAD_OPTION')
  const log = await cluster.client().log('l')
  t.equal(await codeOf(log.truncate(-1)), 'QUIRE_BAD_OPTION')
})
