// Whole clusters under faults, the short form: seeds that once failed, and that a seed gives one
// run, whoever runs it. `npm run simulate -- --seeds A..B` is the long form.
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { runSeed, type RunResult } from './run.ts'

t.setTimeout(300_000)

const main = join(import.meta.dirname, 'main.ts')

/** The lines of a process of its own. */
async function elsewhere(...args: string[]): Promise<RunResult[]> {
  const run = promisify(execFile)(process.execPath, [main, '--json', ...args])
  // A status other than 0 says that a seed failed: the lines say which.
  const { stdout } = await run.catch((error: { stdout: string }) => error)
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

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
  t.match(await elsewhere('--seed', '42', '--ms', '1500'), [{ traceHash, events, ok: true }])
  t.not((await runSeed({ ...options, seed: 43 })).traceHash, traceHash)
})

t.test('what is not from the seed shows: a clock, state of a module, an order', async (t) => {
  for (const planted of ['clock', 'module state', 'order']) {
    const args = ['--seeds', '42..42', '--times', '2', '--ms', '500', '--canary', planted]
    const [one, other] = await elsewhere(...args)
    t.equal(one?.ok, true, `${planted}: nothing else is wrong`)
    t.not(one?.traceHash, other?.traceHash, planted)
  }
})
