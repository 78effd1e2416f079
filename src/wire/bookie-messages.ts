// What travels between a ledger client and a bookie, whichever protocol version carries it (V2
// binary, V3 protobuf).
//
// Decoded messages are *views*: one mutable object a connection, refilled for each frame, whose
// byte ranges point into the chunk that came from the socket. Nothing is copied and nothing is
// allocated for an entry; who keeps something copies it. Ledger ids are 63-bit and travel as two
// unsigned halves; entry ids and positions are safe integers.

export const operations = {
  read: 1,
  add: 2,
  auth: 5,
  writeLac: 6,
  readLac: 7,
  bookieInfo: 8,
  startTls: 9,
  force: 10,
  listEntries: 11,
  batchRead: 12,
} as const

export type Operation = (typeof operations)[keyof typeof operations]

/** V3 status codes; the V2 numbers are mapped at the edge (wire 1.7). */
export const statuses = {
  ok: 0,
  noLedger: 402,
  noEntry: 403,
  badRequest: 404,
  io: 501,
  unauthorized: 502,
  badVersion: 503,
  fenced: 504,
  readOnly: 505,
  tooManyRequests: 506,
  unknownLedgerState: 507,
} as const

export type Status = (typeof statuses)[keyof typeof statuses]

/** Bits of `flags`, the same for both protocols. */
export const requestFlags = {
  fence: 1,
  recovery: 2,
  highPriority: 4,
  deferredSync: 8,
  piggyback: 16,
} as const

/** The entry id that asks for the last entry a bookie holds, and that stands for "none". */
export const noEntryId = -1

/**
 * Stands for an id from the wire that no safe integer can hold: never stored, so reads of it find
 * nothing.
 */
export const hugeEntryId: number = Number.POSITIVE_INFINITY

export interface BookieRequest {
  protocol: 2 | 3
  /** V2: the version byte as sent. V3: the number of the ProtocolVersion enum. */
  version: number
  /** 0 when the frame names an operation that this protocol knows by number only. */
  operation: Operation | 0
  /** The operation's number as it was sent: what a bad-request answer echoes. */
  rawOperation: number
  /** V3 transaction id, or V2 batch-read request id, as two unsigned halves. */
  txnHigh: number
  txnLow: number
  priority: number
  flags: number
  ledgerHigh: number
  ledgerLow: number
  /** −1 = last entry; below −1 as sent; `hugeEntryId` beyond 2^53. */
  entryId: number
  /** Presence of previousLAC, and of the timeout, selects the long poll (wire 2.7). */
  hasPreviousLac: boolean
  previousLac: number
  hasTimeout: boolean
  timeoutMs: number
  maxCount: number
  maxBytes: number
  /** GET_BOOKIE_INFO mask. */
  requested: number
  /** False: the operation's sub-message was missing (V3). */
  hasBody: boolean
  /** The chunk that the ranges below point into. */
  bytes: Buffer
  /** Offsets of the master key; equal when there is none. */
  keyStart: number
  keyEnd: number
  /** Offsets of the entry as stored (add), the LAC packet (writeLac) or the auth payload. */
  bodyStart: number
  bodyEnd: number
  authPlugin: string
}

export interface BookieResponse {
  protocol: 2 | 3
  /** As in a request: an answer of V2 repeats the version of its request. */
  version: number
  operation: Operation | 0
  rawOperation: number
  priority: number
  txnHigh: number
  txnLow: number
  /**
   * V3: the inner status where the outer is OK, else the outer. V2: mapped to V3 numbers; unknown
   * numbers become `io`.
   */
  status: Status
  ledgerHigh: number
  ledgerLow: number
  entryId: number
  hasMaxLac: boolean
  maxLac: number
  /** When the last add confirmed moved, in ms since 1970, if a long poll tells it; else 0. */
  lacUpdateTimestampMs: number
  /** Free and total bytes of a bookie-info answer. */
  freeBytes: number
  totalBytes: number
  bytes: Buffer
  /**
   * read: the entry. readLac: the LAC packet. listEntries: the availability bytes. batchRead: the
   * list of sized entries.
   */
  bodyStart: number
  bodyEnd: number
  /** readLac: the last entry. */
  secondStart: number
  secondEnd: number
  /** Tells an absent body from an empty one. */
  hasBody: boolean
  hasSecond: boolean
  /** V3: the operation's sub-message is there. A client that did not authenticate gets none. */
  hasMessage: boolean
  authPlugin: string
}
