// The oracle of programs' states is checked itself: it takes a good history without a word, and
// names what is wrong in a bad one.
import t from 'tap'
import { World } from '../../../src/simulation/index.ts'
import { StateOracle, type Applied } from '../../../src/simulation/program/oracle.ts'
import { Report } from '../../../src/simulation/report.ts'

function applied(position: number, change: Partial<Applied> = {}): Applied {
  const facts = { id: `c${position}`, command: `add ${position}`, who: 'node-1' }
  return {
    position,
    ...facts,
    before: `${position}`,
    after: `${position + 1}`,
    result: '1',
    ...change,
  }
}

function findings(history: (oracle: StateOracle) => void): string[] {
  const world = new World({ seed: 1 })
  const report = new Report(() => 0)
  const oracle = new StateOracle({ world, report }, 'bank')
  for (const id of ['c0', 'c1', 'c2']) oracle.executing(id, { command: id, who: 'node-1' })
  history(oracle)
  return report.violations.map(({ checker }) => checker)
}

const other = { who: 'node-2' }
const begins = { who: 'node-2', before: '9', chained: true }

t.test('a good history', async (t) => {
  const good = findings((oracle) => {
    oracle.begins(0, { ...begins, before: '0' })
    oracle.applied(applied(0))
    oracle.answered('c0', '1')
    oracle.begins(2, { ...begins, before: '1', chained: false })
    oracle.applied(applied(2, { result: undefined }))
    oracle.answered('c2', undefined)
    oracle.applied(applied(0, other))
    oracle.begins(2, { ...begins, before: '2' })
    oracle.applied(applied(2, { ...other, result: undefined }))
    oracle.refused('c1')
    oracle.final('observer', 4, '3')
  })
  t.same(good, [])
})

const bad: Record<string, [checker: string, (oracle: StateOracle) => void]> = {
  'an answer for what was never applied': ['command lost', (o) => o.answered('c0', '1')],
  'another answer than the result': ['command answer', (o) => o.answered('c1', '2')],
  'refused, and applied before': ['command refused', (o) => o.refused('c1')],
  'an end before what was answered': [
    'command lost',
    (o) => {
      o.answered('c1', '1')
      o.final('observer', 1, '1')
    },
  ],
  'another state in the end': ['state equality', (o) => o.final('observer', 2, '9')],
  'another state before an entry': ['state equality', (o) => o.begins(1, begins)],
  'a state that is not the one behind the last entry': [
    'state equality',
    (o) => o.begins(2, begins),
  ],
  'another state behind an entry': [
    'state equality',
    (o) => o.applied(applied(1, { ...other, after: '9' })),
  ],
  'another result': ['state equality', (o) => o.applied(applied(1, { ...other, result: '9' }))],
  'another command': ['state equality', (o) => o.applied(applied(1, { ...other, id: 'c2' }))],
  'an entry that others had gone past': ['state equality', (o) => o.applied(applied(0))],
  twice: ['exactly once', (o) => o.applied(applied(2, { id: 'c1' }))],
  'a command that nobody executed': ['command content', (o) => o.applied(applied(2, { id: 'x' }))],
  'refused, and applied after': [
    'command refused',
    (o) => {
      o.refused('c2')
      o.applied(applied(2))
    },
  ],
}

for (const [what, [checker, history]] of Object.entries(bad)) {
  t.test(what, async (t) => {
    const found = findings((oracle) => {
      oracle.applied(applied(1))
      history(oracle)
    })
    t.same(found, [checker])
  })
}
