// Where checkers put what they find. The first violation is the run's verdict; later ones follow
// from it, or not: all are kept.

import { Gate } from '../embedded/log/wait.ts'
import { messageOf, QuireError, type ErrorCode } from '../errors.ts'

export interface Violation {
  /** Which checker, by the invariant it holds. */
  readonly checker: string
  readonly reason: string
  readonly timeMs: number
}

/** Checkers that only say that something is wrong, and not what: none of them names a mistake. */
export const vague: ReadonlySet<string> = new Set([
  'errors',
  'liveness',
  'run',
  'last look',
  'leak',
])

export class Report {
  readonly violations: Violation[] = []
  /** Opens with the first that says what is wrong. */
  readonly found: Gate = new Gate()
  /** Errors that clients were given and that faults explain, by code. */
  readonly given: Map<string, number> = new Map()
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  violated(checker: string, reason: string): void {
    this.violations.push({ checker, reason, timeMs: this.#nowMs() })
    if (!vague.has(checker)) this.found.open()
  }

  /** Reports unless it holds. */
  holds(condition: boolean, checker: string, reason: () => string): void {
    if (!condition) this.violated(checker, reason())
  }

  /** The first that says what is wrong. */
  get named(): Violation | undefined {
    return this.violations.find(({ checker }) => !vague.has(checker))
  }

  get verdict(): Violation | undefined {
    return this.named ?? this.violations[0]
  }
}

/** A payload for people: what it begins with. */
export function nameOf(payload: Uint8Array): string {
  const text = Buffer.from(payload.subarray(0, 80)).toString('latin1')
  return JSON.stringify(text.split(':')[0])
}

/** Errors that no fault of these worlds may cause. */
const forbidden: ReadonlySet<ErrorCode> = new Set([
  'QUIRE_INVARIANT',
  'QUIRE_BAD_OPTION',
  'QUIRE_BAD_FRAME',
  'QUIRE_FRAME_TOO_LARGE',
  'QUIRE_BAD_METADATA',
  'QUIRE_DIGEST_MISMATCH',
  'QUIRE_SUPERBLOCK_CORRUPT',
  'QUIRE_IDENTITY_UNKNOWN',
  'QUIRE_IDENTITY_MISMATCH',
  'QUIRE_STALE_DISK',
  'QUIRE_RANGE_LOST',
  'QUIRE_JOURNAL_CORRUPT',
  'QUIRE_LEDGER_UNAUTHORIZED',
  'QUIRE_ENTRY_MISSING',
  'QUIRE_ENTRY_TOO_LARGE',
  'QUIRE_LOG_CORRUPT',
  'QUIRE_SNAPSHOT_CORRUPT',
  'QUIRE_STATE_DIVERGED',
  'QUIRE_COMMAND_FAILED',
])

/** An error that a client was given: reported if it is not one of those that faults explain. */
export function checkError(report: Report, error: unknown, doing: string): void {
  if (QuireError.is(error) && !forbidden.has(error.code)) {
    report.given.set(error.code, (report.given.get(error.code) ?? 0) + 1)
    return
  }
  const cause = error instanceof Error && error.cause ? ` (${messageOf(error.cause)})` : ''
  const code = QuireError.is(error) ? error.code : 'no error of Quire'
  const stack = error instanceof Error && !QuireError.is(error) ? ` ${error.stack}` : ''
  const checker = code === 'QUIRE_STATE_DIVERGED' ? 'state equality' : 'errors'
  report.violated(checker, `${doing}: ${code}: ${messageOf(error)}${cause}${stack}`)
}

/** Whether an error leaves it open that the call has taken effect, or will. */
export function mayHaveEffect(error: unknown): boolean {
  const open = ['QUIRE_OUTCOME_UNKNOWN', 'QUIRE_SESSION_GONE', 'QUIRE_ABORTED'] as const
  return open.some((code) => QuireError.is(error, code))
}
