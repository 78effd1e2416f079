// That the checkers see mistakes: each canary, from where it was last caught. `npm run torture --
// canaries` searches for all of them anew.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mutate } from './canary.ts'
import { canaries, toCome } from './list.ts'
import { planted } from './planted.ts'
import { onAllCores, searchFor, seedsFromLast, unharmed } from './search.ts'

t.setTimeout(900_000)

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

t.test('at most five are rare', async (t) => {
  t.ok(canaries.filter(({ isRare }) => isRare).length <= 5)
})

t.test('a checker names each mistake', async (t) => {
  const caught = canaries.filter(({ seed }) => seed !== undefined)
  await onAllCores(caught, async (canary) => {
    const found = await searchFor(canary, seedsFromLast(canary))
    t.ok(found.caught, `${canary.id}: ${canary.what}`, found)
    t.notMatch(found.checker, /^(?:errors|liveness|run|last look|leak)$/, `${canary.id} is named`)
  })
})

t.test('a canary that is not made is not caught', async (t) => {
  const [canary] = canaries
  t.equal(canary && (await unharmed(canary, { from: 1, to: 2 })), undefined)
})
