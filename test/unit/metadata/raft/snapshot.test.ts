// Snapshots and cutting the log: items 51 to 60 of the list.
import t from 'tap'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import { append, entry, ofType, types, vote } from '../../../support/raft-messages.ts'
import { emptyConfiguration } from '../../../../src/metadata/raft/core/configuration.ts'
import type { SnapshotChunk } from '../../../../src/metadata/raft/core/messages.ts'
import type { SnapshotMeta } from '../../../../src/metadata/raft/core/types.ts'

const texts = Array.from({ length: 10 }, (_, i) => `value ${i}`)

/** `c` lacks what `a` and `b` have, and have cut. */
function behind(options: ConstructorParameters<typeof RaftNetwork>[0] = {}): RaftNetwork {
  const network = new RaftNetwork(options)
  network.elect('a')
  network.isolate('c')
  for (const text of texts) network.propose('a', text)
  network.settle()
  network.cut('a')
  network.cut('b')
  network.heal()
  return network
}

const configuration = {
  index: 0,
  configuration: { ...emptyConfiguration, voters: ['a', 'b', 'c'] },
}

const metaOf = (index: number, term: number, bytes: Uint8Array): SnapshotMeta => ({
  id: `s${index}`,
  index,
  term,
  configuration,
  sizeBytes: bytes.length,
})

const chunk = (
  to: string,
  term: number,
  snapshot: SnapshotMeta,
  bytes: Uint8Array,
): SnapshotChunk => ({
  type: 'snapshot',
  from: 'a',
  to,
  term,
  snapshot,
  offset: 0,
  bytes,
  last: true,
})

const state = Buffer.from('["s"]')

t.test('F3.51 a snapshot has the configuration of its index, and who was retired', async (t) => {
  const network = new RaftNetwork({ learners: ['d'] })
  network.elect('a')
  network.isolate('c')
  network.change('a', { kind: 'remove', node: 'd' })
  network.settle()
  network.propose('a', 'x')
  network.settle()
  network.cut('a')
  network.hungApplies.add('a')
  network.change('a', { kind: 'learner', node: 'e' })
  network.settle()
  const sent: SnapshotMeta[] = []
  network.loses = (message) => {
    if (message.type === 'snapshot') sent.push(message.snapshot)
    return false
  }
  network.heal()
  network.tickAll(8)
  t.match(sent[0], { index: 3, configuration: { index: 2 } }, 'not the one that came later')
  t.same(sent[0]?.configuration.configuration.learners, [])
  t.same(sent[0]?.configuration.configuration.retired, ['d'])
  network.crash('c')
  network.start('c')
  t.same(network.core.statusOf(network.state('c')).configuration.retired, ['d'], 'it is kept')
})

t.test(
  'F3.52 a snapshot is answered for when it is installed; a crash before leaves the old',
  async (t) => {
    const network = behind()
    network.hungDisks.add('c')
    network.tickAll(2)
    while (!network.node('c').installing) {
      network.persist('c')
      network.settle()
      network.tickAll(1)
    }
    const answers = ofType(network.wire, 'snapshot-response').filter(
      ({ status }) => status !== 'more',
    )
    t.same(answers, [])
    network.crash('c')
    network.start('c')
    t.same(network.values('c'), [], 'nothing of it is there')
    t.equal(network.state('c').log.lastIndex, 1)
    network.hungDisks.clear()
    network.tickAll(30)
    t.same(network.values('c'), texts)
    network.crash('c')
    network.start('c')
    t.same(network.values('c'), texts, 'all of it is')
    t.equal(network.state('c').log.cutIndex, 11)
  },
)

t.test('F3.53 an old snapshot is answered with what is there, and cuts nothing', async (t) => {
  const network = new RaftNetwork()
  const entries = [1, 2, 3].map((index) => entry(index, 1))
  network.inject(append(['a', 'b', 1], { entries, commit: 2 }))
  network.settle()
  network.wire = []
  network.inject(chunk('b', 1, metaOf(1, 1, state), state))
  t.match(network.wire, [{ type: 'snapshot-response', status: 'installed', index: 2 }])
  t.equal(network.state('b').log.lastIndex, 3)
  t.equal(network.node('b').installing, undefined)
})

t.test(
  'F3.54 a log that agrees goes on behind the snapshot, one that does not is dropped',
  async (t) => {
    const agrees = new RaftNetwork()
    const entries = [1, 2, 3].map((index) => entry(index, 1))
    agrees.inject(append(['a', 'b', 1], { entries, commit: 0 }))
    agrees.settle()
    agrees.wire = []
    agrees.inject(chunk('b', 1, metaOf(2, 1, state), state))
    t.equal(agrees.state('b').commit, 2, 'all up to there is committed')
    t.equal(agrees.state('b').log.lastIndex, 3)
    t.match(agrees.wire, [{ status: 'installed', index: 2 }])

    const differs = new RaftNetwork()
    differs.inject(append(['a', 'b', 1], { entries, commit: 0 }))
    differs.settle()
    differs.inject(chunk('b', 2, metaOf(2, 2, state), state))
    differs.settle()
    t.match(differs.state('b').log, { cutIndex: 2, cutTerm: 2, lastIndex: 2 })
    t.same(differs.values('b'), ['s'])
  },
)

t.test('F3.55 a log wholly behind the snapshot begins anew', async (t) => {
  const network = behind()
  network.tickAll(30)
  t.match(network.state('c').log, { cutIndex: 11, lastIndex: 11, durable: 11 })
  network.propose('a', 'next')
  network.settle()
  t.same(
    network.node('c').view.log.map(({ index }) => index),
    [12],
  )
  t.same(network.values('c'), [...texts, 'next'])
})

t.test(
  'F3.56 the log is kept behind a snapshot under way, while that makes progress',
  async (t) => {
    const network = behind()
    network.tick('a', 2)
    while (!network.state('a').progress.get('c')?.transfer?.snapshot) network.deliver()
    for (let i = 0; i < 5; i++) {
      network.propose('a', `later ${i}`)
      network.tickAll(1)
      network.cut('a')
      network.cut('b')
    }
    const { transfer } = network.state('a').progress.get('c') ?? {}
    if (transfer?.snapshot) t.ok(network.state('a').log.cutIndex <= transfer.snapshot.index)
    network.tickAll(40)
    t.equal(network.node('a').snapshotsTaken, 1, 'one snapshot was enough')
    t.equal(network.values('c').length, 15)

    const silent = behind()
    silent.tick('a', 2)
    while (!silent.state('a').progress.get('c')?.transfer?.snapshot) silent.deliver()
    silent.isolate('c')
    silent.tickAll(20)
    silent.propose('a', 'x')
    silent.tickAll(4)
    silent.cut('a')
    t.equal(silent.state('a').log.cutIndex, 12, 'one that is silent holds nothing')
  },
)

t.test('F3.57 a transfer goes on where it was, or begins anew', async (t) => {
  const lossy = behind()
  let sent = 0
  lossy.loses = ({ type }) => type === 'snapshot' && ++sent % 2 === 0
  lossy.tickAll(60)
  t.same(lossy.values('c'), texts, 'each second piece was lost')
  t.equal(lossy.node('a').snapshotsTaken, 1)

  const restarted = behind()
  restarted.tick('a', 2)
  while (restarted.node('c').staged.length < 40) {
    restarted.deliver()
    for (const id of restarted.running) restarted.persist(id)
    if (restarted.wire.length === 0) restarted.tick('a')
  }
  restarted.crash('c')
  restarted.start('c')
  restarted.tickAll(30)
  t.same(restarted.values('c'), texts, 'the pieces were gone')

  const deposed = behind()
  deposed.tick('a', 2)
  while (deposed.node('c').staged.length < 40) {
    deposed.deliver()
    for (const id of deposed.running) deposed.persist(id)
    if (deposed.wire.length === 0) deposed.tick('a')
  }
  deposed.crash('a')
  deposed.tickAll(60, apart)
  t.equal(deposed.leader, 'b')
  t.same(deposed.values('c'), texts, 'the next leader sends its own')
})

t.test('F3.58 a transfer that fails or stands still is given up', async (t) => {
  const network = behind()
  network.loses = types('snapshot')
  network.tickAll(10)
  t.equal(network.state('a').progress.get('c')?.state, 'snapshot')
  network.tickAll(60)
  t.equal(network.node('a').snapshotsTaken, 2, 'and begun anew')
  network.loses = undefined
  network.tickAll(30)
  t.same(network.values('c'), texts)
  const before = network.state('c').log.lastIndex
  network.inject(chunk('c', 0, metaOf(90, 1, state), state))
  t.equal(network.state('c').log.lastIndex, before, 'of an earlier term')
  t.equal(network.node('c').installing, undefined)

  const unreadable = behind()
  unreadable.tick('a', 2)
  while (!unreadable.state('a').progress.get('c')?.transfer?.snapshot) unreadable.deliver()
  unreadable.step('a', { type: 'chunk-read', to: 'c', id: 'a.0.1', offset: 0, bytes: undefined })
  t.equal(unreadable.state('a').progress.get('c')?.state, 'probe')
  unreadable.tickAll(30)
  t.same(unreadable.values('c'), texts)
})

t.test('F3.59 while it installs, a follower answers heartbeats and votes', async (t) => {
  const network = behind()
  network.hungDisks.add('c')
  network.tickAll(2)
  while (!network.node('c').installing) {
    network.persist('c')
    network.settle()
    network.tickAll(1)
  }
  network.tick('a', 2)
  network.settle()
  t.equal(network.state('a').progress.get('c')?.silentTicks, 0)
  network.tick('c', 10)
  network.inject(vote(['b', 'c', 2], { lastIndex: 11, lastTerm: 1 }))
  network.persist('c')
  t.match(ofType(network.wire, 'vote-response'), [{ granted: true }])
  network.tick('c', 60, 0)
  t.equal(network.state('c').role, 'follower', 'it does not campaign itself')
  const appended = append(['b', 'c', 2], { prevIndex: 1, prevTerm: 1, entries: [entry(2, 2)] })
  network.inject(appended)
  t.equal(network.state('c').log.lastIndex, 1, 'and takes no entries')
})

t.test('F3.60 a start applies what is committed behind what was applied, once', async (t) => {
  const network = new RaftNetwork()
  network.elect('a')
  for (const text of texts) network.propose('a', text)
  network.settle()
  for (const keepApplied of [false, true]) {
    network.crash('b', { keepApplied })
    network.start('b')
    network.tickAll(4)
    t.same(network.values('b'), texts)
    t.equal(network.state('b').applied, 11)
  }
})
