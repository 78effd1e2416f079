// A bookie's directories, from the lock to a journal that serves. One function, so that the order
// cannot be got wrong: lock, read who this is, ask the metadata, raise the incarnation durably,
// replay, begin a new segment. What a later step needs is durable before it; a crash between any
// two is repeated by the next start.

import type { DirectoryLock, Io, Logger } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import type { BookieJournal, JournalOwner } from '../journal/contract.ts'
import { blockBytes, idBytesMax, segmentBytesMax, segmentBytesMin } from '../journal/format.ts'
import { findSpares, hasSegments } from '../journal/segment-files.ts'
import { type JournalSettings, startJournal } from '../journal/start.ts'
import { checkLedgerDirectories, stampLedgerDirectories } from './ledger-directories.ts'
import type { Superblock } from './superblock-codec.ts'
import { readSuperblocks, superblockError, type SuperblockStore } from './superblock-store.ts'

/** Who a disk says it is. */
export interface BookieIdentity {
  /** Instance id of the cluster. */
  readonly clusterId: string
  readonly bookieId: string
  /** Grows by one with each start. */
  readonly incarnation: number
}

/** What the metadata says. */
export interface KnownIdentity {
  readonly clusterId: string
  readonly bookieId: string
  /** True when the cluster has seen a bookie of this id: then an empty disk is refused. */
  readonly isKnown: boolean
  /** The last incarnation that the metadata has seen, 0 for none. */
  readonly incarnation: number
}

export interface BookieStoreOptions {
  readonly io: Pick<Io, 'files' | 'journals' | 'timers' | 'random'>
  readonly logger: Logger
  /** Where the journal and the superblock are; created if it is not there. */
  readonly directory: string
  /** On the ledger disks. Created for a new bookie; later each must be there, with its identity. */
  readonly ledgerDirectories: readonly string[]
  /** What the journal holds is replayed into it before this resolves. */
  readonly owner: JournalOwner
  /**
   * Asked once the directory is locked, with what the disk says (undefined: a disk that never held
   * a bookie); answers with what the metadata says. For a new bookie it makes the id up.
   */
  readonly checkIdentity: (onDisk: BookieIdentity | undefined) => Promise<KnownIdentity>
  /** Size of a segment file and of an arena, a multiple of 4096. Default 64 MiB. */
  readonly segmentBytes?: number | undefined
  /** Segments whose bytes are in memory, at least 2. Default 4. */
  readonly arenas?: number | undefined
  /** Bytes appended and not yet durable before appending stops. Default: those of a segment. */
  readonly pendingBytes?: number | undefined
  /** Files kept for a later use instead of being removed. Default 2. */
  readonly spareSegments?: number | undefined
}

export interface BookieStore {
  /** Of this start: the metadata must know its incarnation before anything is served. */
  readonly identity: BookieIdentity
  /** True when the disk held no bookie before. */
  readonly isNew: boolean
  readonly journal: BookieJournal
  /** Closes the journal, once all that was appended is durable, and lets the directories go. */
  close(): Promise<void>
}

const defaultSegmentBytes = 64 * 1024 * 1024
const reserveBytesMax = 8 * 1024 * 1024
/** A batch takes whole blocks: less would not take a few fences and what giving back writes. */
const reserveBytesMin = 6 * blockBytes

/**
 * Opens a bookie's directories. Fails, having changed nothing that counts, with
 * QUIRE_DIRECTORY_IN_USE, QUIRE_DIRECTORY_POISONED, QUIRE_DIRECTORY_MISSING,
 * QUIRE_DIRECTORY_DENIED; QUIRE_SUPERBLOCK_CORRUPT, QUIRE_IDENTITY_UNKNOWN,
 * QUIRE_IDENTITY_MISMATCH, QUIRE_STALE_DISK, QUIRE_RANGE_LOST; QUIRE_DISK_FULL;
 * QUIRE_FSYNC_FAILED, after which this process cannot open the directory again; and with whatever
 * `checkIdentity` fails with.
 */
export async function openBookieStore(options: BookieStoreOptions): Promise<BookieStore> {
  const settings = settingsOf(options)
  const { directory } = options
  const { files } = options.io
  const locks: DirectoryLock[] = []
  const release = async (): Promise<void> => {
    for (const lock of locks.splice(0).reverse()) await lock.release()
  }
  try {
    await files.makeDirectory(directory)
    locks.push(await files.lock(directory))
    const opened = await open(options, settings, locks)
    const { journal } = opened
    return {
      ...opened,
      async close() {
        await journal.close()
        await release()
      },
    }
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_FSYNC_FAILED')) files.poison(directory)
    await release()
    throw error
  }
}

async function open(
  options: BookieStoreOptions,
  settings: JournalSettings,
  locks: DirectoryLock[],
): Promise<Omit<BookieStore, 'close'>> {
  const { io, logger, directory, ledgerDirectories, owner } = options
  const { block, states, store } = await readSuperblocks(io.files, directory)
  if (block === undefined && (states.includes('bad') || (await hasSegments(io.files, directory)))) {
    throw superblockError(directory, 'no superblock can be read')
  }
  if (states.includes('bad')) {
    logger.warn({ path: directory }, 'one of the two superblocks does not verify: the other counts')
  }
  const spares = block === undefined ? [] : await findSpares(io.files, directory, block)
  const known = await options.checkIdentity(block && identityOf(block))
  checkKnown(block, known, directory)
  const isNew = block === undefined
  // Before the first superblock that names them they may not have been made.
  const areNew = isNew || block.ledgerDirectories.length === 0
  for (const ledgers of ledgerDirectories) {
    if (areNew) await io.files.makeDirectory(ledgers)
    if (ledgers !== directory) locks.push(await io.files.lock(ledgers))
  }
  await claim(options, store, { block, known })
  const superblock = store
  const journal = await startJournal({
    io,
    logger,
    directory,
    superblock,
    spares,
    owner,
    settings,
  })
  const identity = identityOf(superblock.current)
  logger.info({ ...identity, sequence: journal.sequence, isNew }, 'the journal is open')
  return { identity, isNew, journal }
}

/** Checks and stamps the ledger directories, and makes this start's incarnation durable. */
async function claim(
  options: BookieStoreOptions,
  store: SuperblockStore,
  who: { block: Superblock | undefined; known: KnownIdentity },
): Promise<void> {
  const { io, ledgerDirectories } = options
  const { block, known } = who
  const expected = { owner: known, known: block?.ledgerDirectories ?? [] }
  const found = await checkLedgerDirectories(io.files, ledgerDirectories, expected)
  // A superblock comes first: a directory that carries an identity which nobody has is of no use.
  if (block === undefined) await store.format(firstSuperblock(known))
  else await store.write({ incarnation: block.incarnation + 1, isClean: false })
  // Those of a start that ended between the two are stamped, and not named yet.
  const areNamed = found.ids.every((id) => expected.known.includes(id))
  if (found.unstamped.length === 0 && areNamed) return
  const stamped = await stampLedgerDirectories(io, found.unstamped, known)
  await store.write({ ledgerDirectories: [...found.ids, ...stamped] })
}

function firstSuperblock(known: KnownIdentity): Omit<Superblock, 'sequence'> {
  return {
    clusterId: known.clusterId,
    bookieId: known.bookieId,
    incarnation: known.incarnation + 1,
    isClean: false,
    durableSequence: 0,
    sealedSequence: 0,
    nextSegment: 1,
    ledgerDirectories: [],
    segments: [],
  }
}

function identityOf(block: Superblock): BookieIdentity {
  const { clusterId, bookieId, incarnation } = block
  return { clusterId, bookieId, incarnation }
}

/** What the disk says must be what the metadata says (semantics B15, steps 1 and 2). */
function checkKnown(block: Superblock | undefined, known: KnownIdentity, directory: string): void {
  const facts = { path: directory, bookieId: known.bookieId, clusterId: known.clusterId }
  for (const id of [known.clusterId, known.bookieId]) {
    invariant(
      id.length > 0 && Buffer.byteLength(id) <= idBytesMax,
      'an id has a usual length',
      facts,
    )
  }
  if (block === undefined) {
    if (!known.isKnown) return
    throw new QuireError(
      'QUIRE_IDENTITY_UNKNOWN',
      `${directory} is empty, but the cluster knows bookie ${known.bookieId}: mount the disk ` +
        'that it wrote to, or join as a new bookie, whose entries are then copied from the others',
      { facts },
    )
  }
  if (block.bookieId !== known.bookieId || block.clusterId !== known.clusterId) {
    throw new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      `${directory} belongs to bookie ${block.bookieId} of cluster ${block.clusterId}, not to ` +
        `${known.bookieId} of ${known.clusterId}: check which disk is mounted where`,
      { facts },
    )
  }
  if (known.incarnation > block.incarnation) {
    throw new QuireError(
      'QUIRE_STALE_DISK',
      `${directory} is an old copy: it ends with start ${block.incarnation} of bookie ` +
        `${block.bookieId}, and the cluster has seen start ${known.incarnation}; what was ` +
        'acknowledged since is not on it: mount the right disk, or join as a new bookie',
      { facts: { ...facts, onDisk: block.incarnation, known: known.incarnation } },
    )
  }
}

function settingsOf(options: BookieStoreOptions): JournalSettings {
  const segmentBytes = options.segmentBytes ?? defaultSegmentBytes
  const arenas = options.arenas ?? 4
  const isWhole = segmentBytes % blockBytes === 0 && segmentBytes >= segmentBytesMin
  if (!isWhole || segmentBytes > segmentBytesMax) {
    const text = `segmentBytes is ${segmentBytes}: give a multiple of ${blockBytes} from `
    throw new QuireError('QUIRE_BAD_OPTION', `${text}${segmentBytesMin} to ${segmentBytesMax}`, {
      facts: { option: 'segmentBytes' },
    })
  }
  if (arenas < 2) {
    throw new QuireError('QUIRE_BAD_OPTION', `arenas is ${arenas}: the journal needs at least 2`, {
      facts: { option: 'arenas' },
    })
  }
  return {
    segmentBytes,
    arenas,
    reserveBytes: Math.max(reserveBytesMin, Math.min(reserveBytesMax, segmentBytes / 8)),
    pendingBytes: options.pendingBytes ?? segmentBytes,
    spareSegments: options.spareSegments ?? 2,
  }
}
