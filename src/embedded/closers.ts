// What was opened and must be closed, the last first. One that fails does not keep the others open.

type Closer = () => Promise<unknown>

export class Closers {
  readonly #closers: Closer[] = []
  #running: Promise<void> = Promise.resolve()

  add(close: Closer): void {
    this.#closers.push(close)
  }

  /** Fails with the first failure, after all were tried. Called again: what was added since. */
  close(): Promise<void> {
    const closing = this.#running.then(() => this.#closeAll())
    this.#running = closing.catch(() => undefined)
    return closing
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = []
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) {
      try {
        await close()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}
