// The calls of one session that have no answer yet, in the order they were made.
//
// Z1. What never left may end as "not done"; a change that left and lost its answer never does.
// Z2. A read that lost its answer is asked again on the next connection, before all later calls; a
//     change never is: ZooKeeper would make it twice.

import { QuireError } from '../../errors.ts'
import type { ZooKeeperAnswer, ZooKeeperRequest } from '../../io/zookeeper.ts'

export interface Call {
  readonly request: ZooKeeperRequest
  readonly bytes: number
  /** Asked behind a `sync`. */
  readonly linearizable: boolean
  readonly isWrite: boolean
  /** Nobody waits for it any more. */
  abandoned: boolean
  readonly answered: (answer: ZooKeeperAnswer) => void
  readonly failed: (error: QuireError) => void
}

const most = { calls: 10_000, bytes: 16_777_216 } as const

export class PendingCalls {
  /** Sent on this connection. */
  #sent = new Set<Call>()
  #queue: Call[] = []
  #bytes = 0

  get inFlight(): number {
    return this.#sent.size
  }

  /** Takes a call, or throws QUIRE_BACKPRESSURE: it was not sent. */
  add(call: Call): void {
    const count = this.#sent.size + this.#queue.length
    if (count >= most.calls || this.#bytes + call.bytes > most.bytes) {
      throw new QuireError(
        'QUIRE_BACKPRESSURE',
        'too many metadata calls wait for an answer; try again when some have ended',
        { facts: { calls: count, bytes: this.#bytes } },
      )
    }
    this.#bytes += call.bytes
    this.#queue.push(call)
  }

  /** The next call to send, now among the sent ones. */
  takeNext(): Call | undefined {
    const call = this.#queue.shift()
    if (call) this.#sent.add(call)
    return call
  }

  /** False for one that had its end before. */
  settle(call: Call): boolean {
    if (!this.#sent.delete(call)) return false
    this.#bytes -= call.bytes
    return !call.abandoned
  }

  /** The caller of a call has gone; one that left is on its way all the same. */
  abandon(call: Call): void {
    call.abandoned = true
    const at = this.#queue.indexOf(call)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#bytes -= call.bytes
  }

  /** The connection ended (Z2). Changes that were on their way end with the error. */
  rewind(lost: (call: Call) => QuireError): void {
    const sent = [...this.#sent]
    this.#sent = new Set()
    this.#queue = [...sent.filter((call) => isAskedAgain(call)), ...this.#queue]
    for (const call of sent) {
      if (isAskedAgain(call)) continue
      this.#bytes -= call.bytes
      if (!call.abandoned) call.failed(lost(call))
    }
  }

  /** Ends all calls; `wasSent` says whether one left (Z1). */
  failAll(errorFor: (call: Call, wasSent: boolean) => QuireError): void {
    const sent = [...this.#sent]
    const queue = this.#queue
    this.#sent = new Set()
    this.#queue = []
    this.#bytes = 0
    for (const call of sent) if (!call.abandoned) call.failed(errorFor(call, true))
    for (const call of queue) call.failed(errorFor(call, false))
  }
}

const isAskedAgain = (call: Call): boolean => !call.isWrite && !call.abandoned
