// Random schedules: nodes crash and start, disks are slow, messages get lost, repeated and
// reordered, leaders are cut off, members change. The oracle asserts election safety, log matching,
// leader completeness, state-machine safety, durable votes and acknowledgements, and linearizable
// reads at every step; at the end all is healed and the group must go on.
import t from 'tap'
import { createChooser } from '../../../support/chooser.ts'
import { violationOf } from '../../../support/mutated-core.ts'
import { loadRaftCore } from '../../../support/raft-core.ts'
import type { RaftCore } from '../../../support/raft-core.ts'
import type { NetworkOptions } from '../../../support/raft-network.ts'
import { RandomRun } from '../../../support/raft-random.ts'

t.setTimeout(300_000)

const weather = { episodes: 40, steps: 40 }
const oneByOne = { appendBytesMax: 1, inflightMessagesMax: 4 }

const groups: Record<string, NetworkOptions> = {
  'three, and two that may join': { joiners: ['d', 'e'], options: oneByOne },
  five: { voters: ['a', 'b', 'c', 'd', 'e'], options: { appendBytesMax: 200 } },
  'two, with hardly any memory': {
    voters: ['a', 'b'],
    joiners: ['c', 'd'],
    options: { windowBytesMax: 0, applyBytesMax: 100, uncommittedBytesMax: 500, ...oneByOne },
  },
}

const runs = 40

t.test('no schedule breaks an invariant, and every group recovers', async (t) => {
  for (const [name, options] of Object.entries(groups)) {
    const seen = { committed: 0, reads: 0, unknown: 0, snapshots: 0, changes: 0, terms: 0 }
    for (let seed = 1; seed <= runs; seed++) {
      const run = new RandomRun(options, createChooser(seed))
      try {
        run.run(weather)
        run.recover()
      } catch (error) {
        t.fail(`${name}, seed ${seed}: ${violationOf(error).message}`)
        continue
      }
      const { network } = run
      seen.committed += network.oracle.committedIndex
      for (const { type } of network.outcomes.values()) {
        if (type === 'read') seen.reads++
        if (type === 'unknown') seen.unknown++
      }
      for (const { snapshotsTaken, view, state } of network.nodes.values()) {
        seen.snapshots += snapshotsTaken
        seen.changes += view.configuration.index > 0 ? 1 : 0
        seen.terms = Math.max(seen.terms, state?.term ?? 0)
      }
    }
    t.comment(`${name}: ${runs} runs, ${JSON.stringify(seen)}`)
    for (const [what, count] of Object.entries(seen)) t.ok(count > 0, `${name}: ${what}`)
  }
})

const defects: Record<string, [from: string, to: string]> = {
  'a log that is too short is elected': [
    'theirs > own || (theirs === own && lastIndex >= state.log.lastIndex)',
    'true',
  ],
  'reads before an entry of the term': [
    'if (!isReady(state) || reads.length === 0) return',
    'if (reads.length === 0) return',
  ],
  'a shorter append cuts the log': [
    'if (holds(state.log, entry.index, entry.term)) continue',
    'if (entry.index > 9e9) continue',
  ],
  'an old snapshot is installed': ['return index <= state.commit', 'return false'],
  'one half of a joint configuration commits': [
    'Math.min(half(voters), half(outgoing))',
    'half(voters)',
  ],
  'a snapshot keeps the log': [
    'resetLog(state.log, snapshot)',
    'state.log.cutIndex = index; state.log.cutTerm = term',
  ],
}

const seedsMax = 100

function find(core: RaftCore): string | undefined {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const run = new RandomRun({ core, joiners: ['d', 'e'], options: oneByOne }, createChooser(seed))
    try {
      run.run(weather)
      run.recover()
    } catch (error) {
      return `seed ${seed}: ${violationOf(error).message}`
    }
  }
  return undefined
}

t.test('a defect is found', async (t) => {
  const directory = t.testdir({})
  for (const [name, mutation] of Object.entries(defects)) {
    const core = await loadRaftCore(`${directory}/${name.replaceAll(' ', '-')}`, mutation)
    const found = find(core)
    t.ok(found, `${name}: ${found}`)
  }
})
