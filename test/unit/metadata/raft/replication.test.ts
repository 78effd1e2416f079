// Replication of the log and what is committed: items 19 to 35 of the list.
import t from 'tap'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import {
  append,
  appendResponse,
  entry,
  heartbeat,
  ofType,
  types,
} from '../../../support/raft-messages.ts'
import { emptyStore } from '../../../../src/metadata/raft/core/types.ts'
import { emptyConfiguration } from '../../../../src/metadata/raft/core/configuration.ts'

const oneByOne = { appendBytesMax: 1 }

/** A group with `a` as leader of term 1, and `texts` committed. */
function led(texts: readonly string[] = [], options: object = {}): RaftNetwork {
  const network = new RaftNetwork({ options })
  network.elect('a')
  for (const text of texts) network.propose('a', text)
  network.settle()
  return network
}

const progressOf = (network: RaftNetwork, id: string) => {
  const found = network.state(network.leader ?? '').progress.get(id)
  if (!found) throw new Error(`nobody leads ${id}`)
  return found
}

t.test('F3.19 an entry of an earlier term is not committed by counting', async (t) => {
  const network = led([], oneByOne)
  network.isolate('a')
  network.propose('a', 'x')
  network.settle()
  network.crash('a')
  network.heal()
  network.loses = types('append')
  network.elect('b')
  network.crash('b')
  t.equal(network.log('b'), '1 2', 'b has an entry of term 2, and could be elected over c')
  network.start('a')
  network.loses = (message) => ofType([message], 'append').some(({ prevIndex }) => prevIndex > 1)
  network.tickAll(60, apart)
  t.match(network.state('a'), { role: 'leader', term: 3 })
  network.inject(appendResponse(['c', 'a', 3], { rejected: true, index: 2, hintIndex: 1 }))
  network.settle()
  t.equal(network.log('c'), '1 1x', 'a majority has x, of term 1')
  t.equal(network.state('a').commit, 1, 'which says nothing')
  network.loses = undefined
  network.tickAll(3)
  t.equal(network.state('a').commit, 3, 'with an entry of term 3 behind it, it is safe')
})

t.test('F3.20 a leader counts its own copy when it is durable', async (t) => {
  const network = led()
  network.isolate('c')
  network.hungDisks.add('a')
  const ctx = network.propose('a', 'x')
  network.settle()
  t.equal(progressOf(network, 'b').match, 2, 'b has it')
  t.equal(network.state('a').commit, 1)
  network.hungDisks.clear()
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
})

t.test('F3.21 an append is acknowledged when durable, as far as it was verified', async (t) => {
  const network = new RaftNetwork()
  const tail = [1, 2, 3, 4].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries: tail }))
  t.same(network.wire, [], 'not yet')
  network.persist('b')
  t.match(network.wire, [{ type: 'append-response', rejected: false, index: 4 }])
  network.wire = []
  network.inject(append(['c', 'b', 2], { entries: tail.slice(0, 2) }))
  network.persist('b')
  t.match(network.wire, [{ rejected: false, index: 2, term: 2 }], 'not its last entry')
})

t.test('F3.22 a follower commits no more than was verified', async (t) => {
  const network = new RaftNetwork()
  const tail = [1, 2, 3, 4].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries: tail }))
  network.inject(append(['c', 'b', 2], { entries: tail.slice(0, 2), commit: 4 }))
  t.equal(network.state('b').commit, 2)
  network.inject(heartbeat(['c', 'b', 2], { commit: 3 }))
  t.equal(network.state('b').commit, 3, 'a heartbeat has what the leader knows to be here')
})

t.test('F3.23 only an entry that differs cuts the log', async (t) => {
  const network = new RaftNetwork()
  const tail = [1, 2, 3].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries: tail }))
  network.inject(append(['a', 'b', 1], { entries: tail.slice(0, 1) }))
  t.equal(network.state('b').log.lastIndex, 3, 'a late, shorter append cuts nothing')
  network.persist('b')
  network.inject(append(['c', 'b', 2], { prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] }))
  network.persist('b')
  t.same(
    network.node('b').view.log.map(({ term }) => term),
    [1, 2],
  )
})

t.test('F3.24 what is committed is never cut: the node ends', async (t) => {
  const network = new RaftNetwork()
  const tail = [1, 2].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries: tail, commit: 2 }))
  const bad = append(['c', 'b', 2], { prevIndex: 0, entries: [entry(1, 2)] })
  t.throws(() => network.inject(bad), { code: 'QUIRE_INVARIANT' })
})

t.test('F3.25 late answers take nothing back', async (t) => {
  const network = led(['x', 'y'])
  t.equal(progressOf(network, 'b').match, 3)
  network.inject(appendResponse(['b', 'a', 1], { index: 2 }))
  t.equal(progressOf(network, 'b').match, 3)
  network.inject(appendResponse(['b', 'a', 1], { rejected: true, index: 2, hintIndex: 0 }))
  t.equal(progressOf(network, 'b').next, 4)
  t.equal(progressOf(network, 'b').state, 'replicate')
  network.inject(appendResponse(['b', 'a', 1], { rejected: true, index: 9, hintIndex: 0 }))
  t.equal(progressOf(network, 'b').next, 4, 'asked again from behind what it acknowledged')
  t.throws(() => network.inject(appendResponse(['b', 'a', 1], { index: 99 })), {
    code: 'QUIRE_INVARIANT',
  })
})

t.test('F3.26 appends under way are bounded, and what is lost is sent again', async (t) => {
  const network = led([], { ...oneByOne, inflightMessagesMax: 4 })
  t.equal(progressOf(network, 'b').state, 'replicate')
  const texts = Array.from({ length: 10 }, (_, i) => `${i}`)
  for (const text of texts) network.propose('a', text)
  const lost = network.take(types('append'))
  t.equal(ofType(lost, 'append').filter(({ to }) => to === 'b').length, 4, 'by count')
  network.tickAll(20)
  t.same(network.values('b'), texts)
  t.same(network.values('c'), texts)

  const narrow = led([], { ...oneByOne, inflightBytesMax: 150 })
  for (const text of texts) narrow.propose('a', text)
  const sent = ofType(narrow.wire, 'append').filter(({ to }) => to === 'b')
  t.equal(sent.length, 3, 'by bytes: 65 each')
  narrow.settle()
  t.same(narrow.values('b'), texts)

  const probed = new RaftNetwork()
  probed.isolate('c')
  probed.elect('a')
  probed.propose('a', 'x')
  probed.settle()
  t.match(progressOf(probed, 'c'), { state: 'probe', paused: true }, 'one at a time')
  probed.heal()
  probed.tickAll(4)
  t.match(progressOf(probed, 'c'), { state: 'replicate', match: 2 })
})

t.test('F3.27 a follower that went another way is found in few steps', async (t) => {
  const long = (): RaftNetwork => {
    const network = led()
    network.isolate('a')
    for (let i = 0; i < 100; i++) network.propose('a', `lost ${i}`)
    network.settle()
    network.elect('b')
    for (let i = 0; i < 50; i++) network.propose('b', `kept ${i}`)
    network.settle()
    network.heal()
    return network
  }
  const network = long()
  network.tick('b', 2)
  let rejections = 0
  while (network.wire.length > 0 || network.node('a').writes.length > 0) {
    const [next] = network.wire
    if (next?.type === 'append-response' && next.rejected && next.term === 2) rejections++
    if (next) network.deliver()
    else network.persist('a')
  }
  t.equal(network.log('a'), network.log('b'))
  t.ok(rejections <= 2, `${rejections} rejections for 100 entries`)

  const blind = long()
  blind.tick('b', 2)
  for (let i = 0; i < 500; i++) {
    blind.wire = blind.wire.map((message) =>
      message.type === 'append-response' && message.rejected
        ? { ...message, hintIndex: message.index - 1, hintTerm: 99 }
        : message,
    )
    blind.deliver()
    blind.persist('a')
  }
  blind.tickAll(20)
  t.equal(blind.log('a'), blind.log('b'), 'without the hint it takes longer, no more')
})

t.test('F3.28 a heartbeat commits no more than this follower has', async (t) => {
  const network = led()
  network.isolate('c')
  for (const text of ['x', 'y', 'z']) network.propose('a', text)
  network.settle()
  network.tick('a', 2)
  const commits = ofType(network.wire, 'heartbeat').map(({ to, commit }) => `${to} ${commit}`)
  t.same(commits, ['b 4', 'c 1'])
})

t.test('F3.29 what was known to be committed is there, or the node ends', async (t) => {
  const network = new RaftNetwork()
  const configuration = { ...emptyConfiguration, voters: ['a'] }
  const stored = emptyStore(configuration)
  const { options } = network.node('a')
  const lost = { ...stored, hardState: { term: 3, vote: undefined, commit: 5 } }
  t.throws(() => network.core.createRaft(options, lost), { code: 'QUIRE_INVARIANT' })
  t.throws(() => network.inject(heartbeat(['c', 'b', 1], { commit: 7 })), {
    code: 'QUIRE_INVARIANT',
  })
  const good = led(['x'])
  good.crash('b')
  good.start('b')
  t.ok(good.state('b').commit <= 2, 'a hint')
  good.tickAll(4)
  t.same(good.values('b'), ['x'])
})

t.test('F3.30 what is not committed is bounded', async (t) => {
  const network = led([], { uncommittedBytesMax: 1_000 })
  network.isolate('a')
  const all = Array.from({ length: 40 }, (_, i) => network.propose('a', `${i}`))
  network.settle()
  const refused = all.filter((ctx) => network.outcome(ctx) === 'refused: overloaded')
  t.equal(refused.length, 40 - 15, '65 bytes each')
  t.ok(network.state('a').uncommittedBytes <= 1_000)
  network.heal()
  network.tickAll(6)
  t.equal(network.state('a').uncommittedBytes, 0)
  const ctx = network.propose('a', 'x'.repeat(2_000))
  network.settle()
  t.equal(network.outcome(ctx), 'committed', 'one is always let through')
})

t.test('F3.31 proposals of a leader that lost leadership end as unknown', async (t) => {
  const network = led()
  network.isolate('a')
  const ctx = network.propose('a', 'x')
  network.settle()
  t.equal(network.outcome(ctx), 'pending')
  network.elect('b')
  network.heal()
  network.tickAll(4)
  t.equal(network.outcome(ctx), 'unknown')
  t.equal(network.outcome(network.propose('a', 'y')), 'refused: not-leader')
  t.same(network.outcomes.get(Math.max(...network.outcomes.keys())), {
    type: 'refused',
    reason: 'not-leader',
    leader: 'b',
  })
})

t.test('F3.33 only the very entry that was proposed answers', async (t) => {
  const network = led()
  network.isolate('a')
  const lost = network.propose('a', 'x')
  network.settle()
  network.elect('b')
  const kept = network.propose('b', 'y')
  network.settle()
  network.heal()
  network.tickAll(4)
  network.elect('a')
  t.equal(network.log('a'), '1 2 2y 3')
  t.equal(network.outcome(lost), 'unknown', 'another entry is at its index')
  t.equal(network.outcome(kept), 'committed')
  const committed = led()
  committed.hungApplies.add('a')
  const ctx = committed.propose('a', 'x')
  committed.settle()
  committed.elect('b')
  committed.hungApplies.clear()
  committed.settle()
  t.equal(committed.outcome(ctx), 'committed', 'it was, whoever leads when it is applied')
})

t.test('F3.34 proposals are committed in the order they came in', async (t) => {
  const network = led([], { ...oneByOne, inflightMessagesMax: 2 })
  const texts = Array.from({ length: 30 }, (_, i) => `${i}`)
  const inputs = texts.map((text, i) => ({
    type: 'propose' as const,
    ctx: 1_000 + i,
    bytes: Buffer.from(text),
  }))
  network.step('a', ...inputs.slice(0, 20))
  for (const input of inputs.slice(20)) network.step('a', input)
  network.wire.reverse()
  network.settle()
  network.tickAll(10)
  t.same(network.values('a'), texts)
  t.same(network.values('c'), texts)
})

t.test('F3.35 what is too large is refused before it is proposed', async (t) => {
  const network = led([], { entryBytesMax: 100 })
  t.equal(network.outcome(network.propose('a', 'x'.repeat(101))), 'refused: too-large')
  const ctx = network.propose('a', 'x'.repeat(100))
  network.settle()
  t.equal(network.outcome(ctx), 'committed')
})

t.test('entries that are not in memory are read back', async (t) => {
  const texts = Array.from({ length: 20 }, (_, i) => `value ${i}`)
  const network = led(texts, { windowBytesMax: 0, appendBytesMax: 200 })
  t.ok(network.core.firstInMemory(network.state('a').log) > 20)
  network.crash('c')
  network.node('c').durable = { ...network.node('b').durable, log: [], values: [], applied: 0 }
  network.node('c').durable = {
    ...network.node('c').durable,
    hard: { term: 1, vote: 'a', commit: 0 },
  }
  network.start('c')
  network.elect('b')
  network.tickAll(20, apart)
  t.same(network.values('c'), texts, 'for a follower')
  network.crash('a')
  network.start('a')
  network.tickAll(10, apart)
  t.same(network.values('a'), texts, 'and for the node itself')
})

t.test('a write that was overtaken does not count for what replaced it (F2.2)', async (t) => {
  const network = new RaftNetwork()
  const tail = [1, 2, 3].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries: tail }))
  network.inject(append(['c', 'b', 2], { prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] }))
  network.persist('b', 1)
  t.equal(network.state('b').log.durable, 1)
  network.persist('b', 1)
  t.equal(network.state('b').log.durable, 2)
})
