// Mistakes of bookies: what is durable when, and what is answered.

import type { Canary, Runs } from './canary.ts'

const powerCuts: Runs = {
  areas: ['ledgers'],
  kinds: ['power cut', 'power cut of all', 'slow disk', 'kill of a client'],
  everyMs: 200,
  faultMs: 3000,
}

export const bookieCanaries: readonly Canary[] = [
  {
    id: '16',
    what: 'acknowledgement before the fsync',
    runs: powerCuts,
    edits: {
      'bookie/journal/journal.ts': [
        [
          '    this.#flying = segment\n    this.#write()',
          '    this.#flying = segment\n    this.#parts.owner.durable(this.#flyingLast)\n    ' +
            'this.#write()',
        ],
      ],
    },
  },
  {
    id: '17',
    what: 'a fence is answered before it is durable',
    runs: powerCuts,
    edits: {
      'bookie/server/connection.ts': [
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
  },
  {
    id: '21',
    what: 'records of a recycled segment are not told apart by a seed',
    runs: powerCuts,
    edits: {
      'bookie/journal/format.ts': [
        ['return (seed ^ (at >>> 3)) >>> 0', 'return (0 * seed + (at >>> 3)) >>> 0'],
      ],
    },
  },
]
