// The replicated state: tables that only commands change. A command gets a transaction and its
// arguments, and uses nothing else - no clock, no random - because every node applies it by itself
// and must come to the same rows.

import type { SqlTransaction } from '../../src/index.ts'
import type { Flight } from './flights.ts'

/** Applied once, through the log, in this order. To change the schema, append. */
export const migrations: readonly string[] = [
  `create table route (
     origin text, destination text, flights integer, delay integer, distance integer,
     primary key (origin, destination)
   ) without rowid;
   create table airport (
     code text primary key, departures integer, arrivals integer, delay integer, distance integer
   ) without rowid;
   create table feed (fed integer);
   insert into feed values (0);`,
]

/**
 * One flight more. It only adds, and carries no key: were it applied twice, every sum would be
 * wrong.
 */
function flight(tx: SqlTransaction, { origin, destination, delay, distance }: Flight): void {
  tx.run(
    `insert into route values (?, ?, 1, ?, ?) on conflict do update set
       flights = flights + 1, delay = delay + excluded.delay,
       distance = distance + excluded.distance`,
    origin,
    destination,
    delay,
    distance,
  )
  const airport = `insert into airport values (?, ?, ?, ?, ?) on conflict do update set
    departures = departures + excluded.departures, arrivals = arrivals + excluded.arrivals,
    delay = delay + excluded.delay, distance = distance + excluded.distance`
  tx.run(airport, origin, 1, 0, delay, distance)
  tx.run(airport, destination, 0, 1, delay, distance)
  tx.run('update feed set fed = fed + 1')
}

export const commands: { readonly flight: typeof flight } = { flight }
