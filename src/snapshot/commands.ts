// What a replica puts into its log: one record for each command, and the records that keep sessions
// and checks. Big-endian.
//
//   0      1
//   +------+----------------------------------------------------------------
//   | kind | 1 command: session 16 · seq u64 · ackedUpTo u64 · body
//   |      | 2 open:    session 16 · timeoutMs u64
//   |      | 3 close:   session 16
//   |      | 4 expire:  nothing: every session whose time is over by this record's log time
//   |      | 5 barrier: nothing
//   |      | 6 check:   position u64 · fingerprint u32
//   +------+----------------------------------------------------------------

import { QuireError } from '../errors.ts'

export type ReplicaRecord =
  | {
      readonly type: 'command'
      /** 32 hexadecimal digits. */
      readonly session: string
      /** From 1, by one for each command of the session. */
      readonly seq: number
      /** Every command up to this one has its answer: results are not needed any more. */
      readonly ackedUpTo: number
      readonly body: Buffer
    }
  | { readonly type: 'open'; readonly session: string; readonly timeoutMs: number }
  | { readonly type: 'close'; readonly session: string }
  | { readonly type: 'expire' }
  | { readonly type: 'barrier' }
  /** Whoever has applied everything before `position` has this fingerprint. */
  | { readonly type: 'check'; readonly position: number; readonly fingerprint: number }

const kinds = { command: 1, open: 2, close: 3, expire: 4, barrier: 5, check: 6 } as const
const sessionBytes = 16

export function encodeReplicaRecord(record: ReplicaRecord): Buffer {
  const body = record.type === 'command' ? record.body.length : 0
  const bytes = Buffer.alloc(sizes[record.type] + body)
  bytes.writeUInt8(kinds[record.type], 0)
  if ('session' in record) bytes.write(record.session, 1, sessionBytes, 'hex')
  const at = 1 + sessionBytes
  if (record.type === 'command') {
    bytes.writeBigUInt64BE(BigInt(record.seq), at)
    bytes.writeBigUInt64BE(BigInt(record.ackedUpTo), at + 8)
    record.body.copy(bytes, at + 16)
  } else if (record.type === 'open') {
    bytes.writeBigUInt64BE(BigInt(record.timeoutMs), at)
  } else if (record.type === 'check') {
    bytes.writeBigUInt64BE(BigInt(record.position), 1)
    bytes.writeUInt32BE(record.fingerprint, 9)
  }
  return bytes
}

const sizes = { command: 33, open: 25, close: 17, expire: 1, barrier: 1, check: 13 } as const

/** Fails with QUIRE_LOG_CORRUPT: something else writes into this log, or a newer version does. */
export function decodeReplicaRecord(bytes: Buffer): ReplicaRecord {
  const kind = bytes[0]
  const type = types.find((name) => kinds[name] === kind)
  if (!type || bytes.length < sizes[type]) {
    throw new QuireError(
      'QUIRE_LOG_CORRUPT',
      `a record of kind ${kind} is not a replica's; only the replica itself may write to its log`,
    )
  }
  if (type === 'expire' || type === 'barrier') return { type }
  if (type === 'check') {
    return { type, position: u64(bytes, 1), fingerprint: bytes.readUInt32BE(9) }
  }
  const at = 1 + sessionBytes
  const session = bytes.toString('hex', 1, at)
  if (type === 'close') return { type, session }
  if (type === 'open') return { type, session, timeoutMs: u64(bytes, at) }
  const body = bytes.subarray(at + 16)
  return { type, session, seq: u64(bytes, at), ackedUpTo: u64(bytes, at + 8), body }
}

const types = ['command', 'open', 'close', 'expire', 'barrier', 'check'] as const

function u64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64BE(at))
}
