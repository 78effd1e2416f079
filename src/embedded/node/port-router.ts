// One port, several protocols: the first packet of a connection tells which. Those of our own begin
// with a magic behind their frame length; everything else is left to the bookie, which tells V3
// from V2 as BookKeeper does.
//
// Where there is a secret, nothing of our own is served on a connection before both ends have
// proved that they know it (docs/format/authentication.md); the bookie asks for it itself, as
// BookKeeper does.
import { messageOf } from '../../errors.ts'
import type { Connection, ConnectionHandler, Io, Logger, Timer } from '../../io/index.ts'
import { authenticationLimits, authenticationMagic, frameOf } from '../../wire/authentication.ts'
import { FrameReader, maxFrameBytesDefault } from '../../wire/frame-reader.ts'
import { refuse, ServerHandshake, type SharedSecret } from '../../wire/handshake.ts'
import { forwardMagic } from '../../wire/forward-messages.ts'
import { inquiryMagic } from '../../wire/inquiry-codec.ts'
import { encodeConnectResponse } from '../../wire/metadata-codec.ts'
import { metadataMagic, metadataVersion } from '../../wire/metadata-messages.ts'
import { encodePeerWelcome, peerMagic, peerVersion } from '../../wire/peer-frames.ts'

/** Takes over a connection together with the bytes that were read from it already. */
export type Accept = (connection: Connection, firstChunk: Buffer) => void

/** A protocol that is not served here ends the connection. */
export interface PortRoutes {
  readonly metadata?: Accept | undefined
  readonly peers?: Accept | undefined
  readonly inquiry?: Accept | undefined
  /** For the owners of logs. */
  readonly forward?: Accept | undefined
  readonly bookie?: Accept | undefined
}

export interface PortRouterParts {
  readonly routes?: PortRoutes | undefined
  readonly io: Pick<Io, 'random' | 'timers'>
  readonly logger: Logger
  readonly secret?: SharedSecret | undefined
}

type Protocol = keyof PortRoutes | 'authentication'

const magics: readonly (readonly [string, Protocol])[] = [
  [authenticationMagic, 'authentication'],
  [metadataMagic, 'metadata'],
  [peerMagic, 'peers'],
  [inquiryMagic, 'inquiry'],
  [forwardMagic, 'forward'],
]
const lengthBytes = 4
const magicBytes = 4

/** Connections that have not authenticated themselves: beyond it, the oldest goes. */
const strangersMax = 1024

/** How a protocol says no, where it has a word for it. */
const refusals: Partial<Record<Protocol, (message: string) => Buffer>> = {
  metadata: (message) =>
    encodeConnectResponse({
      version: metadataVersion,
      status: 'unauthorized',
      message,
      sessionId: 0n,
      password: new Uint8Array(0),
      timeoutMs: 0,
      zxid: 0,
      instanceId: '',
    }),
  peers: (message) => encodePeerWelcome({ version: peerVersion, status: 'unauthorized', message }),
}
const needsSecret =
  'this node has a secret: give the same one, as the option secret or in QUIRE_SECRET'

export class PortRouter {
  readonly parts: PortRouterParts
  /** That have not said yet what they want: nobody else knows of them. */
  readonly #undecided = new Set<Arrival>()
  /** Of those, the ones that have to authenticate themselves, in the order of their arrival. */
  readonly #strangers = new Set<Arrival>()
  #routes: PortRoutes

  constructor(parts: PortRouterParts) {
    this.parts = parts
    this.#routes = parts.routes ?? {}
  }

  get routes(): PortRoutes {
    return this.#routes
  }

  /** From now on these too. */
  serve(routes: PortRoutes): void {
    this.#routes = { ...this.#routes, ...routes }
  }

  accept(connection: Connection): void {
    const arrival = new Arrival(this, connection)
    this.#undecided.add(arrival)
    if (this.parts.secret !== undefined) this.#strangers.add(arrival)
    const [oldest] = this.#strangers
    if (this.#strangers.size > strangersMax) oldest?.end()
    connection.start(arrival)
  }

  known(arrival: Arrival): void {
    this.#strangers.delete(arrival)
  }

  gone(arrival: Arrival): void {
    this.#strangers.delete(arrival)
    this.#undecided.delete(arrival)
  }

  /** Ends what has not found its way yet. */
  close(): void {
    for (const arrival of this.#undecided) arrival.end()
  }
}

class Arrival implements ConnectionHandler {
  readonly #router: PortRouter
  readonly #connection: Connection
  readonly #timer: Timer | undefined
  #bytes: Buffer = Buffer.alloc(0)
  #exchange: { readonly handshake: ServerHandshake; readonly reader: FrameReader } | undefined
  #isKnown = false
  #isOver = false

  constructor(router: PortRouter, connection: Connection) {
    this.#router = router
    this.#connection = connection
    const { secret, io } = router.parts
    const { withinMs } = authenticationLimits
    this.#timer = secret && io.timers.after(withinMs, () => this.end())
  }

  data(chunk: Buffer): void {
    if (this.#isOver) return
    if (this.#exchange) {
      this.#shake(chunk)
      return
    }
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk])
    const protocol = protocolOf(this.#bytes)
    if (protocol !== undefined) this.#decided(protocol)
  }

  drain(): void {
    // The few bytes that leave from here make nobody wait.
  }

  close(): void {
    this.#isOver = true
    this.#timer?.cancel()
    this.#router.gone(this)
  }

  end(): void {
    this.#connection.destroy()
    this.close()
  }

  #decided(protocol: Protocol): void {
    const bytes = this.#bytes
    const { routes } = this.#router
    const { secret } = this.#router.parts
    this.#bytes = Buffer.alloc(0)
    if (protocol === 'authentication') this.#begin(bytes)
    else if (secret && !this.#isKnown && protocol !== 'bookie') this.#refuse(protocol)
    else this.#hand(routes[protocol], bytes)
  }

  #hand(accept: Accept | undefined, bytes: Buffer): void {
    this.close()
    if (accept) accept(this.#connection, bytes)
    else this.#connection.destroy()
  }

  #begin(bytes: Buffer): void {
    const { secret, io } = this.#router.parts
    if (this.#isKnown) {
      this.end()
    } else if (secret) {
      const nonce = io.random.bytes(authenticationLimits.nonceBytes)
      const reader = new FrameReader({ maxFrameBytes: authenticationLimits.messageBytes + 4 })
      this.#exchange = { handshake: new ServerHandshake({ secret, nonce }), reader }
      this.#shake(bytes)
    } else {
      const { reply, refusal } = refuse('noSecret')
      this.#lastWord(frameOf(reply), refusal)
    }
  }

  #shake(chunk: Buffer): void {
    const exchange = this.#exchange
    const problem = exchange?.reader.push(chunk, this.#onFrame)
    // Whoever comes waits for the last word before it speaks on.
    const isTooMuch = exchange?.handshake.isDone && exchange.reader.bufferedBytes > 0
    if (problem || isTooMuch) this.#garbage(problem?.message ?? 'more than an authentication')
    if (this.#isOver || !exchange?.handshake.isDone) return
    this.#exchange = undefined
    this.#isKnown = true
    this.#timer?.cancel()
    this.#router.known(this)
  }

  readonly #onFrame = (bytes: Buffer, start: number, end: number): void => {
    if (this.#isOver) return
    try {
      const step = this.#exchange?.handshake.take(bytes.subarray(start, end))
      if (step?.refusal !== undefined) this.#lastWord(frameOf(step.reply), step.refusal)
      else if (step) this.#connection.write(frameOf(step.reply))
    } catch (error) {
      this.#garbage(messageOf(error))
    }
  }

  #refuse(protocol: Protocol): void {
    const refusal = refusals[protocol]
    if (refusal) this.#lastWord(refusal(needsSecret), needsSecret)
    else this.#garbage(needsSecret)
  }

  /** It stays here until the other end has heard it, or its time is over. */
  #lastWord(frame: Buffer, why: string | undefined): void {
    this.#warn(why)
    this.#isOver = true
    this.#connection.write(frame)
    this.#connection.end()
  }

  #garbage(what: string): void {
    this.#warn(what)
    this.end()
  }

  #warn(why: string | undefined): void {
    const { remote } = this.#connection
    this.#router.parts.logger.warn({ remote, why }, 'a connection was refused')
  }
}

/** Undefined: too few bytes to tell. Never asks for more than eight. */
function protocolOf(bytes: Buffer): Protocol | undefined {
  if (bytes.length < lengthBytes) return undefined
  const length = bytes.readUInt32BE(0)
  // No packet follows such a length: the bookie ends the connection at once.
  if (length === 0 || length + lengthBytes > maxFrameBytesDefault) return 'bookie'
  const start = bytes.toString('latin1', lengthBytes, lengthBytes + magicBytes)
  const found = magics.find(([magic]) => magic.startsWith(start))
  if (found === undefined) return 'bookie'
  return start.length < magicBytes ? undefined : found[1]
}
