// A process that runs the seeds it is sent, one at a time; a run that failed it writes down and
// draws.
import { join } from 'node:path'
import { pictureOf, save } from './failures.ts'
import { guardGlobals } from './guard.ts'
import type { Asked, Outcome } from './pool.ts'
import { runWhole } from './run.ts'

guardGlobals()

async function outcomeOf({ replays, times, more, ...asked }: Asked): Promise<Outcome> {
  const options = { ...more, ...asked }
  const { result, plan } = await runWhole(options)
  const hashes = [result.traceHash]
  for (let time = 1; time < times; time += 1) {
    const again = await runWhole(options)
    hashes.push(again.result.traceHash)
  }
  const outcome = { result, hashes, faultMs: plan.sizes['faultMs'] ?? 0 }
  if (result.ok) return outcome
  const file = join(replays, `seed-${options.seed}.json`)
  save(plan, result, file)
  return { ...outcome, file, picture: await pictureOf(plan) }
}

// Nobody waits for what is under way any more.
process.on('disconnect', () => process.exit())
process.on('message', (asked: Asked) => {
  void outcomeOf(asked).then((outcome) => process.send?.(outcome))
})
