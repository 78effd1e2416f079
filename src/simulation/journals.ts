// What a bookie's journal on a simulated disk holds for sure, read as a start would read it, with
// the place of every record: how an account of damage knows which entries it hit.

import { decodeSuperblock, type Superblock } from '../bookie/identity/superblock-codec.ts'
import { recordTypes, type RecordType } from '../bookie/journal/contract.ts'
import { seedOf } from '../bookie/journal/format.ts'
import { type Batch, scanSegment, visitBatch } from '../bookie/journal/scan.ts'
import { segmentPath } from '../bookie/journal/segment.ts'
import { readInt64 } from '../wire/int64.ts'
import type { Disk } from './disk.ts'

export interface StoredRecord {
  readonly type: RecordType
  readonly ledgerId: bigint
  /** Of an entry; else −1. */
  readonly entryId: number
}

export interface StoredBatch {
  readonly path: string
  readonly from: number
  readonly to: number
  /**
   * Whether another batch says that it was durable: damage to it is then seen by the next start.
   */
  readonly isProven: boolean
  readonly records: readonly (StoredRecord & { readonly from: number; readonly to: number })[]
}

export interface StoredJournal {
  readonly directory: string
  /** The slots that verify, the newest first. */
  readonly superblocks: readonly { readonly path: string; readonly block: Superblock }[]
  readonly batches: readonly StoredBatch[]
}

/** The journal that is durable on a disk; undefined where there is none. */
export function journalOn(disk: Disk): StoredJournal | undefined {
  const slots = disk.files().filter((path) => /\/super\.[AB]$/.test(path))
  const superblocks = slots
    .flatMap((path) => {
      const block = decodeSuperblock(durableBytes(disk, path))
      return block === undefined ? [] : [{ path, block }]
    })
    .sort((one, other) => other.block.sequence - one.block.sequence)
  const [newest] = superblocks
  if (newest === undefined) return undefined
  const directory = newest.path.slice(0, newest.path.lastIndexOf('/'))
  return { directory, superblocks, batches: batchesOf(disk, directory, newest.block) }
}

function batchesOf(disk: Disk, directory: string, block: Superblock): StoredBatch[] {
  const scans = block.segments.flatMap(({ slot, uuid, sealedBytes }) => {
    const path = segmentPath(directory, slot)
    if (disk.find(path)?.kind !== 'file') return []
    const bytes = durableBytes(disk, path)
    const to = sealedBytes === 0 ? bytes.length : Math.min(sealedBytes, bytes.length)
    return [{ path, bytes, scan: scanSegment(bytes, seedOf(uuid), to) }]
  })
  const proven = Math.max(0, ...scans.map(({ scan }) => scan.durable))
  return scans.flatMap(({ path, bytes, scan }) =>
    scan.batches.map((batch) => ({
      path,
      from: batch.start,
      to: batch.end,
      isProven: batch.last <= proven,
      records: recordsOf(bytes, batch),
    })),
  )
}

function recordsOf(bytes: Buffer, batch: Batch): StoredBatch['records'] {
  const records: StoredBatch['records'][number][] = []
  visitBatch(bytes, batch, (type, from, start, to) => {
    const isEntry = type === recordTypes.entry
    records.push({
      type,
      ledgerId: bytes.readBigInt64BE(start),
      entryId: isEntry ? readInt64(bytes, start + 8) : -1,
      from,
      to,
    })
  })
  return records
}

export function durableBytes(disk: Disk, path: string): Buffer {
  const { durable } = disk.file(path)
  const bytes = Buffer.alloc(durable.size)
  durable.read(bytes, 0)
  return bytes
}
