// The client's end of a connection to a server under test: feeds bytes in any pieces, keeps what
// came back, and decides when what the server wrote counts as flushed.
import type { Address, Connection, ConnectionHandler } from '../../src/io/index.ts'
import type { BookieResponse } from '../../src/wire/bookie-messages.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'

/** A decoded answer with its bodies copied out. */
export interface Answer extends BookieResponse {
  readonly frame: Buffer
  readonly body: Buffer | undefined
  readonly second: Buffer | undefined
}

export class ClientEnd implements Connection {
  readonly remote: Address = { host: 'client', port: 1 }
  paused = false
  ended = false
  destroyed: Error | true | undefined
  /** What is written is not flushed, and `write` asks to wait. */
  choking = false
  /** Writes that the server made, one a call. */
  readonly writes: Buffer[] = []
  queuedBytes = 0
  #handler: ConnectionHandler | undefined
  readonly #unflushed: { bytes: Uint8Array; flushed: (() => void) | undefined }[] = []
  #answered = 0

  start(handler: ConnectionHandler): void {
    this.#handler = handler
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    if (this.destroyed !== undefined || this.ended) throw new Error('a write after the end')
    if (this.choking) {
      this.#unflushed.push({ bytes, flushed: flushed === undefined ? undefined : () => flushed() })
      this.queuedBytes += bytes.length
      return false
    }
    this.writes.push(Buffer.from(bytes))
    flushed?.()
    return true
  }

  /** Takes what was held back: its bytes as they are now, as a socket would. */
  flush(): void {
    this.choking = false
    for (const { bytes, flushed } of this.#unflushed.splice(0)) {
      this.writes.push(Buffer.from(bytes))
      flushed?.()
    }
    this.queuedBytes = 0
    this.#handler?.drain()
  }

  cork(): void {}

  uncork(): void {}

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
  }

  end(): void {
    this.ended = true
  }

  destroy(error?: Error): void {
    if (this.destroyed !== undefined) return
    this.destroyed = error ?? true
    this.#handler?.close(error)
  }

  // ---- the client's side

  send(...frames: Buffer[]): void {
    this.#handler?.data(Buffer.concat(frames))
  }

  /** Sends the same bytes in pieces of the given sizes, over and over. */
  sendIn(sizes: readonly number[], bytes: Buffer): void {
    let at = 0
    for (let turn = 0; at < bytes.length && this.destroyed === undefined; turn++) {
      const size = Math.max(1, sizes[turn % sizes.length] ?? 1)
      this.#handler?.data(Buffer.from(bytes.subarray(at, at + size)))
      at += size
    }
  }

  hangUp(): void {
    this.destroyed = true
    this.#handler?.close(undefined)
  }

  /** Answers that came since the last call. */
  answers(protocol: 2 | 3 = 3): Answer[] {
    const all: Answer[] = []
    new FrameReader().push(Buffer.concat(this.writes), (bytes, start, end) => {
      const frame = Buffer.from(bytes.subarray(start, end))
      const view = createResponse()
      if (decodeResponse(frame, 0, frame.length, protocol, view) !== 'ok') {
        throw new Error(`not an answer: ${frame.toString('hex')}`)
      }
      const body = view.hasBody ? frame.subarray(view.bodyStart, view.bodyEnd) : undefined
      const second = view.hasSecond ? frame.subarray(view.secondStart, view.secondEnd) : undefined
      all.push({ ...view, frame, body, second })
    })
    return all.splice(this.#answered, (this.#answered = all.length))
  }
}
