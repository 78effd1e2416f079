// That the checkers would see a mistake: some of the canaries, from where they were caught.
// `npm run canaries` searches for all of them.
import t from 'tap'
import { canaries } from './canaries.ts'
import { search } from './search.ts'

t.setTimeout(300_000)

/** Seeds in which to find it: the runs change with the code. */
const seedsMax = 12

for (const { id, what, quick } of canaries) {
  if (quick !== true) continue
  t.test(`${id}: ${what}`, async (t) => {
    const { caught, checker, reason } = await search(id, [1, seedsMax])
    t.ok(caught, 'named by a checker', { checker, reason })
  })
}
