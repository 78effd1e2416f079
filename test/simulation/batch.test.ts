// The batch of every day: seeds that show what seldom happens, and fresh ones of the day.
// `npm run torture -- simulate` is the long form.
import { availableParallelism } from 'node:os'
import t from 'tap'
import { runMany } from './many.ts'
import type { RunOptions } from './run.ts'
import { common } from './sometimes.ts'

t.setTimeout(1_800_000)

interface Group {
  /** Rare events that its runs must show, beside those that all must. */
  readonly shows: readonly string[]
  readonly more: Partial<RunOptions>
  /** Seeds from 1 on: so many, and more until all is shown. */
  readonly least: number
}

/** What brings which rare events out. */
const groups: readonly Group[] = [
  {
    shows: [
      'the power fails while a fence is on its way',
      'a write is torn by a loss of power',
      'a recovery begins before a close is done',
      'a close is done before a recovery begins',
      'one of two superblocks is damaged',
      'two recoverers write one ledger',
    ],
    more: {
      areas: ['ledgers'],
      kinds: ['power cut', 'kill of a client', 'slow disk', 'full disk', 'damaged superblock'],
      moments: ['an entry is written', 'a fence is asked for'],
      nodes: 4,
    },
    least: 2,
  },
  {
    shows: [
      'damage in the middle of a journal is found',
      'a node ends by itself',
      'the metadata waits for room',
      'a recovery fails',
      'an ensemble changes while its ledger is recovered',
      'an owner is replaced',
      'a command meets its session gone',
      'a command of unknown outcome took effect',
      'a command of unknown outcome took none',
    ],
    more: {
      areas: ['ledgers', 'states', 'logs'],
      kinds: [
        'kill',
        'restart',
        'kill of a client',
        'sync error',
        'full disk',
        'cut between two',
        'garbage sector',
        'bit flip',
      ],
      moments: ['a recovery begins', 'an entry is recovered', 'an ensemble changes'],
      nodes: 5,
    },
    least: 3,
  },
  {
    shows: ['the load of a snapshot is interrupted'],
    more: {
      areas: ['states'],
      kinds: ['kill of a client', 'kill'],
      moments: ['a snapshot is loaded'],
      everyMs: 1500,
      nodes: 3,
    },
    least: 1,
  },
  {
    shows: ['an append of unknown outcome is there at last', 'a reader lags behind a truncation'],
    more: {
      areas: ['logs'],
      kinds: ['kill', 'cut between two', 'slow cable', 'disk stall'],
      moments: ['an entry is written'],
      nodes: 3,
    },
    least: 2,
  },
  {
    shows: ['a call meets an expired session'],
    more: {
      areas: ['registers'],
      kinds: ['pause of a client', 'kill of a client', 'cut between two'],
      patience: 'short',
      nodes: 3,
    },
    least: 2,
  },
]
const crowded = { everyMs: 500, patience: 'least' } as const
const fixedMs = 8000
/** More than it takes, whatever a change of the code makes of the seeds. */
const seedsMax = 30
const freshCount = 8

t.test('fixed seeds pass, and show every rare event', async (t) => {
  const happened = new Set<string>()
  for (const { shows, more, least } of groups) {
    let last = 0
    const isShown = () => shows.every((name) => happened.has(name))
    const next = () => (last < least || (last < seedsMax && !isShown()) ? ++last : undefined)
    const { failed } = await runMany({
      next,
      jobs: availableParallelism(),
      faultMs: fixedMs,
      more: { ...crowded, ...more },
      json: true,
      replays: 'replays',
      onlyFailed: true,
      seen: (counts) => {
        for (const [name, times] of Object.entries(counts)) if (times > 0) happened.add(name)
      },
    })
    t.equal(failed, 0, 'nothing was found')
    t.comment(`${shows.join('; ')}: ${last} seeds`)
  }
  const never = common.filter((name) => !happened.has(name))
  t.same(never, [], 'what never happened: ask why it does not')
})

t.test('fresh seeds of the day pass', async (t) => {
  const day = new Date().toISOString().slice(0, 10)
  let next = Number(day.replaceAll('-', '')) * 100
  const last = next + freshCount - 1
  t.comment(`npm run simulate -- --seeds ${next}..${last}`)
  const { failed, seeds } = await runMany({
    next: () => (next <= last ? next++ : undefined),
    jobs: availableParallelism(),
    json: true,
    replays: 'replays',
    onlyFailed: true,
  })
  t.same({ failed, seeds }, { failed: 0, seeds: freshCount })
})
