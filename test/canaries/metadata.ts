// Mistakes of the tree that keeps the metadata.

import type { Canary, Runs } from './canary.ts'

const runs: Runs = {
  areas: ['registers'],
  kinds: ['kill', 'power cut', 'restart', 'reset', 'slow disk', 'slow network', 'disk stall'],
  everyMs: 400,
  faultMs: 3000,
}

export const metadataCanaries: readonly Canary[] = [
  {
    id: '57',
    what: 'a compare-and-set that does not compare',
    runs,
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
    edits: {
      'metadata/tree/tree.ts': [
        [
          '      await this.#makeDurable(changes)\n',
          '      void this.#makeDurable(changes).catch(() => undefined)\n',
        ],
      ],
    },
  },
  {
    id: '59',
    what: 'a watch is silent when its node changes',
    runs,
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
