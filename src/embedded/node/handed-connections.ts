// Connections that the node's thread accepts and the application's thread serves: their bytes go
// over as messages, in both directions, and what is under way is bounded by counting.

import type { Address, Connection } from '../../io/index.ts'

/** From the node's thread to the application's. */
export type HandedUp =
  | {
      readonly type: 'opened'
      readonly id: number
      readonly remote: Address
      readonly bytes: Uint8Array
    }
  | { readonly type: 'data'; readonly id: number; readonly bytes: Uint8Array }
  /** So many bytes have left. */
  | { readonly type: 'flushed'; readonly id: number; readonly count: number }
  | { readonly type: 'closed'; readonly id: number }

/** And back. */
export type HandedDown =
  | { readonly type: 'write'; readonly id: number; readonly bytes: Uint8Array }
  /** So many bytes were taken. */
  | { readonly type: 'taken'; readonly id: number; readonly count: number }
  | { readonly type: 'end'; readonly id: number }
  | { readonly type: 'destroy'; readonly id: number }

export const handedLimits = {
  connections: 256,
  /** Bytes under way to the application's thread, beyond which nothing more is read. */
  untakenBytes: 1_048_576,
} as const

interface Handed {
  readonly connection: Connection
  untakenBytes: number
  isPaused: boolean
}

export class HandedConnections {
  readonly #post: (event: HandedUp) => void
  readonly #open = new Map<number, Handed>()
  #lastId = 0

  constructor(post: (event: HandedUp) => void) {
    this.#post = post
  }

  readonly accept = (connection: Connection, firstChunk: Buffer): void => {
    if (this.#open.size >= handedLimits.connections) {
      connection.destroy()
      return
    }
    const id = ++this.#lastId
    const handed = { connection, untakenBytes: firstChunk.length, isPaused: false }
    this.#open.set(id, handed)
    connection.start({
      data: (chunk) => this.#data(id, handed, chunk),
      drain() {},
      close: () => {
        if (this.#open.delete(id)) this.#post({ type: 'closed', id })
      },
    })
    this.#post({ type: 'opened', id, remote: connection.remote, bytes: alone(firstChunk) })
  }

  /** What the application's thread says. */
  receive(event: HandedDown): void {
    const handed = this.#open.get(event.id)
    // It ended while this was on its way.
    if (!handed) return
    const { connection } = handed
    if (event.type === 'write') {
      const count = event.bytes.length
      connection.write(event.bytes, () => this.#flushed({ id: event.id, count }))
    } else if (event.type === 'taken') {
      handed.untakenBytes -= event.count
      if (handed.isPaused && handed.untakenBytes < handedLimits.untakenBytes / 2) {
        handed.isPaused = false
        connection.resume()
      }
    } else if (event.type === 'end') connection.end()
    else connection.destroy()
  }

  close(): void {
    for (const { connection } of this.#open.values()) connection.destroy()
  }

  #data(id: number, handed: Handed, chunk: Buffer): void {
    handed.untakenBytes += chunk.length
    this.#post({ type: 'data', id, bytes: alone(chunk) })
    if (handed.isPaused || handed.untakenBytes < handedLimits.untakenBytes) return
    handed.isPaused = true
    handed.connection.pause()
  }

  #flushed(bytes: { id: number; count: number }): void {
    if (this.#open.has(bytes.id)) this.#post({ type: 'flushed', ...bytes })
  }
}

/** A copy with memory of its own: a message with a view would carry the whole buffer behind it. */
export function alone(bytes: Uint8Array): Uint8Array {
  return Uint8Array.from(bytes)
}
