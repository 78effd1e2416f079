// The batch of every day: seeds that show what seldom happens, and fresh ones of the day.
// `npm run torture -- simulate` is the long form.
import { availableParallelism } from 'node:os'
import t from 'tap'
import { runMany } from './many.ts'
import type { RunOptions } from './run.ts'
import { common } from './sometimes.ts'

t.setTimeout(1_800_000)

/**
 * Seeds, and what their runs are told, chosen so that all that must happen does: a run changes with
 * the code, and they with it.
 */
const fixed: readonly { seeds: readonly number[]; more: Partial<RunOptions> }[] = [
  {
    seeds: [2, 3, 8],
    more: {
      kinds: [
        'power cut',
        'power cut of all',
        'kill of a client',
        'slow disk',
        'full disk',
        'damaged superblock',
      ],
      nodes: 4,
    },
  },
  {
    seeds: [6, 8, 9],
    more: {
      kinds: [
        'kill',
        'kill of a client',
        'sync error',
        'full disk',
        'cut between two',
        'garbage sector',
        'bit flip',
      ],
      nodes: 5,
    },
  },
]
const crowded = { areas: ['ledgers', 'states', 'logs'], everyMs: 300, patience: 'least' } as const
const fixedMs = 8000
const freshCount = 8

t.test('fixed seeds pass, and show every rare event', async (t) => {
  const happened = new Set<string>()
  for (const { seeds, more } of fixed) {
    const left = [...seeds]
    const { failed, counts } = await runMany({
      next: () => left.shift(),
      jobs: availableParallelism(),
      faultMs: fixedMs,
      more: { ...crowded, ...more },
      json: true,
      replays: 'replays',
      onlyFailed: true,
    })
    t.equal(failed, 0, 'nothing was found')
    for (const [name, { times }] of counts) if (times > 0) happened.add(name)
  }
  const never = common.filter((name) => !happened.has(name))
  t.same(never, [], 'what never happened: choose other seeds, or ask why it does not')
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
