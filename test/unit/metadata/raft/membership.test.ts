// Membership, handing over, beginning: items 61 to 72 of the list, as far as they are the core's.
import t from 'tap'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import { emptyDisk } from '../../../support/raft-disk.ts'
import { ofType, types, vote } from '../../../support/raft-messages.ts'
import {
  changed,
  emptyConfiguration,
  leaveJoint,
} from '../../../../src/metadata/raft/core/configuration.ts'
import {
  decodeConfiguration,
  encodeConfiguration,
} from '../../../../src/metadata/raft/core/configuration-codec.ts'
import { emptyStore } from '../../../../src/metadata/raft/core/types.ts'
import type { Configuration } from '../../../../src/metadata/raft/core/types.ts'

/** `a` leads, all is quiet, learners have caught up. */
function led(options: ConstructorParameters<typeof RaftNetwork>[0] = {}): RaftNetwork {
  const network = new RaftNetwork(options)
  network.elect('a')
  network.propose('a', 'x')
  network.tickAll(3)
  return network
}

const configurationOf = (network: RaftNetwork, id: string): Configuration =>
  network.core.statusOf(network.state(id)).configuration

t.test('F3.61 no change before an entry of the own term is committed', async (t) => {
  // Two leaders that each change one member, neither committed: their majorities need not meet.
  const network = led({ learners: ['d'] })
  network.loses = types('append')
  network.change('a', { kind: 'voter', node: 'd' })
  t.equal(configurationOf(network, 'a').voters.length, 4)
  network.elect('b')
  const ctx = network.change('b', { kind: 'remove', node: 'c' })
  t.equal(network.outcome(ctx), 'refused: not-ready')
  network.loses = undefined
  network.tickAll(4)
  const later = network.change('b', { kind: 'remove', node: 'c' })
  network.tickAll(4)
  t.equal(network.outcome(later), 'committed')
})

t.test('F3.62 who lost what it acknowledged is found out', async (t) => {
  const network = led()
  network.crash('b')
  const stored = emptyStore({ ...emptyConfiguration, voters: ['a', 'b', 'c'] })
  const [configuration] = stored.configurations
  network.node('b').durable = emptyDisk(
    stored,
    configuration ?? { index: 0, configuration: emptyConfiguration },
  )
  network.start('b')
  network.tick('a', 2)
  t.throws(() => network.settle(), { code: 'QUIRE_INVARIANT' }, 'it finds out itself')

  // What it lost was not committed: only its leader can tell.
  const partly = led()
  partly.isolate('c')
  partly.hungDisks.add('a')
  partly.propose('a', 'y')
  partly.settle()
  t.equal(partly.state('a').progress.get('b')?.match, 3)
  partly.crash('b')
  const { durable } = partly.node('b')
  partly.node('b').durable = { ...durable, log: durable.log.slice(0, 2) }
  partly.start('b')
  partly.tick('a', 4)
  partly.settle()
  t.same(partly.node('a').reverted, ['b'])
  partly.persist('a')
  t.equal(partly.state('a').commit, 2, 'its copy does not count any more')
  partly.settle()
  t.equal(partly.log('b'), '1 1x', 'nothing is sent any more')
  partly.heal()
  partly.hungDisks.clear()
  partly.tickAll(4)
  t.equal(partly.state('a').commit, 3, 'that of c does')
})

t.test('F3.63 an id that was removed is never admitted again', async (t) => {
  const network = led()
  network.change('a', { kind: 'remove', node: 'c' })
  network.tickAll(3)
  t.same(configurationOf(network, 'a').retired, ['c'])
  const again = network.change('a', { kind: 'learner', node: 'c' })
  t.equal(network.outcome(again), 'refused: bad-change')
  network.cut('b')
  network.crash('b')
  network.start('b')
  network.crash('a')
  network.start('a')
  network.elect('b')
  t.equal(
    network.outcome(network.change('b', { kind: 'learner', node: 'c' })),
    'refused: bad-change',
  )
})

t.test('F3.64 one change at a time, until it is applied', async (t) => {
  const network = led()
  network.hungApplies.add('a')
  network.change('a', { kind: 'learner', node: 'd' })
  network.settle()
  t.ok(network.state('a').commit > network.state('a').applied)
  const second = network.change('a', { kind: 'learner', node: 'e' })
  t.equal(network.outcome(second), 'refused: change-in-flight')
  network.hungApplies.clear()
  network.settle()
  const third = network.change('a', { kind: 'learner', node: 'e' })
  network.settle()
  t.equal(network.outcome(third), 'committed')
})

t.test('F3.65 a configuration is in force with its entry, and goes with it', async (t) => {
  const network = led()
  network.isolate('a')
  network.change('a', { kind: 'learner', node: 'd' })
  network.settle()
  t.same(configurationOf(network, 'a').learners, ['d'], 'before it is committed')
  network.elect('b')
  network.heal()
  network.tickAll(4)
  t.same(configurationOf(network, 'a').learners, [], 'truncated, the one before is in force')
  network.crash('a')
  network.start('a')
  t.same(configurationOf(network, 'a').learners, [])
})

t.test('F3.66 a joint configuration outlives its leader, and is left', async (t) => {
  const network = led({ learners: ['d', 'e'] })
  // Nothing is committed: the group stays joint.
  const isResponse = types('append-response')
  network.loses = isResponse
  const both = [
    { kind: 'voter', node: 'd' },
    { kind: 'voter', node: 'e' },
    { kind: 'remove', node: 'b' },
    { kind: 'remove', node: 'c' },
  ] as const
  const ctx = network.change('a', ...both)
  network.settle()
  for (const id of ['b', 'c', 'd', 'e']) {
    t.same(configurationOf(network, id).outgoing, ['a', 'b', 'c'], `${id} has it`)
  }
  network.crash('b')
  network.start('b')
  t.same(configurationOf(network, 'b').outgoing, ['a', 'b', 'c'], 'also after a start')
  network.crash('a')
  network.loses = undefined
  network.tickAll(80, apart)
  const leader = network.leader ?? ''
  t.ok(leader, 'both majorities elect')
  network.tickAll(20, apart)
  t.same(configurationOf(network, 'd'), {
    voters: ['a', 'd', 'e'],
    outgoing: [],
    learners: [],
    learnersNext: [],
    retired: ['b', 'c'],
  })
  t.equal(network.outcome(ctx), 'pending', 'who asked went down')
  network.start('a')
  network.tickAll(40, apart)
  t.same(configurationOf(network, 'a').voters, ['a', 'd', 'e'])

  const whole = led({ learners: ['d', 'e'] })
  const done = whole.change('a', ...both)
  whole.settle()
  t.equal(whole.outcome(done), 'committed', 'the answer comes when it is left')
  t.same(configurationOf(whole, 'a').outgoing, [])
})

t.test('F3.66 a majority of one half elects nobody and commits nothing', async (t) => {
  const network = led({ learners: ['d', 'e'] })
  network.loses = types('append-response')
  const both = [
    { kind: 'voter', node: 'd' },
    { kind: 'voter', node: 'e' },
    { kind: 'remove', node: 'b' },
    { kind: 'remove', node: 'c' },
  ] as const
  network.change('a', ...both)
  network.settle()
  network.loses = undefined
  network.crash('b')
  network.crash('c')
  network.tickAll(8)
  t.equal(network.state('a').commit, 2, 'a, d and e are all of the new, one of the old')
  network.crash('a')
  network.tickAll(80, apart)
  t.equal(network.leader, undefined, 'd and e are two of three, and none of the old')
  network.start('b')
  network.start('c')
  network.tickAll(80, apart)
  t.ok(network.leader)
})

t.test('F3.67 who thinks it is a learner, or nothing, answers votes', async (t) => {
  const network = new RaftNetwork({ learners: ['d'], joiners: ['e'] })
  for (const id of ['d', 'e']) {
    network.wire = []
    network.inject(vote(['a', id, 3]))
    network.persist(id)
    t.match(ofType(network.wire, 'vote-response'), [{ granted: true }], id)
    network.tick(id, 100, 0)
    t.equal(network.state(id).role, 'follower', 'but it never asks for any')
  }
})

t.test('F3.68 a voter is added when it has caught up and nobody is missing', async (t) => {
  const network = led({ learners: ['d'] })
  const unknown = network.change('a', { kind: 'voter', node: 'e' })
  t.equal(network.outcome(unknown), 'refused: bad-change', 'it has to be a learner')
  network.isolate('d')
  network.crash('d')
  for (let i = 0; i < 5; i++) {
    network.propose('a', `${i}`)
    network.tickAll(4)
  }
  const behind = network.change('a', { kind: 'voter', node: 'd' })
  t.equal(network.outcome(behind), 'refused: not-caught-up')
  network.heal()
  network.start('d')
  network.tickAll(10)
  network.propose('a', 'more')
  network.tickAll(3)
  network.isolate('c')
  network.tickAll(12)
  const risky = network.change('a', { kind: 'voter', node: 'd' })
  t.equal(network.outcome(risky), 'refused: quorum-at-risk', 'three of four, and c is missing')
  network.heal()
  network.tickAll(4)
  const good = network.change('a', { kind: 'voter', node: 'd' })
  network.tickAll(4)
  t.equal(network.outcome(good), 'committed')
  t.same(configurationOf(network, 'd').voters, ['a', 'b', 'c', 'd'])
})

t.test('F3.68 one node becomes two, then three', async (t) => {
  const network = new RaftNetwork({ voters: ['a'], joiners: ['b', 'c'] })
  network.elect('a')
  for (const node of ['b', 'c']) {
    network.change('a', { kind: 'learner', node })
    network.propose('a', node)
    network.tickAll(6)
    const ctx = network.change('a', { kind: 'voter', node })
    network.tickAll(6)
    t.equal(network.outcome(ctx), 'committed', node)
  }
  t.same(configurationOf(network, 'c').voters, ['a', 'b', 'c'])
  t.same(network.values('c'), ['b', 'c'])
})

t.test(
  'F3.69 no removal leaves too few; a dead node goes by way of a learner, or is replaced',
  async (t) => {
    const network = led({ learners: ['d'] })
    network.isolate('c')
    network.tickAll(12)
    const bad = network.change('a', { kind: 'remove', node: 'b' })
    t.equal(network.outcome(bad), 'refused: quorum-at-risk', 'a and c: c is dead')
    const demoted = network.change('a', { kind: 'learner', node: 'c' })
    network.tickAll(3)
    t.equal(network.outcome(demoted), 'committed')
    const removed = network.change('a', { kind: 'remove', node: 'c' })
    network.tickAll(3)
    t.equal(network.outcome(removed), 'committed')
    t.equal(
      network.outcome(network.change('a', { kind: 'remove', node: 'z' })),
      'refused: bad-change',
    )

    const replaced = led({ learners: ['d'] })
    replaced.isolate('c')
    replaced.tickAll(12)
    const ctx = replaced.change('a', { kind: 'remove', node: 'c' }, { kind: 'voter', node: 'd' })
    replaced.tickAll(4)
    t.equal(replaced.outcome(ctx), 'committed')
    t.same(configurationOf(replaced, 'd').voters, ['a', 'b', 'd'])
  },
)

t.test('F3.70 a removed leader leads until that is committed, then steps down', async (t) => {
  const network = led()
  network.hungDisks.add('c')
  const ctx = network.change('a', { kind: 'remove', node: 'a' })
  network.settle()
  t.match(network.state('a'), { role: 'leader', commit: 2 })
  network.hungDisks.clear()
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
  t.match(network.state('a').told, { role: 'follower', retired: true })
  network.tickAll(60, apart)
  t.ok(network.leader === 'b' || network.leader === 'c')
  t.equal(network.state('a').role, 'follower')

  // Not committed yet, and it alone has the entry: it may still be the only one to be elected.
  const pair = led({ voters: ['a', 'b'] })
  pair.isolate('a')
  pair.change('a', { kind: 'learner', node: 'a' })
  pair.tickAll(12)
  t.not(pair.state('a').role, 'leader')
  pair.heal()
  pair.tickAll(120, apart)
  t.same(configurationOf(pair, 'b').learners, ['a'], 'b needs the vote of a, whose log is longer')
  t.equal(pair.leader, 'b')
})

t.test('F3.71 leadership is handed to one that has everything', async (t) => {
  const network = led()
  network.hungDisks.add('b')
  network.propose('a', 'y')
  network.settle()
  network.transfer('a', 'b')
  t.equal(network.outcome(network.propose('a', 'z')), 'refused: transferring')
  network.settle()
  t.equal(network.leader, 'a', 'b lacks an entry')
  network.hungDisks.clear()
  network.settle()
  t.equal(network.leader, 'b')
  t.equal(network.outcome(network.transfer('b', 'z')), 'refused: bad-change')
  t.equal(network.outcome(network.transfer('b', 'b')), 'refused: bad-change')
})

t.test('F3.71 a request to campaign that comes late is void', async (t) => {
  const network = led()
  network.transfer('a', 'b')
  const [late] = network.take(types('timeout-now'))
  network.tickAll(12)
  t.equal(network.state('a').transferee, undefined, 'given up')
  const ctx = network.propose('a', 'y')
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
  if (late) network.inject(late)
  network.settle()
  t.equal(network.leader, 'a')
  t.equal(network.state('b').term, 1)
})

t.test('F3.72 a node without a group founds none', async (t) => {
  const network = new RaftNetwork({ voters: ['a'], joiners: ['b'] })
  network.tick('b', 500, 0)
  t.equal(network.state('b').role, 'follower')
  t.equal(network.state('b').term, 0)
})

t.test('configurations: bytes, joint and simple', async (t) => {
  const before = { ...emptyConfiguration, voters: ['a', 'b', 'c'], learners: ['d'] }
  t.same(decodeConfiguration(encodeConfiguration(before)), before)
  t.throws(() => decodeConfiguration(Buffer.from([2])), { code: 'QUIRE_BAD_FRAME' }, 'F3.79')
  const bytes = encodeConfiguration(before)
  t.throws(() => decodeConfiguration(Buffer.concat([bytes, bytes])), { code: 'QUIRE_BAD_FRAME' })
  const joint = changed(before, [
    { kind: 'learner', node: 'a' },
    { kind: 'voter', node: 'd' },
  ])
  t.same(joint, {
    voters: ['b', 'c', 'd'],
    outgoing: ['a', 'b', 'c'],
    learners: [],
    learnersNext: ['a'],
    retired: [],
  })
  t.same(leaveJoint(joint ?? before), { ...before, voters: ['b', 'c', 'd'], learners: ['a'] })
  t.equal(changed(joint ?? before, [{ kind: 'learner', node: 'e' }]), undefined, 'not while joint')
  t.same(changed(before, [{ kind: 'remove', node: 'd' }])?.retired, ['d'])
  const twice = [
    { kind: 'learner', node: 'e' },
    { kind: 'remove', node: 'e' },
  ] as const
  t.equal(changed(before, twice), undefined)
  const all = ['a', 'b', 'c'].map((node) => ({ kind: 'remove', node }) as const)
  t.equal(changed(before, all), undefined, 'somebody has to be left')
})
