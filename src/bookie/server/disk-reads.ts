// Reads from disk, a bounded number at a time: an entry is at most a frame, so the count bounds the
// memory too.

export class DiskReads {
  readonly #max: number
  readonly #freed: () => void
  readonly #queue: (() => void)[] = []
  #active = 0

  /** `freed` is called when there is room again after `isFull` said there was none. */
  constructor(max: number, freed: () => void) {
    this.#max = max
    this.#freed = freed
  }

  /** True: do not begin what can wait in its socket. */
  get isFull(): boolean {
    return this.#active >= this.#max
  }

  /** Runs one read when its turn comes. */
  async run<T>(read: () => Promise<T>): Promise<T> {
    if (this.isFull) {
      await new Promise<void>((resolve) => {
        this.#queue.push(resolve)
      })
    } else {
      this.#active++
    }
    try {
      return await read()
    } finally {
      const next = this.#queue.shift()
      if (next === undefined) {
        this.#active--
        this.#freed()
      } else {
        next()
      }
    }
  }
}
