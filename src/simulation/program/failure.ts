// A run that failed, as an error for people.

import type { Plan } from '../replay.ts'
import type { Violation } from '../report.ts'
import type { RunFacts } from './run.ts'

export interface SimulationFailureParts {
  /** Of the smallest run that was found to fail. */
  readonly plan: Plan
  readonly violation: Violation
  readonly facts: RunFacts
  /** What the first run failed by. */
  readonly first: Violation
  /** How many runs were tried to make it smaller. */
  readonly runs: number
  readonly replay: string
  /** What befell what the checker names, and the machines meanwhile: a lane for each. */
  readonly picture: string
}

/** Something did not hold in a simulated run. */
export class SimulationFailure extends Error {
  override readonly name = 'SimulationFailure'
  readonly seed: number
  /** What does not hold: `determinism`, `exactly once`, `state equality`, `check`, and others. */
  readonly checker: string
  /** What was seen, and where. */
  readonly reason: string
  // What is long is not printed with the error: its message has it, or it is for a file.
  readonly #parts: SimulationFailureParts

  constructor(parts: SimulationFailureParts) {
    super(messageOf(parts))
    this.seed = parts.plan.seed
    this.checker = parts.violation.checker
    this.reason = parts.violation.reason
    this.#parts = parts
  }

  /** The smallest run that fails so, for `simulate({ replay })`: text that a file may keep. */
  get replay(): string {
    return this.#parts.replay
  }

  /** What befell what the checker names, and the machines meanwhile: a lane for each. */
  get picture(): string {
    return this.#parts.picture
  }

  /** Of the smallest run. */
  get facts(): RunFacts {
    return this.#parts.facts
  }
}

function messageOf({
  plan,
  violation,
  facts,
  first,
  runs,
  picture,
}: SimulationFailureParts): string {
  const { checker, reason } = violation
  const lines = [`${checker}: ${reason}`, '']
  if (first.reason !== reason) lines.push(`in the first run: ${first.reason}`)
  lines.push(`seed ${plan.seed}: simulate({ seed: ${plan.seed}, … }) runs it again`)
  if (runs > 0) lines.push(`made smaller in ${runs} runs: simulate({ replay: error.replay, … })`)
  const clients = plan.sizes['clients'] ?? 0
  const happened = Object.entries(facts.faults).map(([kind, count]) => `${count} × ${kind}`)
  lines.push(
    `${facts.virtualMs} ms, ${clients} ${clients === 1 ? 'client' : 'clients'}, ` +
      `faults: ${happened.join(', ') || 'none'}`,
  )
  return `${lines.join('\n')}\n\n${picture}`
}
