// Runs that fail are made smaller, written down, and read again.
import t from 'tap'
import {
  readReplay,
  shrink,
  writeReplay,
  type ChoiceLists,
  type Plan,
} from '../../../src/simulation/index.ts'
import { Choices } from '../../../src/simulation/choices.ts'
import { SeededRandom } from '../../../src/simulation/random.ts'

/** A run that draws 40 numbers for work and one for each millisecond of waiting. */
function chosenBy(plan: Plan): ChoiceLists {
  const choices = new Choices(new SeededRandom(String(plan.seed)), plan.choices)
  for (let left = 40; left > 0; left -= 1) choices.label('work').next(100)
  for (let left = plan.sizes['faultMs'] ?? 0; left > 0; left -= 1) choices.label('wait').next(4096)
  return choices.taken
}

/** Fails when two certain faults meet two clients and a piece of work of at least 90. */
const failing = (seen: { runs: number }) => async (plan: Plan) => {
  seen.runs += 1
  const chosen = chosenBy(plan)
  const happens = (fault: number) => plan.faults?.includes(fault) ?? true
  const { faultMs = 0, clients = 0 } = plan.sizes
  const work = Array.from(chosen.get('work') ?? [])
  const fails = happens(3) && happens(11) && clients >= 2 && faultMs >= 300
  return fails && work.some((choice) => choice >= 90) ? chosen : undefined
}

const plan: Plan = { seed: 7, sizes: { faultMs: 5000, clients: 3, nodes: 5 } }
const least = { faultMs: 100, clients: 0 }

t.test('what does not matter goes', async (t) => {
  const seen = { runs: 0 }
  const fails = failing(seen)
  t.ok(await fails(plan), 'it fails to begin with')
  const small = await shrink(plan, { fails, runsMax: 1000, least, faults: 20 })
  t.ok(await fails(small), 'it still fails')
  t.same(small.faults, [3, 11])
  t.equal(small.sizes['clients'], 2)
  t.ok((small.sizes['faultMs'] ?? 0) >= 300 && (small.sizes['faultMs'] ?? 0) <= 350, 'time')
  t.equal(small.sizes['nodes'], 5, 'a size without a bound stays')
  t.same(small.choices?.get('wait'), [], 'waiting is as short as can be')
  const work = Array.from(small.choices?.get('work') ?? [])
  t.equal(work.length, 1, 'one piece of work, and that the first')
  t.ok((work[0] ?? 0) >= 90 && (work[0] ?? 0) < 97, 'of the least that will do, almost')
})

t.test('the budget of runs is kept, and each step on the way fails', async (t) => {
  for (const runsMax of [0, 1, 2, 5, 17, 60]) {
    const seen = { runs: 0 }
    const small = await shrink(plan, { fails: failing(seen), runsMax, least, faults: 20 })
    t.ok(seen.runs <= runsMax, `${seen.runs} of ${runsMax} runs`)
    t.ok(await failing(seen)(small), 'what is given back fails')
  }
})

t.test('a run that fails by itself alone stays as it is', async (t) => {
  const fails = async (candidate: Plan) => (candidate === plan ? chosenBy(plan) : undefined)
  const small = await shrink(plan, { fails, runsMax: 500, least, faults: 4 })
  t.same(small.sizes, plan.sizes)
  t.equal(small.faults, undefined)
  t.same([...(small.choices ?? [])], [...chosenBy(plan)], 'with what it chose')
})

t.test('choices: from the seed, from a list, and behind its end', async (t) => {
  const seeds = () => new SeededRandom('1')
  const draw = (choices: Choices, label: string) =>
    Array.from({ length: 50 }, () => choices.label(label).next(1000))
  const first = new Choices(seeds())
  const drawn = draw(first, 'a')
  draw(first, 'b')
  t.same(Array.from(first.taken.get('a') ?? []), drawn, 'they are written down')
  const changed = new Choices(seeds(), new Map([['a', [1, 2002, ...drawn.slice(2, 4)]]]))
  t.same(draw(changed, 'a').slice(0, 6), [1, 2, drawn[2], drawn[3], 0, 0])
  t.same(draw(changed, 'b'), Array.from(first.taken.get('b') ?? []), 'another label is as it was')
})

t.test('a replay is text that may be changed', async (t) => {
  const replay = {
    ...plan,
    checker: 'I1',
    reason: 'ledger 5: "it" is gone',
    faults: [1, 2],
    choices: new Map([
      ['work', [1, 2, 3]],
      ['net.latency', []],
    ]),
  }
  const text = writeReplay(replay)
  t.same(readReplay(text), replay)
  t.match(text, /^ {4}"work": \[1,2,3\],?$/m, 'a list is a line')
  const seedOnly = { ...plan, checker: 'I1', reason: '' }
  t.match(readReplay(writeReplay(seedOnly)), { ...seedOnly, faults: undefined, choices: undefined })
  t.same(readReplay(text.replace('1,2,3', '4')).choices?.get('work'), [4])
  for (const bad of [
    '',
    '{}',
    text.replace('1,2,3', '1,-2'),
    text.replace('replay 1', 'replay 9'),
  ]) {
    t.throws(() => readReplay(bad), { code: 'QUIRE_BAD_OPTION' })
  }
})
