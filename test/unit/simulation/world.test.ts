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
