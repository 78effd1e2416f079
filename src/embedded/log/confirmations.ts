// What the owner of a log said is durable, heard on the way of commands to it: readers of the log
// in this process need not wait until its bookies tell.

export interface Confirmed {
  readonly ledgerId: bigint
  /** It is acknowledged, and so is every entry before it. */
  readonly entryId: number
}

export class Confirmations {
  readonly #listeners = new Set<(confirmed: Confirmed) => void>()
  #newest: Confirmed | undefined

  tell(confirmed: Confirmed): void {
    this.#newest = confirmed
    for (const listener of this.#listeners) listener(confirmed)
  }

  /** Calls with the newest at once, and with what follows, until the returned one is called. */
  listen(listener: (confirmed: Confirmed) => void): () => void {
    this.#listeners.add(listener)
    if (this.#newest) listener(this.#newest)
    return () => void this.#listeners.delete(listener)
  }
}
