export interface Clock {
  /** Milliseconds with fractions since some start, never going back. */
  monotonicMs(): number
  /**
   * Milliseconds since 1970, may jump. For people and for BookKeeper's creation times, never for
   * decisions.
   */
  wallMs(): number
}

export interface Timer {
  cancel(): void
}

export interface Timers {
  /** Calls once after `delayMs`. Does not keep the process alive. */
  after(delayMs: number, call: () => void): Timer
  /** Calls once after the input that is being handled: where a batch of one turn is sent. */
  soon(call: () => void): void
}

export interface Random {
  bytes(count: number): Buffer
  /** An integer in [0, below). */
  below(below: number): number
  /** A random UUID in lower-case canonical text. */
  uuid(): string
}
