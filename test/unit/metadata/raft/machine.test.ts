// What the state machine and the driver may rely on: items 74 to 82 of the list, as far as they are
// the core's, and the contract of F2.
import t from 'tap'
import { apart, RaftNetwork } from '../../../support/raft-network.ts'
import { append, entry } from '../../../support/raft-messages.ts'
import { storedOf } from '../../../support/raft-disk.ts'
import type { EntryType } from '../../../../src/metadata/raft/core/types.ts'

function led(options: ConstructorParameters<typeof RaftNetwork>[0] = {}): RaftNetwork {
  const network = new RaftNetwork(options)
  network.elect('a')
  return network
}

t.test('F3.74 entries are handed out in order, once, as fast as they are applied', async (t) => {
  const network = led({ options: { applyBytesMax: 200 } })
  network.hungApplies.add('b')
  for (let i = 0; i < 20; i++) network.propose('a', `${i}`)
  network.settle()
  const waiting = network.node('b').applies.map(({ entry }) => entry.index)
  t.same(waiting, [2, 3, 4, 5], 'as many as fit')
  network.hungApplies.clear()
  network.settle()
  t.same(network.values('b'), network.values('a'))
  t.equal(network.values('b').length, 20)
})

t.test('F3.79 an entry of a type from a later version stops the node', async (t) => {
  const network = new RaftNetwork()
  const types: readonly string[] = ['later']
  const [type] = types as readonly EntryType[]
  const later = { ...entry(1, 1), type: type ?? 'normal' }
  t.throws(() => network.inject(append(['a', 'b', 1], { entries: [later] })), {
    code: 'QUIRE_INVARIANT',
  })
})

t.test('F3.80 what is addressed to another node is dropped', async (t) => {
  const network = new RaftNetwork()
  network.step('b', { type: 'message', message: append(['a', 'c', 9]) })
  t.equal(network.state('b').term, 0)
})

t.test('F3.81 a jump of the clock disturbs nobody', async (t) => {
  const network = led()
  network.tick('b', 500, 0)
  network.settle()
  t.equal(network.state('a').role, 'leader')
  t.equal(network.state('a').term, 1)
  network.tick('a', 2)
  network.settle()
  t.equal(network.state('b').leader, 'a')
})

t.test(
  'F3.82 the leader stays through snapshots, cuts, large entries, a slow follower',
  async (t) => {
    const network = led({ options: { windowBytesMax: 2_000 } })
    network.hungDisks.add('c')
    for (let i = 0; i < 60; i++) {
      network.propose('a', 'x'.repeat(i % 7 === 0 ? 5_000 : 10))
      network.tickAll(1, apart)
      if (i % 10 === 9) network.cut('a')
      if (i % 10 === 9) network.cut('b')
      if (i % 15 === 14) network.persist('c')
    }
    network.hungDisks.clear()
    network.tickAll(60, apart)
    t.equal(network.leader, 'a')
    t.equal(network.state('a').term, 1)
    t.equal(network.state('c').term, 1)
    t.same(network.values('c'), network.values('a'))
  },
)

t.test(
  'F2: one batch of inputs is one append, one write and one heartbeat for its reads',
  async (t) => {
    const network = led()
    const inputs = Array.from({ length: 50 }, (_, i) => ({
      type: 'propose' as const,
      ctx: 500 + i,
      bytes: Buffer.from(`${i}`),
    }))
    network.oracle.onRead(900)
    network.oracle.onRead(901)
    const reads = [900, 901].map((ctx) => ({ type: 'read-index' as const, ctx }))
    network.step('a', ...inputs, ...reads)
    t.equal(network.node('a').writes.length, 1)
    t.same(
      network.wire.map(({ type, to }) => `${type} ${to}`),
      ['heartbeat b', 'heartbeat c', 'append b', 'append c'],
    )
    network.settle()
    t.equal(network.values('c').length, 50)
  },
)

t.test('F2: effects are told once, and the group does nothing when nothing happens', async (t) => {
  const network = led()
  network.tickAll(3)
  const { core } = network
  const state = core.cloneRaft(network.state('b'))
  const effects = core.createEffects()
  core.finish(state, effects)
  t.same(effects, core.createEffects(), 'nothing')
  core.step(state, { type: 'tick', jitter: 3 }, effects)
  core.finish(state, effects)
  t.same(effects, core.createEffects(), 'not even for a tick')
  t.equal(network.state('b').electionTicks + 1, state.electionTicks, 'a clone is its own')
})

t.test(
  'F3.54: entries that are read while a snapshot is installed are not applied behind it',
  async (t) => {
    const network = led()
    for (const text of ['x', 'y', 'z']) network.propose('a', text)
    network.settle()
    const { core } = network
    const { view, options } = network.node('a')
    const hard = { ...view.hard, commit: 4 }
    const read = { type: 'entries-read', reader: 'a', from: 1, entries: view.log } as const
    const common = { from: 'b', to: 'a', term: hard.term } as const
    for (const installed of [false, true]) {
      const state = core.createRaft(options, storedOf({ ...view, hard, applied: 0, values: [] }))
      core.finish(state, core.createEffects())
      const snapshot = {
        id: 's',
        index: 9,
        term: 1,
        configuration: view.configuration,
        sizeBytes: 1,
      }
      const chunk = { snapshot, offset: 0, bytes: Buffer.from('s'), last: true }
      const message = { type: 'snapshot', ...common, ...chunk } as const
      const effects = core.createEffects()
      core.step(state, { type: 'message', message }, effects)
      core.step(state, read, effects)
      core.finish(state, effects)
      t.equal(effects.snapshotToInstall?.id, 's')
      t.same(effects.committed, [], 'the snapshot has them already, or they are read again')
      const after = core.createEffects()
      core.step(state, { type: 'snapshot-done', id: 's', installed }, after)
      core.finish(state, after)
      const asked = after.entryReads.map(({ from, to }) => [from, to])
      t.same(asked, installed ? [] : [[1, 4]])
      t.same(after.committed, [])
    }
  },
)

t.test('F2: answers to what is not asked for any more are let go', async (t) => {
  const network = led()
  for (const text of ['x', 'y', 'z']) network.propose('a', text)
  network.settle()
  const { core } = network
  const { view, options } = network.node('a')
  const hard = { ...view.hard, commit: 4 }
  const stored = storedOf({ ...view, hard, applied: 0, values: [] })
  const state = core.createRaft(options, stored)
  const effects = core.createEffects()
  core.finish(state, effects)
  t.match(effects.entryReads, [{ reader: 'a', from: 1, to: 4 }])
  core.step(state, { type: 'entries-read', reader: 'a', from: 3, entries: [] }, effects)
  t.same(effects.committed, [], 'of a read before')
  const entries = view.log
  core.step(state, { type: 'entries-read', reader: 'a', from: 1, entries }, effects)
  t.same(
    effects.committed.map(({ entry }) => entry.index),
    [1, 2, 3, 4],
  )
  const snapshot = { id: 's', index: 3, term: 1, configuration: view.configuration, sizeBytes: 1 }
  core.step(state, { type: 'snapshot-taken', to: 'b', snapshot }, effects)
  t.same(effects.snapshotsReleased, ['b'], 'taken too late')
  const none = { type: 'entries-read' as const, reader: 'a', from: 1, entries: [] }
  const again = core.createRaft(options, stored)
  core.finish(again, core.createEffects())
  t.throws(() => core.step(again, none, effects), { code: 'QUIRE_INVARIANT' }, 'it has to be there')
})
