// Mistakes of named logs, and of replicated states that live on them.

import type { Canary, Runs } from './canary.ts'

const faults = [
  'kill',
  'kill of a client',
  'pause of a client',
  'clock jump',
  'cut between two',
  'disk stall',
  'slow network',
  'flaky network',
] as const
const logs: Runs = { areas: ['logs'], kinds: faults, everyMs: 300, faultMs: 2500, nodes: 3 }
const states: Runs = { ...logs, areas: ['states'] }
const kills: Runs = {
  ...states,
  kinds: ['kill', 'kill of a client'],
  everyMs: 500,
  faultMs: 6000,
}
const late: Runs = { ...states, kinds: ['slow network', 'pause of a client', 'cut between two'] }

export const logCanaries: readonly Canary[] = [
  {
    id: '41',
    what: 'an owner serves before the record names its segment',
    runs: logs,
    seed: 1,
    edits: {
      'embedded/log/acquire.ts': [
        [
          'const { outcome, record: named } = await orAborted(work, signal)',
          `work.catch(() => undefined)
    const outcome = { type: 'write' }
    const unwritten = appendSegment(record, segment)
    const named = unwritten.type === 'write' ? unwritten.record : record`,
        ],
      ],
    },
  },
  {
    id: '45',
    what: 'the table of sessions is not in the snapshot',
    runs: states,
    seed: 3,
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
    runs: logs,
    seed: 43,
    edits: {
      'embedded/log/writer.ts': [
        [
          '.catch((error: unknown) => this.#fail(error))\n    }\n    if (this.#rollIsDue())',
          '.catch(() => this.#acknowledged(entry))\n    }\n    if (this.#rollIsDue())',
        ],
      ],
    },
  },
  {
    id: '42',
    what: 'changes of a log are made whoever owns it',
    runs: logs,
    seed: 1,
    edits: {
      'embedded/log/core/log-record.ts': [
        [
          "if (record.ownerEpoch !== segment.epoch) return { type: 'lost', epoch: record.ownerEpoch }",
          '',
        ],
        ["if (record.ownerEpoch !== epoch) return { type: 'lost', epoch: record.ownerEpoch }", ''],
      ],
    },
  },
  {
    id: '43',
    what: 'of two segments only the last is fenced: the one before is left open by a roll',
    runs: logs,
    seed: 2,
    edits: {
      'embedded/log/writer.ts': [
        [
          'const end = await this.#endSegment()\n      const segment',
          `const end = {
        ledgerId: this.#ledger.ledgerId,
        endPosition: this.#batcher.sentPosition,
        timeMs: this.#timeMs,
      }
      const segment`,
        ],
      ],
    },
  },
  {
    id: '44',
    what: 'a log is truncated before the snapshot is published',
    runs: states,
    seed: 1,
    edits: {
      'embedded/log/log.ts': [
        [
          '    const { outcome, record } = await this.#parts.store.change((record) => {',
          '    await this.truncate(snapshot.position, options)\n    ' +
            'const { outcome, record } = await this.#parts.store.change((record) => {',
        ],
      ],
    },
  },
  {
    id: '46',
    what: 'sessions end by the clock of each replica',
    runs: { ...states, kinds: ['kill of a client', 'clock jump'], everyMs: 1000, faultMs: 6000 },
    seed: 3,
    edits: {
      'embedded/replica/replica.ts': [
        [
          'return await this.#state.apply(batch)',
          'const timeMs = Math.floor(this.#log.parts.clock.wallMs())\n      ' +
            'return await this.#state.apply({ ...batch, timeMs })',
        ],
      ],
    },
  },
  {
    id: '50',
    what: 'what was applied and how far are stored one after the other',
    runs: kills,
    seed: 1,
    edits: {
      'snapshot/sqlite-state.ts': [
        [
          '        this.#persist(tx)\n        return answers\n      })',
          `        return answers
      }).then(async (answers) => {
        await this.#store.transact((tx) => this.#persist(tx))
        return answers
      })`,
        ],
      ],
    },
  },
  {
    id: '55',
    what: 'linearizable questions are answered without a barrier',
    runs: late,
    seed: 3,
    edits: {
      'embedded/replica/replicas.ts': [
        ["if (consistency === 'linearizable') await replica.barrier({ signal })", ''],
      ],
    },
  },
  {
    id: 'X1',
    what: 'commands are brought to an owner again before it is known whether they took effect, and under new numbers',
    runs: kills,
    seed: 3,
    edits: {
      'embedded/replica/proposer.ts': [
        ["await applied(channel.nextPosition, 'channel', either)", 'await Promise.resolve(either)'],
      ],
      'embedded/replica/commands.ts': [
        [
          'const { session, seq, body } = pending',
          'const { session, body } = pending\n        ' +
            'const seq = pending.attempts > 1 ? session.take() : pending.seq',
        ],
      ],
    },
  },
  {
    id: 'X2',
    what: 'an owner answers what it was brought before that is durable',
    runs: late,
    edits: {
      'embedded/forward/conversation.ts': [
        [
          'const position = await channel.writer.append(record)',
          'const position = channel.writer.nextPosition\n        ' +
            'channel.writer.append(record).catch(() => undefined)',
        ],
      ],
    },
  },
]
