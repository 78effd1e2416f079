// Elections and terms: items 1 to 18 of the list.
import t from 'tap'
import { createChooser } from '../../../support/chooser.ts'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import {
  append,
  entry,
  heartbeat,
  ofType,
  types,
  vote,
  voteResponse,
} from '../../../support/raft-messages.ts'

/** Puts a node at a term it has heard of, without a leader. */
const raiseTerm = (network: RaftNetwork, id: string, term: number): void => {
  network.inject(voteResponse(['x', id, term]))
  network.persist(id)
}

const grants = (network: RaftNetwork): (readonly [string, boolean])[] =>
  ofType(network.wire, 'vote-response').map(({ to, granted }) => [to, granted])

t.test('F3.1 a vote is durable before it leaves, and is not given twice', async (t) => {
  const network = new RaftNetwork()
  network.inject(vote(['a', 'b', 1]))
  t.same(network.wire, [], 'nothing has left')
  network.crash('b')
  network.start('b')
  network.inject(vote(['c', 'b', 1]))
  network.persist('b')
  t.same(grants(network), [['c', true]], 'a vote that nobody was told of may go elsewhere')
  network.crash('b')
  network.start('b')
  network.wire = []
  network.inject(vote(['a', 'b', 1]))
  t.same(grants(network), [['a', false]], 'one that was told may not')
  network.wire = []
  network.inject(vote(['c', 'b', 1]))
  t.same(grants(network), [['c', true]], 'it is repeated to whom it was given')
})

t.test('F3.2 a higher term is durable before it is acted in', async (t) => {
  const network = new RaftNetwork()
  network.inject(heartbeat(['a', 'b', 5]))
  t.equal(network.state('b').term, 5)
  t.same(network.wire, [], 'the answer waits')
  network.persist('b')
  t.match(network.wire, [{ type: 'heartbeat-response', term: 5 }])
  network.crash('b')
  t.equal(network.node('b').durable.hard.term, 5)
})

t.test('F3.3 a candidate is elected by nobody before its own vote is durable', async (t) => {
  const network = new RaftNetwork()
  network.hungDisks.add('a')
  network.tick('a', 20, 0)
  network.settle()
  t.equal(network.state('a').role, 'candidate')
  t.same([...network.state('a').votes], [], 'its own vote does not count yet')
  t.equal(network.state('b').term, 0, 'nobody was asked')
  network.hungDisks.clear()
  network.settle()
  t.equal(network.state('a').role, 'leader')
})

t.test(
  'F3.4 votes go to logs that are as long, by term first; also behind a snapshot',
  async (t) => {
    const network = new RaftNetwork()
    network.elect('b')
    network.elect('a')
    network.propose('a', 'x')
    network.settle()
    network.tickAll(4)
    network.cut('b')
    t.same(network.node('b').view.log, [], 'all of the log is in the state')
    const { cut } = network.node('b').view
    t.same(cut, { index: 3, term: 2 })
    network.crash('b')
    network.start('b')
    const cases = [
      { lastTerm: 1, lastIndex: 99, granted: false },
      { lastTerm: 2, lastIndex: 2, granted: false },
      { lastTerm: 2, lastIndex: 3, granted: true },
      { lastTerm: 3, lastIndex: 1, granted: true },
    ]
    cases.forEach(({ lastTerm, lastIndex, granted }, i) => {
      network.wire = []
      network.inject(vote(['c', 'b', 10 + i], { lastTerm, lastIndex }))
      network.persist('b')
      t.same(grants(network), [['c', granted]], `${lastTerm}/${lastIndex}`)
    })
  },
)

t.test('F3.5 time-outs are drawn anew: nodes that were in step find a leader', async (t) => {
  for (let seed = 1; seed <= 40; seed++) {
    const below = createChooser(seed)
    const network = new RaftNetwork()
    network.tickAll(30, () => 0)
    t.equal(network.leader, undefined, 'in step, they split the vote')
    const { term } = network.state('a')
    network.tickAll(200, () => below(10))
    t.ok(network.leader, `a leader, from term ${term} on`)
  }
})

t.test('F3.6 a leader of an earlier term is told; a node at a later one comes back', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  network.isolate('a')
  network.elect('b')
  network.heal()
  network.inject(vote(['a', 'c', 1], { lastIndex: 9, lastTerm: 9 }))
  t.same(network.wire, [], 'a vote of an earlier term is not answered')
  network.tick('a', 2)
  network.settle()
  t.equal(network.state('a').role, 'follower')
  t.equal(network.state('a').term, 2)
  raiseTerm(network, 'c', 7)
  network.tickAll(60, apart)
  t.ok((network.state(network.leader ?? '').term ?? 0) > 7, 'its term was taken over')
  t.equal(network.state('c').leader, network.leader, 'it follows again')
})

t.test('F3.7 a pre-vote changes nothing; its grant has the term asked for', async (t) => {
  const network = new RaftNetwork()
  raiseTerm(network, 'b', 4)
  network.inject(vote(['a', 'b', 5], { preVote: true }))
  network.inject(vote(['a', 'b', 3], { preVote: true }))
  t.match(network.wire, [
    { preVote: true, granted: true, term: 5 },
    { preVote: true, granted: false, term: 4 },
  ])
  t.equal(network.state('b').term, 4)
  t.equal(network.state('b').vote, undefined)
  t.equal(network.node('b').writes.length, 0, 'nothing to write')
})

t.test('F3.8 who is cut off disturbs nobody, and a leader cut off steps down', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  network.isolate('c')
  network.tickAll(100)
  t.equal(network.state('c').role, 'pre-candidate')
  t.equal(network.state('c').term, 1, 'its term stays')
  network.heal()
  network.tickAll(20)
  t.equal(network.leader, 'a')
  t.equal(network.state('a').term, 1)
  t.equal(network.state('c').leader, 'a')
  network.isolate('a')
  network.tickAll(40, apart)
  t.equal(network.state('a').role === 'leader', false)
  t.ok(network.leader === 'b' || network.leader === 'c')
})

t.test('F3.9 each pair elects, at whatever terms they are', async (t) => {
  for (const down of ['a', 'b', 'c']) {
    for (const high of ['a', 'b', 'c']) {
      const network = new RaftNetwork()
      network.elect('a')
      network.isolate('b')
      network.propose('a', 'x')
      network.settle()
      network.heal()
      network.crash(down)
      if (down !== high) raiseTerm(network, high, 9)
      const below = createChooser(3)
      network.tickAll(120, () => below(10))
      t.ok(network.leader, `without ${down}, ${high} at a later term`)
      const ctx = network.propose(network.leader ?? '', 'y')
      network.settle()
      t.equal(network.outcome(ctx), 'committed')
    }
  }
})

t.test('F3.10 granting a pre-vote is no sign of life of a leader', async (t) => {
  const network = new RaftNetwork()
  network.tick('b', 7)
  network.inject(vote(['c', 'b', 1], { preVote: true }))
  t.same(grants(network), [['c', true]])
  t.equal(network.state('b').electionTicks, 7)
  network.inject(vote(['c', 'b', 1], { lastIndex: 0 }))
  t.equal(network.state('b').electionTicks, 0, 'granting a vote is')
})

t.test('F3.11 who hears a leader refuses; the leader too; who lost it answers', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  const last = { lastIndex: 9, lastTerm: 1 }
  for (const id of ['a', 'b']) {
    network.wire = []
    network.inject(vote(['c', id, 2], { preVote: true, ...last }))
    t.match(network.wire, [{ granted: false, term: 1 }], `${id} refuses a pre-vote`)
    network.wire = []
    network.inject(vote(['c', id, 2], last))
    t.same(network.wire, [], `${id} does not hear a vote`)
    t.equal(network.state(id).term, 1)
  }
  t.equal(network.state('a').role, 'leader')
  network.tick('b', 10)
  network.inject(vote(['c', 'b', 2], { preVote: true, ...last }))
  t.same(grants(network), [['c', true]], 'after an election timeout')
})

t.test('F3.12 who was removed, at whatever term, deposes nobody and learns it', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  network.isolate('c')
  const ctx = network.change('a', { kind: 'remove', node: 'c' })
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
  raiseTerm(network, 'c', 30)
  network.heal()
  network.inject(vote(['c', 'b', 31], { lastIndex: 99, lastTerm: 31 }))
  network.settle()
  t.equal(network.state('a').role, 'leader')
  t.equal(network.state('a').term, 1)
  network.tick('c', 40, 0)
  network.settle()
  t.equal(network.state('c').retired, true, 'it was told')
  network.tickAll(60)
  t.equal(network.state('c').role, 'follower', 'and keeps still')
  t.equal(network.state('a').term, 1)
})

t.test('F3.13 a leader that hears no majority of voters steps down', async (t) => {
  const network = new RaftNetwork({ learners: ['d'] })
  network.elect('a')
  network.separate('a', 'b')
  network.separate('a', 'c')
  for (let i = 0; i < 9; i++) {
    network.tick('a')
    network.settle()
  }
  t.equal(network.state('a').role, 'leader', 'for an election timeout it may be a delay')
  network.tick('a')
  t.equal(network.state('a').role, 'follower', 'what a learner says does not count')
})

t.test('F3.14 deaf leaders step down, mute followers keep still', async (t) => {
  const deaf = new RaftNetwork()
  deaf.elect('a')
  deaf.blocked.add('b>a').add('c>a')
  for (let i = 0; i < 10; i++) {
    deaf.tick('a')
    deaf.settle()
  }
  t.equal(deaf.state('a').role, 'follower', 'though all hear it')
  const mute = new RaftNetwork()
  mute.elect('a')
  mute.blocked.add('c>a').add('c>b')
  mute.tickAll(100)
  t.equal(mute.state('c').role, 'follower')
  t.equal(mute.leader, 'a')
  t.equal(mute.state('a').term, 1)
})

t.test('F3.15 a leader that is being removed does not count itself', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  network.hungDisks.add('c')
  const ctx = network.change('a', { kind: 'remove', node: 'a' })
  network.settle()
  t.equal(network.outcome(ctx), 'pending', 'a and b are no majority of b and c')
  network.isolate('c')
  for (let i = 0; i < 10; i++) {
    network.tick('a')
    network.settle()
  }
  t.equal(network.state('a').role, 'follower', 'nor to be heard by')
})

t.test('F3.16 a new leader commits an entry of its term before anything else', async (t) => {
  const network = new RaftNetwork()
  network.hungDisks.add('b').add('c')
  network.tick('a', 20, 0)
  network.settle()
  network.persist('b')
  network.persist('c')
  network.settle()
  t.equal(network.state('a').role, 'leader')
  t.match(network.state('a').told, { ready: false })
  const read = network.read('a')
  const change = network.change('a', { kind: 'learner', node: 'd' })
  t.equal(network.outcome(change), 'refused: not-ready')
  network.tick('a', 3)
  network.settle()
  t.equal(network.outcome(read), 'pending')
  network.hungDisks.clear()
  network.settle()
  t.match(network.state('a').told, { ready: true })
  t.equal(network.outcome(read), 'read')
})

t.test('F3.17 votes count once, in the campaign they were asked for', async (t) => {
  const network = new RaftNetwork({ voters: ['a', 'b', 'c', 'd', 'e'] })
  network.tick('a', 20, 0)
  const { campaignRound: round } = network.state('a')
  const grant = { granted: true, preVote: true, round }
  network.inject(voteResponse(['b', 'a', 1], grant))
  network.inject(voteResponse(['b', 'a', 1], grant))
  network.inject(voteResponse(['c', 'a', 1], { ...grant, round: round - 1 }))
  t.equal(network.state('a').role, 'pre-candidate', 'one of them counts')
  network.inject(voteResponse(['c', 'a', 1], grant))
  t.equal(network.state('a').role, 'candidate')
  network.persist('a')
  network.inject(voteResponse(['d', 'a', 1], grant))
  network.inject(voteResponse(['e', 'a', 1], { ...grant, round: network.state('a').campaignRound }))
  t.equal(network.state('a').votes.size, 1, 'a pre-vote is no vote')
  network.tick('a', 20, 0)
  network.inject(voteResponse(['b', 'a', 1], { granted: true, round }))
  t.equal(network.state('a').role, 'pre-candidate', 'an earlier term counts no more')
})

t.test('F3.18 what cannot be meant for this node changes nothing', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  network.inject({ ...append(['b', 'a', 2 ** 50]), entries: [] })
  network.inject(append(['b', 'a', Number.NaN]))
  network.inject(append(['b', 'a', 1.5]))
  network.inject(append(['a', 'a', 4]))
  network.step('a', { type: 'message', message: append(['b', 'c', 4]) })
  t.equal(network.state('a').role, 'leader')
  t.equal(network.state('a').term, 1)
  // Entries that do not follow one another are no append.
  const entries = [entry(2, 1), entry(4, 1)]
  network.inject(append(['a', 'b', 1], { prevIndex: 1, prevTerm: 1, entries }))
  network.inject(append(['a', 'b', 1], { prevIndex: 1, prevTerm: 1, entries: [entry(2, 3)] }))
  t.equal(network.state('b').log.lastIndex, 1)
  t.same(network.take(types('append-response')), [])
})
