// Writes answers into a connection's output: one reused set of fields, no object for an answer that
// is common.

import {
  encodeAuthDisabledResponse,
  encodeAuthResponse,
  encodeBatchReadResponse,
  encodeBookieInfoResponse,
  encodeErrorResponse,
  encodeForceResponse,
  encodeHeaderCopyResponse,
  encodeListEntriesResponse,
  encodeReadLacResponse,
  encodeWriteLacResponse,
} from '../../wire/bookie-answers.ts'
import { authenticationPlugin } from '../../wire/authentication.ts'
import { operations, type Status, statuses } from '../../wire/bookie-messages.ts'
import { createRequest } from '../../wire/bookie-request.ts'
import {
  addResponseBytesMax,
  readResponseHeaderBytesMax,
  readResponseTailBytesMax,
  writeAddResponse,
  writeReadResponseHeader,
  writeReadResponseTail,
} from '../../wire/bookie-response.ts'
import type { Ack } from './acks.ts'
import type { Echo } from './call.ts'
import type { Output } from './output.ts'

/** Bits of `requested` in a bookie-info request. */
const wantsTotal = 1
const wantsFree = 2

export interface EntryAnswer {
  /** Told on plain reads of V3 and on long polls. */
  readonly maxLac?: number | undefined
  /** When the position moved, ms since 1970; 0 and absent: not told. */
  readonly movedMs?: number | undefined
  /** Whether to copy the entry into the output, rather than give its bytes to the socket. */
  readonly copied: boolean
  /** The entry's bytes, not copied, may change. */
  readonly flushed?: () => void
}

interface Fields {
  protocol: 2 | 3
  version: number
  txnHigh: number
  txnLow: number
  status: Status
  ledgerHigh: number
  ledgerLow: number
  entryId: number
  entryBytes: number | undefined
  maxLac: number | undefined
  lacUpdateTimestampMs: number | undefined
}

const nothing = (): void => undefined

export class Answers {
  readonly #output: Output
  readonly #fields: Fields = {
    protocol: 3,
    version: 3,
    txnHigh: 0,
    txnLow: 0,
    status: statuses.ok,
    ledgerHigh: 0,
    ledgerLow: 0,
    entryId: 0,
    entryBytes: undefined,
    maxLac: undefined,
    lacUpdateTimestampMs: undefined,
  }

  constructor(output: Output) {
    this.#output = output
  }

  /** OK to an add, a LAC write or a force. */
  ok(ack: Ack): void {
    const fields = this.#fill(ack, statuses.ok)
    if (ack.operation === operations.writeLac) this.#put(encodeWriteLacResponse(fields))
    else if (ack.operation === operations.force) this.#put(encodeForceResponse(fields))
    else this.#add(fields)
  }

  /** An answer without anything but its status. */
  status(echo: Echo, status: Status): void {
    if (echo.operation === operations.add) {
      this.#add(this.#fill(echo, status))
      return
    }
    if (status === statuses.ok) {
      this.ok(echo)
      return
    }
    this.#put(encodeErrorResponse({ ...createRequest(), ...echo }, status))
  }

  /** The entry that a read found. */
  entry(echo: Echo, bytes: Buffer, answer: EntryAnswer): void {
    const fields = this.#fill(echo, statuses.ok)
    fields.entryBytes = bytes.length
    fields.maxLac = answer.maxLac
    fields.lacUpdateTimestampMs = answer.movedMs === 0 ? undefined : answer.movedMs
    const output = this.#output
    const copied = answer.copied ? bytes.length : 0
    const most = readResponseHeaderBytesMax + copied + readResponseTailBytesMax
    const target = output.reserve(most)
    const at = writeReadResponseHeader(target, output.at, fields)
    if (answer.copied) {
      bytes.copy(target, at)
      output.wrote(writeReadResponseTail(target, at + bytes.length, fields))
      return
    }
    output.wrote(at)
    output.writeView(bytes, answer.flushed ?? nothing)
    const tail = output.reserve(readResponseTailBytesMax)
    output.wrote(writeReadResponseTail(tail, output.at, fields))
  }

  /** A long poll's answer without an entry. */
  position(echo: Echo, known: { maxLac: number; movedMs: number }): void {
    const fields = this.#fill(echo, statuses.ok)
    fields.entryBytes = undefined
    fields.maxLac = known.maxLac
    fields.lacUpdateTimestampMs = known.movedMs === 0 ? undefined : known.movedMs
    const output = this.#output
    const target = output.reserve(readResponseHeaderBytesMax + readResponseTailBytesMax)
    const at = writeReadResponseHeader(target, output.at, fields)
    output.wrote(writeReadResponseTail(target, at, fields))
  }

  batch(echo: Echo, entries: readonly { bytes: Buffer }[]): void {
    const fields = this.#fill(echo, statuses.ok)
    const bytes = entries.map((entry) => entry.bytes)
    for (const part of encodeBatchReadResponse(fields, bytes)) this.#put(part)
  }

  readLac(
    echo: Echo,
    status: Status,
    found: { explicit: Buffer | undefined; last: Buffer | undefined },
  ): void {
    const bodies = { lacPacket: found.explicit, lastEntry: found.last }
    this.#put(encodeReadLacResponse(this.#fill(echo, status), bodies))
  }

  list(echo: Echo, availability: Uint8Array): void {
    this.#put(encodeListEntriesResponse(this.#fill(echo, statuses.ok), availability))
  }

  bookieInfo(
    request: Echo & { readonly requested: number },
    space: { freeBytes: number; totalBytes: number },
  ): void {
    const found = {
      totalBytes: (request.requested & wantsTotal) === 0 ? undefined : space.totalBytes,
      freeBytes: (request.requested & wantsFree) === 0 ? undefined : space.freeBytes,
    }
    this.#put(encodeBookieInfoResponse(this.#fill(request, statuses.ok), found))
  }

  authDisabled(echo: Echo): void {
    this.#put(encodeAuthDisabledResponse(echo))
  }

  /** The next message of the exchange. */
  auth(echo: Echo, payload: Uint8Array): void {
    this.#put(encodeAuthResponse(echo, authenticationPlugin, payload))
  }

  /** V3, to whoever has not authenticated itself. */
  unauthorized(echo: Echo): void {
    this.#put(encodeHeaderCopyResponse(echo, statuses.unauthorized))
  }

  #add(fields: Fields): void {
    const output = this.#output
    const target = output.reserve(addResponseBytesMax)
    output.wrote(writeAddResponse(target, output.at, fields))
  }

  #put(frame: Buffer): void {
    const output = this.#output
    const target = output.reserve(frame.length)
    frame.copy(target, output.at)
    output.wrote(output.at + frame.length)
  }

  #fill(echo: Ack, status: Status): Fields {
    const fields = this.#fields
    fields.protocol = echo.protocol
    fields.version = echo.version
    fields.txnHigh = echo.txnHigh
    fields.txnLow = echo.txnLow
    fields.status = status
    fields.ledgerHigh = echo.ledgerHigh
    fields.ledgerLow = echo.ledgerLow
    fields.entryId = echo.entryId
    return fields
  }
}
