// Asks the owners of logs to take records: one connection to each of them, made when it is needed
// and ended when nothing uses it.

import type { Address, Clock, Logger, Network, Timers } from '../../io/index.ts'
import { messageOf } from '../../errors.ts'
import { nodeOf } from '../replica/core/route.ts'
import type { Confirmed } from '../log/confirmations.ts'
import { orAborted } from '../log/wait.ts'
import { ForwardLink, type Asked } from './link.ts'

export interface AskerParts {
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly instanceId: string
  /** `ID/INCARNATION` of this process. */
  readonly self: string
  /** Where a node listens; undefined when it is not registered. */
  readonly addressOf: (bookieId: string) => Promise<Address | undefined>
}

export interface Question {
  readonly log: string
  /** As the log's record names the owner. */
  readonly ownerId: string
  readonly epoch: number
  /** Called with what the owner says is durable. */
  readonly confirmed: (entry: Confirmed) => void
  readonly signal?: AbortSignal | undefined
}

/** How long an owner may take to say whether it takes records. */
const askMs = 1000

export class Asker {
  readonly #parts: AskerParts
  readonly #links = new Map<string, ForwardLink>()
  #closed = false

  constructor(parts: AskerParts) {
    this.#parts = parts
  }

  /** Rejects with QUIRE_ABORTED only. */
  async ask({ ownerId, signal, ...wanted }: Question): Promise<Asked> {
    const link = await orAborted(this.#linkTo(ownerId), signal)
    if (link === undefined) return { type: 'silent' }
    const { asked, cancel } = link.open(wanted)
    const timer = this.#parts.timers.after(askMs, cancel)
    try {
      return await orAborted(asked, signal)
    } finally {
      timer.cancel()
      if (signal?.aborted) void leave(asked, cancel)
    }
  }

  close(): void {
    this.#closed = true
    for (const link of this.#links.values()) link.end()
  }

  async #linkTo(ownerId: string): Promise<ForwardLink | undefined> {
    const known = this.#links.get(ownerId)
    if (known !== undefined || this.#closed) return known
    const address = await this.#addressOf(ownerId)
    if (address === undefined || this.#closed) return undefined
    const made = this.#links.get(ownerId)
    if (made !== undefined) return made
    const { self: from, ...parts } = this.#parts
    const closed = (): void => {
      if (this.#links.get(ownerId) === link) this.#links.delete(ownerId)
    }
    const link = new ForwardLink({ ...parts, from, to: ownerId, closed }, address)
    this.#links.set(ownerId, link)
    return link
  }

  async #addressOf(ownerId: string): Promise<Address | undefined> {
    const bookieId = nodeOf(ownerId)
    if (bookieId === undefined) return undefined
    try {
      return await this.#parts.addressOf(bookieId)
    } catch (error) {
      const text = `where the owner of a log listens is not known: ${messageOf(error)}`
      this.#parts.logger.debug({ owner: ownerId }, text)
      return undefined
    }
  }
}

/** Nobody waits for the answer any more. */
async function leave(asked: Promise<Asked>, cancel: () => void): Promise<void> {
  cancel()
  const answer = await asked
  if (answer.type === 'serves') await answer.channel.close()
}
