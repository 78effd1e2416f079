// Decodes V3 requests: fields in any order, as BookKeeper's own encoders of different releases
// differ (wire 2.1), all required fields checked, also those of sub-messages that belong to another
// operation.

import { requestFlags } from './bookie-messages.ts'
import type { BookieRequest } from './bookie-messages.ts'
import { bodyFieldOf, bodyFields, flagTag, operationOf, readAuthMessage } from './bookie-v3.ts'
import type { MessageReader } from './bookie-v3.ts'
import type { ProtoReader } from './protobuf.ts'

const requestContextField = 200

/**
 * Decodes the reader's range as a `Request` into a cleared view. False: it is none; the view is
 * then undefined.
 */
export function decodeRequestV3(reader: MessageReader, into: BookieRequest): boolean {
  const start = reader.at
  const end = reader.end
  let wanted = -1
  let again = false
  into.protocol = 3
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) break
    if (!reader.skip(tag)) return false
    if ((tag & 7) !== 2) continue
    const field = tag >>> 3
    const next = reader.at
    reader.at = reader.rangeStart
    reader.end = reader.rangeEnd
    if (field === 1) {
      if (!reader.header()) return false
      if (wanted !== -1) again = true
      takeHeader(reader, into)
      wanted = bodyFieldOf(into.operation)
    } else if (field >= bodyFields.read && field <= bodyFields.listEntries) {
      if (!readBody(field, reader, into)) return false
      if (field === wanted) into.hasBody = true
      else again = true
    } else if (field === requestContextField && !checkContextPair(reader)) return false
    reader.at = next
    reader.end = end
  }
  if (wanted === -1) return false
  if (again) {
    reader.at = start
    takeBody(reader, into)
  }
  if ((into.priority | 0) > 0) into.flags |= requestFlags.highPriority
  return true
}

function takeHeader(reader: MessageReader, into: BookieRequest): void {
  into.version = reader.version
  into.rawOperation = reader.rawOperation
  into.operation = operationOf(reader.rawOperation)
  into.txnHigh = reader.txnHigh
  into.txnLow = reader.txnLow
  into.priority = reader.priority
}

/**
 * The second look at a message in which a sub-message came before the header, or one of another
 * operation was there: all are well formed; takes the right one alone.
 */
function takeBody(reader: ProtoReader, into: BookieRequest): void {
  const end = reader.end
  const wanted = bodyFieldOf(into.operation)
  clearRequestBody(into)
  for (let tag = reader.tag(); tag > 0 && reader.skip(tag); tag = reader.tag()) {
    if (wanted === 0 || tag !== wanted * 8 + 2) continue
    const next = reader.at
    reader.at = reader.rangeStart
    reader.end = reader.rangeEnd
    into.hasBody = readBody(wanted, reader, into)
    reader.at = next
    reader.end = end
  }
}

/** Everything that sub-messages write. */
export function clearRequestBody(into: BookieRequest): void {
  into.flags = 0
  into.ledgerHigh = 0
  into.ledgerLow = 0
  into.entryId = 0
  into.hasPreviousLac = false
  into.previousLac = 0
  into.hasTimeout = false
  into.timeoutMs = 0
  into.maxCount = 0
  into.maxBytes = 0
  into.requested = 0
  into.hasBody = false
  into.keyStart = 0
  into.keyEnd = 0
  into.bodyStart = 0
  into.bodyEnd = 0
  into.authPlugin = ''
}

/** ContextPair: key and value. Only logging context, so only checked (wire 2.3). */
function checkContextPair(reader: ProtoReader): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 3
    if (!reader.skip(tag)) return false
    if (tag === 0x0a) seen |= 1
    else if (tag === 0x12) seen |= 2
  }
}

/** ReadRequest. */
function readReadRequest(reader: ProtoReader, into: BookieRequest): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 3
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 1
    } else if (tag === 0x10) {
      into.entryId = reader.number()
      seen |= 2
    } else if (tag === 0x1a) {
      into.keyStart = reader.rangeStart
      into.keyEnd = reader.rangeEnd
    } else if (tag === 0x20) {
      into.hasPreviousLac = true
      into.previousLac = reader.number()
    } else if (tag === 0x28) {
      into.hasTimeout = true
      into.timeoutMs = reader.number()
    } else if (tag === flagTag) {
      // One enum value, not a mask; an unknown one counts as absent.
      const flag = reader.int32()
      if (flag === 1) into.flags = requestFlags.fence
      else if (flag === 2) into.flags = requestFlags.piggyback
    }
  }
}

/** AddRequest. */
function readAddRequest(reader: ProtoReader, into: BookieRequest): boolean {
  let seen = 0
  let recovery = false
  let deferredSync = false
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) break
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 1
    } else if (tag === 0x10) {
      into.entryId = reader.number()
      seen |= 2
    } else if (tag === 0x1a) {
      into.keyStart = reader.rangeStart
      into.keyEnd = reader.rangeEnd
      seen |= 4
    } else if (tag === 0x22) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      seen |= 8
    } else if (tag === 0x28) deferredSync = (reader.low & 1) !== 0
    else if (tag === flagTag && reader.int32() === 1) recovery = true
  }
  // A recovery add is never acknowledged before it is synced, whatever its writeFlags say (wire
  // 2.6).
  if (recovery) into.flags = requestFlags.recovery
  else into.flags = deferredSync ? requestFlags.deferredSync : 0
  return seen === 15
}

/** WriteLacRequest. Its `lac` is only for logs: the one in the body counts (wire 2.9). */
function readWriteLacRequest(reader: ProtoReader, into: BookieRequest): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 15
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 1
    } else if (tag === 0x10) seen |= 2
    else if (tag === 0x1a) {
      into.keyStart = reader.rangeStart
      into.keyEnd = reader.rangeEnd
      seen |= 4
    } else if (tag === 0x22) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      seen |= 8
    }
  }
}

/** ReadLacRequest, ForceLedgerRequest, GetListOfEntriesOfLedgerRequest: a ledger id. */
function readLedgerRequest(reader: ProtoReader, into: BookieRequest): boolean {
  let seen = false
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen = true
    }
  }
}

/** GetBookieInfoRequest, and the empty StartTLSRequest. */
function readInfoRequest(reader: ProtoReader, into: BookieRequest): boolean {
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return true
    if (!reader.skip(tag)) return false
    if (tag === 0x08) into.requested = reader.low
  }
}

function readBody(field: number, reader: ProtoReader, into: BookieRequest): boolean {
  switch (field) {
    case bodyFields.read:
      return readReadRequest(reader, into)
    case bodyFields.add:
      return readAddRequest(reader, into)
    case bodyFields.auth:
      return readAuthMessage(reader, into)
    case bodyFields.writeLac:
      return readWriteLacRequest(reader, into)
    case bodyFields.bookieInfo:
    case bodyFields.startTls:
      return readInfoRequest(reader, into)
    default:
      return readLedgerRequest(reader, into)
  }
}
