// Disks that are slow, full, hung or lost: items 44 to 50 of the list, as far as they are the core's.
import t from 'tap'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import { append, entry, ofType, types, vote } from '../../../support/raft-messages.ts'

function led(options: ConstructorParameters<typeof RaftNetwork>[0] = {}): RaftNetwork {
  const network = new RaftNetwork(options)
  network.elect('a')
  return network
}

t.test('F3.44 a node that knows it lost data says nothing', async (t) => {
  const network = led()
  network.propose('a', 'x')
  network.settle()
  network.crash('b')
  network.start('b', { whole: false })
  network.wire = []
  network.inject(vote(['c', 'b', 9], { lastIndex: 9, lastTerm: 9 }))
  network.inject(vote(['c', 'b', 9], { lastIndex: 9, lastTerm: 9, preVote: true }))
  network.inject(append(['a', 'b', 1], { prevIndex: 2, prevTerm: 1, entries: [entry(3, 1)] }))
  network.tick('b', 100, 0)
  network.settle()
  t.same(network.wire, [], 'no vote, no acknowledgement, no campaign')
  t.equal(network.state('b').term, 1)
  network.tickAll(30)
  t.equal(network.leader, 'a', 'the others go on')
})

t.test('F3.45 a leader whose own writes hang resigns, though all hear it', async (t) => {
  const network = led()
  network.hungDisks.add('a')
  network.propose('a', 'x')
  network.tickAll(20, apart)
  t.equal(network.state('a').role, 'leader')
  t.equal(network.state('a').commit, 2, 'two others have it')
  network.tickAll(60, apart)
  t.not(network.state('a').role, 'leader')
  t.not(network.leader, undefined)
  t.not(network.leader, 'a')
  network.isolate('a')
  network.tickAll(40, apart)
  t.equal(network.state('a').role, 'follower', 'and does not campaign')
  network.hungDisks.clear()
  network.heal()
  network.tickAll(20, apart)
  t.same(network.values('a'), ['x'])
})

t.test('F3.46 a follower that hangs does not hold the log', async (t) => {
  const network = led()
  network.hungDisks.add('c')
  for (let i = 0; i < 20; i++) network.propose('a', `${i}`)
  network.settle()
  network.cut('a')
  t.equal(network.state('a').log.cutIndex, 21)
  network.hungDisks.clear()
  network.tickAll(40)
  t.equal(network.values('c').length, 20)
})

t.test('F3.47 a campaign whose vote is slow to write is not begun anew', async (t) => {
  const network = new RaftNetwork()
  network.hungDisks.add('a')
  network.tick('a', 12, 0)
  network.settle()
  t.equal(network.state('a').role, 'candidate')
  network.tick('a', 15, 0)
  t.equal(network.state('a').term, 1, 'no term after another')
  network.hungDisks.clear()
  network.settle()
  t.equal(network.state('a').role, 'leader')
})

t.test('F3.49 a leader whose disk is full resigns; a follower stops acknowledging', async (t) => {
  const network = led()
  network.step('a', { type: 'storage-state', writable: false })
  t.equal(network.state('a').role, 'follower')
  network.tickAll(60, apart)
  t.ok(network.leader === 'b' || network.leader === 'c')
  network.isolate('a')
  network.tick('a', 100, 0)
  t.equal(network.state('a').role, 'follower', 'it does not campaign')
  network.step('a', { type: 'storage-state', writable: true })
  network.tick('a', 20, 0)
  t.equal(network.state('a').role, 'pre-candidate', 'until there is room')
  const full = led()
  full.hungDisks.add('c')
  full.propose('a', 'x')
  full.settle()
  const held = full.node('c').held.map(({ message }) => message)
  t.ok(ofType(held, 'append-response').length > 0, 'what would acknowledge it waits')
  t.equal(full.state('a').progress.get('c')?.match, 1)
})

t.test('F3.50 a damaged snapshot is not installed, and another is sent', async (t) => {
  const network = led()
  network.isolate('c')
  for (let i = 0; i < 10; i++) network.propose('a', `value ${i}`)
  network.settle()
  network.cut('a')
  network.cut('b')
  network.heal()
  network.node('c').damaged = true
  network.loses = types('snapshot')
  network.tickAll(4)
  network.loses = undefined
  while (network.node('c').damaged) {
    network.tickAll(1)
    if (network.node('c').damaged) t.same(network.values('c'), [], 'what was there is kept')
  }
  network.tickAll(10)
  t.equal(network.values('c').length, 10)
})
