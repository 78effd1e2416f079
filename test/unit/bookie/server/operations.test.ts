// Each operation on the wire, as Java clients send and read them: the rules of wire parts 1, 2, 5
// and 8.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { requestFlags, type Status, statuses } from '../../../../src/wire/bookie-messages.ts'
import {
  encodeAuthRequest,
  encodeBookieInfoRequest,
  encodeForceRequest,
  encodeListEntriesRequest,
  encodeReadLacRequest,
  encodeStartTlsRequest,
} from '../../../../src/wire/bookie-request.ts'
import { type BookieBench, bookieBench, settled } from '../../../support/bookie-bench.ts'
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
import { entryBytes, lacPacket, otherKey } from '../../../support/bookie-requests.ts'
import type { Answer, ClientEnd } from '../../../support/client-end.ts'

const { fence, recovery, highPriority, piggyback, deferredSync } = requestFlags

/** Sends frames on a new connection, makes everything durable and gives the answers. */
async function ask(bench: BookieBench, frames: Buffer[], protocol: 2 | 3 = 3): Promise<Answer[]> {
  const client = bench.connect()
  client.send(...frames)
  bench.journal.commit()
  await settled()
  const answers = client.answers(protocol)
  client.hangUp()
  return answers
}

async function statusOf(bench: BookieBench, frame: Buffer, protocol: 2 | 3 = 3): Promise<Status> {
  const answers = await ask(bench, [frame], protocol)
  t.equal(answers.length, 1, 'one request, one answer')
  return answers[0]?.status ?? statuses.io
}

interface VectorFile {
  vectors: Record<string, string>
}
const file: VectorFile = JSON.parse(
  readFileSync(new URL('../../../vectors/wire.json', import.meta.url), 'utf8'),
)
const vector = (name: string): Buffer => {
  const hex = file.vectors[name]
  if (hex === undefined) throw new Error(`no vector ${name}`)
  return Buffer.from(hex, 'hex')
}

t.test('a conversation in the bytes of the real Java classes', async (t) => {
  const bench = bookieBench()
  const pairs: [string, string][] = [
    ['v3.readLac.req', 'v3.readLac.resp.ENOENTRY'],
    ['v3.add.req', 'v3.add.resp.EOK'],
    ['v3.read.req', 'v3.read.resp.EOK'],
    ['v3.readLac.req', 'v3.readLac.resp.EOK.lastEntryOnly'],
    ['v3.writeLac.req', 'v3.writeLac.resp.EOK'],
    ['v3.readLac.req', 'v3.readLac.resp.EOK.both'],
    ['v3.forceLedger.req', 'v3.forceLedger.resp.EOK'],
    ['v3.read.req.fence.flagFirst', 'v3.read.resp.EOK.fence.noMaxLAC'],
    ['v3.add.req', 'v3.add.resp.EFENCED'],
  ]
  for (const [request, response] of pairs) {
    const [answer] = await ask(bench, [vector(request)])
    t.same(answer?.frame, vector(response).subarray(4), `${request} → ${response}`)
  }
  const v2 = bookieBench()
  const old: [string, string][] = [
    ['v2.add.req.CRC32C', 'v2.add.resp.EOK'],
    ['v2.read.req.fence', 'v2.read.resp.EOK.lastEntry.CRC32C'],
    ['v2.add.req.CRC32C', 'v2.add.resp.EFENCED'],
    ['v2.add.req.CRC32C.recovery', 'v2.add.resp.EOK'],
    ['v2.add.req.CRC32C.emptyPassword', 'v2.add.resp.EUA'],
  ]
  for (const [request, response] of old) {
    const [answer] = await ask(v2, [vector(request)], 2)
    t.same(answer?.frame, vector(response).subarray(4), `${request} → ${response}`)
  }
})

t.test('the error matrix (wire 5.1)', async (t) => {
  /**
   * Ledger 1 has entries 0 and 1; 2 is fenced; 3 was deleted; 4 is in limbo with entry 0; 9 is
   * unknown.
   */
  const world = async (): Promise<BookieBench> => {
    const bench = bookieBench({ mayHaveLost: (_, low) => low === 4 })
    const frames = [
      addFrame({ entry: 0, lac: -1 }),
      addFrame({ entry: 1, lac: 0 }),
      addFrame({ ledger: 2 }),
      fenceFrame(0, { ledger: 2 }),
      addFrame({ ledger: 3 }),
      addFrame({ ledger: 4 }, { flags: recovery }),
    ]
    await ask(bench, frames)
    const kept = [1n, 2n, 4n]
    const collecting = bench.bookie.collect({
      async *list() {
        yield* kept
      },
      exists: async (id) => kept.includes(id),
      isOurs: async () => true,
    })
    await settled()
    bench.journal.commit()
    await collecting
    return bench
  }
  const s = statuses
  const adds: [string, number, number, Buffer | undefined, Status][] = [
    ['unknown ledger', 9, 0, undefined, s.ok],
    ['wrong key', 1, 0, otherKey, s.unauthorized],
    ['wrong key, recovery', 1, recovery, otherKey, s.unauthorized],
    ['fenced', 2, 0, undefined, s.fenced],
    ['fenced, high priority only', 2, highPriority, undefined, s.fenced],
    ['fenced, recovery', 2, recovery, undefined, s.ok],
    ['fenced, wrong key', 2, 0, otherKey, s.unauthorized],
    ['deleted', 3, 0, undefined, s.fenced],
    ['deleted, recovery', 3, recovery, undefined, s.fenced],
    ['limbo', 4, 0, undefined, s.unauthorized],
    ['limbo, recovery', 4, recovery, undefined, s.ok],
  ]
  for (const protocol of [2, 3] as const) {
    for (const [name, ledger, flags, key, expected] of adds) {
      const frame = addFrame({ ledger, entry: 7 }, { protocol, flags, key })
      t.equal(await statusOf(await world(), frame, protocol), expected, `V${protocol} add: ${name}`)
    }
    const limbo = protocol === 2 ? s.io : s.unknownLedgerState
    const reads: [string, Buffer, Status][] = [
      ['unknown ledger', readFrame(0, { protocol, ledger: 9 }), s.noLedger],
      ['fencing an unknown ledger', fenceFrame(0, { protocol, ledger: 9 }), s.noEntry],
      ['absent', readFrame(5, { protocol }), s.noEntry],
      ['present', readFrame(1, { protocol }), s.ok],
      ['below −1', readFrame(-2, { protocol }), s.noEntry],
      ['last', readFrame(-1, { protocol }), s.ok],
      ['fencing, absent', fenceFrame(5, { protocol }), s.noEntry],
      ['fencing, wrong key', fenceFrame(0, { protocol, key: otherKey }), s.unauthorized],
      ['fenced ledger', readFrame(0, { protocol, ledger: 2 }), s.ok],
      ['deleted', readFrame(0, { protocol, ledger: 3 }), s.noLedger],
      ['fencing, deleted', fenceFrame(0, { protocol, ledger: 3 }), s.noLedger],
      ['limbo, present', readFrame(0, { protocol, ledger: 4 }), s.ok],
      ['limbo, absent', readFrame(1, { protocol, ledger: 4 }), limbo],
      ['limbo, last', readFrame(-1, { protocol, ledger: 4 }), limbo],
      ['limbo, fencing', fenceFrame(1, { protocol, ledger: 4 }), limbo],
    ]
    for (const [name, frame, expected] of reads) {
      t.equal(
        await statusOf(await world(), frame, protocol),
        expected,
        `V${protocol} read: ${name}`,
      )
    }
    const full = await world()
    full.journal.isFull = true
    const readOnly: [string, Buffer, Status][] = [
      ['add', addFrame({ entry: 8 }, { protocol }), s.readOnly],
      ['recovery add', addFrame({ entry: 8 }, { protocol, flags: recovery }), s.readOnly],
      ['high priority', addFrame({ entry: 8 }, { protocol, flags: highPriority }), s.ok],
      ['read', readFrame(0, { protocol }), s.ok],
      ['fence', fenceFrame(0, { protocol }), s.ok],
    ]
    for (const [name, frame, expected] of readOnly) {
      t.equal(await statusOf(full, frame, protocol), expected, `V${protocol} read-only: ${name}`)
    }
  }
  const list = (ledger: number): Buffer => encodeListEntriesRequest(ids({ ledger }))
  const readLac = (ledger: number): Buffer => encodeReadLacRequest(ids({ ledger }))
  const force = (ledger: number): Buffer => encodeForceRequest(ids({ ledger }))
  const others: [string, Buffer, Status][] = [
    ['writeLac unknown', writeLacFrame(3, { ledger: 9 }), s.ok],
    ['writeLac key', writeLacFrame(3, { key: otherKey }), s.unauthorized],
    ['writeLac fenced', writeLacFrame(3, { ledger: 2 }), s.ok],
    ['writeLac deleted', writeLacFrame(3, { ledger: 3 }), s.noLedger],
    ['readLac unknown', readLac(9), s.noEntry],
    ['readLac', readLac(1), s.ok],
    ['readLac deleted', readLac(3), s.noEntry],
    ['list unknown', list(9), s.noLedger],
    ['list', list(1), s.ok],
    ['list limbo', list(4), s.io],
    ['force unknown', force(9), s.ok],
    ['read without key, fencing', readFrame(0, { flags: fence }), s.unauthorized],
    ['long poll unknown', readFrame(-1, { ledger: 9, previousLac: 0, timeoutMs: 5 }), s.noLedger],
  ]
  for (const [name, frame, expected] of others) {
    t.equal(await statusOf(await world(), frame), expected, name)
  }
  const full = await world()
  full.journal.isFull = true
  t.equal(await statusOf(full, writeLacFrame(3)), s.readOnly)
  t.equal(await statusOf(full, force(1)), s.ok)
  const limbo = await world()
  t.equal(await statusOf(limbo, readLac(5)), s.noEntry)
  t.not(await statusOf(limbo, readLac(4)), s.noEntry, 'no vote')
})

t.test('shape and version (wire 1.5, 2.4, 2.5)', async (t) => {
  const bench = bookieBench()
  /** A V3 request: header with version, operation and priority 9; then the rest. */
  const v3 = (version: number, operation: number, rest = ''): Buffer => {
    const bytes = [8, version, 16, operation, 24, 7, 32, 9]
    return framed(Buffer.concat([Buffer.from([10, 8, ...bytes]), Buffer.from(rest, 'hex')]))
  }
  for (const operation of [1, 2, 6, 7, 10, 11]) {
    const [answer] = await ask(bench, [v3(3, operation)])
    t.equal(answer?.status, statuses.badRequest, `operation ${operation} without its message`)
    t.equal(answer?.txnLow, 7)
  }
  for (const operation of [3, 4, 12]) {
    const [answer] = await ask(bench, [v3(3, operation)])
    const copy = `0a080803 10${operation.toString(16).padStart(2, '0')} 1807 2009 109403`
    t.equal(answer?.frame.toString('hex'), copy.replaceAll(' ', ''), 'the header is copied')
  }
  const foreign: [number, string][] = [
    [1, 'a20605080110ff01'],
    [7, 'c206020801'],
    [10, 'da06020801'],
    [8, 'ca06020803'],
    [11, 'e206020801'],
  ]
  for (const [operation, body] of foreign) {
    for (const version of [1, 2]) {
      const [answer] = await ask(bench, [v3(version, operation, body)])
      t.equal(answer?.status, statuses.badVersion, `operation ${operation}, version ${version}`)
    }
  }
  const [tls] = await ask(bench, [encodeStartTlsRequest(ids({}))])
  t.equal(tls?.frame.toString('hex'), '0a06080310091807109403')
  const [info] = await ask(bench, [encodeBookieInfoRequest({ ...ids({}), requested: 2 })])
  t.same([info?.status, info?.freeBytes, info?.totalBytes], [statuses.ok, 1000, 0])
  const [none] = await ask(bench, [v3(3, 8)])
  t.equal(none?.status, statuses.ok, 'GET_BOOKIE_INFO without message asks for nothing')
  for (const version of [3, 10, 255]) {
    const frame = readFrame(0, { protocol: 2 })
    frame[4] = version
    const [answer] = await ask(bench, [frame], 2)
    t.equal(answer?.status, statuses.badVersion)
    t.equal(answer?.frame[0], version, 'the version is echoed')
  }
  const zero = readFrame(0, { protocol: 2 })
  zero.writeUInt32BE(2, 4)
  const [old] = await ask(bench, [zero], 2)
  t.equal(old?.frame.readUInt32BE(0), 2, 'version 0: the header is the bare opcode')
  const one = fenceFrame(0, { protocol: 2 })
  one[4] = 1
  const [without] = await ask(bench, [one], 2)
  t.equal(without?.status, statuses.unauthorized, 'version 1 carries no key')
})

t.test('AUTH while nobody is asked to (wire 3.2)', async (t) => {
  const bench = bookieBench()
  const auth = { ...ids({}), plugin: 'sasl', payload: Buffer.from('x') }
  const [v3] = await ask(bench, [encodeAuthRequest(auth)])
  t.same([v3?.status, v3?.authPlugin, v3?.body], [0, 'AuthDisabledPlugin', Buffer.alloc(0)])
  const [v2] = await ask(bench, [encodeAuthRequest({ ...auth, protocol: 2 })], 2)
  t.equal(v2?.authPlugin, 'AuthDisabledPlugin')
  t.same(v2?.frame.subarray(0, 4), Buffer.from([2, 3, 0, 0]))
})

t.test('reads: what is echoed and what is told', async (t) => {
  const bench = bookieBench()
  await ask(bench, [addFrame({ entry: 4, lac: 3 }), addFrame({ entry: 9, lac: 2 })])
  const [last] = await ask(bench, [readFrame(-1)])
  t.same([last?.entryId, last?.hasMaxLac, last?.maxLac], [-1, true, 3])
  t.same(last?.body, entryBytes({ entry: 9, lac: 2 }))
  const [fencing] = await ask(bench, [fenceFrame(4)])
  t.same([fencing?.entryId, fencing?.hasMaxLac], [4, false])
  const [v2] = await ask(bench, [readFrame(-1, { protocol: 2 })], 2)
  t.equal(v2?.entryId, -1)
  const outer = addFrameOf(entryBytes({ ledger: 6, entry: 2 }), { ledger: 5, entryId: 77 })
  const [add] = await ask(bench, [outer])
  t.same([add?.ledgerLow, add?.entryId, add?.status], [5, 77, 0], 'outer ids are echoed')
  t.equal(await statusOf(bench, readFrame(2, { ledger: 6 })), statuses.ok, 'inner ids rule')
  const huge = 2 ** 40 * 5 + 3
  await ask(bench, [addFrame({ ledger: huge, entry: huge })])
  const [far] = await ask(bench, [readFrame(huge, { ledger: huge })])
  t.same([far?.ledgerHigh, far?.ledgerLow, far?.entryId], [1280, 3, huge])
})

t.test('READ_LAC: two reads and an odd status (wire 2.8)', async (t) => {
  const bench = bookieBench()
  const readLac = async (): Promise<Answer | undefined> =>
    (await ask(bench, [encodeReadLacRequest(ids({}))]))[0]
  t.equal((await readLac())?.status, statuses.noEntry, 'an unknown ledger is not ENOLEDGER')
  await ask(bench, [writeLacFrame(5)])
  const explicit = await readLac()
  t.equal(explicit?.status, statuses.io, 'EIO with the packet')
  t.same([explicit?.body, explicit?.second], [lacPacket(1, 5), undefined])
  await ask(bench, [addFrame({ entry: 6 })])
  const both = await readLac()
  t.equal(both?.status, statuses.ok)
  t.same([both?.body, both?.second], [lacPacket(1, 5), entryBytes({ entry: 6 })])
  bench.journal.cold = true
  t.same((await readLac())?.second, entryBytes({ entry: 6 }), 'from disk as well')
})

t.test('the list of entries (wire 2.12)', async (t) => {
  const bench = bookieBench()
  const held = [0, 1, 2, 5, 7, 8, 9, 10]
  await ask(
    bench,
    held.map((entry) => addFrame({ entry })),
  )
  const [answer] = await ask(bench, [encodeListEntriesRequest(ids({}))])
  t.same(answer?.body, vector('availability.[0,1,2,5,7,8,9,10]'))
  await ask(bench, [fenceFrame(0, { ledger: 2 })])
  const [empty] = await ask(bench, [encodeListEntriesRequest(ids({ ledger: 2 }))])
  t.same(empty?.body, vector('availability.[]'), 'no entries: EOK and the header')
})

t.test('batch reads (wire 1.9)', async (t) => {
  const bench = bookieBench()
  const payload = 'x'.repeat(64)
  await ask(
    bench,
    [0, 1, 2, 3, 5].map((entry) => addFrame({ entry, payload })),
  )
  const sizes = (answer: Answer | undefined): number => {
    let count = 0
    const body = answer?.body ?? Buffer.alloc(0)
    for (let at = 0; at < body.length; at += 4 + body.readInt32BE(at)) count++
    return count
  }
  const cases: [string, Parameters<typeof batchFrame>, number][] = [
    ['all that is contiguous', [0], 4],
    ['so many', [1, { maxCount: 2 }], 2],
    ['one, however small the limit', [0, { maxBytes: 10 }], 1],
    ['none and less mean one', [0, { maxBytes: -1 }], 1],
    ['exactly two fit', [0, { maxBytes: 36 + 2 * 104 }], 2],
    ['one byte less and they do not', [0, { maxBytes: 36 + 2 * 104 - 1 }], 1],
    ['behind the gap', [5], 1],
    ['high priority is the same', [0, { flags: highPriority }], 4],
  ]
  for (const cold of [false, true]) {
    bench.journal.cold = cold
    for (const [name, parameters, expected] of cases) {
      const [answer] = await ask(bench, [batchFrame(...parameters)], 2)
      t.equal(answer?.status, statuses.ok)
      t.equal(sizes(answer), expected, `${name}${cold ? ', from disk' : ''}`)
      t.equal(answer?.txnLow, 7, 'the request id is echoed')
      t.same(answer?.body?.subarray(4, 104), entryBytes({ entry: parameters[0], payload }))
    }
  }
  t.equal(await statusOf(bench, batchFrame(4), 2), statuses.noEntry, 'never EOK with nothing')
  t.equal(await statusOf(bench, batchFrame(0, { ledger: 8 }), 2), statuses.noLedger)
  t.equal(await statusOf(bench, addFrame({ entry: 6 })), statuses.ok)
  bench.journal.cold = false
  t.equal(bench.journal.holders(0), 0, 'nothing stays held')
})

t.test('deferred sync and recovery wait for the disk like any add', async (t) => {
  const bench = bookieBench()
  const client = bench.connect()
  client.send(addFrame({ entry: 0 }, { flags: deferredSync, txn: 1 }))
  client.send(addFrame({ entry: 1 }, { flags: recovery, txn: 2 }))
  t.equal(client.answers().length, 0)
  client.send(encodeForceRequest(ids({ txn: 3 })))
  t.equal(client.answers().length, 0)
  bench.journal.commit()
  t.same(
    client.answers().map(({ txnLow }) => txnLow),
    [1, 2, 3],
  )
})

t.test('the long poll (wire 2.7)', async (t) => {
  const poll = (fields: Parameters<typeof readFrame>[1] = {}): Buffer =>
    readFrame(-1, { flags: piggyback, previousLac: 0, timeoutMs: 100, txn: 50, ...fields })
  const started = async (): Promise<{ bench: BookieBench; client: ClientEnd }> => {
    const bench = bookieBench()
    await ask(bench, [addFrame({ entry: 0 }), addFrame({ entry: 1, lac: 0 })])
    return { bench, client: bench.connect() }
  }
  const answersOf = async (client: ClientEnd): Promise<Answer[]> => {
    await settled()
    return client.answers().filter(({ txnLow }) => txnLow === 50)
  }

  t.test('an advance wakes it, with the entry behind the known position', async (t) => {
    const { bench, client } = await started()
    client.send(poll())
    t.same(await answersOf(client), [])
    client.send(addFrame({ entry: 2, lac: 1 }))
    const [answer] = await answersOf(client)
    t.same([answer?.status, answer?.entryId, answer?.maxLac], [0, 1, 1])
    t.same(answer?.body, entryBytes({ entry: 1, lac: 0 }))
    t.equal(answer?.lacUpdateTimestampMs, 1_700_000_000_000)
    bench.pass(1000)
    t.same(await answersOf(client), [], 'once')
    t.equal(bench.timers(), 0)
  })

  t.test('a position that is known already answers at once, also after a restart', async (t) => {
    const { bench } = await started()
    await ask(bench, [addFrame({ entry: 2, lac: 1 })])
    const after = bench.crash()
    const client = after.connect()
    client.send(poll())
    const [answer] = await answersOf(client)
    t.same([answer?.entryId, answer?.maxLac, answer?.lacUpdateTimestampMs], [1, 1, 0])
  })

  t.test('striping: the position without the entry', async (t) => {
    const { bench, client } = await started()
    client.send(poll({ previousLac: 1 }))
    client.send(addFrame({ entry: 5, lac: 4 }))
    const [answer] = await answersOf(client)
    t.same([answer?.status, answer?.entryId, answer?.maxLac, answer?.body], [0, -1, 4, undefined])
    t.equal(bench.timers(), 0)
  })

  t.test('the timer ends it', async (t) => {
    const { bench, client } = await started()
    client.send(poll())
    bench.pass(99)
    t.same(await answersOf(client), [])
    bench.pass(1)
    const [answer] = await answersOf(client)
    t.same([answer?.status, answer?.entryId, answer?.maxLac, answer?.hasBody], [0, -1, 0, false])
    client.send(poll({ timeoutMs: -5 }))
    bench.pass(10)
    t.equal((await answersOf(client)).length, 1, 'no time means the next tick')
  })

  t.test('a fence and an explicit position wake it', async (t) => {
    const { client } = await started()
    client.send(poll())
    client.send(fenceFrame(-1))
    const [fenced] = await answersOf(client)
    t.same([fenced?.status, fenced?.maxLac, fenced?.lacUpdateTimestampMs], [0, 0, 0])
    client.send(poll())
    client.send(writeLacFrame(1, { txn: 8 }))
    const [moved] = await answersOf(client)
    t.same([moved?.entryId, moved?.maxLac], [1, 1])
    t.equal(moved?.lacUpdateTimestampMs, 1_700_000_000_000, 'it moved, whoever told')
    client.send(poll({ previousLac: 5 }))
    client.send(writeLacFrame(0, { txn: 8 }), writeLacFrame(5, { txn: 8 }))
    t.same(await answersOf(client), [], 'not one that tells nothing new')
    client.send(writeLacFrame(6, { txn: 8 }))
    t.equal((await answersOf(client))[0]?.maxLac, 6)
  })

  t.test('deletion wakes it', async (t) => {
    const { bench, client } = await started()
    client.send(poll())
    const collecting = bench.bookie.collect({
      async *list() {},
      exists: async () => false,
      isOurs: async () => true,
    })
    await settled()
    const [answer] = await answersOf(client)
    t.equal(answer?.status, statuses.noLedger)
    bench.journal.commit()
    await collecting
  })

  t.test('odd combinations', async (t) => {
    const { bench, client } = await started()
    client.send(readFrame(1, { previousLac: 0, txn: 50 }))
    const [plain] = await answersOf(client)
    t.same([plain?.entryId, plain?.maxLac], [1, 0], 'a position alone reads like a plain read')
    client.send(readFrame(3, { flags: piggyback, previousLac: -1, txn: 50 }))
    t.equal((await answersOf(client))[0]?.status, statuses.badRequest)
    client.send(readFrame(-1, { flags: piggyback, txn: 50 }))
    t.equal((await answersOf(client))[0]?.entryId, -1, 'without position: a plain read')
    client.send(fenceFrame(0, { ledger: 7 }))
    bench.journal.commit()
    client.send(poll({ ledger: 7, previousLac: -1 }))
    bench.pass(100)
    t.equal((await answersOf(client))[0]?.status, statuses.noEntry)
  })

  t.test('the end of the connection ends the wait', async (t) => {
    const { bench, client } = await started()
    client.send(poll(), poll())
    t.equal(bench.bookie.stats().longPollsNow, 2)
    client.hangUp()
    t.equal(bench.bookie.stats().longPollsNow, 0)
    t.equal(bench.timers(), 0)
    await ask(bench, [addFrame({ entry: 2, lac: 1 })])
    t.same(client.answers(), [])
  })
})
