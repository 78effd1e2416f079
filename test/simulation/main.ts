// npm run simulate -- --seed N | --seeds A..B [--ms N] [--long] [--jobs N] [--json]
//                     --replay FILE [--shrink RUNS]
//                     [--canary ID] [--until] [--times N] [--trace]: in this process, one by one
//                     [--raft]: a group that replicates the metadata; so too
// One line of JSON for each seed; exits with 1 when a checker found something. A run that failed is
// written into a file, and drawn on standard error.
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { canaryOf } from '../canaries/list.ts'
import { release } from '../canaries/release.ts'
import { guardGlobals } from './guard.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    replay: { type: 'string' },
    /** Makes a replay smaller, in at most so many runs. */
    shrink: { type: 'string' },
    /** Where runs that failed are written to; searches for canaries write none by themselves. */
    replays: { type: 'string' },
    canary: { type: 'string' },
    /** Virtual milliseconds of faults. */
    ms: { type: 'string' },
    /** Hours of faults in each run, minutes apart. */
    long: { type: 'boolean', default: false },
    jobs: { type: 'string' },
    /** Runs each seed so often. */
    times: { type: 'string', default: '1' },
    /** Ends at the first seed that fails. */
    until: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    trace: { type: 'boolean', default: false },
    /** A group that replicates the metadata, without the rest of a node. */
    raft: { type: 'boolean', default: false },
  },
})

const { json } = values
const isSearch = values.canary !== undefined && json
const replays = values.replays ?? (isSearch ? undefined : 'replays')
const faultMs = values.ms === undefined ? undefined : Number(values.ms)
const [from = 1, to = from] = (values.seeds ?? values.seed ?? '1').split('..').map(Number)
const alone = from === to || values.canary !== undefined || values.trace || values.until
const jobs = Number(values.jobs ?? (alone ? 0 : availableParallelism()))

const known = values.canary === undefined ? undefined : canaryOf(values.canary)
let ok: boolean
if (values.raft || known?.world === 'group') {
  if (known) release(known)
  else guardGlobals()
  const { groupsOneByOne } = await import('./raft/seeds.ts')
  const trace = values.trace ? (line: string) => process.stderr.write(`${line}\n`) : undefined
  const { times, until } = values
  const seeds = { from, to, times: Number(times), until, faultMs }
  ok = await groupsOneByOne(seeds, { canary: known, trace, json })
} else if (jobs > 0 && values.replay === undefined) {
  const { runMany } = await import('./many.ts')
  let next = from
  const tally = await runMany({
    next: () => (next <= to ? next++ : undefined),
    total: to - from + 1,
    jobs,
    faultMs,
    isLong: values.long,
    json,
    replays: replays ?? 'replays',
  })
  process.stderr.write(`${tally.coverage}\n${tally.summary}\n`)
  ok = tally.ok
} else {
  if (known) release(known)
  else guardGlobals()
  const here = await import('./here.ts')
  const say = (line: string) => process.stderr.write(`${line}\n`)
  const how = { canary: known, say, trace: values.trace ? say : undefined, json, replays }
  if (values.replay !== undefined) {
    const text = readFileSync(values.replay, 'utf8')
    ok = await here.replay(text, {
      ...how,
      file: values.replay,
      shrink: Number(values.shrink ?? 0),
    })
  } else {
    const { times, until } = values
    ok = await here.oneByOne(
      { from, to, times: Number(times), until, faultMs, isLong: values.long },
      how,
    )
  }
}
process.exitCode = ok ? 0 : 1
