// The checks of `npm run torture -- cluster`, with histories as they must be and as they must not.
import t from 'tap'
import { isLinearizable, type Operation } from '../simulation/checkers/linearizability.ts'
import { LogHistory } from '../torture/cluster/log-history.ts'
import { totalOf, type RoundReport } from '../torture/cluster/trial.ts'
import { treeModel, type TreeInput, type TreeOutput } from '../torture/cluster/tree-model.ts'

type Op = Operation<TreeInput, TreeOutput>
type Span = readonly [calledAt: number, returnedAt: number]

const op = ([calledAt, returnedAt]: Span, input: TreeInput, output?: TreeOutput): Op => ({
  input,
  output,
  calledAt,
  returnedAt: output === undefined ? Infinity : returnedAt,
})
const is = (version: number, value: string): TreeOutput => ({ type: 'is', version, value })
const create = (span: Span, value: string, output?: TreeOutput): Op =>
  op(span, { type: 'create', value }, output)
const set = (span: Span, version: number, output?: TreeOutput): Op =>
  op(span, { type: 'set', version, value: 'set' }, output)
const remove = (span: Span, output?: TreeOutput): Op =>
  op(span, { type: 'delete', version: 0 }, output)
const get = (span: Span, output: TreeOutput): Op => op(span, { type: 'get' }, output)
const list = (span: Span, isThere: boolean): Op =>
  op(span, { type: 'list' }, { type: 'listed', isThere })
const none: TreeOutput = { type: 'none' }
const made = create([1, 2], 'a', is(0, 'a'))

const good: Record<string, Op[]> = {
  'made, read and listed': [made, get([3, 4], is(0, 'a')), list([5, 6], true)],
  'nothing is there': [get([1, 2], none), list([3, 4], false), set([5, 6], 0, none)],
  'made twice': [made, create([3, 4], 'b', { type: 'exists' })],
  'made, removed and made anew': [
    made,
    remove([3, 4], { type: 'deleted' }),
    create([5, 6], 'b', is(0, 'b')),
  ],
  'a list beside a change sees it or not': [create([1, 9], 'a', is(0, 'a')), list([2, 3], false)],
  'a removal without an answer, and it happened': [made, remove([3, 4]), get([5, 6], none)],
  'a removal without an answer, and it did not': [made, remove([3, 4]), list([5, 6], true)],
  'a version that is gone': [
    made,
    set([3, 4], 0, is(1, 'set')),
    set([5, 6], 0, { type: 'bad version' }),
  ],
}
const bad: Record<string, Op[]> = {
  'what was made is not there': [made, get([3, 4], none)],
  'what was made is not listed': [made, list([3, 4], false)],
  'listed, and nobody made it': [list([1, 2], true)],
  'made twice, both first': [made, create([3, 4], 'b', is(0, 'b'))],
  'what was removed is read': [made, remove([3, 4], { type: 'deleted' }), get([5, 6], is(0, 'a'))],
  'two changes of one version': [
    made,
    set([3, 9], 0, is(1, 'set')),
    remove([4, 8], { type: 'deleted' }),
  ],
  'a change that was lost': [made, set([3, 4], 0, is(1, 'set')), get([5, 6], is(0, 'a'))],
}

t.test('histories of a node of the tree', async (t) => {
  for (const [name, history] of Object.entries(good)) {
    t.equal(isLinearizable(history, treeModel), true, name)
  }
  for (const [name, history] of Object.entries(bad)) {
    t.equal(isLinearizable(history, treeModel), false, name)
  }
})

/** Records a, b and c, called at 1, 3 and 5, answered at 2 and 4; nobody knows of c. */
function threeAppends(): LogHistory {
  const history = new LogHistory()
  const a = history.called('a', 1)
  history.returned(a, { position: 7, nowMs: 2 })
  const b = history.called('b', 3)
  history.returned(b, { position: 8, nowMs: 4 })
  history.called('c', 5)
  return history
}

t.test('histories of a log', async (t) => {
  const held = (records: string): Map<number, string> =>
    new Map(records.split('').map((record, index) => [7 + index, record]))
  const clean = { lost: 0, wrong: [] }
  t.same(threeAppends().check(held('ab')), clean)
  t.same(threeAppends().check(held('abc')), clean, 'what nobody knew of may be there')
  t.match(threeAppends().check(held('a')), { lost: 1 })
  t.match(threeAppends().check(held('ba')), { lost: 2, wrong: [/8 was answered too early/] })
  t.match(threeAppends().check(held('abb')), { wrong: [/9 is b, which nobody sent or .* twice/] })
  t.match(threeAppends().check(held('abx')), { wrong: [/9 is x, which nobody sent/] })
  const withHole = new Map([...held('ab'), [10, 'c']] as const)
  t.match(threeAppends().check(withHole), { wrong: [/10 follows a hole/] })
  const seen = threeAppends()
  seen.read(7, 'a')
  t.same(seen.check(held('ab')), clean)
  seen.read(9, 'c')
  t.match(seen.check(held('ab')), { wrong: [/9 was read as c, and is not/] })
  seen.read(9, 'd')
  t.match(seen.check(held('abc')), { wrong: [/9 was c, and reads as d/, /9 was read as d/] })
})

t.test('a report is good only if every round is', async (t) => {
  const round: RoundReport = {
    round: 0,
    fault: 'kill the leader',
    victim: 'one',
    acked: 10,
    lost: 0,
    linearizable: true,
    early: 0,
    writePauseMs: 20,
    appendPauseMs: 30,
    wrong: [],
  }
  const all: RoundReport = { ...round, fault: 'kill all', writePauseMs: 90 }
  t.match(totalOf([round, all]), {
    ok: true,
    rounds: 2,
    acked: 20,
    longestPauseMs: 30,
    longestPauseOfAllMs: 90,
  })
  const flaws = [{ lost: 1 }, { linearizable: false }, { early: 1 }, { wrong: ['x'] }, { acked: 0 }]
  for (const flaw of flaws) t.equal(totalOf([round, { ...round, ...flaw }]).ok, false)
})
