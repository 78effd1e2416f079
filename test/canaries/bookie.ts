// Mistakes of bookies: what is durable when, what is answered, and what is made of a damaged disk.
// B1 and on stand beside those that the specification lists.

import type { FaultKind } from '../../src/simulation/index.ts'
import type { Canary, Runs } from './canary.ts'

const powerCuts: Runs = {
  areas: ['ledgers'],
  kinds: ['power cut', 'power cut of all', 'slow disk', 'kill of a client'],
  everyMs: 200,
  faultMs: 2500,
  nodes: 3,
}

/** A disk is damaged, and its node starts again and again. */
const damaged = (...kinds: readonly FaultKind[]): Runs => ({
  areas: ['ledgers'],
  kinds: [...kinds, 'kill', 'restart', 'power cut'],
  everyMs: 200,
  faultMs: 4000,
  nodes: 3,
})

const failingSyncs: Runs = {
  areas: ['ledgers'],
  kinds: ['sync error', 'power cut', 'kill'],
  everyMs: 200,
  faultMs: 3000,
}

export const bookieCanaries: readonly Canary[] = [
  {
    id: '16',
    what: 'acknowledgement before the fsync',
    runs: powerCuts,
    seed: 1,
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
    seed: 1,
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
    id: '18',
    what: 'an entry is seen only after the batch behind its own was synced',
    seed: 1,
    runs: powerCuts,
    edits: {
      'bookie/store/store.ts': [
        [
          '    this.index.insert(ledger, entryId, this.#appended)\n    ' +
            'this.journal.count(this.#appended.slot, 1)',
          '    const seen = { ledger, entryId, place: { ...this.#appended } }\n    ' +
            'this.unseen.push({ ...seen, sequence: this.journal.sequence })\n    ' +
            'this.journal.count(this.#appended.slot, 1)',
        ],
        [
          '    this.#listener?.durable(sequence)',
          '    while (this.unseen.length > 0 && this.unseen[0].sequence <= this.before) {\n      ' +
            'const { ledger, entryId, place } = this.unseen.shift()\n      ' +
            'if (this.index.lookup(ledger, entryId, { ...place })) ' +
            'this.journal.count(place.slot, -1)\n      ' +
            'else this.index.insert(ledger, entryId, place)\n    }\n    ' +
            'this.before = sequence\n    this.#listener?.durable(sequence)',
        ],
        ['  #overBudget = false\n', '  #overBudget = false\n  unseen = []\n  before = 0\n'],
      ],
    },
  },
  {
    id: '19',
    what: 'the directory of a new file is not synced',
    seed: 1,
    runs: powerCuts,
    edits: { 'io/prepare-file.ts': [['  await files.syncDirectory(dirname(path))\n', '']] },
  },
  {
    id: '20',
    what: 'a sync that failed is tried again',
    seed: 3,
    runs: failingSyncs,
    edits: {
      'io/files-journal-device.ts': [
        [
          'await file.file.datasync()',
          'await file.file.datasync().catch(() => file.file.datasync())',
        ],
      ],
    },
  },
  {
    id: '21',
    what: 'records of a recycled segment are not told apart by a seed',
    runs: powerCuts,
    seed: 2,
    edits: {
      'bookie/journal/format.ts': [
        ['return (seed ^ (at >>> 3)) >>> 0', 'return (0 * seed + (at >>> 3)) >>> 0'],
      ],
    },
  },
  {
    id: '22',
    what: 'a batch is issued before the one before it is durable, and says that it is',
    seed: 1,
    runs: powerCuts,
    edits: {
      'bookie/journal/journal.ts': [
        [
          'segment.closeBatch(this.#durable)',
          'segment.closeBatch(Math.max(this.#durable, this.issued ?? 0))',
        ],
        [
          '    this.#parts.device.commit(file, this.#from, this.#to, this.#committed)',
          '    const [segment, to, last] = [this.#flying, this.#to, this.#flyingLast]\n    ' +
            'this.issued = last\n    ' +
            'this.#parts.device.commit(file, this.#from, to, (error) => {\n      ' +
            'if (error !== undefined) return this.#committed(error)\n      ' +
            ';[this.#flying, this.#to, this.#flyingLast] = [segment, to, last]\n      ' +
            'this.#committed()\n    })\n    this.#flying = undefined\n    this.#flyingBytes = 0',
        ],
      ],
      'io/files-journal-device.ts': [
        [
          '      const error = this.#dead ?? (await this.#perform(next))\n      next.done(error)',
          '      const { done } = next\n      ' +
            'void this.#perform(next).then((error) => done(this.#dead ?? error))',
        ],
      ],
    },
  },
  {
    id: '23',
    what: 'a record that cannot be read is said not to be there',
    runs: damaged('bit flip', 'bad sector'),
    seed: 44,
    edits: {
      'bookie/server/records.ts': [
        [
          'return { status: statuses.io, bytes: none, slot: -1 }',
          'return { status: statuses.noEntry, bytes: none, slot: -1 }',
        ],
      ],
    },
  },
  {
    id: '28',
    what: 'the superblock has a single slot',
    runs: { ...powerCuts, kinds: ['power cut', 'slow disk'], faultMs: 6000 },
    seed: 18,
    edits: {
      'bookie/identity/superblock-store.ts': [['const slot = 1 - this.#slot', 'const slot = 0']],
    },
  },
  {
    id: 'B1',
    what: 'a tail that was not proven durable is served where it is',
    seed: 6,
    runs: failingSyncs,
    edits: {
      'bookie/journal/recovery.ts': [
        [
          "batch: 'whole', proven: false }, action: 'rewrite' }",
          "batch: 'whole', proven: false }, action: 'keep' }",
        ],
      ],
    },
  },
  {
    id: 'B2',
    what: 'the superblock is not synced',
    seed: 1,
    runs: powerCuts,
    edits: {
      'bookie/identity/superblock-store.ts': [
        [
          '    await file.write(what.bytes, 0)\n    await file.sync()',
          '    await file.write(what.bytes, 0)',
        ],
      ],
    },
  },
  {
    id: 'B4',
    what: 'an old copy of the disk is served',
    seed: 9,
    runs: damaged('restored image'),
    edits: {
      'bookie/identity/open.ts': [
        ['if (known.incarnation > block.incarnation) {', 'if (known.incarnation < 0) {'],
        [
          'await store.write({ incarnation: block.incarnation + 1, isClean: false })',
          'await store.write({ incarnation: known.incarnation + 1, isClean: false })',
        ],
      ],
    },
  },
  {
    id: 'B5',
    what: 'an empty disk is served under its old identity',
    seed: 2,
    runs: damaged('empty mount'),
    edits: { 'bookie/identity/open.ts': [['    if (!known.isKnown) return\n', '    return\n']] },
  },
  {
    id: 'B6',
    what: 'what was durable and cannot be read is taken for a torn tail',
    seed: 1,
    runs: damaged('zeroed sector', 'garbage sector', 'lost write', 'misdirected write'),
    edits: {
      'bookie/journal/recovery.ts': [
        [
          "batch: 'broken', proven: true }, action: 'lost' }",
          "batch: 'broken', proven: true }, action: 'cut' }",
        ],
      ],
    },
  },
  {
    id: 'B7',
    what: 'what is read from the disk is not verified',
    runs: damaged('bit flip', 'zeroed sector', 'garbage sector'),
    edits: {
      'bookie/journal/segment-reader.ts': [
        [
          'if (payloadStateAt(bytes, 0, seed, at) !== payloadStates.whole) throw corrupt(path, at)',
          'if (payloadStateAt(bytes, 0, seed, at) < payloadStates.whole) throw corrupt(path, at)',
        ],
      ],
    },
  },
  {
    id: 'B9',
    what: 'an add waits for the record before its own',
    seed: 1,
    runs: powerCuts,
    edits: {
      'bookie/store/store.ts': [
        [
          '    this.awaited = this.journal.sequence\n    return',
          '    this.awaited = this.journal.sequence - 1\n    return',
        ],
      ],
    },
  },
]
