// A snapshot is a ledger of its own: a header, chunks, a trailer, each an entry with a checksum;
// then closed, and read back whole before anybody is told of it. Publishing it is the log's affair:
// one change of its record. Big-endian.
//
//   0      4         5      6      8       12      16
//   +------+---------+------+------+-------+-------+------+
//   | QSNP | version | kind | zero | index | crc32 | body |   crc32 covers [0, 12) and the body
//   +------+---------+------+------+-------+-------+------+
//   kind 1 header: JSON { format, logId, position, epoch } · 2 chunk
//   kind 3 trailer: bytes u64, crc32 u32 of all chunks' bodies
//
// Entry i of the ledger has index i. Reading verifies each entry as it comes and the totals at the
// end: whoever restores from it must not replace anything before the stream has ended without an
// error.

import { crc32 } from 'node:zlib'
import { QuireError } from '../errors.ts'
import type { CreateLedgerOptions, LedgerClient, LedgerWriter } from '../replication/api.ts'

/**
 * Small enough to be an entry of any BookKeeper, large enough that a gigabyte is a few thousand of
 * them.
 */
export const snapshotChunkBytes = 262_144

export interface SnapshotHeader {
  readonly format: string
  readonly logId: string
  /** The first position that is not in it. */
  readonly position: number
  readonly epoch: number
}

export interface StoredSnapshot {
  readonly ledgerId: bigint
  /** Of all chunks. */
  readonly bytes: number
  readonly crc: number
}

interface Call {
  readonly signal?: AbortSignal | undefined
}

const magic = 0x51534e50
const version = 1
const prefixBytes = 16
const kinds = { header: 1, chunk: 2, trailer: 3 } as const
/** Chunks in flight: memory stays at a megabyte. */
const windowChunks = 4

/**
 * Writes, closes and reads back, and releases the chunks whatever happens. On a failure the ledger
 * is removed as well as can be, and the failure is given: with QUIRE_SNAPSHOT_CORRUPT when what was
 * read back is not what was written.
 */
export async function writeSnapshot(
  ledgers: LedgerClient,
  snapshot: {
    readonly header: SnapshotHeader
    readonly chunks: AsyncIterable<Uint8Array>
    readonly ledger: CreateLedgerOptions
  },
  call: Call = {},
): Promise<StoredSnapshot> {
  try {
    return await writeToLedger(ledgers, snapshot, call)
  } finally {
    // Nothing to one that was read to its end.
    await snapshot.chunks[Symbol.asyncIterator]().return?.()
  }
}

async function writeToLedger(
  ledgers: LedgerClient,
  snapshot: Parameters<typeof writeSnapshot>[1],
  call: Call,
): Promise<StoredSnapshot> {
  const writer = await ledgers.create({ ...snapshot.ledger, ...call })
  try {
    const stored = await writeAll(writer, snapshot, call)
    await writer.close(call)
    await verify(ledgers, { ...stored, ...snapshot.header }, call)
    return stored
  } catch (error) {
    // The first error says why. A ledger that stays is an orphan of its log, and collected as such.
    await writer.close().catch(() => undefined)
    await ledgers.delete(writer.ledgerId).catch(() => undefined)
    throw error
  }
}

async function writeAll(
  writer: LedgerWriter,
  snapshot: { header: SnapshotHeader; chunks: AsyncIterable<Uint8Array> },
  { signal }: Call,
): Promise<StoredSnapshot> {
  const pending: Promise<number>[] = []
  let index = 0
  let failure: unknown
  const put = async (kind: number, body: Uint8Array): Promise<void> => {
    if (pending.length >= windowChunks) await pending.shift()
    await writer.ready(signal)
    const append = writer.append(frame({ kind, index: index++ }, body))
    append.catch((error: unknown) => {
      failure ??= error
    })
    pending.push(append)
  }
  let bytes = 0
  let crc = 0
  await put(kinds.header, Buffer.from(JSON.stringify(snapshot.header)))
  for await (const chunk of snapshot.chunks) {
    if (failure !== undefined) break
    bytes += chunk.length
    crc = crc32(chunk, crc)
    await put(kinds.chunk, chunk)
  }
  const trailer = Buffer.alloc(12)
  trailer.writeBigUInt64BE(BigInt(bytes), 0)
  trailer.writeUInt32BE(crc, 8)
  await put(kinds.trailer, trailer)
  await Promise.all(pending)
  return { ledgerId: writer.ledgerId, bytes, crc }
}

function frame({ kind, index }: { kind: number; index: number }, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(prefixBytes + body.length)
  bytes.writeUInt32BE(magic, 0)
  bytes.writeUInt8(version, 4)
  bytes.writeUInt8(kind, 5)
  bytes.writeUInt32BE(index, 8)
  bytes.set(body, prefixBytes)
  bytes.writeUInt32BE(checksum(bytes), 12)
  return bytes
}

function checksum(entry: Buffer): number {
  return crc32(entry.subarray(prefixBytes), crc32(entry.subarray(0, 12)))
}

async function verify(
  ledgers: LedgerClient,
  snapshot: StoredSnapshot & SnapshotHeader,
  call: Call,
): Promise<void> {
  const chunks = readSnapshot(ledgers, snapshot, call)
  while (!(await chunks.next()).done) continue
}

/**
 * The chunks of a published snapshot, in order. Fails with QUIRE_SNAPSHOT_CORRUPT where an entry is
 * not what was written, or at the end when the whole is not; with QUIRE_LEDGER_MISSING and what
 * ledgers fail with when it cannot be read.
 */
export async function* readSnapshot(
  ledgers: LedgerClient,
  snapshot: StoredSnapshot & Pick<SnapshotHeader, 'position' | 'format'>,
  { signal }: Call = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { ledgerId } = snapshot
  await using reader = await ledgers.tail(ledgerId, { signal })
  if (!reader.closed) throw corrupt(ledgerId, 'its ledger is still open')
  const last = reader.lastAddConfirmed
  let bytes = 0
  let crc = 0
  let index = 0
  for await (const { payload } of reader.read({ from: 0, to: last, signal })) {
    const { kind, body } = unframe(ledgerId, payload, index)
    const expected = index === 0 ? kinds.header : index === last ? kinds.trailer : kinds.chunk
    if (kind !== expected) throw corrupt(ledgerId, `its entry ${index} is of kind ${kind}`)
    if (kind === kinds.header) checkHeader(ledgerId, body, snapshot)
    if (kind === kinds.chunk) {
      bytes += body.length
      crc = crc32(body, crc)
      yield Buffer.from(body)
    }
    if (kind === kinds.trailer && (bytes !== u64(body) || crc !== body.readUInt32BE(8))) {
      throw corrupt(ledgerId, 'its trailer names another size or checksum')
    }
    index += 1
  }
  if (index !== last + 1 || index < 2) throw corrupt(ledgerId, `it ends after ${index} entries`)
  if (bytes !== snapshot.bytes || crc !== snapshot.crc) {
    throw corrupt(ledgerId, 'the log names another size or checksum')
  }
}

function unframe(ledgerId: bigint, entry: Buffer, index: number): { kind: number; body: Buffer } {
  if (entry.length < prefixBytes || entry.readUInt32BE(0) !== magic) {
    throw corrupt(ledgerId, `its entry ${index} is not a snapshot's`)
  }
  if (entry[4] !== version) throw corrupt(ledgerId, `it has version ${entry[4]}`)
  if (entry.readUInt32BE(12) !== checksum(entry)) {
    throw corrupt(ledgerId, `the checksum of its entry ${index} differs`)
  }
  if (entry.readUInt32BE(8) !== index) throw corrupt(ledgerId, `its entry ${index} is another's`)
  return { kind: entry.readUInt8(5), body: entry.subarray(prefixBytes) }
}

function checkHeader(
  ledgerId: bigint,
  body: Buffer,
  expected: Pick<SnapshotHeader, 'position' | 'format'>,
): void {
  const header: Partial<SnapshotHeader> = JSON.parse(body.toString('utf8'))
  if (header.position !== expected.position || header.format !== expected.format) {
    throw corrupt(ledgerId, 'its header names another position or format')
  }
}

function u64(body: Buffer): number {
  return Number(body.readBigUInt64BE(0))
}

function corrupt(ledgerId: bigint, what: string): QuireError {
  return new QuireError(
    'QUIRE_SNAPSHOT_CORRUPT',
    `the snapshot in ledger ${ledgerId} cannot be used: ${what}; the older one and the log ` +
      'behind it are used where they are there',
    { facts: { ledgerId } },
  )
}
