// What requests and responses of V3 have in common (wire part 2): the numbers of fields, the
// header, the auth message. A false return of a decoder means that BookKeeper's own parser would
// refuse the bytes.

import { operations } from './bookie-messages.ts'
import type { BookieRequest, BookieResponse, Operation } from './bookie-messages.ts'
import type { ProtoReader } from './protobuf.ts'

/** Sub-messages of `Request` and `Response`: the same numbers in both. */
export const bodyFields = {
  read: 100,
  add: 101,
  auth: 102,
  writeLac: 103,
  readLac: 104,
  bookieInfo: 105,
  startTls: 106,
  force: 107,
  listEntries: 108,
} as const

export const versionThree = 3
/** `flag` of read and add requests: field 100, varint. */
export const flagTag: number = 100 * 8

/** The field that carries an operation's sub-message; 0 for operations known by number only. */
export function bodyFieldOf(operation: Operation | 0): number {
  if (operation === 0 || operation === operations.batchRead) return 0
  return operation + (operation >= operations.auth ? 97 : 99)
}

/** The operation behind a number of the OperationType enum; 3, 4 and 12 exist as numbers only. */
function operationOf(raw: number): Operation | 0 {
  if (raw === operations.batchRead || raw === 3 || raw === 4) return 0
  return raw as Operation
}

/** What both directions carry in their header. */
type View = BookieRequest | BookieResponse

/** BKPacketHeader: version, operation, txnId, priority. */
export function readHeader(reader: ProtoReader, into: View): boolean {
  let seen = 0
  into.priority = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) break
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      into.version = reader.int32()
      if (into.version < 1 || into.version > versionThree) return false
      seen |= 1
    } else if (tag === 0x10) {
      const raw = reader.int32()
      if (raw < 1 || raw > operations.batchRead) return false
      into.rawOperation = raw
      into.operation = operationOf(raw)
      seen |= 2
    } else if (tag === 0x18) {
      into.txnHigh = reader.high
      into.txnLow = reader.low
      seen |= 4
    } else if (tag === 0x20) into.priority = reader.low
  }
  return seen === 7
}

/**
 * AuthMessage: both fields are required, an empty payload too. Alone it is the packet of a V2 AUTH.
 */
export function readAuthMessage(reader: ProtoReader, into: View): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 3
    if (!reader.skip(tag)) return false
    if (tag === 0x0a) {
      into.authPlugin = reader.bytes.toString('utf8', reader.rangeStart, reader.rangeEnd)
      seen |= 1
    } else if (tag === 0x12) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      seen |= 2
    }
  }
}
