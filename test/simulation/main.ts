// npm run simulate -- --seed N | --seeds A..B [--canary ID] [--json] [--trace] [--ms N]
// One line of JSON for each seed; exits with 1 when a checker found something.
import { parseArgs } from 'node:util'
import { canaryOf } from '../canaries/list.ts'
import { release } from '../canaries/release.ts'
import { guardGlobals } from './guard.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    canary: { type: 'string' },
    /** Virtual milliseconds of faults. */
    ms: { type: 'string' },
    /** Runs each seed so often. */
    times: { type: 'string', default: '1' },
    /** Ends at the first seed that fails. */
    until: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

const canary = values.canary === undefined ? undefined : canaryOf(values.canary)
if (canary) release(canary)
const { runSeed } = await import('./run.ts')
const { vague } = await import('../../src/simulation/report.ts')
const trace = values.trace ? (line: string) => process.stderr.write(`${line}\n`) : undefined
const [from = '1', to = from] = (values.seeds ?? values.seed ?? '1').split('..')
if (!canary) guardGlobals()

let failed = 0
const faultMs = values.ms === undefined ? undefined : Number(values.ms)
const kinds = canary?.kinds

async function one(seed: number): Promise<boolean> {
  const { counts, ...result } = await runSeed({ seed, trace, kinds, faultMs })
  console.log(JSON.stringify(values.json ? result : { ...result, counts }))
  return result.ok || (canary !== undefined && vague.has(result.checker ?? ''))
}

for (let seed = Number(from); seed <= Number(to); seed += 1) {
  for (let time = 0; time < Number(values.times); time += 1) {
    if (!(await one(seed))) failed += 1
  }
  if (failed > 0 && values.until) break
}
process.exitCode = failed > 0 ? 1 : 0
