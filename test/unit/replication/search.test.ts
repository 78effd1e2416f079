// All histories of small ledgers, and random ones of larger, through the real cores (A15); and
// proof that this sees what it is there to see: with a defect in a core, or in what it is told, an
// invariant breaks.
import { join } from 'node:path'
import t from 'tap'
import { pseudoRandom } from '../../support/ledger-bench.ts'
import { loadCore, search, walk } from '../../support/replication-model.ts'
import type { Model, SearchResult } from '../../support/replication-model.ts'

type Size = Omit<Model, 'core'>

const three = { ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2, bookies: 3 }
const spare = { ...three, bookies: 4 }
const striped = { ensembleSize: 4, writeQuorumSize: 3, ackQuorumSize: 2, bookies: 5 }
const still = { recoverers: 0, crashes: 0, timeouts: 0 }

const complete: Record<string, Size> = {
  'one entry, a recovery, a crash': { ...three, ...still, entries: 1, recoverers: 1, crashes: 1 },
  'two entries on a striped ensemble, a crash, a time-out': {
    ...striped,
    ...still,
    entries: 2,
    crashes: 1,
    timeouts: 1,
  },
}

const deep: Record<string, Size> = {
  'two recoveries, no spare': { ...three, entries: 3, recoverers: 2, crashes: 1, timeouts: 2 },
  'two recoveries, a spare, late replies, a close': {
    ...spare,
    entries: 3,
    recoverers: 2,
    crashes: 1,
    timeouts: 2,
    lateReplies: true,
    writerCloses: true,
  },
  'striped, two changes, a recovery': {
    ...striped,
    entries: 3,
    recoverers: 1,
    crashes: 1,
    timeouts: 2,
    lateReplies: true,
  },
}

const walks = 250

function describe(name: string, { states, transitions, ends }: SearchResult): string {
  const seen = [...ends].map(([end, times]) => `${end}: ${times}`).join(', ')
  return `${name}: ${states} states, ${transitions} transitions; ${seen}`
}

t.test('no history breaks an invariant', async (t) => {
  const core = await loadCore(t.testdir({}))
  for (const [name, size] of Object.entries(complete)) {
    const result = search({ core, ...size }, 60_000)
    t.comment(describe(name, result))
    t.equal(result.violation?.message, undefined, name)
    t.equal(result.complete, true, 'all of them')
  }
  for (const [name, size] of Object.entries(deep)) {
    const result = walk({ core, ...size }, { walks, below: pseudoRandom(11) })
    t.comment(describe(`${walks} walks, ${name}`, result))
    t.equal(result.violation?.message, undefined, name)
  }
})

const defects: Record<string, { mutation?: [string, string]; size?: Partial<Size> }> = {
  'D1: recovery reads that do not fence': { size: { unfencedReads: true } },
  'D2: no floor under the last confirmed entry': {
    mutation: ['Math.max(state.maxLac, state.fragment.firstEntryId - 1) // R1', 'state.maxLac'],
  },
  'D3: entries acknowledged while a change is in flight': {
    mutation: ['state.gated = true', 'state.gated = false'],
  },
  'D4: acknowledging between the unsets of one change': {
    mutation: ['& ~replaced\n', '& ~replaced\n    scan(state)\n'],
  },
  'one negative too few': {
    mutation: [
      'quorum.writeQuorumSize - quorum.ackQuorumSize + 1',
      'quorum.writeQuorumSize - quorum.ackQuorumSize',
    ],
  },
  'replies of replaced members counted': {
    mutation: ['if (batch.generations[i] !== state.generations[index]) continue', ''],
  },
  'acknowledged by one': {
    mutation: [
      'if (popcount(members) < state.quorum.ackQuorumSize) break',
      'if (members === 0) break',
    ],
  },
  'closing before what was found is copied': {
    size: { window: 2 },
    mutation: [
      'state.end !== undefined && writer.lac === state.end - 1',
      'state.end !== undefined',
    ],
  },
  'the length is not read where nothing is copied': {
    mutation: ['if (copied || writer.lac < 0)', 'if (copied || state.lengthBytes === 0)'],
  },
}

/** Small ledgers in which a defect shows in many histories, if it does at all. */
const narrow: readonly Size[] = [
  { ...three, ...still, entries: 1, recoverers: 1 },
  { ...spare, ...still, entries: 2, recoverers: 1, crashes: 1 },
  { ...striped, ...still, entries: 3, crashes: 1, timeouts: 1 },
  { ...spare, ...still, entries: 2, recoverers: 1, timeouts: 1, lateReplies: true },
]

t.test('a defect is found', async (t) => {
  const directory = t.testdir({})
  for (const [name, { mutation, size }] of Object.entries(defects)) {
    // A directory each: a module is loaded once.
    const core = await loadCore(join(directory, name.replaceAll(/\W+/g, '-')), mutation)
    const below = pseudoRandom(5)
    let found: string | undefined
    for (const each of narrow) {
      const options = { walks: 3_000, below }
      found ??= walk({ core, ...each, ...size }, options).violation?.message
    }
    t.ok(found, `${name}: ${found}`)
  }
})
