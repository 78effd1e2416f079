// The calls of one session that have no answer yet, in the order they were made.
//
// I1. An answer belongs to the oldest request of this connection: anything else is a broken server.
// I2. After a reconnect, calls are sent again in their first order and under their first numbers,
//     before any later one.
// I3. A call is told apart by whether it ever left: only one that never left may end as "not done".

import { QuireError } from '../../errors.ts'
import type { WatchCallback } from './watches.ts'
import type { MetadataRequest, MetadataResult } from '../../wire/metadata-messages.ts'

export interface Call {
  readonly request: MetadataRequest
  readonly bytes: number
  /** Laid when the answer comes. */
  readonly watch: WatchCallback | undefined
  /** 0 until it is first sent: numbers follow the order of sending. */
  requestId: number
  sentAtMs: number
  /** How many connections it was sent on. */
  tries: number
  /**
   * The caller has gone (aborted): an answer is awaited for the order's sake only, and it is not
   * sent again.
   */
  abandoned: boolean
  readonly answered: (result: MetadataResult) => void
  readonly failed: (error: QuireError) => void
}

export interface PendingLimits {
  readonly calls: number
  readonly bytes: number
}

const writes: ReadonlySet<string> = new Set(['create', 'set', 'delete', 'multi', 'closeSession'])

export const isWrite = (request: MetadataRequest): boolean => writes.has(request.type)

export class PendingCalls {
  readonly #limits: PendingLimits
  /** Sent on this connection. */
  #sent: Call[] = []
  /** Not sent on this connection; those with a number were sent on an earlier one. */
  #queue: Call[] = []
  #bytes = 0
  #lastRequestId = 0
  #answeredUpTo = 0

  constructor(limits: PendingLimits) {
    this.#limits = limits
  }

  get inFlight(): number {
    return this.#sent.length
  }

  get answeredUpTo(): number {
    return this.#answeredUpTo
  }

  nextRequestId(): number {
    return ++this.#lastRequestId
  }

  /** Takes a call, or throws QUIRE_BACKPRESSURE: it was not sent. */
  add(call: Call): void {
    const count = this.#sent.length + this.#queue.length
    if (count >= this.#limits.calls || this.#bytes + call.bytes > this.#limits.bytes) {
      throw new QuireError(
        'QUIRE_BACKPRESSURE',
        'too many metadata calls wait for an answer; try again when some have ended',
        { facts: { calls: count, bytes: this.#bytes } },
      )
    }
    this.#bytes += call.bytes
    this.#queue.push(call)
  }

  /** The next call to send, numbered, moved among the sent ones. */
  takeNext(nowMs: number): Call | undefined {
    const call = this.#queue.shift()
    if (!call) return undefined
    if (call.requestId === 0) call.requestId = this.nextRequestId()
    call.sentAtMs = nowMs
    call.tries++
    this.#sent.push(call)
    return call
  }

  /** Counts a request of the session's own (watches laid again) as sent first. */
  pushSent(call: Call): void {
    this.#bytes += call.bytes
    this.#sent.push(call)
  }

  /** The call that this answer belongs to; undefined when the server broke the order (I1). */
  takeAnswered(requestId: number): Call | undefined {
    const [call] = this.#sent
    if (call?.requestId !== requestId) return undefined
    this.#sent.shift()
    this.#bytes -= call.bytes
    const oldest = this.#oldestNumber()
    this.#answeredUpTo = oldest === undefined ? this.#lastRequestId : oldest - 1
    return call
  }

  /** The caller of a call has gone. */
  abandon(call: Call): void {
    call.abandoned = true
    const at = this.#queue.indexOf(call)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#bytes -= call.bytes
  }

  /** The connection ended: what has no answer is sent again on the next one (I2). */
  rewind(): void {
    const again = this.#sent.filter((call) => !call.abandoned)
    for (const call of this.#sent) if (call.abandoned) this.#bytes -= call.bytes
    this.#queue = [...again, ...this.#queue]
    this.#sent = []
  }

  /**
   * Ends all calls, each with the error that fits it. What was sent keeps its place: answers may
   * still come (I1).
   */
  failAll(errorFor: (call: Call) => QuireError): void {
    const calls = [...this.#sent, ...this.#queue].filter((call) => !call.abandoned)
    this.#queue = []
    this.#bytes = this.#sent.reduce((sum, call) => sum + call.bytes, 0)
    for (const call of calls) {
      call.abandoned = true
      call.failed(errorFor(call))
    }
  }

  /** The lowest number that still waits for its answer. */
  #oldestNumber(): number | undefined {
    // Watches laid again are sent first although their numbers are newer.
    const call = this.#sent.find(({ request }) => request.type !== 'setWatches') ?? this.#queue[0]
    return call?.requestId === 0 ? undefined : call?.requestId
  }
}
