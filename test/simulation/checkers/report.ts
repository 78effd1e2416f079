// Where checkers put what they find. The first violation is the run's verdict; later ones follow
// from it, or not: all are kept.

export interface Violation {
  /** Which checker, by the invariant it holds. */
  readonly checker: string
  readonly reason: string
  readonly timeMs: number
}

/** Checkers that only say that something is wrong, and not what: none of them names a mistake. */
export const vague: ReadonlySet<string> = new Set([
  'errors',
  'liveness',
  'run',
  'last look',
  'leak',
])

export class Report {
  readonly violations: Violation[] = []
  readonly #nowMs: () => number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  violated(checker: string, reason: string): void {
    this.violations.push({ checker, reason, timeMs: this.#nowMs() })
  }

  /** Reports unless it holds. */
  holds(condition: boolean, checker: string, reason: () => string): void {
    if (!condition) this.violated(checker, reason())
  }

  /** The first that says what is wrong. */
  get named(): Violation | undefined {
    return this.violations.find(({ checker }) => !vague.has(checker))
  }

  get verdict(): Violation | undefined {
    return this.named ?? this.violations[0]
  }
}

/** A payload for people: what it begins with. */
export function nameOf(payload: Uint8Array): string {
  const text = Buffer.from(payload.subarray(0, 80)).toString('latin1')
  return JSON.stringify(text.split(':')[0])
}
