import t from 'tap'
import type { Test } from 'tap'
import { createSimulatedIo, World } from '../../../src/simulation/index.ts'
import { ioSuite } from '../../conformance/io-suite.ts'
import { run } from '../../support/thread-program.ts'

const programs = { 'embedded/node-thread': run }

for (const seed of [1, 2, 3]) {
  t.test(`the simulated world keeps the contract, seed ${seed}`, async (t) => {
    ioSuite(t, async (t: Test) => {
      const world = new World({ seed: `${seed} ${t.name}` })
      const io = createSimulatedIo(world, 'a', { programs })
      await world.settle(io.files.makeDirectory('/data'))
      return {
        io,
        directory: '/data',
        address: { host: 'localhost', port: 0 },
        settle: (promise) => world.settle(promise),
      }
    })
  })
}

t.test('the databases of a node outlive its processes, whole up to some commit', async (t) => {
  const world = new World({ seed: 5 })
  for (let boot = 0; boot < 5; boot++) {
    const io = createSimulatedIo(world, 'a')
    const state = await world.settle(io.states.open('/state'))
    const create = 'create table if not exists t (n integer)'
    const count = 'select count(*) as n from t'
    await world.settle(state.transact((sql) => sql.run(create), { durable: true }))
    const [before] = await world.settle(state.query(count, []))
    t.ok(Number(before?.['n']) <= boot * 3)
    for (let n = 0; n < 3; n++) {
      await world.settle(state.transact((sql) => sql.run('insert into t values (1)')))
    }
    world.cutPower('a')
  }
})
