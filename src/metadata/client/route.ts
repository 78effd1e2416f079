// Which server to dial next: the one that was named as serving, else one after the other; one that
// fell silent last, as it may be for long, only after each of the others was asked once.

import { QuireError } from '../../errors.ts'
import { formatAddress } from '../../io/address.ts'
import type { Address } from '../../io/network.ts'

interface RouteParts {
  readonly addresses: readonly Address[]
  /** Number of the address that it begins with. */
  readonly at: number
}

export class Route {
  readonly #addresses: readonly Address[]
  #at: number
  #named: Address | undefined
  #last: Address | undefined
  #silent: Address | undefined
  /** Dials until it counts as the others again. */
  #avoided = 0

  constructor({ addresses, at }: RouteParts) {
    this.#addresses = addresses
    this.#at = at
  }

  get length(): number {
    return this.#addresses.length
  }

  /** Whether a server has said where to go. */
  get isNamed(): boolean {
    return this.#named !== undefined
  }

  next(): Address {
    const named = this.#named
    this.#named = undefined
    if (this.#avoided === 0) this.#silent = undefined
    else this.#avoided -= 1
    this.#last = named ?? this.#inTurn()
    return this.#last
  }

  /** A server said who serves, or that it does not know. */
  named(address: Address | undefined): void {
    this.#named = address && isSame(address, this.#silent) ? undefined : address
  }

  /** The one that was dialled last does not answer, or ended the connection. */
  silent(): void {
    this.#silent = this.#last
    this.#avoided = this.#addresses.length - 1
  }

  /** The one that was dialled last serves. */
  serves(): void {
    this.#silent = undefined
  }

  #inTurn(): Address {
    const [address, other] = [this.#step(), this.#addresses.length > 1]
    if (address === undefined) {
      throw new QuireError('QUIRE_BAD_OPTION', 'no address of a metadata server was given')
    }
    return other && isSame(address, this.#silent) ? (this.#step() ?? address) : address
  }

  #step(): Address | undefined {
    return this.#addresses[this.#at++ % this.#addresses.length]
  }
}

const isSame = (one: Address, other: Address | undefined): boolean =>
  other !== undefined && formatAddress(one) === formatAddress(other)
