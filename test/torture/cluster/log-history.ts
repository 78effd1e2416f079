// What was appended to one log and what was read of it, and whether that is the history of one log:
// what was acknowledged is there, where it was said to be; nothing is there twice or that nobody
// sent; what was acknowledged before another append began is before it; and whoever reads sees
// every record in its place.

export interface Append {
  readonly record: string
  readonly calledAtMs: number
  /** Infinite as long as nobody was told. */
  returnedAtMs: number
  /** Undefined: unknown, or never. */
  position: number | undefined
}

export interface LogVerdict {
  readonly lost: number
  /** What else is not as it must be, in words. */
  readonly wrong: readonly string[]
}

export class LogHistory {
  readonly #appends = new Map<string, Append>()
  /** By position, as readers saw it meanwhile. */
  readonly #seen = new Map<number, string>()
  readonly #wrong: string[] = []
  #acked = 0

  get acked(): number {
    return this.#acked
  }

  called(record: string, nowMs: number): Append {
    const append = { record, calledAtMs: nowMs, returnedAtMs: Infinity, position: undefined }
    this.#appends.set(record, append)
    return append
  }

  returned(append: Append, at: { position: number; nowMs: number }): void {
    append.position = at.position
    append.returnedAtMs = at.nowMs
    this.#acked += 1
  }

  /** A reader that goes on behind `before`, which is what it had seen last. */
  read(position: number, record: string): void {
    const known = this.#seen.get(position) ?? record
    if (known !== record) this.#wrong.push(`${position} was ${known}, and reads as ${record}`)
    this.#seen.set(position, record)
  }

  /** `held`: all that is there at the end, from the first position of this history on. */
  check(held: ReadonlyMap<number, string>): LogVerdict {
    const wrong = [...this.#wrong]
    let lost = 0
    for (const { record, position } of this.#appends.values()) {
      if (position !== undefined && held.get(position) !== record) lost += 1
    }
    for (const [position, record] of this.#seen) {
      if (held.get(position) !== record) wrong.push(`${position} was read as ${record}, and is not`)
    }
    const known = [...held].toSorted(([one], [other]) => one - other)
    wrong.push(...notDense(known), ...foreign(known, this.#appends), ...this.#overtaken(known))
    return { lost, wrong }
  }

  /** An append that had been answered when one before it began. */
  #overtaken(held: readonly (readonly [number, string])[]): string[] {
    const wrong: string[] = []
    let latestCallMs = 0
    for (const [position, record] of held) {
      const append = this.#appends.get(record)
      if (!append) continue
      if (append.returnedAtMs < latestCallMs) wrong.push(`${position} was answered too early`)
      latestCallMs = Math.max(latestCallMs, append.calledAtMs)
    }
    return wrong
  }
}

type Held = readonly (readonly [number, string])[]

function notDense(held: Held): string[] {
  const first = held[0]?.[0] ?? 0
  return held.flatMap(([position], index) =>
    position === first + index ? [] : [`${position} follows a hole`],
  )
}

function foreign(held: Held, appends: ReadonlyMap<string, Append>): string[] {
  const met = new Set<string>()
  return held.flatMap(([position, record]) => {
    const isNew = appends.has(record) && !met.has(record)
    met.add(record)
    return isNew ? [] : [`${position} is ${record}, which nobody sent or which is there twice`]
  })
}
