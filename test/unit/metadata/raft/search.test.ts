// All histories of small groups of Raft cores, and proof that the search sees a defect.
import t from 'tap'
import { loadRaftCore } from '../../../support/raft-core.ts'
import { types } from '../../../support/raft-messages.ts'
import type { RaftNetwork } from '../../../support/raft-network.ts'
import { campaign, searchRaft } from '../../../support/raft-search.ts'
import type { RaftModel } from '../../../support/raft-search.ts'

t.setTimeout(300_000)

const two = ['a', 'b']
const three = ['a', 'b', 'c']

/** `a` leads in term 1, and all is quiet. */
function led(network: RaftNetwork): void {
  campaign(network, 'a')
  network.settle()
}

/** Figure 8 of the Raft paper: `a` alone has an entry of term 1, `b` alone one of term 2. */
function parted(network: RaftNetwork): void {
  led(network)
  network.isolate('a')
  network.propose('a', 'x')
  network.settle()
  network.crash('a')
  network.heal()
  network.loses = types('append')
  campaign(network, 'b')
  network.settle()
  network.crash('b')
  network.start('a')
  network.start('b')
  network.loses = undefined
}

const figure8: RaftModel = {
  voters: three,
  prepare: parted,
  campaigns: 3,
  campaigners: two,
  underWay: 4,
}

const complete: Record<string, RaftModel> = {
  'two nodes, two campaigns, an entry': { voters: two, campaigns: 2, proposals: 1 },
  'two nodes, a crash that loses writes, a message that comes twice': {
    voters: two,
    campaigns: 1,
    proposals: 1,
    crashes: 1,
    repeats: 1,
  },
  'two nodes with a leader, a crash, another campaign': {
    voters: two,
    prepare: led,
    campaigns: 1,
    proposals: 1,
    crashes: 1,
  },
  'three nodes with a leader, another campaign, an entry': {
    voters: three,
    prepare: led,
    campaigns: 1,
    campaigners: ['b'],
    proposals: 1,
  },
  'three nodes with a leader that removes one, another campaign': {
    voters: three,
    prepare: led,
    campaigns: 1,
    campaigners: ['b'],
    changes: [[{ kind: 'remove', node: 'c' }]],
  },
}

const begun: Record<string, RaftModel> = {
  'three nodes, a campaign, an entry': { voters: three, campaigns: 1, proposals: 1 },
  'three nodes, a read while another campaigns and commits': {
    voters: three,
    prepare: led,
    campaigns: 1,
    campaigners: ['b'],
    proposals: 1,
    reads: 1,
  },
  'entries of earlier terms on one node each': figure8,
}

const statesMax = 3_000

t.test('no history breaks an invariant', async (t) => {
  for (const [name, model] of Object.entries({ ...complete, ...begun })) {
    const isWhole = name in complete
    const result = searchRaft(model, isWhole ? 60_000 : statesMax)
    const { states, transitions, violation, committed } = result
    const ends = [...committed].map(([count, times]) => `${count} committed: ${times}`).join(', ')
    t.comment(`${name}: ${states} states, ${transitions} transitions; ${ends}`)
    t.equal(violation?.message, undefined, name)
    t.equal(result.complete, isWhole, isWhole ? 'all of them' : 'the first of them')
  }
})

/** By what is wrong: the text, what it becomes, where it is found. */
const defects: Record<string, [from: string, to: string, model: RaftModel]> = {
  'an entry of an earlier term is committed by count': [
    ' && termAt(state.log, index) === state.term) advance',
    ') advance',
    figure8,
  ],
  'acknowledged before it is durable': [
    "sendAfterPersist(effects, {\n    type: 'append-response'",
    "sendNow(effects, {\n    type: 'append-response'",
    { voters: two, prepare: led, proposals: 1, crashes: 1 },
  ],
  'a leader counts what is not durable': [
    'return state.log.durable',
    'return state.log.lastIndex',
    {
      voters: three,
      prepare: led,
      campaigns: 1,
      campaigners: ['c'],
      proposals: 1,
      crashes: 1,
      underWay: 4,
    },
  ],
  'two votes in a term': [
    'state.vote === from ||',
    'true ||',
    { voters: three, campaigners: two, campaigns: 2 },
  ],
}

t.test('a defect is found', async (t) => {
  const directory = t.testdir({})
  for (const [name, [from, to, model]] of Object.entries(defects)) {
    const core = await loadRaftCore(`${directory}/${name.replaceAll(' ', '-')}`, [from, to])
    const { violation, states } = searchRaft({ ...model, core }, 20_000)
    t.ok(violation, `${name}: after ${states} states: ${violation?.message}`)
  }
})
