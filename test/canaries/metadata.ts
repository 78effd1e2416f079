// Mistakes of the tree that keeps the metadata.

import type { Canary, Runs } from './canary.ts'

const runs: Runs = {
  areas: ['registers'],
  kinds: ['kill', 'power cut', 'restart', 'reset', 'slow disk', 'slow network', 'disk stall'],
  everyMs: 400,
  faultMs: 2500,
  nodes: 3,
}

export const metadataCanaries: readonly Canary[] = [
  {
    id: '13',
    what: 'a change whose answer was lost is made a second time',
    runs: { ...runs, kinds: ['flaky network', 'reset'] },
    seed: 1,
    edits: {
      'metadata/tree/apply.ts': [
        ['const earlier = answeredBefore(session, request)', 'const earlier = undefined'],
      ],
    },
  },
  {
    id: '57',
    what: 'a compare-and-set that does not compare',
    runs,
    seed: 1,
    edits: {
      'metadata/tree/apply.ts': [
        [
          "return version === anyVersion || version === row.version ? row : 'QUIRE_BAD_VERSION'",
          'return row',
        ],
      ],
    },
  },
  {
    id: '58',
    what: 'a change is answered before it is durable',
    runs,
    seed: 1,
    edits: {
      'metadata/tree/tree.ts': [
        [
          'if (changes) await this.#makeDurable(changes)',
          'if (changes) void this.#makeDurable(changes).catch(() => undefined)',
        ],
      ],
    },
  },
  {
    id: '59',
    what: 'a watch is silent when its node changes',
    runs,
    seed: 1,
    edits: {
      'metadata/tree/watches.ts': [
        [
          "if (type !== 'children') this.#take(this.#data, path, { type, path })",
          "if (type === 'deleted') this.#take(this.#data, path, { type, path })",
        ],
      ],
    },
  },
]
