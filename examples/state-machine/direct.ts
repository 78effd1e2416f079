// The same figures without Quire: the file in a table, and SQL over it. What the replicated state
// must equal.

import Database from 'better-sqlite3'
import type { Flight } from './flights.ts'

/** The rows of `route` and `airport`, in this order on both sides. */
export const routesSql =
  'select origin, destination, flights, delay, distance from route order by origin, destination'
export const airportsSql =
  'select code, departures, arrivals, delay, distance from airport order by code'

export function aggregate(flights: readonly Flight[]): { routes: unknown[]; airports: unknown[] } {
  const database = new Database(':memory:')
  try {
    database.exec('create table flight (origin, destination, delay integer, distance integer)')
    const insert = database.prepare('insert into flight values (?, ?, ?, ?)')
    database.transaction(() => {
      for (const f of flights) insert.run(f.origin, f.destination, f.delay, f.distance)
    })()
    const routes = database.prepare(
      `select origin, destination, count(*) flights, sum(delay) delay, sum(distance) distance
       from flight group by origin, destination order by origin, destination`,
    )
    const airports = database.prepare(
      `select code, sum(departed) departures, sum(arrived) arrivals,
         sum(delay) delay, sum(distance) distance
       from (select origin code, 1 departed, 0 arrived, delay, distance from flight
             union all select destination, 0, 1, delay, distance from flight)
       group by code order by code`,
    )
    return { routes: routes.all(), airports: airports.all() }
  } finally {
    database.close()
  }
}
