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
/** Entries that have a slot before the tables grow. */
const slotsFirst = 64

export class SendArena {
  // By entryId % length; they grow with the entries that are not finished.
  #chunks: (ArenaChunk | undefined)[] = Array.from({ length: slotsFirst })
  #starts = new Uint32Array(slotsFirst)
  #ends = new Uint32Array(slotsFirst)
  /** In the order of their entries; the last is being filled. */
  readonly #used: ArenaChunk[] = []
  readonly #spare: ArenaChunk[] = []
  #head: number

  /** `head`: the first entry that will be placed. */
  constructor(head: number) {
    this.#head = head
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
    if (entryId - this.#head >= this.#chunks.length) this.#grow(entryId)
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

  #grow(upTo: number): void {
    const [chunks, starts, ends] = [this.#chunks, this.#starts, this.#ends]
    const length = chunks.length * 2
    this.#chunks = Array.from({ length })
    this.#starts = new Uint32Array(length)
    this.#ends = new Uint32Array(length)
    for (let entryId = this.#head; entryId < upTo; entryId += 1) {
      const from = entryId % chunks.length
      const to = entryId % length
      this.#chunks[to] = chunks[from]
      this.#starts[to] = starts[from] ?? 0
      this.#ends[to] = ends[from] ?? 0
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
