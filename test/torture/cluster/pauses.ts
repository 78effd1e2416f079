// The longest time in which nothing was acknowledged.

export class Pauses {
  #lastMs = performance.now()
  #longestMs = 0
  #count = 0
  #ended = false

  get count(): number {
    return this.#count
  }

  get longestMs(): number {
    return Math.round(this.#longestMs)
  }

  acked(): void {
    this.#count += 1
    this.#look()
  }

  /** What is not acknowledged after it is no pause. */
  end(): void {
    this.#look()
    this.#ended = true
  }

  #look(): void {
    if (this.#ended) return
    const nowMs = performance.now()
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs)
    this.#lastMs = nowMs
  }
}
