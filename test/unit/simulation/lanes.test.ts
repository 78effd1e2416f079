// The picture of a run that failed.
import t from 'tap'
import { lanes, World, type Told } from '../../../src/simulation/index.ts'

const told = (timeMs: number, machine: string, text: string, about?: string): Told => ({
  timeMs,
  machine,
  text,
  about,
})

t.test('what the reason names, and what befell the machines meanwhile', async (t) => {
  const story = [
    told(1, 'a', 'an earlier fault'),
    told(2, 'k1', 'appending 5 "x"', 'ledger 5'),
    told(3, 'k1', 'appending 51 "y"', 'ledger 51'),
    told(4, '', 'fault 0: partition'),
    told(5, 'b', 'killed'),
    told(60.25, 'k1', 'acked 5 0 "a very long name that does not fit"', 'ledger 5'),
  ]
  const machines = ['a', 'b', 'k1']
  t.equal(
    lanes(story, { machines, reason: 'ledger 5: 0 was lost', columns: 60 }),
    `        ms | b                      | k1
           | ---------------------- | ----------------------
       2.0 |                        | appending 5 "x"
       4.0 | == fault 0: partition ==
       5.0 | killed                 |
      60.3 |                        | acked 5 0 "a very long
           |                        | name that does not
           |                        | fit"
`,
  )
})

t.test('only the last events; a word longer than its lane is cut', async (t) => {
  const story = Array.from({ length: 100 }, (_, at) => told(at, 'a', `n${at} ${'x'.repeat(40)}`))
  const picture = lanes(story, { machines: ['a'], reason: 'liveness', last: 3, columns: 40 })
  t.notMatch(picture, /n96/)
  for (const shown of ['n97', 'n98', 'n99']) t.match(picture, shown)
  const tooWide = picture.split('\n').filter((line) => line.length > 40)
  t.same(tooWide, [])
})

t.test('what is told has a time and a place, and costs nothing when nobody listens', async (t) => {
  const story: Told[] = []
  for (const listen of [undefined, (one: Told) => void story.push(one)]) {
    const world = new World({ seed: 1, listen })
    const task = world.node('a').boot()
    const said = { times: 0 }
    const tell = () => {
      said.times += 1
      return 'hello'
    }
    await world.settle(task.later('x', [5, 5], () => world.scheduler.tell(tell, { about: 'it' })))
    world.kill('a')
    t.equal(said.times, listen === undefined ? 0 : 1)
  }
  t.same(story, [told(5, 'a', 'hello', 'it'), told(5, 'a', 'killed')])
})
