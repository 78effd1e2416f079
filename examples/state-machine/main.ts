// A durable log, a replicated state machine and its SQLite snapshot at work on real data, on three
// processes that have nothing but one another.
//
//   node examples/state-machine/main.ts [--dir DIR] [--fresh] [--flights N]
//
// 20,000 flights become 20,000 commands. Each is durable in a log before it is answered, and
// applied to a SQLite database in each of the processes exactly once; while they are submitted one
// process after the other is killed (trials.ts). Stop it all with Ctrl-C or `kill -9` whenever you
// like and start it again: it goes on where it was.

import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { aggregate, airportsSql, routesSql } from './direct.ts'
import { readFlights, type Flight } from './flights.ts'
import { createMembers, type Member } from './members.ts'
import { kilobytes, number, say, seconds, table } from './report.ts'
import { leaderOf, Trials, type Roles, type Stage } from './trials.ts'

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string', default: join(import.meta.dirname, 'data') },
    fresh: { type: 'boolean', default: false },
    flights: { type: 'string', default: '20000' },
  },
})

/** Who does what, so that each kill hits another one: found, not prescribed. */
async function assign(members: readonly Member[]): Promise<Roles> {
  const leader = (await leaderOf(members)) ?? members[0]
  const [owner, submitter] = members.filter((member) => member !== leader)
  if (!leader || !owner || !submitter) throw new Error('there are three')
  return { leader, owner, submitter }
}

const stagesOf = (total: number): Stage[] =>
  (['leader', 'owner', 'submitter', undefined] as const).map((kill, index) => ({
    kill,
    to: Math.round((total * (index + 1)) / 4),
  }))

/** The same rows give the same text, and the same text the same hash. */
async function hashOf(member: Member): Promise<string> {
  const hash = createHash('sha256')
  for (const sql of [routesSql, airportsSql, 'select fed from feed']) {
    hash.update(JSON.stringify(await member.query(sql)))
  }
  return hash.digest('hex').slice(0, 16)
}

/**
 * The local database is a copy that starts quickly, no more. Without it, the snapshot and the rest
 * of the log bring it back.
 */
async function recoverWithoutLocalState(member: Member): Promise<number> {
  await member.close()
  await rm(join(member.dir, 'state'), { recursive: true, force: true })
  await member.launch()
  return member.start()
}

async function equalsDirectAggregation(member: Member, input: readonly Flight[]): Promise<boolean> {
  const routes = await member.query(routesSql)
  const airports = await member.query(airportsSql)
  return isDeepStrictEqual({ routes, airports }, aggregate(input))
}

async function printTables(member: Member): Promise<void> {
  const busiest = `select origin || ' → ' || destination route, flights, distance / flights miles,
    round(1.0 * delay / flights, 1) delay from route`
  table(
    'Busiest routes',
    ['route', 'flights', 'miles', 'minutes late, mean'],
    await member.query(`${busiest} order by flights desc, route limit 8`),
  )
  table(
    'Worst delays (routes with 20 flights or more)',
    ['route', 'flights', 'miles', 'minutes late, mean'],
    await member.query(
      `${busiest} where flights >= 20 order by 1.0 * delay / flights desc limit 8`,
    ),
  )
  table(
    'Busiest airports',
    ['airport', 'departures', 'arrivals', 'minutes late, mean'],
    await member.query(
      `select code, departures, arrivals, round(1.0 * delay / (departures + arrivals), 1) delay
       from airport order by departures + arrivals desc, code limit 8`,
    ),
  )
}

async function main(): Promise<void> {
  if (options.fresh) await rm(options.dir, { recursive: true, force: true })
  const input = readFlights().slice(0, Number(options.flights))
  say(`Quire keeps everything in ${options.dir}: three nodes, each in a process of its own`)

  let trials: Trials | undefined
  const fed = (count: number): void => trials?.fed(count)
  const members = await createMembers({ dir: options.dir, flights: input.length, fed })
  await Promise.all(members.map((member) => member.launch()))
  const { leader, owner, submitter } = await assign(members)
  for (const member of [owner, submitter, leader]) await member.start()
  const before = Number((await owner.query('select fed from feed'))[0]?.['fed'])
  if (before > 0) say(`${number(before)} of ${number(input.length)} flights are there already.`)
  say(`${leader.name} leads the metadata, ${submitter.name} submits`)

  const beganMs = performance.now()
  trials = new Trials({ members, total: input.length, fed: before })
  for (const stage of stagesOf(input.length)) await trials.run(stage, submitter)
  trials.stop()
  const ms = performance.now() - beganMs

  const recoveryMs = await recoverWithoutLocalState(leader)
  const isWell = await report(members, { input, count: input.length - before, ms, recoveryMs })
  await Promise.all(members.map((member) => member.close()))
  if (!isWell) process.exitCode = 1
  hints()
}

interface Done {
  readonly input: readonly Flight[]
  /** How many were submitted by this run, and how long that took. */
  readonly count: number
  readonly ms: number
  readonly recoveryMs: number
}

/** Whether all is as it must be. */
async function report(members: readonly Member[], done: Done): Promise<boolean> {
  const { input, count, ms, recoveryMs } = done
  const [member] = members
  if (!member) return false
  await printTables(member)
  const { snapshot, oldest, position } = await member.log()
  say('')
  if (count > 0)
    say(
      `Commands:  ${number(count)} in ${seconds(ms)}, the kills among them; ` +
        'each durable on two disks of three',
    )
  if (snapshot) {
    const { bytes, position: at } = snapshot
    say(`Snapshot:  ${kilobytes(bytes)}, at position ${number(at)} of the log`)
    say(`Log:       positions ${number(oldest)} to ${number(position - 1)}`)
  }
  say(
    `Recovery:  ${seconds(recoveryMs)} from the snapshot and the rest of the log; the local ` +
      'database was deleted',
  )
  const hashes = await Promise.all(members.map(hashOf))
  const isOne = new Set(hashes).size === 1
  say(
    isOne
      ? `States:    all three have the hash ${hashes[0]}`
      : `States:    FAILED: they differ: ${hashes.join(', ')}`,
  )
  const isEqual = await equalsDirectAggregation(member, input)
  say(
    isEqual
      ? 'Check:     the state equals a direct SQL aggregation of the file'
      : 'Check:     FAILED: the state differs from a direct SQL aggregation of the file',
  )
  return isOne && isEqual
}

function hints(): void {
  say(`
What to look at next
  run it again                      it finds its work done, and recovers once more
  run it with --fresh, kill -9 it   half-way, and run it again without: the sums are right
  examples/state-machine/state.ts   the state machine: a schema and one function
  examples/state-machine/member     a node, its state machine, and who submits to it
  docs/logs.md                      what a log, a replica and a snapshot promise, byte by byte`)
}

await main()
