// Nobody listens where another bookie is still registered. A client that reached a bookie's
// address, and then sees that bookie registered there, has reached that bookie and no later one:
// with an empty disk and a new identity at an old address, "no entry" would be a lie about the old
// one (semantics A11.3).
import { abortedError, QuireError } from '../../errors.ts'
import type { Address, Logger, Timers } from '../../io/index.ts'
import type { BookieEndpoint, RegistrationManager } from '../../metadata/managers.ts'

export interface AddressClaim {
  readonly registration: RegistrationManager
  readonly timers: Timers
  readonly logger: Logger
  /** Whose address it is to be. */
  readonly bookieId: string
  readonly address: Address
  readonly signal?: AbortSignal | undefined
}

/** Longer than the sessions of nodes that ended live on. */
const waitMs = 60_000
const askEveryMs = 250

/**
 * Resolves when no other bookie is registered at the address. QUIRE_ADDRESS_IN_USE when one still
 * is after a minute.
 */
export async function claimAddress(claim: AddressClaim): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += askEveryMs) {
    const other = await otherAt(claim)
    if (other === undefined) return
    const { bookieId, host, port } = other
    const facts = { bookieId, host, port }
    if (waitedMs >= waitMs) {
      throw new QuireError(
        'QUIRE_ADDRESS_IN_USE',
        `bookie ${bookieId} is registered at ${host}:${port}: end it, or listen at another address`,
        { facts },
      )
    }
    if (waitedMs === 0) {
      claim.logger.info(facts, 'another bookie is registered at this address: waiting for its end')
    }
    await new Promise<void>((resolve) => claim.timers.after(askEveryMs, resolve))
    if (claim.signal?.aborted === true) throw abortedError(claim.signal)
  }
}

async function otherAt(claim: AddressClaim): Promise<BookieEndpoint | undefined> {
  const { registration, bookieId, address, signal } = claim
  // Any port: nobody can be registered there yet.
  if (address.port === 0) return undefined
  const ids = [
    ...(await registration.writable({ signal })),
    ...(await registration.readOnly({ signal })),
  ]
  for (const id of ids) {
    if (id === bookieId) continue
    const found = await placeOf(claim, id)
    if (found?.host === address.host && found.port === address.port) return found
  }
  return undefined
}

async function placeOf(
  { registration, logger, signal }: AddressClaim,
  bookieId: string,
): Promise<BookieEndpoint | undefined> {
  try {
    return await registration.resolve(bookieId, { signal })
  } catch (error) {
    if (!QuireError.is(error, 'QUIRE_BAD_METADATA')) throw error
    // Nobody can connect to a bookie that publishes no place: none takes this one for it.
    logger.warn({ bookieId, error }, 'a bookie is registered without a place')
    return undefined
  }
}
