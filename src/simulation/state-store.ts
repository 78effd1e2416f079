// The databases of replicated states in memory, with crashes: what was committed without `durable`
// may be lost, newest first, as a file's unsynced tail is; a database is never half a transaction.

import { QuireError } from '../errors.ts'
import type {
  Random,
  SqlRow,
  SqlTransaction,
  SqlValue,
  StateStore,
  StateStores,
} from '../io/index.ts'
import { openSqliteImage, type SqliteDatabase, type SqliteStatement } from '../io/real/sqlite.ts'
import { prepared, queryError, rowsOf, transactionOn } from '../io/real/state-store.ts'

/** Commits that a crash may take away. */
const undurableMax = 8

interface Image {
  /** The oldest is durable; each later one is one commit further. */
  commits: Buffer[]
  open: MemoryStateStore | undefined
}

export interface SimulatedStateStores extends StateStores {
  /** The machine stops: every open database ends, and comes back as one of its last commits. */
  crash(): void
}

export function createSimulatedStateStores(parts: {
  readonly random: Random
}): SimulatedStateStores {
  const images = new Map<string, Image>()
  return {
    async open(path) {
      await Promise.resolve()
      const image = images.get(path) ?? { commits: [], open: undefined }
      if (image.open) throw new QuireError('QUIRE_IO', `${path} is open already`)
      images.set(path, image)
      image.open = new MemoryStateStore(path, image)
      return image.open
    },

    async restore(path, chunks) {
      const parts: Uint8Array[] = []
      for await (const chunk of chunks) parts.push(Buffer.from(chunk))
      images.set(path, { commits: [Buffer.concat(parts)], open: undefined })
    },

    async remove(path) {
      await Promise.resolve()
      images.delete(path)
    },

    crash() {
      for (const image of images.values()) {
        image.open?.kill()
        image.open = undefined
        const kept = 1 + parts.random.below(Math.max(image.commits.length, 1))
        image.commits = image.commits.slice(0, kept)
      }
    },
  }
}

class MemoryStateStore implements StateStore {
  readonly #path: string
  readonly #image: Image
  readonly #database: SqliteDatabase
  readonly #statements = new Map<string, SqliteStatement>()
  readonly #transaction: SqlTransaction

  constructor(path: string, image: Image) {
    this.#path = path
    this.#image = image
    this.#database = openSqliteImage(image.commits.at(-1))
    this.#database.pragma('foreign_keys = ON')
    if (image.commits.length === 0) image.commits = [this.#database.serialize()]
    this.#transaction = transactionOn({
      statement: (sql) => prepared(this.#database, this.#statements, sql),
      script: (sql) => this.#database.exec(sql),
      path,
    })
  }

  async transact<T>(
    work: (transaction: SqlTransaction) => T,
    options: { durable?: boolean } = {},
  ): Promise<T> {
    await Promise.resolve()
    const result = this.#database.transaction(() => work(this.#transaction))()
    const { commits } = this.#image
    if (options.durable) commits.length = 0
    commits.push(this.#database.serialize())
    if (commits.length > undurableMax) commits.shift()
    return result
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlRow[]> {
    await Promise.resolve()
    try {
      const statement = prepared(this.#database, this.#statements, sql)
      if (!statement.readonly) throw new TypeError('a query changes nothing')
      return rowsOf(statement, values)
    } catch (error) {
      throw queryError(error, this.#path, sql)
    }
  }

  snapshot(chunkBytes: number): AsyncIterable<Uint8Array> {
    return chunksOf(this.#database.serialize(), chunkBytes)
  }

  async close(): Promise<void> {
    await Promise.resolve()
    this.kill()
    this.#image.open = undefined
  }

  kill(): void {
    this.#database.close()
  }
}

async function* chunksOf(bytes: Buffer, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) {
    await Promise.resolve()
    yield bytes.subarray(at, at + chunkBytes)
  }
}
