// Responses of a bookie: one view that is refilled for each frame, and what a bookie answers.
//
// Rules of wire 1.5, 1.7 and 2.4 to 2.12: V2 repeats the version and the ids of its request; V3 has
// a new header without priority, but for the copies named in 2.4; both statuses are always written;
// which fields are present is decided here by what the caller has.

import { invariant } from '../invariant.ts'
import { codeOfStatus, decodeResponseV2, responseHeadBytesV2 } from './bookie-v2.ts'
import { writeHeadV2, writeIdsV2 } from './bookie-v2.ts'
import { clearResponseBody, decodeResponseV3 } from './bookie-v3-response.ts'
import { MessageReader, versionThree } from './bookie-v3.ts'
import { operations, statuses } from './bookie-messages.ts'
import type { BookieResponse, Operation, Status } from './bookie-messages.ts'
import { writeU32 } from './int64.ts'
import { numberBytes, varintBytes } from './protobuf.ts'
import { writeNumber, writeVarint } from './protobuf.ts'

/** Named to clients that authenticate although nobody asks them to (wire 3.2). */
export const authDisabledPlugin = 'AuthDisabledPlugin'

const none = Buffer.alloc(0)

class ResponseView implements BookieResponse {
  protocol: 2 | 3 = 3
  version = 0
  operation: Operation | 0 = 0
  rawOperation = 0
  priority = 0
  txnHigh = 0
  txnLow = 0
  status: Status = statuses.ok
  ledgerHigh = 0
  ledgerLow = 0
  entryId = 0
  hasMaxLac = false
  maxLac = 0
  lacUpdateTimestampMs = 0
  freeBytes = 0
  totalBytes = 0
  bytes: Buffer = none
  bodyStart = 0
  bodyEnd = 0
  secondStart = 0
  secondEnd = 0
  hasBody = false
  hasSecond = false
  hasMessage = true
  authPlugin = ''
  readonly reader = new MessageReader()
}

/** A view to decode responses into, again and again. */
export function createResponse(): BookieResponse {
  return new ResponseView()
}

/**
 * Decodes the packet bytes[start, end). A client knows the protocol of what it sent (wire 1.4).
 * `bad`: the caller closes the connection, and the view holds nothing of meaning.
 */
export function decodeResponse(
  bytes: Buffer,
  start: number,
  end: number,
  protocol: 2 | 3,
  into: BookieResponse,
): 'ok' | 'bad' {
  const reader = into instanceof ResponseView ? into.reader : new MessageReader()
  reader.reset(bytes, start, end)
  into.version = 0
  into.operation = 0
  into.rawOperation = 0
  into.priority = 0
  into.txnHigh = 0
  into.txnLow = 0
  into.bytes = bytes
  into.hasMessage = true
  clearResponseBody(into)
  const decoded = protocol === 3 ? decodeResponseV3(reader, into) : decodeResponseV2(reader, into)
  return decoded ? 'ok' : 'bad'
}

/** What every answer takes from its request; a request's view has it all but the status. */
export interface AnswerFields {
  readonly txnHigh: number
  readonly txnLow: number
  readonly status: Status
}

export interface LedgerAnswerFields extends AnswerFields {
  readonly ledgerHigh: number
  readonly ledgerLow: number
}

export interface AddResponseFields extends LedgerAnswerFields {
  readonly protocol: 2 | 3
  /** V2: that of the request, which the answer repeats. */
  readonly version: number
  /** As in the request, −1 included; only a piggybacked entry has its own (wire 2.7). */
  readonly entryId: number
}

/** Most bytes of an add response, length field included. */
export const addResponseBytesMax = 52

/** Bytes of a V3 header message without priority, its tag and its length. */
const headBytes = (fields: AnswerFields): number => 7 + varintBytes(fields.txnHigh, fields.txnLow)

/** A V3 header, tag and length included. */
function writeHead(target: Buffer, at: number, operation: Operation, fields: AnswerFields): number {
  target[at] = 0x0a
  target[at + 1] = headBytes(fields) - 2
  target[at + 2] = 0x08
  target[at + 3] = versionThree
  target[at + 4] = 0x10
  target[at + 5] = operation
  target[at + 6] = 0x18
  return writeVarint(target, at + 7, fields.txnHigh, fields.txnLow)
}

/** Bytes of status, ledger id and entry id in a sub-message. */
const idsBytes = (fields: AddResponseFields): number =>
  3 +
  varintBytes(0, fields.status) +
  varintBytes(fields.ledgerHigh, fields.ledgerLow) +
  numberBytes(fields.entryId)

/**
 * Status, sub-message's tag, length and its first three fields: the same in add and read responses.
 */
function writeStatusAndIds(
  target: Buffer,
  at: number,
  fields: AddResponseFields,
  tag: number,
  messageBytes: number,
): number {
  let next = at
  target[next++] = 0x10
  next = writeVarint(target, next, 0, fields.status)
  next = writeVarint(target, next, 0, tag)
  next = writeVarint(target, next, 0, messageBytes)
  target[next++] = 0x08
  next = writeVarint(target, next, 0, fields.status)
  target[next++] = 0x10
  next = writeVarint(target, next, fields.ledgerHigh, fields.ledgerLow)
  target[next++] = 0x18
  return writeNumber(target, next, fields.entryId)
}

const readTag = 100 * 8 + 2
const addTag = 101 * 8 + 2

/** Header, code and ids of a V2 response. */
function writeAnswerV2(
  target: Buffer,
  at: number,
  operation: Operation,
  fields: AddResponseFields,
): number {
  const head = writeHeadV2(target, at, fields.version, operation, 0)
  return writeIdsV2(target, writeU32(target, head, codeOfStatus(fields.status)), fields)
}

/**
 * Writes the whole frame of an add response, success or failure. Returns the offset behind it.
 * Allocates nothing.
 */
export function writeAddResponse(target: Buffer, at: number, fields: AddResponseFields): number {
  if (fields.protocol === 2) {
    const head = writeU32(target, at, responseHeadBytesV2)
    return writeAnswerV2(target, head, operations.add, fields)
  }
  const message = idsBytes(fields)
  // Always below 128: a tag of two bytes, a length of one.
  const packet = headBytes(fields) + 1 + varintBytes(0, fields.status) + 3 + message
  const head = writeHead(target, writeU32(target, at, packet), operations.add, fields)
  return writeStatusAndIds(target, head, fields, addTag, message)
}

export interface ReadResponseFields extends AddResponseFields {
  /** Bytes of the entry that follows the header; undefined: none is attached. V2: only with EOK. */
  readonly entryBytes: number | undefined
  /** V3: on successful reads that do not fence, and on long polls (wire 2.7). */
  readonly maxLac?: number | undefined
  /** V3: ms since 1970, when a long poll waited for an advance. */
  readonly lacUpdateTimestampMs?: number | undefined
}

/** Most bytes of a read response before its entry, length field included. */
export const readResponseHeaderBytesMax = 68
/** Most bytes of a read response behind its entry. */
export const readResponseTailBytesMax = 22

const numberFieldBytes = (value: number | undefined): number =>
  value === undefined ? 0 : 1 + numberBytes(value)

/** Bytes of a read response behind its entry: V3 writes maxLAC there. */
export function readResponseTailBytes(fields: ReadResponseFields): number {
  if (fields.protocol === 2) return 0
  return numberFieldBytes(fields.maxLac) + numberFieldBytes(fields.lacUpdateTimestampMs)
}

/**
 * Writes what stands before the entry of a read response; the length field counts entry and tail
 * too. Returns the offset behind it. Allocates nothing.
 */
export function writeReadResponseHeader(
  target: Buffer,
  at: number,
  fields: ReadResponseFields,
): number {
  const { entryBytes } = fields
  if (fields.protocol === 2) {
    const head = writeU32(target, at, responseHeadBytesV2 + (entryBytes ?? 0))
    return writeAnswerV2(target, head, operations.read, fields)
  }
  const body = entryBytes === undefined ? 0 : 1 + varintBytes(0, entryBytes) + entryBytes
  const message = idsBytes(fields) + body + readResponseTailBytes(fields)
  const before = headBytes(fields) + 1 + varintBytes(0, fields.status) + 2
  const packet = before + varintBytes(0, message) + message
  const head = writeHead(target, writeU32(target, at, packet), operations.read, fields)
  const next = writeStatusAndIds(target, head, fields, readTag, message)
  if (entryBytes === undefined) return next
  target[next] = 0x22
  return writeVarint(target, next + 1, 0, entryBytes)
}

/** Writes what stands behind the entry of a read response. Returns the end of the frame. */
export function writeReadResponseTail(
  target: Buffer,
  at: number,
  fields: ReadResponseFields,
): number {
  if (fields.protocol === 2) return at
  let next = at
  if (fields.maxLac !== undefined) {
    target[next] = 0x28
    next = writeNumber(target, next + 1, fields.maxLac)
  }
  if (fields.lacUpdateTimestampMs === undefined) return next
  target[next] = 0x30
  return writeNumber(target, next + 1, fields.lacUpdateTimestampMs)
}

/**
 * What stands before the entry of a read response, as a Buffer of its own; entry and tail follow it
 * on the socket. Without an entry: the whole frame but for the tail.
 */
export function encodeReadResponseHeader(fields: ReadResponseFields): Buffer {
  const target = Buffer.allocUnsafe(readResponseHeaderBytesMax)
  return target.subarray(0, writeReadResponseHeader(target, 0, fields))
}

/** What stands behind the entry of a read response; may be empty. */
export function encodeReadResponseTail(fields: ReadResponseFields): Buffer {
  const target = Buffer.allocUnsafe(readResponseTailBytesMax)
  return target.subarray(0, writeReadResponseTail(target, 0, fields))
}

/** A read response without an entry: an error, or a long poll that found none. */
export function encodeReadResponse(fields: ReadResponseFields): Buffer {
  invariant(fields.entryBytes === undefined, 'the entry of a read response is sent apart')
  return Buffer.concat([encodeReadResponseHeader(fields), encodeReadResponseTail(fields)])
}
