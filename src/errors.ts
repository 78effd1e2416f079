// Every error that Quire gives to its callers has a code from this table. Codes are a contract:
// they never change between major versions, messages may. docs/errors.md has a heading for each of
// them.

/**
 * One row a code, by layer. `retryable`: a program may make the same call again without asking a
 * person.
 */
export const errorCodes = {
  QUIRE_INVARIANT: { retryable: false },
  QUIRE_ABORTED: { retryable: false },
  QUIRE_CLOSED: { retryable: false },
  QUIRE_TIMEOUT: { retryable: true },
  QUIRE_NODE_VERSION: { retryable: false },
  QUIRE_BAD_OPTION: { retryable: false },
  // wire
  QUIRE_BAD_FRAME: { retryable: false },
  QUIRE_FRAME_TOO_LARGE: { retryable: false },
  QUIRE_BAD_METADATA: { retryable: false },
  QUIRE_DIGEST_MISMATCH: { retryable: true },
  // io
  QUIRE_IO: { retryable: false },
  QUIRE_FSYNC_FAILED: { retryable: false },
  QUIRE_DISK_FULL: { retryable: true },
  QUIRE_DIRECTORY_IN_USE: { retryable: false },
  QUIRE_DIRECTORY_MISSING: { retryable: false },
  QUIRE_DIRECTORY_DENIED: { retryable: false },
  QUIRE_DIRECTORY_POISONED: { retryable: false },
  QUIRE_ADDRESS_IN_USE: { retryable: false },
  QUIRE_CONNECTION_LOST: { retryable: true },
  QUIRE_UNAUTHORIZED: { retryable: false },
  // bookie
  QUIRE_SUPERBLOCK_CORRUPT: { retryable: false },
  QUIRE_IDENTITY_UNKNOWN: { retryable: false },
  QUIRE_IDENTITY_MISMATCH: { retryable: false },
  QUIRE_STALE_DISK: { retryable: false },
  QUIRE_RANGE_LOST: { retryable: false },
  QUIRE_JOURNAL_CORRUPT: { retryable: false },
  // ledgers
  QUIRE_LEDGER_CLOSED: { retryable: false },
  QUIRE_LEDGER_FENCED: { retryable: false },
  QUIRE_LEDGER_MISSING: { retryable: false },
  QUIRE_LEDGER_UNAUTHORIZED: { retryable: false },
  QUIRE_ENTRY_MISSING: { retryable: false },
  QUIRE_ENTRY_UNREADABLE: { retryable: true },
  QUIRE_ENTRY_TOO_LARGE: { retryable: false },
  QUIRE_NOT_ENOUGH_BOOKIES: { retryable: true },
  QUIRE_OUTCOME_UNKNOWN: { retryable: false },
  QUIRE_RECOVERY_FAILED: { retryable: true },
  QUIRE_BACKPRESSURE: { retryable: true },
  // metadata
  QUIRE_NODE_EXISTS: { retryable: false },
  QUIRE_NO_NODE: { retryable: false },
  QUIRE_BAD_VERSION: { retryable: false },
  QUIRE_NOT_EMPTY: { retryable: false },
  QUIRE_NO_CHILDREN_FOR_EPHEMERALS: { retryable: false },
  QUIRE_SESSION_EXPIRED: { retryable: false },
  QUIRE_BAD_PATH: { retryable: false },
  QUIRE_UNSUPPORTED: { retryable: false },
  QUIRE_METADATA_UNAVAILABLE: { retryable: true },
  QUIRE_CHANGE_REFUSED: { retryable: false },
  QUIRE_CLUSTER_RESCUED: { retryable: false },
  // logs and what stands on them
  QUIRE_NOT_OWNER: { retryable: true },
  QUIRE_TRUNCATED: { retryable: false },
  QUIRE_LOG_CORRUPT: { retryable: false },
  QUIRE_SNAPSHOT_CORRUPT: { retryable: false },
  QUIRE_STATE_DIVERGED: { retryable: false },
  QUIRE_COMMAND_FAILED: { retryable: false },
  QUIRE_SESSION_GONE: { retryable: false },
} as const

export type ErrorCode = keyof typeof errorCodes

export interface ErrorDetails extends ErrorOptions {
  /** What a program may want to know beside the sentence: ids, positions, sizes. */
  readonly facts?: Record<string, unknown> | undefined
}

const brand = Symbol.for('quire.error')

/**
 * The one error class. Match on `code`; `retryable` says whether the same call may be tried again
 * by a program; the message is a sentence that says what happened and what to do. Two copies of
 * Quire in one process recognise each other's errors by `QuireError.is`.
 */
export class QuireError extends Error {
  readonly code: ErrorCode
  readonly retryable: boolean
  readonly facts: Record<string, unknown>

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = code === 'QUIRE_ABORTED' ? 'AbortError' : 'QuireError'
    this.code = code
    this.retryable = errorCodes[code].retryable
    this.facts = details.facts ?? {}
    Object.defineProperty(this, brand, { value: true })
  }

  /** True for a Quire error, of the given code if one is named, whichever copy of Quire made it. */
  static is(error: unknown, code?: ErrorCode): error is QuireError {
    if (typeof error !== 'object' || error === null || !(brand in error)) return false
    return code === undefined || ('code' in error && error.code === code)
  }
}

/**
 * The error of an aborted call: name `AbortError` as on the web, code `QUIRE_ABORTED`, the signal's
 * reason as cause.
 */
export function abortedError(signal: AbortSignal): QuireError {
  return new QuireError('QUIRE_ABORTED', 'the call was aborted by its signal', {
    cause: signal.reason,
  })
}

/** The sentence of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
