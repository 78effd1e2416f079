// npm run canaries [-- ID …] [--json]: makes each mistake and runs the seed that last caught it, and
// a few more when the code has changed since. Exits with 1 when one is not named by a checker.
import { parseArgs } from 'node:util'
import { canaries, canaryOf, toCome } from './list.ts'
import { lineOf, lineToCome, tableOf } from './report.ts'
import { onAllCores, searchFor, seedsFromLast, type Found } from './search.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'boolean', default: false } },
})

const all = positionals.length === 0
const wanted = all ? canaries : positionals.map(canaryOf)
const absent = all ? toCome : []
const found: Found[] = []
await onAllCores(wanted, async (canary) => {
  const one = await searchFor(canary, seedsFromLast(canary))
  found.push(one)
  if (values.json) console.log(JSON.stringify(lineOf(one)))
})
if (values.json) for (const each of absent) console.log(JSON.stringify(lineToCome(each)))
else console.log(tableOf(wanted, found, absent))
process.exitCode = found.every(({ caught }) => caught) ? 0 : 1
