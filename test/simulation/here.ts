// Runs in this process, one after the other.

import { join } from 'node:path'
import { readReplay, type Plan } from '../../src/simulation/index.ts'
import { runsOf, type Canary } from '../canaries/canary.ts'
import { vague } from '../../src/simulation/report.ts'
import { optionsOf, pictureOf, save, smaller } from './failures.ts'
import { runWhole, type RunResult } from './run.ts'

export interface How {
  /** The mistake that is in the sources. */
  readonly canary: Canary | undefined
  readonly say: (line: string) => void
  readonly trace: ((line: string) => void) | undefined
  readonly json: boolean
  /** Where runs that failed are written to; undefined: nowhere, and they are not drawn. */
  readonly replays: string | undefined
}

export interface Seeds {
  readonly from: number
  readonly to: number
  readonly times: number
  /** Ends at the first that fails. */
  readonly until: boolean
  readonly faultMs: number | undefined
  /** Hours of faults in each run. Default false. */
  readonly isLong?: boolean
}

/** True when nothing was found. */
export async function oneByOne(seeds: Seeds, how: How): Promise<boolean> {
  const { from, to, times, until, faultMs, isLong } = seeds
  let failed = 0
  for (let seed = from; seed <= to; seed += 1) {
    if (until && failed > 0) break
    for (let time = 0; time < times; time += 1) {
      const { trace, canary } = how
      const { result, plan } = await runWhole({
        ...(canary && runsOf(canary)),
        ...(faultMs !== undefined && { faultMs }),
        isLong,
        seed,
        trace,
      })
      print(result, how)
      if (result.ok || (canary !== undefined && vague.has(result.checker ?? ''))) continue
      failed += 1
      const { replays } = how
      if (replays === undefined) continue
      await report(plan, result, { ...how, file: join(replays, `seed-${seed}.json`) })
    }
  }
  return failed === 0
}

/** A run from its file; with `shrink`, the smallest like it that is found in so many runs. */
export async function replay(
  text: string,
  how: How & { readonly file: string; readonly shrink: number },
): Promise<boolean> {
  const first = readReplay(text)
  const { trace, say } = how
  const { result, plan, faults } = await runWhole({ ...optionsOf(first), trace })
  const { checker } = result
  if (checker === undefined || how.shrink === 0) {
    print(result, how)
    if (!result.ok) say(await pictureOf(first))
    return result.ok
  }
  say(`${checker}: ${result.reason}; as found: ${sizeOf(plan)}`)
  const told = (smaller: Plan) => say(`smaller: ${sizeOf(smaller)}`)
  const small = await smaller(first, { checker, faults, runsMax: how.shrink, told })
  print(small.result, how)
  await report(small.plan, small.result, {
    ...how,
    file: how.file.replace(/(\.json)?$/, '.small.json'),
  })
  return false
}

async function report(plan: Plan, result: RunResult, how: How & { file: string }): Promise<void> {
  how.say(await pictureOf(plan))
  save(plan, result, how.file)
  how.say(commandFor(how.file, how.canary))
}

export function commandFor(file: string, canary?: Canary): string {
  return `npm run simulate -- --replay ${file}${canary ? ` --canary ${canary.id}` : ''}`
}

function sizeOf({ sizes, faults, choices }: Plan): string {
  const lists = [...(choices?.values() ?? [])]
  const own = lists.reduce((sum, list) => sum + Array.from(list).filter((one) => one > 0).length, 0)
  const facts = Object.entries(sizes).map(([name, size]) => `${name} ${size}`)
  return [...facts, `faults ${faults?.length ?? 'all'}`, `choices ${own || 'of the seed'}`].join(
    ', ',
  )
}

function print({ counts, ...result }: RunResult, { json }: How): void {
  console.log(JSON.stringify(json ? result : { ...result, counts }))
}
