// Segment files as a whole: made ready for a new use, read, looked through.

import { join } from 'node:path'
import type { Files, JournalDevice, OpenFile } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import type { Superblock } from '../identity/superblock-codec.ts'
import { superblockError } from '../identity/superblock-store.ts'
import { recordTypes, type RecordType } from './contract.ts'
import {
  alignToBlock,
  blockBytes,
  decodeSegmentHeader,
  encodeSegmentHeader,
  isHeaderAt,
  payloadLengthAt,
  payloadStateAt,
  payloadStates,
  recordBytes,
  recordHeaderBytes,
  seedOf,
  type SegmentHeader,
  typeAt,
} from './format.ts'
import { scanSegment } from './scan.ts'
import { Segment, segmentPath, slotOfName } from './segment.ts'

export interface NewUse {
  readonly files: Files
  readonly device: JournalDevice
  readonly directory: string
  readonly slot: number
  readonly header: SegmentHeader
  readonly image: Uint8Array
}

/** Makes a file ready: of its size, with its header, durable by name; opens it for commits. */
export async function prepareSegment(use: NewUse): Promise<Segment> {
  const { files, device, header, slot } = use
  const path = segmentPath(use.directory, slot)
  try {
    await device.prepare(path, header.segmentBytes)
  } catch (error) {
    // Half a file would keep the space that others wait for.
    if (QuireError.is(error, 'QUIRE_DISK_FULL')) await files.remove(`${path}.new`)
    throw error
  }
  await withFile(files, path, async (file) => {
    await file.write(encodeSegmentHeader(header), 0)
    await file.sync()
  })
  const { sequence, uuid, segmentBytes } = header
  const segment = new Segment({ slot, sequence, uuid, path, bytes: segmentBytes })
  segment.open(await device.open(path, use.image))
  return segment
}

async function withFile<T>(
  files: Files,
  path: string,
  work: (file: OpenFile) => Promise<T>,
): Promise<T> {
  const file = await files.open(path, 'write')
  try {
    return await work(file)
  } finally {
    await file.close()
  }
}

/** Files that a process was making when it ended. */
export async function removeUnfinished(files: Files, directory: string): Promise<void> {
  for (const name of await files.list(directory)) {
    if (name.endsWith('.journal.new')) await files.remove(join(directory, name))
  }
}

/** Gives the end of a file that is sealed early back to the disk. */
export function shortenFile(files: Files, path: string, bytes: number): Promise<void> {
  return withFile(files, path, (file) => file.truncate(bytes))
}

/** Reads the beginning of a file into memory that is used again for the next one. */
export class FileLoader {
  readonly #files: Files
  #memory: Buffer = Buffer.alloc(0)

  constructor(files: Files) {
    this.#files = files
  }

  /**
   * At most `limit` bytes; a view that the next call overwrites. `unreadable`: what to do about
   * sectors that cannot be read: fail, or put zeros there, which then do not verify.
   */
  async load(path: string, limit: number, unreadable: 'fail' | 'zeros' = 'fail'): Promise<Buffer> {
    if (this.#memory.length < limit) this.#memory = Buffer.allocUnsafeSlow(limit)
    const file = await this.#files.open(path, 'read')
    try {
      const bytes = this.#memory.subarray(0, limit)
      try {
        return bytes.subarray(0, await file.read(bytes, 0))
      } catch (error) {
        if (unreadable === 'fail' || !QuireError.is(error, 'QUIRE_IO')) throw error
        return await readAround(file, bytes, await file.bytes())
      }
    } finally {
      await file.close()
    }
  }
}

/** Reads block by block, with zeros for those that cannot be read. */
async function readAround(file: OpenFile, into: Buffer, fileBytes: number): Promise<Buffer> {
  const bytes = into.subarray(0, Math.min(into.length, fileBytes))
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = bytes.subarray(at, at + blockBytes)
    try {
      await file.read(block, at)
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_IO')) throw error
      block.fill(0)
    }
  }
  return bytes
}

/**
 * Looks through the segment files that the superblock does not name, and resolves to their slots:
 * spare files. One that was begun after this superblock proves that a later superblock was lost.
 */
export async function findSpares(
  files: Files,
  directory: string,
  superblock: Superblock,
): Promise<number[]> {
  const named = new Set(superblock.segments.map(({ slot }) => slot))
  const loader = new FileLoader(files)
  const spares: number[] = []
  for (const name of await files.list(directory)) {
    const slot = slotOfName(name)
    if (slot === undefined || named.has(slot)) continue
    const path = segmentPath(directory, slot)
    const header = decodeSegmentHeader(await loader.load(path, blockBytes))
    const isOurs = header?.bookieId === superblock.bookieId
    if (isOurs && (await isLater(loader, path, { header, superblock }))) {
      const text = `${path} was begun after the newest superblock that can be read`
      throw superblockError(directory, text)
    }
    spares.push(slot)
  }
  return spares
}

/**
 * A start writes one batch, at most, before the superblock names its segment: `carriedBatches`.
 */
async function isLater(
  loader: FileLoader,
  path: string,
  about: { header: SegmentHeader; superblock: Superblock },
): Promise<boolean> {
  const { header, superblock } = about
  if (header.incarnation > superblock.incarnation) return true
  if (header.sequence !== superblock.nextSegment) return header.sequence > superblock.nextSegment
  const bytes = await loader.load(path, header.segmentBytes)
  const scan = scanSegment(bytes, seedOf(header.uuid), bytes.length)
  return scan.batches.length > header.carriedBatches
}

/** Whether a directory has segment files, whatever is in them. */
export async function hasSegments(files: Files, directory: string): Promise<boolean> {
  return (await files.list(directory)).some((name) => slotOfName(name) !== undefined)
}

export interface StateRecord {
  readonly type: RecordType
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

const windowBytesMax = 1024 * 1024

/**
 * The records of a complete segment that are no entries, from its file, some at a time: what must
 * outlive it. QUIRE_JOURNAL_CORRUPT where the file cannot be walked.
 */
export async function* stateRecords(files: Files, segment: Segment): AsyncGenerator<StateRecord[]> {
  const { path, seed, durableEnd } = segment
  // A part of a segment, so that what is written again of a window surely fits the next one.
  const windowBytes = Math.min(windowBytesMax, segment.fileBytes / 4)
  const file = await files.open(path, 'read')
  try {
    for (let at = blockBytes; at < durableEnd;) {
      const window = await readWindow(file, at, Math.min(windowBytes, durableEnd - at))
      const found: StateRecord[] = []
      let next = walkWindow(window, { at, seed, durableEnd }, found)
      if (next === at) {
        // The first record is longer than a window.
        if (window.length < recordHeaderBytes || !isHeaderAt(window, 0, seed, at)) {
          throw unwalkable(path, at)
        }
        next = at + recordBytes(payloadLengthAt(window, 0))
        if (typeAt(window, 0) !== recordTypes.entry) {
          const whole = await readWindow(file, at, next - at)
          if (walkWindow(whole, { at, seed, durableEnd }, found) !== next) {
            throw unwalkable(path, at)
          }
        }
      }
      if (found.length > 0) yield found
      at = next
    }
  } finally {
    await file.close()
  }
}

async function readWindow(file: OpenFile, at: number, bytes: number): Promise<Buffer> {
  const window = Buffer.allocUnsafeSlow(bytes)
  return window.subarray(0, await file.read(window, at))
}

/** Walks records that lie whole in the window; returns the file offset where it stopped. */
function walkWindow(
  window: Buffer,
  from: { at: number; seed: number; durableEnd: number },
  found: StateRecord[],
): number {
  const { seed, durableEnd } = from
  let at = from.at
  for (;;) {
    const here = at - from.at
    if (at >= durableEnd || here + recordHeaderBytes > window.length) return at
    if (!isHeaderAt(window, here, seed, at)) return at
    const start = here + recordHeaderBytes
    const end = start + payloadLengthAt(window, here)
    const type = typeAt(window, here)
    if (type === recordTypes.batchEnd) {
      at = alignToBlock(at + recordBytes(end - start))
    } else if (type === recordTypes.entry) {
      at += recordBytes(end - start)
    } else {
      if (end > window.length) return at
      if (payloadStateAt(window, here, seed, at) !== payloadStates.whole) return at
      found.push({ type, bytes: window, start, end })
      at += recordBytes(end - start)
    }
  }
}

function unwalkable(path: string, at: number): QuireError {
  return new QuireError(
    'QUIRE_JOURNAL_CORRUPT',
    `${path} cannot be read from offset ${at}: it is kept, and its space with it`,
    { facts: { path, offset: at } },
  )
}
