// A ledger client on honest bookies in memory, with time that moves only when a test says so.

import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Test } from 'tap'
import { QuireError } from '../../src/errors.ts'
import type { LedgerClient, LedgerReader } from '../../src/replication/api.ts'
import { createLedgerClient } from '../../src/replication/index.ts'
import type { LedgerClientOptions, LedgerClientParts } from '../../src/replication/index.ts'
import { BookieCluster } from './bookie-cluster.ts'
import { MemoryLedgerManager, MemoryRegistration } from './ledger-managers.ts'
import { ManualTime } from './manual-time.ts'

const silent = {
  child: () => silent,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export interface Bench {
  readonly cluster: BookieCluster
  readonly ledgers: MemoryLedgerManager
  readonly registration: MemoryRegistration
  readonly time: ManualTime
  readonly client: LedgerClient
  readonly another: (
    options?: LedgerClientOptions,
    parts?: Pick<LedgerClientParts, 'knownBookies'>,
  ) => LedgerClient
}

/** A number below each count, always the same in the same order. */
export function pseudoRandom(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

export async function bench(
  test: Test,
  { bookies = 3, options = {} }: { bookies?: number; options?: LedgerClientOptions } = {},
): Promise<Bench> {
  const cluster = new BookieCluster(bookies)
  const pieces = pseudoRandom(7)
  cluster.pieceBytes = () => 1 + pieces(300)
  const ledgers = new MemoryLedgerManager()
  const registration = new MemoryRegistration()
  for (const [port, { id }] of cluster.bookies.entries()) {
    await registration.register({ bookieId: id, host: 'memory', port })
  }
  const time = new ManualTime()
  const another: Bench['another'] = (more = {}, other = {}) => {
    const below = pseudoRandom(1)
    const random = { below, bytes: (count: number) => Buffer.alloc(count, 1), uuid: () => 'uuid' }
    const parts = { network: cluster, clock: time, timers: time, random, logger: silent }
    const made = createLedgerClient({
      ...parts,
      ...other,
      ledgers,
      registration,
      options: { ...options, ...more },
    })
    test.teardown(() => made[Symbol.asyncDispose]())
    return made
  }
  return { cluster, ledgers, registration, time, client: another(), another }
}

export async function contents(
  reader: LedgerReader,
  range: { from?: number; to?: number } = {},
): Promise<string[]> {
  const found: string[] = []
  for await (const entry of reader.read(range))
    found.push(`${entry.entryId}:${String(entry.payload)}`)
  return found
}

export const numbered = (count: number, from: number = 0): string[] =>
  Array.from({ length: count }, (_, i) => `${from + i}:entry ${from + i}`)

export const code = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : String(error)
  }
}

/** Waits without time until something holds. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) await nextTurn()
  if (!condition()) throw new Error('it did not come to that')
}
