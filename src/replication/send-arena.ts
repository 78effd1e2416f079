// Memory of one writer for the frames it sends. An append is copied once, behind its frame header;
// the same bytes go to every member of the write set, and to whoever replaces one.
//
// A chunk is used again only when all its entries are finished and every connection has let go of
// it: a socket reads what it was given long after `write` returned.

import { invariant } from '../invariant.ts'

export interface ArenaChunk {
  readonly bytes: Buffer
  used: number
  /** Connections that still read it. */
  writes: number
  lastEntryId: number
  /** To hand to a connection with every span of it. */
  readonly flushed: () => void
}

const chunkBytes = 262_144
/** Finished chunks kept for the next entries. */
const spareMax = 4

export class SendArena {
  readonly #chunks: (ArenaChunk | undefined)[]
  readonly #starts: Uint32Array
  readonly #ends: Uint32Array
  /** In the order of their entries; the last is being filled. */
  readonly #used: ArenaChunk[] = []
  readonly #spare: ArenaChunk[] = []
  #head = 0

  constructor(capacity: number) {
    this.#chunks = Array.from({ length: capacity })
    this.#starts = new Uint32Array(capacity)
    this.#ends = new Uint32Array(capacity)
  }

  /** A chunk with room for `bytes` at `used`. The caller fills it and then calls `placed`. */
  reserve(bytes: number): ArenaChunk {
    const current = this.#used.at(-1)
    if (current !== undefined && current.used + bytes <= current.bytes.length) return current
    const spare = bytes <= chunkBytes ? this.#spare.pop() : undefined
    const chunk = spare ?? this.#create(Math.max(bytes, chunkBytes))
    this.#used.push(chunk)
    return chunk
  }

  /** The entry's frame is chunk.bytes[used, end). */
  placed(entryId: number, chunk: ArenaChunk, end: number): void {
    const slot = entryId % this.#chunks.length
    this.#chunks[slot] = chunk
    this.#starts[slot] = chunk.used
    this.#ends[slot] = end
    chunk.used = end
    chunk.lastEntryId = entryId
  }

  chunkOf(entryId: number): ArenaChunk {
    const chunk = this.#chunks[entryId % this.#chunks.length]
    invariant(
      chunk !== undefined && entryId >= this.#head,
      'an entry is there until it is finished',
    )
    return chunk
  }

  startOf(entryId: number): number {
    return this.#starts[entryId % this.#starts.length] ?? 0
  }

  endOf(entryId: number): number {
    return this.#ends[entryId % this.#ends.length] ?? 0
  }

  /** Entries below `head` are finished: nobody will send them again. */
  release(head: number): void {
    this.#head = Math.max(this.#head, head)
    this.#collect()
  }

  /** Bytes that are held, spare ones included. */
  get heldBytes(): number {
    return [...this.#used, ...this.#spare].reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  #collect(): void {
    let first = this.#used[0]
    while (first !== undefined && first.lastEntryId < this.#head && first.writes === 0) {
      this.#used.shift()
      const roomy = first.bytes.length === chunkBytes && this.#spare.length < spareMax
      first.used = 0
      if (roomy) this.#spare.push(first)
      first = this.#used[0]
    }
  }

  #create(bytes: number): ArenaChunk {
    const chunk: ArenaChunk = {
      bytes: Buffer.allocUnsafeSlow(bytes),
      used: 0,
      writes: 0,
      lastEntryId: -1,
      flushed: () => {
        chunk.writes -= 1
        invariant(chunk.writes >= 0, 'a chunk is let go of as often as it was taken')
        this.#collect()
      },
    }
    return chunk
  }
}
