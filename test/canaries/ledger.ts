// Mistakes of writers and recoverers of ledgers.

import type { Canary, Runs } from './canary.ts'

/** Ensembles that change all the time, since answers come late. */
const changes: Runs = {
  areas: ['ledgers'],
  kinds: ['slow network', 'kill of a client', 'disk stall'],
  everyMs: 300,
  faultMs: 3000,
  nodes: 5,
  patience: 'least',
}
/** Recoveries of ledgers that are written to, and whose bookies are gone or cannot be reached. */
const recoveries: Runs = {
  ...changes,
  kinds: ['kill', 'kill of a client', 'slow network', 'cut between two'],
  everyMs: 600,
}
/** Connections that are lost, so that a member is given up while the others are only late. */
const losses: Runs = {
  ...changes,
  kinds: ['reset', 'slow cable'],
  moments: ['an entry is written'],
  patience: 'short',
}
/** Recoveries beside a writer whose entries are late, with a fence that is lost on its way. */
const lostFences: Runs = {
  ...changes,
  kinds: ['reset', 'slow cable', 'pause'],
  moments: ['an entry is written', 'a fence is asked for', 'a fence is answered'],
  everyMs: 400,
  nodes: 3,
  patience: 'usual',
}
/** Recoveries that more than one bookie answers late. */
const lateFences: Runs = {
  ...changes,
  kinds: ['slow cable', 'disk stall', 'pause'],
  moments: ['a fence is asked for'],
  everyMs: 1000,
}

export const ledgerCanaries: readonly Canary[] = [
  {
    id: '1',
    what: 'recovery reads unfenced',
    runs: lostFences,
    seed: 46,
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
    runs: lateFences,
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
    runs: recoveries,
    seed: 4,
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
    runs: recoveries,
    seed: 27,
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
    runs: changes,
    seed: 29,
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
    runs: recoveries,
    seed: 1,
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
    runs: changes,
    seed: 3,
    edits: {
      'replication/core/writer.ts': [
        ['while (!state.gated && state.lac < state.lap', 'while (state.lac < state.lap'],
      ],
    },
  },
  {
    id: '10',
    what: 'late answers of a replaced bookie are counted',
    runs: changes,
    seed: 1,
    edits: {
      'replication/core/writer.ts': [
        ['if (batch.generations[i] !== state.generations[index]) continue // W2', ''],
      ],
      'replication/add-pipeline.ts': [
        [
          '      link?.connection.detach(this.#txnHigh, link)\n      this.#attach',
          '      this.#attach',
        ],
      ],
    },
  },
  {
    id: '12',
    what: 'acknowledgements out of order',
    runs: changes,
    seed: 1,
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
  {
    id: '6',
    what: 'recovery records its replacements before it closes the ledger',
    runs: changes,
    seed: 1,
    edits: {
      'replication/core/recovery.ts': [['    local: true,', '    local: false,']],
      'replication/ledger-recovery.ts': [
        [
          'import { beginRecovery, endRecovery, lastFragment }',
          'import { beginRecovery, endRecovery, ensembleChange, lastFragment }',
        ],
        [
          "  change(): void {\n    invariant(false, 'a recovery keeps its replacements to itself " +
            "until it closes the ledger')\n  }",
          `  change(change) {
    const { parts, identity } = this.#options
    const early = (current) => {
      if (current.state === 'closed') return { type: 'refused', reason: 'closed' }
      const verdict = ensembleChange(change)({ ...current, state: 'open' })
      if (verdict.type !== 'write') return verdict
      return { type: 'write', metadata: { ...verdict.metadata, state: 'in-recovery' } }
    }
    const { ledgerId } = identity
    const timeoutMs = parts.options.quorumTimeoutMs
    updateMetadata(parts, { ledgerId, current: this.#metadata, change: early, timeoutMs }).then(
      (outcome) => {
        if (outcome.type === 'refused') this.failed(0)
        else this.#pipeline.changed(lastFragment(outcome.current.value).ensemble)
      },
      () => this.failed(0),
    )
  }`,
        ],
      ],
    },
  },
  {
    id: '9',
    what: 'the scan runs before the acknowledgements of replaced members are all unset',
    runs: losses,
    seed: 81,
    edits: {
      'replication/core/writer.ts': [
        [
          'state.acked[slot] = (state.acked[slot] ?? 0) & ~replaced\n',
          'state.acked[slot] = (state.acked[slot] ?? 0) & ~replaced\n    scan(state)\n',
        ],
      ],
    },
  },
  {
    id: '11',
    what: 'a new fragment begins behind the last entry that was sent',
    runs: changes,
    seed: 1,
    edits: {
      'replication/core/writer.ts': [
        [
          '{ firstEntryId: state.lac + 1, replacements, holes }',
          '{ firstEntryId: state.lap + 1, replacements, holes }',
        ],
      ],
    },
  },
  {
    id: '51',
    what: 'recovery closes a ledger without writing again what it found',
    runs: changes,
    seed: 4,
    edits: {
      'replication/core/recovery.ts': [
        [
          'const entryId = append(writer, entry.payloadBytes)',
          'const entryId = (writer.lac = writer.lap = writer.lac + 1)\n    ' +
            'writer.head = entryId + 1',
        ],
        ['    effects.copies.push(entryId)\n', ''],
      ],
    },
  },
  {
    id: '52',
    what: 'the last entry that a bookie holds is taken for confirmed',
    runs: changes,
    seed: 1,
    edits: {
      'replication/confirmed.ts': [
        ['import { entryLac, lacPacketLac', 'import { entryIdOf, lacPacketLac'],
        ['entryLac(bytes, secondStart)', 'entryIdOf(bytes, secondStart)'],
      ],
    },
  },
]
