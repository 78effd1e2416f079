// Authenticates a connection that this side made, before anybody else speaks on it. How the
// messages travel is the carrier's matter.

import { abortedError, messageOf, QuireError } from '../errors.ts'
import { FrameReader } from '../wire/frame-reader.ts'
import { ClientHandshake, type SharedSecret } from '../wire/handshake.ts'
import type { Address, Connection, ConnectionHandler } from './network.ts'
import type { Random, Timer, Timers } from './time.ts'

/** How messages of the exchange travel on a protocol. */
export interface Carrier {
  /** Most bytes of a frame, its length field included, while the exchange lasts. */
  readonly frameBytesMax: number
  frame(message: Uint8Array): Buffer
  /**
   * The message in the packet bytes[start, end); undefined: it has none, and is passed over.
   * QUIRE_UNAUTHORIZED: it says that this exchange will not be.
   */
  message(bytes: Buffer, start: number, end: number): Uint8Array | undefined
}

export interface ShakeParts {
  readonly secret: SharedSecret
  readonly random: Random
  readonly timers: Timers
}

export interface ShakeOptions {
  readonly carrier: Carrier
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Resolves to the connection, on which both sides have proved themselves. QUIRE_UNAUTHORIZED,
 * QUIRE_BAD_FRAME, QUIRE_CONNECTION_LOST, QUIRE_TIMEOUT, QUIRE_ABORTED: the connection has been
 * ended then.
 */
export function shakeHands(
  parts: ShakeParts,
  connection: Connection,
  options: ShakeOptions,
): Promise<Connection> {
  return new Shaking(parts, connection, options).begin()
}

class Shaking implements ConnectionHandler {
  readonly #outcome = Promise.withResolvers<Connection>()
  readonly #parts: ShakeParts
  readonly #connection: Connection
  readonly #options: ShakeOptions
  readonly #handshake: ClientHandshake
  readonly #reader: FrameReader
  readonly #timer: Timer
  #held: HeldConnection | undefined
  #isOver = false

  constructor(parts: ShakeParts, connection: Connection, options: ShakeOptions) {
    const { carrier, timeoutMs, signal } = options
    this.#parts = parts
    this.#connection = connection
    this.#options = options
    const nonce = parts.random.bytes(32)
    this.#handshake = new ClientHandshake({ secret: parts.secret, nonce })
    this.#reader = new FrameReader({ maxFrameBytes: carrier.frameBytesMax })
    this.#timer = parts.timers.after(timeoutMs, () => {
      this.#fail(this.#error('QUIRE_TIMEOUT', `did not authenticate within ${timeoutMs} ms`))
    })
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  begin(): Promise<Connection> {
    const { carrier, signal } = this.#options
    try {
      this.#connection.start(this)
      this.#connection.write(carrier.frame(this.#handshake.hello))
    } catch (error) {
      this.#fail(this.#explained(error))
    }
    if (signal?.aborted) this.#onAbort()
    return this.#outcome.promise
  }

  data(chunk: Buffer): void {
    if (this.#isOver) return
    try {
      const problem = this.#reader.push(chunk, this.#onFrame)
      if (problem) throw new QuireError(problem.code, problem.message)
      if (this.#handshake.isDone && !this.#isOver) this.#succeed()
    } catch (error) {
      this.#fail(this.#explained(error))
    }
  }

  drain(): void {
    // The few bytes of the exchange never make anybody wait.
  }

  close(error: Error | undefined): void {
    this.#held?.ended(error)
    const what = 'ended the connection instead of authenticating: is it a node of this version?'
    this.#fail(this.#error('QUIRE_CONNECTION_LOST', what, error))
  }

  readonly #onAbort = (): void => {
    const { signal } = this.#options
    if (signal) this.#fail(abortedError(signal))
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    if (this.#isOver) return
    try {
      const { carrier } = this.#options
      const message = carrier.message(bytes, start, end)
      const reply = message && this.#handshake.take(message)
      if (reply) this.#connection.write(carrier.frame(reply))
    } catch (error) {
      this.#fail(this.#explained(error))
    }
  }

  #succeed(): void {
    // Nobody has asked it for anything yet.
    if (this.#reader.bufferedBytes > 0) {
      throw new QuireError('QUIRE_BAD_FRAME', 'more was sent than the authentication')
    }
    this.#settle()
    this.#connection.pause()
    this.#held = new HeldConnection(this.#connection, this.#parts.timers)
    this.#outcome.resolve(this.#held)
  }

  #fail(error: QuireError): void {
    if (this.#isOver) return
    this.#settle()
    this.#connection.destroy(error)
    this.#outcome.reject(error)
  }

  #settle(): void {
    this.#isOver = true
    this.#timer.cancel()
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
  }

  #explained(error: unknown): QuireError {
    const code = QuireError.is(error) ? error.code : 'QUIRE_BAD_FRAME'
    return this.#error(code, `was not authenticated: ${messageOf(error)}`, error)
  }

  #error(code: QuireError['code'], what: string, cause?: unknown): QuireError {
    const address: Address = this.#connection.remote
    const text = `${address.host}:${address.port} ${what}`
    return new QuireError(code, text, { cause, facts: { address } })
  }
}

/** Nothing is delivered, and no end is lost, between the exchange and the next `start`. */
class HeldConnection implements Connection {
  readonly remote: Address
  readonly #connection: Connection
  readonly #timers: Timers
  #end: { readonly error: Error | undefined } | undefined

  constructor(connection: Connection, timers: Timers) {
    this.remote = connection.remote
    this.#connection = connection
    this.#timers = timers
  }

  ended(error: Error | undefined): void {
    this.#end = { error }
  }

  start(handler: ConnectionHandler): void {
    const end = this.#end
    if (end) {
      this.#timers.soon(() => handler.close(end.error))
      return
    }
    this.#connection.start(handler)
    this.#connection.resume()
  }

  get queuedBytes(): number {
    return this.#connection.queuedBytes
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
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
