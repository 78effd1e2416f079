// Whole clusters under faults, the short form: seeds that once failed, and that a seed gives one
// run, whoever runs it. `npm run simulate -- --seeds A..B` is the long form.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { runSeed } from './run.ts'
import { runMain, simulateElsewhere } from './search.ts'

t.setTimeout(900_000)

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
  const args = ['--seeds', '42..44', '--ms', '500', '--jobs', '0']
  const elsewhere = await simulateElsewhere(...args)
  t.equal(elsewhere.length, 3)
  for (const { seed, traceHash, events, ok } of elsewhere) {
    const options = { seed, faultMs: 500 }
    t.ok(ok, `seed ${seed}`)
    t.match(await runSeed(options), { traceHash, events }, 'in another process')
    t.match(await runSeed(options), { traceHash, events }, 'and again in this one')
  }
  t.equal(new Set(elsewhere.map(({ traceHash }) => traceHash)).size, 3, 'seeds differ')
})

t.test('a run that fails is written down, drawn, and replayed from its file', async (t) => {
  const replays = t.testdir()
  const mistake = ['--canary', '12', '--replays', replays]
  const run = (...args: string[]) => runMain([...mistake, ...args])
  const first = await run('--seeds', '1..12', '--ms', '8000', '--until')
  const found = first.results.at(-1)
  t.match(found, { ok: false, checker: 'I1' })
  const file = join(replays, `seed-${found?.seed}.json`)
  t.match(first.stderr, `npm run simulate -- --replay ${file}`)
  t.match(first.stderr, / ms \|.*\n.* acked /s, 'a picture')
  const second = await run('--replay', file)
  t.same(second.results, [found], 'the same again')
  // Changed by hand: without its choices it is the seed's run again.
  const { choices: _, ...rest } = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, JSON.stringify(rest))
  t.same((await run('--replay', file)).results, [found])
})

t.test('what is not from the seed shows: a clock, state of a module, an order', async (t) => {
  // An order shows only where it matters: several files are found by a start.
  const seeds = {
    clock: ['42..42', '500'],
    'module state': ['42..42', '500'],
    order: ['42..44', '2500'],
  }
  for (const [planted, [range = '', ms = '']] of Object.entries(seeds)) {
    const args = ['--seeds', range, '--times', '2', '--ms', ms, '--canary', planted]
    const runs = await simulateElsewhere(...args)
    t.ok(
      runs.every(({ ok }) => ok),
      `${planted}: nothing else is wrong`,
    )
    const hashes = new Set(runs.map(({ seed, traceHash }) => `${seed} ${traceHash}`))
    t.ok(hashes.size > runs.length / 2, planted)
  }
})
