// Mistakes that the checkers must find (semantics G10), as changes of the source that are made when
// a run's modules are loaded: production code carries nothing of them. Each edit must match exactly
// once, or the canary is out of date and its run fails.

import { registerHooks } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { FaultKind } from '../../src/simulation/index.ts'

export interface Canary {
  readonly id: string
  readonly what: string
  /** Below src. */
  readonly file: string
  readonly edits: readonly (readonly [from: string, to: string])[]
  /** Faults that bring it out: what the search looks among. Default: all. */
  readonly kinds?: readonly FaultKind[]
  /** Found within a few seeds: searched for by `npm test`. */
  readonly quick?: boolean
}

export const canaries: readonly Canary[] = [
  {
    id: '1',
    what: 'recovery reads unfenced',
    file: 'replication/ledger-recovery.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [
      [
        'const flags = requestFlags.fence | requestFlags.highPriority',
        'const flags = requestFlags.highPriority',
      ],
    ],
  },
  {
    id: '2',
    what: 'coverage needs one reply less',
    file: 'replication/core/quorum.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [
      [
        'if (popcount(set & ~members.known) >= quorum.ackQuorumSize) covered',
        'if (popcount(set & ~members.known) > quorum.ackQuorumSize) covered',
      ],
    ],
  },
  {
    id: '3',
    what: 'negatives threshold Qw - Qa',
    file: 'replication/core/quorum.ts',
    quick: true,
    edits: [
      [
        'return quorum.writeQuorumSize - quorum.ackQuorumSize + 1',
        'return Math.max(1, quorum.writeQuorumSize - quorum.ackQuorumSize)',
      ],
    ],
  },
  {
    id: '4',
    what: 'timeout counted as negative',
    file: 'replication/ledger-recovery.ts',
    kinds: ['pause', 'disk stall', 'cut between two', 'kill of a client', 'kill'],
    edits: [
      [
        "const result = response === undefined ? 'unknown'",
        "const result = response === undefined ? 'negative'",
      ],
    ],
  },
  {
    id: '5',
    what: 'floor of the last add confirmed omitted',
    file: 'replication/core/recovery.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [
      [
        'const floor = Math.max(state.maxLac, state.fragment.firstEntryId - 1) // R1',
        'const floor = state.maxLac',
      ],
    ],
  },
  {
    id: '7',
    what: 'the closing write of a recovery ignores what is there',
    file: 'replication/core/metadata-update.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [
      [
        "    if (current.state === 'closed') return done\n    invariant(current.state === 'in-recovery'",
        "    invariant(current.state !== 'open'",
      ],
    ],
  },
  {
    id: '8',
    what: 'the scan goes on while a change of the ensemble is in flight',
    file: 'replication/core/writer.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [['while (!state.gated && state.lac < state.lap', 'while (state.lac < state.lap']],
  },
  {
    id: '10',
    what: 'late answers of a replaced bookie are counted',
    file: 'replication/core/writer.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    edits: [['if (batch.generations[i] !== state.generations[index]) continue // W2', '']],
  },
  {
    id: '12',
    what: 'acknowledgements out of order',
    file: 'replication/core/writer.ts',
    kinds: ['kill', 'cut between two', 'disk stall', 'pause', 'slow network'],
    quick: true,
    edits: [
      [
        'const members = (state.acked[slot] ?? 0) & writeSet(state.quorum, entryId)\n      ' +
          'if (popcount',
        'const members = (state.acked[slotOf(state, state.lap)] ?? 0)\n      if (popcount',
      ],
    ],
  },
  {
    id: '16',
    what: 'acknowledgement before the fsync',
    file: 'bookie/journal/journal.ts',
    quick: true,
    edits: [
      [
        '    this.#flying = segment\n    this.#write()',
        '    this.#flying = segment\n    this.#parts.owner.durable(this.#flyingLast)\n    ' +
          'this.#write()',
      ],
    ],
  },
  {
    id: '17',
    what: 'a fence is answered before it is durable',
    file: 'bookie/server/connection.ts',
    kinds: ['power cut', 'power cut of all', 'slow disk'],
    edits: [
      [
        'if (outcome === outcomes.pending) {\n      this.#fencing.push',
        'if (outcome === outcomes.blocked) {\n      this.#fencing.push',
      ],
      [
        '} else if (outcome === statuses.ok) {\n      finish(this, callOf(request))',
        '} else if (outcome === statuses.ok || outcome === outcomes.pending) {\n      ' +
          'finish(this, callOf(request))',
      ],
    ],
  },
  {
    id: '21',
    what: 'records of a recycled segment are not told apart by a seed',
    file: 'bookie/journal/format.ts',
    kinds: ['power cut', 'power cut of all', 'slow disk'],
    edits: [['return (seed ^ (at >>> 3)) >>> 0', 'return (0 * seed + (at >>> 3)) >>> 0']],
  },
  {
    id: '41',
    what: 'an owner serves before the record names its segment',
    file: 'embedded/log/acquire.ts',
    quick: true,
    edits: [
      [
        'const { outcome, record: named } = await orAborted(work, signal)',
        "work.catch(() => undefined)\n    const outcome = { type: 'write' as string, epoch: 0 }",
      ],
      [
        'firstPosition: firstPositionOf(named, ledger.ledgerId)',
        'firstPosition: endOf(record) ?? 0',
      ],
      ['timeMs: named.lastTimeMs', 'timeMs: record.lastTimeMs'],
    ],
  },
  {
    id: '45',
    what: 'the table of sessions is not in the snapshot',
    file: 'snapshot/memory-state.ts',
    quick: true,
    edits: [
      [
        'const table = [...sessions.ids()].map((id) => [id, sessions.encode(id)] as const)',
        'const table = [...sessions.ids()].slice(0, 0)',
      ],
    ],
  },
  {
    id: '47',
    what: 'a writer goes on after a failure',
    file: 'embedded/log/writer.ts',
    edits: [
      [
        '.catch((error: unknown) => this.#fail(error))\n    }\n    if (this.#rollIsDue())',
        '.catch(() => this.#acknowledged(entry))\n    }\n    if (this.#rollIsDue())',
      ],
    ],
  },
]

/** What no run may do: two runs of one seed then differ. */
const planted: readonly Canary[] = [
  {
    id: 'clock',
    what: 'the time of the machine',
    file: 'replication/ledger-client.ts',
    edits: [['ctimeMs: Math.floor(clock.wallMs())', 'ctimeMs: Date.now()']],
  },
  {
    id: 'module state',
    what: 'what an earlier node of the process left',
    file: 'embedded/node/identity.ts',
    edits: [
      ['export class Identity {', 'let made = 0\n\nexport class Identity {'],
      ["this.#io.random.bytes(8).toString('hex')", "String(++made).padStart(16, '0')"],
    ],
  },
  {
    id: 'order',
    what: 'an order that is nobody’s',
    file: 'simulation/files.ts',
    edits: [
      ['class DiskCalls {', 'let order = 1\n\nclass DiskCalls {'],
      [
        '.current.keys()].sort(),',
        '.current.keys()].sort(() => ((order = (order * 16_807) % 2_147_483_647) & 64) - 32),',
      ],
    ],
  },
]

export function canaryOf(id: string): Canary {
  const canary = [...canaries, ...planted].find((each) => each.id === id)
  if (canary === undefined) throw new Error(`there is no canary ${id}`)
  return canary
}

/** From now on the canary's file is loaded with its mistake. Nothing of src may be loaded yet. */
export function release(canary: Canary): void {
  const root = join(import.meta.dirname, '..', '..', 'src')
  const mutated = pathToFileURL(join(root, canary.file)).href
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context)
      if (url !== mutated) return loaded
      let source = textOf(loaded.source)
      for (const [from, to] of canary.edits) {
        const found = source.split(from).length - 1
        if (found !== 1) throw new Error(`canary ${canary.id}: an edit matches ${found} times`)
        source = source.replace(from, () => to)
      }
      return { ...loaded, source }
    },
  })
}

function textOf(source: string | ArrayBuffer | NodeJS.TypedArray | undefined): string {
  if (typeof source === 'string') return source
  return new TextDecoder().decode(source)
}
