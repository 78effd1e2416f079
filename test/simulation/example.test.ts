// The example's state machine under faults, as its users would test theirs; and with two mistakes
// in it, each of which must be found at the entry that it is in.
import t from 'tap'
import { aggregate, airportsSql, routesSql } from '../../examples/state-machine/direct.ts'
import { readFlights, type Flight } from '../../examples/state-machine/flights.ts'
import { commands, migrations } from '../../examples/state-machine/state.ts'
import type { Database, SqlTransaction } from '../../src/index.ts'
import { simulate, simulateMany, SimulationFailure } from '../../src/simulation.ts'
import type { ClientProcess } from '../../src/simulation.ts'

t.setTimeout(300_000)

const flights = readFlights().slice(0, 500)

interface Fed {
  readonly sent: Flight[]
  readonly answered: Flight[]
}

type Flights = Database<typeof commands>

async function feed(database: Flights, { random, pause, model }: ClientProcess<Fed>) {
  for (let left = 12; left > 0; left -= 1) {
    const flight = flights[random.below(flights.length)]
    if (flight === undefined) throw new Error('there are flights')
    model.sent.push(flight)
    await database.execute('flight', flight)
    model.answered.push(flight)
    await pause([0, 150])
  }
}

/** What was answered is there; when nothing else was sent, the sums are those of the file. */
async function compare({ client, model, check }: ClientProcess<Fed>): Promise<void> {
  const database = await client.database('flights', { migrations, commands })
  const sql = 'select fed from feed'
  const [row] = await database.query({ sql, consistency: 'linearizable' })
  const fed = Number(row?.['fed'])
  const { sent, answered } = model
  check(fed >= answered.length && fed <= sent.length, `${fed} flights, ${answered.length} answered`)
  if (answered.length < sent.length) return
  const routes = await database.query(routesSql)
  const airports = await database.query(airportsSql)
  const expected = aggregate(answered)
  check(JSON.stringify(routes) === JSON.stringify(expected.routes), 'routes are the file’s')
  check(JSON.stringify(airports) === JSON.stringify(expected.airports), 'airports are the file’s')
}

const program = {
  faultMs: 3000,
  model: (): Fed => ({ sent: [], answered: [] }),
  run: async (process: ClientProcess<Fed>) =>
    feed(await process.client.database('flights', { migrations, commands }), process),
  verify: compare,
}

t.test('the example survives, and its sums are right', async (t) => {
  const results = await simulateMany({ ...program, seeds: [1, 2] })
  const calm = await simulate({
    ...program,
    seed: 4,
    faults: ['kill', 'power cut of all', 'reset'],
  })
  for (const { seed, commands, faults } of [...results, calm]) {
    t.ok(commands.answered > 0, `seed ${seed}: ${commands.answered} answered`, { faults })
  }
})

/** However slow this machine is. */
const shrinking = { shrinkRuns: 15, shrinkMs: Infinity }

let seen = 0

const planted: Record<string, [typeof commands.flight, RegExp]> = {
  'the command reads the clock': [
    (tx, flight) => {
      commands.flight(tx, { ...flight, delay: flight.delay + (new Date().getTime() % 60) })
    },
    /^state flights: the command at position (\d+), flight \{ date: '[^}]*\}, uses new Date\(\) on client-\d/,
  ],
  'the command counts outside of the state': [
    (tx: SqlTransaction, flight: Flight) => {
      seen += 1
      commands.flight(tx, { ...flight, distance: flight.distance + (seen % 2) })
    },
    /^state flights: the command at position (\d+), flight \{ date: '[^}]*\}, does something else when/,
  ],
}

for (const [what, [flight, reason]] of Object.entries(planted)) {
  t.test(`${what}: found at the first entry that does`, async (t) => {
    const run = async (process: ClientProcess<Fed>) => {
      const definition = { migrations, commands: { flight } }
      await feed(await process.client.database('flights', definition), process)
    }
    const failed = simulate({ ...program, run, seed: 3, faultMs: 1000, ...shrinking })
    const error: unknown = await failed.catch((error: unknown) => error)
    if (!(error instanceof SimulationFailure)) throw new Error('it was not found', { cause: error })
    t.match(error, { checker: 'determinism', reason })
    const applied = [...error.picture.matchAll(/applies (\d+): flight/g)].map(([, at]) => at)
    t.same([...new Set(applied)], [reason.exec(error.reason)?.[1]], 'no entry before it was')
    t.match(error.picture, /executes flight.*=> determinism/s)
  })
}
