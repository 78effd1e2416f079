// Takes records for the logs that this process owns from those that do not: who asks, and which
// writer is meant. One connection for each asker's process, the newest.

import { QuireError, messageOf } from '../../errors.ts'
import type { Connection, Logger, Timers } from '../../io/index.ts'
import { conversationSeed } from '../../wire/sealed-frames.ts'
import {
  decodeForwardHello,
  encodeForwardWelcome,
  forwardLimits,
  forwardVersion,
  type ForwardHello,
  type ForwardStatus,
  type Refusal,
} from '../../wire/forward-messages.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import { nodeOf } from '../replica/core/route.ts'
import { Conversation, type OwnWriter } from './conversation.ts'

/** A replica, as far as it owns its log. */
export interface Owning {
  /** Of this process, while it owns the log. */
  readonly owned: OwnWriter | undefined
  /** It is about to, or tries. */
  readonly acquiring: boolean
}

export interface ForwardServerParts {
  readonly timers: Timers
  readonly logger: Logger
  readonly instanceId: string
  /** `ID/INCARNATION` of this process, as it stands in the records of logs that it owns. */
  readonly self: string
}

const greetingMs = 10_000
const connectionsMax = 256

export class ForwardServer {
  readonly #parts: ForwardServerParts
  readonly #logs = new Map<string, Owning>()
  readonly #askers = new Map<string, Conversation>()
  readonly #undecided = new Set<Connection>()
  #closed = false

  constructor(parts: ForwardServerParts) {
    this.#parts = parts
  }

  /** From now on, until the returned function is called. */
  serve(log: string, owning: Owning): () => void {
    this.#logs.set(log, owning)
    return () => {
      if (this.#logs.get(log) === owning) this.#logs.delete(log)
    }
  }

  /** Takes a connection over, with the bytes that were read of it already. */
  readonly accept = (connection: Connection, firstChunk: Buffer): void => {
    if (this.#closed || this.#undecided.size >= connectionsMax) {
      connection.destroy()
      return
    }
    this.#undecided.add(connection)
    const timer = this.#parts.timers.after(greetingMs, () => connection.destroy())
    const reader = new FrameReader({ maxFrameBytes: forwardLimits.helloBytes })
    let conversation: Conversation | undefined
    let asker = ''
    const data = (chunk: Buffer): void => {
      if (conversation) return conversation.data(chunk)
      const problem = reader.push(chunk, (bytes, start, end) => {
        timer.cancel()
        // Nobody speaks before he is welcome: one frame, and no more.
        if (conversation) return connection.destroy()
        const greeted = this.#greet(connection, bytes.subarray(start, end))
        conversation = greeted?.conversation
        asker = greeted?.asker ?? ''
      })
      if (problem) connection.destroy()
    }
    const close = (): void => {
      timer.cancel()
      this.#undecided.delete(connection)
      conversation?.close()
      if (conversation && this.#askers.get(asker) === conversation) this.#askers.delete(asker)
    }
    connection.start({ data, drain() {}, close })
    data(firstChunk)
  }

  close(): void {
    this.#closed = true
    for (const conversation of this.#askers.values()) conversation.close()
    for (const connection of this.#undecided) connection.destroy()
  }

  #greet(
    connection: Connection,
    payload: Buffer,
  ): { conversation: Conversation; asker: string } | undefined {
    this.#undecided.delete(connection)
    try {
      const hello = decodeForwardHello(payload)
      const status = this.#statusFor(hello)
      connection.write(encodeForwardWelcome({ version: forwardVersion, status }))
      if (status !== 'ok') {
        this.#parts.logger.debug({ from: hello.from, to: hello.to, status }, 'an asker was refused')
        connection.end()
        return undefined
      }
      const conversation = new Conversation({
        connection,
        timers: this.#parts.timers,
        seed: conversationSeed(payload),
        writerOf: (log, epoch) => this.#writerOf(log, epoch),
      })
      this.#askers.get(hello.from)?.close()
      this.#askers.set(hello.from, conversation)
      return { conversation, asker: hello.from }
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_BAD_FRAME')) throw error
      this.#parts.logger.warn({}, `an asker sent what cannot be read: ${messageOf(error)}`)
      connection.destroy()
      return undefined
    }
  }

  #statusFor({ version, instanceId, from, to }: ForwardHello): ForwardStatus {
    const { self, instanceId: own } = this.#parts
    if (version >> 8 !== forwardVersion >> 8) return 'version'
    if (instanceId !== own) return 'cluster'
    if (nodeOf(to) !== nodeOf(self)) return 'node'
    if (to !== self) return lifeOf(to) < lifeOf(self) ? 'incarnation' : 'node'
    return this.#askers.size >= connectionsMax && !this.#askers.has(from) ? 'busy' : 'ok'
  }

  #writerOf(log: string, epoch: number): OwnWriter | Refusal {
    const owning = this.#logs.get(log)
    if (owning?.owned?.epoch === epoch) return owning.owned
    return owning?.acquiring === true ? 'acquiring' : 'notOwner'
  }
}

/** The incarnation in an owner's name: it grows with each start of the node. */
function lifeOf(ownerId: string): number {
  return Number(ownerId.slice(ownerId.lastIndexOf('/') + 1))
}
