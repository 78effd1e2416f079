import t from 'tap'
import { recordTypes } from '../../../../src/bookie/journal/contract.ts'
import { outcomes, type StoreOptions } from '../../../../src/bookie/store/outcomes.ts'
import { Store } from '../../../../src/bookie/store/store.ts'
import { requestFlags, statuses } from '../../../../src/wire/bookie-messages.ts'
import {
  addRequest,
  entryBytes,
  lacPacket,
  type Logged,
  masterKey,
  otherKey,
  recordingLogger,
  request,
} from '../../../support/bookie-requests.ts'
import { MemoryJournal } from '../../../support/memory-journal.ts'

interface Bench {
  store: Store
  journal: MemoryJournal
  lines: Logged[]
  advanced: { ledger: number; ended: boolean }[]
  /** A process that starts after a crash: only what was durable is there. */
  crash: (options?: Partial<StoreOptions>) => Bench
}

const { recovery, highPriority, deferredSync } = requestFlags
const ledgerOne = [0, 1] as const

function bench(options: Partial<StoreOptions> = {}, before?: MemoryJournal): Bench {
  const { logger, lines } = recordingLogger()
  const store = new Store({
    logger,
    indexBytes: 64 * 1024 * 1024,
    seed: 5,
    second: () => 100,
    ...options,
  })
  const journal = before === undefined ? new MemoryJournal(store) : before.crash(store)
  const advanced: { ledger: number; ended: boolean }[] = []
  store.attach(journal, {
    durable: () => undefined,
    failed: () => undefined,
    writable: () => undefined,
    starved: () => undefined,
    advanced: (ledger, ended) => advanced.push({ ledger, ended }),
  })
  return { store, journal, lines, advanced, crash: (next) => bench(next ?? options, journal) }
}

const fenceOf = (store: Store, ledger = 1, key = masterKey): number =>
  store.fence(request({ ledger, key, flags: requestFlags.fence }))

t.test('adds', (t) => {
  t.test('an add waits for its record, is readable at once, and its key comes first', (t) => {
    const { store, journal } = bench()
    t.equal(store.add(addRequest({ entry: 0 })), outcomes.pending)
    t.equal(store.awaited, journal.sequence)
    t.ok(journal.durableSequence < store.awaited)
    t.equal(store.read(...ledgerOne, 0), statuses.ok)
    t.same(journal.view(store.place.slot, store.place.offset8), entryBytes({ entry: 0 }))
    const types = journal.appended.map(({ type }) => type)
    t.same(types, [recordTypes.ledgerKey, recordTypes.entry])
    store.add(addRequest({ entry: 1 }))
    t.equal(journal.appended.length, 3, 'the key is recorded once')
    t.equal(journal.entries(0), 2)
    t.end()
  })

  t.test('the ids inside the entry rule, and bad ones are refused', (t) => {
    const { store } = bench()
    store.add(addRequest({ ledger: 9, entry: 3 }, { ledger: 8, entryId: 77 }))
    t.equal(store.read(0, 9, 3), statuses.ok)
    t.equal(store.read(0, 8, 77), statuses.noLedger)
    const bad = [
      addRequest({ ledger: -1 }),
      addRequest({ entry: -1 }),
      addRequest({ entry: -4096 }),
      addRequest({ entry: 2n ** 48n }),
      addRequest({ entry: 2n ** 62n }),
      request({ body: entryBytes().subarray(0, 23) }),
      request({ body: Buffer.alloc(0) }),
      request({ body: entryBytes(), key: Buffer.alloc(2000) }),
    ]
    for (const one of bad) t.equal(store.add(one), statuses.badRequest)
    t.equal(store.add(addRequest({ entry: 2n ** 48n - 1n })), outcomes.pending)
    t.equal(store.read(...ledgerOne, 2 ** 48 - 1), statuses.ok)
    t.equal(store.add(request({ body: entryBytes({ ledger: 4 }).subarray(0, 24) })), -1)
    t.end()
  })

  t.test('the first key is the key', (t) => {
    const { store, journal, crash } = bench()
    store.add(addRequest({ entry: 0 }))
    const wrong = [
      otherKey,
      Buffer.alloc(20),
      Buffer.alloc(0),
      Buffer.concat([masterKey, masterKey]),
    ]
    for (const key of wrong) {
      t.equal(store.add(addRequest({ entry: 1 }, { key })), statuses.unauthorized)
      t.equal(store.add(addRequest({ entry: 1 }, { key, flags: recovery })), statuses.unauthorized)
      t.equal(fenceOf(store, 1, key), statuses.unauthorized)
      t.equal(store.writeLac(request({ key, body: lacPacket(1, 0) })), statuses.unauthorized)
    }
    journal.commit()
    const after = crash()
    t.equal(after.store.add(addRequest({ entry: 1 }, { key: otherKey })), statuses.unauthorized)
    t.equal(after.store.add(addRequest({ entry: 1 })), outcomes.pending)
    t.end()
  })

  t.test('a held id is acknowledged when its first copy is durable, and that copy stays', (t) => {
    const { store, journal } = bench()
    const first = { entry: 5, lac: 2, digest: 1, payload: 'a payload that is long enough' }
    t.equal(store.add(addRequest(first)), outcomes.pending)
    const repackaged = { ...first, lac: 4, digest: 2 }
    t.equal(store.add(addRequest(repackaged, { flags: recovery })), outcomes.pending)
    t.ok(store.awaited >= 2 && journal.durableSequence === 0, 'it waits for the first')
    t.equal(store.lac(...ledgerOne), 4, 'the position it tells counts all the same')
    journal.commit()
    t.equal(store.add(addRequest(repackaged)), statuses.ok)
    store.read(...ledgerOne, 5)
    t.same(journal.view(store.place.slot, store.place.offset8), entryBytes(first))
    t.equal(store.counts.duplicates, 2)
    t.equal(journal.entries(0), 1)
    t.end()
  })

  t.test('a held id with other bytes is refused, counted and logged', (t) => {
    const { store, journal, lines } = bench()
    const first = { entry: 5, length: 50, payload: 'a payload that is long enough' }
    store.add(addRequest(first))
    journal.commit()
    const conflicts = [
      { ...first, payload: 'a payload that is lonG enough' },
      { ...first, payload: 'short' },
      { ...first, length: 51 },
    ]
    for (const one of conflicts) {
      t.equal(store.add(addRequest(one)), statuses.io)
      t.equal(store.add(addRequest(one, { flags: recovery })), statuses.io)
    }
    t.equal(store.counts.conflicts, 6)
    t.equal(lines.filter(({ level }) => level === 'error').length, 6)
    t.end()
  })

  t.test('a held id whose copy is on disk is judged by those bytes', (t) => {
    const { store, journal } = bench()
    const first = addRequest({ entry: 5 })
    store.add(first)
    journal.commit()
    journal.cold = true
    t.equal(store.add(first), outcomes.compare)
    t.equal(store.judgeDuplicate(entryBytes({ entry: 5 }), first), statuses.ok)
    t.equal(store.judgeDuplicate(entryBytes({ entry: 5, payload: 'x' }), first), statuses.io)
    t.end()
  })

  t.test('no room: nothing happened, and the same add goes through later', (t) => {
    const { store, journal } = bench()
    journal.hasRoom = false
    t.equal(store.add(addRequest()), outcomes.blocked)
    t.equal(store.writeLac(request({ body: lacPacket(1, 0) })), outcomes.blocked)
    t.equal(store.read(...ledgerOne, 0), statuses.noLedger)
    t.equal(store.add(addRequest({}, { flags: highPriority })), outcomes.pending)
    journal.hasRoom = true
    t.equal(store.add(addRequest({ entry: 1 })), outcomes.pending)
    t.end()
  })

  t.test('the memory of the index is a budget', (t) => {
    const { store } = bench({ indexBytes: 1 })
    t.equal(store.add(addRequest()), statuses.tooManyRequests)
    t.equal(store.add(addRequest({}, { flags: highPriority })), outcomes.pending)
    t.equal(fenceOf(store), outcomes.pending, 'fences are taken')
    t.end()
  })

  t.test('deferred sync is acknowledged like any other: when durable', (t) => {
    const { store } = bench()
    t.equal(store.add(addRequest({}, { flags: deferredSync })), outcomes.pending)
    t.equal(store.force(), outcomes.pending)
    t.end()
  })
  t.end()
})

t.test('fences (D10, B16)', (t) => {
  t.test('add, then fence: the add stays; fence, then add: refused', (t) => {
    const { store, journal } = bench()
    t.equal(store.add(addRequest({ entry: 0 })), outcomes.pending)
    const added = store.awaited
    t.equal(fenceOf(store), outcomes.pending)
    t.ok(store.awaited > added, 'durable fence means durable earlier adds')
    t.equal(store.add(addRequest({ entry: 1 })), statuses.fenced, 'before it is durable')
    t.equal(store.read(...ledgerOne, 0), statuses.ok)
    t.equal(store.read(...ledgerOne, 1), statuses.noEntry)
    t.equal(store.add(addRequest({ entry: 1 }, { flags: recovery })), outcomes.pending)
    t.equal(fenceOf(store), outcomes.pending, 'a second one waits for the same record')
    t.equal(journal.appended.filter(({ type }) => type === recordTypes.fence).length, 1)
    journal.commit()
    t.equal(fenceOf(store), statuses.ok)
    t.end()
  })

  t.test('an unknown ledger is fenced, key and all, and stays so after a crash', (t) => {
    const { store, journal, crash } = bench()
    t.equal(fenceOf(store), outcomes.pending)
    t.equal(store.read(...ledgerOne, -1), statuses.noEntry, 'the negative that recovery counts')
    journal.commit()
    const after = crash().store
    t.equal(after.add(addRequest({ entry: 0 })), statuses.fenced)
    t.equal(after.add(addRequest({ entry: 0 }, { key: otherKey })), statuses.unauthorized)
    t.equal(after.read(...ledgerOne, 0), statuses.noEntry)
    t.equal(after.add(addRequest({ entry: 0 }, { flags: recovery })), outcomes.pending)
    t.equal(fenceOf(after), statuses.ok, 'and is durable already')
    t.end()
  })

  t.test('a fence that a crash took was never reported', (t) => {
    const { store, crash } = bench()
    t.equal(fenceOf(store), outcomes.pending)
    t.equal(crash().store.add(addRequest({ entry: 0 })), outcomes.pending)
    t.end()
  })

  t.test('without room for its record a fence holds in memory and is not reported', (t) => {
    const { store, journal } = bench()
    store.add(addRequest({ entry: 0 }))
    journal.commit()
    journal.reserveGone = true
    t.equal(fenceOf(store), outcomes.blocked)
    t.equal(store.add(addRequest({ entry: 1 })), statuses.fenced)
    journal.isFull = true
    t.equal(fenceOf(store), statuses.io, 'no reserve: unknown, not OK')
    journal.isFull = false
    journal.reserveGone = false
    t.equal(fenceOf(store), outcomes.pending, 'tried again')
    t.end()
  })

  t.test('fences, keys and explicit positions outlive the segment that held them', (t) => {
    const { store, journal, crash } = bench()
    fenceOf(store, 1)
    fenceOf(store, 2)
    store.add(addRequest({ ledger: 3 }))
    store.writeLac(request({ body: lacPacket(3, 6) }))
    journal.commit()
    store.delete(0, 2, () => undefined)
    journal.commit()
    journal.roll()
    store.delete(0, 3, () => undefined)
    journal.commit()
    store.writeLac(request({ ledger: 4, body: lacPacket(4, 8) }))
    store.writeLac(request({ ledger: 4, body: lacPacket(4, 9) }))
    journal.commit()
    journal.roll()
    journal.recycle(0)
    journal.recycle(1)
    const after = crash()
    t.equal(after.store.add(addRequest({ ledger: 1 })), statuses.fenced)
    t.equal(after.store.add(addRequest({ ledger: 1 }, { key: otherKey })), statuses.unauthorized)
    for (const ledger of [2, 3]) {
      t.equal(after.store.add(addRequest({ ledger })), statuses.fenced, 'deleted is remembered')
      t.equal(after.store.read(0, ledger, 0), statuses.noLedger)
    }
    t.equal(after.store.readExplicitLac(0, 4), statuses.ok)
    const { slot, offset8 } = after.store.place
    t.same(after.journal.view(slot, offset8), lacPacket(4, 9))
    t.equal(after.store.add(addRequest({ ledger: 4 }, { key: otherKey })), statuses.unauthorized)
    t.end()
  })
  t.end()
})

t.test('three answers to a look-up (A11, D7, D8)', (t) => {
  t.test('absent is said of what is proven absent', (t) => {
    const { store } = bench()
    store.add(addRequest({ entry: 5 }))
    const answers = [4, 6, -2, -4096, Number.POSITIVE_INFINITY].map((id) =>
      store.read(...ledgerOne, id),
    )
    t.same(new Set(answers), new Set([statuses.noEntry]))
    t.equal(store.read(...ledgerOne, -1), statuses.ok)
    t.equal(store.read(0, 2, -1), statuses.noLedger)
    t.end()
  })

  t.test('a ledger that may have lost something never says absent', (t) => {
    const { store } = bench()
    store.add(addRequest({ entry: 5 }))
    store.suspect(0, 1)
    t.equal(store.read(...ledgerOne, 5), statuses.ok, 'what is there is served')
    t.equal(store.read(...ledgerOne, 4), statuses.unknownLedgerState)
    t.equal(store.read(...ledgerOne, -1), statuses.unknownLedgerState)
    t.equal(store.add(addRequest({ entry: 6 })), statuses.unauthorized)
    t.equal(store.add(addRequest({ entry: 6 }, { flags: recovery })), outcomes.pending)
    t.end()
  })

  t.test('a bookie that forgot a ledger says so, also after fencing it', (t) => {
    const { store } = bench({ mayHaveLost: (_, low) => low < 100 })
    t.equal(store.read(...ledgerOne, 0), statuses.unknownLedgerState)
    t.equal(store.add(addRequest({ entry: 0 })), statuses.unauthorized)
    t.equal(fenceOf(store), outcomes.pending)
    t.equal(store.read(...ledgerOne, 0), statuses.unknownLedgerState, 'not "no entry"')
    t.equal(store.add(addRequest({ entry: 3 }, { flags: recovery })), outcomes.pending)
    t.equal(store.read(...ledgerOne, 2), statuses.unknownLedgerState)
    t.equal(store.read(...ledgerOne, 3), statuses.ok)
    t.equal(store.read(0, 100, 0), statuses.noLedger)
    t.equal(store.add(addRequest({ ledger: 100 })), outcomes.pending)
    t.end()
  })
  t.end()
})

t.test('last confirmed positions', (t) => {
  const { store, journal, crash, advanced } = bench()
  t.equal(store.writeLac(request({ body: lacPacket(1, 3) })), outcomes.pending)
  t.equal(store.lac(...ledgerOne), 3)
  store.add(addRequest({ entry: 9, lac: 7 }))
  store.add(addRequest({ entry: 8, lac: 5 }))
  t.equal(store.lac(...ledgerOne), 7, 'never decreases')
  store.writeLac(request({ body: lacPacket(1, 8) }))
  store.writeLac(request({ body: lacPacket(1, 2) }))
  t.equal(store.readExplicitLac(...ledgerOne), statuses.ok)
  t.same(journal.view(store.place.slot, store.place.offset8), lacPacket(1, 8))
  t.equal(advanced.length, 0, 'nobody watches')
  journal.commit()
  const after = crash().store
  t.equal(after.lac(...ledgerOne), 8)
  t.equal(after.readExplicitLac(...ledgerOne), statuses.ok)
  t.equal(after.readExplicitLac(0, 2), statuses.noLedger)
  const bad = [lacPacket(-1, 2), lacPacket(1, 2).subarray(0, 15), Buffer.alloc(300)]
  for (const body of bad) t.equal(after.writeLac(request({ body })), statuses.badRequest)
  t.equal(fenceOf(after), outcomes.pending)
  t.equal(after.writeLac(request({ body: lacPacket(1, 9) })), outcomes.pending, 'fenced or not')
  t.end()
})

t.test('read-only', (t) => {
  const { store, journal } = bench()
  store.add(addRequest({ entry: 0 }))
  journal.commit()
  for (const readOnly of ['full', 'chosen']) {
    journal.isFull = readOnly === 'full'
    store.readOnly = readOnly === 'chosen'
    t.equal(
      store.add(addRequest({ entry: 1 }, { key: otherKey })),
      statuses.readOnly,
      'comes first',
    )
    t.equal(store.add(addRequest({ entry: 1 }, { flags: recovery })), statuses.readOnly)
    t.equal(store.add(addRequest({ entry: 1 }, { priority: 0x80000000 })), statuses.readOnly)
    t.equal(store.writeLac(request({ body: lacPacket(1, 0), priority: 100 })), statuses.readOnly)
    const id = readOnly === 'full' ? 1 : 2
    t.equal(store.add(addRequest({ entry: id }, { priority: 100 })), outcomes.pending)
    t.equal(store.read(...ledgerOne, 0), statuses.ok)
  }
  journal.isFull = true
  t.equal(fenceOf(store), outcomes.pending)
  journal.reserveGone = true
  t.equal(
    store.add(addRequest({ entry: 7 }, { flags: highPriority | recovery })),
    statuses.readOnly,
  )
  journal.isFull = false
  journal.reserveGone = false
  store.readOnly = false
  t.equal(store.add(addRequest({ ledger: 5 })), outcomes.pending, 'back by itself')
  t.end()
})

t.test('deletion', (t) => {
  const { store, journal, crash } = bench()
  for (let entry = 0; entry < 100; entry++) store.add(addRequest({ entry }))
  store.add(addRequest({ ledger: 2 }))
  journal.commit()
  let done = false
  t.ok(store.delete(0, 1, () => (done = true)))
  t.equal(store.add(addRequest({ entry: 100 })), statuses.fenced)
  t.equal(store.add(addRequest({ entry: 100 }, { flags: recovery })), statuses.fenced)
  t.equal(store.read(...ledgerOne, 0), statuses.noLedger)
  t.equal(fenceOf(store), statuses.noLedger)
  t.equal(store.writeLac(request({ body: lacPacket(1, 0) })), statuses.noLedger)
  t.equal(journal.entries(0), 101, 'nothing is given up before the tombstone is durable')
  t.notOk(done)
  const early = crash().store
  t.equal(early.read(...ledgerOne, 0), statuses.ok, 'a crash before that brings it back')
  journal.commit()
  t.ok(done)
  t.equal(journal.entries(0), 1)
  const after = crash()
  t.equal(after.store.read(...ledgerOne, 0), statuses.noLedger)
  t.equal(after.store.add(addRequest({ entry: 100 })), statuses.fenced)
  t.equal(after.journal.entries(0), 1)
  t.equal(after.store.read(0, 2, 0), statuses.ok)
  t.end()
})
