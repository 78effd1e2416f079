// Splits a stream into frames: u32 length (which does not count itself), then that many bytes.
//
// F1: a pure function of the bytes: any split of a stream gives the same frames.
// F2: a frame that lies in one chunk is a view of that chunk; one that straddles chunks is gathered
//     once, in a buffer of its own that grows with what has arrived, never with what was announced.
// F3: the limit is checked as soon as the four length bytes are known.
// F4: it never throws (the callback must not either); what is wrong is a value, and the end: the
//     caller closes the connection, as both Java ends do (wire 1.2).

/** BookKeeper's default for both ends (`nettyMaxFrameSizeBytes`): payload and length field. */
export const maxFrameBytesDefault = 5_242_880

const lengthFieldBytes = 4
const gatherBytesMin = 512

/** Why a stream cannot be read on. */
export interface FrameProblem {
  readonly code: 'QUIRE_BAD_FRAME' | 'QUIRE_FRAME_TOO_LARGE'
  readonly message: string
  /** The length that was announced. */
  readonly announcedBytes: number
}

/** Called with the packet of each frame: bytes[start, end), without the length field. */
export type OnFrame = (bytes: Buffer, start: number, end: number) => void

const none = Buffer.alloc(0)

export class FrameReader {
  #maxFrameBytes: number
  /** Bytes of the length field of the current frame that have arrived, and their value so far. */
  #lengthBytes = 0
  #announced = 0
  /** What has arrived of the packet of a frame that straddles chunks. */
  #gathered: Buffer = none
  #gatheredBytes = 0
  #problem: FrameProblem | undefined

  /** `maxFrameBytes`: most bytes of a frame with its length field; 5 MiB unless told otherwise. */
  constructor(options: { maxFrameBytes?: number } = {}) {
    this.#maxFrameBytes = options.maxFrameBytes ?? maxFrameBytesDefault
  }

  /** From the next length field on, this is the limit. */
  allow(maxFrameBytes: number): void {
    this.#maxFrameBytes = maxFrameBytes
  }

  /** Bytes of an unfinished frame that are held: less than the limit. */
  get bufferedBytes(): number {
    return this.#lengthBytes + this.#gatheredBytes
  }

  /**
   * Takes the next bytes of the stream and calls back for every frame that they complete. A problem
   * ends the stream: frames before it were delivered, nothing behind it is looked at, and every
   * later call returns it again.
   */
  push(chunk: Buffer, onFrame: OnFrame): FrameProblem | undefined {
    if (this.#problem) return this.#problem
    let at = this.bufferedBytes === 0 ? 0 : this.#resume(chunk, onFrame)
    const end = chunk.length
    while (end - at >= lengthFieldBytes) {
      const length =
        (chunk[at] as number) * 0x100_0000 +
        (((chunk[at + 1] as number) << 16) |
          ((chunk[at + 2] as number) << 8) |
          (chunk[at + 3] as number))
      if (length === 0 || length + lengthFieldBytes > this.#maxFrameBytes) {
        return this.#refuse(length)
      }
      const next = at + lengthFieldBytes + length
      if (next > end) break
      onFrame(chunk, at + lengthFieldBytes, next)
      at = next
    }
    return at < end ? this.#begin(chunk, at) : this.#problem
  }

  /** Completes the frame that earlier chunks began, if this one does. Returns where to go on. */
  #resume(chunk: Buffer, onFrame: OnFrame): number {
    const at = this.#takeLength(chunk, 0)
    if (this.#problem) return chunk.length
    if (this.#lengthBytes < lengthFieldBytes) return at
    const missing = this.#announced - this.#gatheredBytes
    if (this.#gatheredBytes === 0 && missing <= chunk.length - at) {
      // Only the length field straddled: the packet itself is contiguous.
      this.#reset()
      onFrame(chunk, at, at + missing)
      return at + missing
    }
    const taken = Math.min(missing, chunk.length - at)
    this.#gather(chunk, at, at + taken)
    if (taken < missing) return chunk.length
    const packet = this.#gathered
    const end = this.#gatheredBytes
    this.#reset()
    onFrame(packet, 0, end)
    return at + taken
  }

  /** Keeps the beginning of a frame that the chunk does not complete. */
  #begin(chunk: Buffer, from: number): FrameProblem | undefined {
    const at = this.#takeLength(chunk, from)
    if (at < chunk.length) this.#gather(chunk, at, chunk.length)
    return this.#problem
  }

  #takeLength(chunk: Buffer, from: number): number {
    let at = from
    while (this.#lengthBytes < lengthFieldBytes && at < chunk.length) {
      this.#announced = this.#announced * 256 + (chunk[at++] as number)
      this.#lengthBytes++
      if (this.#lengthBytes < lengthFieldBytes) continue
      if (this.#announced === 0 || this.#announced + lengthFieldBytes > this.#maxFrameBytes) {
        this.#refuse(this.#announced)
        return chunk.length
      }
    }
    return at
  }

  #gather(chunk: Buffer, start: number, end: number): void {
    const needed = this.#gatheredBytes + end - start
    if (needed > this.#gathered.length) {
      const roomy = Math.max(needed, this.#gathered.length * 2, gatherBytesMin)
      const larger = Buffer.allocUnsafe(Math.min(this.#announced, roomy))
      this.#gathered.copy(larger, 0, 0, this.#gatheredBytes)
      this.#gathered = larger
    }
    chunk.copy(this.#gathered, this.#gatheredBytes, start, end)
    this.#gatheredBytes = needed
  }

  #reset(): void {
    this.#lengthBytes = 0
    this.#announced = 0
    this.#gathered = none
    this.#gatheredBytes = 0
  }

  #refuse(announcedBytes: number): FrameProblem {
    this.#reset()
    this.#problem =
      announcedBytes === 0
        ? { code: 'QUIRE_BAD_FRAME', message: 'a frame of no bytes was sent', announcedBytes }
        : {
            code: 'QUIRE_FRAME_TOO_LARGE',
            message:
              `a frame of ${announcedBytes} bytes was announced; with its length field at most ` +
              `${this.#maxFrameBytes} are allowed`,
            announcedBytes,
          }
    return this.#problem
  }
}
