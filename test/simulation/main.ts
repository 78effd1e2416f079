// npm run simulate -- --seed N [--json] | --seeds A..B
import { parseArgs } from 'node:util'
import { runSeed } from './run.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
  },
})

const [from = '1', to = from] = (values.seeds ?? values.seed ?? '1').split('..')
let failed = 0
for (let seed = Number(from); seed <= Number(to); seed += 1) {
  const trace = values.trace ? (line: string) => console.error(line) : undefined
  const result = await runSeed({ seed, trace })
  if (!result.ok) failed += 1
  console.log(JSON.stringify(result))
}
process.exitCode = failed > 0 ? 1 : 0
