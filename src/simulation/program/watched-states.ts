// The databases of a process with an observer, who sees the transaction that is running from below,
// without what a command may not do in it.

import { QuireError } from '../../errors.ts'
import type { SqlTransaction, StateStore, StateStores } from '../../io/index.ts'

export class WatchedStates implements StateStores {
  readonly #states: StateStores
  readonly #open = new Map<string, StateStore>()
  #running: SqlTransaction | undefined

  constructor(states: StateStores) {
    this.#states = states
  }

  /** The transaction that is running: while a command is applied there is one. */
  get running(): SqlTransaction {
    if (this.#running) return this.#running
    throw new QuireError('QUIRE_INVARIANT', 'a command is applied in a transaction')
  }

  /** The tables of the open database of a name, as text. */
  async imageOf(name: string): Promise<string> {
    const [, store] = [...this.#open].find(([path]) => path.endsWith(`/${name}.sqlite`)) ?? []
    if (!store) throw new QuireError('QUIRE_INVARIANT', `the database ${name} is open`)
    return store.transact(sqlImage)
  }

  async open(path: string): Promise<StateStore> {
    const store = await this.#states.open(path)
    this.#open.set(path, store)
    return {
      transact: (work, options) =>
        store.transact((transaction) => this.#during(transaction, work), options),
      query: (sql, values) => store.query(sql, values),
      snapshot: (chunkBytes) => store.snapshot(chunkBytes),
      close: () => store.close(),
    }
  }

  restore(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#states.restore(path, chunks)
  }

  remove(path: string): Promise<void> {
    return this.#states.remove(path)
  }

  #during<T>(transaction: SqlTransaction, work: (transaction: SqlTransaction) => T): T {
    this.#running = transaction
    try {
      return work(transaction)
    } finally {
      this.#running = undefined
    }
  }
}

const tablesSql = `select name from sqlite_schema where type = 'table'
  and name not like 'quire\\_%' escape '\\' and name not like 'sqlite\\_%' escape '\\'
  order by name`

/** Every row of every table of the program, a line each, in the order of the tables. */
export function sqlImage(transaction: SqlTransaction): string {
  return transaction
    .all(tablesSql)
    .flatMap(({ name }) => {
      const rows = transaction.all(`select * from "${String(name).replaceAll('"', '""')}"`)
      return rows.map((row) => `${String(name)} ${rowText(row)}`)
    })
    .join('\n')
}

function rowText(row: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(row, (_name, value: unknown) => {
    if (typeof value === 'bigint') return String(value)
    return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value
  })
}
