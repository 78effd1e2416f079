// Mistakes of writers and recoverers of ledgers.

import type { Canary } from './canary.ts'

export const ledgerCanaries: readonly Canary[] = [
  {
    id: '1',
    what: 'recovery reads unfenced',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/ledger-recovery.ts': [
        [
          'const flags = requestFlags.fence | requestFlags.highPriority',
          'const flags = requestFlags.highPriority',
        ],
      ],
    },
  },
  {
    id: '2',
    what: 'coverage needs one reply less',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/quorum.ts': [
        [
          'if (popcount(set & ~members.known) >= quorum.ackQuorumSize) covered',
          'if (popcount(set & ~members.known) > quorum.ackQuorumSize) covered',
        ],
      ],
    },
  },
  {
    id: '3',
    what: 'negatives threshold Qw - Qa',
    seed: 1,
    edits: {
      'replication/core/quorum.ts': [
        [
          'return quorum.writeQuorumSize - quorum.ackQuorumSize + 1',
          'return Math.max(1, quorum.writeQuorumSize - quorum.ackQuorumSize)',
        ],
      ],
    },
  },
  {
    id: '4',
    what: 'timeout counted as negative',
    kinds: ['pause', 'disk stall', 'cut between two', 'kill of a client', 'kill'],
    edits: {
      'replication/ledger-recovery.ts': [
        [
          "const result = response === undefined ? 'unknown'",
          "const result = response === undefined ? 'negative'",
        ],
      ],
    },
  },
  {
    id: '5',
    what: 'floor of the last add confirmed omitted',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/recovery.ts': [
        [
          'const floor = Math.max(state.maxLac, state.fragment.firstEntryId - 1) // R1',
          'const floor = state.maxLac',
        ],
      ],
    },
  },
  {
    id: '7',
    what: 'the closing write of a recovery ignores what is there',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/metadata-update.ts': [
        [
          "    if (current.state === 'closed') return done\n    invariant(current.state === 'in-recovery'",
          "    invariant(current.state !== 'open'",
        ],
      ],
    },
  },
  {
    id: '8',
    what: 'the scan goes on while a change of the ensemble is in flight',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/writer.ts': [
        ['while (!state.gated && state.lac < state.lap', 'while (state.lac < state.lap'],
      ],
    },
  },
  {
    id: '10',
    what: 'late answers of a replaced bookie are counted',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/writer.ts': [
        ['if (batch.generations[i] !== state.generations[index]) continue // W2', ''],
      ],
    },
  },
  {
    id: '12',
    what: 'acknowledgements out of order',
    seed: 1,
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: {
      'replication/core/writer.ts': [
        [
          'const members = (state.acked[slot] ?? 0) & writeSet(state.quorum, entryId)\n      ' +
            'if (popcount',
          'const members = (state.acked[slotOf(state, state.lap)] ?? 0)\n      if (popcount',
        ],
      ],
    },
  },
]
