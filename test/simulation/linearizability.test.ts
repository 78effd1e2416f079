// The search itself: histories that have an order and histories that have none, and random ones
// against all orders tried one by one.
import * as fc from 'fast-check'
import t from 'tap'
import { isLinearizable, type Operation } from './checkers/linearizability.ts'
import { registerModel, type RegisterInput, type RegisterOutput } from './raft/registers.ts'

type Op = Operation<RegisterInput, RegisterOutput>

const read = (calledAt: number, returnedAt: number, version: number, value: string): Op => ({
  input: { type: 'read' },
  output: { type: 'is', version, value },
  calledAt,
  returnedAt,
})
const set = (calledAt: number, returnedAt: number, version: number, value: string): Op => ({
  input: { type: 'set', version, value },
  output: { type: 'is', version: version + 1, value },
  calledAt,
  returnedAt,
})
const refused = (op: Op): Op => ({ ...op, output: { type: 'bad version' } })
const unknown = (op: Op): Op => ({ ...op, output: undefined, returnedAt: Infinity })

const good: Record<string, Op[]> = {
  nothing: [],
  'one after the other': [
    set(1, 2, 0, 'a'),
    read(3, 4, 1, 'a'),
    set(5, 6, 1, 'b'),
    read(7, 8, 2, 'b'),
  ],
  'a read beside a write sees it or not': [
    set(1, 9, 0, 'a'),
    read(2, 3, 0, ''),
    read(4, 5, 1, 'a'),
  ],
  'one of two wins': [set(1, 5, 0, 'a'), refused(set(2, 6, 0, 'b')), read(7, 8, 1, 'a')],
  'unknown, and it happened': [unknown(set(1, 2, 0, 'a')), read(3, 4, 1, 'a')],
  'unknown, and it did not': [unknown(set(1, 2, 0, 'a')), set(3, 4, 0, 'b'), read(5, 6, 1, 'b')],
  'unknown, and late': [unknown(set(1, 2, 0, 'a')), read(3, 4, 0, ''), read(5, 6, 1, 'a')],
}
const bad: Record<string, Op[]> = {
  'a stale read': [set(1, 2, 0, 'a'), read(3, 4, 0, '')],
  'a read that goes back': [set(1, 9, 0, 'a'), read(2, 3, 1, 'a'), read(4, 5, 0, '')],
  'two of two win': [set(1, 5, 0, 'a'), set(2, 6, 0, 'b')],
  'a lost write': [set(1, 2, 0, 'a'), set(3, 4, 0, 'b')],
  'a refusal without a reason': [refused(set(1, 2, 0, 'a'))],
  'a value that nobody wrote': [read(1, 2, 1, 'x')],
  'what was unknown and seen is gone': [
    unknown(set(1, 2, 0, 'a')),
    read(3, 4, 1, 'a'),
    read(5, 6, 0, ''),
  ],
}

t.test('histories that have an order', async (t) => {
  for (const [name, history] of Object.entries(good)) {
    t.equal(isLinearizable(history, registerModel), true, name)
  }
})

t.test('histories that have none', async (t) => {
  for (const [name, history] of Object.entries(bad)) {
    t.equal(isLinearizable(history, registerModel), false, name)
  }
})

/** Tries every order. */
function byForce(history: readonly Op[], state: { version: number; value: string }): boolean {
  if (history.length === 0) return true
  const firstReturn = Math.min(...history.map(({ returnedAt }) => returnedAt))
  return history.some((op, at) => {
    if (op.calledAt > firstReturn) return false
    const next = registerModel.step(state, op.input, op.output)
    return next !== undefined && byForce(history.toSpliced(at, 1), next)
  })
}

t.test('random histories, against every order', async (t) => {
  const values = fc.constantFrom('', 'a', 'b')
  const output: fc.Arbitrary<RegisterOutput | undefined> = fc.oneof(
    fc.record({ type: fc.constant('is' as const), version: fc.nat(2), value: values }),
    fc.constant({ type: 'bad version' as const }),
    fc.constant(undefined),
  )
  const input: fc.Arbitrary<RegisterInput> = fc.oneof(
    fc.constant({ type: 'read' as const }),
    fc.record({ type: fc.constant('set' as const), version: fc.nat(1), value: values }),
  )
  const one = fc.tuple(
    input,
    output,
    fc.integer({ min: 0, max: 20 }),
    fc.integer({ min: 1, max: 9 }),
  )
  const outcomes = new Set<boolean>()
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 6 }), (drawn) => {
      const history = drawn.map(([input, output, from, length], at): Op => ({
        input,
        output,
        calledAt: from * 10 + at,
        returnedAt: output === undefined ? Infinity : (from + length) * 10 + 0.5 + at,
      }))
      const expected = byForce(history, registerModel.initial)
      outcomes.add(expected)
      return isLinearizable(history, registerModel) === expected
    }),
    { numRuns: 2000, seed: 7 },
  )
  t.same(outcomes, new Set([true, false]), 'both happened')
})
