// Reads of the replicated log, and of the whole tree as it is at one moment.
import { verifyEntry } from '../log-entry.ts'
import type { LogEntry, TreeBatch, TreeRow } from '../tree-store.ts'
import { openSqlite, sqliteError, type SqliteDatabase, type SqliteStatement } from './sqlite.ts'

export type TreeColumns = Omit<TreeRow, 'owner'> & { readonly owner: string }

export const treeColumns = `path, data, czxid, mzxid, pzxid, ctime_ms as ctimeMs,
  mtime_ms as mtimeMs, version, cversion, sequence, child_count as childCount, owner, kind,
  ttl_ms as ttlMs`

type StoredEntry = LogEntry & { readonly checksum: number }

export class LogReader {
  readonly #facts: SqliteStatement
  readonly #range: SqliteStatement
  readonly #entries: SqliteStatement

  constructor(database: SqliteDatabase) {
    this.#facts = database.prepare('select name, value from log_fact order by name')
    const range = 'select min(number) as first, max(number) as last from entry'
    this.#range = database.prepare(range)
    this.#entries = database.prepare(
      'select number as "index", term, kind, data, checksum from entry ' +
        'where number between ? and ? order by number',
    )
  }

  facts(): Map<string, Uint8Array> {
    const rows = this.#facts.all() as { name: string; value: Uint8Array }[]
    return new Map(rows.map(({ name, value }) => [name, value]))
  }

  range(): { first: number; last: number } | undefined {
    const found = this.#range.get() as { first: number | null; last: number | null }
    const { first, last } = found
    return first === null || last === null ? undefined : { first, last }
  }

  entries(range: { from: number; to: number; bytesMax: number }): LogEntry[] {
    const found: LogEntry[] = []
    let bytes = 0
    const rows = this.#entries.iterate(range.from, range.to) as Iterable<StoredEntry>
    for (const { checksum, ...entry } of rows) {
      verifyEntry(entry, checksum)
      bytes += entry.data.length
      if (found.length > 0 && bytes > range.bytesMax) break
      found.push(entry)
    }
    return found
  }
}

/** A connection of its own holds the moment while others write on. */
export async function* imageOf(path: string, chunkBytes: number): AsyncGenerator<TreeBatch> {
  const database = openSqlite(path, { readonly: true, fileMustExist: true })
  try {
    database.exec('begin')
    yield* pieces(database, chunkBytes)
  } catch (error) {
    throw sqliteError(error, path, 'read')
  } finally {
    database.close()
  }
}

function* pieces(database: SqliteDatabase, chunkBytes: number): Generator<TreeBatch> {
  let piece = emptyPiece()
  const takes = function* (bytes: number): Generator<TreeBatch> {
    piece.bytes += bytes
    if (piece.bytes < chunkBytes) return
    yield piece
    piece = emptyPiece()
  }
  const facts = database.prepare('select name, value from fact order by name')
  for (const { name, value } of facts.iterate() as Iterable<{ name: string; value: Uint8Array }>) {
    piece.facts.set(name, value)
    yield* takes(name.length + value.length)
  }
  const rows = database.prepare(`select ${treeColumns} from node order by path`)
  for (const row of rows.iterate() as Iterable<TreeColumns>) {
    piece.put.push({ ...row, owner: BigInt(row.owner) })
    yield* takes(row.path.length + row.data.length)
  }
  yield piece
}

function emptyPiece(): {
  put: TreeRow[]
  remove: string[]
  facts: Map<string, Uint8Array>
  bytes: number
} {
  return { put: [], remove: [], facts: new Map(), bytes: 0 }
}
