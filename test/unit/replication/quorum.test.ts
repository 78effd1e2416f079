// Quorum arithmetic against a naive twin that enumerates, placement, holes and the texts of
// changes.
import * as fc from 'fast-check'
import t from 'tap'
import {
  endHoles,
  formatHoles,
  holesKey,
  mergeHoles,
  parseHoles,
} from '../../../src/replication/core/holes.ts'
import {
  beginRecovery,
  endRecovery,
  ensembleChange,
  fragmentOf,
  holesChange,
  writerClose,
} from '../../../src/replication/core/metadata-update.ts'
import type { MetadataChange } from '../../../src/replication/core/metadata-update.ts'
import {
  chooseEnsemble,
  chooseReplacements,
  ledgerSizes,
} from '../../../src/replication/core/placement.ts'
import {
  ackCoverage,
  canAckWithout,
  createQuorum,
  entryDecision,
  fencingCoverage,
  negativeThreshold,
  popcount,
  writeSet,
  writeSetMember,
} from '../../../src/replication/core/quorum.ts'
import type { QuorumSizes } from '../../../src/replication/core/quorum.ts'
import {
  askNext,
  cloneReader,
  createReader,
  endEntry,
  failureOf,
  onReplicaFailed,
  readFailures,
  startEntry,
  wantsSpeculation,
} from '../../../src/replication/core/reader.ts'
import { statuses } from '../../../src/wire/bookie-messages.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'

const sizes: fc.Arbitrary<QuorumSizes> = fc
  .tuple(fc.integer({ min: 1, max: 6 }), fc.nat(), fc.nat())
  .map(([ensembleSize, a, b]) => {
    const writeQuorumSize = 1 + (a % ensembleSize)
    return { ensembleSize, writeQuorumSize, ackQuorumSize: 1 + (b % writeQuorumSize) }
  })
const entry = fc.oneof(fc.nat(100), fc.nat({ max: Number.MAX_SAFE_INTEGER }))

// The naive twin: sets and subsets.
const writeSetOf = ({ ensembleSize, writeQuorumSize }: QuorumSizes, entryId: number): number[] =>
  Array.from({ length: writeQuorumSize }, (_, j) =>
    Number((BigInt(entryId) + BigInt(j)) % BigInt(ensembleSize)),
  )
const members = (mask: number): number[] => [...Array(30).keys()].filter((i) => (mask >>> i) & 1)
const subsets = <T>(of: readonly T[]): T[][] =>
  of.reduce<T[][]>((all, each) => [...all, ...all.map((one) => [...one, each])], [[]])
const ackSets = (size: QuorumSizes, entryId: number): number[][] =>
  subsets(writeSetOf(size, entryId)).filter((one) => one.length === size.ackQuorumSize)

t.test('write sets', (t) => {
  fc.assert(
    fc.property(sizes, entry, (size, entryId) => {
      const quorum = createQuorum(size)
      const expected = writeSetOf(size, entryId)
      const inOrder = expected.map((_, j) => writeSetMember(quorum, entryId, j))
      return (
        String(inOrder) === String(expected) &&
        String(members(writeSet(quorum, entryId))) === String(expected.sort((a, b) => a - b))
      )
    }),
  )
  fc.assert(fc.property(fc.nat(2 ** 30 - 1), (mask) => popcount(mask) === members(mask).length))
  t.throws(() => createQuorum({ ensembleSize: 2, writeQuorumSize: 3, ackQuorumSize: 1 }))
  t.end()
})

t.test('an entry is acknowledged, may be, or cannot be any more', (t) => {
  const mask = fc.nat(63)
  fc.assert(
    fc.property(sizes, fc.nat(20), mask, mask, (size, entryId, acked, failed) => {
      const has = (m: number, i: number): boolean => ((m >>> i) & 1) === 1
      const sets = ackSets(size, entryId)
      const done = sets.some((one) => one.every((i) => has(acked, i)))
      const may = sets.some((one) => one.every((i) => has(acked, i) || !has(failed, i)))
      const expected = done ? 'acked' : may ? 'undecided' : 'impossible'
      return ackCoverage(createQuorum(size), entryId, { acked, failed }) === expected
    }),
  )
  t.end()
})

t.test('fencing covers when no ack quorum of any entry is without a fenced member', (t) => {
  const mask = fc.nat(63)
  fc.assert(
    fc.property(sizes, mask, mask, (size, answered, lost) => {
      const known = answered & ~lost
      const has = (m: number, i: number): boolean => ((m >>> i) & 1) === 1
      const every = [...Array(size.ensembleSize).keys()].flatMap((e) => ackSets(size, e))
      const covered = every.every((one) => one.some((i) => has(known, i)))
      const hopeless = every.some((one) => one.every((i) => has(lost, i)))
      const expected = hopeless ? 'impossible' : covered ? 'covered' : 'undecided'
      return fencingCoverage(createQuorum(size), { known, failed: lost }) === expected
    }),
  )
  t.end()
})

t.test('an entry is absent when no ack quorum can have it, as soon as that is known', (t) => {
  const replies = fc.array(fc.constantFrom('found', 'negative', 'unknown', 'none'), {
    minLength: 6,
    maxLength: 6,
  })
  fc.assert(
    fc.property(sizes, fc.nat(20), replies, (size, entryId, each) => {
      const masks = { found: 0, negative: 0, unknown: 0, none: 0 }
      each.forEach((reply, i) => (masks[reply] |= 1 << i))
      const set = writeSetOf(size, entryId)
      const of = (what: string): number[] => set.filter((i) => each[i] === what)
      const couldBeAcked = ackSets(size, entryId).some((one) =>
        one.every((i) => each[i] !== 'negative'),
      )
      const decided = of('found').length > 0 ? 'found' : couldBeAcked ? undefined : 'absent'
      const expected = decided ?? (of('none').length === 0 ? 'abort' : 'undecided')
      return entryDecision(createQuorum(size), entryId, masks) === expected
    }),
  )
  t.equal(negativeThreshold({ ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 }), 2)
  fc.assert(
    fc.property(sizes, fc.nat(63), (size, without) => {
      const possible = [...Array(size.ensembleSize).keys()].every((e) =>
        ackSets(size, e).some((one) => one.every((i) => ((without >>> i) & 1) === 0)),
      )
      return canAckWithout(createQuorum(size), without) === possible
    }),
  )
  t.end()
})

t.test('placement', (t) => {
  const below = (count: number): number => count - 1
  const avoid = new Set(['b'])
  t.equal(chooseEnsemble(['a', 'b', 'b'], { count: 3, avoid, below }), undefined)
  t.notOk(chooseEnsemble(['a', 'b', 'c'], { count: 2, avoid, below })?.includes('b'))
  t.ok(chooseEnsemble(['a', 'b', 'c'], { count: 3, avoid, below })?.includes('b'), 'if it must be')
  const quorum = createQuorum({ ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 })
  const options = { failed: 0b101, candidates: ['x', 'y', 'z', 'b', 'd'], avoid, below }
  t.same(chooseReplacements(quorum, ['x', 'y', 'z'], options), ['d', undefined, undefined])
  const last = { failed: 0b100, candidates: ['x', 'y', 'z', 'b'], avoid, below }
  const choose = (more: { lagging?: number; shun?: ReadonlySet<string> }): unknown =>
    chooseReplacements(quorum, ['x', 'y', 'z'], { ...last, ...more })
  t.same(choose({}), [undefined, undefined, undefined], 'two copies can do without it')
  t.same(choose({ lagging: 0b010 }), [undefined, undefined, 'b'], 'rather than none')
  t.same(choose({ lagging: 0b010, shun: avoid }), [undefined, undefined, undefined])

  t.same(ledgerSizes({}, 5), { ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 })
  t.same(ledgerSizes({}, 2), { ensembleSize: 2, writeQuorumSize: 2, ackQuorumSize: 2 })
  t.equal(ledgerSizes({}, 1), undefined, 'one copy is never chosen for somebody')
  t.same(ledgerSizes({ ensembleSize: 1 }, 1), {
    ensembleSize: 1,
    writeQuorumSize: 1,
    ackQuorumSize: 1,
  })
  t.same(ledgerSizes({ ensembleSize: 5, writeQuorumSize: 3, ackQuorumSize: 2 }, 4), {
    ensembleSize: 4,
    writeQuorumSize: 3,
    ackQuorumSize: 2,
  })
  t.equal(ledgerSizes({ ackQuorumSize: 3 }, 2), undefined, 'an ack quorum never shrinks')
  t.end()
})

const metadata: LedgerMetadata = {
  formatVersion: 3,
  state: 'open',
  ensembleSize: 3,
  writeQuorumSize: 3,
  ackQuorumSize: 2,
  fragments: [{ firstEntryId: 0, ensemble: ['a', 'b', 'c'] }],
  lastEntryId: -1,
  lengthBytes: 0,
  digest: 'crc32c',
  password: Buffer.alloc(0),
  ctimeMs: 1,
  customMetadata: new Map([['mine', Buffer.from('kept')]]),
  creatorToken: 1n,
}

function apply(change: MetadataChange, to: LedgerMetadata): LedgerMetadata | string {
  const verdict = change(to)
  if (verdict.type === 'refused') return verdict.reason
  return verdict.type === 'write' ? verdict.metadata : 'done'
}

function written(change: MetadataChange, to: LedgerMetadata): LedgerMetadata {
  const after = apply(change, to)
  if (typeof after === 'string') throw new Error(after)
  return after
}

t.test('changes see their own effect, and what makes no sense any more', (t) => {
  const replacements = [{ index: 1, failed: 'b', bookieId: 'd' }]
  const holes = [{ bookieId: 'b', from: 3, to: 4 }]
  const change = ensembleChange({ firstEntryId: 5, replacements, holes })
  const changed = written(change, metadata)
  t.same(changed.fragments[1], { firstEntryId: 5, ensemble: ['a', 'd', 'c'] })
  t.equal(String(changed.customMetadata.get(holesKey)), '3 4 b')
  t.equal(String(changed.customMetadata.get('mine')), 'kept')
  t.equal(apply(change, changed), 'done', 'its reply was lost')
  const again = ensembleChange({
    firstEntryId: 5,
    replacements: [{ index: 0, failed: 'a', bookieId: 'e' }],
    holes: [],
  })
  t.same(written(again, changed).fragments.slice(1), [
    { firstEntryId: 5, ensemble: ['e', 'd', 'c'] },
  ])
  t.equal(fragmentOf(changed, 4).firstEntryId, 0)
  t.equal(fragmentOf(changed, 5).firstEntryId, 5)
  const early = ensembleChange({ firstEntryId: 4, replacements: again.length ? [] : [], holes: [] })
  t.equal(apply(early, changed), 'done')

  const recovering = written(beginRecovery, changed)
  t.equal(recovering.state, 'in-recovery')
  t.equal(apply(beginRecovery, recovering), 'done')
  for (const late of [
    change,
    again,
    holesChange(holes),
    writerClose({ lastEntryId: 1, lengthBytes: 1, holes }),
  ]) {
    t.equal(apply(late, recovering), 'in-recovery', 'the writer has lost it')
  }
  const end = endRecovery({
    lastEntryId: 7,
    lengthBytes: 70,
    holes: [{ bookieId: 'c', from: 6, to: undefined }],
    fragments: [{ firstEntryId: 6, ensemble: ['a', 'd', 'f'] }],
  })
  const closed = written(end, recovering)
  t.match(closed, { state: 'closed', lastEntryId: 7, lengthBytes: 70 })
  t.equal(closed.fragments.length, 3)
  t.equal(String(closed.customMetadata.get(holesKey)), '3 4 b\n6 7 c', 'they end with the ledger')
  t.equal(apply(end, closed), 'done')
  t.equal(apply(writerClose({ lastEntryId: 7, lengthBytes: 70, holes: [] }), closed), 'done')
  t.equal(apply(writerClose({ lastEntryId: 6, lengthBytes: 60, holes: [] }), closed), 'closed')
  t.equal(apply(holesChange(holes), changed), 'done')
  t.end()
})

t.test('holes', (t) => {
  const growing = { bookieId: 'b:3181', from: 3, to: undefined }
  t.same(parseHoles(formatHoles([growing])), [growing])
  t.same(parseHoles(Buffer.from('3 * b\nwhat a later writer adds\n\n7 9 c')), [
    { bookieId: 'b', from: 3, to: undefined },
    { bookieId: 'c', from: 7, to: 9 },
  ])
  t.same(parseHoles(undefined), [])
  const ended = { ...growing, to: 8 }
  t.same(mergeHoles([growing], [ended]), [ended])
  t.same(mergeHoles([ended], [growing]), [ended], 'what has ended does not grow again')
  t.same(endHoles([growing, { ...growing, from: 12 }], 10), [{ ...growing, to: 10 }])
  t.end()
})

t.test('replicas of a read, one after another', (t) => {
  const quorum = createQuorum({ ensembleSize: 4, writeQuorumSize: 3, ackQuorumSize: 2 })
  const state = createReader(8)
  const options = { preference: { quorum, sticky: 0, poor: 0b0100 }, nowMs: 0 }
  t.equal(startEntry(state, 2, options), 3, 'the one that failed lately comes last')
  t.equal(wantsSpeculation(state, 2, { afterMs: 10, nowMs: 9 }), false)
  t.equal(wantsSpeculation(state, 2, { afterMs: 10, nowMs: 10 }), true)
  t.equal(askNext(state, 2, options), 0)
  t.equal(wantsSpeculation(state, 2, { afterMs: 10, nowMs: 19 }), false, 'patience doubles')
  t.equal(onReplicaFailed(state, 2, { index: 3, status: statuses.io }), false, 'one is still asked')
  t.equal(onReplicaFailed(state, 2, { index: 0, status: readFailures.lost }), true)
  t.equal(askNext(state, 2, options), 2)
  t.equal(onReplicaFailed(state, 2, { index: 2, status: statuses.noEntry }), true)
  t.equal(askNext(state, 2, options), -1)
  t.equal(failureOf(state, 2), statuses.io)
  const copy = cloneReader(state)
  t.equal(endEntry(state, 2), true)
  t.equal(endEntry(state, 2), false, 'a late answer finds nothing')
  t.equal(endEntry(copy, 2), true, 'a clone goes its own way')
  t.equal(onReplicaFailed(state, 2, { index: 2, status: statuses.io }), false)
  const whole = createQuorum({ ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 })
  const sticky = { preference: { quorum: whole, sticky: 1, poor: 0 }, nowMs: 0 }
  t.same(
    [3, 4, 5].map((entryId) => startEntry(state, entryId, sticky)),
    [1, 1, 1],
  )
  t.end()
})
