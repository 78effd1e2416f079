// Decodes V3 responses: fields in any order, required ones checked, an unknown status refused, as
// Java does. `Response.status` and the status of the sub-message become one (wire 6.1).

import { operations, statuses } from './bookie-messages.ts'
import type { BookieResponse, Status } from './bookie-messages.ts'
import { bodyFieldOf, bodyFields, operationOf, readAuthMessage } from './bookie-v3.ts'
import type { MessageReader } from './bookie-v3.ts'
import type { ProtoReader } from './protobuf.ts'

const statusTag = 0x10

/** True for a number of the StatusCode enum. Any other makes a response unreadable (wire 2.1). */
export function isStatus(value: number): value is Status {
  if (value === statuses.ok) return true
  if (value >= statuses.io) return value <= statuses.unknownLedgerState
  return value >= statuses.noLedger && value <= statuses.badRequest
}

/**
 * Decodes the reader's range as a `Response` into a cleared view. False: it is none; the view is
 * then undefined.
 */
export function decodeResponseV3(reader: MessageReader, into: BookieResponse): boolean {
  const start = reader.at
  const end = reader.end
  let wanted = -1
  let again = false
  let outer = -1
  let answered = false
  into.protocol = 3
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) break
    if (!reader.skip(tag)) return false
    if (tag === statusTag) outer = reader.int32()
    if ((tag & 7) !== 2) continue
    const field = tag >>> 3
    if (field !== 1 && (field < bodyFields.read || field > bodyFields.listEntries)) continue
    const next = reader.at
    reader.at = reader.rangeStart
    reader.end = reader.rangeEnd
    if (field === 1) {
      if (!reader.header()) return false
      if (wanted !== -1) again = true
      takeHeader(reader, into)
      wanted = bodyFieldOf(into.operation)
    } else {
      if (!readBody(field, reader, into)) return false
      if (field === wanted) answered = true
      else again = true
    }
    reader.at = next
    reader.end = end
  }
  if (wanted === -1 || !isStatus(outer)) return false
  if (again) {
    reader.at = start
    answered = takeBody(reader, into)
  }
  into.hasMessage = answered
  if (outer !== statuses.ok) into.status = outer
  else if (!answered) into.status = statusWithoutBody(into)
  return true
}

/** OK without its sub-message says nothing where the sub-message is the answer. */
function statusWithoutBody(view: BookieResponse): Status {
  const { operation } = view
  const answersByBody =
    operation === operations.read ||
    operation === operations.readLac ||
    operation === operations.bookieInfo ||
    operation === operations.listEntries
  return answersByBody ? statuses.io : statuses.ok
}

function takeHeader(reader: MessageReader, into: BookieResponse): void {
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
function takeBody(reader: ProtoReader, into: BookieResponse): boolean {
  const end = reader.end
  const wanted = bodyFieldOf(into.operation)
  let taken = false
  clearResponseBody(into)
  for (let tag = reader.tag(); tag > 0 && reader.skip(tag); tag = reader.tag()) {
    if (wanted === 0 || tag !== wanted * 8 + 2) continue
    const next = reader.at
    reader.at = reader.rangeStart
    reader.end = reader.rangeEnd
    taken = readBody(wanted, reader, into)
    reader.at = next
    reader.end = end
  }
  return taken
}

/** Everything that sub-messages write. */
export function clearResponseBody(into: BookieResponse): void {
  into.status = statuses.ok
  into.ledgerHigh = 0
  into.ledgerLow = 0
  into.entryId = 0
  into.hasMaxLac = false
  into.maxLac = 0
  into.lacUpdateTimestampMs = 0
  into.freeBytes = 0
  into.totalBytes = 0
  into.bodyStart = 0
  into.bodyEnd = 0
  into.secondStart = 0
  into.secondEnd = 0
  into.hasBody = false
  into.hasSecond = false
  into.authPlugin = ''
}

function readBody(field: number, reader: ProtoReader, into: BookieResponse): boolean {
  switch (field) {
    case bodyFields.add:
      return readAddResponse(reader, into)
    case bodyFields.read:
      return readReadResponse(reader, into)
    case bodyFields.auth:
      into.hasBody = readAuthMessage(reader, into)
      return into.hasBody
    case bodyFields.readLac:
      return readReadLacResponse(reader, into)
    case bodyFields.bookieInfo:
      return readBookieInfoResponse(reader, into)
    case bodyFields.startTls:
      return passStartTlsResponse(reader)
    default:
      return readLedgerResponse(reader, into)
  }
}

/** Takes an inner status; an unknown one makes the message unreadable. */
function takeStatus(reader: ProtoReader, into: BookieResponse): boolean {
  const status = reader.int32()
  if (!isStatus(status)) return false
  into.status = status
  return true
}

/** AddResponse. */
function readAddResponse(reader: ProtoReader, into: BookieResponse): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 7
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      if (!takeStatus(reader, into)) return false
      seen |= 1
    } else if (tag === 0x10) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 2
    } else if (tag === 0x18) {
      into.entryId = reader.number()
      seen |= 4
    }
  }
}

/** ReadResponse. */
function readReadResponse(reader: ProtoReader, into: BookieResponse): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 7
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      if (!takeStatus(reader, into)) return false
      seen |= 1
    } else if (tag === 0x10) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 2
    } else if (tag === 0x18) {
      into.entryId = reader.number()
      seen |= 4
    } else if (tag === 0x22) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      into.hasBody = true
    } else if (tag === 0x28) {
      into.hasMaxLac = true
      into.maxLac = reader.number()
    } else if (tag === 0x30) into.lacUpdateTimestampMs = reader.number()
  }
}

/** ReadLacResponse. */
function readReadLacResponse(reader: ProtoReader, into: BookieResponse): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 3
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      if (!takeStatus(reader, into)) return false
      seen |= 1
    } else if (tag === 0x10) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 2
    } else if (tag === 0x1a) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      into.hasBody = true
    } else if (tag === 0x22) {
      into.secondStart = reader.rangeStart
      into.secondEnd = reader.rangeEnd
      into.hasSecond = true
    }
  }
}

/** GetBookieInfoResponse. */
function readBookieInfoResponse(reader: ProtoReader, into: BookieResponse): boolean {
  let seen = false
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      if (!takeStatus(reader, into)) return false
      seen = true
    } else if (tag === 0x10) into.totalBytes = reader.number()
    else if (tag === 0x18) into.freeBytes = reader.number()
  }
}

/** WriteLacResponse, ForceLedgerResponse and, with bytes, GetListOfEntriesOfLedgerResponse. */
function readLedgerResponse(reader: ProtoReader, into: BookieResponse): boolean {
  let seen = 0
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return seen === 3
    if (!reader.skip(tag)) return false
    if (tag === 0x08) {
      if (!takeStatus(reader, into)) return false
      seen |= 1
    } else if (tag === 0x10) {
      into.ledgerHigh = reader.high
      into.ledgerLow = reader.low
      seen |= 2
    } else if (tag === 0x1a) {
      into.bodyStart = reader.rangeStart
      into.bodyEnd = reader.rangeEnd
      into.hasBody = true
    }
  }
}

/** StartTLSResponse has no fields. */
function passStartTlsResponse(reader: ProtoReader): boolean {
  for (;;) {
    const tag = reader.tag()
    if (tag === 0) return true
    if (!reader.skip(tag)) return false
  }
}
