// The directories of the ledger disks carry the bookie's identity, so that a disk that is not
// mounted, or another bookie's, is noticed at start.

import { join } from 'node:path'
import type { Files, Random } from '../../io/index.ts'
import { QuireError, messageOf } from '../../errors.ts'
import { publishFile } from './superblock-store.ts'

const fileName = 'IDENTITY'
const bytesMax = 4096

interface Stamp {
  readonly format: 'quire-ledgers-1'
  readonly clusterId: string
  readonly bookieId: string
  readonly directoryId: string
}

export interface Owner {
  readonly clusterId: string
  readonly bookieId: string
}

/**
 * Checks that each directory is there and this bookie's, and that all that it has had (`known`) are
 * among them. Resolves to the directories that carry no identity yet: new ones, to be stamped.
 */
export async function checkLedgerDirectories(
  files: Files,
  directories: readonly string[],
  expected: { readonly owner: Owner; readonly known: readonly string[] },
): Promise<{ ids: string[]; unstamped: string[] }> {
  const { owner, known } = expected
  const ids: string[] = []
  const unstamped: string[] = []
  for (const directory of directories) {
    const stamp = await readStamp(files, directory)
    if (stamp === undefined) {
      unstamped.push(directory)
    } else if (stamp.bookieId !== owner.bookieId || stamp.clusterId !== owner.clusterId) {
      const text = `${directory} belongs to bookie ${stamp.bookieId} of cluster ${stamp.clusterId}`
      throw mismatch(directory, `${text}, not to ${owner.bookieId} of ${owner.clusterId}`)
    } else if (ids.includes(stamp.directoryId)) {
      throw mismatch(directory, `${directory} is named twice`)
    } else {
      ids.push(stamp.directoryId)
    }
  }
  const missing = known.filter((id) => !ids.includes(id))
  if (missing.length === 0) return { ids, unstamped }
  const [first] = unstamped
  if (first !== undefined) throw mismatch(first, `${first} is empty, and a ledger disk is missing`)
  throw mismatch(
    directories.join(', '),
    `${missing.length} of this bookie's ledger directories are not among ${directories.join(', ')}`,
  )
}

/** Gives new directories the bookie's identity. Resolves to their ids. */
export async function stampLedgerDirectories(
  parts: { readonly files: Files; readonly random: Random },
  directories: readonly string[],
  owner: Owner,
): Promise<string[]> {
  const ids: string[] = []
  for (const directory of directories) {
    const directoryId = parts.random.uuid()
    const stamp: Stamp = {
      format: 'quire-ledgers-1',
      clusterId: owner.clusterId,
      bookieId: owner.bookieId,
      directoryId,
    }
    const text = `${JSON.stringify(stamp)}\n`
    await publishFile(parts.files, join(directory, fileName), Buffer.from(text))
    ids.push(directoryId)
  }
  return ids
}

async function readStamp(files: Files, directory: string): Promise<Stamp | undefined> {
  // Fails with QUIRE_DIRECTORY_MISSING where there is none.
  await files.list(directory)
  const path = join(directory, fileName)
  if ((await files.facts(path)) === undefined) return undefined
  const file = await files.open(path, 'read')
  try {
    const bytes = Buffer.alloc(bytesMax)
    const count = await file.read(bytes, 0)
    return parseStamp(path, bytes.toString('utf8', 0, count))
  } finally {
    await file.close()
  }
}

function parseStamp(path: string, text: string): Stamp {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw mismatch(path, `${path} cannot be read (${messageOf(error)})`)
  }
  const field = (name: string): string => {
    const found = typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
    if (typeof found === 'string') return found
    throw mismatch(path, `${path} names no ${name}`)
  }
  if (field('format') !== 'quire-ledgers-1') throw mismatch(path, `${path} has an unknown format`)
  return {
    format: 'quire-ledgers-1',
    clusterId: field('clusterId'),
    bookieId: field('bookieId'),
    directoryId: field('directoryId'),
  }
}

function mismatch(path: string, what: string): QuireError {
  const text = `${what}: check which disk is mounted where`
  return new QuireError('QUIRE_IDENTITY_MISMATCH', text, { facts: { path } })
}
