// The machine of a client: its program is started again some time after it was killed.

import type { World } from './world.ts'

export interface HostParts {
  readonly world: World
  readonly machine: string
  /** Milliseconds that pass before a program that was killed is started again. */
  readonly restartMs: readonly [number, number]
  /** The program, from its start; `lives` is false once it was killed. Rejects never. */
  readonly live: (lives: () => boolean) => Promise<void>
}

export class Host {
  readonly machine: string
  readonly #parts: HostParts
  #wanted = false
  #life = 0

  constructor(parts: HostParts) {
    this.machine = parts.machine
    this.#parts = parts
  }

  start(): void {
    this.#wanted = true
    const life = ++this.#life
    void this.#parts.live(() => this.#life === life)
  }

  kill(): void {
    const life = ++this.#life
    this.#parts.world.kill(this.machine)
    void this.#startLater(life)
  }

  /** From now on nothing is started again. */
  leave(): void {
    this.#wanted = false
  }

  async #startLater(life: number): Promise<void> {
    const { world, restartMs } = this.#parts
    await world.pass(world.scheduler.between(restartMs, 'host'))
    if (life === this.#life && this.#wanted) this.start()
  }
}
