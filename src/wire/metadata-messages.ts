// What travels between a metadata client and the node that serves the tree.
// docs/format/metadata-protocol.md draws it; metadata-codec.ts turns it into bytes. The types
// mirror the metadata contract, which lives a layer above.

/** The first four bytes of the first packet of a metadata connection, in both directions. */
export const metadataMagic = 'QRM1'

/**
 * High byte: major, refused when newer than one's own. Low byte: minor, fields and operations added
 * at the end.
 */
export const metadataVersion = 0x0100

export const metadataLimits = {
  /** Payload bytes of any frame, BookKeeper's limit less the length field. */
  frameBytes: 5_242_876,
  /** Payload bytes of the first packet: nobody has shown who he is yet. */
  connectBytes: 1_024,
  /** Data of one node, as ZooKeeper has it (`jute.maxbuffer`). */
  dataBytes: 1_048_575,
  passwordBytes: 16,
} as const

export type WireCreateMode =
  | 'persistent'
  | 'ephemeral'
  | 'persistent-sequential'
  | 'ephemeral-sequential'
  | 'container'
  | 'ttl'

export interface WireStat {
  readonly czxid: number
  readonly mzxid: number
  readonly pzxid: number
  readonly ctimeMs: number
  readonly mtimeMs: number
  readonly version: number
  readonly cversion: number
  readonly aversion: number
  readonly ephemeralOwner: bigint
  readonly dataLength: number
  readonly childCount: number
}

export interface WireCreate {
  readonly type: 'create'
  readonly path: string
  readonly data: Uint8Array
  readonly mode: WireCreateMode
  /** 0 unless the mode is `ttl`. */
  readonly ttlMs: number
}

export interface WireSet {
  readonly type: 'set'
  readonly path: string
  readonly data: Uint8Array
  readonly version: number
}

export interface WireDelete {
  readonly type: 'delete'
  readonly path: string
  readonly version: number
}

/** One operation of a multi. */
export type WireOperation =
  | WireCreate
  | WireSet
  | WireDelete
  | { readonly type: 'check'; readonly path: string; readonly version: number }

export type WireOperationResult =
  | { readonly type: 'create'; readonly path: string; readonly stat: WireStat }
  | { readonly type: 'set'; readonly stat: WireStat }
  | { readonly type: 'delete' }
  | { readonly type: 'check' }

/** `node` and `tree` tell every change: to a node and its children, to a node and all below. */
export type WatchKind = 'data' | 'children' | 'node' | 'tree'

/** A watch laid on an earlier connection of the session, to be laid again. */
export interface WireWatch {
  /** The request id of the read that laid it. */
  readonly watchId: number
  readonly kind: WatchKind
  readonly path: string
  /**
   * What that read showed: mzxid (`data`) or pzxid (`children`) of the node, 0 when there was none.
   * Of a standing watch the last zxid that an answer told.
   */
  readonly zxid: number
}

export interface WireRead {
  readonly type: 'get' | 'exists' | 'children'
  readonly path: string
  readonly watch: boolean
  readonly linearizable: boolean
}

export type MetadataRequest =
  | WireCreate
  | WireSet
  | WireDelete
  | WireRead
  | { readonly type: 'multi'; readonly operations: readonly WireOperation[] }
  | {
      readonly type: 'multiRead'
      readonly linearizable: boolean
      readonly reads: readonly { readonly type: 'get' | 'children'; readonly path: string }[]
    }
  | { readonly type: 'sync'; readonly path: string }
  | { readonly type: 'addWatch'; readonly path: string; readonly kind: 'node' | 'tree' }
  | { readonly type: 'removeWatch'; readonly watchId: number }
  | { readonly type: 'setWatches'; readonly watches: readonly WireWatch[] }
  | { readonly type: 'closeSession' }

/** An operation of a newer minor version: answered with `unsupported`. */
export interface UnknownRequest {
  readonly type: 'unknown'
  readonly operation: number
}

export interface WireError {
  readonly type: 'error'
  readonly code: number
  readonly message: string
  readonly path: string | undefined
  /** Which operation of a multi failed. */
  readonly index: number | undefined
}

export type WireReadResult =
  | { readonly type: 'get'; readonly data: Uint8Array; readonly stat: WireStat }
  | { readonly type: 'children'; readonly names: string[]; readonly stat: WireStat }
  | WireError

export type MetadataResult =
  | WireOperationResult
  | { readonly type: 'exists'; readonly stat: WireStat | undefined }
  | WireReadResult
  | { readonly type: 'multi'; readonly results: WireOperationResult[] }
  | { readonly type: 'multiRead'; readonly results: WireReadResult[] }
  | { readonly type: 'sync' }
  | { readonly type: 'setWatches' }
  | { readonly type: 'addWatch' }
  | { readonly type: 'removeWatch' }
  | { readonly type: 'closeSession' }

export interface ConnectRequest {
  readonly version: number
  /** 0n asks for a new session. */
  readonly sessionId: bigint
  readonly password: Uint8Array
  readonly timeoutMs: number
  /** A server that knows less refuses, so that a session never sees the past. */
  readonly lastZxid: number
  /** The cluster of the session to resume; empty for a new one. */
  readonly instanceId: string
}

export const connectStatuses = {
  ok: 0,
  /** The server does not speak the client's major version; it answers with the one it speaks. */
  version: 1,
  /** There is no such session (it expired), or the password is not its own. */
  sessionExpired: 2,
  /** The session belongs to another cluster. */
  instance: 3,
  /**
   * The server cannot serve now (starting, stopping, behind the client, too many connections): try
   * another, or again.
   */
  unavailable: 4,
  /** The node has a secret, and the client has not shown that it knows it. */
  unauthorized: 5,
  /** Another one serves: ask there, if it is said where. Says nothing but that. */
  elsewhere: 6,
} as const

export type ConnectStatus = keyof typeof connectStatuses

export interface ConnectResponse {
  /** The version the server speaks. */
  readonly version: number
  /** A status that this version does not know is `unavailable`. */
  readonly status: ConnectStatus
  readonly sessionId: bigint
  readonly password: Uint8Array
  /** As negotiated. */
  readonly timeoutMs: number
  readonly zxid: number
  readonly instanceId: string
  /** For people: why it was refused. */
  readonly message: string
  /** With status `elsewhere`: who serves, if that is known. */
  readonly leader?: { readonly host: string; readonly port: number } | undefined
}

export type ClientPacket =
  | {
      readonly type: 'request'
      /**
       * Grows by at least one with each request of a session; a retry has the number of the first
       * try.
       */
      readonly requestId: number
      /** Every request up to this one was answered: its result need not be remembered. */
      readonly answeredUpTo: number
      readonly request: MetadataRequest | UnknownRequest
    }
  | { readonly type: 'ping'; readonly number: number }
  | { readonly type: 'unknown'; readonly kind: number }

export type ServerPacket =
  | {
      readonly type: 'answer'
      readonly requestId: number
      readonly zxid: number
      readonly result: MetadataResult
    }
  | { readonly type: 'pong'; readonly number: number }
  | {
      readonly type: 'event'
      readonly watchId: number
      readonly event: 'created' | 'deleted' | 'changed' | 'children' | 'missed'
      readonly path: string
    }
  /** The server's last packet on this connection. */
  | { readonly type: 'goodbye'; readonly reason: GoodbyeReason; readonly message: string }
  | { readonly type: 'unknown'; readonly kind: number }

export const goodbyeReasons = {
  /** The session is on a newer connection. */
  moved: 1,
  expired: 2,
  /** The server ends, or sheds this connection: come again, the session lives. */
  unavailable: 3,
  /** The client sent what it must not. */
  protocol: 4,
} as const

export type GoodbyeReason = keyof typeof goodbyeReasons

/**
 * Error numbers of answers: ZooKeeper's, without the sign, where it has one. Stable for ever. A
 * number that is not here comes from a newer server: what became of the request is then unknown to
 * this client.
 */
export const metadataErrorNumbers = {
  QUIRE_METADATA_UNAVAILABLE: 4,
  QUIRE_UNSUPPORTED: 6,
  QUIRE_BAD_PATH: 8,
  QUIRE_NO_NODE: 101,
  QUIRE_BAD_VERSION: 103,
  QUIRE_NO_CHILDREN_FOR_EPHEMERALS: 108,
  QUIRE_NODE_EXISTS: 110,
  QUIRE_NOT_EMPTY: 111,
  QUIRE_SESSION_EXPIRED: 112,
  QUIRE_BACKPRESSURE: 201,
  QUIRE_FRAME_TOO_LARGE: 202,
  QUIRE_DISK_FULL: 203,
  QUIRE_BAD_OPTION: 204,
} as const

export type MetadataErrorCode = keyof typeof metadataErrorNumbers

const errorCodes = new Map(
  Object.entries(metadataErrorNumbers).map(([code, number]) => [number, code as MetadataErrorCode]),
)

/** The code of an error number, undefined when a newer server made it up. */
export function metadataErrorCode(number: number): MetadataErrorCode | undefined {
  return errorCodes.get(number as (typeof metadataErrorNumbers)[MetadataErrorCode])
}

/** The number of an error's code. One that no server should have let out is told as "unknown". */
export function metadataErrorNumber(code: string): number {
  const number = Object.entries(metadataErrorNumbers).find(([name]) => name === code)?.[1]
  return number ?? metadataErrorNumbers.QUIRE_METADATA_UNAVAILABLE
}
