// The binary protocol V2 (wire 1.5 to 1.9): fixed layouts behind one header of four bytes.
//
//   byte 0    byte 1   bytes 2..3
//   version   opcode   flags         version 0: the whole int is the opcode, flags are 0
//
// A false return of a decoder means that BookKeeper's decoder would throw, and close the
// connection.

import { operations, requestFlags, statuses } from './bookie-messages.ts'
import type { BookieRequest, BookieResponse, Operation, Status } from './bookie-messages.ts'
import { readAuthMessage } from './bookie-v3.ts'
import { readI32, readInt64, readU32, writeInt64, writeU32 } from './int64.ts'
import type { ProtoReader } from './protobuf.ts'

/** What Java clients send; 0 and 1 are served too. */
export const versionTwo = 2

/** Header and master key: what stands before the entry of an add request. */
export const addHeadBytesV2 = 24
/** Header, code, ledger id, entry id: an add response, and what stands before a read's entry. */
export const responseHeadBytesV2 = 24
/** The same with the request id of a batch read. */
export const batchHeadBytesV2 = 32

const masterKeyBytes = 20
const flagsMask = requestFlags.fence | requestFlags.recovery | requestFlags.highPriority

const opcodes = { add: 1, read: 2, auth: 3, batchRead: 7 } as const

function operationOf(opcode: number): Operation | 0 {
  if (opcode === opcodes.add) return operations.add
  if (opcode === opcodes.read) return operations.read
  if (opcode === opcodes.auth) return operations.auth
  return opcode === opcodes.batchRead ? operations.batchRead : 0
}

function opcodeOf(operation: Operation | 0): number {
  if (operation === operations.add) return opcodes.add
  if (operation === operations.read) return opcodes.read
  return operation === operations.auth ? opcodes.auth : opcodes.batchRead
}

/**
 * The code of a status in V2. Java clients close the connection on a code that they do not know,
 * their own servers' 107 (unknown ledger state) included: that is told as an I/O error (wire 1.7).
 */
export function codeOfStatus(status: Status): number {
  if (status === statuses.ok) return 0
  if (status === statuses.noLedger) return 1
  if (status === statuses.noEntry) return 2
  if (status === statuses.badRequest) return 100
  if (status === statuses.unknownLedgerState) return 101
  return status - 400
}

/** The status behind a code of V2; an unknown one is an I/O error. */
export function statusOfCode(code: number): Status {
  if (code === 0) return statuses.ok
  if (code === 1) return statuses.noLedger
  if (code === 2) return statuses.noEntry
  if (code === 100) return statuses.badRequest
  return code >= 101 && code <= 107 ? ((code + 400) as Status) : statuses.io
}

/** Writes the header of a packet. Returns the offset behind it. */
export function writeHeadV2(
  target: Uint8Array,
  at: number,
  version: number,
  operation: Operation,
  flags: number,
): number {
  const opcode = opcodeOf(operation)
  if (version === 0) return writeU32(target, at, opcode)
  target[at] = version
  target[at + 1] = opcode
  target[at + 2] = 0
  target[at + 3] = flags & flagsMask
  return at + 4
}

type View = BookieRequest | BookieResponse

/** Version and operation of a packet. */
function readHead(bytes: Buffer, at: number, into: View): void {
  const version = bytes[at] as number
  const opcode = (version === 0 ? bytes[at + 3] : bytes[at + 1]) as number
  into.protocol = 2
  into.version = version
  into.rawOperation = opcode
  into.operation = operationOf(opcode)
}

/** Decodes bytes[start, end) as a request into a cleared view. `reader` serves AUTH. */
export function decodeRequestV2(reader: ProtoReader, into: BookieRequest): boolean {
  const { bytes, at: start, end } = reader
  if (end - start < 4) return false
  readHead(bytes, start, into)
  into.hasBody = true
  into.flags = into.version === 0 ? 0 : (bytes[start + 3] as number) & flagsMask
  if (into.operation === operations.add) return decodeAdd(bytes, start, end, into)
  if (into.operation === operations.auth) {
    into.flags = 0
    reader.at = start + 4
    return readAuthMessage(reader, into)
  }
  const batch = into.operation === operations.batchRead
  if (into.operation !== operations.read && !batch) return false
  const keyAt = start + (batch ? 40 : 20)
  if (end < keyAt) return false
  into.ledgerHigh = readU32(bytes, start + 4)
  into.ledgerLow = readU32(bytes, start + 8)
  into.entryId = readInt64(bytes, start + 12)
  if (batch) {
    into.txnHigh = readU32(bytes, start + 20)
    into.txnLow = readU32(bytes, start + 24)
    into.maxCount = readI32(bytes, start + 28)
    into.maxBytes = readInt64(bytes, start + 32)
  }
  return decodeKey(keyAt, end, into)
}

function decodeAdd(bytes: Buffer, start: number, end: number, into: BookieRequest): boolean {
  const entryAt = start + addHeadBytesV2
  // Ids of 16 bytes; what is too short to be an entry all the same is for the bookie to refuse.
  if (end - entryAt < 16) return false
  into.keyStart = start + 4
  into.keyEnd = entryAt
  into.ledgerHigh = readU32(bytes, entryAt)
  into.ledgerLow = readU32(bytes, entryAt + 4)
  into.entryId = readInt64(bytes, entryAt + 8)
  into.bodyStart = entryAt
  into.bodyEnd = end
  return true
}

/** The key is read only with the fencing flag, and from version 2 on, as a signed byte. */
function decodeKey(keyAt: number, end: number, into: BookieRequest): boolean {
  const signedVersion = (into.version << 24) >> 24
  if ((into.flags & requestFlags.fence) === 0 || signedVersion < versionTwo) return true
  if (end - keyAt < masterKeyBytes) return false
  into.keyStart = keyAt
  into.keyEnd = keyAt + masterKeyBytes
  return true
}

/** Decodes the reader's range as a response into a cleared view. */
export function decodeResponseV2(reader: ProtoReader, into: BookieResponse): boolean {
  const { bytes, at: start, end } = reader
  if (end - start < 4) return false
  readHead(bytes, start, into)
  if (into.operation === operations.auth) {
    reader.at = start + 4
    into.hasBody = readAuthMessage(reader, into)
    return into.hasBody
  }
  const batch = into.operation === operations.batchRead
  const bodyAt = start + (batch ? batchHeadBytesV2 : responseHeadBytesV2)
  if (into.operation === 0 || end < bodyAt) return false
  into.status = statusOfCode(readI32(bytes, start + 4))
  into.ledgerHigh = readU32(bytes, start + 8)
  into.ledgerLow = readU32(bytes, start + 12)
  into.entryId = readInt64(bytes, start + 16)
  if (batch) {
    into.txnHigh = readU32(bytes, start + 24)
    into.txnLow = readU32(bytes, start + 28)
  }
  if (into.operation === operations.add || into.status !== statuses.ok) return true
  into.hasBody = true
  into.bodyStart = bodyAt
  into.bodyEnd = end
  return !batch || countBatchEntries(bytes, bodyAt, end) >= 0
}

/** How many sized entries fill bytes[start, end) exactly; −1 when they do not. */
export function countBatchEntries(bytes: Uint8Array, start: number, end: number): number {
  let count = 0
  let at = start
  while (at < end) {
    if (end - at < 4) return -1
    const size = readU32(bytes, at)
    if (size > end - at - 4) return -1
    at += 4 + size
    count++
  }
  return count
}

/**
 * The end of the entry whose size stands at `at` in the list of a batch read; the entry begins 4
 * bytes behind `at`, the next size stands at the end. The list was checked when it was decoded.
 */
export function batchEntryEnd(bytes: Uint8Array, at: number): number {
  return at + 4 + readU32(bytes, at)
}

/** Ledger id and entry id, as requests and responses of V2 have them. */
interface Ids {
  readonly ledgerHigh: number
  readonly ledgerLow: number
  readonly entryId: number
}

/** Writes both ids. Returns the offset behind them. */
export function writeIdsV2(target: Uint8Array, at: number, ids: Ids): number {
  const next = writeU32(target, writeU32(target, at, ids.ledgerHigh), ids.ledgerLow)
  return writeInt64(target, next, ids.entryId)
}
