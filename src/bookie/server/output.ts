// What leaves on one connection: answers are written one behind the other into a buffer and given
// to the socket in one call a batch. A buffer is used again only when everything given from it was
// flushed.

import type { Connection } from '../../io/index.ts'

const bufferBytes = 32 * 1024
const pooledMax = 64

class OutputBuffer {
  readonly bytes: Buffer
  /** End of what was written into it, and of what was given to the socket. */
  used = 0
  given = 0
  /** Spans given and not yet flushed. */
  outstanding = 0
  /** The connection goes on in another buffer. */
  retired = false
  readonly flushed: () => void

  constructor(bytes: Buffer, pool: OutputPool) {
    this.bytes = bytes
    this.flushed = () => {
      this.outstanding--
      if (this.outstanding > 0) return
      if (this.retired) pool.give(this)
      else if (this.given === this.used) this.used = this.given = 0
    }
  }
}

/** Buffers shared by the connections of one server. */
export class OutputPool {
  readonly #free: OutputBuffer[] = []

  take(atLeast: number): OutputBuffer {
    if (atLeast > bufferBytes) return new OutputBuffer(Buffer.allocUnsafeSlow(atLeast), this)
    const free = this.#free.pop()
    if (free === undefined) return new OutputBuffer(Buffer.allocUnsafeSlow(bufferBytes), this)
    free.used = free.given = 0
    free.retired = false
    return free
  }

  give(buffer: OutputBuffer): void {
    if (buffer.bytes.length === bufferBytes && this.#free.length < pooledMax) {
      this.#free.push(buffer)
    }
  }
}

export class Output {
  /** The socket asked to wait for `drain`. */
  choked = false
  readonly #connection: Connection
  readonly #pool: OutputPool
  #buffer: OutputBuffer | undefined

  constructor(connection: Connection, pool: OutputPool) {
    this.#connection = connection
    this.#pool = pool
  }

  /** The buffer for the next `bytes` of an answer: write at `at`, then call `wrote`. */
  reserve(bytes: number): Buffer {
    const buffer = this.#buffer
    if (buffer !== undefined && buffer.used + bytes <= buffer.bytes.length) return buffer.bytes
    this.#retire()
    const fresh = this.#pool.take(bytes)
    this.#buffer = fresh
    return fresh.bytes
  }

  get at(): number {
    return this.#buffer?.used ?? 0
  }

  wrote(end: number): void {
    if (this.#buffer !== undefined) this.#buffer.used = end
  }

  /** Gives everything written so far to the socket. */
  flush(): void {
    const buffer = this.#buffer
    if (buffer === undefined || buffer.given === buffer.used) return
    const span = buffer.bytes.subarray(buffer.given, buffer.used)
    buffer.given = buffer.used
    buffer.outstanding++
    if (!this.#connection.write(span, buffer.flushed)) this.choked = true
  }

  /**
   * Bytes that are not copied, behind all written so far; `flushed` is called when they may change.
   */
  writeView(view: Buffer, flushed: () => void): void {
    this.flush()
    if (!this.#connection.write(view, flushed)) this.choked = true
  }

  /** Nothing more leaves: the buffer goes back. */
  close(): void {
    this.#giveUp()
  }

  #retire(): void {
    this.flush()
    this.#giveUp()
  }

  #giveUp(): void {
    const buffer = this.#buffer
    if (buffer === undefined) return
    this.#buffer = undefined
    buffer.retired = true
    if (buffer.outstanding === 0) this.#pool.give(buffer)
  }
}
