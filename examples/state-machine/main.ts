// A durable log, a replicated state machine and its SQLite snapshot at work on real data.
//
//   node examples/state-machine/main.ts [--dir DIR] [--fresh]
//
// 20,000 flights become 20,000 commands. Each is durable in a log before it is answered, and
// applied to a SQLite database exactly once. Stop it with Ctrl-C or `kill -9` whenever you like and
// start it again: it goes on where it was.

import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import { open, type Database, type Node } from '../../src/index.ts'
import { aggregate, airportsSql, routesSql } from './direct.ts'
import { readFlights, type Flight } from './flights.ts'
import { kilobytes, number, say, seconds, startProgress, table } from './report.ts'
import { commands, migrations } from './state.ts'

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string', default: join(import.meta.dirname, 'data') },
    fresh: { type: 'boolean', default: false },
  },
})

/** Commands without an answer at any time: they share entries of the log, and its fsyncs. */
const inFlightMax = 1000

type Flights = Database<typeof commands>

/** A node is one call, and so is a database on it. Nothing needs to be installed or running. */
async function start(): Promise<{ node: Node; flights: Flights }> {
  const node = await open({ dir: options.dir })
  const flights = await node.database('flights', { migrations, commands, snapshotEvery: 7_500 })
  return { node, flights }
}

/**
 * How many flights the state holds. Linearizable: also what was durable but not yet applied when
 * the process was killed.
 */
async function countFed(flights: Flights): Promise<number> {
  const [row] = await flights.query({
    sql: 'select fed from feed',
    consistency: 'linearizable',
  })
  return Number(row?.['fed'])
}

/**
 * Commands are applied in the order in which they are given, each once. So a state that counts n
 * flights holds the first n of the file, and no bookkeeping of our own is needed to go on with the
 * next.
 */
async function feed(flights: Flights, input: readonly Flight[], fed: number): Promise<void> {
  const progress = startProgress(input.length, fed)
  const pending: Promise<void>[] = []
  let answered = fed
  try {
    for (const flight of input.slice(fed)) {
      if (pending.length >= inFlightMax) {
        await pending.shift()
        progress.update(++answered)
      }
      const execution = flights.execute('flight', flight)
      // The first that fails ends the loop; those behind it must not go unheard.
      execution.catch(() => undefined)
      pending.push(execution)
    }
    for (const execution of pending) {
      await execution
      progress.update(++answered)
    }
  } finally {
    progress.stop()
  }
}

async function printTables(flights: Flights): Promise<void> {
  const busiest = `select origin || ' → ' || destination route, flights, distance / flights miles,
    round(1.0 * delay / flights, 1) delay from route`
  table(
    'Busiest routes',
    ['route', 'flights', 'miles', 'minutes late, mean'],
    await flights.query(`${busiest} order by flights desc, route limit 8`),
  )
  table(
    'Worst delays (routes with 20 flights or more)',
    ['route', 'flights', 'miles', 'minutes late, mean'],
    await flights.query(
      `${busiest} where flights >= ? order by 1.0 * delay / flights desc limit 8`,
      20,
    ),
  )
  table(
    'Busiest airports',
    ['airport', 'departures', 'arrivals', 'minutes late, mean'],
    await flights.query(
      `select code, departures, arrivals, round(1.0 * delay / (departures + arrivals), 1) delay
       from airport order by departures + arrivals desc, code limit 8`,
    ),
  )
}

/**
 * The local database is a copy that starts quickly, no more. Without it, the snapshot and the rest
 * of the log bring it back.
 */
async function recoverWithoutLocalState(): Promise<{ node: Node; flights: Flights; ms: number }> {
  await rm(join(options.dir, 'state'), { recursive: true, force: true })
  const began = performance.now()
  const started = await start()
  await countFed(started.flights)
  return { ...started, ms: performance.now() - began }
}

async function equalsDirectAggregation(
  flights: Flights,
  input: readonly Flight[],
): Promise<boolean> {
  const direct = aggregate(input)
  const routes = await flights.query(routesSql)
  const airports = await flights.query(airportsSql)
  return isDeepStrictEqual({ routes, airports }, direct)
}

async function main(): Promise<void> {
  if (options.fresh) await rm(options.dir, { recursive: true, force: true })
  const input = readFlights()
  say(`Quire keeps everything in ${options.dir}`)

  const first = await start()
  const fed = await countFed(first.flights)
  if (fed > 0) say(`${number(fed)} of ${number(input.length)} flights are there already.`)
  const began = performance.now()
  await feed(first.flights, input, fed)
  const ms = performance.now() - began
  await first.node.close()

  const { node, flights, ms: recoveryMs } = await recoverWithoutLocalState()
  const equal = await equalsDirectAggregation(flights, input)
  await printTables(flights)
  const { snapshots, oldest } = await flights.log.facts()
  const [newest] = snapshots
  const count = input.length - fed
  say('')
  if (count > 0)
    say(
      `Commands:  ${number(count)} in ${seconds(ms)}, ${number(count / (ms / 1000))} a ` +
        'second, each durable',
    )
  if (newest) {
    say(`Snapshot:  ${kilobytes(newest.bytes)}, at position ${number(newest.position)} of the log`)
    say(`Log:       positions ${number(oldest)} to ${number(flights.position - 1)}`)
  }
  say(
    `Recovery:  ${seconds(recoveryMs)} from the snapshot and the rest of the log; the local ` +
      'database was deleted',
  )
  say(
    equal
      ? 'Check:     the state equals a direct SQL aggregation of the file'
      : 'Check:     FAILED: the state differs from a direct SQL aggregation of the file',
  )
  await node.close()
  if (!equal) process.exitCode = 1
  hints()
}

function hints(): void {
  say(`
What to look at next
  run it again                      it finds its work done, and recovers once more
  run it with --fresh, kill -9 it   half-way, and run it again without: the sums are right
  examples/state-machine/state.ts   the state machine: a schema and one function
  docs/logs.md                      what a log, a replica and a snapshot promise, byte by byte`)
}

await main()
