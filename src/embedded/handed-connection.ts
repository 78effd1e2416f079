// The application's end of connections that the node's thread accepted: each looks like any other.

import { QuireError } from '../errors.ts'
import type { Address, Connection, ConnectionHandler } from '../io/index.ts'
import { alone, type HandedDown, type HandedUp } from './node/handed-connections.ts'

export type AcceptHanded = (connection: Connection, firstChunk: Buffer) => void

const highWaterBytes = 262_144

export class HandedPort {
  readonly #post: (event: HandedDown) => void
  readonly #open = new Map<number, HandedConnection>()
  #accept: AcceptHanded | undefined

  constructor(post: (event: HandedDown) => void) {
    this.#post = post
  }

  /** Who serves them. Before this is known they are ended. */
  serve(accept: AcceptHanded): void {
    this.#accept = accept
  }

  receive(event: HandedUp): void {
    const { id } = event
    if (event.type === 'opened') {
      if (this.#accept === undefined) return this.#post({ type: 'destroy', id })
      const connection = new HandedConnection(id, event.remote, this.#post)
      this.#open.set(id, connection)
      this.#accept(connection, connection.took(event.bytes))
      return
    }
    const connection = this.#open.get(id)
    if (event.type === 'data') connection?.arrived(event.bytes)
    else if (event.type === 'flushed') connection?.flushed(event.count)
    else {
      this.#open.delete(id)
      connection?.closed()
    }
  }

  /** The node's thread has ended: so have they. */
  close(): void {
    for (const connection of this.#open.values()) connection.closed()
    this.#open.clear()
  }
}

type Flushed = (error?: Error | null) => void

class HandedConnection implements Connection {
  readonly remote: Address
  readonly #id: number
  readonly #post: (event: HandedDown) => void
  /** Written, and not flushed yet: in order. */
  readonly #writes: { readonly count: number; readonly flushed: Flushed | undefined }[] = []
  #arrived: Uint8Array[] = []
  /** Written since `cork`. */
  #corked: Uint8Array[] | undefined
  #handler: ConnectionHandler | undefined
  #isPaused = false
  #isEnding = false
  #isClosed = false
  #needsDrain = false
  queuedBytes = 0

  constructor(id: number, remote: Address, post: (event: HandedDown) => void) {
    this.#id = id
    this.remote = remote
    this.#post = post
  }

  start(handler: ConnectionHandler): void {
    this.#handler = handler
    this.#deliver()
  }

  write(bytes: Uint8Array, flushed?: Flushed): boolean {
    if (this.#isClosed || this.#isEnding) return false
    this.#writes.push({ count: bytes.length, flushed })
    this.queuedBytes += bytes.length
    if (this.#corked) this.#corked.push(bytes)
    else this.#post({ type: 'write', id: this.#id, bytes: alone(bytes) })
    this.#needsDrain ||= this.queuedBytes >= highWaterBytes
    return !this.#needsDrain
  }

  cork(): void {
    this.#corked ??= []
  }

  uncork(): void {
    const corked = this.#corked ?? []
    this.#corked = undefined
    if (corked.length > 0 && !this.#isClosed) {
      this.#post({ type: 'write', id: this.#id, bytes: alone(Buffer.concat(corked)) })
    }
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.#deliver()
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return
    this.uncork()
    this.#isEnding = true
    this.#post({ type: 'end', id: this.#id })
  }

  destroy(): void {
    if (this.#isClosed) return
    this.#post({ type: 'destroy', id: this.#id })
    this.closed()
  }

  took(bytes: Uint8Array): Buffer {
    this.#post({ type: 'taken', id: this.#id, count: bytes.length })
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  arrived(bytes: Uint8Array): void {
    if (this.#isClosed) return
    this.#arrived.push(bytes)
    this.#deliver()
  }

  flushed(count: number): void {
    let left = count
    for (let first = this.#writes[0]; first && left >= first.count; first = this.#writes[0]) {
      left -= first.count
      this.#writes.shift()
      this.queuedBytes -= first.count
      first.flushed?.()
    }
    if (!this.#needsDrain || this.queuedBytes >= highWaterBytes / 2) return
    this.#needsDrain = false
    this.#handler?.drain()
  }

  closed(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#arrived = []
    for (const { flushed } of this.#writes.splice(0)) flushed?.(ended())
    this.#handler?.close(undefined)
  }

  #deliver(): void {
    while (this.#handler && !this.#isPaused && !this.#isClosed) {
      const bytes = this.#arrived.shift()
      if (bytes === undefined) return
      this.#handler.data(this.took(bytes))
    }
  }
}

function ended(): QuireError {
  return new QuireError('QUIRE_CONNECTION_LOST', 'the connection has ended')
}
