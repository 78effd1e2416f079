// npm run torture -- kill [--rounds 200] [--seed N] [--json]
// npm run torture -- cluster [--rounds 60] [--seed N] [--json]: needs root
// npm run torture -- simulate [--minutes 60] [--seed N] [--long] [--json]: fresh seeds on all cores
// npm run torture -- determinism [--seeds 1000] [--ms 500] [--json]: a seed gives one run
// npm run torture -- canaries [--json]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { searchAnew } from '../canaries/anew.ts'
import { fromDist } from '../support/processes.ts'
import { runCluster } from './cluster/trial.ts'
import { runKill } from './kill.ts'
import { runDeterminism, runSimulate } from './simulate.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    minutes: { type: 'string', default: '60' },
    seeds: { type: 'string', default: '1000' },
    /** Hours of faults in each run, minutes apart. */
    long: { type: 'boolean', default: false },
    /** Virtual milliseconds of faults in a run. */
    ms: { type: 'string', default: '500' },
    /** Where runs that failed are written to. */
    replays: { type: 'string', default: 'replays' },
    json: { type: 'boolean', default: false },
  },
})

const print = (facts: object): void => {
  const text = Object.entries(facts).map(([name, value]) => `${name} ${value}`)
  console.log(values.json ? JSON.stringify(facts) : text.join(', '))
}

async function kill(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'quire-kill-'))
  const seed = Number(values.seed)
  const start = { program: fromDist }
  const result = await runKill({
    rounds: Number(values.rounds),
    directory,
    seed,
    start,
    report: print,
  })
  print({ ...result, seed })
  if (result.ok) rmSync(directory, { recursive: true, force: true })
  else process.stderr.write(`the directories are kept in ${directory}\n`)
  return result.ok ? 0 : 1
}

async function cluster(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'quire-cluster-'))
  const seed = Number(values.seed)
  const rounds = Number(values.rounds)
  const result = await runCluster({
    rounds,
    directory,
    seed,
    start: { program: fromDist },
    report: print,
  })
  print({ ...result, seed })
  rmSync(directory, { recursive: true, force: true })
  return result.ok ? 0 : 1
}

async function simulate(): Promise<number> {
  const seed = Number(values.seed)
  const { json, replays } = values
  const much = { minutes: Number(values.minutes), isLong: values.long }
  const tally = await runSimulate({ ...much, seed, json, replays })
  process.stderr.write(`${tally.coverage}\n${tally.summary}\n`)
  print({ ...tally.facts, seed })
  return tally.ok ? 0 : 1
}

async function determinism(): Promise<number> {
  const { replays } = values
  const sizes = { seeds: Number(values.seeds), faultMs: Number(values.ms) }
  const result = await runDeterminism({ ...sizes, replays })
  print(result)
  return result.ok ? 0 : 1
}

const trials: Record<string, () => Promise<number>> = {
  kill,
  cluster,
  simulate,
  determinism,
  canaries: () => searchAnew(values),
}
const trial = trials[positionals[0] ?? '']
if (trial) process.exitCode = await trial()
else {
  process.stderr.write(`torture: name a trial: ${Object.keys(trials).join(', ')}\n`)
  process.exitCode = 2
}
