// Runs of groups in this process, one after the other.

import { vague } from '../../../src/simulation/report.ts'
import type { How, Seeds } from '../here.ts'
import { runGroup } from './run.ts'

/** True when nothing was found. */
export async function groupsOneByOne(
  { from, to, times, until, faultMs }: Seeds,
  { canary, trace, json }: Pick<How, 'canary' | 'trace' | 'json'>,
): Promise<boolean> {
  let failed = 0
  for (let seed = from; seed <= to; seed += 1) {
    if (until && failed > 0) break
    for (let time = 0; time < times; time += 1) {
      const { counts, ...result } = await runGroup({
        ...canary?.runs,
        ...(faultMs !== undefined && { faultMs }),
        seed,
        trace,
      })
      console.log(JSON.stringify(json ? result : { ...result, counts }))
      if (!result.ok && !(canary && vague.has(result.checker ?? ''))) failed += 1
    }
  }
  return failed === 0
}
