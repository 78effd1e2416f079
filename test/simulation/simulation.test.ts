// Whole clusters under faults, the short form: seeds that once failed, and that a seed gives one
// run, whoever runs it. `npm run simulate -- --seeds A..B` is the long form.
import t from 'tap'
import { runSeed } from './run.ts'
import { simulateElsewhere } from './search.ts'

t.setTimeout(300_000)

/** Each found a defect when it was new; what, is told in docs/simulation.md. */
const regressions = [1, 6, 11]

t.test('seeds that once failed', async (t) => {
  for (const seed of regressions) {
    const { ok, checker, reason, faults } = await runSeed({ seed })
    t.ok(ok, `seed ${seed}`, { checker, reason })
    t.ok(Object.keys(faults).length > 0, 'faults happened')
  }
})

t.test('a seed gives one run, in this process and in another', async (t) => {
  const options = { seed: 42, faultMs: 1500 }
  const { traceHash, events } = await runSeed(options)
  t.match(await runSeed(options), { traceHash, events })
  t.match(await simulateElsewhere('--seed', '42', '--ms', '1500'), [
    { traceHash, events, ok: true },
  ])
  t.not((await runSeed({ ...options, seed: 43 })).traceHash, traceHash)
})

t.test('what is not from the seed shows: a clock, state of a module, an order', async (t) => {
  for (const planted of ['clock', 'module state', 'order']) {
    const args = ['--seeds', '42..42', '--times', '4', '--ms', '500', '--canary', planted]
    const runs = await simulateElsewhere(...args)
    t.ok(
      runs.every(({ ok }) => ok),
      `${planted}: nothing else is wrong`,
    )
    t.not(new Set(runs.map(({ traceHash }) => traceHash)).size, 1, planted)
  }
})
