// The asker's connection to one owner: hello, channels, heartbeats. It is used once; whoever needs
// another makes one.
//
// L1. It ends by itself when the owner was silent for too long while something waits for it.
//     Answers and pongs come from the thread that owns the log, so that one which hangs shows.

import { QuireError } from '../../errors.ts'
import type { Address, Clock, Connection, Network, Timer, Timers } from '../../io/index.ts'
import { conversationSeed, openFrame, sealFrame } from '../../wire/sealed-frames.ts'
import {
  decodeForwardAnswer,
  decodeForwardWelcome,
  encodeForwardHello,
  encodeForwardRequest,
  forwardLimits,
  forwardVersion,
  type ForwardAnswer,
  type ForwardRequest,
  type ForwardStatus,
} from '../../wire/forward-messages.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import type { Confirmed } from '../log/confirmations.ts'
import type { Answered } from '../replica/core/route.ts'
import { ForwardChannel } from './channel.ts'

export interface LinkParts {
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly instanceId: string
  /** `ID/INCARNATION` of this process, and of the owner. */
  readonly from: string
  readonly to: string
  /** Once, when it ended. */
  readonly closed: () => void
}

export type Asked =
  | { readonly type: 'serves'; readonly channel: ForwardChannel }
  | { readonly type: Exclude<Answered, 'serves'> }

export const linkTimes = { connectMs: 1000, tickMs: 1000, silenceMs: 3000 } as const

export interface Wanted {
  readonly log: string
  readonly epoch: number
  /** Called with what the owner says is durable. */
  readonly confirmed: (entry: Confirmed) => void
}

type Opening = Pick<Wanted, 'confirmed'> & {
  readonly type: 'opening'
  readonly answer: (asked: Asked) => void
}

type Waiting = Opening | { readonly type: 'open'; readonly channel: ForwardChannel }

export class ForwardLink {
  readonly #parts: LinkParts
  readonly #dialling = new AbortController()
  readonly #hello: Buffer
  readonly #seed: number
  readonly #channels = new Map<number, Waiting>()
  /** Requests that were made before the welcome. */
  readonly #early: Buffer[] = []
  #reader = new FrameReader({ maxFrameBytes: forwardLimits.helloBytes })
  #connection: Connection | undefined
  #state: 'dialling' | 'greeting' | 'open' | 'closed' = 'dialling'
  #lastChannel = 0
  #ping = 0
  #heardMs: number
  #timer: Timer | undefined

  constructor(parts: LinkParts, address: Address) {
    const { instanceId, from, to, network, clock } = parts
    this.#parts = parts
    this.#hello = encodeForwardHello({ version: forwardVersion, instanceId, from, to })
    this.#seed = conversationSeed(this.#hello.subarray(4))
    this.#heardMs = clock.monotonicMs()
    const options = { timeoutMs: linkTimes.connectMs, signal: this.#dialling.signal }
    network.connect(address, options).then(
      (connection) => this.#begin(connection),
      () => this.close('silent'),
    )
  }

  /** Opens a channel, now or when the owner has welcomed this process. */
  open({ log, epoch, confirmed }: Wanted): { asked: Promise<Asked>; cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<Asked>()
    if (this.#state === 'closed' || this.#channels.size >= forwardLimits.channels) {
      return { asked: Promise.resolve({ type: 'silent' }), cancel: () => undefined }
    }
    const channel = ++this.#lastChannel
    this.#wake()
    this.#channels.set(channel, { type: 'opening', answer: resolve, confirmed })
    this.#send({ type: 'open', channel, log, epoch })
    const cancel = (): void => {
      if (this.#channels.get(channel)?.type !== 'opening') return
      resolve({ type: 'silent' })
      this.#send({ type: 'close', channel })
      this.#forget(channel)
    }
    return { asked: promise, cancel }
  }

  /** Ends it at once: what was asked is answered with `how`, channels fail. */
  close(how: 'silent' | 'gone', why: string = 'its connection ended'): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#dialling.abort()
    this.#timer?.cancel()
    this.#connection?.destroy()
    const waiting = [...this.#channels.values()]
    this.#channels.clear()
    this.#parts.closed()
    for (const each of waiting) {
      if (each.type === 'opening') each.answer({ type: how })
      else each.channel.fail(lost(this.#parts, why))
    }
  }

  /** Ends it once all that was sent has left. */
  end(): void {
    this.#connection?.end()
    this.#connection = undefined
    this.close('silent')
  }

  #begin(connection: Connection): void {
    if (this.#state === 'closed') {
      connection.destroy()
      return
    }
    this.#connection = connection
    this.#state = 'greeting'
    this.#heardMs = this.#parts.clock.monotonicMs()
    connection.start({
      data: (chunk) => this.#data(chunk),
      drain() {},
      close: () => this.close('silent'),
    })
    connection.write(this.#hello)
  }

  #data(chunk: Buffer): void {
    if (this.#state === 'closed') return
    this.#heardMs = this.#parts.clock.monotonicMs()
    try {
      const problem = this.#reader.push(chunk, (bytes, start, end) => {
        this.#frame(bytes.subarray(start, end))
      })
      if (problem) throw new QuireError(problem.code, problem.message)
    } catch (error) {
      if (!QuireError.is(error)) throw error
      this.close('silent', error.message)
    }
  }

  #frame(payload: Buffer): void {
    if (this.#state === 'greeting') {
      this.#welcomed(decodeForwardWelcome(payload).status)
    } else if (this.#state === 'open') {
      const answer = decodeForwardAnswer(openFrame(payload, this.#seed))
      if (answer) this.#take(answer)
    }
  }

  #welcomed(status: ForwardStatus): void {
    if (status !== 'ok') {
      this.close(status === 'incarnation' ? 'gone' : 'silent', `it refused: ${status}`)
      return
    }
    this.#state = 'open'
    this.#reader = new FrameReader({ maxFrameBytes: forwardLimits.frameBytes })
    for (const frame of this.#early.splice(0)) this.#connection?.write(frame)
  }

  #take(answer: ForwardAnswer): void {
    if (answer.type === 'pong') return
    const { channel } = answer
    const waiting = this.#channels.get(channel)
    if (!waiting) return
    if (answer.type === 'opened') {
      if (waiting.type === 'opening') this.#opened(answer, waiting)
    } else if (answer.type === 'refused') {
      this.#forget(channel)
      const type = answer.reason
      if (waiting.type === 'opening') waiting.answer({ type })
      else waiting.channel.fail(lost(this.#parts, 'it owns the log no more'))
    } else if (waiting.type === 'open') {
      if (answer.type === 'appended') waiting.channel.appended(answer)
      else waiting.channel.rejected(answer.number, answer.reason)
    }
  }

  #opened({ channel: id, position }: ForwardAnswer & { type: 'opened' }, opening: Opening): void {
    const channel = new ForwardChannel(
      {
        confirmed: opening.confirmed,
        append: (number, record) => {
          this.#wake()
          this.#send({ type: 'append', channel: id, number, record })
        },
        close: () => {
          this.#send({ type: 'close', channel: id })
          this.#forget(id)
        },
      },
      position,
    )
    this.#channels.set(id, { type: 'open', channel })
    opening.answer({ type: 'serves', channel })
  }

  #forget(channel: number): void {
    this.#channels.delete(channel)
    if (this.#channels.size === 0) this.end()
  }

  #send(request: ForwardRequest): void {
    const frame = sealFrame(encodeForwardRequest(request), this.#seed)
    if (this.#state === 'open') this.#connection?.write(frame)
    else if (this.#state !== 'closed') this.#early.push(frame)
  }

  /** Something begins to wait for the owner: silence counts from now. */
  #wake(): void {
    if (this.#timer !== undefined) return
    this.#heardMs = this.#parts.clock.monotonicMs()
    this.#plan()
  }

  #plan(): void {
    this.#timer = this.#parts.timers.after(linkTimes.tickMs, () => this.#tick())
  }

  /** L1. */
  #tick(): void {
    this.#timer = undefined
    if (this.#state === 'closed' || !this.#isAwaited()) return
    if (this.#parts.clock.monotonicMs() - this.#heardMs > linkTimes.silenceMs) {
      this.close('silent', 'it did not answer in time')
      return
    }
    this.#send({ type: 'ping', number: ++this.#ping })
    this.#plan()
  }

  #isAwaited(): boolean {
    for (const each of this.#channels.values()) {
      if (each.type === 'opening' || each.channel.inFlight > 0) return true
    }
    return false
  }
}

function lost({ to: owner }: LinkParts, why: string): QuireError {
  return new QuireError('QUIRE_CONNECTION_LOST', `no channel to ${owner} any more: ${why}`, {
    facts: { owner },
  })
}
