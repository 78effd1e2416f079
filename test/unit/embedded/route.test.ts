// Where a replica's records go: the decisions alone (E3, E4).
import t from 'tap'
import { isReachable, nodeOf, Route } from '../../../src/embedded/replica/core/route.ts'

const times = { goneMs: 1000, unreachableMs: 100, waitMs: { least: 10, most: 400 } }
const other = { epoch: 3, ownerId: 'quire-b/2', ended: false }
const ask = { type: 'ask', ownerId: 'quire-b/2', epoch: 3 }
const acquire = { type: 'acquire', ifEpoch: 3 }
const route = (): Route => new Route('quire-a/1', times)

t.test('a log without an owner is acquired at once', async (t) => {
  t.same(route().next({ epoch: 0, ownerId: '', ended: false }), { type: 'acquire', ifEpoch: 0 })
  t.same(route().next({ ...other, ended: true }), acquire, 'it ended in order')
  t.same(route().next({ ...other, ownerId: 'quire-a/1' }), acquire, 'by this very process')
  t.same(route().next({ ...other, ownerId: 'quire-a/0' }), {
    ...ask,
    ownerId: 'quire-a/0',
  })
})

t.test('an owner that answers is never deposed (T1)', async (t) => {
  const asker = route()
  for (let round = 0; round < 1000; round++) {
    t.same(asker.next(other), ask)
    const waitMs = asker.answered('acquiring', 1000)
    if (waitMs < 1 || waitMs > times.waitMs.most) t.fail(`it waits ${waitMs} ms`)
    if (round % 3 === 0) {
      t.same(asker.next(other), ask)
      asker.settled()
    }
  }
})

t.test('a silent owner is followed after a while, not before (T2)', async (t) => {
  const asker = route()
  let waitedMs = 0
  let rounds = 0
  while (asker.next(other).type === 'ask') {
    waitedMs += asker.answered('silent', 50) + 50
    rounds += 1
  }
  t.same(asker.next(other), acquire)
  t.ok(waitedMs >= times.goneMs, `after ${waitedMs} ms`)
  t.ok(rounds > 2, `${rounds} times asked`)
  t.ok(waitedMs < 2 * times.goneMs)
})

t.test('silence in pieces is not silence', async (t) => {
  const asker = route()
  for (let round = 0; round < 20; round++) {
    t.same(asker.next(other), ask)
    asker.answered('silent', 400)
    t.same(asker.next(other), ask)
    asker.answered('acquiring', 10)
  }
})

t.test('one that says so itself, or lives another life, is gone at once', async (t) => {
  for (const answer of ['notOwner', 'gone'] as const) {
    const asker = route()
    t.same(asker.next(other), ask)
    t.equal(asker.answered(answer, 5), 0)
    t.same(asker.next(other), acquire, answer)
  }
})

t.test('what was thought of one owner does not count for the next (T3)', async (t) => {
  const asker = route()
  asker.next(other)
  asker.answered('gone', 5)
  t.same(asker.next({ ...other, epoch: 4, ownerId: 'quire-c/1' }), {
    type: 'ask',
    ownerId: 'quire-c/1',
    epoch: 4,
  })
  asker.settled()
  t.same(asker.next(other), ask, 'nor after a channel was had')
})

t.test('an owner without a port cannot be asked: it keeps the log for a moment', async (t) => {
  const asker = route()
  const client = { ...other, ownerId: 'client-1234/0' }
  t.equal(asker.next(client).type, 'ask')
  let waitedMs = 0
  while (asker.next(client).type === 'ask') waitedMs += asker.answered('silent', 0)
  t.ok(waitedMs >= times.unreachableMs && waitedMs < times.goneMs, `after ${waitedMs} ms`)
})

t.test('waits grow up to a bound, and are short again after success', async (t) => {
  const asker = route()
  asker.next(other)
  const waits = Array.from({ length: 8 }, () => asker.failed())
  t.same(waits, [10, 20, 40, 80, 160, 320, 400, 400])
  asker.settled()
  t.equal(asker.failed(), 10)
})

t.test('names of owners', async (t) => {
  t.equal(nodeOf('quire-a/12'), 'quire-a')
  t.equal(nodeOf('10.0.0.1:3181/1'), '10.0.0.1:3181')
  t.equal(nodeOf('no life'), undefined)
  t.equal(nodeOf('/1'), undefined)
  t.ok(isReachable('quire-a/1'))
  t.notOk(isReachable('client-5/0'))
})
