// The input: 20,000 real flights of the year 2001, a file of the npm package vega-datasets.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

export interface Flight {
  /** Departure, local time. */
  readonly date: string
  /** Minutes late on arrival; negative when early. */
  readonly delay: number
  /** Miles. */
  readonly distance: number
  readonly origin: string
  readonly destination: string
}

export function readFlights(): Flight[] {
  const entry = createRequire(import.meta.url).resolve('vega-datasets')
  const file = join(dirname(entry), '..', 'data', 'flights-20k.json')
  const flights: Flight[] = JSON.parse(readFileSync(file, 'utf8'))
  return flights
}
