// Keeps one ZooKeeper session alive over any number of connections, and trusts none of them.
//
// Z1, Z2: see calls.ts.
// Z3. The session is given up on this machine's own clock before a server can have expired it: the
//     lease runs from the sending of the last message that was answered, the server's clock from
//     its arrival. Nothing waits longer for a ZooKeeper that does not answer.
// Z4. A connection that is silent for a third of the time-out after a ping, or while it is made,
//     is ended: half-open ones are found out, and hung servers do not keep the others from their
//     turn.
// Z5. Watches are laid again before any call is sent on a new connection, as of what this session
//     had seen when the last one broke, until all of them are laid: no change is missed between.

import { QuireError, abortedError } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Address } from '../../io/network.ts'
import type { Clock, Random, Timer, Timers } from '../../io/time.ts'
import type {
  ZooKeeperAnswer,
  ZooKeeperConnection,
  ZooKeeperGreeting,
  ZooKeeperRequest,
  ZooKeepers,
} from '../../io/zookeeper.ts'
import { PendingCalls, type Call } from './calls.ts'
import { closedError, codes, expiredError, unknownError, unreachedError } from './errors.ts'
import { WatchRegistry } from './watches.ts'

export interface ZooKeeperEnvironment {
  readonly zookeepers: ZooKeepers
  readonly timers: Timers
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface SupervisorOptions extends ZooKeeperEnvironment {
  readonly addresses: readonly Address[]
  readonly timeoutMs: number
  /** How long the first connection may take, over all addresses. */
  readonly connectTimeoutMs: number
}

export interface CallRequest {
  readonly request: ZooKeeperRequest
  /** What it holds in memory while it waits. */
  readonly bytes: number
  readonly linearizable: boolean
  readonly isWrite: boolean
  readonly signal: AbortSignal | undefined
  /** Called before anything that comes behind the answer, which may be its watch's event. */
  readonly seen: (answer: ZooKeeperAnswer) => void
}

export type EndReason = 'closed' | 'expired'

type State =
  | {
      readonly type: 'dialling'
      readonly connection: ZooKeeperConnection | undefined
      readonly timer: Timer
      readonly atMs: number
    }
  | { readonly type: 'waiting'; readonly timer: Timer }
  | {
      readonly type: 'connected'
      readonly connection: ZooKeeperConnection
      pingAtMs: number | undefined
    }
  | { readonly type: 'ended'; readonly reason: EndReason }

const limits = {
  inFlight: 128,
  backOffMs: { first: 50, most: 1_000 },
  closeMs: 2_000,
} as const

/** Clocks of two machines may differ by five in a hundred. */
const leaseShare = 0.95

export class ZooKeeperSupervisor {
  readonly #options: SupervisorOptions
  readonly #calls = new PendingCalls()
  readonly #ready = Promise.withResolvers<void>()
  readonly #ended = Promise.withResolvers<EndReason>()
  readonly #establishByMs: number
  readonly watches: WatchRegistry
  #state: State
  #alarm: Timer | undefined
  #closing = false
  #nextAddress: number
  /** Connections tried since a server last answered anything. */
  #attempts = 0
  #lastError: QuireError | undefined
  #sessionId = 0n
  #password: Buffer = Buffer.alloc(16)
  #timeoutMs: number
  #lastZxid = 0n
  /** As of when watches are laid again; undefined while all of them are laid (Z5). */
  #watchesZxid: bigint | undefined
  /** When the last message was sent that a server is known to have received. */
  #heardMs: number | undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#timeoutMs = options.timeoutMs
    this.watches = new WatchRegistry(options.logger)
    this.#nextAddress = options.random.below(options.addresses.length)
    this.#establishByMs = options.clock.monotonicMs() + options.connectTimeoutMs
    // Nobody may be waiting when the first connection fails because of `close`.
    this.#ready.promise.catch(() => undefined)
    this.#state = this.#dial()
    this.#arm()
  }

  /** Resolves with the first connection; fails with QUIRE_METADATA_UNAVAILABLE or QUIRE_CLOSED. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  get ended(): Promise<EndReason> {
    return this.#ended.promise
  }

  get sessionId(): bigint {
    return this.#sessionId
  }

  /** Sends a request, now or when a connection is back. Resolves to its answer, errors included. */
  call(asked: CallRequest): Promise<ZooKeeperAnswer> {
    const { signal, seen, ...rest } = asked
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
        ...rest,
        abandoned: false,
        answered: (answer) => {
          settle()
          seen(answer)
          resolve(answer)
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
    this.#calls.failAll(closedError)
    const end = (): void => this.#end('closed')
    if (this.#state.type !== 'connected') {
      end()
      return this.ended
    }
    this.#state.connection.send({ type: 'closeSession' }, end)
    this.#alarm?.cancel()
    this.#alarm = this.#options.timers.after(limits.closeMs, end)
    return this.ended
  }

  #dial(): State {
    const { addresses, zookeepers, timers, clock } = this.#options
    const address = addresses[this.#nextAddress++ % addresses.length]
    if (!address) throw new QuireError('QUIRE_BAD_OPTION', 'no address of a ZooKeeper was given')
    this.#attempts++
    const connection: ZooKeeperConnection = zookeepers.connect(
      {
        address,
        timeoutMs: this.#options.timeoutMs,
        sessionId: this.#sessionId,
        password: this.#password,
        lastZxid: this.#lastZxid,
      },
      {
        opened: (greeting) => this.#opened(connection, greeting),
        expired: () => this.#end('expired'),
        event: (event) => this.watches.fire(event),
        closed: (error) => this.#disconnected(error),
      },
    )
    const silent = `${address.host}:${address.port} did not answer in time`
    const timer = timers.after(Math.max(50, this.#timeoutMs / 3), () =>
      this.#drop(new QuireError('QUIRE_TIMEOUT', silent)),
    )
    return { type: 'dialling', connection, timer, atMs: clock.monotonicMs() }
  }

  #opened(connection: ZooKeeperConnection, greeting: ZooKeeperGreeting): void {
    if (this.#state.type !== 'dialling') return
    const { timer, atMs } = this.#state
    if (this.#sessionId !== 0n && greeting.sessionId !== this.#sessionId) {
      this.#drop(new QuireError('QUIRE_BAD_FRAME', 'the server went on with another session'))
      return
    }
    timer.cancel()
    this.#sessionId = greeting.sessionId
    this.#password = greeting.password
    this.#timeoutMs = greeting.timeoutMs
    this.#heard(atMs)
    this.#state = { type: 'connected', connection, pingAtMs: undefined }
    this.#ready.resolve()
    this.#arm()
    this.#layWatches(connection)
    this.#pump()
  }

  /** Z5. */
  #layWatches(connection: ZooKeeperConnection): void {
    const zxid = this.#watchesZxid ?? this.#lastZxid
    const parts = this.watches.list()
    const progress = { left: parts.length }
    if (progress.left === 0) this.#watchesZxid = undefined
    for (const paths of parts) {
      const sentAtMs = this.#options.clock.monotonicMs()
      connection.send({ type: 'setWatches', zxid, ...paths }, (answer) => {
        if (!this.#isOfUse(answer)) return
        this.#heard(sentAtMs)
        this.#lastZxid = newest(this.#lastZxid, answer.zxid)
        if (--progress.left === 0) this.#watchesZxid = undefined
      })
    }
  }

  #pump(): void {
    while (this.#state.type === 'connected' && this.#calls.inFlight < limits.inFlight) {
      const call = this.#calls.takeNext()
      if (!call) return
      this.#send(this.#state.connection, call)
    }
  }

  #send(connection: ZooKeeperConnection, call: Call): void {
    const { request, linearizable } = call
    const sentAtMs = this.#options.clock.monotonicMs()
    const synced: { refusal: ZooKeeperAnswer | undefined } = { refusal: undefined }
    if (linearizable && 'path' in request) {
      connection.send({ type: 'sync', path: request.path }, (answer) => {
        if (this.#isOfUse(answer) && answer.error !== 0) synced.refusal = answer
      })
    }
    connection.send(request, (answer) =>
      this.#answered(call, { sentAtMs, answer: synced.refusal ?? answer }),
    )
  }

  #answered(call: Call, { sentAtMs, answer }: { sentAtMs: number; answer: ZooKeeperAnswer }): void {
    if (!this.#isOfUse(answer)) return
    this.#heard(sentAtMs)
    this.#lastZxid = newest(this.#lastZxid, answer.zxid)
    if (this.#calls.settle(call)) call.answered(answer)
    this.#pump()
  }

  /** False for what says something of the session or the connection, and nothing of the call. */
  #isOfUse({ error }: ZooKeeperAnswer): boolean {
    if (error === codes.sessionExpired) {
      this.#end('expired')
    } else if (error === codes.sessionMoved || error === codes.connectionLoss) {
      // Another connection carries this session on, or none does.
      this.#drop(new QuireError('QUIRE_CONNECTION_LOST', `the server answered with ${error}`))
    }
    return this.#state.type === 'connected'
  }

  /** Z3: what was sent at `sentAtMs` arrived, so no server counts the silence from before that. */
  #heard(sentAtMs: number): void {
    this.#attempts = 0
    this.#heardMs = Math.max(this.#heardMs ?? 0, sentAtMs)
  }

  #drop(error: QuireError): void {
    if (this.#state.type === 'connected' || this.#state.type === 'dialling') {
      this.#state.connection?.destroy()
    }
    this.#disconnected(error)
  }

  #disconnected(error: QuireError): void {
    const state = this.#state
    if (state.type === 'ended' || state.type === 'waiting') return
    if (state.type === 'dialling') state.timer.cancel()
    this.#lastError = error
    const { addresses, logger } = this.#options
    // Once in each outage, when all were tried: a node that waits is to say for what.
    const level = this.#attempts === addresses.length ? 'warn' : 'debug'
    logger[level]({ error: error.message }, 'the ZooKeeper cannot be reached: trying again')
    this.#watchesZxid ??= this.#lastZxid
    const timer = this.#options.timers.after(this.#backOffMs(), () => this.#redial())
    this.#state = { type: 'waiting', timer }
    this.#calls.rewind((call) => unknownError(call, error))
    if (this.#closing) this.#end('closed')
    else this.#arm()
  }

  #redial(): void {
    if (this.#state.type === 'waiting') this.#state = this.#dial()
  }

  /** Grows with each round through the addresses; half of it is chance. */
  #backOffMs(): number {
    const { random, addresses } = this.#options
    const { first, most } = limits.backOffMs
    const round = Math.floor(this.#attempts / addresses.length)
    const whole = Math.min(first * 2 ** Math.min(round, 10), most, this.#timeoutMs / 6)
    return whole / 2 + random.below(Math.ceil(whole / 2) + 1)
  }

  /** Sets the alarm for the next moment at which something is due. */
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
    const since = this.#state.pingAtMs ?? this.#heardMs
    return Math.min(since + this.#timeoutMs / 3, this.#leaseEndMs())
  }

  /** Z4. */
  #ring(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#checkLease()
    if (this.#state.type === 'connected' && this.#heardMs !== undefined) {
      const { pingAtMs } = this.#state
      const thirdMs = this.#timeoutMs / 3
      if (pingAtMs !== undefined && nowMs >= pingAtMs + thirdMs) {
        this.#drop(new QuireError('QUIRE_TIMEOUT', 'the ZooKeeper is silent'))
      } else if (pingAtMs === undefined && nowMs >= this.#heardMs + thirdMs) this.#ping(nowMs)
    }
    this.#arm()
  }

  #ping(nowMs: number): void {
    if (this.#state.type !== 'connected') return
    const state = this.#state
    state.pingAtMs = nowMs
    state.connection.send({ type: 'ping' }, () => {
      if (this.#state !== state) return
      state.pingAtMs = undefined
      this.#heard(nowMs)
      this.#arm()
    })
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
    if (state.type !== 'connected') state.timer.cancel()
    if (state.type !== 'waiting') state.connection?.destroy()
    this.#alarm?.cancel()
    this.#calls.failAll(reason === 'expired' ? expiredError : closedError)
    this.watches.endAll()
    this.#ready.reject(this.#endError())
    this.#ended.resolve(reason)
  }

  /** Why no call can be made any more. */
  #endError(): QuireError {
    if (this.#heardMs === undefined && !this.#closing) return unreachedError(this.#lastError)
    const expired = this.#state.type === 'ended' && this.#state.reason === 'expired'
    return expired ? expiredError() : closedError()
  }
}

const newest = (a: bigint, b: bigint): bigint => (a > b ? a : b)
