// The databases of replicated states in memory, with crashes: what was committed without `durable`
// may be lost, newest first, as a file's unsynced tail is; a database is never half a transaction.
// On a process's disk calls come late or never, and fail: a transaction that failed is undone, and
// may yet be there after a crash.

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
import { systemError } from './disk.ts'
import { DiskCalls, type Call } from './files.ts'
import type { SimulatedProcess } from './node.ts'

/** Commits that a crash may take away. */
const undurableMax = 8
/** Without room for a page no transaction fits. */
const pageBytes = 4096

interface Image {
  /** The oldest is durable; each later one is one commit further. */
  commits: Buffer[]
  /** What a commit that failed may have left: there after a crash, unless another followed. */
  doubtful: Buffer | undefined
  open: MemoryStateStore | undefined
}

export interface SimulatedStateStores extends StateStores {
  /** The machine stops: every open database ends, and comes back as one of its last commits. */
  crash(): void
  /** The same databases on the disk of a process. */
  on(task: SimulatedProcess): StateStores
}

/** What a disk does to calls. */
interface Medium {
  make<T>(kind: Call<T>['kind'], path: string, work: () => T): Promise<T>
  /** Throws when there is no room, or a call of the kind fails. */
  check(kind: 'read' | 'write' | 'sync', path: string): void
}

const perfect: Medium = {
  make: async (_kind, _path, work) => work(),
  check: () => undefined,
}

export function createSimulatedStateStores(parts: {
  readonly random: Random
}): SimulatedStateStores {
  const images = new Map<string, Image>()
  return {
    ...storesOf(images, perfect),
    on: (task) => storesOf(images, mediumOf(new DiskCalls(task))),
    crash() {
      for (const image of images.values()) {
        image.open?.kill()
        image.open = undefined
        const all = [...image.commits, ...(image.doubtful === undefined ? [] : [image.doubtful])]
        const kept = 1 + parts.random.below(Math.max(all.length, 1))
        image.commits = all.slice(0, kept)
        image.doubtful = undefined
      }
    },
  }
}

function mediumOf(calls: DiskCalls): Medium {
  return {
    make: (kind, path, work) => calls.make({ kind, path, doing: 'use', work }),
    check(kind, path) {
      const { disk } = calls
      const isFull = disk.usedBytes() + pageBytes > disk.capacityBytes
      if (kind === 'write' && (isFull || calls.fails('full', path))) {
        throw systemError('ENOSPC', path)
      }
      if (calls.fails(kind, path)) throw systemError('EIO', path)
    },
  }
}

function storesOf(images: Map<string, Image>, medium: Medium): StateStores {
  return {
    async open(path) {
      return medium.make('other', path, () => {
        const image = images.get(path) ?? { commits: [], doubtful: undefined, open: undefined }
        if (image.open) throw new QuireError('QUIRE_IO', `${path} is open already`)
        medium.check('write', path)
        images.set(path, image)
        image.open = new MemoryStateStore(path, image, medium)
        return image.open
      })
    },

    async restore(path, chunks) {
      const parts: Uint8Array[] = []
      for await (const chunk of chunks) {
        await medium.make('write', path, () => medium.check('write', path))
        parts.push(Buffer.from(chunk))
      }
      // The old one goes before the new one has its name: a crash in between leaves neither.
      await medium.make('other', path, () => images.delete(path))
      await medium.make('other', path, () =>
        images.set(path, { commits: [Buffer.concat(parts)], doubtful: undefined, open: undefined }),
      )
    },

    async remove(path) {
      await medium.make('other', path, () => images.delete(path))
    },
  }
}

class MemoryStateStore implements StateStore {
  readonly #path: string
  readonly #image: Image
  readonly #medium: Medium
  #database: SqliteDatabase
  readonly #statements = new Map<string, SqliteStatement>()
  readonly #transaction: SqlTransaction
  /** Calls reach the database one after the other, as they were made. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(path: string, image: Image, medium: Medium) {
    this.#path = path
    this.#image = image
    this.#medium = medium
    this.#database = opened(image.commits.at(-1))
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
    const outcome = await this.#inTurn('write', () => {
      this.#medium.check('write', this.#path)
      const done = attempt(() => this.#database.transaction(() => work(this.#transaction))())
      if ('result' in done) this.#committed(options.durable === true)
      return done
    })
    // What the work itself throws is no failure of the disk.
    if ('error' in outcome) throw outcome.error
    return outcome.result
  }

  async query(sql: string, values: readonly SqlValue[]): Promise<SqlRow[]> {
    const outcome = await this.#inTurn('read', () => {
      this.#medium.check('read', this.#path)
      return attempt(() => {
        const statement = prepared(this.#database, this.#statements, sql)
        if (!statement.readonly) throw new TypeError('a query changes nothing')
        return rowsOf(statement, values)
      })
    })
    if ('error' in outcome) throw queryError(outcome.error, this.#path, sql)
    return outcome.result
  }

  snapshot(chunkBytes: number): AsyncIterable<Uint8Array> {
    return this.#chunksOf(this.#database.serialize(), chunkBytes)
  }

  async close(): Promise<void> {
    await this.#inTurn('other', () => this.kill())
    if (this.#image.open === this) this.#image.open = undefined
  }

  kill(): void {
    this.#database.close()
  }

  #committed(durable: boolean): void {
    const image = this.#image
    const bytes = this.#database.serialize()
    image.doubtful = undefined
    if (durable) {
      try {
        this.#medium.check('sync', this.#path)
      } catch (error) {
        image.doubtful = bytes
        this.#statements.clear()
        this.#database.close()
        this.#database = opened(image.commits.at(-1))
        throw error
      }
      image.commits.length = 0
    }
    image.commits.push(bytes)
    if (image.commits.length > undurableMax) image.commits.shift()
  }

  #inTurn<T>(kind: Call<T>['kind'], work: () => T): Promise<T> {
    const before = this.#last
    const turn = before.then(() => this.#medium.make(kind, this.#path, work))
    this.#last = Promise.allSettled([turn])
    return turn
  }

  async *#chunksOf(bytes: Buffer, chunkBytes: number): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += chunkBytes) {
      await this.#medium.make('read', this.#path, () => this.#medium.check('read', this.#path))
      yield bytes.subarray(at, at + chunkBytes)
    }
  }
}

function opened(image: Buffer | undefined): SqliteDatabase {
  const database = openSqliteImage(image)
  database.pragma('foreign_keys = ON')
  return database
}

function attempt<T>(work: () => T): { readonly result: T } | { readonly error: unknown } {
  try {
    return { result: work() }
  } catch (error) {
    return { error }
  }
}
