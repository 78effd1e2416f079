// ZooKeeper's error numbers as Quire's errors, and the ends of calls without an answer.

import { messageOf, QuireError, type ErrorCode } from '../../errors.ts'
import { treeError } from '../tree/errors.ts'
import type { TreeFailure } from '../tree/command.ts'
import type { Call } from './calls.ts'

export const codes = {
  connectionLoss: -4,
  unimplemented: -6,
  noNode: -101,
  noAuth: -102,
  sessionExpired: -112,
  sessionMoved: -118,
} as const

/** What the tree of our own fails with as well. */
const failures: Readonly<Record<number, TreeFailure>> = {
  [-8]: 'QUIRE_BAD_PATH',
  [-101]: 'QUIRE_NO_NODE',
  [-103]: 'QUIRE_BAD_VERSION',
  [-108]: 'QUIRE_NO_CHILDREN_FOR_EPHEMERALS',
  [-110]: 'QUIRE_NODE_EXISTS',
  [-111]: 'QUIRE_NOT_EMPTY',
}

/** The error of an answer. `index`: which operation of a multi. */
export function answerError(
  error: number,
  { path, index }: { path: string; index?: number | undefined },
): QuireError {
  const known = failures[error]
  if (known) return treeError({ code: known, path, index: index ?? 0 }, index !== undefined)
  const facts = index === undefined ? { path, error } : { path, index, error }
  const [code, text] = rare(error)
  return new QuireError(code, `${path}: ${text}`, { facts })
}

function rare(error: number): [ErrorCode, string] {
  if (error === codes.unimplemented) {
    return [
      'QUIRE_UNSUPPORTED',
      'the ZooKeeper does not know this operation: it needs 3.5 or later',
    ]
  }
  if (error === codes.noAuth) {
    return [
      'QUIRE_UNSUPPORTED',
      "the node's access list refuses it, and this driver cannot authenticate: open the list",
    ]
  }
  if (error === codes.sessionExpired) return ['QUIRE_SESSION_EXPIRED', expiredText]
  return [
    'QUIRE_METADATA_UNAVAILABLE',
    `the ZooKeeper answered with error ${error}: a change may have been made or not; read to see`,
  ]
}

const expiredText =
  'the metadata session has expired: open a new one, its ephemerals are gone or will be'

export function expiredError(call?: Call, wasSent: boolean = false): QuireError {
  if (call?.isWrite === true && wasSent) return unknownError(call, undefined)
  return new QuireError('QUIRE_SESSION_EXPIRED', expiredText, { facts: factsOf(call) })
}

export function closedError(call?: Call, wasSent: boolean = false): QuireError {
  const text =
    call?.isWrite === true && wasSent
      ? 'the metadata session was closed before the answer came: the change may have been made ' +
        'or not'
      : 'the metadata session is closed'
  return new QuireError('QUIRE_CLOSED', text, { facts: factsOf(call) })
}

export function unknownError(call: Call, cause: QuireError | undefined): QuireError {
  return new QuireError(
    'QUIRE_METADATA_UNAVAILABLE',
    'the answer was lost: the change may have been made or not; read to see',
    { cause, facts: factsOf(call) },
  )
}

export function unreachedError(cause: QuireError | undefined): QuireError {
  const why = cause ? messageOf(cause) : 'nobody answered'
  const text = `no ZooKeeper could be reached (${why}): does one run at the addresses?`
  return new QuireError('QUIRE_METADATA_UNAVAILABLE', text, { cause })
}

function factsOf(call: Call | undefined): Record<string, unknown> {
  return call && 'path' in call.request ? { path: call.request.path } : {}
}
