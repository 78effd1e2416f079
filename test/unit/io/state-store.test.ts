// The stores of replicated states in SQLite keep the contract.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { states } from '../../../src/io/real/state-store.ts'
import { stateSuite } from '../../conformance/state-suite.ts'

stateSuite(t, (t) => {
  const directory = t.testdir()
  const path = join(directory, 'state', 'state.sqlite')
  return {
    states,
    path,
    settle: (promise) => promise,
    // What a process that is killed leaves: its files as they are.
    async crash() {
      const copy = join(directory, 'left')
      cpSync(join(directory, 'state'), copy, { recursive: true })
      return { states, path: join(copy, 'state.sqlite') }
    },
  }
})
