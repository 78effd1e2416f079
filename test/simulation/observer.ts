// Listens at the door of every bookie: what was asked and what was answered, as frames, whoever
// asked. Answers count when the bookie gives them to its socket, even if a crash then eats them.

import type { Connection, ConnectionHandler, Io, Network } from '../../src/io/index.ts'
import {
  authenticationMagic,
  authenticationPlugin,
  decodeAuthentication,
} from '../../src/wire/authentication.ts'
import { operations, requestFlags, statuses } from '../../src/wire/bookie-messages.ts'
import { createRequest, decodeRequest } from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { ledgerIdFromHalves } from '../../src/wire/int64.ts'
import type { Aim, FaultKind, Moment } from '../../src/simulation/index.ts'
import type { BookieChecker } from './checkers/bookies.ts'
import type { MetadataChecker } from './checkers/metadata.ts'
import type { Sometimes } from './sometimes.ts'
import { observedTrees } from './metadata-observer.ts'

/** Header and digest (CRC32C) of an entry as it is stored. */
export const entryHeadBytes = 36

/** A promise: "I never acknowledged this, and (if fenced) never will". */
export const isNegative = (status: number): boolean =>
  status === statuses.noEntry || status === statuses.noLedger

export interface ObserverParts {
  readonly bookies: BookieChecker
  readonly metadata: MetadataChecker
  readonly sometimes?: Sometimes
  /** Told of moments that faults may meet; gives back what happened. */
  readonly moment?: (moment: Moment, aim: Aim) => FaultKind | undefined
  /** Told when a bookie acknowledges a copy, or answers a fence. */
  readonly promised: (bookie: string) => void
  /** Grows with time: tells what came before what. */
  readonly now: () => number
}

/** The node's outside world, with an ear on its port and on its metadata. */
export function observed(io: Io, bookie: string, parts: ObserverParts): Io {
  const network: Network = {
    connect: (address, options) => io.network.connect(address, options),
    listen: (address, accept) =>
      io.network.listen(address, (connection) => {
        accept(
          new ObservedConnection(
            connection,
            new Conversation({ bookie, client: connection.remote.host }, parts),
          ),
        )
      }),
  }
  return { ...io, network, trees: observedTrees(io.trees, parts.metadata) }
}

interface Asked {
  readonly operation: number
  readonly ledgerId: bigint
  readonly entryId: number
  readonly flags: number
  readonly payload: Buffer
  readonly cameAt: number
  /** Tells that it is answered. */
  readonly done: (() => void) | undefined
}

const isFence = ({ operation, flags }: Pick<Asked, 'operation' | 'flags'>): boolean =>
  operation === operations.read && (flags & requestFlags.fence) !== 0

/** One connection's requests and answers, matched. */
class Conversation {
  readonly #bookie: string
  readonly #client: string
  readonly #parts: ObserverParts
  readonly #requests = new FrameReader()
  readonly #answers = new FrameReader()
  readonly #request = createRequest()
  readonly #response = createResponse()
  readonly #asked = new Map<string, Asked>()
  #isBookie: boolean | undefined
  /** An exchange has begun, and the node has not said its last word. */
  #isAuthenticating = false
  #isLost = false

  constructor(who: { bookie: string; client: string }, parts: ObserverParts) {
    this.#bookie = who.bookie
    this.#client = who.client
    this.#parts = parts
  }

  /** False: the connection was reset on the way, and this is lost with all that follows. */
  heard(chunk: Buffer): boolean {
    if (this.#isBookie === false) return true
    if (this.#isLost) return false
    this.#requests.push(chunk, (bytes, start, end) => {
      const magic = bytes.toString('latin1', start, start + 4)
      this.#isBookie ??= !/^QR[A-Z]1$/.test(magic)
      this.#isAuthenticating ||= magic === authenticationMagic
      if (this.#isBookie && !this.#isLost) this.#requested(bytes, start, end)
    })
    return !this.#isLost
  }

  said(bytes: Uint8Array): void {
    if (this.#isAuthenticating && !this.#isBookie) this.#authenticated(bytes, 4)
    if (this.#isBookie !== true) return
    this.#answers.push(Buffer.from(bytes), (chunk, start, end) => {
      this.#answered(chunk, start, end)
    })
  }

  closed(): void {
    const what = 'a connection ends while it is authenticated'
    if (this.#isAuthenticating) this.#parts.sometimes?.met(what)
  }

  #authenticated(bytes: Uint8Array, from: number): void {
    const { type } = decodeAuthentication(bytes.subarray(from))
    if (type === 'welcome' || type === 'refusal') this.#isAuthenticating = false
  }

  #requested(bytes: Buffer, start: number, end: number): void {
    const request = this.#request
    if (decodeRequest(bytes, start, end, 'v3-first', request) === 'bad') return
    if (request.authPlugin === authenticationPlugin) this.#isAuthenticating = true
    if (isFence(request) && request.entryId < 0) {
      this.#isLost = this.#moment('a fence is asked for') === 'reset'
      if (this.#isLost) return
    }
    this.#asked.set(`${request.txnHigh}/${request.txnLow}`, {
      operation: request.operation,
      ledgerId: ledgerIdFromHalves(request.ledgerHigh, request.ledgerLow),
      entryId: request.entryId,
      flags: request.flags,
      payload: Buffer.from(bytes.subarray(request.bodyStart + entryHeadBytes, request.bodyEnd)),
      cameAt: this.#parts.now(),
      done: isFence(request) ? this.#fenceBegins() : undefined,
    })
  }

  #moment(moment: Moment): FaultKind | undefined {
    return this.#parts.moment?.(moment, { machine: this.#bookie, peer: this.#client })
  }

  #fenceBegins(): (() => void) | undefined {
    return this.#parts.sometimes?.begins(
      'the power fails while a fence is on its way',
      this.#bookie,
    )
  }

  #answered(bytes: Buffer, start: number, end: number): void {
    const response = this.#response
    if (decodeResponse(bytes, start, end, 3, response) === 'bad') return
    const key = `${response.txnHigh}/${response.txnLow}`
    const asked = this.#asked.get(key)
    if (asked === undefined) return
    this.#asked.delete(key)
    asked.done?.()
    if (response.authPlugin === authenticationPlugin) {
      this.#authenticated(bytes.subarray(0, response.bodyEnd), response.bodyStart)
    }
    const { bookies, metadata, sometimes, now, promised } = this.#parts
    const { operation, flags, cameAt } = asked
    const entry = {
      bookie: this.#bookie,
      ledgerId: asked.ledgerId,
      // An add's id stands in its entry.
      entryId: operation === operations.add ? response.entryId : asked.entryId,
    }
    if (operation === operations.add && response.status === statuses.ok) {
      const isRecovery = (flags & requestFlags.recovery) !== 0
      bookies.acked({ ...entry, payload: asked.payload, isRecovery, cameAt, at: now() })
      if (isRecovery) {
        sometimes?.recovered(entry.ledgerId, this.#client)
        this.#moment('an entry is recovered')
      } else {
        metadata.written(entry.ledgerId)
        this.#moment('an entry is written')
      }
      promised(this.#bookie)
    }
    const absent = isNegative(response.status)
    if (operation !== operations.read && operation !== operations.batchRead) return
    if (absent && asked.entryId >= 0) bookies.denied(entry, cameAt)
    if (isFence(asked)) {
      if (!absent && response.status !== statuses.ok) return
      bookies.fenced(entry, now(), absent)
      if (asked.entryId < 0) this.#moment('a fence is answered')
      promised(this.#bookie)
    }
  }
}

class ObservedConnection implements Connection {
  readonly remote: Connection['remote']
  readonly #connection: Connection
  readonly #conversation: Conversation

  constructor(connection: Connection, conversation: Conversation) {
    this.remote = connection.remote
    this.#connection = connection
    this.#conversation = conversation
  }

  get queuedBytes(): number {
    return this.#connection.queuedBytes
  }

  start(handler: ConnectionHandler): void {
    this.#connection.start({
      data: (chunk) => {
        if (this.#conversation.heard(chunk)) handler.data(chunk)
      },
      drain: () => handler.drain(),
      close: (error) => {
        this.#conversation.closed()
        handler.close(error)
      },
    })
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    this.#conversation.said(bytes)
    return this.#connection.write(bytes, flushed)
  }

  cork(): void {
    this.#connection.cork()
  }

  uncork(): void {
    this.#connection.uncork()
  }

  pause(): void {
    this.#connection.pause()
  }

  resume(): void {
    this.#connection.resume()
  }

  end(): void {
    this.#connection.end()
  }

  destroy(error?: Error): void {
    this.#connection.destroy(error)
  }
}
