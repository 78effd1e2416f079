// Serves the tree of a group to metadata clients, while this node leads. Where it does not, clients
// are sent to the one that does.
//
// I1. A leader serves only once it is known to have everything that was acknowledged, and gives
//     every session its whole time-out from then on: whoever led before may have heard from it
//     until that moment, and no later (a pong is confirmed by the group: server/connection.ts).
// I2. When it leads no more, every connection ends before anything that was asked is told as
//     unknown: clients ask the next leader again, under the same numbers.

import { messageOf, QuireError } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Address, Connection } from '../../io/network.ts'
import type { Clock, Random, Timer, Timers } from '../../io/time.ts'
import { createMetadataServer, Elsewhere, type MetadataServer } from '../server/index.ts'
import { Collection } from '../tree/collection.ts'
import type { SoftState } from './core/effects.ts'
import type { NodeId } from './core/types.ts'
import type { Member } from './member.ts'

export interface LeaderServerParts {
  readonly member: Member
  readonly addressOf: (id: NodeId) => Address | undefined
  readonly timers: Timers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly collectIntervalMs?: number | undefined
}

/** A leader that could not confirm that it is one asks again after this. */
const againMs = 100

export class LeaderServer {
  readonly #parts: LeaderServerParts
  readonly #elsewhere: Elsewhere
  #server: MetadataServer | undefined
  #collection: Collection | undefined
  #again: Timer | undefined
  #leader: NodeId | undefined
  /** The term it leads in; undefined where another one does, or nobody. */
  #term: number | undefined
  #closed = false

  constructor(parts: LeaderServerParts) {
    this.#parts = parts
    const leader = (): Address | undefined =>
      this.#leader === undefined || this.#leader === parts.member.identity.id
        ? undefined
        : parts.addressOf(this.#leader)
    this.#elsewhere = new Elsewhere({ timers: parts.timers, leader })
  }

  get isServing(): boolean {
    return this.#server !== undefined
  }

  accept(connection: Connection, firstChunk: Buffer): void {
    if (this.#server) this.#server.accept(connection, firstChunk)
    else this.#elsewhere.accept(connection, firstChunk)
  }

  changed({ role, leader, term, ready, transferee }: SoftState): void {
    this.#leader = transferee ?? leader
    const leads = role === 'leader' && ready && transferee === undefined ? term : undefined
    if (leads === this.#term || this.#closed) return
    this.#resign()
    this.#term = leads
    if (leads !== undefined) void this.#serve(leads)
  }

  close(): void {
    this.#closed = true
    this.#resign()
    this.#elsewhere.close()
  }

  /** I2. */
  #resign(): void {
    this.#term = undefined
    this.#again?.cancel()
    this.#collection?.stop()
    void this.#server?.close()
    this.#server = undefined
  }

  async #serve(term: number): Promise<void> {
    const { member, timers, logger, collectIntervalMs: intervalMs } = this.#parts
    const { tree, identity } = member
    try {
      await tree.sync()
      const instanceId = identity.clusterId
      const server = await createMetadataServer({ ...this.#parts, tree, instanceId })
      if (this.#term !== term) {
        await server.close()
        return
      }
      this.#server = server
      const collect = (): Promise<void> => tree.collect()
      this.#collection = new Collection({ timers, logger, intervalMs, collect })
      logger.info({ term }, 'this node serves the metadata')
    } catch (error) {
      if (this.#term !== term) return
      const isExpected = QuireError.is(error, 'QUIRE_METADATA_UNAVAILABLE')
      logger[isExpected ? 'debug' : 'warn']({ error: messageOf(error) }, 'not serving yet')
      this.#again = timers.after(againMs, () => void this.#serve(term))
    }
  }
}
