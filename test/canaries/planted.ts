// What no run may do: two runs of one seed then differ.

import type { Canary } from './canary.ts'

export const planted: readonly Canary[] = [
  {
    id: 'clock',
    what: 'the time of the machine',
    edits: {
      'replication/ledger-client.ts': [
        ['ctimeMs: Math.floor(clock.wallMs())', 'ctimeMs: Date.now()'],
      ],
    },
  },
  {
    id: 'module state',
    what: 'what an earlier node of the process left',
    edits: {
      'embedded/node/bookie-id.ts': [
        ['export function newBookieId(', 'let made = 0\n\nexport function newBookieId('],
        ["random.bytes(8).toString('hex')", "String(++made).padStart(16, '0')"],
      ],
    },
  },
  {
    id: 'order',
    what: 'an order that is nobody’s',
    edits: {
      'simulation/files.ts': [
        ['export class DiskCalls {', 'let order = 1\n\nexport class DiskCalls {'],
        [
          '.current.keys()].sort(),',
          '.current.keys()].sort(() => ((order = (order * 16_807) % 2_147_483_647) & 64) - 32),',
        ],
      ],
    },
  },
]
