// Where the members of a group are. Each says it itself when it connects; where nobody is known, or
// nobody answers, all addresses that are known are asked who is there.

import { messageOf } from '../../../errors.ts'
import type { Logger } from '../../../io/log.ts'
import type { Address } from '../../../io/network.ts'
import type { Timer } from '../../../io/time.ts'
import type { Introduction, MemberAddress } from '../../../wire/inquiry-codec.ts'
import type { NodeId } from '../core/types.ts'
import type { Addresses } from '../peers.ts'
import { inquire, type InquireParts } from './inquire.ts'

export interface AddressBookParts extends InquireParts {
  readonly own: Address
  /** Where nodes of this cluster were once. */
  readonly seeds: readonly Address[]
  /** Whose members are sought. */
  readonly clusterId: () => string | undefined
  /** Told of the cluster that was made of this one, when that is no more. */
  readonly rescued: (by: string) => void
  readonly logger: Logger
}

/** All who are known are asked at most once in this time. */
const searchEveryMs = 2_000

export class AddressBook implements Addresses {
  readonly own: Address
  readonly #parts: AddressBookParts
  readonly #known = new Map<NodeId, Address>()
  #searching: Timer | undefined
  #closed = false

  constructor(parts: AddressBookParts) {
    this.own = parts.own
    this.#parts = parts
  }

  of(id: NodeId): Address | undefined {
    return this.#known.get(id)
  }

  list(ids: readonly NodeId[]): MemberAddress[] {
    return ids.map((id) => ({ id, ...(this.#known.get(id) ?? { host: '', port: 0 }) }))
  }

  heard(id: NodeId, address: Address): void {
    this.#known.set(id, address)
  }

  missed(_id: NodeId): void {
    if (this.#searching !== undefined || this.#closed) return
    this.#searching = this.#parts.timers.after(searchEveryMs, () => (this.#searching = undefined))
    void this.#search()
  }

  close(): void {
    this.#closed = true
    this.#searching?.cancel()
  }

  async #search(): Promise<void> {
    const all = [...this.#parts.seeds, ...this.#known.values()]
    const distinct = new Map(all.map((address) => [`${address.host} ${address.port}`, address]))
    await Promise.all([...distinct.values()].map((address) => this.#ask(address)))
  }

  async #ask(address: Address): Promise<void> {
    const { logger } = this.#parts
    try {
      this.#learn(await inquire(this.#parts, address), address)
    } catch (error) {
      logger.debug({ ...address, error: messageOf(error) }, 'nobody says who is at an address')
    }
  }

  /** Who answers is there; what is said of others counts only where nothing is known. */
  #learn(said: Introduction, address: Address): void {
    const clusterId = this.#parts.clusterId()
    if (clusterId && said.formerly.includes(clusterId)) this.#parts.rescued(said.clusterId)
    if (said.clusterId === '' || said.clusterId !== clusterId) return
    this.#known.set(said.id, address)
    for (const { id, host, port } of said.members) {
      if (host !== '' && !this.#known.has(id)) this.#known.set(id, { host, port })
    }
  }
}
