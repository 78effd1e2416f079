// Mistakes of named logs, and of replicated states that live on them.

import type { Canary } from './canary.ts'

export const logCanaries: readonly Canary[] = [
  {
    id: '41',
    what: 'an owner serves before the record names its segment',
    edits: {
      'embedded/log/acquire.ts': [
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
  },
  {
    id: '45',
    what: 'the table of sessions is not in the snapshot',
    seed: 1,
    edits: {
      'snapshot/memory-state.ts': [
        [
          'const table = [...sessions.ids()].map((id) => [id, sessions.encode(id)] as const)',
          'const table = [...sessions.ids()].slice(0, 0)',
        ],
      ],
    },
  },
  {
    id: '47',
    what: 'a writer goes on after a failure',
    edits: {
      'embedded/log/writer.ts': [
        [
          '.catch((error: unknown) => this.#fail(error))\n    }\n    if (this.#rollIsDue())',
          '.catch(() => this.#acknowledged(entry))\n    }\n    if (this.#rollIsDue())',
        ],
      ],
    },
  },
]
