// The two clocks of a client.
import t from 'tap'
import { Sweeper } from '../../../src/replication/turn.ts'

t.test('a loop that stood still reads its answers before anybody is judged', (t) => {
  const state = { nowMs: 1_000, answered: false }
  const due: (() => void)[] = []
  const afterInput: (() => void)[] = []
  const judged: { nowMs: number; answered: boolean }[] = []
  const sweeper = new Sweeper({
    clock: { monotonicMs: () => state.nowMs, wallMs: () => 0 },
    timers: {
      after(_delayMs, call) {
        due.push(call)
        return { cancel: () => void due.splice(due.indexOf(call) >>> 0, 1) }
      },
      soon: (call) => afterInput.push(call),
    },
    everyMs: 100,
  })
  const swept = {
    sweep(nowMs: number) {
      judged.push({ nowMs, answered: state.answered })
      return judged.length < 2
    },
  }
  sweeper.watch(swept)
  state.nowMs = 9_000
  due.shift()?.()
  t.same(judged, [], 'the timer is due, and the sockets are not read yet')
  sweeper.watch(swept)
  t.equal(due.length, 0, 'one timer')
  state.answered = true
  state.nowMs = 9_050
  afterInput.shift()?.()
  t.same(judged, [{ nowMs: 9_000, answered: true }], 'what is asked after that is not yet late')
  due.shift()?.()
  afterInput.shift()?.()
  t.equal(judged.length, 2)
  t.equal(due.length, 0, 'nobody is watched any more')

  sweeper.watch(swept)
  due.shift()?.()
  sweeper.close()
  afterInput.shift()?.()
  t.equal(judged.length, 2, 'not after the close')
  t.end()
})
