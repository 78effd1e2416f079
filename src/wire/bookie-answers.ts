// The answers of a bookie that are rare enough to be whole Buffers: everything but add and read.

import { invariant } from '../invariant.ts'
import { encodeReadResponse, writeAddResponse } from './bookie-response.ts'
import { addResponseBytesMax, authDisabledPlugin } from './bookie-response.ts'
import type { AnswerFields, LedgerAnswerFields } from './bookie-response.ts'
import { batchHeadBytesV2, codeOfStatus, versionTwo, writeHeadV2, writeIdsV2 } from './bookie-v2.ts'
import { bodyFieldOf, bodyFields, versionThree } from './bookie-v3.ts'
import { operations, statuses } from './bookie-messages.ts'
import type { BookieRequest, Operation, Status } from './bookie-messages.ts'
import { writeU32 } from './int64.ts'
import { ProtoWriter } from './protobuf.ts'

/** A new header as 2.4 wants it for ordinary answers, and the outer status. */
function answer(operation: Operation, fields: AnswerFields): ProtoWriter {
  const head = new ProtoWriter()
    .number(1, versionThree)
    .number(2, operation)
    .halves(3, fields.txnHigh, fields.txnLow)
  return new ProtoWriter().message(1, head).number(2, fields.status)
}

/** An answer with its sub-message, which begins with the same status. */
function answerOf(operation: Operation, fields: AnswerFields, body: ProtoWriter): Buffer {
  return answer(operation, fields).message(bodyFieldOf(operation), body).frame()
}

const statusBody = (fields: AnswerFields): ProtoWriter => new ProtoWriter().number(1, fields.status)

const ledgerBody = (fields: LedgerAnswerFields): ProtoWriter =>
  statusBody(fields).halves(2, fields.ledgerHigh, fields.ledgerLow)

/** READ_LAC: each body is there if its read succeeded, whatever the status is (wire 2.8). */
export function encodeReadLacResponse(
  fields: LedgerAnswerFields,
  found: { lacPacket?: Uint8Array | undefined; lastEntry?: Uint8Array | undefined } = {},
): Buffer {
  const body = ledgerBody(fields).bytes(3, found.lacPacket).bytes(4, found.lastEntry)
  return answerOf(operations.readLac, fields, body)
}

/** WRITE_LAC. */
export function encodeWriteLacResponse(fields: LedgerAnswerFields): Buffer {
  return answerOf(operations.writeLac, fields, ledgerBody(fields))
}

/** FORCE_LEDGER. */
export function encodeForceResponse(fields: LedgerAnswerFields): Buffer {
  return answerOf(operations.force, fields, ledgerBody(fields))
}

/** GET_BOOKIE_INFO: each figure only if it was asked for (mask 1 total, 2 free; wire 2.11). */
export function encodeBookieInfoResponse(
  fields: AnswerFields,
  found: { totalBytes?: number | undefined; freeBytes?: number | undefined } = {},
): Buffer {
  const body = statusBody(fields).number(2, found.totalBytes).number(3, found.freeBytes)
  return answerOf(operations.bookieInfo, fields, body)
}

/** GET_LIST_OF_ENTRIES_OF_LEDGER: bytes of `encodeAvailability`, none with an error. */
export function encodeListEntriesResponse(
  fields: LedgerAnswerFields,
  availability?: Uint8Array,
): Buffer {
  return answerOf(operations.listEntries, fields, ledgerBody(fields).bytes(3, availability))
}

/** START_TLS: `ok` has the empty sub-message; `badRequest`, where there is no TLS, has none. */
export function encodeStartTlsResponse(fields: AnswerFields): Buffer {
  const ok = fields.status === statuses.ok
  return answer(operations.startTls, fields)
    .message(bodyFields.startTls, ok ? new ProtoWriter() : undefined)
    .frame()
}

export interface BatchReadResponseFields extends LedgerAnswerFields {
  readonly version: number
  /** As in the request. */
  readonly entryId: number
}

/**
 * BATCH_READ_ENTRY, V2 only: the parts of the frame in order, the entries themselves not copied. An
 * EOK has at least one entry, or Java clients throw (wire 1.9); an error has none.
 */
export function encodeBatchReadResponse(
  fields: BatchReadResponseFields,
  entries: readonly Buffer[],
): Buffer[] {
  const ok = fields.status === statuses.ok
  invariant(ok === entries.length > 0, 'a batch has entries if it is good, none if not')
  const head = Buffer.allocUnsafe(4 + batchHeadBytesV2)
  const parts: Buffer[] = [head]
  let length = batchHeadBytesV2
  for (const entry of entries) {
    const size = Buffer.allocUnsafe(4)
    writeU32(size, 0, entry.length)
    parts.push(size, entry)
    length += 4 + entry.length
  }
  let at = writeU32(head, 0, length)
  at = writeHeadV2(head, at, fields.version, operations.batchRead, 0)
  at = writeIdsV2(head, writeU32(head, at, codeOfStatus(fields.status)), fields)
  writeU32(head, writeU32(head, at, fields.txnHigh), fields.txnLow)
  return parts
}

/** What a header copy takes: of the request, all of it, its priority too. */
export type HeaderCopyFields = Pick<
  BookieRequest,
  'version' | 'rawOperation' | 'txnHigh' | 'txnLow' | 'priority'
>

function headerCopy(request: HeaderCopyFields, status: Status): ProtoWriter {
  const head = new ProtoWriter()
    .number(1, request.version)
    .number(2, request.rawOperation)
    .halves(3, request.txnHigh, request.txnLow)
    .number(4, request.priority === 0 ? undefined : request.priority)
  return new ProtoWriter().message(1, head).number(2, status)
}

/**
 * V3: a copy of the request's header and a status, no sub-message. For EUA to a client that has not
 * authenticated, EBADREQ to an unknown operation, EIO of a late START_TLS failure (wire 2.4, 3.3).
 */
export function encodeHeaderCopyResponse(request: HeaderCopyFields, status: Status): Buffer {
  return headerCopy(request, status).frame()
}

/** AUTH: the next message of the handshake, in the protocol of the request; V2 with its version. */
export function encodeAuthResponse(
  request: HeaderCopyFields & Pick<BookieRequest, 'protocol'>,
  plugin: string,
  payload: Uint8Array,
): Buffer {
  const body = new ProtoWriter().text(1, plugin).bytes(2, payload)
  if (request.protocol === 3) {
    return headerCopy(request, statuses.ok).message(bodyFields.auth, body).frame()
  }
  const message = body.finish()
  const frame = Buffer.allocUnsafe(8 + message.length)
  writeU32(frame, 0, frame.length - 4)
  message.copy(frame, writeHeadV2(frame, 4, request.version, operations.auth, 0))
  return frame
}

/** AUTH where nobody is asked to: the client goes on. V2 always with version 2 (wire 3.2). */
export function encodeAuthDisabledResponse(
  request: HeaderCopyFields & Pick<BookieRequest, 'protocol'>,
): Buffer {
  const head =
    request.protocol === 3
      ? request
      : {
          protocol: 2 as const,
          version: versionTwo,
          rawOperation: 0,
          txnHigh: 0,
          txnLow: 0,
          priority: 0,
        }
  return encodeAuthResponse(head, authDisabledPlugin, Buffer.alloc(0))
}

/**
 * The answer that refuses a request, whatever it is, in its protocol and with the sub-message that
 * belongs to it. An AUTH of V2 cannot be refused: its connection is closed (wire 1.7).
 */
export function encodeErrorResponse(request: BookieRequest, status: Status): Buffer {
  const fields = {
    protocol: request.protocol,
    version: request.version,
    txnHigh: request.txnHigh,
    txnLow: request.txnLow,
    ledgerHigh: request.ledgerHigh,
    ledgerLow: request.ledgerLow,
    entryId: request.entryId,
    status,
    entryBytes: undefined,
  }
  switch (request.operation) {
    case operations.read:
      return encodeReadResponse(fields)
    case operations.add: {
      const target = Buffer.allocUnsafe(addResponseBytesMax)
      return target.subarray(0, writeAddResponse(target, 0, fields))
    }
    case operations.batchRead:
      return Buffer.concat(encodeBatchReadResponse(fields, []))
    case operations.startTls:
      return encodeStartTlsResponse(fields)
    case operations.bookieInfo:
      return encodeBookieInfoResponse(fields)
    case operations.auth:
    case 0:
      invariant(request.protocol === 3, 'an AUTH of V2 is refused by closing')
      return encodeHeaderCopyResponse(request, status)
    case operations.writeLac:
    case operations.readLac:
    case operations.force:
    case operations.listEntries:
      break
  }
  return answerOf(request.operation, fields, ledgerBody(fields))
}
