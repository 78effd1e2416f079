// The connections of a group: each node sends over one that it made itself, and answers over its
// own. What cannot be sent now is dropped: a core asks again.
//
// I1. A message is taken only over a connection whose first frame named this cluster, this node and
//     a sender; and only from the latest start of that sender that was heard of (F3.80).

import { QuireError, messageOf } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { Address, Connection, Network } from '../../io/network.ts'
import type { Clock, Timer, Timers } from '../../io/time.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import {
  decodePeerFrame,
  decodePeerHello,
  decodePeerWelcome,
  encodePeerFrame,
  encodePeerHello,
  encodePeerWelcome,
  peerLimits,
  peerSeed,
  peerVersion,
} from '../../wire/peer-frames.ts'
import type { PeerHello, PeerStatus } from '../../wire/peer-frames.ts'
import type { Message } from './core/messages.ts'
import type { NodeId } from './core/types.ts'
import { decodeMessage, encodeMessage } from './message-codec.ts'
import type { Identity } from './stored.ts'

export interface PeersParts {
  readonly identity: Identity
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly logger: Logger
  readonly addresses: Addresses
  readonly receive: (message: Message) => void
}

/** Where the members of a group are. */
export interface Addresses {
  /** Of this node itself: told to the others, so that it may move. Undefined: not told. */
  readonly own: Address | undefined
  /** Where a node is thought to be; undefined: nobody knows. */
  of(id: NodeId): Address | undefined
  /** A node said where it is. */
  heard(id: NodeId, address: Address): void
  /** It is not where it was thought to be, or it is not known where it is. */
  missed(id: NodeId): void
}

/** `refusedMs`: until a peer that takes another secret, or none, is tried again. */
const times = { connectMs: 2000, retryMs: 250, refusedMs: 5000, silenceMs: 3000 } as const
/** Bytes queued to one peer: beyond it messages are dropped. */
const queuedBytesMax = 8_388_608

export class Peers {
  readonly #parts: PeersParts
  readonly #outgoing = new Map<NodeId, Outgoing>()
  /** Kept when the connection ends: an older incarnation is not heard any more. */
  readonly #incoming = new Map<NodeId, { connection: Connection; incarnation: number }>()
  readonly #undecided = new Set<Connection>()
  /** Undefined: nobody has said yet. */
  #wanted: ReadonlySet<NodeId> | undefined
  #closed = false

  constructor(parts: PeersParts) {
    this.#parts = parts
  }

  /** Whom to be connected with. */
  members(ids: Iterable<NodeId>): void {
    const wanted = new Set(ids)
    wanted.delete(this.#parts.identity.id)
    this.#wanted = wanted
    for (const [id, outgoing] of this.#outgoing) {
      if (wanted.has(id)) continue
      outgoing.close()
      this.#outgoing.delete(id)
    }
    for (const id of wanted) this.#to(id)
  }

  send(message: Message): void {
    if (!this.#closed) this.#to(message.to).send(message)
  }

  /** Takes over a connection that began with a peer's hello. */
  accept(connection: Connection, firstChunk: Buffer): void {
    if (this.#closed) {
      connection.destroy()
      return
    }
    this.#undecided.add(connection)
    const reader = new FrameReader({ maxFrameBytes: peerLimits.helloBytes })
    let sender: { hello: PeerHello; seed: number; frames: FrameReader } | undefined
    const data = (chunk: Buffer): void => {
      if (sender) return this.#take(connection, sender, chunk)
      const problem = reader.push(chunk, (bytes, start, end) => {
        // Nobody speaks before he is welcome: one frame, and no more.
        if (sender) connection.destroy()
        else sender = this.#greet(connection, bytes.subarray(start, end))
      })
      if (problem) connection.destroy()
    }
    connection.start({
      data,
      drain() {},
      close: () => void this.#undecided.delete(connection),
    })
    data(firstChunk)
  }

  close(): void {
    this.#closed = true
    for (const outgoing of this.#outgoing.values()) outgoing.close()
    for (const { connection } of this.#incoming.values()) connection.destroy()
    for (const connection of this.#undecided) connection.destroy()
  }

  #to(id: NodeId): Outgoing {
    let outgoing = this.#outgoing.get(id)
    if (!outgoing) {
      const isWanted = (): boolean => this.#keeps(id)
      outgoing = new Outgoing(this.#parts, { id, isWanted })
      this.#outgoing.set(id, outgoing)
      outgoing.begin()
    }
    return outgoing
  }

  /**
   * Whoever is no member is answered, over a connection that is not made again: one that was
   * removed learns it so.
   */
  #keeps(id: NodeId): boolean {
    if (this.#wanted === undefined || this.#wanted.has(id)) return true
    this.#outgoing.get(id)?.close()
    this.#outgoing.delete(id)
    return false
  }

  #greet(
    connection: Connection,
    payload: Buffer,
  ): { hello: PeerHello; seed: number; frames: FrameReader } | undefined {
    try {
      const hello = decodePeerHello(payload)
      const status = this.#statusFor(hello)
      const message = status === 'ok' ? '' : refusalText(status, hello)
      connection.write(encodePeerWelcome({ version: peerVersion, status, message }))
      if (status !== 'ok') {
        this.#parts.logger.warn({ from: hello.from, status }, message)
        connection.end()
        return undefined
      }
      this.#incoming.get(hello.from)?.connection.destroy()
      this.#incoming.set(hello.from, { connection, incarnation: hello.incarnation })
      this.#undecided.delete(connection)
      const { host, port } = hello
      if (host !== '') this.#parts.addresses.heard(hello.from, { host, port })
      const frames = new FrameReader({ maxFrameBytes: peerLimits.frameBytes })
      return { hello, seed: peerSeed(payload), frames }
    } catch (error) {
      this.#refuse(connection, error)
      return undefined
    }
  }

  /** I1. */
  #statusFor(hello: PeerHello): PeerStatus {
    const { clusterId, id } = this.#parts.identity
    if (hello.version >> 8 !== peerVersion >> 8) return 'version'
    if (hello.clusterId !== clusterId) return 'cluster'
    if (hello.to !== id || hello.from === id) return 'node'
    const known = this.#incoming.get(hello.from)?.incarnation ?? 0
    return hello.incarnation < known ? 'incarnation' : 'ok'
  }

  #take(
    connection: Connection,
    sender: { hello: PeerHello; seed: number; frames: FrameReader },
    chunk: Buffer,
  ): void {
    const ends = { from: sender.hello.from, to: sender.hello.to }
    try {
      const problem = sender.frames.push(chunk, (bytes, start, end) => {
        const body = decodePeerFrame(bytes.subarray(start, end), sender.seed)
        const message = decodeMessage(body, ends)
        this.#outgoing.get(ends.from)?.heard()
        if (message) this.#parts.receive(message)
      })
      if (problem) throw new QuireError(problem.code, problem.message)
    } catch (error) {
      this.#refuse(connection, error)
    }
  }

  #refuse(connection: Connection, error: unknown): void {
    this.#parts.logger.warn({ err: error }, 'a peer of the metadata sent what cannot be read')
    connection.destroy()
  }
}

function refusalText(status: PeerStatus, { clusterId, to, from }: PeerHello): string {
  switch (status) {
    case 'version':
      return 'this node does not speak that version of the peer protocol'
    case 'cluster':
      return `this node does not belong to the cluster ${clusterId}`
    case 'node':
      return `this node is not ${to}`
    case 'incarnation':
      return `${from} has been started again since`
    case 'ok':
    case 'unwelcome':
    case 'unauthorized':
      break
  }
  return `${from} is not heard here`
}

/** The connection to one peer, made again whenever it ended. */
class Outgoing {
  readonly #parts: PeersParts
  readonly #id: NodeId
  readonly #isWanted: () => boolean
  #connection: Connection | undefined
  #seed: number | undefined
  #retry: Timer | undefined
  #isConnecting = false
  /** For want of the secret that the peer has. */
  #isRefused = false
  #closed = false
  /** Since when something was sent and nothing came from there. */
  #silentSinceMs: number | undefined

  constructor(parts: PeersParts, to: { id: NodeId; isWanted: () => boolean }) {
    this.#parts = parts
    this.#id = to.id
    this.#isWanted = to.isWanted
  }

  begin(): void {
    void this.#connect()
  }

  send(message: Message): void {
    const connection = this.#connection
    if (!connection || this.#seed === undefined) return
    const nowMs = this.#parts.clock.monotonicMs()
    // A system may hold on for minutes to a connection that leads nowhere any more.
    if (nowMs - (this.#silentSinceMs ??= nowMs) > times.silenceMs) return connection.destroy()
    if (connection.queuedBytes > queuedBytesMax) return
    connection.write(encodePeerFrame(encodeMessage(message), this.#seed))
  }

  /** Whatever came from there, on whichever connection. */
  heard(): void {
    this.#silentSinceMs = undefined
  }

  close(): void {
    this.#closed = true
    this.#retry?.cancel()
    this.#connection?.destroy()
  }

  async #connect(): Promise<void> {
    const { network, addresses } = this.#parts
    const address = addresses.of(this.#id)
    if (this.#isConnecting || this.#closed) return
    if (!address) return this.#missed()
    this.#isConnecting = true
    try {
      const connection = await network.connect(address, { timeoutMs: times.connectMs })
      if (this.#closed) connection.destroy()
      else this.#begin(connection)
    } catch (error) {
      const isRefused = QuireError.is(error, 'QUIRE_UNAUTHORIZED')
      const level = isRefused ? 'warn' : 'debug'
      this.#parts.logger[level]({ to: this.#id }, `no connection to a peer: ${messageOf(error)}`)
      if (!isRefused) this.#parts.addresses.missed(this.#id)
      this.#again(isRefused ? times.refusedMs : times.retryMs)
    }
    this.#isConnecting = false
  }

  #begin(connection: Connection): void {
    const { clusterId, id, incarnation } = this.#parts.identity
    const { host = '', port = 0 } = this.#parts.addresses.own ?? {}
    const ends = { from: id, to: this.#id }
    const hello = { version: peerVersion, clusterId, ...ends, incarnation, host, port }
    const frame = encodePeerHello(hello)
    const reader = new FrameReader({ maxFrameBytes: peerLimits.helloBytes })
    this.#connection = connection
    this.#silentSinceMs = undefined
    connection.start({
      data: (chunk) => {
        const problem = reader.push(chunk, (bytes, start, end) => {
          this.#welcomed(connection, { frame, payload: bytes.subarray(start, end) })
        })
        if (problem) connection.destroy()
      },
      drain() {},
      close: () => {
        if (this.#connection !== connection) return
        this.#connection = undefined
        this.#seed = undefined
        this.#again(this.#isRefused ? times.refusedMs : times.retryMs)
      },
    })
    connection.write(frame)
  }

  #welcomed(connection: Connection, said: { frame: Buffer; payload: Buffer }): void {
    try {
      const { status, message } = decodePeerWelcome(said.payload)
      this.#isRefused = status === 'unauthorized'
      if (status === 'ok') {
        this.#seed = peerSeed(said.frame.subarray(4))
        return
      }
      this.#parts.logger.warn(
        { to: this.#id, status },
        `a peer does not hear this node: ${message}`,
      )
      if (status === 'node') this.#parts.addresses.missed(this.#id)
    } catch (error) {
      this.#parts.logger.warn({ err: error, to: this.#id }, 'a peer answered what cannot be read')
    }
    connection.destroy()
  }

  #missed(): void {
    this.#parts.addresses.missed(this.#id)
    this.#again()
  }

  #again(afterMs: number = times.retryMs): void {
    if (this.#closed || !this.#isWanted()) return
    this.#retry?.cancel()
    this.#retry = this.#parts.timers.after(afterMs, () => void this.#connect())
  }
}
