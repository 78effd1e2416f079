// Connections between two ends in one process: in order, asynchronous, with faults that a test
// chooses. Addresses that nobody listens on refuse.

import { QuireError } from '../../src/errors.ts'
import type {
  Address,
  Connection,
  ConnectionHandler,
  Listener,
  Network,
} from '../../src/io/network.ts'

const nameOf = ({ host, port }: Address): string => `${host}:${port}`
const highWaterBytes = 65_536

/**
 * What a test may do to the bytes that one end sends: pass them, or end the connection before or
 * after they arrive.
 */
export type Tap = (end: MemoryEnd, bytes: Buffer) => 'pass' | 'swallow' | 'break'

export class MemoryNetwork implements Network {
  readonly #listeners = new Map<string, (connection: Connection) => void>()
  readonly open: Set<MemoryEnd> = new Set()
  tap: Tap = () => 'pass'
  /** New connections hang until they time out. */
  unreachable = false
  dialled = 0

  async listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    this.#listeners.set(nameOf(address), accept)
    return { address, close: async () => void this.#listeners.delete(nameOf(address)) }
  }

  async connect(
    address: Address,
    { signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<Connection> {
    this.dialled++
    const accept = this.#listeners.get(nameOf(address))
    if (this.unreachable) {
      await new Promise((resolve) => signal?.addEventListener('abort', resolve, { once: true }))
      throw new QuireError('QUIRE_ABORTED', 'aborted')
    }
    if (!accept) throw new QuireError('QUIRE_CONNECTION_LOST', `${nameOf(address)} refused`)
    const client = new MemoryEnd({ network: this, remote: address, side: 'client' })
    const server = new MemoryEnd({ network: this, remote: address, side: 'server' })
    client.join(server)
    server.join(client)
    accept(server)
    return client
  }

  /** Ends all connections as a cut cable does once it is noticed. */
  breakAll(): void {
    for (const end of this.open) end.destroy(new QuireError('QUIRE_CONNECTION_LOST', 'cut'))
  }
}

interface EndOptions {
  readonly network: MemoryNetwork
  readonly remote: Address
  readonly side: 'client' | 'server'
}

export class MemoryEnd implements Connection {
  readonly remote: Address
  readonly side: 'client' | 'server'
  readonly #network: MemoryNetwork
  #peer: MemoryEnd | undefined
  #handler: ConnectionHandler | undefined
  readonly #inbox: Buffer[] = []
  readonly #outbox: { bytes: Buffer; flushed: ((error?: Error | null) => void) | undefined }[] = []
  #paused = false
  #scheduled = false
  #ending = false
  #peerGone = false
  closed = false
  #onFirst: ((bytes: Buffer) => void) | undefined
  #needsDrain = false

  constructor({ network, remote, side }: EndOptions) {
    this.#network = network
    this.remote = remote
    this.side = side
    network.open.add(this)
  }

  join(peer: MemoryEnd): void {
    this.#peer = peer
  }

  isPeer(other: MemoryEnd): boolean {
    return this.#peer === other
  }

  /** Shows the first chunk that is sent. */
  onFirst(see: (bytes: Buffer) => void): void {
    this.#onFirst = see
  }

  get queuedBytes(): number {
    return this.#outbox.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  get paused(): boolean {
    return this.#paused
  }

  start(handler: ConnectionHandler): void {
    this.#handler = handler
    this.#wake()
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    if (this.closed || this.#ending) {
      setImmediate(() => flushed?.(new QuireError('QUIRE_CONNECTION_LOST', 'ended')))
      return false
    }
    const copy = Buffer.from(bytes)
    this.#onFirst?.(copy)
    this.#onFirst = undefined
    this.#outbox.push({ bytes: copy, flushed })
    this.#wake()
    this.#needsDrain = this.queuedBytes >= highWaterBytes
    return !this.#needsDrain
  }

  cork(): void {
    this.#wake()
  }

  uncork(): void {
    this.#wake()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#wake()
    this.#peer?.wakeUp()
  }

  end(): void {
    this.#ending = true
    this.#wake()
  }

  destroy(error?: Error): void {
    if (this.closed) return
    this.closed = true
    this.#network.open.delete(this)
    setImmediate(() => this.#handler?.close(error))
    const peer = this.#peer
    setImmediate(() => peer?.hear(error !== undefined))
  }

  /** The other end is gone: at once when it broke, behind what it sent when it ended. */
  hear(broken: boolean): void {
    this.#peerGone = true
    if (broken || this.#inbox.length === 0) this.destroy()
  }

  wakeUp(): void {
    this.#wake()
  }

  /** One write arrives in each turn of the loop. */
  #wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#step()
    })
  }

  #step(): void {
    if (this.closed) return
    const chunk = this.#handler && !this.#paused ? this.#inbox.shift() : undefined
    if (chunk) {
      this.#handler?.data(chunk)
      this.#peer?.wakeUp()
    }
    if (this.#peerGone && this.#inbox.length === 0) this.destroy()
    // A reader that does not take leaves the bytes with the sender: that is what pushes back.
    if (this.#peer && this.#peer.roomy()) this.#deliver()
    if (this.#inbox.length > 0 || (this.#outbox.length > 0 && this.#peer?.roomy())) this.#wake()
    if (this.#ending && this.#outbox.length === 0) this.destroy()
  }

  roomy(): boolean {
    return this.#inbox.length < 8
  }

  take(bytes: Buffer): void {
    this.#inbox.push(bytes)
    this.#wake()
  }

  #deliver(): void {
    const next = this.#outbox.shift()
    if (!next) return
    const verdict = this.#network.tap(this, next.bytes)
    if (verdict === 'pass') this.#peer?.take(next.bytes)
    next.flushed?.()
    if (verdict === 'break')
      this.destroy(new QuireError('QUIRE_CONNECTION_LOST', 'cut by the test'))
    if (this.#needsDrain && this.queuedBytes < highWaterBytes / 2) {
      this.#needsDrain = false
      this.#handler?.drain()
    }
  }
}
