// npm run canaries [-- ID …] [--seeds 100] [--json]: searches for each mistake, and says which
// checker named it. Exits with 1 when one was not found.
import { parseArgs } from 'node:util'
import { canaries } from './list.ts'
import { search } from '../simulation/search.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seeds: { type: 'string', default: '100' }, json: { type: 'boolean', default: false } },
})

const wanted = canaries.filter(({ id }) => positionals.length === 0 || positionals.includes(id))
let missed = 0
for (const { id, what } of wanted) {
  const found = await search(id, [1, Number(values.seeds)])
  if (!found.caught) missed += 1
  const how = found.caught
    ? `${found.seeds} seeds, ${found.checker}`
    : `not in ${found.seeds} seeds`
  console.log(values.json ? JSON.stringify(found) : `${id.padStart(3)} ${what}: ${how}`)
}
process.exitCode = missed > 0 ? 1 : 0
