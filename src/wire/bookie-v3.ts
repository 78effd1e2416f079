// What requests and responses of V3 have in common (wire part 2): the numbers of fields, the
// header, the auth message. A false return of a decoder means that BookKeeper's own parser would
// refuse the bytes.

import { operations } from './bookie-messages.ts'
import type { BookieRequest, BookieResponse, Operation } from './bookie-messages.ts'
import { ProtoReader } from './protobuf.ts'

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
export function operationOf(raw: number): Operation | 0 {
  if (raw === operations.batchRead || raw === 3 || raw === 4) return 0
  return raw as Operation
}

/** A reader that also takes the header: the same code and shape for both directions. */
export class MessageReader extends ProtoReader {
  version: number = 0
  rawOperation: number = 0
  txnHigh: number = 0
  txnLow: number = 0
  priority: number = 0

  /** BKPacketHeader: version, operation, txnId, priority; the range is its message. */
  header(): boolean {
    const { bytes, at } = this
    this.priority = 0
    let seen = 0
    // What every encoder writes: version, operation and the tag of the transaction id, a byte each.
    if (
      this.end - at > 5 &&
      bytes[at] === 0x08 &&
      bytes[at + 1] === versionThree &&
      bytes[at + 2] === 0x10 &&
      bytes[at + 4] === 0x18
    ) {
      this.version = versionThree
      this.rawOperation = bytes[at + 3] as number
      this.at = at + 5
      if (!this.varint()) return false
      this.txnHigh = this.high
      this.txnLow = this.low
      seen = 7
    }
    for (let tag = this.tag(); tag !== 0; tag = this.tag()) {
      if (!this.skip(tag)) return false
      seen |= this.#take(tag)
    }
    if (seen !== 7 || this.version < 1 || this.version > versionThree) return false
    return this.rawOperation >= 1 && this.rawOperation <= operations.batchRead
  }

  #take(tag: number): number {
    if (tag === 0x08) {
      this.version = this.int32()
      return 1
    }
    if (tag === 0x10) {
      this.rawOperation = this.int32()
      return 2
    }
    if (tag === 0x18) {
      this.txnHigh = this.high
      this.txnLow = this.low
      return 4
    }
    if (tag === 0x20) this.priority = this.low
    return 0
  }
}

/**
 * AuthMessage: both fields are required, an empty payload too. Alone it is the packet of a V2 AUTH.
 */
export function readAuthMessage(
  reader: ProtoReader,
  into: BookieRequest | BookieResponse,
): boolean {
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
