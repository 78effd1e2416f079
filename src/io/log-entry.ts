// An entry of a replicated log carries its own checksum: the database under it has none for what
// lies in its file, and an entry that others may have counted must never be read as another.

import { QuireError } from '../errors.ts'
import { crc32c } from '../wire/crc32c.ts'
import type { LogEntry } from './tree-store.ts'

const headBytes = 17

export function entryChecksum({ index, term, kind, data }: LogEntry): number {
  const bytes = Buffer.alloc(headBytes + data.length)
  bytes.writeBigUInt64BE(BigInt(index), 0)
  bytes.writeBigUInt64BE(BigInt(term), 8)
  bytes.writeUInt8(kind, 16)
  bytes.set(data, headBytes)
  return crc32c(bytes, 0, bytes.length)
}

/** QUIRE_BAD_METADATA for an entry that is not what was written. */
export function verifyEntry(entry: LogEntry, checksum: number): void {
  if (entryChecksum(entry) === checksum) return
  throw new QuireError(
    'QUIRE_BAD_METADATA',
    `entry ${entry.index} of the metadata's log is damaged: this node cannot go on with what is ` +
      'left of it; remove it from the group, and add it again with an empty directory',
    { facts: { index: entry.index } },
  )
}
