// Mistakes of the group that replicates the metadata.

import type { Canary } from './canary.ts'

/** Short, so that many seeds are looked at. */
const faultMs = 8000
/** A leader is hit while what it sends is not committed. */
const leaders = ['a leader begins', 'a leader sends entries'] as const

export const raftCanaries: readonly Canary[] = [
  {
    id: '31',
    what: 'a vote is not durable',
    world: 'group',
    runs: { faultMs },
    seed: 1,
    edits: {
      'metadata/raft/log-writer.ts': [
        ['[hardStateFact(hardState)]', '[hardStateFact({ ...hardState, vote: undefined })]'],
      ],
    },
  },
  {
    id: '32',
    what: 'a leader counts its own copy before the fsync',
    world: 'group',
    runs: { faultMs },
    seed: 1,
    edits: {
      'metadata/raft/core/commit.ts': [
        [
          'if (id === state.options.id) return state.log.durable',
          'if (id === state.options.id) return state.log.lastIndex',
        ],
      ],
    },
  },
  {
    id: '33',
    what: 'an entry of an earlier term is committed by counting its copies',
    world: 'group',
    runs: { faultMs },
    seed: 5,
    edits: {
      'metadata/raft/core/commit.ts': [
        [
          'if (index > state.commit && termAt(state.log, index) === state.term) ',
          'if (index > state.commit) ',
        ],
      ],
    },
  },
  {
    id: '34',
    what: 'a follower commits up to the end of its log, whatever was verified of it',
    world: 'group',
    runs: {
      faultMs,
      kinds: ['partition', 'one-way partition', 'cut between two', 'kill'],
      moments: leaders,
      everyMs: 1500,
    },
    seed: 17,
    edits: {
      'metadata/raft/core/follower.ts': [
        [
          'advanceCommit(state, Math.min(commit, lastNew))',
          'advanceCommit(state, Math.min(commit, state.log.lastIndex))',
        ],
        ['invariant(commit <= state.log.lastIndex,', 'invariant(commit >= 0,'],
        [
          'advanceCommit(state, commit)',
          'advanceCommit(state, Math.min(commit, state.log.lastIndex))',
        ],
      ],
      'metadata/raft/core/heartbeat.ts': [
        ['commit: Math.min(progress.match, state.commit)', 'commit: state.commit'],
      ],
    },
  },
  {
    id: '35',
    what: 'reads are confirmed before an entry of the leader’s term is committed',
    world: 'group',
    runs: { faultMs, kinds: ['kill', 'slow disk'], everyMs: 400 },
    seed: 3,
    edits: {
      'metadata/raft/core/reads.ts': [
        ['if (!isReady(state) || reads.length === 0) return', 'if (reads.length === 0) return'],
      ],
    },
  },
  {
    id: '36',
    what: 'answers to earlier heartbeats confirm a read',
    world: 'group',
    runs: { faultMs, kinds: ['pause'], moments: leaders, everyMs: 2000 },
    seed: 6,
    edits: {
      'metadata/raft/core/reads.ts': [
        [
          '(state.progress.get(id)?.ackedRound ?? 0)',
          '((state.progress.get(id)?.ackedRound ?? 0) > 0 ? state.round : 0)',
        ],
      ],
    },
  },
  {
    id: '37',
    what: 'a change of the membership does not wait for an entry of the leader’s term',
    world: 'group',
    runs: { faultMs, kinds: ['kill', 'slow disk', 'disk stall'], everyMs: 400 },
    seed: 31,
    edits: {
      'metadata/raft/core/proposals.ts': [["if (!isReady(state)) return 'not-ready'", '']],
    },
  },
  {
    id: '38',
    what: 'a stale snapshot replaces a log that is longer',
    world: 'group',
    runs: {
      faultMs,
      kinds: ['partition', 'cut between two', 'slow cable'],
      moments: ['a snapshot is sent', 'a leader sends entries'],
      everyMs: 1200,
    },
    seed: 67,
    edits: {
      'metadata/raft/core/snapshot-receive.ts': [
        ['  return index <= state.commit\n', '  return false\n'],
      ],
    },
  },
  {
    id: '39',
    what: 'a damaged log is cut before the damage, and votes',
    world: 'group',
    runs: { faultMs },
    seed: 4,
    edits: {
      'metadata/raft/stored.ts': [
        ['  const lastIndex = range', '  let lastIndex = range'],
        [
          '  const hardState = decodeHardState(facts.get(logFacts.hard))',
          '  lastIndex = Math.max(log.last, applied)\n  ' +
            'await store.append({ truncateFrom: lastIndex + 1, entries: [], facts: new Map() })\n  ' +
            'const found = decodeHardState(facts.get(logFacts.hard))\n  ' +
            'const hardState = { ...found, commit: Math.min(found.commit, lastIndex) }',
        ],
        [
          'await store.entries({ from: next, to: range.last, bytesMax: readBytes })',
          'await store.entries({ from: next, to: next, bytesMax: 1 }).catch(() => [])',
        ],
        [
          'if (entries.length === 0) throw lost(`entry ${next} is not there`)',
          'if (entries.length === 0) break',
        ],
        ['  return { terms, configurations }', '  return { terms, configurations, last }'],
        [
          '  const terms: TermRun[] = []\n',
          '  const terms: TermRun[] = []\n  let last = range.first - 1\n',
        ],
        ['      next += 1\n', '      next += 1\n      last = entry.index\n'],
      ],
    },
  },
  {
    id: '40',
    what: 'a node whose disk was wiped comes back under its id',
    runs: { founders: 3, faultMs: 5000, kinds: ['wiped disk', 'kill', 'power cut'] },
    seed: 1,
    edits: {
      'embedded/node/group.ts': [
        [
          'const own = { id: this.#own.id, token: this.#token }',
          `this.#own = { ...this.#own, id: \`quire-\${address.host}\` }
    const own = { id: this.#own.id, token: this.#token }`,
        ],
      ],
    },
  },
]
