// node trial.ts ID FROM TO [unharmed]: runs seeds with a canary's mistake until a checker names
// one; or without the mistake, otherwise alike, all of them. One line of JSON for each seed.
import { guardGlobals } from '../simulation/guard.ts'
import { runsOf } from './canary.ts'
import { canaryOf } from './list.ts'
import { release } from './release.ts'

const [id = '', from = '1', to = from, unharmed] = process.argv.slice(2)
const canary = canaryOf(id)
if (unharmed === undefined) release(canary)
else guardGlobals()
const runSeed =
  canary.world === 'group'
    ? (await import('../simulation/raft/run.ts')).runGroup
    : (await import('../simulation/run.ts')).runSeed
const { vague } = await import('../../src/simulation/report.ts')

for (let seed = Number(from); seed <= Number(to); seed += 1) {
  const { ok, checker, reason, counts: _, ...run } = await runSeed({ ...runsOf(canary), seed })
  const caught = !ok && !vague.has(checker ?? '')
  console.log(JSON.stringify({ ...run, ok, caught, checker, reason }))
  if (caught && unharmed === undefined) break
}
