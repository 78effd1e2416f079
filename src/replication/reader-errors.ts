// What a reader tells its caller. An entry is called missing only when every replica said so.

import { QuireError } from '../errors.ts'
import type { ErrorCode } from '../errors.ts'
import { statuses } from '../wire/bookie-messages.ts'
import { readFailures } from './core/reader.ts'
import { refusalIn } from './writer-errors.ts'

const sentences = new Map<number, readonly [ErrorCode, string]>([
  [statuses.noEntry, ['QUIRE_ENTRY_MISSING', 'no replica has it: the data is lost']],
  [statuses.noLedger, ['QUIRE_ENTRY_MISSING', 'no replica knows its ledger: the data is lost']],
  [
    statuses.unauthorized,
    ['QUIRE_LEDGER_UNAUTHORIZED', 'the ledger has another password: open it with that one'],
  ],
  [
    readFailures.digestMismatch,
    ['QUIRE_DIGEST_MISMATCH', 'what the replicas gave is not what was written'],
  ],
])

export function unreadable(options: {
  ledgerId: bigint
  entryId: number
  /** The most telling failure: a protocol status, or one of `readFailures`. */
  status: number
  cause: unknown
}): QuireError {
  const { ledgerId, entryId, status, cause } = options
  const [code, sentence] = sentences.get(status) ?? [
    'QUIRE_ENTRY_UNREADABLE',
    'no replica answered with it: try again when its bookies are back',
  ]
  const facts = { ledgerId: String(ledgerId), entryId, status }
  const why = `${sentence}${refusalIn(cause)}`
  const message = `entry ${entryId} of ledger ${ledgerId} could not be read: ${why}`
  return new QuireError(code, message, { cause, facts })
}
