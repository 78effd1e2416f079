// Requests to a bookie: one view that is refilled for each frame, and what a client sends.
//
// A V3 frame of the client is [u32 length | header … tag and length of the body][entry][tail]: the
// entry follows the header in the client's own memory, so that it is copied once. The tail is empty
// but for deferred sync. Fields are written in the order of Java 4.18 (`flag` first), which every
// decoder takes.

import { invariant } from '../invariant.ts'
import {
  addHeadBytesV2,
  decodeRequestV2,
  versionTwo,
  writeHeadV2,
  writeIdsV2,
} from './bookie-v2.ts'
import { clearRequestBody, decodeRequestV3 } from './bookie-v3-request.ts'
import { bodyFieldOf, bodyFields, MessageReader, versionThree } from './bookie-v3.ts'
import { operations, requestFlags } from './bookie-messages.ts'
import type { BookieRequest, Operation } from './bookie-messages.ts'
import { writeInt64, writeU32 } from './int64.ts'
import { numberBytes, ProtoWriter, varintBytes } from './protobuf.ts'
import { writeNumber, writeVarint } from './protobuf.ts'

/** The priority that Java clients send for high-priority adds and reads. */
const highPriority = 100

const none = Buffer.alloc(0)

class RequestView implements BookieRequest {
  protocol: 2 | 3 = 3
  version = 0
  operation: Operation | 0 = 0
  rawOperation = 0
  txnHigh = 0
  txnLow = 0
  priority = 0
  flags = 0
  ledgerHigh = 0
  ledgerLow = 0
  entryId = 0
  hasPreviousLac = false
  previousLac = 0
  hasTimeout = false
  timeoutMs = 0
  maxCount = 0
  maxBytes = 0
  requested = 0
  hasBody = false
  bytes: Buffer = none
  keyStart = 0
  keyEnd = 0
  bodyStart = 0
  bodyEnd = 0
  authPlugin = ''
  readonly reader = new MessageReader()
}

/** A view to decode requests into, again and again. */
export function createRequest(): BookieRequest {
  return new RequestView()
}

/**
 * Decodes the packet bytes[start, end). With `v3-first`, the state in which a connection begins, it
 * is parsed as V3 and, failing that, as V2; `into.protocol` tells which. After the first V2 packet
 * the caller passes `v2` for the rest of the connection (wire 1.3). `bad`: neither; the caller
 * closes the connection, and the view holds nothing of meaning.
 */
export function decodeRequest(
  bytes: Buffer,
  start: number,
  end: number,
  protocol: 'v3-first' | 'v2',
  into: BookieRequest,
): 'ok' | 'bad' {
  const reader = into instanceof RequestView ? into.reader : new MessageReader()
  if (protocol === 'v3-first') {
    clear(bytes, into)
    reader.reset(bytes, start, end)
    if (decodeRequestV3(reader, into)) return 'ok'
  }
  clear(bytes, into)
  reader.reset(bytes, start, end)
  return decodeRequestV2(reader, into) ? 'ok' : 'bad'
}

function clear(bytes: Buffer, into: BookieRequest): void {
  into.version = 0
  into.operation = 0
  into.rawOperation = 0
  into.txnHigh = 0
  into.txnLow = 0
  into.priority = 0
  into.bytes = bytes
  clearRequestBody(into)
}

/** Correlates a V3 answer; a batch read of V2 likewise. Never used twice in a process. */
export interface TxnFields {
  readonly txnHigh: number
  readonly txnLow: number
}

export interface LedgerRequestFields extends TxnFields {
  readonly ledgerHigh: number
  readonly ledgerLow: number
}

export interface AddRequestFields extends LedgerRequestFields {
  readonly protocol: 2 | 3
  readonly entryId: number
  /** `recovery`, `highPriority`; V3 only: `deferredSync`, ignored beside `recovery`. */
  readonly flags: number
  /** 20 bytes. */
  readonly masterKey: Uint8Array
  /** Bytes of the entry as stored, which follow the header. */
  readonly entryBytes: number
}

const isHigh = (flags: number): boolean => (flags & requestFlags.highPriority) !== 0
const isRecovery = (flags: number): boolean => (flags & requestFlags.recovery) !== 0
const isDeferred = (flags: number): boolean =>
  (flags & (requestFlags.recovery | requestFlags.deferredSync)) === requestFlags.deferredSync

/** Bytes of the V3 header message behind its tag and length. */
const headBytes = (fields: TxnFields, flags: number): number =>
  5 + varintBytes(fields.txnHigh, fields.txnLow) + (isHigh(flags) ? 2 : 0)

/** Bytes of the add message up to its entry. */
const addBeforeEntryBytes = (fields: AddRequestFields): number =>
  (isRecovery(fields.flags) ? 3 : 0) +
  1 +
  varintBytes(fields.ledgerHigh, fields.ledgerLow) +
  1 +
  numberBytes(fields.entryId) +
  1 +
  varintBytes(0, fields.masterKey.length) +
  fields.masterKey.length +
  1 +
  varintBytes(0, fields.entryBytes)

const addTailBytes = (fields: AddRequestFields): number =>
  fields.protocol === 3 && isDeferred(fields.flags) ? 2 : 0

/** Bytes of an add request before its entry, length field included. */
export function addRequestHeaderBytes(fields: AddRequestFields): number {
  if (fields.protocol === 2) return 4 + addHeadBytesV2
  const before = addBeforeEntryBytes(fields)
  const message = before + fields.entryBytes + addTailBytes(fields)
  return 4 + 2 + headBytes(fields, fields.flags) + 2 + varintBytes(0, message) + before
}

/** Bytes of the whole frame of an add request: header, entry and tail. */
export function addRequestBytes(fields: AddRequestFields): number {
  return addRequestHeaderBytes(fields) + fields.entryBytes + addTailBytes(fields)
}

/** Most bytes that stand before the entry of an add request with a key of 20 bytes. */
export const addRequestHeaderBytesMax = 93

/**
 * Writes what stands before the entry, length field included. Returns the offset where the entry
 * belongs. Allocates nothing.
 */
export function writeAddRequestHeader(
  target: Buffer,
  at: number,
  fields: AddRequestFields,
): number {
  const { masterKey, flags } = fields
  if (fields.protocol === 2) {
    invariant(masterKey.length === 20, 'a master key of V2 has 20 bytes')
    const head = writeU32(target, at, addHeadBytesV2 + fields.entryBytes)
    return writeBytes(
      target,
      writeHeadV2(target, head, versionTwo, operations.add, flags),
      masterKey,
    )
  }
  const message = addBeforeEntryBytes(fields) + fields.entryBytes + addTailBytes(fields)
  const head = headBytes(fields, flags)
  let next = writeU32(target, at, 2 + head + 2 + varintBytes(0, message) + message)
  target[next] = 0x0a
  target[next + 1] = head
  target[next + 2] = 0x08
  target[next + 3] = versionThree
  target[next + 4] = 0x10
  target[next + 5] = operations.add
  target[next + 6] = 0x18
  next = writeVarint(target, next + 7, fields.txnHigh, fields.txnLow)
  if (isHigh(flags)) {
    target[next++] = 0x20
    target[next++] = highPriority
  }
  target[next++] = 0xaa
  target[next++] = 0x06
  next = writeVarint(target, next, 0, message)
  if (isRecovery(flags)) {
    target[next++] = 0xa0
    target[next++] = 0x06
    target[next++] = 1
  }
  target[next++] = 0x08
  next = writeVarint(target, next, fields.ledgerHigh, fields.ledgerLow)
  target[next++] = 0x10
  next = writeNumber(target, next, fields.entryId)
  target[next++] = 0x1a
  next = writeVarint(target, next, 0, masterKey.length)
  next = writeBytes(target, next, masterKey)
  target[next++] = 0x22
  return writeVarint(target, next, 0, fields.entryBytes)
}

/** Writes what stands behind the entry: nothing but for deferred sync. Returns the frame's end. */
export function writeAddRequestTail(target: Buffer, at: number, fields: AddRequestFields): number {
  if (addTailBytes(fields) === 0) return at
  target[at] = 0x28
  target[at + 1] = 1
  return at + 2
}

/** Short enough that a loop beats `set`. */
function writeBytes(target: Buffer, at: number, bytes: Uint8Array): number {
  for (let index = 0; index < bytes.length; index++) target[at + index] = bytes[index] as number
  return at + bytes.length
}

function request(operation: Operation, fields: TxnFields, flags: number): ProtoWriter {
  const head = new ProtoWriter()
    .number(1, versionThree)
    .number(2, operation)
    .halves(3, fields.txnHigh, fields.txnLow)
    .number(4, isHigh(flags) ? highPriority : undefined)
  return new ProtoWriter().message(1, head)
}

const frameOf = (operation: Operation, fields: TxnFields, body: ProtoWriter): Buffer =>
  request(operation, fields, 0).message(bodyFieldOf(operation), body).frame()

export interface ReadRequestFields extends LedgerRequestFields {
  /** V3 unless told otherwise. */
  readonly protocol?: 2 | 3 | undefined
  /** −1 asks for the last entry that the bookie holds. */
  readonly entryId: number
  /** `fence` or, V3 only, `piggyback`, never both; `highPriority`. */
  readonly flags: number
  /** Needed with `fence`. */
  readonly masterKey?: Uint8Array | undefined
  /** Selects the long poll (wire 2.7), as the timeout does. V3 only. */
  readonly previousLac?: number | undefined
  readonly timeoutMs?: number | undefined
}

/** READ_ENTRY: plain, fencing, recovery read or long poll. */
export function encodeReadRequest(fields: ReadRequestFields): Buffer {
  const fence = (fields.flags & requestFlags.fence) !== 0
  const piggyback = (fields.flags & requestFlags.piggyback) !== 0
  invariant(!fence || !piggyback, 'a read fences or piggybacks, never both')
  if (fields.protocol === 2) return encodeReadRequestV2(fields)
  const body = new ProtoWriter()
    .number(100, fence ? 1 : piggyback ? 2 : undefined)
    .halves(1, fields.ledgerHigh, fields.ledgerLow)
    .number(2, fields.entryId)
    .bytes(3, fields.masterKey)
    .number(4, fields.previousLac)
    .number(5, fields.timeoutMs)
  return request(operations.read, fields, fields.flags).message(bodyFields.read, body).frame()
}

function encodeReadRequestV2(fields: ReadRequestFields): Buffer {
  const key = fields.masterKey ?? none
  const frame = Buffer.allocUnsafe(24 + key.length)
  const head = writeU32(frame, 0, frame.length - 4)
  const ids = writeHeadV2(frame, head, versionTwo, operations.read, fields.flags)
  writeBytes(frame, writeIdsV2(frame, ids, fields), key)
  return frame
}

export interface BatchReadRequestFields extends LedgerRequestFields {
  /** The first entry wanted. */
  readonly entryId: number
  readonly flags: number
  readonly masterKey?: Uint8Array | undefined
  /** 0: no limit but that of bytes. */
  readonly maxCount: number
  readonly maxBytes: number
}

/** BATCH_READ_ENTRY, which exists in V2 only; the transaction id travels as request id. */
export function encodeBatchReadRequest(fields: BatchReadRequestFields): Buffer {
  const key = fields.masterKey ?? none
  const frame = Buffer.allocUnsafe(44 + key.length)
  let at = writeU32(frame, 0, frame.length - 4)
  at = writeHeadV2(frame, at, versionTwo, operations.batchRead, fields.flags)
  at = writeIdsV2(frame, at, fields)
  at = writeU32(frame, writeU32(frame, at, fields.txnHigh), fields.txnLow)
  at = writeInt64(frame, writeU32(frame, at, fields.maxCount), fields.maxBytes)
  writeBytes(frame, at, key)
  return frame
}

const ledgerBody = (fields: LedgerRequestFields): ProtoWriter =>
  new ProtoWriter().halves(1, fields.ledgerHigh, fields.ledgerLow)

/** READ_LAC: the explicit LAC and the last entry. */
export function encodeReadLacRequest(fields: LedgerRequestFields): Buffer {
  return frameOf(operations.readLac, fields, ledgerBody(fields))
}

/** FORCE_LEDGER: answered when what was added before is synced. */
export function encodeForceRequest(fields: LedgerRequestFields): Buffer {
  return frameOf(operations.force, fields, ledgerBody(fields))
}

/** GET_LIST_OF_ENTRIES_OF_LEDGER. */
export function encodeListEntriesRequest(fields: LedgerRequestFields): Buffer {
  return frameOf(operations.listEntries, fields, ledgerBody(fields))
}

export interface WriteLacRequestFields extends LedgerRequestFields {
  readonly lac: number
  readonly masterKey: Uint8Array
  /** The LAC packet (wire 4.4). */
  readonly body: Uint8Array
}

/** WRITE_LAC. */
export function encodeWriteLacRequest(fields: WriteLacRequestFields): Buffer {
  const body = ledgerBody(fields)
    .number(2, fields.lac)
    .bytes(3, fields.masterKey)
    .bytes(4, fields.body)
  return frameOf(operations.writeLac, fields, body)
}

/** GET_BOOKIE_INFO: `requested` is a mask, 1 total, 2 free bytes; Java asks for both. */
export function encodeBookieInfoRequest(
  fields: TxnFields & { readonly requested?: number | undefined },
): Buffer {
  const body = new ProtoWriter().number(1, fields.requested ?? 3)
  return frameOf(operations.bookieInfo, fields, body)
}

/** START_TLS: always V3, always the first request of its connection (wire 3.4). */
export function encodeStartTlsRequest(fields: TxnFields): Buffer {
  return frameOf(operations.startTls, fields, new ProtoWriter())
}

export interface AuthRequestFields extends TxnFields {
  /** V3 unless told otherwise. */
  readonly protocol?: 2 | 3 | undefined
  readonly plugin: string
  readonly payload: Uint8Array
}

/** AUTH: one message of the plugin's handshake (wire 3.3). */
export function encodeAuthRequest(fields: AuthRequestFields): Buffer {
  const body = new ProtoWriter().text(1, fields.plugin).bytes(2, fields.payload)
  if (fields.protocol !== 2) return frameOf(operations.auth, fields, body)
  const message = body.finish()
  const frame = Buffer.allocUnsafe(8 + message.length)
  writeU32(frame, 0, frame.length - 4)
  message.copy(frame, writeHeadV2(frame, 4, versionTwo, operations.auth, 0))
  return frame
}
