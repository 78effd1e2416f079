// Requests to a bookie as a decoder would leave them, and entries as a writer packages them (digest
// of 4 bytes, not computed: a bookie never checks one).
import { createHash } from 'node:crypto'
import type { Logger } from '../../src/io/index.ts'
import { type BookieRequest, type Operation, operations } from '../../src/wire/bookie-messages.ts'

export const masterKey: Buffer = createHash('sha1').update('ledger').digest()
export const otherKey: Buffer = createHash('sha1').update('ledgerother').digest()

export interface EntryFields {
  readonly ledger?: number | bigint
  readonly entry?: number | bigint
  readonly lac?: number | bigint
  readonly length?: number
  readonly digest?: number
  readonly payload?: string
}

export function entryBytes(fields: EntryFields = {}): Buffer {
  const { ledger = 1, entry = 0, lac = -1, length = 100, digest = 0, payload = 'payload' } = fields
  const header = Buffer.alloc(36)
  header.writeBigInt64BE(BigInt(ledger), 0)
  header.writeBigInt64BE(BigInt(entry), 8)
  header.writeBigInt64BE(BigInt(lac), 16)
  header.writeBigInt64BE(BigInt(length), 24)
  header.writeUInt32BE(digest, 32)
  return Buffer.concat([header, Buffer.from(payload)])
}

export function lacPacket(ledger: number, lac: number): Buffer {
  const packet = Buffer.alloc(20)
  packet.writeBigInt64BE(BigInt(ledger), 0)
  packet.writeBigInt64BE(BigInt(lac), 8)
  return packet
}

export interface RequestFields {
  readonly operation?: Operation
  readonly ledger?: number
  readonly entryId?: number
  readonly flags?: number
  readonly priority?: number
  readonly key?: Buffer | undefined
  readonly body?: Buffer
}

/** A V3 request; unnamed fields are as absent ones. */
export function request(fields: RequestFields = {}): BookieRequest {
  const { operation = operations.add, ledger = 1, key = masterKey, body = Buffer.alloc(0) } = fields
  const bytes = Buffer.concat([Buffer.alloc(3), key, body])
  return {
    protocol: 3,
    version: 3,
    operation,
    rawOperation: operation,
    txnHigh: 0,
    txnLow: 7,
    priority: fields.priority ?? 0,
    flags: fields.flags ?? 0,
    ledgerHigh: Math.floor(ledger / 2 ** 32),
    ledgerLow: ledger >>> 0,
    entryId: fields.entryId ?? -1,
    hasPreviousLac: false,
    previousLac: -1,
    hasTimeout: false,
    timeoutMs: 0,
    maxCount: 0,
    maxBytes: 0,
    requested: 0,
    hasBody: true,
    bytes,
    keyStart: 3,
    keyEnd: 3 + key.length,
    bodyStart: 3 + key.length,
    bodyEnd: bytes.length,
    authPlugin: '',
  }
}

export function addRequest(entry: EntryFields = {}, more: RequestFields = {}): BookieRequest {
  return request({ ...more, body: entryBytes(entry) })
}

export interface Logged {
  readonly level: string
  readonly facts: object
  readonly message: string
}

/** Keeps what is logged. */
export function recordingLogger(): { logger: Logger; lines: Logged[] } {
  const lines: Logged[] = []
  const at = (level: string) => (facts: object, message: string) => {
    lines.push({ level, facts, message })
  }
  const logger: Logger = {
    child: () => logger,
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
  return { logger, lines }
}
