// One client: frames in, answers out. Both protocols on one port; a connection that spoke V2 once
// speaks it for good (wire 1.3).
//
// C1 Every request that was taken gets exactly one answer, unless the connection ends first. C2
// What cannot be taken yet waits in its chunk, and its socket is not read. C3 An acknowledgement
// leaves only when its record is durable; all of one batch leave in one write. C4 Whatever is not a
// request ends the connection and nothing else.

import { QuireError } from '../../errors.ts'
import type { Connection, ConnectionHandler } from '../../io/index.ts'
import {
  type BookieRequest,
  operations,
  requestFlags,
  type Status,
  statuses,
} from '../../wire/bookie-messages.ts'
import { createRequest, decodeRequest } from '../../wire/bookie-request.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import { type Outcome, outcomes } from '../store/outcomes.ts'
import { type Ack, AckQueue } from './acks.ts'
import { Answers } from './answers.ts'
import { type Call, callOf } from './call.ts'
import { Guard } from './guard.ts'
import { Output } from './output.ts'
import { compareWithDisk, finish, startLongPoll, tryRead } from './reads.ts'
import type { Shared } from './shared.ts'

/** A frame that waits in its chunk. */
interface Parked {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
}

export class BookieConnection implements ConnectionHandler {
  readonly shared: Shared
  readonly answers: Answers
  readonly output: Output
  closed = false
  /** Ends of waits that go with the connection. */
  readonly polls: Set<() => void> = new Set()
  readonly #connection: Connection
  readonly #reader: FrameReader
  readonly #request: BookieRequest = createRequest()
  readonly #acks = new AckQueue()
  readonly #ack: Ack = {
    protocol: 3,
    version: 3,
    operation: operations.add,
    txnHigh: 0,
    txnLow: 0,
    ledgerHigh: 0,
    ledgerLow: 0,
    entryId: 0,
  }
  /** Reads whose fence is not durable yet, in the order of what they wait for. */
  readonly #fencing: { awaited: number; call: Call }[] = []
  #calls = 0
  /** Of each view of the journal's memory that waits in the socket, oldest first. */
  readonly #viewsSinceMs: number[] = []
  #parked: Parked[] = []
  #paused = false
  #stopped = false
  /** Inside `data`: answers are given to the socket at its end. */
  #turn = false
  #protocol: 'v3-first' | 'v2' = 'v3-first'
  /** Until the client has authenticated itself, where it must. */
  #guard: Guard | undefined
  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    if (this.closed) return
    if (this.#parked.length > 0 || !this.#take(bytes, start, end)) {
      this.#parked.push({ bytes, start, end })
    }
  }

  constructor(shared: Shared, connection: Connection) {
    this.shared = shared
    this.#connection = connection
    this.output = new Output(connection, shared.pool)
    this.answers = new Answers(this.output)
    const { secret, limits } = shared
    this.#guard = secret && new Guard({ ...shared, secret }, this)
    if (this.#guard) shared.strangers.add(this)
    this.#reader = new FrameReader({
      maxFrameBytes: this.#guard ? limits.strangerFrameBytes : limits.maxFrameBytes,
    })
  }

  // ---- what the network calls

  data(chunk: Buffer): void {
    if (this.closed || this.#stopped) return
    this.#turn = true
    const problem = this.#reader.push(chunk, this.#onFrame)
    this.#turn = false
    if (problem !== undefined) this.garbage(problem.message)
    else this.#settle()
  }

  drain(): void {
    this.output.choked = false
    this.resume()
  }

  close(_error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.#parked = []
    this.#fencing.length = 0
    for (const end of this.polls) end()
    this.polls.clear()
    this.output.close()
    this.#unguard()
    this.shared.waiting.delete(this)
    this.shared.blocked.delete(this)
    this.shared.closed(this)
  }

  // ---- what the server calls

  /** Answers everything that waited for records up to this one, in one write (C3). */
  durable(sequence: number): void {
    const ack = this.#ack
    while (this.#acks.take(sequence, ack)) this.answers.ok(ack)
    while ((this.#fencing[0]?.awaited ?? Infinity) <= sequence) {
      const fenced = this.#fencing.shift()
      if (fenced !== undefined) finish(this, fenced.call)
    }
    if (this.#acks.count === 0 && this.#fencing.length === 0) this.shared.waiting.delete(this)
    this.flush()
  }

  /** There may be room again: goes on with what waits. */
  resume(): void {
    if (this.closed || this.#stopped || this.output.choked) return
    this.shared.blocked.delete(this)
    const parked = this.#parked
    let taken = 0
    this.#turn = true
    for (const { bytes, start, end } of parked) {
      if (this.closed || !this.#take(bytes, start, end)) break
      taken++
    }
    this.#turn = false
    if (taken > 0) this.#parked = parked.slice(taken)
    this.#settle()
  }

  /** Takes no more requests; those taken are still answered. */
  stop(): void {
    this.#stopped = true
    this.#parked = []
    this.#connection.pause()
    for (const end of this.polls) end()
    this.polls.clear()
  }

  /** Ends the connection after what it was answered. */
  end(): void {
    if (this.closed) return
    this.output.flush()
    this.#connection.end()
    // What is still read from the disk has nobody to go to.
    this.close(undefined)
  }

  /** Ends the connection at once. */
  destroy(error: Error): void {
    if (this.closed) return
    this.#connection.destroy(error)
    this.close(error)
  }

  // ---- what its guard calls

  known(): void {
    this.#unguard()
    this.#reader.allow(this.shared.limits.maxFrameBytes)
  }

  refused(why: string): void {
    const { remote } = this.#connection
    this.shared.logger.warn({ remote, why }, 'a client without the secret was disconnected')
    this.end()
  }

  #unguard(): void {
    this.#guard?.end()
    this.#guard = undefined
    this.shared.strangers.delete(this)
  }

  // ---- what handlers call

  /** Gives the answers written so far to the socket, unless the turn's end will. */
  flush(): void {
    if (this.#turn || this.closed) return
    this.output.flush()
    this.#checkOutput()
  }

  /**
   * Holds a slot's memory until the socket has taken what is sent from it: call the result then.
   * Sockets take in order.
   */
  holdView(slot: number): () => void {
    const { clock, store } = this.shared
    store.journal.hold(slot)
    this.#viewsSinceMs.push(clock.monotonicMs())
    return () => {
      this.#viewsSinceMs.shift()
      store.journal.release(slot)
    }
  }

  /** Ends the connection if its client has not taken something since before `sinceMs`. */
  giveMemoryBack(sinceMs: number): void {
    if ((this.#viewsSinceMs[0] ?? Number.POSITIVE_INFINITY) > sinceMs) return
    this.shared.counts.stalled++
    this.shared.logger.warn(
      { remote: this.#connection.remote },
      'a client did not take its answers, and appends wait for their memory: it was disconnected',
    )
    const text = 'the connection was ended: its answers were not taken, and others needed the room'
    this.destroy(new QuireError('QUIRE_TIMEOUT', text))
  }

  /** An answer is being put together that does not leave in this turn. */
  callBegins(weight: number): void {
    this.#calls += weight
  }

  callEnds(weight: number): void {
    this.#calls -= weight
    if (this.#parked.length > 0) this.resume()
  }

  garbage(what: string): void {
    this.shared.counts.garbage++
    this.shared.logger.warn(
      { remote: this.#connection.remote, problem: what },
      'a client sent what no bookie request is: its connection was ended',
    )
    this.destroy(new QuireError('QUIRE_BAD_FRAME', `the connection was ended: ${what}`))
  }

  // ---- below

  /** After a turn: gives answers away and reads on, or stops reading (C2). */
  #settle(): void {
    if (this.closed || this.#stopped) return
    this.output.flush()
    const stuck = this.#parked.length > 0 || this.output.choked
    if (stuck === this.#paused) return
    this.#paused = stuck
    if (stuck) {
      this.shared.counts.pauses++
      this.#connection.pause()
    } else {
      this.#connection.resume()
    }
  }

  #checkOutput(): void {
    if (!this.output.choked || this.#paused || this.#stopped) return
    this.#paused = true
    this.shared.counts.pauses++
    this.#connection.pause()
  }

  /** Handles one frame. False: it cannot be taken yet. */
  #take(bytes: Buffer, start: number, end: number): boolean {
    if (this.output.choked) return false
    const request = this.#request
    if (decodeRequest(bytes, start, end, this.#protocol, request) === 'bad') {
      this.garbage('a frame that neither protocol knows')
      return true
    }
    if (request.protocol === 2) this.#protocol = 'v2'
    if (this.#guard?.passes(request) === false) {
      this.shared.counts.requests++
      return true
    }
    const refused = refusal(request)
    if (refused !== statuses.ok) {
      this.shared.counts.requests++
      this.answers.status(request, refused)
      return true
    }
    const taken = this.#dispatch(request)
    if (taken) this.shared.counts.requests++
    else this.shared.blocked.add(this)
    return taken
  }

  #dispatch(request: BookieRequest): boolean {
    const { store } = this.shared
    switch (request.operation) {
      case operations.add:
        return this.#settleOutcome(request, store.add(request))
      case operations.writeLac:
        return this.#settleOutcome(request, store.writeLac(request))
      case operations.force:
        return this.#settleOutcome(request, store.force())
      case operations.read:
      case operations.batchRead:
        return this.#read(request)
      case operations.auth:
        this.answers.authDisabled(request)
        return true
      case operations.bookieInfo: {
        const { freeBytes, totalBytes } = store.journal.usage()
        this.answers.bookieInfo(request, { freeBytes, totalBytes })
        return true
      }
      case operations.readLac:
      case operations.listEntries:
        if (this.#isBusy) return false
        finish(this, callOf(request))
        return true
      case operations.startTls:
      case 0:
        break
    }
    this.answers.status(request, statuses.badRequest)
    return true
  }

  #settleOutcome(request: BookieRequest, outcome: Outcome): boolean {
    if (outcome === outcomes.pending) {
      this.#acks.push(request, this.shared.store.awaited)
      this.shared.waiting.add(this)
      return true
    }
    if (outcome === outcomes.blocked) return false
    if (outcome === outcomes.compare) {
      if (this.shared.disk.isFull) return false
      compareWithDisk(this, request)
      return true
    }
    this.answers.status(request, outcome)
    return true
  }

  /** The copy of a held entry was compared: waits for it, or refuses. */
  settleDuplicate(request: BookieRequest, outcome: Outcome): void {
    this.#settleOutcome(request, outcome)
    this.flush()
  }

  /** As many answers are on their way as may be: those that wait for a fence will be. */
  get #isBusy(): boolean {
    return this.#calls + this.#fencing.length >= this.shared.limits.callsAtOnce
  }

  #read(request: BookieRequest): boolean {
    if ((request.flags & requestFlags.fence) !== 0) return this.#fencingRead(request)
    if (request.protocol === 3 && request.hasPreviousLac) {
      startLongPoll(this, request)
      return true
    }
    if (request.operation === operations.read) return tryRead(this, request)
    if (this.#isBusy) return false
    finish(this, callOf(request))
    return true
  }

  #fencingRead(request: BookieRequest): boolean {
    if (this.#isBusy) return false
    const outcome: Outcome = hasKey(request)
      ? this.shared.store.fence(request)
      : statuses.unauthorized
    if (outcome === outcomes.blocked) return false
    if (outcome === outcomes.pending) {
      this.#fencing.push({ awaited: this.shared.store.awaited, call: callOf(request) })
      this.shared.waiting.add(this)
    } else if (outcome === statuses.ok) {
      finish(this, callOf(request))
    } else {
      this.answers.status(request, outcome === outcomes.compare ? statuses.io : outcome)
    }
    return true
  }
}

/** What a request is refused for whatever it asks: version and shape (wire 1.5, 2.4, 2.5). */
function refusal(request: BookieRequest): Status {
  const { operation, version, protocol } = request
  if (operation === operations.auth || operation === operations.startTls) return statuses.ok
  const foreign = protocol === 3 ? version !== 3 : version > 2
  if (foreign && operation !== 0) return statuses.badVersion
  if (!request.hasBody && operation !== operations.bookieInfo) return statuses.badRequest
  return statuses.ok
}

/** A fencing read without key is unauthorized; versions 0 and 1 of V2 carry none (wire 1.6). */
function hasKey(request: BookieRequest): boolean {
  return request.keyEnd > request.keyStart && (request.protocol === 3 || request.version === 2)
}
