// Keeps one session alive over any number of connections.
//
// I1. The session is given up on this machine's own clock before any server can have expired it:
//     the lease runs from the sending of the last message that the server answered for the whole
//     cluster (a pong, a write, a linearizable read), the server's clock from its arrival. What it
//     reads on its own, a server also answers that another has replaced.
// I2. A call that left and lost its answer is sent again under its number while the session lives
//     (the tree then gives the first answer again), and ends as unknown once it does not.
// I3. Watches are laid again before any call is sent on a new connection.
// I4. One timer: the heartbeat while connected, the lease's end while not; a second only to wait
//     before dialling again.

import { QuireError, abortedError } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Address, Network } from '../../io/network.ts'
import type { Clock, Random, Timer, Timers } from '../../io/time.ts'
import { encodeClientPacket } from '../../wire/metadata-codec.ts'
import {
  metadataErrorNumbers as numbers,
  metadataLimits,
  metadataVersion,
} from '../../wire/metadata-messages.ts'
import type {
  ConnectResponse,
  MetadataRequest,
  MetadataResult,
  ServerPacket,
  WireWatch,
} from '../../wire/metadata-messages.ts'
import type { CallOptions } from '../contract.ts'
import { Link } from './link.ts'
import { closedError, expiredError, outcomeOf, refusedError } from './outcomes.ts'
import { isWrite, PendingCalls, type Call } from './pending.ts'
import { Route } from './route.ts'
import { WatchRegistry, type WatchCallback } from './watches.ts'

export interface ClientEnvironment {
  readonly network: Network
  readonly timers: Timers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface SupervisorOptions extends ClientEnvironment {
  readonly addresses: readonly Address[]
  readonly timeoutMs: number
  /** The cluster that is meant. Default: the one that answers first. */
  readonly instanceId?: string | undefined
  /** How long the first connection may take, over all addresses. */
  readonly connectTimeoutMs: number
}

const limits = {
  /** Sent and not answered: no more than a server takes of one session. */
  inFlight: 256,
  pending: { calls: 10_000, bytes: 16_777_216 },
  /** Watches in one request when they are laid again. */
  watchesAtOnce: 1_000,
  backOffMs: { first: 50, most: 1_000 },
  closeMs: 2_000,
} as const

type State =
  | { readonly type: 'dialling'; readonly link: Link; readonly atMs: number }
  | { readonly type: 'waiting'; readonly timer: Timer }
  | { readonly type: 'connected'; readonly link: Link; ping: Ping | undefined }
  | { readonly type: 'ended'; readonly reason: 'closed' | 'expired' }

interface Ping {
  readonly number: number
  readonly sentAtMs: number
}

export type EndReason = 'closed' | 'expired'

export interface RequestOptions extends CallOptions {
  /** What the request holds in memory while it waits. */
  readonly bytes: number
  readonly watch?: WatchCallback | undefined
}

/**
 * A session's own share of the time-out: clocks of two machines may differ by five in a hundred.
 */
const leaseShare = 0.95

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #calls = new PendingCalls(limits.pending)
  readonly #ready = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<EndReason>()
  readonly #establishByMs: number
  readonly watches: WatchRegistry
  #state: State
  #alarm: Timer | undefined
  #closing = false
  readonly #route: Route
  /** Connections tried since a server last answered anything. */
  #attempts = 0
  #pingNumber = 0
  #lastError: QuireError | undefined
  /** Attempts in a row that were refused for want of the right secret. */
  #refusals = 0
  #sessionId = 0n
  #password: Uint8Array = new Uint8Array(metadataLimits.passwordBytes)
  #timeoutMs: number
  #lastZxid = 0
  /** Every event up to here came before the answer that told it. */
  #answeredZxid = 0
  #instanceId: string
  /**
   * When the last message was sent that a server is known to have received; undefined before the
   * first connection.
   */
  #heardMs: number | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#timeoutMs = options.timeoutMs
    this.#instanceId = options.instanceId ?? ''
    this.watches = new WatchRegistry(options.logger)
    const { addresses, random } = options
    this.#route = new Route({ addresses, at: random.below(addresses.length) })
    this.#establishByMs = options.clock.monotonicMs() + options.connectTimeoutMs
    // Nobody may be waiting when the first connection fails because of `close`.
    this.#ready.promise.catch(() => undefined)
    this.#state = this.#dial()
    this.#arm()
  }

  /** The first connection; or QUIRE_METADATA_UNAVAILABLE, QUIRE_UNAUTHORIZED, QUIRE_CLOSED. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  get ended(): Promise<EndReason> {
    return this.#ended.promise
  }

  get sessionId(): bigint {
    return this.#sessionId
  }

  /**
   * Sends a request, now or when a connection is back. Resolves to its result, errors of the tree
   * included.
   */
  call(request: MetadataRequest, options: RequestOptions): Promise<MetadataResult> {
    const { signal, bytes, watch } = options
    if (signal?.aborted) return Promise.reject(abortedError(signal))
    this.#checkLease()
    if (this.#closing || this.#state.type === 'ended') return Promise.reject(this.#endError())
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#calls.abandon(call)
        if (signal) reject(abortedError(signal))
      }
      const settle = (): void => signal?.removeEventListener('abort', onAbort)
      const call: Call = {
        ...newCall(request, bytes),
        watch,
        answered: (result) => {
          settle()
          resolve(result)
        },
        failed: (error) => {
          settle()
          reject(error)
        },
      }
      this.#calls.add(call)
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#pump()
    })
  }

  /**
   * Ends the session at the server if one is connected, else lets it expire there. Pending calls
   * end with QUIRE_CLOSED.
   */
  close(): Promise<EndReason> {
    if (this.#closing || this.#state.type === 'ended') return this.ended
    this.#closing = true
    this.#calls.failAll((call) => closedError(call))
    if (this.#state.type !== 'connected') {
      this.#end('closed')
      return this.ended
    }
    const end = (): void => this.#end('closed')
    this.#calls.add({ ...newCall({ type: 'closeSession' }, 0), answered: end, failed: end })
    this.#pump(Number.POSITIVE_INFINITY)
    this.#alarm?.cancel()
    this.#alarm = this.#options.timers.after(limits.closeMs, end)
    return this.ended
  }

  #dial(): State {
    const { network, timers, clock } = this.#options
    const address = this.#route.next()
    this.#attempts++
    const link: Link = new Link({
      network,
      timers,
      address,
      timeoutMs: Math.max(50, this.#timeoutMs / 3),
      request: {
        version: metadataVersion,
        sessionId: this.#sessionId,
        password: this.#password,
        timeoutMs: this.#options.timeoutMs,
        lastZxid: this.#lastZxid,
        instanceId: this.#instanceId,
      },
      handler: {
        opened: (response) => this.#opened(response),
        packet: (packet) => this.#packet(packet),
        drain: () => this.#pump(),
        closed: (error) => {
          this.#route.silent()
          this.#disconnected(error)
        },
      },
    })
    return { type: 'dialling', link, atMs: clock.monotonicMs() }
  }

  #opened(response: ConnectResponse): void {
    if (this.#state.type !== 'dialling') return
    const { link, atMs } = this.#state
    if (response.status === 'sessionExpired') {
      this.#end('expired')
      return
    }
    const resumed = this.#heardMs !== undefined
    const strange = resumed && response.sessionId !== this.#sessionId
    if (response.status !== 'ok' || strange) {
      link.destroy()
      this.#route.named(response.leader)
      this.#disconnected(refusedError(response))
      return
    }
    this.#sessionId = response.sessionId
    this.#password = response.password
    this.#timeoutMs = response.timeoutMs
    this.#instanceId = response.instanceId
    this.#lastZxid = Math.max(this.#lastZxid, response.zxid)
    this.#heardMs = atMs
    this.#route.serves()
    this.#state = { type: 'connected', link, ping: undefined }
    this.#ready.resolve()
    this.#arm()
    this.#layWatches()
    this.#pump()
  }

  /** I3. */
  #layWatches(): void {
    const watches = this.watches.list(this.#answeredZxid)
    for (let at = 0; at < watches.length; at += limits.watchesAtOnce) {
      this.#sendWatches(watches.slice(at, at + limits.watchesAtOnce))
    }
  }

  #sendWatches(watches: readonly WireWatch[]): void {
    if (this.#state.type !== 'connected') return
    const call: Call = {
      ...newCall({ type: 'setWatches', watches }, 0),
      // Gone with its connection; the next one lays what is then known.
      abandoned: true,
      requestId: this.#calls.nextRequestId(),
      sentAtMs: this.#options.clock.monotonicMs(),
      answered: () => undefined,
      failed: () => undefined,
    }
    this.#calls.pushSent(call)
    this.#send(this.#state.link, call)
  }

  #pump(most: number = limits.inFlight): void {
    let writable = true
    while (this.#state.type === 'connected' && writable && this.#calls.inFlight < most) {
      const call = this.#calls.takeNext(this.#options.clock.monotonicMs())
      if (!call) return
      writable = this.#send(this.#state.link, call)
    }
  }

  #send(link: Link, { requestId, request }: Call): boolean {
    const { answeredUpTo } = this.#calls
    return link.send(encodeClientPacket({ type: 'request', requestId, answeredUpTo, request }))
  }

  #packet(packet: ServerPacket): void {
    if (this.#state.type !== 'connected') return
    switch (packet.type) {
      case 'answer':
        this.#answer(packet)
        break
      case 'pong':
        if (packet.number === this.#state.ping?.number) {
          this.#heard(this.#state.ping.sentAtMs)
          this.#state.ping = undefined
        }
        break
      case 'event':
        this.watches.fire(packet.watchId, { type: packet.event, path: packet.path })
        break
      case 'goodbye':
        if (packet.reason === 'expired') this.#end('expired')
        else
          this.#drop(new QuireError('QUIRE_CONNECTION_LOST', `the server said: ${packet.message}`))
        break
      case 'unknown':
        break
    }
  }

  #answer(packet: ServerPacket & { type: 'answer' }): void {
    const call = this.#calls.takeAnswered(packet.requestId)
    if (!call) {
      this.#drop(new QuireError('QUIRE_BAD_FRAME', 'the metadata server answered out of order'))
      return
    }
    const { result } = packet
    this.#attempts = 0
    if (isConfirmed(call.request, result)) this.#heard(call.sentAtMs)
    this.#lastZxid = Math.max(this.#lastZxid, packet.zxid)
    this.#answeredZxid = this.#lastZxid
    // The watch is known before the next packet, which may be its event.
    if (!call.abandoned) {
      this.#layWatch(call, result)
      call.answered(outcomeOf(call, result))
    }
    this.#pump()
  }

  #layWatch({ request, requestId, watch }: Call, result: MetadataResult): void {
    if (!watch || !('path' in request)) return
    const { path } = request
    if (result.type === 'children') {
      const zxid = result.stat.pzxid
      this.watches.lay(requestId, { kind: 'children', path, zxid, callback: watch })
    } else if (request.type === 'addWatch' && result.type === 'addWatch') {
      this.watches.lay(requestId, { kind: request.kind, path, zxid: 0, callback: watch })
    } else if (result.type === 'get' || result.type === 'exists') {
      const zxid = result.stat?.mzxid ?? 0
      this.watches.lay(requestId, { kind: 'data', path, zxid, callback: watch })
    }
  }

  /** I1: what was sent at `sentAtMs` arrived, so no server counts the silence from before that. */
  #heard(sentAtMs: number): void {
    this.#attempts = 0
    this.#heardMs = Math.max(this.#heardMs ?? 0, sentAtMs)
  }

  #drop(error: QuireError): void {
    if (this.#state.type === 'connected') this.#state.link.destroy()
    this.#disconnected(error)
  }

  #disconnected(error: QuireError): void {
    if (this.#state.type === 'ended') return
    this.#lastError = error
    const { addresses, logger } = this.#options
    // Once in each outage, when all were tried: a node that waits is to say for what.
    const level = this.#attempts === addresses.length ? 'warn' : 'debug'
    logger[level]({ error: error.message }, 'the metadata cannot be reached: trying again')
    this.#calls.rewind()
    this.#refusals = error.code === 'QUIRE_UNAUTHORIZED' ? this.#refusals + 1 : 0
    // Before the first connection nothing is lost by giving up what no address takes.
    const isHopeless = this.#heardMs === undefined && this.#refusals >= addresses.length
    if (this.#closing || isHopeless) {
      this.#end('closed')
      return
    }
    const timer = this.#options.timers.after(this.#backOffMs(), () => {
      this.#state = this.#dial()
    })
    this.#state = { type: 'waiting', timer }
    this.#arm()
  }

  /**
   * Grows with each round through the addresses; half of it is chance, so that clients do not come
   * all at once.
   */
  #backOffMs(): number {
    const { random } = this.#options
    const { first, most } = limits.backOffMs
    if (this.#route.isNamed && this.#attempts <= this.#route.length) return 1
    const round = Math.floor(this.#attempts / this.#route.length)
    const whole = Math.min(first * 2 ** Math.min(round, 10), most, this.#timeoutMs / 6)
    return whole / 2 + random.below(Math.ceil(whole / 2) + 1)
  }

  /** I4. Sets the alarm for the next moment at which something is due. */
  #arm(): void {
    if (this.#closing || this.#state.type === 'ended') return
    const { timers, clock } = this.#options
    this.#alarm?.cancel()
    const delayMs = Math.max(1, this.#dueMs() - clock.monotonicMs())
    this.#alarm = timers.after(delayMs, () => this.#ring())
  }

  #dueMs(): number {
    if (this.#heardMs === undefined) return this.#establishByMs
    if (this.#state.type !== 'connected') return this.#leaseEndMs()
    const since = this.#state.ping?.sentAtMs ?? this.#heardMs
    return Math.min(since + this.#timeoutMs / 3, this.#leaseEndMs())
  }

  #ring(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#checkLease()
    if (this.#state.type === 'connected' && this.#heardMs !== undefined) {
      const { link, ping } = this.#state
      const thirdMs = this.#timeoutMs / 3
      if (ping && nowMs >= ping.sentAtMs + thirdMs) {
        this.#route.silent()
        this.#drop(new QuireError('QUIRE_TIMEOUT', 'the metadata server is silent'))
      } else if (!ping && nowMs >= this.#heardMs + thirdMs) {
        const number = ++this.#pingNumber
        this.#state.ping = { number, sentAtMs: nowMs }
        link.send(encodeClientPacket({ type: 'ping', number }))
      }
    }
    this.#arm()
  }

  /** The end of what this machine may count on. Infinite before the first connection. */
  #leaseEndMs(): number {
    if (this.#heardMs === undefined) return Number.POSITIVE_INFINITY
    return this.#heardMs + this.#timeoutMs * leaseShare
  }

  #checkLease(): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs >= this.#leaseEndMs()) this.#end('expired')
    else if (this.#heardMs === undefined && nowMs >= this.#establishByMs) this.#end('closed')
  }

  #end(reason: EndReason): void {
    const state = this.#state
    if (state.type === 'ended') return
    this.#state = { type: 'ended', reason }
    // Whatever was sent is answered or given up: a server that hangs must not keep the connection.
    if (state.type === 'waiting') state.timer.cancel()
    else state.link.destroy()
    this.#alarm?.cancel()
    this.#calls.failAll((call) => (reason === 'expired' ? expiredError(call) : closedError(call)))
    this.watches.endAll()
    this.#ready.reject(this.#endError())
    this.#ended.resolve(reason)
  }

  /** Why no call can be made any more. */
  #endError(): QuireError {
    if (this.#heardMs === undefined && !this.#closing) {
      const cause = this.#lastError
      if (cause?.code === 'QUIRE_UNAUTHORIZED') return cause
      const why = cause ? cause.message : 'nobody answered'
      const text = `no metadata server could be reached (${why}): does a node run at the addresses?`
      return new QuireError('QUIRE_METADATA_UNAVAILABLE', text, { cause })
    }
    const expired = this.#state.type === 'ended' && this.#state.reason === 'expired'
    return expired ? expiredError() : closedError()
  }
}

/** I1. */
function isConfirmed(request: MetadataRequest, result: MetadataResult): boolean {
  if (result.type === 'error') {
    const { code } = result
    if (code === numbers.QUIRE_BACKPRESSURE || code === numbers.QUIRE_METADATA_UNAVAILABLE) {
      return false
    }
  }
  if ('linearizable' in request) return request.linearizable
  return isWrite(request) || request.type === 'sync'
}

function newCall(request: MetadataRequest, bytes: number): Omit<Call, 'answered' | 'failed'> {
  return { request, bytes, watch: undefined, requestId: 0, sentAtMs: 0, tries: 0, abandoned: false }
}
