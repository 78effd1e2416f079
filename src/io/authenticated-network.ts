// A network whose connections are authenticated before anybody gets them: what speaks over it needs
// no change. Listening is as before; who listens authenticates those who come.

import { authenticationLimits, frameOf } from '../wire/authentication.ts'
import type { SharedSecret } from '../wire/handshake.ts'
import { shakeHands, type Carrier } from './client-handshake.ts'
import type { Io } from './io.ts'
import type { Network } from './network.ts'

/** Frames of their own, before the first one of the protocol. */
const carrier: Carrier = {
  frameBytesMax: authenticationLimits.messageBytes + 4,
  frame: frameOf,
  message: (bytes, start, end) => bytes.subarray(start, end),
}

export type AuthenticatedParts = Pick<Io, 'network' | 'random' | 'timers' | 'clock'>

/**
 * `connect` fails with QUIRE_UNAUTHORIZED too: the other end has another secret, or none. Its time
 * is for dialling and the exchange together.
 */
export function authenticatedNetwork(parts: AuthenticatedParts, secret: SharedSecret): Network {
  const { network, random, timers, clock } = parts
  return {
    listen: (address, accept) => network.listen(address, accept),
    async connect(address, options) {
      const startedMs = clock.monotonicMs()
      const connection = await network.connect(address, options)
      const timeoutMs = Math.max(1, options.timeoutMs - (clock.monotonicMs() - startedMs))
      const { signal } = options
      return shakeHands({ secret, random, timers }, connection, { carrier, timeoutMs, signal })
    },
  }
}

/** The same world, whose connections are authenticated if there is a secret. */
export function withSecret<W extends AuthenticatedParts>(io: W, secret?: SharedSecret): W {
  return secret === undefined ? io : { ...io, network: authenticatedNetwork(io, secret) }
}
