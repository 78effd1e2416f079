import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import { ledgerFlags, LedgerIndex, maxStoredId } from '../../../../src/bookie/index/ledger-index.ts'
import { PagedWords, recordsPerPage } from '../../../../src/bookie/index/paged-words.ts'

const place = (): { slot: number; offset8: number } => ({ slot: 0, offset8: 0 })
const key = (text: string): Buffer => Buffer.from(text.padEnd(20, '.'))
const whole = (bytes: Buffer): { start: number; end: number } => ({ start: 0, end: bytes.length })

t.test('paged words give memory back page by page', (t) => {
  const words = new PagedWords(3)
  const first = Array.from({ length: recordsPerPage * 3 }, () => words.allocate())
  t.equal(new Set(first).size, first.length)
  t.notOk(first.includes(0), 'record 0 stands for none')
  const full = words.bytes
  for (const record of first) words.set(record, 2, record)
  t.ok(first.every((record) => words.get(record, 2) === record))
  for (const record of first) words.release(record)
  t.equal(words.live, 0)
  t.ok(words.bytes < full / 2, 'freed pages are given back')
  const again = Array.from({ length: recordsPerPage * 3 }, () => words.allocate())
  t.equal(new Set(again).size, again.length)
  t.ok(again.every((record) => [0, 1, 2].every((word) => words.get(record, word) === 0)))
  t.equal(words.bytes, full)
  t.end()
})

interface Twin {
  key: string
  lac: number
  fenced: boolean
  explicit: number
  entries: Map<number, number>
}

const ledgerId = fc.integer({ min: 0, max: 40 })
// Dense, sparse, and beyond 32 bits: each kind of representation and its changes.
const entryId = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 10_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 32, 2 ** 37 + 5, maxStoredId - 1, maxStoredId) },
)
const step = fc.oneof(
  {
    weight: 20,
    arbitrary: fc.record({ kind: fc.constant('add'), ledger: ledgerId, entry: entryId }),
  },
  ...['fence', 'bury', 'lac', 'explicit'].map((kind) => ({
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant(kind), ledger: ledgerId, entry: entryId }),
  })),
)

const ascending = (numbers: number[]): number[] => numbers.toSorted((a, b) => a - b)

/** An index beside a twin of plain maps: each step is made on both. */
class Pair {
  readonly index = new LedgerIndex(7)
  readonly twins = new Map<number, Twin>()
  readonly slots = new Map<number, number>()
  #tick = 0

  step({ kind, ledger, entry }: { kind: string; ledger: number; entry: number }): void {
    const { record, twin } = this.#open(ledger)
    if (kind === 'add') this.#add(record, twin, entry)
    if (kind === 'fence') {
      this.index.mark(record, ledgerFlags.fenced)
      twin.fenced = true
    }
    if (kind === 'lac') {
      const bounded = Math.min(entry, maxStoredId - 1)
      assert.equal(this.index.raiseLac(record, entry), bounded > twin.lac)
      twin.lac = Math.max(twin.lac, bounded)
    }
    if (kind === 'explicit') {
      this.index.setExplicitLac(record, Math.min(entry, maxStoredId - 1), {
        slot: 9,
        offset8: 77,
      })
      twin.explicit = Math.min(entry, maxStoredId - 1)
    }
    if (kind === 'bury') this.#bury(ledger, record)
  }

  check(): void {
    const { index, twins } = this
    assert.equal(index.ledgerCount, twins.size)
    assert.equal(
      index.entryCount,
      [...twins.values()].reduce((sum, twin) => sum + twin.entries.size, 0),
    )
    assert.equal(index.keyCount, new Set([...twins.values()].map((twin) => twin.key)).size)
    for (const [ledger, twin] of twins) this.#checkLedger(index.find(ledger >> 3, ledger), twin)
    const seen: number[] = []
    let at = 0
    do {
      at = index.walk(at, (record) => seen.push(index.idLow(record)))
    } while (at !== 0)
    assert.deepEqual(ascending(seen), ascending([...twins.keys()]))
  }

  #checkLedger(record: number, twin: Twin): void {
    const { index } = this
    assert.equal(index.lac(record), twin.lac)
    assert.equal(index.has(record, ledgerFlags.fenced), twin.fenced)
    assert.equal(index.explicitLacValue(record), twin.explicit)
    assert.equal(index.explicitLac(record, place()), twin.explicit >= 0)
    assert.equal(index.lastEntry(record), Math.max(-1, ...twin.entries.keys()))
    const found = place()
    for (const [entry, tick] of twin.entries) {
      assert.ok(index.lookup(record, entry, found))
      assert.deepEqual(found, { slot: tick % 65_536, offset8: tick * 1000 })
      for (const near of [entry - 1, entry + 1, entry + 32]) {
        assert.equal(index.lookup(record, near, found), twin.entries.has(near))
      }
    }
    const listed: number[] = []
    index.runs(record, (first, last) => {
      assert.ok(listed.length === 0 || first > (listed.at(-1) ?? 0) + 1, 'runs are maximal')
      for (let id = first; id <= last; id++) listed.push(id)
    })
    assert.deepEqual(listed, ascending([...twin.entries.keys()]))
  }

  #open(ledger: number): { record: number; twin: Twin } {
    const known = this.twins.get(ledger)
    if (known) return { record: this.index.find(ledger >> 3, ledger), twin: known }
    assert.equal(this.index.find(ledger >> 3, ledger), 0)
    const record = this.index.create(ledger >> 3, ledger)
    const text = `key ${ledger % 5}`
    this.index.setKey(record, key(text), whole(key(text)))
    assert.ok(this.index.keyMatches(record, key(text), whole(key(text))))
    assert.ok(!this.index.keyMatches(record, key('other'), whole(key('other'))))
    const twin = { key: text, lac: -1, fenced: false, explicit: -1, entries: new Map() }
    this.twins.set(ledger, twin)
    return { record, twin }
  }

  #add(record: number, twin: Twin, entry: number): void {
    if (twin.entries.has(entry)) return
    const tick = ++this.#tick
    this.index.insert(record, entry, { slot: tick % 65_536, offset8: tick * 1000 })
    twin.entries.set(entry, tick)
  }

  #bury(ledger: number, record: number): void {
    const heard: number[] = []
    const twin = this.twins.get(ledger)
    this.index.bury(record, { second: 1234, segment: 7 }, (slot) => heard.push(slot))
    assert.deepEqual(ascending(heard), ascending([...(twin?.entries.values() ?? [])]))
    assert.ok(this.index.has(record, ledgerFlags.deleted))
    assert.deepEqual(this.index.burial(record), { second: 1234, segment: 7 })
    assert.ok(!this.index.lookup(record, 0, place()))
    this.index.forget(record)
    this.twins.delete(ledger)
  }
}

t.test('the index against a map', (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const pair = new Pair()
      for (const one of steps) pair.step(one)
      pair.check()
    }),
    { numRuns: 40, seed: 4 },
  )
  t.end()
})

t.test('keys of any length are told apart', (t) => {
  const index = new LedgerIndex(1)
  const long = Buffer.alloc(300, 7)
  const cases = [Buffer.alloc(0), Buffer.alloc(1), Buffer.alloc(19), Buffer.alloc(20), long]
  cases.forEach((bytes, at) => index.setKey(index.create(0, at + 1), bytes, whole(bytes)))
  cases.forEach((_, at) => {
    const matching = cases.filter((bytes) => {
      return index.keyMatches(index.find(0, at + 1), bytes, whole(bytes))
    })
    t.same(matching, [cases[at]])
  })
  const other = Buffer.from(long)
  other[299] = 8
  t.notOk(index.keyMatches(index.find(0, 5), other, whole(other)))
  const digest = Buffer.alloc(20)
  t.notOk(index.keyMatches(index.find(0, 5), digest, whole(digest)))
  t.end()
})

/** Bytes for each ledger and entry as the budget of the index counts them: 64 and 16. */
function budget(ledgers: number, entries: number): number {
  return ledgers * 64 + entries * 16
}

t.test('memory stays within 64 bytes a ledger and 16 an entry', (t) => {
  const shapes = [
    { ledgers: 1_000_000, each: 1, keys: [true, false] },
    { ledgers: 1, each: 1_000_000, keys: [false] },
    { ledgers: 100_000, each: 10, keys: [true, false] },
  ]
  for (const { ledgers, each, keys } of shapes) {
    for (const distinct of keys) {
      const index = new LedgerIndex(3)
      const bytes = Buffer.alloc(20, 'k')
      const records = new Uint32Array(ledgers)
      const where = { slot: 1, offset8: 2 }
      for (let ledger = 0; ledger < ledgers; ledger++) {
        if (distinct) bytes.writeUInt32BE(ledger, 8)
        const record = index.create(0, ledger)
        index.setKey(record, bytes, { start: 0, end: 20 })
        records[ledger] = record
      }
      // All ledgers grow together: what each of them leaves behind on the way counts too.
      let most = 0
      for (let entry = 0; entry < each; entry++) {
        for (let ledger = 0; ledger < ledgers; ledger++) {
          index.insert(records[ledger] ?? 0, entry, where)
        }
        if (ledgers > 1) most = Math.max(most, index.bytes)
      }
      most = Math.max(most, index.bytes)
      t.equal(index.entryCount, ledgers * each)
      t.ok(
        most <= budget(ledgers, ledgers * each),
        `${ledgers} ledgers of ${each}, ${distinct ? 'own keys' : 'one key'}: ${most} bytes`,
      )
    }
  }
  t.end()
})

t.test('deletion gives memory back', (t) => {
  const index = new LedgerIndex(3)
  const where = { slot: 1, offset8: 2 }
  for (let ledger = 0; ledger < 20_000; ledger++) {
    const record = index.create(0, ledger)
    for (let entry = 0; entry < 40; entry++) index.insert(record, entry, where)
  }
  const full = index.bytes
  for (let ledger = 0; ledger < 20_000; ledger++) {
    const record = index.find(0, ledger)
    index.bury(record, { second: 0, segment: 1 }, () => undefined)
    index.forget(record)
  }
  t.equal(index.entryCount, 0)
  t.ok(index.bytes < full / 3, `${index.bytes} of ${full} bytes are left`)
  t.end()
})
