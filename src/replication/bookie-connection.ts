// The one connection of a client to one bookie: V3 frames out, answers correlated by transaction
// id. It connects when something is to be sent, and after a failure not before a back-off that
// doubles.
//
// C1. Whatever was sent and not answered when the connection ends, or in its time, is told as
//     failed once: outcome unknown.
// C2. Transaction ids: the upper half names a member of a writer's ensemble, the lower half its
//     entry; 0 above are single requests. So an add needs no record here at all.
// C3. Everything written in a turn leaves in one write of the system.

import { messageOf, QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import type { Clock, Connection, Logger, Network, Timers } from '../io/index.ts'
import type { BookieEndpoint } from '../metadata/managers.ts'
import { operations, statuses } from '../wire/bookie-messages.ts'
import type { BookieResponse } from '../wire/bookie-messages.ts'
import { createResponse, decodeResponse } from '../wire/bookie-response.ts'
import { FrameReader } from '../wire/frame-reader.ts'
import { authenticateBookie, type BookieAuthentication } from './bookie-authentication.ts'
import type { Sweeper, Turn } from './turn.ts'

/** A member of a writer's ensemble. */
export interface AddLink {
  /** One answer; acted upon at `settled`. */
  answered(entryLow: number, status: number): void
  /** All that one socket read brought was told. */
  settled(): void
  lost(error: QuireError): void
}

/** Who asked something else. The view is valid during the call. */
export interface ReplySink {
  answered(token: number, response: BookieResponse): void
  failed(token: number, error: QuireError): void
}

export interface Request {
  /** Builds the frame for a transaction id whose upper half is 0. */
  readonly encode: (txnLow: number) => Uint8Array
  readonly sink: ReplySink
  readonly token: number
  readonly timeoutMs: number
}

interface Outstanding {
  readonly sink: ReplySink
  readonly token: number
  readonly sentAtMs: number
  readonly deadlineMs: number
}

type Flushed = (error?: Error | null) => void

export interface BookieConnectionOptions {
  readonly bookieId: string
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly turn: Turn
  readonly sweeper: Sweeper
  readonly logger: Logger
  readonly connectTimeoutMs: number
  readonly frameBytesMax: number
  /** Where the bookie listens, looked up anew for every attempt. */
  readonly resolve: (bookieId: string) => Promise<BookieEndpoint | undefined>
  /** What this client and its bookies know. Without it nobody is asked to prove anything. */
  readonly authentication: BookieAuthentication | undefined
}

const backOffMs = { first: 100, most: 5_000 }

export class BookieConnection {
  readonly bookieId: string
  readonly #options: BookieConnectionOptions
  readonly #links = new Map<number, AddLink>()
  readonly #outstanding = new Map<number, Outstanding>()
  readonly #response: BookieResponse = createResponse()
  readonly #touched: AddLink[] = []
  #connection: Connection | undefined
  #connecting = false
  #waiting: { bytes: Uint8Array; flushed: Flushed | undefined }[] = []
  #corked = false
  #nextTxn = 1
  /** When anything came last. */
  #heardMs = Number.NEGATIVE_INFINITY
  #backOffMs = 0
  #notBeforeMs = 0
  /** For want of the right secret, at the last attempt. */
  #refusal: QuireError | undefined
  #closed = false

  constructor(options: BookieConnectionOptions) {
    this.bookieId = options.bookieId
    this.#options = options
  }

  /** Bytes that the system has not taken. */
  get queuedBytes(): number {
    return this.#connection?.queuedBytes ?? 0
  }

  /** Answers to adds whose transaction id has `txnHigh` above go to the link. */
  attach(txnHigh: number, link: AddLink): void {
    invariant(txnHigh > 0, 'single requests have 0 in the upper half')
    this.#links.set(txnHigh, link)
  }

  detach(txnHigh: number, link: AddLink): void {
    if (this.#links.get(txnHigh) === link) this.#links.delete(txnHigh)
  }

  /** Sends whole frames of adds. The bytes must not change before `flushed`. */
  write(bytes: Uint8Array, flushed?: Flushed): void {
    if (this.#connection !== undefined) {
      this.#cork(this.#connection)
      this.#connection.write(bytes, flushed)
      return
    }
    this.#waiting.push({ bytes, flushed })
    this.#connect()
  }

  request({ encode, sink, token, timeoutMs }: Request): void {
    const txnLow = this.#nextTxn
    this.#nextTxn = txnLow === 0xffff_ffff ? 1 : txnLow + 1
    const sentAtMs = this.#options.clock.monotonicMs()
    this.#outstanding.set(txnLow, { sink, token, sentAtMs, deadlineMs: sentAtMs + timeoutMs })
    this.#options.sweeper.watch(this)
    this.write(encode(txnLow))
  }

  uncork(): void {
    this.#corked = false
    this.#connection?.uncork()
  }

  /**
   * Ends the connection at once: it serves nobody that it should not keep waiting. The next use
   * connects anew.
   */
  reset(reason: QuireError): void {
    this.#connection?.destroy(reason)
    this.#lose(reason)
  }

  close(): void {
    this.#closed = true
    this.reset(new QuireError('QUIRE_CLOSED', 'the ledger client was closed'))
  }

  sweep(nowMs: number): boolean {
    let silent = false
    for (const [txn, { sink, token, sentAtMs, deadlineMs }] of this.#outstanding) {
      if (nowMs < deadlineMs) continue
      this.#outstanding.delete(txn)
      silent ||= this.#heardMs <= sentAtMs
      sink.failed(token, this.#error('QUIRE_TIMEOUT', 'did not answer in time'))
    }
    // The other end may be gone without a word: the system would notice in a quarter of an hour.
    if (silent) this.reset(this.#error('QUIRE_TIMEOUT', 'says nothing any more'))
    return this.#outstanding.size > 0
  }

  #error(
    code: 'QUIRE_TIMEOUT' | 'QUIRE_CONNECTION_LOST' | 'QUIRE_UNAUTHORIZED',
    what: string,
    cause?: unknown,
  ): QuireError {
    const facts = { bookieId: this.bookieId }
    return new QuireError(code, `bookie ${this.bookieId} ${what}`, { cause, facts })
  }

  #cork(connection: Connection): void {
    if (this.#corked) return
    this.#corked = true
    connection.cork()
    this.#options.turn.touch(this)
  }

  #connect(): void {
    if (this.#connecting) return
    this.#connecting = true
    void this.#establish() // Tells its end itself, and never rejects.
  }

  async #establish(): Promise<void> {
    const { clock, network, connectTimeoutMs, resolve, logger } = this.#options
    // Nobody is told of a failure within the call that asked to send: it may be half-way.
    await Promise.resolve()
    try {
      if (this.#closed) throw new QuireError('QUIRE_CLOSED', 'the ledger client was closed')
      if (clock.monotonicMs() < this.#notBeforeMs) {
        throw this.#refusal ?? this.#error('QUIRE_CONNECTION_LOST', 'was out of reach a moment ago')
      }
      const endpoint = await resolve(this.bookieId)
      if (endpoint === undefined) throw this.#error('QUIRE_CONNECTION_LOST', 'is not registered')
      const connection = await network.connect(endpoint, { timeoutMs: connectTimeoutMs })
      await this.#confirm(endpoint, connection)
      this.#established(await this.#authenticated(connection))
    } catch (error) {
      this.#connecting = false
      if (QuireError.is(error, 'QUIRE_UNAUTHORIZED')) {
        this.#refused(error)
        return
      }
      if (this.#backOff()) {
        logger.debug({ bookieId: this.bookieId, error: messageOf(error) }, 'bookie not reached')
      }
      this.#lose(this.#error('QUIRE_CONNECTION_LOST', 'could not be reached', error))
    }
  }

  #authenticated(connection: Connection): Connection | Promise<Connection> {
    const { authentication, connectTimeoutMs } = this.#options
    if (authentication === undefined) return connection
    return authenticateBookie(authentication, connection, connectTimeoutMs)
  }

  /** One of the two has another secret than the other, or none: that will not change soon. */
  #refused(cause: QuireError): void {
    if (cause !== this.#refusal) {
      const what = `and this client do not share a secret: ${cause.message}`
      this.#refusal = this.#error('QUIRE_UNAUTHORIZED', what, cause)
      const { bookieId } = this
      if (this.#backOff()) this.#options.logger.warn({ bookieId }, this.#refusal.message)
    }
    this.reset(this.#refusal)
  }

  /** False: the last one is not over. */
  #backOff(): boolean {
    const now = this.#options.clock.monotonicMs()
    if (now < this.#notBeforeMs) return false
    this.#backOffMs = Math.min(Math.max(backOffMs.first, this.#backOffMs * 2), backOffMs.most)
    this.#notBeforeMs = now + this.#backOffMs
    return true
  }

  /**
   * Whether it is this bookie that was reached: no other listens at its address while it is
   * registered there. What another one lacks says nothing of this one.
   */
  async #confirm(endpoint: BookieEndpoint, connection: Connection): Promise<void> {
    try {
      const now = await this.#options.resolve(this.bookieId)
      if (now?.host === endpoint.host && now.port === endpoint.port) return
      throw this.#error('QUIRE_CONNECTION_LOST', 'has left the address that was reached')
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  #established(connection: Connection): void {
    this.#connecting = false
    // One that refused requests may do so again.
    if (this.#refusal === undefined) this.#backOffMs = 0
    if (this.#closed) {
      connection.destroy()
      this.#lose(new QuireError('QUIRE_CLOSED', 'the ledger client was closed'))
      return
    }
    this.#connection = connection
    this.#corked = false
    const reader = new FrameReader({ maxFrameBytes: this.#options.frameBytesMax })
    connection.start({
      data: (chunk) => this.#take(reader, chunk),
      drain: () => undefined, // What waits is bounded by the budgets of those who wrote it.
      close: (error) => {
        if (this.#connection !== connection) return
        this.#lose(this.#error('QUIRE_CONNECTION_LOST', 'ended the connection', error))
      },
    })
    const waiting = this.#waiting
    this.#waiting = []
    for (const { bytes, flushed } of waiting) this.write(bytes, flushed)
  }

  #take(reader: FrameReader, chunk: Buffer): void {
    this.#heardMs = this.#options.clock.monotonicMs()
    const problem = reader.push(chunk, this.#onFrame)
    this.#settle()
    if (problem !== undefined) this.reset(this.#error('QUIRE_CONNECTION_LOST', problem.message))
  }

  #settle(): void {
    for (let i = 0; i < this.#touched.length; i += 1) this.#touched[i]?.settled()
    this.#touched.length = 0
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    const response = this.#response
    if (this.#connection === undefined) return
    if (decodeResponse(bytes, start, end, 3, response) === 'bad') {
      this.reset(this.#error('QUIRE_CONNECTION_LOST', 'sent what is no response'))
      return
    }
    if (response.status === statuses.unauthorized && !response.hasMessage) {
      this.#refused(new QuireError('QUIRE_UNAUTHORIZED', 'it has one, and this client none'))
      return
    }
    this.#refusal = undefined
    if (response.txnHigh !== 0) {
      const link = this.#links.get(response.txnHigh)
      if (link === undefined || response.operation !== operations.add) return
      if (this.#touched.at(-1) !== link && !this.#touched.includes(link)) this.#touched.push(link)
      link.answered(response.txnLow, response.status)
      return
    }
    const outstanding = this.#outstanding.get(response.txnLow)
    if (outstanding === undefined) return
    this.#outstanding.delete(response.txnLow)
    outstanding.sink.answered(outstanding.token, response)
  }

  /** C1. */
  #lose(error: QuireError): void {
    this.#connection = undefined
    const waiting = this.#waiting
    this.#waiting = []
    for (const { flushed } of waiting) flushed?.(error)
    const outstanding = [...this.#outstanding.values()]
    this.#outstanding.clear()
    for (const { sink, token } of outstanding) sink.failed(token, error)
    const links = Array.from(this.#links.values()) // Losing one may attach others.
    for (const link of links) link.lost(error)
  }
}
