// What a run comes to, whatever ran in its world.

import type { World } from '../../src/simulation/index.ts'
import type { Violation } from '../../src/simulation/report.ts'
import type { RunResult } from './run.ts'

export function resultOf(
  { scheduler }: World,
  violation: Violation | undefined,
  facts: {
    readonly seed: number
    readonly faults: ReadonlyMap<string, number>
    readonly counts: RunResult['counts']
  },
): RunResult {
  return {
    seed: facts.seed,
    traceHash: scheduler.traceHash,
    events: scheduler.events,
    virtualMs: Math.round(scheduler.nowMs),
    faults: Object.fromEntries(facts.faults),
    ok: violation === undefined,
    ...(violation && { checker: violation.checker, reason: violation.reason }),
    counts: facts.counts,
  }
}
