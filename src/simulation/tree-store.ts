// The rows of a metadata tree on a simulated disk: what the disk loses, delays or refuses, this
// store does. One file of records, each some changes with a checksum; a torn last record is none,
// and neither is what lies behind it: as in SQLite's log, what was not synced is lost from the end.
// Opening writes everything into a new file, so that nothing is ever written behind a tail of
// unknown durability: SQLite's store does the same by a checkpoint.
//
// As with SQLite, a commit is visible to reads before whoever made it is told.

import { deserialize, serialize } from 'node:v8'
import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Files, OpenFile } from '../io/files.ts'
import type { TreeChange } from '../io/real/tree-thread.ts'
import type {
  LogChange,
  LogEntry,
  ReplicatedTreeStore,
  TreeBatch,
  TreeRow,
  TreeStores,
} from '../io/tree-store.ts'
import { crc32c } from '../wire/crc32c.ts'
import { createSimulatedFiles } from './files.ts'
import type { SimulatedProcess } from './node.ts'
import { stored, TreeImage, type StoredChange } from './tree-image.ts'

const headBytes = 8
/** What a read, and the way back of a commit, take. */
const handOverMs = [0, 0.2] as const

export function createSimulatedTreeStores(task: SimulatedProcess): TreeStores {
  const files = createSimulatedFiles(task)
  return {
    async open(path) {
      const at = path.lastIndexOf('/')
      const place = { files, directory: path.slice(0, at), name: path.slice(at + 1) }
      const old = await generations(place)
      const image = await newest(place, old)
      const next = (old.at(-1) ?? 0) + 1
      const file = await files.open(nameOf(place, next), 'create')
      const store = new SimulatedTreeStore(task, { file, image })
      await store.begin()
      await files.syncDirectory(place.directory)
      for (const generation of old) await files.remove(nameOf(place, generation))
      return store
    },
  }
}

interface Place {
  readonly files: Files
  readonly directory: string
  readonly name: string
}

const nameOf = ({ directory, name }: Place, generation: number): string =>
  `${directory}/${name}.${generation}`

async function generations({ files, directory, name }: Place): Promise<number[]> {
  const names = await files.list(directory)
  return names
    .filter((each) => each.startsWith(`${name}.`))
    .map((each) => Number(each.slice(name.length + 1)))
    .sort((a, b) => a - b)
}

/** What the newest file that was completely begun holds. */
async function newest(place: Place, old: readonly number[]): Promise<TreeImage> {
  for (const generation of [...old].reverse()) {
    const file = await place.files.open(nameOf(place, generation), 'read')
    const bytes = Buffer.alloc(await file.bytes())
    await file.read(bytes, 0)
    await file.close()
    const image = await imageIn(bytes)
    if (image !== undefined) return image
  }
  return new TreeImage()
}

/** What the bytes of one file hold; undefined when it was never completely begun. */
async function imageIn(bytes: Buffer): Promise<TreeImage | undefined> {
  const image = new TreeImage()
  const records = recordsIn(bytes)
  for (const { body } of records) {
    const changes: unknown = deserialize(body)
    invariant(isStoredChanges(changes), 'a record is a list of changes')
    for (const change of changes) await image.make(change)
  }
  image.forgetStaged()
  return records.length === 0 ? undefined : image
}

/** Records up to the first that is none. */
export function recordsIn(bytes: Buffer): { at: number; body: Buffer }[] {
  const records: { at: number; body: Buffer }[] = []
  for (let at = 0; at + headBytes <= bytes.length;) {
    const size = bytes.readUInt32BE(at)
    const body = bytes.subarray(at + headBytes, at + headBytes + size)
    if (size === 0 || body.length < size || crc32c(body, 0, size) !== bytes.readUInt32BE(at + 4))
      break
    records.push({ at, body })
    at += headBytes + size
  }
  return records
}

export function isStoredChanges(value: unknown): value is StoredChange[] {
  return Array.isArray(value)
}

export function recordOf(changes: readonly StoredChange[]): Buffer {
  const body = serialize(changes)
  const head = Buffer.alloc(headBytes)
  head.writeUInt32BE(body.length, 0)
  head.writeUInt32BE(crc32c(body, 0, body.length), 4)
  return Buffer.concat([head, body])
}

class SimulatedTreeStore implements ReplicatedTreeStore {
  readonly #task: SimulatedProcess
  readonly #file: OpenFile
  readonly #image: TreeImage
  #at = 0
  #dead: QuireError | undefined
  /** There was no room for it: the next attempt writes over what there is of it. */
  #refused: object | undefined
  /** One after the other, as they were called. */
  #last: Promise<unknown> = Promise.resolve()

  constructor(task: SimulatedProcess, parts: { file: OpenFile; image: TreeImage }) {
    this.#task = task
    this.#file = parts.file
    this.#image = parts.image
  }

  async begin(): Promise<void> {
    await this.#write(recordOf(await this.#image.whole()), true)
  }

  get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    return this.#read(() => this.#image.rows.get(paths))
  }

  children(path: string): Promise<string[]> {
    return this.#read(() => this.#image.rows.children(path))
  }

  ownedBy(session: bigint): Promise<string[]> {
    return this.#read(() => this.#image.rows.ownedBy(session))
  }

  expirable(): Promise<string[]> {
    return this.#read(() => this.#image.rows.expirable())
  }

  facts(prefix: string): Promise<Map<string, Uint8Array>> {
    return this.#read(() => this.#image.rows.facts(prefix))
  }

  logFacts(): Promise<Map<string, Uint8Array>> {
    return this.#read(async () => new Map(this.#image.logFacts))
  }

  logRange(): Promise<{ first: number; last: number } | undefined> {
    return this.#read(async () => this.#image.range)
  }

  entries(range: { from: number; to: number; bytesMax: number }): Promise<LogEntry[]> {
    return this.#read(async () => this.#image.entries(range))
  }

  async *image(chunkBytes: number): AsyncGenerator<TreeBatch> {
    for await (const piece of this.#image.pieces(chunkBytes)) {
      await this.#task.later('tree.read', handOverMs, () => undefined)
      yield piece
    }
  }

  commit(batch: TreeBatch): Promise<void> {
    return this.#make({ type: 'commit', batch }, batch)
  }

  apply(batch: TreeBatch): Promise<void> {
    return this.#make({ type: 'apply', batch }, batch)
  }

  append(log: LogChange): Promise<void> {
    return this.#make({ type: 'append', log }, log)
  }

  stage(batch: TreeBatch, isFirst: boolean): Promise<void> {
    return this.#make({ type: 'stage', batch, isFirst }, batch)
  }

  install(log: LogChange): Promise<void> {
    return this.#make({ type: 'install', log }, log)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  #make(change: TreeChange, asked: object): Promise<void> {
    const made = this.#last.then(() => this.#makeOne(change, asked))
    this.#last = made.catch(() => undefined)
    return made
  }

  async #makeOne(change: TreeChange, asked: object): Promise<void> {
    if (this.#dead) throw this.#dead
    const isAgain = this.#refused === undefined || this.#refused === asked
    invariant(isAgain, 'behind a full disk the same batch comes again')
    const kept = stored(change)
    try {
      await this.#write(recordOf([kept]), change.type !== 'apply' && change.type !== 'stage')
      this.#refused = undefined
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_DISK_FULL')) {
        this.#refused = asked
        throw error
      }
      const text = 'an earlier commit failed: its outcome is unknown'
      this.#dead = QuireError.is(error) ? error : new QuireError('QUIRE_IO', text, { cause: error })
      throw this.#dead
    }
    await this.#image.make(kept)
    await this.#task.later('tree.committed', handOverMs, () => undefined)
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    await this.#task.later('tree.read', handOverMs, () => undefined)
    return work()
  }

  async #write(record: Buffer, isDurable: boolean): Promise<void> {
    await this.#file.write(record, this.#at)
    this.#at += record.length
    if (isDurable) await this.#file.datasync()
  }
}
