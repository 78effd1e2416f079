// The two files of the superblock. The newest valid one counts; the next goes over the other, so
// that a crash in the middle of writing leaves the one before.

import { join } from 'node:path'
import type { Files } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import { decodeSuperblock, encodeSuperblock, type Superblock } from './superblock-codec.ts'

const names = ['super.A', 'super.B'] as const

/** What the two files hold. */
export type SlotState = 'valid' | 'bad' | 'missing'

export interface SuperblocksFound {
  readonly block: Superblock | undefined
  readonly states: readonly [SlotState, SlotState]
  readonly store: SuperblockStore
}

/** Reads both. A file that cannot be read for now fails, and does not count as damaged. */
export async function readSuperblocks(files: Files, directory: string): Promise<SuperblocksFound> {
  const [one, other] = names.map((name) => join(directory, name))
  invariant(one !== undefined && other !== undefined, 'there are two superblocks')
  const a = await readSlot(files, one)
  const b = await readSlot(files, other)
  const newest = (b.block?.sequence ?? 0) > (a.block?.sequence ?? 0) ? 1 : 0
  const block = newest === 1 ? b.block : a.block
  const store = new SuperblockStore(files, directory, { block, slot: newest })
  return { block, states: [a.state, b.state], store }
}

export class SuperblockStore {
  readonly #files: Files
  readonly #directory: string
  #current: Superblock | undefined
  #slot: number
  /**
   * What was read at start may be known to the system and not to the disk, where a sync of an
   * earlier process failed: so the first superblock of a start replaces the other file as a whole,
   * by a rename, and at no moment is there less than one that is durable.
   */
  #isDoubtful = true
  #writing = false

  constructor(
    files: Files,
    directory: string,
    newest: { block: Superblock | undefined; slot: number },
  ) {
    this.#files = files
    this.#directory = directory
    this.#current = newest.block
    this.#slot = newest.block === undefined ? 1 : newest.slot
  }

  /** The last one that is durable. */
  get current(): Superblock {
    const current = this.#current
    if (current === undefined) invariant(false, 'there is a superblock')
    return current
  }

  /** The first superblock of a new bookie. */
  async format(block: Omit<Superblock, 'sequence'>): Promise<void> {
    invariant(this.#current === undefined, 'a superblock is never replaced by a new identity')
    await this.#put({ ...block, sequence: 1 })
  }

  /**
   * Durable on return. After a failure the one before counts; QUIRE_DISK_FULL and QUIRE_IO may be
   * tried again.
   */
  async write(changes: Partial<Omit<Superblock, 'sequence'>>): Promise<void> {
    await this.#put({ ...this.current, ...changes, sequence: this.current.sequence + 1 })
  }

  async #put(block: Superblock): Promise<void> {
    invariant(!this.#writing, 'superblocks are written one after the other')
    this.#writing = true
    try {
      const slot = 1 - this.#slot
      const bytes = encodeSuperblock(block)
      if (this.#isDoubtful) await publishFile(this.#files, this.#path(slot), bytes)
      else await writeSlot(this.#files, this.#path(slot), bytes)
      this.#isDoubtful = false
      this.#slot = slot
      this.#current = block
    } finally {
      this.#writing = false
    }
  }

  #path(slot: number): string {
    return join(this.#directory, names[slot === 0 ? 0 : 1])
  }
}

async function readSlot(
  files: Files,
  path: string,
): Promise<{ state: SlotState; block?: Superblock | undefined }> {
  const facts = await files.facts(path)
  if (facts === undefined) return { state: 'missing' }
  const file = await files.open(path, 'read')
  try {
    const bytes = Buffer.alloc(facts.bytes)
    const count = await file.read(bytes, 0)
    const block = decodeSuperblock(bytes.subarray(0, count))
    return { state: block === undefined ? 'bad' : 'valid', block }
  } finally {
    await file.close()
  }
}

/** A file that is there is written in place; a new one gets its name when it is complete. */
async function writeSlot(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  if ((await files.facts(path)) !== undefined) {
    await writeAll(files, { path, mode: 'write', bytes })
    return
  }
  await publishFile(files, path, bytes)
}

/** Makes a small file that is there whole, or not at all. */
export async function publishFile(files: Files, path: string, bytes: Uint8Array): Promise<void> {
  const fresh = `${path}.new`
  await files.remove(fresh)
  await writeAll(files, { path: fresh, mode: 'create', bytes })
  await files.rename(fresh, path)
  await files.syncDirectory(join(path, '..'))
}

async function writeAll(
  files: Files,
  what: { path: string; mode: 'write' | 'create'; bytes: Uint8Array },
): Promise<void> {
  const file = await files.open(what.path, what.mode)
  try {
    await file.write(what.bytes, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The refusal of a directory whose superblock cannot be trusted. */
export function superblockError(directory: string, what: string): QuireError {
  return new QuireError(
    'QUIRE_SUPERBLOCK_CORRUPT',
    `${what} in ${directory}: nothing was changed; restore the directory, or move it aside and ` +
      'start as a new bookie',
    { facts: { path: directory } },
  )
}
