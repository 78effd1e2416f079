// npm run torture -- canaries: searches for each mistake anew, in seeds from 1 on, and holds that the
// same seed, otherwise alike, passes without it.

import { Presets, SingleBar } from 'cli-progress'
import { canaries, toCome } from './list.ts'
import { lineOf, lineToCome, tableOf } from './report.ts'
import { onAllCores, searchFor, unharmed, type Found } from './search.ts'

const seedsMax = { ordinary: 500, rare: 5000 } as const

/** Resolves to the exit status. */
export async function searchAnew({ json }: { json: boolean }): Promise<number> {
  const format = '{bar} {value} of {total} canaries, {missed} not caught: {last}'
  const bar = new SingleBar({ format, stream: process.stderr }, Presets.shades_grey)
  const found: Found[] = []
  const wrong: string[] = []
  bar.start(canaries.length, 0, { missed: 0, last: '' })
  await onAllCores(canaries, async (canary) => {
    const to = canary.isRare ? seedsMax.rare : seedsMax.ordinary
    const one = await searchFor(canary, { from: 1, to })
    const { seed } = one
    const without =
      seed === undefined ? undefined : await unharmed(canary, { from: seed, to: seed })
    if (without !== undefined) wrong.push(`${canary.id} is caught without its mistake: ${without}`)
    found.push(one)
    const missed = found.filter(({ caught }) => !caught).length
    bar.increment({ missed, last: `${canary.id} ${one.checker ?? 'not caught'}` })
    if (json) console.log(JSON.stringify(lineOf(one)))
  })
  bar.stop()
  if (json) for (const each of toCome) console.log(JSON.stringify(lineToCome(each)))
  else console.log(tableOf(canaries, found, toCome))
  for (const line of wrong) process.stderr.write(`${line}\n`)
  return wrong.length === 0 && found.every(({ caught }) => caught) ? 0 : 1
}
