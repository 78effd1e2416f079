// The metadata tree's rows in SQLite: one connection writes, on a thread of its own; a second,
// read-only one serves reads on the caller's thread. In WAL mode a reader is never blocked by a
// commit and sees everything committed before it began.
import { QuireError, errorCodes, type ErrorCode } from '../../errors.ts'
import type { Thread, Threads } from '../threads.ts'
import type {
  LogChange,
  LogEntry,
  ReplicatedTreeStore,
  TreeBatch,
  TreeRow,
  TreeStores,
} from '../tree-store.ts'
import { LogReader, imageOf, treeColumns, type TreeColumns } from './log-reader.ts'
import { openSqlite, sqliteError, type SqliteDatabase, type SqliteStatement } from './sqlite.ts'
import type { TreeChange, TreeFailure, TreeReply, TreeRequest } from './tree-thread.ts'

export function createTreeStores(threads: Threads): TreeStores {
  return {
    async open(path) {
      const thread = threads.start('io/real/tree-thread', ask({ type: 'open', path }))
      const writer = new Writer(thread, path)
      try {
        await writer.opened
        return new SqliteTreeStore(path, writer)
      } catch (error) {
        await thread.terminate()
        throw QuireError.is(error) ? error : sqliteError(error, path, 'open')
      }
    },
  }
}

const ask = (request: TreeRequest): TreeRequest => request

interface Waiting {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** The writing thread, as its owner sees it: one message a batch. */
class Writer {
  readonly opened: Promise<void>
  readonly #thread: Thread
  readonly #path: string
  readonly #waiting = new Map<number, Waiting>()
  readonly #closed = Promise.withResolvers<void>()
  #lastId = 0
  #ended: Error | undefined

  constructor(thread: Thread, path: string) {
    this.#thread = thread
    this.#path = path
    this.opened = this.#wait(0)
    thread.receive((message) => this.#receive(message as TreeReply))
    void thread.ended.then((error) => this.#end(error ?? new Error('the thread was ended')))
  }

  make(change: TreeChange): Promise<void> {
    const id = ++this.#lastId
    const done = this.#wait(id)
    if (this.#ended === undefined) this.#thread.post(ask({ type: 'change', id, change }))
    return done
  }

  async close(): Promise<void> {
    if (this.#ended === undefined) {
      this.#thread.post(ask({ type: 'close' }))
      await this.#closed.promise
    }
    await this.#thread.terminate()
  }

  #wait(id: number): Promise<void> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }

  #receive(reply: TreeReply): void {
    if (reply.type === 'closed') {
      this.#closed.resolve()
      return
    }
    const id = reply.type === 'opened' ? 0 : reply.id
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    if (reply.type === 'failed') waiting?.reject(failureOf(reply.error, this.#path))
    else waiting?.resolve()
  }

  #end(error: Error): void {
    this.#ended = new QuireError(
      'QUIRE_IO',
      `the thread of ${this.#path} ended: ${error.message}`,
      {
        cause: error,
      },
    )
    for (const { reject } of this.#waiting.values()) reject(this.#ended)
    this.#waiting.clear()
    this.#closed.resolve()
  }
}

/**
 * Bytes in one buffer of their own: a message copies the whole memory behind each view that is in
 * it, be it a chunk of the network.
 */
class Packer {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(values: Iterable<Uint8Array | undefined>) {
    let size = 0
    for (const value of values) size += value?.length ?? 0
    this.#bytes = new Uint8Array(size)
  }

  pack(data: Uint8Array): Uint8Array {
    this.#bytes.set(data, this.#at)
    this.#at += data.length
    return this.#bytes.subarray(this.#at - data.length, this.#at)
  }

  facts(facts: TreeBatch['facts']): TreeBatch['facts'] {
    return new Map([...facts].map(([name, value]) => [name, value && this.pack(value)] as const))
  }
}

function packed({ put, remove, facts }: TreeBatch): TreeBatch {
  const packer = new Packer([...put.map(({ data }) => data), ...facts.values()])
  const rows = put.map((row) => ({ ...row, data: packer.pack(row.data) }))
  return { put: rows, remove, facts: packer.facts(facts) }
}

function packedLog(change: LogChange): LogChange {
  const packer = new Packer([...change.entries.map(({ data }) => data), ...change.facts.values()])
  const entries = change.entries.map((entry) => ({ ...entry, data: packer.pack(entry.data) }))
  return { ...change, entries, facts: packer.facts(change.facts) }
}

function failureOf({ code, message }: TreeFailure, path: string): QuireError {
  const known = Object.keys(errorCodes).find((each) => each === code) as ErrorCode | undefined
  return new QuireError(known ?? 'QUIRE_IO', message, { facts: { path } })
}

class SqliteTreeStore implements ReplicatedTreeStore {
  readonly #path: string
  readonly #writer: Writer
  readonly #reader: SqliteDatabase
  readonly #get: SqliteStatement
  readonly #children: SqliteStatement
  readonly #owned: SqliteStatement
  readonly #expirable: SqliteStatement
  readonly #facts: SqliteStatement
  readonly #log: LogReader

  constructor(path: string, writer: Writer) {
    this.#path = path
    this.#writer = writer
    this.#reader = openSqlite(path, { readonly: true, fileMustExist: true })
    const prepare = (sql: string): SqliteStatement => this.#reader.prepare(sql)
    this.#get = prepare(`select ${treeColumns} from node where path = ?`)
    this.#children = prepare('select name from node where parent = ?').pluck()
    // The second condition lets the partial index serve it.
    this.#owned = prepare("select path from node where owner = ? and owner <> '0'").pluck()
    this.#expirable = prepare("select path from node where kind in ('container', 'ttl')").pluck()
    this.#facts = prepare('select name, value from fact where name >= ? order by name')
    this.#log = new LogReader(this.#reader)
  }

  async get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    return this.#read(() =>
      paths.map((path) => {
        const row = this.#get.get(path) as TreeColumns | undefined
        return row && { ...row, owner: BigInt(row.owner) }
      }),
    )
  }

  async children(path: string): Promise<string[]> {
    return this.#read(() => sorted(this.#children.all(path) as string[]))
  }

  async ownedBy(session: bigint): Promise<string[]> {
    return this.#read(() => sorted(this.#owned.all(String(session)) as string[]))
  }

  async expirable(): Promise<string[]> {
    return this.#read(() => sorted(this.#expirable.all() as string[]))
  }

  async facts(prefix: string): Promise<Map<string, Uint8Array>> {
    return this.#read(() => {
      const found = new Map<string, Uint8Array>()
      const rows = this.#facts.iterate(prefix) as Iterable<{ name: string; value: Uint8Array }>
      for (const { name, value } of rows) {
        if (!name.startsWith(prefix)) break
        found.set(name, value)
      }
      return found
    })
  }

  commit(batch: TreeBatch): Promise<void> {
    return this.#writer.make({ type: 'commit', batch: packed(batch) })
  }

  apply(batch: TreeBatch): Promise<void> {
    return this.#writer.make({ type: 'apply', batch: packed(batch) })
  }

  append(change: LogChange): Promise<void> {
    return this.#writer.make({ type: 'append', log: packedLog(change) })
  }

  async logFacts(): Promise<Map<string, Uint8Array>> {
    return this.#read(() => this.#log.facts())
  }

  async logRange(): Promise<{ first: number; last: number } | undefined> {
    return this.#read(() => this.#log.range())
  }

  async entries(range: { from: number; to: number; bytesMax: number }): Promise<LogEntry[]> {
    return this.#read(() => this.#log.entries(range))
  }

  image(chunkBytes: number): AsyncIterable<TreeBatch> {
    return imageOf(this.#path, chunkBytes)
  }

  stage(piece: TreeBatch, isFirst: boolean): Promise<void> {
    return this.#writer.make({ type: 'stage', batch: packed(piece), isFirst })
  }

  install(change: LogChange): Promise<void> {
    return this.#writer.make({ type: 'install', log: packedLog(change) })
  }

  async close(): Promise<void> {
    this.#reader.close()
    await this.#writer.close()
  }

  #read<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw sqliteError(error, this.#path, 'read')
    }
  }
}

/** SQLite orders by UTF-8 bytes, the contract by code units: they differ beyond the basic plane. */
function sorted(names: string[]): string[] {
  return names.sort()
}
