// Frames as clients send them, short to write.
import {
  type AddRequestFields,
  addRequestBytes,
  encodeBatchReadRequest,
  encodeReadRequest,
  encodeWriteLacRequest,
  writeAddRequestHeader,
  writeAddRequestTail,
} from '../../src/wire/bookie-request.ts'
import { requestFlags } from '../../src/wire/bookie-messages.ts'
import { type EntryFields, entryBytes, lacPacket, masterKey } from './bookie-requests.ts'

export interface FrameFields {
  readonly protocol?: 2 | 3
  readonly txn?: number
  readonly ledger?: number
  readonly entryId?: number
  readonly flags?: number
  readonly key?: Buffer | undefined
}

export const ids = (
  fields: FrameFields,
): { txnHigh: number; txnLow: number; ledgerHigh: number; ledgerLow: number } => ({
  txnHigh: 0,
  txnLow: fields.txn ?? 7,
  ledgerHigh: Math.floor((fields.ledger ?? 1) / 2 ** 32),
  ledgerLow: (fields.ledger ?? 1) >>> 0,
})

/** An add of an entry; the outer ids are those of the entry unless told otherwise. */
export function addFrame(entry: EntryFields = {}, fields: FrameFields = {}): Buffer {
  const body = entryBytes(entry)
  return addFrameOf(body, {
    ledger: Number(entry.ledger ?? 1),
    entryId: Number(entry.entry ?? 0),
    ...fields,
  })
}

export function addFrameOf(body: Buffer, fields: FrameFields = {}): Buffer {
  const request: AddRequestFields = {
    ...ids(fields),
    protocol: fields.protocol ?? 3,
    entryId: fields.entryId ?? 0,
    flags: fields.flags ?? 0,
    masterKey: fields.key ?? masterKey,
    entryBytes: body.length,
  }
  const frame = Buffer.alloc(addRequestBytes(request))
  const at = writeAddRequestHeader(frame, 0, request)
  body.copy(frame, at)
  writeAddRequestTail(frame, at + body.length, request)
  return frame
}

export function readFrame(
  entryId: number,
  fields: FrameFields & { previousLac?: number; timeoutMs?: number } = {},
): Buffer {
  return encodeReadRequest({ ...ids(fields), flags: 0, ...fields, entryId, masterKey: fields.key })
}

export function fenceFrame(entryId: number, fields: FrameFields = {}): Buffer {
  return readFrame(entryId, { key: masterKey, flags: requestFlags.fence, ...fields })
}

export function batchFrame(
  entryId: number,
  fields: FrameFields & { maxCount?: number; maxBytes?: number } = {},
): Buffer {
  return encodeBatchReadRequest({
    ...ids(fields),
    flags: fields.flags ?? 0,
    entryId,
    maxCount: fields.maxCount ?? 0,
    maxBytes: fields.maxBytes ?? 1_000_000,
    masterKey: fields.key,
  })
}

export function writeLacFrame(lac: number, fields: FrameFields = {}): Buffer {
  return encodeWriteLacRequest({
    ...ids(fields),
    lac,
    masterKey: fields.key ?? masterKey,
    body: lacPacket(fields.ledger ?? 1, lac),
  })
}

/** A V2 packet from hex, framed. */
export function framed(packet: Buffer | string): Buffer {
  const bytes = typeof packet === 'string' ? Buffer.from(packet, 'hex') : packet
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return Buffer.concat([head, bytes])
}
