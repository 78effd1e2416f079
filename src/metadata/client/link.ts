// One connection to one server: dial, handshake, packets both ways. It is used once; reconnecting
// is the session's matter. The handler hears `opened` at most once, packets only after it, and
// `closed` exactly once unless the owner destroyed it.

import { QuireError, messageOf } from '../../errors.ts'
import type { Address, Connection, Network } from '../../io/network.ts'
import type { Timer, Timers } from '../../io/time.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import {
  decodeConnectResponse,
  decodeServerPacket,
  encodeConnectRequest,
} from '../../wire/metadata-codec.ts'
import { metadataLimits } from '../../wire/metadata-messages.ts'
import type { ConnectRequest, ConnectResponse, ServerPacket } from '../../wire/metadata-messages.ts'

export interface LinkHandler {
  opened(response: ConnectResponse): void
  packet(packet: ServerPacket): void
  /** What was refused by `send` may be sent now. */
  drain(): void
  closed(error: QuireError): void
}

export interface LinkOptions {
  readonly network: Network
  readonly timers: Timers
  readonly address: Address
  readonly request: ConnectRequest
  /** For dialling and the handshake together. */
  readonly timeoutMs: number
  readonly handler: LinkHandler
}

type LinkState =
  | { readonly type: 'dialling'; readonly abort: AbortController }
  | { readonly type: 'handshaking'; readonly connection: Connection }
  | { readonly type: 'open'; readonly connection: Connection }
  | { readonly type: 'closed' }

export class Link {
  readonly #options: LinkOptions
  readonly #reader = new FrameReader({ maxFrameBytes: metadataLimits.frameBytes + 4 })
  readonly #timer: Timer
  #state: LinkState

  constructor(options: LinkOptions) {
    this.#options = options
    const abort = new AbortController()
    this.#state = { type: 'dialling', abort }
    this.#timer = options.timers.after(options.timeoutMs, () =>
      this.#fail('did not answer in time'),
    )
    const { address, timeoutMs } = options
    void options.network
      .connect(address, { timeoutMs, signal: abort.signal })
      .then((connection) => this.#shake(connection))
      .catch((error: unknown) => this.#close(error))
  }

  /** False when the next frame should wait for `drain`. The frame must not be changed any more. */
  send(frame: Uint8Array): boolean {
    return this.#state.type === 'open' && this.#state.connection.write(frame)
  }

  /** Ends at once; the handler hears nothing more. */
  destroy(): void {
    const state = this.#state
    this.#state = { type: 'closed' }
    this.#timer.cancel()
    if (state.type === 'dialling') state.abort.abort()
    else if (state.type !== 'closed') state.connection.destroy()
  }

  #shake(connection: Connection): void {
    if (this.#state.type !== 'dialling') {
      connection.destroy()
      return
    }
    this.#state = { type: 'handshaking', connection }
    connection.start({
      data: (chunk) => this.#data(chunk),
      drain: () => {
        if (this.#state.type === 'open') this.#options.handler.drain()
      },
      close: (error) => this.#close(error),
    })
    connection.write(encodeConnectRequest(this.#options.request))
  }

  #data(chunk: Buffer): void {
    const problem = this.#reader.push(chunk, this.#onFrame)
    if (problem) this.#close(new QuireError(problem.code, problem.message))
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    try {
      this.#frame(bytes.subarray(start, end))
    } catch (error) {
      this.#close(error)
    }
  }

  #frame(payload: Buffer): void {
    const { handler } = this.#options
    if (this.#state.type === 'open') {
      handler.packet(decodeServerPacket(payload))
    } else if (this.#state.type === 'handshaking') {
      const response = decodeConnectResponse(payload)
      this.#timer.cancel()
      this.#state = { type: 'open', connection: this.#state.connection }
      handler.opened(response)
    }
  }

  #fail(what: string): void {
    const { host, port } = this.#options.address
    this.#close(new QuireError('QUIRE_TIMEOUT', `${host}:${port} ${what}`))
  }

  #close(cause: unknown): void {
    if (this.#state.type === 'closed') return
    this.destroy()
    const { host, port } = this.#options.address
    const why = cause === undefined ? 'it ended the connection' : messageOf(cause)
    const refused = QuireError.is(cause, 'QUIRE_UNAUTHORIZED')
    const code = refused ? 'QUIRE_UNAUTHORIZED' : 'QUIRE_CONNECTION_LOST'
    this.#options.handler.closed(
      new QuireError(code, `no metadata from ${host}:${port}: ${why}`, { cause }),
    )
  }
}
