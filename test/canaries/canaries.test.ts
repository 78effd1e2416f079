// That the checkers would see a mistake: some of the canaries, from where they were caught.
// `npm run canaries` searches for all of them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { search } from '../simulation/search.ts'
import { mutate } from './canary.ts'
import { canaries, toCome } from './list.ts'
import { planted } from './planted.ts'

t.setTimeout(300_000)

/** Seeds in which to find it: the runs change with the code. */
const furtherSeeds = 12

t.test('each edit is of the present source, and is made once', async (t) => {
  for (const { id, edits } of [...canaries, ...planted]) {
    for (const [file, each] of Object.entries(edits)) {
      const source = readFileSync(join(import.meta.dirname, '..', '..', 'src', file), 'utf8')
      t.not(mutate(source, each, id), source, `${id} changes ${file}`)
    }
  }
  t.throws(() => mutate('a b', [['c', 'd']], 'x'), { message: /matches 0 times/ })
  t.throws(() => mutate('a a', [['a', 'd']], 'x'), { message: /matches 2 times/ })
})

t.test('no mistake has the name of another', async (t) => {
  const ids = [...canaries, ...toCome, ...planted].map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
})

for (const { id, what, seed } of canaries) {
  if (seed === undefined) continue
  t.test(`${id}: ${what}`, async (t) => {
    const { caught, checker, reason } = await search(id, [seed, seed + furtherSeeds])
    t.ok(caught, 'named by a checker', { checker, reason })
  })
}
