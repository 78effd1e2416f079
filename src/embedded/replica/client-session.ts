// The proposer's end of an exactly-once session: numbers commands and knows how far their answers
// have come.

export class ClientSession {
  /** 32 hexadecimal digits, never used twice: a session that is gone must not come back empty. */
  readonly id: string
  #next = 1
  #ackedUpTo = 0
  readonly #answered = new Set<number>()

  constructor(id: string) {
    this.id = id
  }

  /** Every command up to this one was answered. */
  get ackedUpTo(): number {
    return this.#ackedUpTo
  }

  take(): number {
    return this.#next++
  }

  answered(seq: number): void {
    this.#answered.add(seq)
    while (this.#answered.delete(this.#ackedUpTo + 1)) this.#ackedUpTo += 1
  }
}
