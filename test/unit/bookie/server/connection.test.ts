// What a connection promises whatever comes over it: one answer a request, no acknowledgement
// before the disk, bounded memory, and an end to whoever sends garbage, which others do not notice.
import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { requestFlags, statuses } from '../../../../src/wire/bookie-messages.ts'
import { encodeForceRequest, encodeReadLacRequest } from '../../../../src/wire/bookie-request.ts'
import { bookieBench, settled } from '../../../support/bookie-bench.ts'
import {
  addFrame,
  addFrameOf,
  batchFrame,
  fenceFrame,
  framed,
  ids,
  readFrame,
  writeLacFrame,
} from '../../../support/bookie-frames.ts'
import { entryBytes } from '../../../support/bookie-requests.ts'
import { type Answer, ClientEnd } from '../../../support/client-end.ts'

const { fence, recovery } = requestFlags
const ascending = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b)
const txns = (answers: Answer[]): number[] => answers.map(({ txnLow }) => txnLow)

t.test('acknowledgements', (t) => {
  t.test('none before the disk; all of a batch in one write a connection', (t) => {
    const { journal, connect } = bookieBench()
    const [one, two] = [connect(), connect()]
    for (let entry = 0; entry < 50; entry++) {
      one.send(addFrame({ entry }, { txn: entry }))
      two.send(addFrame({ entry, ledger: 2 }, { txn: entry }))
    }
    t.same([one.writes.length, two.writes.length], [0, 0])
    journal.commit()
    t.same([one.writes.length, two.writes.length], [1, 1])
    t.same(txns(one.answers()), txns(two.answers()))
    journal.commit()
    t.equal(one.writes.length, 1)
    t.end()
  })

  t.test('an error overtakes; each request has one answer', (t) => {
    const { journal, connect } = bookieBench()
    const client = connect()
    client.send(addFrame({}, { txn: 1 }), addFrame({ entry: -5 }, { txn: 2 }))
    t.same(txns(client.answers()), [2])
    client.send(addFrame({}, { txn: 3 }), writeLacFrame(0, { txn: 4 }))
    client.send(encodeForceRequest(ids({ txn: 5 })))
    t.same(txns(client.answers()), [])
    journal.commit()
    t.same(txns(client.answers()), [1, 3, 4, 5])
    t.end()
  })

  t.test('thousands at once keep their order and their ids', (t) => {
    const { journal, connect } = bookieBench()
    const client = connect()
    for (let round = 0; round < 5; round++) {
      for (let entry = 0; entry < 1500; entry++) {
        const id = round * 1500 + entry
        client.send(addFrame({ entry: id }, { txn: id }))
        if (entry % 1100 === 0) journal.commit()
      }
    }
    journal.commit()
    const answers = client.answers()
    t.same(txns(answers), [...Array.from({ length: 7500 }).keys()])
    t.ok(answers.every(({ entryId, txnLow, status }) => entryId === txnLow && status === 0))
    t.end()
  })

  t.test('a journal that fails answers nothing and ends every connection', (t) => {
    const { bookie, journal, connect, failures } = bookieBench()
    const [one, two] = [connect(), connect()]
    one.send(addFrame(), fenceFrame(0))
    two.send(encodeForceRequest(ids({})))
    journal.fail()
    t.ok(one.destroyed && two.destroyed)
    t.same([one.answers(), two.answers()], [[], []])
    t.equal(failures.length, 1)
    const late = connect()
    t.ok(late.destroyed, 'nobody is served afterwards')
    t.equal(bookie.stats().connectionsNow, 0)
    t.end()
  })
  t.end()
})

t.test('fences are durable before any answer that counts (A11, D10)', async (t) => {
  for (const protocol of [2, 3] as const) {
    const bench = bookieBench()
    const client = bench.connect()
    const frames = [
      fenceFrame(-1, { protocol, txn: 1 }),
      fenceFrame(0, { protocol, txn: 2 }),
      addFrame({ entry: 3 }, { protocol, txn: 3, flags: recovery }),
      fenceFrame(3, { protocol, txn: 4 }),
    ]
    client.send(...frames)
    await settled()
    t.same(client.answers(protocol), [], 'neither the negative nor the entry')
    const forgot = bench.crash().connect()
    forgot.send(addFrame({ entry: 0 }, { protocol }))
    t.same(forgot.answers(protocol), [], 'taken: nobody was told of a fence')
    bench.journal.commit()
    await settled()
    const seen = client.answers(protocol).map(({ status }) => status)
    t.same(ascending(seen), [statuses.ok, statuses.ok, statuses.ok, statuses.noEntry])
    const after = bench.crash().connect()
    after.send(addFrame({ entry: 0 }, { protocol }))
    t.equal(after.answers(protocol)[0]?.status, statuses.fenced)
  }
  const bench = bookieBench()
  const client = bench.connect()
  client.send(readFrame(0, { flags: fence }))
  t.equal(client.answers()[0]?.status, statuses.unauthorized, 'no key, no fence')
  client.send(addFrame())
  bench.journal.commit()
  t.equal(client.answers()[0]?.status, statuses.ok)
})

t.test('corruption is never absence (D7)', async (t) => {
  const { bookie, journal, connect, lines } = bookieBench()
  const client = connect()
  client.send(addFrame({ entry: 0 }), addFrame({ entry: 1 }))
  journal.commit()
  client.answers()
  for (let offset8 = 0; offset8 < 100; offset8++) journal.corrupt.add(`0:${offset8}`)
  client.send(readFrame(0), readFrame(-1), fenceFrame(1), encodeReadLacRequest(ids({})))
  journal.commit()
  await settled()
  t.same(new Set(client.answers().map(({ status }) => status)), new Set([statuses.io]))
  const old = connect()
  old.send(readFrame(0, { protocol: 2 }), batchFrame(0))
  await settled()
  t.same(
    old.answers(2).map(({ status }) => status),
    [statuses.io, statuses.io],
  )
  client.send(addFrame({ entry: 0 }, { flags: recovery }))
  await settled()
  t.equal(client.answers()[0]?.status, statuses.io, 'a copy that cannot be compared')
  t.ok(bookie.stats().unreadable > 0 && lines.length > 0)
})

t.test('duplicates of entries that are on disk', async (t) => {
  const { journal, connect } = bookieBench()
  const client = connect()
  client.send(addFrame({ entry: 0, payload: 'a payload long enough to compare' }))
  journal.commit()
  client.answers()
  journal.cold = true
  client.send(addFrame({ entry: 0, payload: 'a payload long enough to compare', lac: 8 }))
  client.send(addFrame({ entry: 0, payload: 'a payload long enough to differ!' }))
  await settled()
  t.same(
    client.answers().map(({ status }) => status),
    [statuses.ok, statuses.io],
  )
  client.send(readFrame(0))
  await settled()
  t.equal(client.answers()[0]?.maxLac, 8, 'the position that the first one told')
})

t.test('any split of any stream gives the same answers', (t) => {
  const frames = [
    addFrame({ entry: 0 }, { txn: 1 }),
    readFrame(0, { txn: 2 }),
    addFrame({ entry: 1, payload: 'y'.repeat(3000) }, { txn: 3 }),
    readFrame(1, { txn: 4 }),
    writeLacFrame(0, { txn: 5 }),
    addFrame({ ledger: 2, entry: 5 }, { txn: 6, flags: recovery }),
    encodeForceRequest(ids({ txn: 7 })),
  ]
  const stream = Buffer.concat(frames)
  const converse = (sizes: number[]): string[] => {
    const { journal, connect } = bookieBench()
    const client = connect()
    client.sendIn(sizes, stream)
    journal.commit()
    return client.answers().map(({ frame }) => frame.toString('hex'))
  }
  const whole = converse([stream.length])
  t.equal(whole.length, frames.length)
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 900 }), { minLength: 1 }), (sizes) => {
      assert.deepEqual(converse(sizes), whole)
    }),
    { numRuns: 60 },
  )
  t.end()
})

t.test('garbage ends its connection and no other', (t) => {
  const { bookie, journal, connect } = bookieBench()
  const other = connect()
  other.send(addFrame({ entry: 0 }))
  const v2 = readFrame(0, { protocol: 2 })
  const bad: [string, Buffer[]][] = [
    ['a frame of nothing', [Buffer.alloc(4)]],
    ['an oversized frame', [Buffer.from('7fffffff', 'hex')]],
    ['the largest length', [Buffer.from('ffffffff', 'hex')]],
    ['HTTP', [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
    ['a short V2 packet', [framed('0201')]],
    ['V2 opcodes that nobody serves', [framed('0204000000000000')]],
    ['a V2 add too short for ids', [addFrameOf(Buffer.alloc(15), { protocol: 2 })]],
    ['a V2 fencing read cut short', [framed(fenceFrame(0, { protocol: 2 }).subarray(4, 30))]],
    ['V3 after V2', [v2, readFrame(0)]],
  ]
  for (const [name, frames] of bad) {
    const client = connect()
    client.send(...frames)
    t.ok(client.destroyed, name)
    client.send(addFrame())
  }
  t.equal(bookie.stats().garbage, bad.length)
  const short = connect()
  short.send(addFrameOf(Buffer.alloc(20), { protocol: 2 }))
  t.equal(short.answers(2)[0]?.status, statuses.badRequest, '16 to 23 bytes are only refused')
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (bytes) => {
      const client = connect()
      client.send(framed(Buffer.from(bytes)), Buffer.from(bytes))
      client.hangUp()
    }),
    { numRuns: 300 },
  )
  journal.commit()
  t.equal(other.answers()[0]?.status, statuses.ok)
  t.equal(bookie.stats().connectionsNow, 2)
  t.end()
})

t.test('a sudden end takes its pending answers with it', async (t) => {
  const { bookie, journal, connect } = bookieBench()
  const client = connect()
  client.send(addFrame(), fenceFrame(0), addFrame({ entry: 2 }).subarray(0, 30))
  client.hangUp()
  journal.commit()
  await settled()
  t.same(client.answers(), [])
  t.equal(bookie.stats().connectionsNow, 0)
  const other = connect()
  other.send(readFrame(0))
  t.equal(other.answers()[0]?.status, statuses.ok, 'what was taken stays')
  journal.cold = true
  journal.slowReads = true
  other.send(readFrame(0))
  other.hangUp()
  journal.settleReads()
  await settled()
  t.same(other.answers(), [])
})

t.test('backpressure', (t) => {
  t.test('no room in the journal: not read from, nothing lost, in order', (t) => {
    const { bookie, journal, connect } = bookieBench()
    const client = connect()
    journal.hasRoom = false
    const reads = [readFrame(0, { txn: 2 }), addFrame({ entry: 1 }, { txn: 3 })]
    client.send(addFrame({ entry: 0 }, { txn: 1 }), ...reads)
    t.ok(client.paused)
    t.same(client.answers(), [])
    client.send(addFrame({ entry: 2 }, { txn: 4 }))
    bookie.owner.writable()
    t.ok(client.paused, 'still no room')
    journal.hasRoom = true
    bookie.owner.writable()
    t.notOk(client.paused)
    t.same(txns(client.answers()), [2])
    journal.commit()
    t.same(txns(client.answers()), [1, 3, 4])
    t.end()
  })

  t.test('a disk that turns out to be full refuses who waits, and serves who is behind', (t) => {
    const { bookie, journal, connect } = bookieBench()
    const client = connect()
    journal.hasRoom = false
    client.send(addFrame({ entry: 0 }, { txn: 1 }), fenceFrame(0, { txn: 2, ledger: 9 }))
    t.ok(client.paused)
    journal.isFull = true
    bookie.owner.writable()
    t.notOk(client.paused)
    t.match(client.answers(), [{ txnLow: 1, status: statuses.readOnly }])
    t.end()
  })

  t.test('a client that does not read its answers is not read from', (t) => {
    const { journal, connect } = bookieBench()
    const client = connect()
    client.send(addFrame({ entry: 0 }))
    journal.commit()
    client.choking = true
    client.send(readFrame(0, { txn: 1 }), readFrame(0, { txn: 2 }))
    t.ok(client.paused)
    client.send(readFrame(0, { txn: 3 }))
    const queued = client.queuedBytes
    client.send(readFrame(0, { txn: 4 }))
    t.equal(client.queuedBytes, queued, 'nothing more is answered')
    client.flush()
    t.notOk(client.paused)
    t.same(txns(client.answers()).slice(1), [1, 2, 3, 4])
    t.end()
  })

  t.test('a bounded number of reads from disk', async (t) => {
    const { journal, connect } = bookieBench({ limits: { diskReads: 2 } })
    const clients = [connect(), connect(), connect()]
    clients[0]?.send(addFrame({ entry: 0 }))
    journal.commit()
    journal.cold = true
    journal.slowReads = true
    for (const client of clients) client.send(readFrame(0, { txn: 1 }), readFrame(0, { txn: 2 }))
    t.equal(journal.waitingReads, 2)
    t.ok(clients[1]?.paused && clients[2]?.paused)
    for (let round = 0; round < 10; round++) {
      t.ok(journal.waitingReads <= 2)
      journal.settleReads()
      await settled()
    }
    for (const client of clients) {
      t.same(
        txns(client.answers()).filter((txn) => txn !== 7),
        [1, 2],
      )
      t.notOk(client.paused)
    }
  })

  t.test('a large entry is sent from the arena, held until it left', (t) => {
    const { journal, connect } = bookieBench()
    const client = connect()
    const payload = 'z'.repeat(100_000)
    client.send(addFrame({ entry: 0, payload }))
    journal.commit()
    client.answers()
    client.choking = true
    client.send(readFrame(0))
    t.equal(journal.holders(0), 1)
    client.flush()
    t.equal(journal.holders(0), 0)
    t.same(client.answers()[0]?.body, entryBytes({ entry: 0, payload }))
    client.send(readFrame(0, { protocol: 2 }))
    t.equal(journal.holders(0), 0)
    t.end()
  })

  t.test('many requests whose answers take long are taken a few at a time', async (t) => {
    const { bookie, journal, connect } = bookieBench()
    const [writer, client] = [connect(), connect()]
    writer.send(addFrame({ entry: 0, payload: 'z'.repeat(100_000) }))
    journal.commit()
    client.choking = true
    const batches = Array.from({ length: 50 }, (_, txn) => batchFrame(0, { protocol: 2, txn }))
    client.send(...batches)
    await settled()
    t.ok(client.queuedBytes < 10 * 100_000, 'fifty answers are not kept for who takes none')
    t.ok(client.paused)
    for (let turn = 0; turn < 60; turn++) {
      client.flush()
      await settled()
    }
    t.equal(client.answers(2).length, 50)
    t.notOk(client.paused)
    const fencing = connect()
    const fences = Array.from({ length: 200 }, (_, txn) => fenceFrame(0, { txn, ledger: txn + 5 }))
    fencing.send(...fences)
    t.ok(bookie.stats().fences < 100)
    for (let turn = 0; turn < 10; turn++) {
      journal.commit()
      await settled()
    }
    t.equal(fencing.answers().length, 200)
  })

  t.test('who keeps the memory that others need is disconnected, and nobody else', (t) => {
    const { bookie, journal, connect, pass } = bookieBench({ limits: { stalledMs: 1000 } })
    const [slow, slower, idle] = [connect(), connect(), connect()]
    slow.send(addFrame({ entry: 0, payload: 'z'.repeat(100_000) }))
    journal.commit()
    slower.choking = true
    slower.send(readFrame(0))
    pass(600)
    slow.choking = true
    slow.send(readFrame(0))
    bookie.owner.starved?.()
    t.equal(journal.holders(0), 2, 'both may still take it')
    pass(600)
    bookie.owner.starved?.()
    t.match(slower.destroyed, { code: 'QUIRE_TIMEOUT' })
    t.equal(slow.destroyed, undefined)
    slow.flush()
    pass(5000)
    bookie.owner.starved?.()
    t.same([slow.destroyed, idle.destroyed], [undefined, undefined])
    t.equal(bookie.stats().stalled, 1)
    t.end()
  })

  t.test('an output buffer is not used again before it was flushed', (t) => {
    const { journal, connect } = bookieBench()
    const [slow, fast] = [connect(), connect()]
    slow.choking = true
    for (let entry = 0; entry < 2000; entry++) slow.send(addFrame({ entry }, { txn: entry }))
    journal.commit()
    slow.choking = true
    for (let entry = 0; entry < 2000; entry++) {
      fast.send(addFrame({ entry, ledger: 2 }, { txn: entry + 5000 }))
      if (entry % 100 === 0) journal.commit()
    }
    journal.commit()
    slow.flush()
    t.same(txns(slow.answers()), [...Array.from({ length: 2000 }).keys()])
    t.equal(fast.answers().length, 2000)
    t.end()
  })
  t.end()
})

t.test('hand-over and close', async (t) => {
  const { bookie, journal, connect } = bookieBench()
  const client = connect()
  const routed = new ClientEnd()
  const frame = addFrame({ entry: 0 })
  bookie.accept(routed, frame.subarray(0, 30))
  routed.send(frame.subarray(30))
  client.send(addFrame({ entry: 1 }))
  client.send(readFrame(-1, { flags: requestFlags.piggyback, previousLac: 3, timeoutMs: 50 }))
  t.same(routed.answers(), [])
  const waiting = connect()
  waiting.send(addFrame({ entry: 1 }, { ledger: 1 }))
  journal.commit()
  waiting.answers()
  journal.cold = true
  journal.slowReads = true
  waiting.send(readFrame(1))
  await bookie.close()
  journal.settleReads()
  await settled()
  t.same(waiting.answers(), [], 'nothing is written behind the end')
  t.equal(routed.answers().length, 1, 'what was taken is answered')
  t.equal(client.answers().length, 1)
  t.ok(routed.ended && client.ended)
  client.send(addFrame({ entry: 2 }))
  t.equal(journal.appended.length, 3, 'and nothing more is taken')
  t.ok(connect().destroyed)
})
