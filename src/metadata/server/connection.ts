// One connection of a metadata client: handshake, requests in, answers out in the order of the
// requests.
//
// I1. An event of a watch leaves behind the answer of the read that laid it and before any later
//     answer.
// I2. Reads run together, writes run together, but neither overtakes the other: a session sees its
//     own order.
// I3. What is held for a client is bounded: requests by count and bytes, answers by bytes, watches
//     by count. Beyond a bound nothing more is read from it.
// I4. Whatever a client sends, the worst that happens is that its connection ends.

import { QuireError, messageOf } from '../../errors.ts'
import type { Connection } from '../../io/network.ts'
import type { Timer, Timers } from '../../io/time.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import {
  decodeClientPacket,
  decodeConnectRequest,
  encodeConnectResponse,
  encodeServerPacket,
} from '../../wire/metadata-codec.ts'
import { metadataErrorNumbers, metadataLimits } from '../../wire/metadata-messages.ts'
import type {
  ClientPacket,
  ConnectRequest,
  ConnectResponse,
  GoodbyeReason,
  MetadataResult,
} from '../../wire/metadata-messages.ts'
import type { WatchEvent } from '../contract.ts'
import type { MetadataServerLimits } from './limits.ts'

export type RequestPacket = ClientPacket & { type: 'request' }

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly limits: MetadataServerLimits
  readonly timers: Timers
  /**
   * Opens or resumes a session and binds it to the connection. A status other than `ok` refuses.
   */
  connect(connection: ServerConnection, request: ConnectRequest): Promise<ConnectResponse>
  /** False when the session has expired. */
  heard(sessionId: bigint): boolean
  /**
   * Resolves when nobody else serves the sessions: what the client counts its lease from was then
   * heard by the one who judges it.
   */
  confirm(): Promise<void>
  /** Never rejects: errors are results. */
  execute(packet: RequestPacket, connection: ServerConnection): Promise<MetadataResult>
  zxid(): number
  closed(connection: ServerConnection): void
}

interface Slot {
  readonly packet: RequestPacket
  readonly bytes: number
  readonly write: boolean
  result: MetadataResult | undefined
  /** Of the watch that this read lays: they wait for its answer (I1). */
  readonly events: Buffer[]
}

type State =
  | { readonly type: 'greeting'; readonly timer: Timer }
  | { readonly type: 'connecting' }
  | { readonly type: 'open'; readonly sessionId: bigint }
  | { readonly type: 'closed' }

const writes: ReadonlySet<string> = new Set(['create', 'set', 'delete', 'multi', 'closeSession'])

export class ServerConnection {
  readonly #host: ConnectionHost
  readonly #connection: Connection
  readonly #reader = new FrameReader({ maxFrameBytes: metadataLimits.frameBytes + 4 })
  /** In the order of their arrival; the first `#started` run or have run. */
  readonly #slots: Slot[] = []
  readonly #watches = new Map<number, () => void>()
  #state: State
  #started = 0
  #running = 0
  #runningWrites = false
  #heldBytes = 0
  #paused = false
  /** The last ping that came while one is being answered. */
  #ping: number | undefined

  constructor(host: ConnectionHost, connection: Connection) {
    this.#host = host
    this.#connection = connection
    const timer = host.timers.after(host.limits.greetingMs, () => this.destroy())
    this.#state = { type: 'greeting', timer }
  }

  get sessionId(): bigint | undefined {
    return this.#state.type === 'open' ? this.#state.sessionId : undefined
  }

  /** Takes the connection over, with the bytes that were read of it already: at least the magic. */
  start(firstChunk: Buffer): void {
    this.#connection.start({
      data: (chunk) => this.#data(chunk),
      drain: () => this.#proceed(),
      close: () => this.#closed(),
    })
    // Before the first packet is complete nobody has shown who he is: it may not be long.
    if (firstChunk.readUInt32BE(0) > metadataLimits.connectBytes) this.destroy()
    else this.#data(firstChunk)
  }

  /** Ends the connection behind a last packet that says why. */
  goodbye(reason: GoodbyeReason, message: string): void {
    if (this.#state.type === 'open') {
      this.#connection.write(encodeServerPacket({ type: 'goodbye', reason, message }))
      this.#connection.end()
      this.#closed()
    } else {
      this.destroy()
    }
  }

  destroy(): void {
    this.#connection.destroy()
    this.#closed()
  }

  /**
   * Takes the place of a watch, or says that there is none left. `cancel` is set once the tree has
   * laid it.
   */
  get watchesLeft(): number {
    return this.#host.limits.watches - this.#watches.size
  }

  /**
   * Remembers how to take a watch back when the connection ends. One that ended already is taken
   * back at once.
   */
  laid(watchId: number, cancel: () => void): void {
    if (this.#state.type === 'closed') cancel()
    else this.#watches.set(watchId, cancel)
  }

  /** The client wants to hear no more of it. */
  remove(watchId: number): void {
    this.#watches.get(watchId)?.()
    this.#watches.delete(watchId)
  }

  /** Sends the event of a watch, in its place among the answers (I1). `isLast`: none follows. */
  fire(watchId: number, event: WatchEvent, isLast: boolean): void {
    if (isLast) this.#watches.delete(watchId)
    if (this.#state.type !== 'open' || event.type === 'session') return
    const { type, path } = event
    const frame = encodeServerPacket({ type: 'event', watchId, event: type, path })
    const slot = this.#slots.find(({ packet }) => packet.requestId === watchId)
    if (slot) slot.events.push(frame)
    else this.#connection.write(frame)
  }

  #data(chunk: Buffer): void {
    if (this.#state.type === 'closed') return
    const problem = this.#reader.push(chunk, this.#onFrame)
    if (problem) this.goodbye('protocol', problem.message)
    else this.#proceed()
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    if (this.#state.type === 'closed') return
    try {
      this.#frame(bytes.subarray(start, end))
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_BAD_FRAME')) throw error
      this.goodbye('protocol', messageOf(error))
    }
  }

  #frame(payload: Buffer): void {
    if (this.#state.type === 'greeting') {
      this.#state.timer.cancel()
      const request = decodeConnectRequest(payload)
      this.#state = { type: 'connecting' }
      void this.#greet(request)
      return
    }
    if (this.#state.type !== 'open') {
      throw new QuireError('QUIRE_BAD_FRAME', 'a request before the session was granted')
    }
    const packet = decodeClientPacket(payload)
    if (!this.#host.heard(this.#state.sessionId)) {
      this.goodbye('expired', 'the session has expired')
    } else if (packet.type === 'ping') {
      this.#pinged(packet.number)
    } else if (packet.type === 'request') {
      this.#admit(packet, payload.length)
    }
  }

  /** The last one is answered: with it all before it. */
  #pinged(number: number): void {
    const isAsking = this.#ping !== undefined
    this.#ping = number
    if (!isAsking) void this.#pong(number)
  }

  async #pong(number: number): Promise<void> {
    try {
      await this.#host.confirm()
    } catch {
      // Whoever cannot confirm it is silent, and the client looks for another.
      this.#ping = undefined
      return
    }
    const last = this.#ping
    this.#ping = undefined
    if (this.#state.type !== 'open') return
    this.#connection.write(encodeServerPacket({ type: 'pong', number }))
    if (last !== undefined && last !== number) this.#pinged(last)
  }

  async #greet(request: ConnectRequest): Promise<void> {
    const response = await this.#host.connect(this, request)
    if (this.#state.type !== 'connecting') return
    this.#connection.write(encodeConnectResponse(response))
    if (response.status === 'ok') {
      this.#state = { type: 'open', sessionId: response.sessionId }
    } else {
      this.#connection.end()
      this.#closed()
    }
  }

  #admit(packet: RequestPacket, bytes: number): void {
    const write = writes.has(packet.request.type)
    this.#slots.push({ packet, bytes, write, result: undefined, events: [] })
    this.#heldBytes += bytes
  }

  /** Starts what may start, and reads on or stops reading (I3). */
  #proceed(): void {
    if (this.#state.type !== 'open') return
    for (let slot = this.#next(); slot; slot = this.#next()) void this.#run(slot)
    const { inFlight, inputBytes, outputBytes } = this.#host.limits
    const full =
      this.#slots.length >= inFlight ||
      this.#heldBytes >= inputBytes ||
      this.#connection.queuedBytes >= outputBytes
    if (full === this.#paused) return
    this.#paused = full
    if (full) this.#connection.pause()
    else this.#connection.resume()
  }

  #next(): Slot | undefined {
    const slot = this.#slots[this.#started]
    if (!slot || this.#running >= this.#host.limits.running) return undefined
    if (this.#running > 0 && slot.write !== this.#runningWrites) return undefined
    return this.#connection.queuedBytes < this.#host.limits.outputBytes ? slot : undefined
  }

  async #run(slot: Slot): Promise<void> {
    this.#started++
    this.#running++
    this.#runningWrites = slot.write
    const result = await this.#host.execute(slot.packet, this)
    this.#running--
    slot.result = result
    if (this.#state.type !== 'open') return
    this.#answer()
    this.#proceed()
  }

  #answer(): void {
    this.#connection.cork()
    for (let slot = this.#slots[0]; slot?.result; slot = this.#slots[0]) {
      this.#slots.shift()
      this.#started--
      this.#heldBytes -= slot.bytes
      this.#connection.write(this.#answerFrame(slot.packet.requestId, slot.result))
      for (const event of slot.events) this.#connection.write(event)
      if (slot.result.type === 'closeSession') {
        this.#connection.uncork()
        this.#connection.end()
        this.#closed()
        return
      }
    }
    this.#connection.uncork()
  }

  #answerFrame(requestId: number, result: MetadataResult): Buffer {
    const zxid = this.#host.zxid()
    const frame = encodeServerPacket({ type: 'answer', requestId, zxid, result })
    if (frame.length - 4 <= metadataLimits.frameBytes) return frame
    const tooLarge: MetadataResult = {
      type: 'error',
      code: metadataErrorNumbers.QUIRE_FRAME_TOO_LARGE,
      message: `the answer has ${frame.length} bytes, more than the protocol carries`,
      path: undefined,
      index: undefined,
    }
    return encodeServerPacket({ type: 'answer', requestId, zxid, result: tooLarge })
  }

  #closed(): void {
    const state = this.#state
    if (state.type === 'closed') return
    if (state.type === 'greeting') state.timer.cancel()
    this.#state = { type: 'closed' }
    for (const cancel of this.#watches.values()) cancel()
    this.#watches.clear()
    this.#slots.length = 0
    this.#host.closed(this)
  }
}
