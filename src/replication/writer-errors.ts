// What a writer tells its caller.

import { QuireError } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import type { EndReason } from './core/writer-state.ts'

const sentences: Record<EndReason, readonly [ErrorCode, string]> = {
  closed: ['QUIRE_LEDGER_CLOSED', 'was closed by this writer: append to a new ledger'],
  fenced: [
    'QUIRE_LEDGER_FENCED',
    'is being recovered by another client: this writer has lost it, read it to see what it holds',
  ],
  unauthorized: [
    'QUIRE_LEDGER_UNAUTHORIZED',
    'has another password than this writer used: open it with the password it was created with',
  ],
  'not-enough-bookies': [
    'QUIRE_NOT_ENOUGH_BOOKIES',
    'has too few bookies left for its ack quorum: bring bookies back and create a new ledger',
  ],
  'timed-out': [
    'QUIRE_TIMEOUT',
    'did not reach its ack quorum in time: create a new ledger once the bookies answer',
  ],
  'closed-elsewhere': [
    'QUIRE_LEDGER_CLOSED',
    'was closed by another client: read it to see what is in it, and append to a new ledger',
  ],
  deleted: ['QUIRE_LEDGER_MISSING', 'was deleted: append to a new ledger'],
  'metadata-lost': [
    'QUIRE_METADATA_UNAVAILABLE',
    'could not record a change because the metadata was out of reach: recover it once that answers',
  ],
}

/** Why nothing is appended to a ledger any more. */
export function endError(ledgerId: bigint, end: { reason: EndReason; cause: unknown }): QuireError {
  const [code, sentence] = sentences[end.reason]
  const facts = { ledgerId: String(ledgerId), reason: end.reason }
  const text = `ledger ${ledgerId} ${sentence}${refusalIn(end.cause)}`
  return new QuireError(code, text, { cause: end.cause, facts })
}

/** What to add to a sentence when a bookie was out of reach for want of the right secret. */
export function refusalIn(cause: unknown): string {
  return QuireError.is(cause, 'QUIRE_UNAUTHORIZED') ? ` (${cause.message})` : ''
}

export function outcomeUnknown(ledgerId: bigint, cause: QuireError): QuireError {
  return new QuireError(
    'QUIRE_OUTCOME_UNKNOWN',
    `an entry of ledger ${ledgerId} was sent and not confirmed: ` +
      'recover the ledger to see whether it is there',
    { cause, facts: { ledgerId: String(ledgerId) } },
  )
}

export function backPressure(ledgerId: bigint, pendingBytes: number): QuireError {
  return new QuireError(
    'QUIRE_BACKPRESSURE',
    `ledger ${ledgerId} has all the appends in flight it may have: wait for ready(), append again`,
    { facts: { ledgerId: String(ledgerId), pendingBytes } },
  )
}

export function entryTooLarge(bytes: number, most: number): QuireError {
  return new QuireError(
    'QUIRE_ENTRY_TOO_LARGE',
    `an entry of ${bytes} bytes is larger than ${most}: split it, or raise entryBytesMax`,
    { facts: { bytes, most } },
  )
}
