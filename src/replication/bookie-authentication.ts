// Authenticates a connection to a bookie by BookKeeper's AUTH, as V3 carries it (wire 3.3).

import { QuireError } from '../errors.ts'
import { shakeHands, type Carrier, type Connection, type Random, type Timers } from '../io/index.ts'
import { authenticationPlugin } from '../wire/authentication.ts'
import { operations, statuses } from '../wire/bookie-messages.ts'
import { encodeAuthRequest } from '../wire/bookie-request.ts'
import { authDisabledPlugin, createResponse, decodeResponse } from '../wire/bookie-response.ts'
import type { SharedSecret } from '../wire/handshake.ts'

export interface BookieAuthentication {
  readonly secret: SharedSecret
  readonly random: Random
  readonly timers: Timers
}

/** More than any answer to an AUTH of ours has. */
const frameBytesMax = 4096
/** The upper half of transaction ids that no writer has. */
const txnHigh = 0xffff_ffff

/** Resolves when the bookie has proved itself too. Otherwise the connection has been ended. */
export function authenticateBookie(
  parts: BookieAuthentication,
  connection: Connection,
  timeoutMs: number,
): Promise<Connection> {
  return shakeHands(parts, connection, { carrier: createCarrier(), timeoutMs })
}

function createCarrier(): Carrier {
  const response = createResponse()
  let txnLow = 0
  return {
    frameBytesMax,
    frame(payload) {
      txnLow += 1
      return encodeAuthRequest({ txnHigh, txnLow, plugin: authenticationPlugin, payload })
    },
    message(bytes, start, end) {
      if (decodeResponse(bytes, start, end, 3, response) === 'bad') {
        throw new QuireError('QUIRE_BAD_FRAME', 'it sent what is no response')
      }
      if (response.operation !== operations.auth) return undefined
      if (response.status !== statuses.ok) throw unauthorized('it has another secret')
      const { authPlugin, bodyStart, bodyEnd } = response
      if (authPlugin === authenticationPlugin) return bytes.subarray(bodyStart, bodyEnd)
      throw unauthorized(
        authPlugin === authDisabledPlugin
          ? 'it has no secret: give it the same one, or this client none'
          : 'it wants to be authenticated in another way',
      )
    },
  }
}

function unauthorized(text: string): QuireError {
  return new QuireError('QUIRE_UNAUTHORIZED', text)
}
