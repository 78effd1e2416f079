// Linearizable reads: items 36 to 42 of the list.
import t from 'tap'
import { RaftNetwork } from '../../../support/raft-network.ts'
import { ofType, types } from '../../../support/raft-messages.ts'

function led(options: ConstructorParameters<typeof RaftNetwork>[0] = {}): RaftNetwork {
  const network = new RaftNetwork(options)
  network.elect('a')
  return network
}

t.test('F3.36 reads wait for an entry of the term, and fail in time', async (t) => {
  const network = new RaftNetwork()
  network.loses = types('append')
  network.elect('a')
  const reads = [network.read('a'), network.read('b')]
  network.settle()
  t.same(
    reads.map((ctx) => network.outcome(ctx)),
    ['pending', 'read-failed'],
    'b knows no leader',
  )
  network.tick('a', 2)
  network.settle()
  const forwarded = network.read('b')
  network.settle()
  t.equal(network.outcome(forwarded), 'pending')
  network.tickAll(40)
  t.equal(network.outcome(reads[0] ?? 0), 'read-failed')
  t.equal(network.outcome(forwarded), 'read-failed', 'none is forgotten')
  network.loses = undefined
  const late = network.read('a')
  network.tickAll(4)
  t.equal(network.outcome(late), 'read')
})

t.test('F3.37 a read is confirmed by a heartbeat begun after it came', async (t) => {
  const network = led({ learners: ['d'] })
  network.tick('a', 2)
  const rounds = ofType(network.wire, 'heartbeat').map(({ round }) => round)
  while (ofType(network.wire, 'heartbeat').length > 0) network.deliver()
  const answers = network.take(types('heartbeat-response'))
  t.equal(answers.length, 3)
  network.isolate('a')
  const read = network.read('a')
  network.settle()
  for (const answer of answers) network.step('a', { type: 'message', message: answer })
  t.equal(network.outcome(read), 'pending', 'those answered a heartbeat of before')
  const round = Math.max(...rounds) + 1
  const say = (from: string): void =>
    network.step('a', {
      type: 'message',
      message: { type: 'heartbeat-response', from, to: 'a', term: 1, round, lastIndex: 1 },
    })
  say('d')
  t.equal(network.outcome(read), 'pending', 'a learner does not count')
  say('b')
  t.equal(network.outcome(read), 'read')
})

t.test('F3.37 in a joint configuration both majorities confirm', async (t) => {
  const network = led({ learners: ['d', 'e'] })
  network.propose('a', 'x')
  network.settle()
  network.tickAll(12)
  network.hungDisks.add('b').add('c')
  network.change('a', { kind: 'voter', node: 'd' }, { kind: 'voter', node: 'e' })
  network.settle()
  t.equal(network.core.statusOf(network.state('a')).configuration.outgoing.length, 3)
  network.separate('a', 'b')
  network.separate('a', 'c')
  const read = network.read('a')
  network.settle()
  t.equal(network.outcome(read), 'pending', 'a, d and e are one of two')
  network.heal()
  network.tickAll(2)
  t.equal(network.outcome(read), 'read')
})

t.test('F3.38 the index of a read may be ahead of what is applied', async (t) => {
  const network = led()
  network.hungApplies.add('b')
  network.propose('a', 'x')
  network.settle()
  const read = network.read('b')
  network.settle()
  t.match(network.outcomes.get(read), { type: 'read', index: 2 })
  t.ok(network.state('b').applied < 2, 'whoever serves it waits')
})

t.test('F3.39 a read passed on to a leader that is none any more fails', async (t) => {
  const network = led()
  const read = network.read('c')
  const [asked] = network.take(types('read'))
  network.isolate('a')
  network.elect('b')
  network.tickAll(2)
  t.equal(network.outcome(read), 'read-failed')
  network.heal()
  if (asked) network.inject(asked)
  network.settle()
  t.equal(network.outcome(read), 'read-failed', 'the question comes late')

  const again = led()
  again.read('c')
  while (ofType(again.wire, 'read-response').length === 0) again.deliver()
  const [answer] = again.take(types('read-response'))
  again.crash('c')
  again.start('c')
  again.tickAll(3)
  const fresh = again.read('c')
  if (answer) again.inject(answer)
  t.equal(again.outcome(fresh), 'pending', 'an answer to the run before is none to this one')
  again.settle()
  t.equal(again.outcome(fresh), 'read')
})

t.test(
  'F3.40 while leadership is handed over reads are confirmed as ever, or not at all',
  async (t) => {
    const network = led()
    network.loses = types('heartbeat')
    network.transfer('a', 'b')
    const read = network.read('a')
    network.settle()
    t.equal(network.leader, 'b')
    t.not(network.outcome(read), 'read', 'b may have committed more')
  },
)

t.test('F3.41 no lease: a leader that hears nobody serves no read', async (t) => {
  const network = led()
  network.isolate('a')
  const read = network.read('a')
  network.settle()
  t.equal(network.outcome(read), 'pending', 'however short ago it was heard')
  network.elect('b')
  network.propose('b', 'x')
  network.tickAll(20)
  t.equal(network.outcome(read), 'read-failed')
})

t.test('F3.42 one node alone waits for its own disk and its entry of the term', async (t) => {
  const network = new RaftNetwork({ voters: ['a'] })
  network.hungDisks.add('a')
  network.tick('a', 20, 0)
  t.equal(network.state('a').role, 'candidate', 'its vote is not durable')
  network.persist('a')
  t.equal(network.state('a').role, 'leader')
  const read = network.read('a')
  network.settle()
  t.equal(network.outcome(read), 'pending', 'nor is its entry')
  network.hungDisks.clear()
  network.settle()
  t.equal(network.outcome(read), 'read')
  network.hungDisks.add('a')
  const ctx = network.propose('a', 'x')
  network.settle()
  t.equal(network.outcome(ctx), 'pending')
  network.hungDisks.clear()
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
})
