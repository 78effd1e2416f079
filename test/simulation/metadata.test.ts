// The checkers of what is committed to the metadata: good histories without a word, and bad ones.
import t from 'tap'
import { encodeLogRecord } from '../../src/embedded/log/core/log-record-codec.ts'
import { newLog, type LogRecord, type LogSegment } from '../../src/embedded/log/core/log-record.ts'
import { ledgerMark } from '../../src/embedded/log/parts.ts'
import type { TreeRow } from '../../src/io/index.ts'
import { createSimulatedIo, World } from '../../src/simulation/index.ts'
import { Report } from '../../src/simulation/report.ts'
import { bookieEndpointInfo, encodeBookieServiceInfo } from '../../src/wire/bookie-service-info.ts'
import { encodeLedgerMetadata } from '../../src/wire/ledger-metadata-codec.ts'
import type { LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import { ledgerPath } from '../../src/wire/ledger-path.ts'
import { ledgerProblem } from './checkers/ledger-changes.ts'
import { MetadataChecker } from './checkers/metadata.ts'
import { observedTrees } from './metadata-observer.ts'

const pathOf = (ledgerId: bigint) => ledgerPath('/ledgers', 'hierarchical', ledgerId)
const logPath = '/quire/logs/orders'
const logId = '11111111-1111-1111-1111-111111111111'

const open: LedgerMetadata = {
  formatVersion: 3,
  state: 'open',
  ensembleSize: 2,
  writeQuorumSize: 2,
  ackQuorumSize: 2,
  fragments: [{ firstEntryId: 0, ensemble: ['A', 'B'] }],
  lastEntryId: -1,
  lengthBytes: 0,
  digest: 'crc32c',
  password: Buffer.alloc(0),
  ctimeMs: 1,
  customMetadata: new Map(),
  creatorToken: 0n,
}
const second = { firstEntryId: 2, ensemble: ['A', 'C'] }
const grown: LedgerMetadata = { ...open, fragments: [...open.fragments, second] }
const recovering: LedgerMetadata = { ...open, state: 'in-recovery' }
const closedAt = (lastEntryId: number, metadata: LedgerMetadata = open): LedgerMetadata => ({
  ...metadata,
  state: 'closed',
  lastEntryId,
  lengthBytes: 10,
})

const segment = (seq: number, fields: Partial<LogSegment> = {}): LogSegment => ({
  seq,
  ledgerId: BigInt(seq),
  firstPosition: 0,
  endPosition: undefined,
  epoch: 1,
  ...fields,
})
const claimed: LogRecord = {
  ...newLog({ name: 'orders', logId }),
  ownerEpoch: 1,
  ownerToken: logId,
}
const record = (...segments: LogSegment[]): LogRecord => ({ ...claimed, segments })
const snapshot = { position: 4, ledgerId: 9n, bytes: 1, crc: 1, format: 'f', epoch: 1 }

/** Commits to one node of the tree: each is the next version. */
class Tree {
  readonly checker: MetadataChecker
  readonly #versions = new Map<string, number>()

  constructor(checker: MetadataChecker) {
    this.checker = checker
    const data = (host: string) => encodeBookieServiceInfo(bookieEndpointInfo(host, 3181))
    for (const id of ['A', 'B', 'C']) {
      checker.saw({ path: `/ledgers/available/${id}`, version: 0, data: data(id.toLowerCase()) })
    }
  }

  put(path: string, data: Uint8Array): void {
    const version = (this.#versions.get(path) ?? -1) + 1
    this.#versions.set(path, version)
    this.checker.saw({ path, version, data })
  }

  ledger(ledgerId: bigint, ...history: LedgerMetadata[]): void {
    for (const metadata of history) this.put(pathOf(ledgerId), encodeLedgerMetadata(metadata))
  }

  log(...history: LogRecord[]): void {
    for (const each of [newLog({ name: 'orders', logId }), ...history])
      this.put(logPath, encodeLogRecord(each))
  }
}

/** Two entries are acknowledged, by a and b; the third is with a alone. */
function said(history: (tree: Tree) => void, states: readonly string[] = []): string[] {
  const report = new Report(() => 0)
  const checker = new MetadataChecker({
    report,
    holders: (_ledgerId, entryId) => (entryId < 2 ? ['a', 'b'] : ['a']),
    fenced: (ledgerId) => (ledgerId === 6n ? [] : ['a']),
    written: (ledgerId) => (ledgerId === 8n ? ['a'] : []),
    ackedCount: (ledgerId) => (ledgerId === 7n ? 2 : undefined),
    closed: () => undefined,
    states: new Set(states),
  })
  history(new Tree(checker))
  return [...new Set(report.violations.map(({ checker: name }) => name))]
}

t.test('ledgers that change as they may', async (t) => {
  const hole = new Map([['quire.missing', Buffer.from('0 * B')]])
  const histories: Record<string, LedgerMetadata[]> = {
    'closed by its writer': [open, closedAt(1)],
    'with a change of its ensemble': [open, grown, closedAt(1, grown)],
    'with a hole': [open, { ...open, customMetadata: hole }],
    recovered: [open, recovering, closedAt(1)],
    'recovered with a new fragment': [open, recovering, closedAt(1, grown)],
    repaired: [
      open,
      closedAt(1),
      closedAt(1, { ...open, fragments: [{ firstEntryId: 0, ensemble: ['A', 'C'] }] }),
    ],
  }
  for (const [what, history] of Object.entries(histories)) {
    t.same(
      said((tree) => tree.ledger(7n, ...history)),
      [],
      what,
    )
  }
  t.same(
    said((tree) => {
      tree.ledger(7n, open, closedAt(1))
      tree.checker.removed(pathOf(7n))
      tree.checker.written(7n)
      t.equal(tree.checker.owners(6n, 0), undefined)
      tree.ledger(8n, open, grown)
      t.same(tree.checker.owners(8n, 5), ['a', 'c'])
    }),
    [],
    'deleted, and named by machines',
  )
})

t.test('ledgers that change as they may not', async (t) => {
  const early = { ...open, fragments: [...open.fragments, { ...second, firstEntryId: 1 }] }
  const twice = { ...open, fragments: [...open.fragments, { ...second, firstEntryId: 0 }] }
  const old = { ...grown, fragments: [{ firstEntryId: 0, ensemble: ['C', 'B'] }, second] }
  const histories: Record<string, LedgerMetadata[]> = {
    'a new fragment before what is acknowledged': [open, early],
    'a change that was made twice': [open, grown, grown],
    'a change of an older fragment': [open, grown, old],
    'an ensemble of the wrong size': [
      { ...open, fragments: [{ firstEntryId: 0, ensemble: ['A', 'A'] }] },
    ],
    'open again': [open, recovering, open],
    'open after its end': [open, closedAt(1), open],
    'fragments kept early by a recovery': [open, recovering, { ...grown, state: 'in-recovery' }],
    'another end': [open, closedAt(1), closedAt(0)],
    'made closed': [closedAt(-1)],
    'another quorum': [open, { ...open, ackQuorumSize: 1 }],
  }
  t.match(ledgerProblem({ before: open, after: twice, ackedCount: 0 }), /fragments at 0,0/)
  for (const [what, history] of Object.entries(histories)) {
    t.same(
      said((tree) => tree.ledger(7n, ...history)),
      ['I12'],
      what,
    )
  }
  const bad: [string, string, (tree: Tree) => void][] = [
    ['I9', 'recovered, and not fenced', (tree) => tree.ledger(6n, open, recovering, closedAt(1))],
    [
      'I3',
      'recovered, and a copy behind its end may yet be one of enough',
      (tree) => tree.ledger(8n, open, recovering, closedAt(1)),
    ],
    ['I12', 'closed twice', (tree) => tree.ledger(7n, open, closedAt(1), closedAt(1))],
    [
      'log segments',
      'an end of a ledger that is open',
      (tree) => {
        tree.ledger(1n, open)
        tree.log(claimed, record(segment(1, { endPosition: 5 })))
      },
    ],
    ['I8', 'closed behind an entry with one copy', (tree) => tree.ledger(7n, open, closedAt(2))],
    [
      'I12',
      'a version is skipped',
      ({ checker }) => {
        checker.saw({ path: pathOf(7n), version: 1, data: encodeLedgerMetadata(open) })
      },
    ],
    [
      'I12',
      'two values of a version',
      ({ checker }) => {
        checker.saw({ path: pathOf(7n), version: 0, data: encodeLedgerMetadata(open) })
        const other = encodeLedgerMetadata({ ...open, ctimeMs: 2 })
        checker.saw({ path: pathOf(7n), version: 0, data: other })
      },
    ],
    ['I12', 'no metadata', (tree) => tree.put(pathOf(7n), Buffer.from('none'))],
    ['log segments', 'no record', (tree) => tree.put(logPath, Buffer.from('none'))],
    [
      'I14',
      'an open ledger is deleted',
      (tree) => {
        tree.ledger(7n, open)
        tree.checker.removed(pathOf(7n))
      },
    ],
    [
      'I14',
      'a segment is deleted',
      (tree) => {
        tree.log(claimed, record(segment(1)))
        tree.ledger(1n, open, closedAt(1))
        tree.checker.removed(pathOf(1n))
      },
    ],
    [
      'I13',
      'entries before the log names the ledger',
      (tree) => {
        const customMetadata = ledgerMark({ logId, epoch: 1, kind: 'segment', seq: 1 })
        tree.ledger(1n, { ...open, customMetadata })
        tree.checker.written(1n)
      },
    ],
  ]
  for (const [expected, what, history] of bad) t.same(said(history), [expected], what)
})

t.test('a write whose outcome nobody heard', async (t) => {
  const version = 1
  const saw = (attempted: boolean) => (tree: Tree) => {
    const { checker } = tree
    tree.ledger(7n, open)
    const path = pathOf(7n)
    if (attempted) checker.attempted({ path, version, data: encodeLedgerMetadata(recovering) })
    checker.saw({ path, version: version + 1, data: encodeLedgerMetadata(closedAt(1)) })
  }
  t.same(said(saw(true)), [], 'is taken for done when the next one stands on it')
  t.same(said(saw(false)), ['I12'], 'must have been made by somebody')
})

t.test('logs', async (t) => {
  const first = segment(1, { endPosition: 5 })
  const next = segment(2, { firstPosition: 5 })
  const two = { ...claimed, ownerEpoch: 2, ownerToken: `${logId.slice(0, -1)}2` }
  t.same(
    said((tree) => {
      const customMetadata = ledgerMark({ logId, epoch: 1, kind: 'segment', seq: 1 })
      tree.ledger(1n, { ...open, customMetadata })
      const rolled = record(first, next)
      tree.log(claimed, record(segment(1)))
      tree.checker.written(1n)
      tree.ledger(1n, closedAt(1, { ...open, customMetadata }))
      tree.put(logPath, encodeLogRecord(rolled))
      const kept = { ...rolled, snapshots: [snapshot, { ...snapshot, ledgerId: 8n, position: 3 }] }
      tree.put(logPath, encodeLogRecord({ ...rolled, snapshots: kept.snapshots.slice(1) }))
      tree.put(logPath, encodeLogRecord(kept))
      const later = { ...two, segments: rolled.segments, snapshots: kept.snapshots }
      tree.put(logPath, encodeLogRecord(later))
      tree.put(
        logPath,
        encodeLogRecord({ ...later, segments: [first, { ...next, endPosition: 5 }] }),
      )
      const third = segment(3, { firstPosition: 5, epoch: 2 })
      tree.put(logPath, encodeLogRecord({ ...later, segments: [first, third] }))
    }),
    [],
  )
  const bad: [string, string, ...LogRecord[]][] = [
    ['log epochs', 'two epochs at once', { ...claimed, ownerEpoch: 2 }],
    ['log epochs', 'an epoch without an owner', claimed, { ...claimed, ownerEpoch: 2 }],
    ['log segments', 'a segment of an older owner', claimed, { ...two, segments: [segment(1)] }],
    ['log segments', 'a hole', record(segment(1, { firstPosition: 3 }))],
    ['log segments', 'two open', record(segment(1), segment(2))],
    ['log segments', 'a ledger twice', record(first, { ...next, ledgerId: 1n })],
    ['log segments', 'a segment is lost', record(first, next), record(next)],
    ['log segments', 'another end', record(first), record({ ...first, endPosition: 4 })],
    ['log snapshots', 'one of an older owner', claimed, { ...two, snapshots: [snapshot] }],
    [
      'log snapshots',
      'an older one in its place',
      { ...claimed, snapshots: [snapshot] },
      { ...claimed, snapshots: [{ ...snapshot, ledgerId: 8n, position: 3 }] },
    ],
    [
      'log snapshots',
      'more is given back than it has',
      { ...record(first, next), snapshots: [snapshot] },
      { ...record(next), truncatedBefore: 5, snapshots: [snapshot] },
    ],
  ]
  for (const [expected, what, ...history] of bad) {
    const found = said((tree) => tree.log(...history))
    t.ok(found.includes(expected), what, { found })
  }
  const cut = [record(first, next), { ...record(next), truncatedBefore: 5 }]
  t.same(
    said((tree) => tree.log(claimed, ...cut)),
    [],
    'a log gives back what it likes',
  )
  t.same(
    said((tree) => tree.log(claimed, ...cut), ['orders']),
    ['log snapshots'],
    'one of a state only what a snapshot holds',
  )
})

t.test('what a store commits and gives is seen', async (t) => {
  const report = new Report(() => 0)
  const holders = () => []
  const none = () => undefined
  const parts = { report, holders, fenced: holders, ackedCount: none, closed: none }
  const checker = new MetadataChecker({ ...parts, states: new Set() })
  const row = (version: number, metadata: LedgerMetadata): TreeRow => ({
    path: pathOf(7n),
    data: encodeLedgerMetadata(metadata),
    version,
    czxid: 1,
    mzxid: 1,
    pzxid: 1,
    ctimeMs: 0,
    mtimeMs: 0,
    cversion: 0,
    sequence: 0,
    childCount: 0,
    owner: 0n,
    kind: 'persistent',
    ttlMs: 0,
  })
  const put = (each: TreeRow) => ({ put: [each], remove: [], facts: new Map() })
  const world = new World({ seed: 1 })
  const { trees, files } = createSimulatedIo(world, 'a')
  await world.settle(files.makeDirectory('/data'))
  const inner = await world.settle(trees.open('/data/tree'))
  const store = await observedTrees({ open: async () => inner }, checker).open('tree')
  await world.settle(store.commit(put(row(0, open))))
  await world.settle(inner.commit(put(row(1, grown))))
  t.same(checker.owners(7n, 2), ['A', 'B'])
  t.match(await world.settle(store.get([pathOf(7n)])), [{ version: 1 }])
  t.same(checker.owners(7n, 2), ['A', 'C'])
  await world.settle(store.apply(put(row(2, closedAt(-1, grown)))))
  t.same(report.violations, [])
  await world.settle(store.commit(put(row(2, closedAt(0, grown)))))
  t.match(report.violations, [{ checker: 'I12' }])
})
