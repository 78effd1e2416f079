// The bytes of a simulated file: pages that are replaced, never changed, so that copies are cheap.
// A page of zeros is none.

export const pageBytes = 4096
export const sectorBytes = 512
const zeros = new Uint8Array(pageBytes)

export class Content {
  #size: number
  readonly #pages: Map<number, Uint8Array>

  constructor(size: number = 0, pages: ReadonlyMap<number, Uint8Array> = new Map()) {
    this.#size = size
    this.#pages = new Map(pages)
  }

  get size(): number {
    return this.#size
  }

  clone(): Content {
    return new Content(this.#size, this.#pages)
  }

  /** Bytes that were not written are zeros; returns how many are before the end. */
  read(into: Uint8Array, at: number): number {
    const count = Math.max(0, Math.min(into.length, this.#size - at))
    into.fill(0, 0, count)
    for (const piece of pieces(at, count)) {
      const page = this.#pages.get(piece.page)
      if (page !== undefined) into.set(page.subarray(piece.from, piece.to), piece.offset)
    }
    return count
  }

  write(bytes: Uint8Array, at: number): void {
    if (bytes.length === 0) return
    this.#size = Math.max(this.#size, at + bytes.length)
    for (const { page, from, to, offset } of pieces(at, bytes.length)) {
      this.#change(page, from, bytes.subarray(offset, offset + to - from))
    }
  }

  resize(size: number): void {
    if (size < this.#size) {
      for (const page of this.#pages.keys()) {
        if (page * pageBytes >= size) this.#pages.delete(page)
      }
      const rest = size % pageBytes
      if (rest > 0)
        this.#change(Math.floor(size / pageBytes), rest, new Uint8Array(pageBytes - rest))
    }
    this.#size = size
  }

  /** Pages that hold anything but zeros. */
  pages(): Uint8Array[] {
    return [...this.#pages.values()]
  }

  #change(number: number, from: number, bytes: Uint8Array): void {
    const old = this.#pages.get(number)
    if (old === undefined && isZero(bytes)) return
    const page = new Uint8Array(pageBytes)
    if (old !== undefined) page.set(old)
    page.set(bytes, from)
    if (isZero(page)) this.#pages.delete(number)
    else this.#pages.set(number, page)
  }
}

function* pieces(at: number, count: number) {
  for (let done = 0; done < count;) {
    const page = Math.floor((at + done) / pageBytes)
    const from = at + done - page * pageBytes
    const to = Math.min(pageBytes, from + count - done)
    yield { page, from, to, offset: done }
    done += to - from
  }
}

function isZero(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes, zeros.subarray(0, bytes.length)) === 0
}
