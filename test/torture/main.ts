// npm run torture -- kill [--rounds 200] [--seed N] [--json] | canaries [--json]
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { searchAnew } from '../canaries/anew.ts'
import { fromDist } from '../support/processes.ts'
import { runKill } from './kill.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    json: { type: 'boolean', default: false },
  },
})

async function kill(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'quire-kill-'))
  const seed = Number(values.seed)
  const print = (facts: object): void => {
    const text = Object.entries(facts).map(([name, value]) => `${name} ${value}`)
    console.log(values.json ? JSON.stringify(facts) : text.join(', '))
  }
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

const trials: Record<string, () => Promise<number>> = {
  kill,
  canaries: () => searchAnew(values),
}
const trial = trials[positionals[0] ?? '']
if (trial) process.exitCode = await trial()
else {
  process.stderr.write(`torture: name a trial: ${Object.keys(trials).join(', ')}\n`)
  process.exitCode = 2
}
