// What a node does in trials of forwarding: commands on a state in memory and on a database, a few
// at a time, each with a name of its own.
import { setTimeout as after } from 'node:timers/promises'
import type { Node } from '../../src/index.ts'
import { QuireError } from '../../src/index.ts'
import { databaseOf, machine } from '../simulation/states.ts'

export interface Executing {
  readonly node: Pick<Node, 'replica' | 'database'>
  readonly prefix: string
  /** Told of each answer, and of each failure. */
  readonly say: (line: object) => void
}

export interface States {
  readonly list: readonly string[]
  readonly table: readonly string[]
}

const inFlight = 3

export async function executeUntil(stop: AbortSignal, trial: Executing): Promise<States> {
  const { node } = trial
  const list = await node.replica('list', machine, { snapshotEvery: 400 })
  const table = await databaseOf(node, 'table')
  const kinds = {
    list: (name: string) => list.execute(name),
    table: (name: string) => table.execute('add', name),
  }
  const workers = Object.entries(kinds).flatMap(([of, execute]) =>
    Array.from({ length: inFlight }, (_, worker) =>
      work(stop, { ...trial, prefix: `${trial.prefix}.${worker}` }, { of, execute }),
    ),
  )
  await Promise.all(workers)
  const rows = await table.query({
    sql: 'select name from command order by place',
    consistency: 'linearizable',
  })
  const seen = await list.query(null, { consistency: 'linearizable' })
  await list.close()
  await table.close()
  return { list: seen, table: rows.map((row) => String(row['name'])) }
}

async function work(
  stop: AbortSignal,
  { prefix, say }: Executing,
  state: { of: string; execute: (name: string) => Promise<number> },
): Promise<void> {
  for (let number = 0; !stop.aborted; number++) {
    const name = `${prefix}.${number}`
    try {
      say({ event: 'acked', of: state.of, name, place: await state.execute(name) })
    } catch (error) {
      say({ event: 'failed', of: state.of, name, code: QuireError.is(error) && error.code })
    }
    await after(2)
  }
}
