// What a caller is told: in particular whether a change that got no answer may have been made.

import { QuireError } from '../../errors.ts'
import { metadataErrorNumbers as numbers } from '../../wire/metadata-messages.ts'
import type { ConnectResponse, MetadataResult } from '../../wire/metadata-messages.ts'
import { isWrite, type Call } from './pending.ts'

export function refusedError({ status, message, version }: ConnectResponse): QuireError {
  if (status === 'unauthorized') return new QuireError('QUIRE_UNAUTHORIZED', message)
  if (status === 'version') {
    const text = `the metadata server speaks version ${version >> 8} of the protocol: ${message}`
    return new QuireError('QUIRE_UNSUPPORTED', text, { facts: { version } })
  }
  return new QuireError('QUIRE_METADATA_UNAVAILABLE', `the metadata server refused: ${message}`)
}

/** A refusal of the second try says nothing about the first. */
export function outcomeOf(call: Call, result: MetadataResult): MetadataResult {
  if (result.type !== 'error' || call.tries < 2 || !isWrite(call.request)) return result
  const { QUIRE_SESSION_EXPIRED, QUIRE_BACKPRESSURE, QUIRE_METADATA_UNAVAILABLE } = numbers
  if (result.code !== QUIRE_SESSION_EXPIRED && result.code !== QUIRE_BACKPRESSURE) return result
  return { ...result, code: QUIRE_METADATA_UNAVAILABLE, message: unknownText }
}

const unknownText =
  'the answer was lost and the session has ended: the change may have been made or not; read to see'

export function expiredError(call?: Call): QuireError {
  if (call && call.tries > 0 && isWrite(call.request)) {
    return new QuireError('QUIRE_METADATA_UNAVAILABLE', unknownText, { facts: factsOf(call) })
  }
  const text =
    'the metadata session has expired: open a new one, its ephemerals are gone or will be'
  return new QuireError('QUIRE_SESSION_EXPIRED', text, { facts: factsOf(call) })
}

export function closedError(call?: Call): QuireError {
  const sent = call !== undefined && call.tries > 0 && isWrite(call.request)
  const text = sent
    ? 'the metadata session was closed before the answer came: the change may have been made or not'
    : 'the metadata session is closed'
  return new QuireError('QUIRE_CLOSED', text, { facts: factsOf(call) })
}

function factsOf(call: Call | undefined): Record<string, unknown> {
  return call && 'path' in call.request ? { path: call.request.path } : {}
}
