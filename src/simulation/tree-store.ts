// The rows of a metadata tree on a simulated disk: what the disk loses, delays or refuses, this
// store does. One file of records, each a batch with its checksum; a torn last record is none.
// Opening writes everything into a new file, so that nothing is ever written behind a tail of
// unknown durability: SQLite's store does the same by a checkpoint.
//
// As with SQLite, a commit is visible to reads before whoever made it is told.

import { deserialize, serialize } from 'node:v8'
import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Files, OpenFile } from '../io/files.ts'
import type { TreeBatch, TreeRow, TreeStore, TreeStores } from '../io/tree-store.ts'
import { MemoryTreeStore } from '../metadata/memory/tree-store.ts'
import { crc32c } from '../wire/crc32c.ts'
import { createSimulatedFiles } from './files.ts'
import type { SimulatedProcess } from './node.ts'

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
async function newest(place: Place, old: readonly number[]): Promise<Image> {
  for (const generation of [...old].reverse()) {
    const file = await place.files.open(nameOf(place, generation), 'read')
    const batches = await readBatches(file)
    await file.close()
    if (batches.length === 0) continue
    const image = new Image()
    for (const batch of batches) await image.commit(batch)
    return image
  }
  return new Image()
}

async function readBatches(file: OpenFile): Promise<TreeBatch[]> {
  const bytes = Buffer.alloc(await file.bytes())
  await file.read(bytes, 0)
  const batches: TreeBatch[] = []
  for (let at = 0; at + headBytes <= bytes.length;) {
    const size = bytes.readUInt32BE(at)
    const body = bytes.subarray(at + headBytes, at + headBytes + size)
    if (size === 0 || body.length < size || crc32c(body, 0, size) !== bytes.readUInt32BE(at + 4))
      break
    const batch: unknown = deserialize(body)
    if (!isBatch(batch)) break
    batches.push(batch)
    at += headBytes + size
  }
  return batches
}

function isBatch(value: unknown): value is TreeBatch {
  return typeof value === 'object' && value !== null && 'put' in value && 'facts' in value
}

/** Rows in memory that can be taken as one batch. */
class Image extends MemoryTreeStore {
  readonly #paths = new Set<string>()

  override async commit(batch: TreeBatch): Promise<void> {
    for (const path of batch.remove) this.#paths.delete(path)
    for (const { path } of batch.put) this.#paths.add(path)
    await super.commit(batch)
  }

  async whole(): Promise<TreeBatch> {
    const rows = await this.get([...this.#paths])
    return {
      put: rows.flatMap((row) => row ?? []),
      remove: [],
      facts: await this.facts(''),
    }
  }
}

class SimulatedTreeStore implements TreeStore {
  readonly #task: SimulatedProcess
  readonly #file: OpenFile
  readonly #image: Image
  #at = 0
  #dead: QuireError | undefined
  /** There was no room for it: the next attempt writes over what there is of it. */
  #refused: TreeBatch | undefined

  constructor(task: SimulatedProcess, parts: { file: OpenFile; image: Image }) {
    this.#task = task
    this.#file = parts.file
    this.#image = parts.image
  }

  async begin(): Promise<void> {
    await this.#append(await this.#image.whole())
  }

  get(paths: readonly string[]): Promise<(TreeRow | undefined)[]> {
    return this.#read(() => this.#image.get(paths))
  }

  children(path: string): Promise<string[]> {
    return this.#read(() => this.#image.children(path))
  }

  ownedBy(session: bigint): Promise<string[]> {
    return this.#read(() => this.#image.ownedBy(session))
  }

  expirable(): Promise<string[]> {
    return this.#read(() => this.#image.expirable())
  }

  facts(prefix: string): Promise<Map<string, Uint8Array>> {
    return this.#read(() => this.#image.facts(prefix))
  }

  async commit(batch: TreeBatch): Promise<void> {
    if (this.#dead) throw this.#dead
    const isAgain = this.#refused === undefined || this.#refused === batch
    invariant(isAgain, 'behind a full disk the same batch comes again')
    try {
      await this.#append(batch)
      this.#refused = undefined
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_DISK_FULL')) {
        this.#refused = batch
        throw error
      }
      const text = 'an earlier commit failed: its outcome is unknown'
      this.#dead = QuireError.is(error) ? error : new QuireError('QUIRE_IO', text, { cause: error })
      throw this.#dead
    }
    await this.#image.commit(batch)
    await this.#task.later('tree.committed', handOverMs, () => undefined)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    await this.#task.later('tree.read', handOverMs, () => undefined)
    return work()
  }

  async #append(batch: TreeBatch): Promise<void> {
    const body = serialize(batch)
    const head = Buffer.alloc(headBytes)
    head.writeUInt32BE(body.length, 0)
    head.writeUInt32BE(crc32c(body, 0, body.length), 4)
    await this.#file.write(Buffer.concat([head, body]), this.#at)
    this.#at += headBytes + body.length
    await this.#file.datasync()
  }
}
