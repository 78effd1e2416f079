// The errors of a network, real or simulated: one sentence for each code.

import { messageOf, QuireError } from '../errors.ts'
import type { Address } from './network.ts'
import { systemCode } from './real/file-errors.ts'

function name(address: Address): string {
  return `${address.host}:${address.port}`
}

export function listenError(error: unknown, address: Address): QuireError {
  const details = { cause: error, facts: { address } }
  if (systemCode(error) === 'EADDRINUSE') {
    const text = `${name(address)} is in use by another program: stop it, or listen elsewhere`
    return new QuireError('QUIRE_ADDRESS_IN_USE', text, details)
  }
  const text = `could not listen on ${name(address)}: ${messageOf(error)}`
  return new QuireError('QUIRE_IO', text, details)
}

export function connectError(error: unknown, address: Address): QuireError {
  const why = systemCode(error) || messageOf(error)
  const text = `could not connect to ${name(address)} (${why}): is the node running and reachable?`
  return new QuireError('QUIRE_CONNECTION_LOST', text, { cause: error, facts: { address } })
}

export function timeoutError(address: Address, timeoutMs: number): QuireError {
  const text = `${name(address)} did not accept the connection within ${timeoutMs} ms`
  return new QuireError('QUIRE_TIMEOUT', text, { facts: { address, timeoutMs } })
}

/**
 * An error given to `destroy` by the owner stays as it is; the system's becomes
 * QUIRE_CONNECTION_LOST.
 */
export function lostError(error: Error, remote: Address): Error {
  if (systemCode(error) === '' || QuireError.is(error)) return error
  const text = `the connection to ${name(remote)} was lost (${systemCode(error)})`
  return new QuireError('QUIRE_CONNECTION_LOST', text, { cause: error, facts: { address: remote } })
}

export function endedError(remote: Address): QuireError {
  return new QuireError('QUIRE_CONNECTION_LOST', `the connection to ${name(remote)} has ended`, {
    facts: { address: remote },
  })
}
