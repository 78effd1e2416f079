// How often each of our bookies was started, outside BookKeeper's root: an older copy of a bookie's
// disk is recognised by it.

import { QuireError } from '../errors.ts'
import { quireDirectory } from './cluster.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import { createWithParents, readIfThere, removeIfThere } from './nodes.ts'

/** `root`: of the bookie's cluster. Default `/ledgers`. */
type InCluster = CallOptions & { root?: string | undefined }

const pathOf = (bookieId: string, root: string | undefined): string =>
  `${quireDirectory(root)}/incarnations/${bookieId}`

/** The highest incarnation that was claimed, undefined when the bookie is unknown. Linearizable. */
export async function readIncarnation(
  session: MetadataSession,
  bookieId: string,
  { root, signal }: InCluster = {},
): Promise<number | undefined> {
  const found = await readIfThere(session, pathOf(bookieId, root), { signal })
  return found && parse(found.data, bookieId)
}

/**
 * Records that the bookie runs as this incarnation. QUIRE_STALE_DISK when a higher one is there:
 * then this disk is older than what the bookie has promised. An equal or a lower one there is fine,
 * and so is none.
 */
export async function claimIncarnation(
  session: MetadataSession,
  claim: { bookieId: string; incarnation: number },
  { root, signal }: InCluster = {},
): Promise<void> {
  const { bookieId, incarnation } = claim
  const data = Buffer.from(String(incarnation))
  const path = pathOf(bookieId, root)
  for (;;) {
    const found = await readIfThere(session, path, { signal })
    const there = found && parse(found.data, bookieId)
    if (there !== undefined && there > incarnation) throw stale(claim, there)
    if (there === incarnation) return
    try {
      if (found) await session.set(path, data, found.stat.version, { signal })
      else await createWithParents(session, path, { data, signal })
      return
    } catch (error) {
      const raced =
        QuireError.is(error, 'QUIRE_BAD_VERSION') ||
        QuireError.is(error, 'QUIRE_NODE_EXISTS') ||
        QuireError.is(error, 'QUIRE_NO_NODE')
      if (!raced) throw error
    }
  }
}

/** For a bookie that is gone for good, and of which no ledger speaks any more. */
export function removeIncarnation(
  session: MetadataSession,
  bookieId: string,
  { root, signal }: InCluster = {},
): Promise<void> {
  return removeIfThere(session, pathOf(bookieId, root), { signal })
}

function stale(claim: { bookieId: string; incarnation: number }, there: number): QuireError {
  const { bookieId, incarnation } = claim
  return new QuireError(
    'QUIRE_STALE_DISK',
    `incarnation ${there} of bookie ${bookieId} was started before, and this disk only knows ` +
      `${incarnation}: it is an old copy; start the newest disk, or a new bookie with an empty one`,
    { facts: { bookieId, incarnation, there } },
  )
}

function parse(data: Uint8Array, bookieId: string): number {
  const text = Buffer.from(data).toString('latin1')
  const value = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value)) return value
  throw new QuireError('QUIRE_BAD_METADATA', `the incarnation of bookie ${bookieId} is no number`, {
    facts: { bookieId },
  })
}
