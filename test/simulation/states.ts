// The replicated states of the runs: lists of names, where each command adds one.

import type { Client } from '../../src/embedded/client.ts'
import type { Database } from '../../src/embedded/replica/databases.ts'
import type { SqlTransaction } from '../../src/io/index.ts'
import type { Machine } from '../../src/snapshot/memory-state.ts'

type List = readonly string[]

export const machine: Machine<List, string, number, null, List> = {
  create: () => [],
  apply: (list, name) => ({ state: [...list, name], result: list.length }),
  query: (list) => list,
  *snapshot(list) {
    for (const name of list) yield Buffer.from(`${name}\n`)
  },
  async restore(chunks) {
    const parts: Uint8Array[] = []
    for await (const chunk of chunks) parts.push(Buffer.from(chunk))
    return Buffer.concat(parts).toString().split('\n').slice(0, -1)
  },
}

/**
 * The same; `loads` is called when a snapshot is loaded, and what it gives back when all but its
 * own time has passed.
 */
export function machineWith(loads: () => () => Promise<void>): typeof machine {
  const restore = async (chunks: AsyncIterable<Uint8Array>): Promise<List> => {
    const loaded = loads()
    const list = await machine.restore(chunks)
    await loaded()
    return list
  }
  return { ...machine, restore }
}

const commands = {
  add(tx: SqlTransaction, name: string): number {
    const place = Number(tx.get('select count(*) as n from command')?.['n'])
    tx.run('insert into command (place, name) values (?, ?)', place, name)
    return place
  },
}

const migrations = ['create table command (place integer not null, name text not null)']

export function databaseOf(
  client: Pick<Client, 'database'>,
  name: string,
  signal?: AbortSignal,
): Promise<Database<typeof commands>> {
  const options = { migrations, commands, snapshotEvery: 40, checkEvery: 10 }
  return client.database(name, options, { signal })
}
