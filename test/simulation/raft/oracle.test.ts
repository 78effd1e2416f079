// The oracle itself: a good history, and bad ones that it must name.
import t from 'tap'
import type { LogChange, LogEntry } from '../../../src/io/index.ts'
import type { RaftStatus } from '../../../src/metadata/raft/core/status.ts'
import { appliedFacts, cutFact, hardStateFact } from '../../../src/metadata/raft/stored.ts'
import { Report } from '../../../src/simulation/report.ts'
import { batchOf } from '../../conformance/replicated-tree-suite.ts'
import { RaftOracle } from './oracle.ts'

const configuration = {
  voters: ['a', 'b', 'c'],
  outgoing: [],
  learners: [],
  learnersNext: [],
  retired: [],
}
const status = (change: Partial<RaftStatus>): RaftStatus => ({
  role: 'follower',
  term: 1,
  leader: undefined,
  ready: false,
  commit: 0,
  applied: 0,
  lastIndex: 100,
  durable: 100,
  configuration,
  members: [],
  ...change,
})
const entry = (index: number, term: number, text: string = '', kind: number = 0): LogEntry => ({
  index,
  term,
  kind,
  data: Buffer.from(`${text} ${index} ${term}`),
})
const log = (change: Partial<LogChange>): LogChange => ({
  entries: [],
  facts: new Map(),
  ...change,
})
const hard = (term: number, vote: string): LogChange =>
  log({ facts: new Map([hardStateFact({ term, vote, commit: 0 })]) })
const appliedTo = (index: number, term: number) =>
  batchOf({ facts: appliedFacts({ index, term }, undefined) })

const look = (oracle: RaftOracle, member: string, change: Partial<RaftStatus>): void =>
  oracle.look(member, status(change), () => status(change))

type History = (oracle: RaftOracle) => void

function said(history: History): string[] {
  const report = new Report(() => 0)
  const oracle = new RaftOracle(report)
  for (const member of ['a', 'b', 'c']) {
    oracle.opened(member, { entries: [], cut: 0, applied: 0, facts: new Map() })
  }
  history(oracle)
  return [...new Set(report.violations.map(({ checker }) => checker))]
}

/** Two of three have it, and the leader says so. */
const committed: History = (oracle) => {
  oracle.appended('a', hard(1, 'a'))
  look(oracle, 'a', { role: 'leader' })
  for (const member of ['a', 'b']) oracle.appended(member, log({ entries: [entry(1, 1)] }))
  look(oracle, 'a', { role: 'leader', commit: 1 })
  oracle.applied('a', appliedTo(1, 1))
}

t.test('a good history', async (t) => {
  const good: History = (oracle) => {
    committed(oracle)
    oracle.sent({
      type: 'append-response',
      from: 'b',
      to: 'a',
      term: 1,
      rejected: false,
      index: 1,
      hintIndex: 0,
      hintTerm: 0,
    })
    oracle.appended('c', log({ entries: [entry(1, 1), entry(2, 1)] }))
    oracle.appended('b', hard(2, 'b'))
    oracle.sent({
      type: 'vote',
      from: 'b',
      to: 'c',
      term: 2,
      preVote: false,
      round: 1,
      lastIndex: 1,
      lastTerm: 1,
      transfer: false,
    })
    look(oracle, 'b', { role: 'leader', term: 2 })
    oracle.appended('c', log({ truncateFrom: 2, entries: [entry(2, 2)] }))
    oracle.appended('b', log({ entries: [entry(2, 2)] }))
    look(oracle, 'b', { role: 'leader', term: 2, commit: 2 })
    oracle.appended('b', log({ entries: [entry(3, 2, 'config', 1)] }))
    oracle.appended('b', log({ cutTo: 1, facts: new Map([cutFact({ index: 1, term: 1 })]) }))
    oracle.ended('b')
    const entries = [entry(2, 2), entry(3, 2, 'config', 1)]
    oracle.opened('b', {
      entries,
      cut: 1,
      applied: 1,
      facts: hard(2, 'b').facts as Map<string, Uint8Array>,
    })
    look(oracle, 'b', { term: 2, lastIndex: 3 })
    oracle.installed('a', { index: 3, term: 2 })
  }
  t.same(said(good), [])
})

const bad: [string, string, History][] = [
  [
    'election safety',
    'two leaders of a term',
    (o) => {
      for (const member of ['a', 'b']) look(o, member, { role: 'leader' })
    },
  ],
  [
    'durable vote',
    'two votes of a term',
    (o) => {
      o.appended('c', hard(1, 'a'))
      o.appended('c', hard(1, 'b'))
    },
  ],
  [
    'durable before sent',
    'a vote that is on no disk',
    (o) => {
      o.sent({
        type: 'vote-response',
        from: 'c',
        to: 'a',
        term: 1,
        preVote: false,
        round: 1,
        granted: true,
      })
    },
  ],
  [
    'durable before sent',
    'an acknowledgement of what is on no disk',
    (o) => {
      o.sent({
        type: 'append-response',
        from: 'c',
        to: 'a',
        term: 0,
        rejected: false,
        index: 4,
        hintIndex: 0,
        hintTerm: 0,
      })
    },
  ],
  [
    'log matching',
    'two entries of one index and term',
    (o) => {
      o.appended('a', log({ entries: [entry(1, 1)] }))
      o.appended('b', log({ entries: [entry(1, 1, 'another')] }))
    },
  ],
  [
    'log matching',
    'one entry behind two',
    (o) => {
      o.appended('a', log({ entries: [entry(1, 1), entry(2, 3)] }))
      o.appended('b', log({ entries: [entry(1, 2), entry(2, 3)] }))
    },
  ],
  [
    'leader completeness',
    'a leader without a committed entry',
    (o) => {
      committed(o)
      look(o, 'c', { role: 'leader', term: 2 })
    },
  ],
  [
    'state machine safety',
    'another entry is applied',
    (o) => {
      committed(o)
      o.appended('c', log({ entries: [entry(1, 2)] }))
      o.applied('c', appliedTo(1, 2))
    },
  ],
  [
    'durable majority',
    'one of three has it',
    (o) => {
      look(o, 'a', { role: 'leader' })
      o.appended('a', log({ entries: [entry(1, 1)] }))
      look(o, 'a', { role: 'leader', commit: 1 })
    },
  ],
  [
    'commit term',
    'an entry of an earlier term is counted',
    (o) => {
      look(o, 'a', { role: 'leader', term: 2 })
      for (const member of ['a', 'b']) o.appended(member, log({ entries: [entry(1, 1)] }))
      look(o, 'a', { role: 'leader', term: 2, commit: 1 })
    },
  ],
  [
    'change barrier',
    'a change before anything of its term is committed',
    (o) => {
      o.appended('a', log({ entries: [entry(1, 1, 'config', 1)] }))
    },
  ],
  [
    'change barrier',
    'two changes at once',
    (o) => {
      committed(o)
      o.appended('a', log({ entries: [entry(2, 1, 'config', 1), entry(3, 1, 'config', 1)] }))
    },
  ],
  [
    'committed kept',
    'a committed entry is truncated',
    (o) => {
      committed(o)
      o.appended('b', log({ truncateFrom: 1 }))
    },
  ],
  [
    'committed kept',
    'a snapshot replaces a committed entry',
    (o) => {
      committed(o)
      o.installed('b', { index: 0, term: 0 })
    },
  ],
  [
    'durability',
    'an entry is gone after a start',
    (o) => {
      o.appended('b', log({ entries: [entry(1, 1)] }))
      o.opened('b', { entries: [], cut: 0, applied: 0, facts: new Map() })
    },
  ],
  [
    'durability',
    'a vote is gone after a start',
    (o) => {
      o.appended('b', hard(1, 'a'))
      o.opened('b', { entries: [], cut: 0, applied: 0, facts: new Map() })
    },
  ],
  [
    'durability',
    'a log is used that is shorter than the one on the disk',
    (o) => {
      o.appended('b', log({ entries: [entry(1, 1), entry(2, 1)] }))
      look(o, 'b', { lastIndex: 1 })
    },
  ],
]

t.test('bad histories', async (t) => {
  for (const [expected, what, history] of bad) t.same(said(history), [expected], what)
})
