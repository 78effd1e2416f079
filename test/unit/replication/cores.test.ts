// The cores of writer and recovery, row by row: the race table of A7, the defects of A14 that a
// core can have, A16.
import t from 'tap'
import {
  ensembleChange,
  lastFragment,
  writerClose,
} from '../../../src/replication/core/metadata-update.ts'
import { createQuorum } from '../../../src/replication/core/quorum.ts'
import type { QuorumSizes } from '../../../src/replication/core/quorum.ts'
import {
  cloneRecovery,
  createRecovery,
  createRecoveryEffects,
  onFenced,
  onMeasured,
  onRead,
  onWritten,
  recoveredEnd,
  recoveredFragments,
} from '../../../src/replication/core/recovery.ts'
import type { ReadResult, RecoveryState } from '../../../src/replication/core/recovery.ts'
import {
  append,
  beginClose,
  canAppend,
  createReplyBatch,
  isDrained,
  leaveRestBehind,
  onChanged,
  onChosen,
  onMemberFailed,
  onRefused,
  onReplies,
  onSpare,
  onTick,
  sent,
  targets,
} from '../../../src/replication/core/writer.ts'
import {
  clearEffects,
  cloneWriter,
  createEffects,
  createWriter,
  holesOf,
} from '../../../src/replication/core/writer-state.ts'
import type { WriterState } from '../../../src/replication/core/writer-state.ts'
import { statuses } from '../../../src/wire/bookie-messages.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'

const three: QuorumSizes = { ensembleSize: 3, writeQuorumSize: 3, ackQuorumSize: 2 }
const striped: QuorumSizes = { ensembleSize: 4, writeQuorumSize: 3, ackQuorumSize: 2 }
const limits = {
  capacity: 16,
  keptEntriesMax: 4,
  keptBytesMax: 1_000,
  addTimeoutMs: 100,
  quorumTimeoutMs: 1_000,
  ensembleChangesMax: 3,
}
const names = ['a', 'b', 'c', 'd', 'e']

class Writing {
  readonly state: WriterState
  readonly effects = createEffects()
  readonly #batch = createReplyBatch(16)
  nowMs = 0

  constructor(sizes: QuorumSizes = three, local = false) {
    const ensemble = names.slice(0, sizes.ensembleSize)
    const quorum = createQuorum(sizes)
    this.state = createWriter({ quorum, limits, ensemble, lac: -1, local, nowMs: 0 })
  }

  append(count = 1): void {
    for (let i = 0; i < count; i++) {
      const entryId = append(this.state, 10)
      sent(this.state, entryId, { upTo: entryId, nowMs: this.nowMs })
    }
  }

  /**
   * Replies as `ENTRY:INDEXES`, OK unless a status is given, of the present bookies unless a
   * generation is.
   */
  reply(text: string, { status = 0, generation = -1 } = {}): this {
    const batch = this.#batch
    batch.count = 0
    for (const part of text.split(' ')) {
      const [entryId = '', indexes = ''] = part.split(':')
      for (const digit of indexes) {
        const index = Number(digit)
        batch.entryIds[batch.count] = Number(entryId)
        batch.indexes[batch.count] = index
        batch.generations[batch.count] =
          generation >= 0 ? generation : (this.state.generations[index] ?? 0)
        batch.statuses[batch.count] = status
        batch.count++
      }
    }
    clearEffects(this.effects)
    onReplies(this.state, batch, this.effects)
    return this
  }

  choose(...chosen: (string | undefined)[]): this {
    clearEffects(this.effects)
    onChosen(this.state, { chosen, nowMs: this.nowMs }, this.effects)
    return this
  }

  changed(...ensemble: string[]): this {
    clearEffects(this.effects)
    onChanged(this.state, { ensemble, nowMs: this.nowMs }, this.effects)
    return this
  }

  get resent(): string[] {
    const { resendEntries, resendIndexes } = this.effects
    return resendEntries.map((entryId, i) => `${entryId}:${resendIndexes[i]}`)
  }
}

const io = { status: statuses.io }

t.test('entries are confirmed in order, at their ack quorum, once', (t) => {
  const w = new Writing()
  w.append(3)
  w.reply('1:01 2:012')
  t.equal(w.state.lac, -1, 'a later entry waits for the earlier one')
  w.reply('0:0 0:0')
  t.equal(w.state.lac, -1, 'one member twice is one')
  w.reply('0:2')
  t.equal(w.state.lac, 2)
  t.equal(w.state.confirmedBytes, 30)
  t.equal(w.state.head, 0, 'kept until all have them')
  w.reply('0:1 1:2 9:0 2:2')
  t.equal(w.state.head, 3)
  t.equal(w.state.keptBytes, 0)
  const copy = cloneWriter(w.state)
  w.append()
  t.equal(copy.lap, 2, 'a clone goes its own way')
  t.end()
})

t.test('a change of ensemble', (t) => {
  const w = new Writing()
  w.append(4)
  w.reply('0:01 1:0 2:01')
  w.reply('1:2', io)
  t.equal(w.effects.choose, 0b100)
  w.reply('1:1')
  t.equal(w.state.lac, 2, 'choosing does not hold anything up')
  w.choose(undefined, undefined, 'd')
  t.match(w.effects.change, {
    firstEntryId: 3,
    replacements: [{ index: 2, failed: 'c', bookieId: 'd' }],
  })
  w.reply('3:01')
  t.equal(w.state.lac, 2, 'while a change is in flight nothing is confirmed (D3)')
  w.changed('a', 'b', 'd')
  t.same(w.resent, ['3:2'], 'what is confirmed stays with the fragment before')
  t.equal(w.state.lac, 3, 'acknowledgements of the others still count')
  t.same(holesOf(w.state), [{ bookieId: 'c', from: 0, to: 2 }])
  t.equal(w.state.head, 3)
  t.end()
})

t.test('the race table of A7', async (t) => {
  const changing = (): Writing => {
    const w = new Writing()
    w.append(2)
    w.reply('0:01')
    w.reply('1:2', io)
    return w.choose(undefined, undefined, 'd')
  }
  const open: LedgerMetadata = {
    formatVersion: 3,
    state: 'open',
    ...three,
    fragments: [{ firstEntryId: 0, ensemble: ['a', 'b', 'c'] }],
    lastEntryId: -1,
    lengthBytes: 0,
    digest: 'crc32c',
    password: Buffer.alloc(0),
    ctimeMs: undefined,
    customMetadata: new Map(),
    creatorToken: 0n,
  }
  const asked = (w: Writing): ReturnType<typeof ensembleChange> => {
    const { change } = w.effects
    if (!change) throw new Error('no change was asked for')
    return ensembleChange(change)
  }

  await t.test('a recoverer was first: the writer ends, what is pending is unknown', async (t) => {
    const w = changing()
    const verdict = asked(w)({ ...open, state: 'in-recovery' })
    t.same(verdict, { type: 'refused', reason: 'in-recovery' })
    onRefused(w.state, 'in-recovery')
    t.equal(w.state.end, 'fenced')
    w.reply('1:01')
    t.equal(w.state.lac, 0, 'nothing is confirmed any more')
    t.equal(canAppend(w.state), false)
  })
  await t.test('the writer was first: a recoverer fences the new ensemble', async (t) => {
    const verdict = asked(changing())(open)
    const after = verdict.type === 'write' ? lastFragment(verdict.metadata) : undefined
    t.same(after, { firstEntryId: 1, ensemble: ['a', 'b', 'd'] })
  })
  await t.test('repair edits an older fragment: the change is evaluated anew', async (t) => {
    const w = changing()
    const repaired = {
      ...open,
      fragments: [
        { firstEntryId: 0, ensemble: ['x', 'y', 'z'] },
        { firstEntryId: 1, ensemble: ['a', 'b', 'c'] },
      ],
    }
    const verdict = asked(w)(repaired)
    t.same(verdict.type === 'write' && verdict.metadata.fragments, [
      { firstEntryId: 0, ensemble: ['x', 'y', 'z'] },
      { firstEntryId: 1, ensemble: ['a', 'b', 'd'] },
    ])
  })
  await t.test(
    'a failure told twice: the second change is none, and the scan runs (D5)',
    async (t) => {
      const w = changing()
      w.reply('1:2', io)
      w.reply('1:01')
      t.equal(w.state.lac, 0)
      w.changed('a', 'b', 'd')
      t.equal(w.effects.choose, 0, 'the failure was that of a bookie that is out')
      t.equal(w.state.lac, 1)

      const none = changing()
      none.reply('1:01')
      none.changed('a', 'b', 'c')
      t.same(none.resent, [])
      t.equal(none.state.lac, 1, 'nothing was replaced, and yet what is complete is confirmed')
    },
  )
  await t.test('late words of a replaced bookie are ignored', async (t) => {
    const w = changing()
    w.changed('a', 'b', 'd')
    w.reply('1:2', { generation: 0 })
    w.reply('1:0')
    t.equal(w.state.lac, 0, 'its OK')
    w.reply('1:2', { status: statuses.fenced, generation: 0 })
    w.reply('1:2', { ...io, generation: 0 })
    t.equal(w.effects.choose, 0, 'its failure')
    t.equal(w.state.end, undefined)
    w.reply('1:2')
    t.equal(w.state.lac, 1)
  })
  await t.test('the metadata is away: no acknowledgement, and an end to it', async (t) => {
    const w = changing()
    w.reply('1:01')
    clearEffects(w.effects)
    onTick(w.state, 999, w.effects)
    t.same([w.state.lac, w.state.end], [0, undefined])
    onTick(w.state, 1_001, w.effects)
    t.same([w.state.lac, w.state.end], [0, 'timed-out'])
  })
  await t.test('the reply of the change was lost: the metadata shows it', async (t) => {
    const w = changing()
    const change = asked(w)
    const verdict = change(open)
    t.equal(verdict.type === 'write' && change(verdict.metadata).type, 'done')
  })
  await t.test('a second failure while the first is changed', async (t) => {
    const w = changing()
    w.reply('1:0', io)
    w.reply('1:1')
    w.changed('a', 'b', 'd')
    t.equal(w.effects.choose, 0b001, 'again, before anything is confirmed')
    w.choose('e')
    t.match(w.effects.change, { firstEntryId: 1, replacements: [{ index: 0, failed: 'a' }] })
    t.equal(w.state.lac, 0)
    w.changed('e', 'b', 'd')
    t.same(w.resent, ['1:0', '1:2'])
    w.reply('1:2')
    t.equal(w.state.lac, 1)
  })
})

t.test('D4: all unsets come before the first acknowledgement', (t) => {
  const w = new Writing(striped)
  w.append(3)
  // W(0) = 012, W(1) = 123, W(2) = 230. Entry 1 is complete with the member that is replaced.
  w.reply('1:13 0:0')
  w.reply('2:3', io)
  w.choose(undefined, undefined, undefined, 'e')
  w.reply('0:1')
  t.equal(w.state.lac, -1)
  w.changed('a', 'b', 'c', 'e')
  t.equal(w.state.lac, 0, 'entry 0 has its quorum, entry 1 lost a member of it')
  t.same(w.resent, ['1:3', '2:3'])
  w.reply('1:3')
  t.equal(w.state.lac, 1)
  t.end()
})

t.test('a member is left behind where there is no spare (A16)', (t) => {
  const w = new Writing()
  w.append(3)
  w.reply('0:012 1:01')
  w.reply('1:2', io).choose()
  t.equal(w.effects.recordHoles, true)
  t.same(holesOf(w.state), [{ bookieId: 'c', from: 1, to: undefined }])
  t.equal(targets(w.state, 2), 0b011, 'nothing is sent to it any more')
  w.reply('2:01')
  t.same([w.state.lac, w.state.head], [2, 3])
  w.reply('2:2', io)
  t.equal(w.effects.choose, 0, 'it has failed already')

  // A spare comes up.
  clearEffects(w.effects)
  w.append()
  onSpare(w.state, w.effects)
  t.equal(w.effects.choose, 0b100)
  w.choose(undefined, undefined, 'd')
  t.match(w.effects.change, {
    firstEntryId: 3,
    holes: [{ bookieId: 'c', from: 1, to: undefined }, { to: 2 }],
  })
  w.changed('a', 'b', 'd')
  t.same(w.resent, ['3:2'])
  t.same(holesOf(w.state), [{ bookieId: 'c', from: 1, to: 2 }])
  t.equal(w.state.lagging, 0)

  w.reply('3:1', io).choose()
  t.equal(w.state.end, undefined)
  w.reply('3:0', io).choose()
  t.equal(w.state.end, 'not-enough-bookies', 'fewer than an ack quorum would be left')
  t.end()
})

t.test('a slow member sets the pace once as much is kept for it as may be', (t) => {
  const w = new Writing()
  w.append(6)
  w.reply('0:01 1:01 2:01 3:01 4:01')
  t.equal(w.state.lac, 3, 'entry 4 has its quorum, and waits')
  w.reply('0:2')
  t.equal(w.state.lac, 4)
  w.reply('5:01')
  t.equal(w.state.lac, 4)
  t.equal(w.effects.choose, 0, 'slow is no failure')
  onTick(w.state, 101, w.effects)
  t.equal(w.effects.choose, 0b100, 'silent is one')
  w.choose()
  t.same([w.state.lac, w.state.head], [5, 6])
  t.same(holesOf(w.state), [{ bookieId: 'c', from: 1, to: undefined }])
  t.end()
})

t.test('the ring grows with what is in flight', (t) => {
  const quorum = createQuorum(three)
  const wide = { ...limits, capacity: 1_024, keptEntriesMax: 1_024, keptBytesMax: 1_000_000 }
  const ensemble = names.slice(0, 3)
  const options = { quorum, limits: wide, ensemble, local: false, nowMs: 0 }
  const state = createWriter({ ...options, lac: 2 ** 40 })
  const effects = createEffects()
  const batch = createReplyBatch(3)
  const acknowledge = (entryId: number): void => {
    batch.count = 3
    batch.entryIds.fill(entryId)
    batch.indexes.set([0, 1, 2])
    onReplies(state, batch, effects)
  }
  for (let i = 0; i < 40; i++) append(state, i)
  for (let e = state.lac + 1; e <= 2 ** 40 + 20; e++) acknowledge(e)
  for (let i = 40; i < 700; i++) append(state, i)
  t.equal(state.lap - state.head, 679)
  t.equal(state.acked.length, 1_024)
  acknowledge(2 ** 40 + 22)
  t.equal(state.lac, 2 ** 40 + 20)
  acknowledge(2 ** 40 + 21)
  t.equal(state.lac, 2 ** 40 + 22)
  t.equal(state.confirmedBytes, (21 * 22) / 2, 'each with its own size')
  while (canAppend(state)) append(state, 1)
  t.equal(state.lap + 1 - state.head, 1_024)
  t.end()
})

t.test('silence', (t) => {
  const w = new Writing()
  w.append()
  w.reply('0:01')
  onTick(w.state, 100, w.effects)
  t.equal(w.effects.choose, 0)
  onTick(w.state, 101, w.effects)
  t.equal(w.effects.choose, 0b100)
  w.nowMs = 101
  w.choose(undefined, undefined, 'd').changed('a', 'b', 'd')
  w.append()
  clearEffects(w.effects)
  onTick(w.state, 150, w.effects)
  t.equal(w.effects.choose, 0, 'a new member has its own time')
  const member = { index: 0, generation: 0 }
  w.reply('1:012')
  onMemberFailed(w.state, member, w.effects)
  t.equal(w.effects.choose, 0, 'a connection that ends while nothing is owed is no failure')
  w.append()
  onMemberFailed(w.state, member, w.effects)
  t.equal(w.effects.choose, 0b001)
  t.end()
})

t.test('the end of a writer', (t) => {
  for (const [status, end] of [
    [statuses.fenced, 'fenced'],
    [statuses.unauthorized, 'unauthorized'],
  ] as const) {
    const w = new Writing()
    w.append(2)
    w.reply('0:0').reply('0:1', { status })
    t.same([w.state.end, w.state.lac, w.state.lap], [end, -1, -1])
    w.reply('0:12 1:012')
    t.equal(w.state.lac, -1)
  }
  const w = new Writing()
  for (let i = 0; i < 4; i++) {
    w.append()
    w.reply(`${i}:12`).reply(`${i}:0`, io)
    w.choose(`spare ${i}`)
    if (w.state.end === undefined) w.changed(`spare ${i}`, 'b', 'c')
  }
  t.equal(w.state.end, 'not-enough-bookies', 'changes have an end')

  const c = new Writing()
  c.append(3)
  c.reply('0:012 1:01')
  beginClose(c.state)
  t.same([c.state.lac, c.state.lap, isDrained(c.state)], [1, 1, false])
  t.equal(canAppend(c.state), false)
  c.reply('2:012')
  t.equal(c.state.lac, 1, 'what was dropped is not of the ledger')
  const late = cloneWriter(c.state)
  c.reply('1:2')
  t.equal(isDrained(c.state), true)
  leaveRestBehind(late, createEffects())
  t.same(holesOf(late), [{ bookieId: 'c', from: 1, to: undefined }])
  t.equal(writerClose({ lastEntryId: 1, lengthBytes: 20, holes: [] }).length, 1)
  t.end()
})

class Recovering {
  readonly state: RecoveryState
  readonly effects = createRecoveryEffects()
  readonly #writing = createEffects()

  constructor(options: { sizes?: QuorumSizes; firstEntryId?: number; window?: number } = {}) {
    const { sizes = three, firstEntryId = 0, window = 4 } = options
    const fragment = { firstEntryId, ensemble: names.slice(0, sizes.ensembleSize) }
    this.state = createRecovery({ quorum: createQuorum(sizes), limits, fragment, window })
  }

  fence(index: number, result: ReadResult, lac = -1): this {
    onFenced(this.state, { index, result, lac, nowMs: 0 }, this.effects)
    return this
  }

  read(entryId: number, ...results: (ReadResult | undefined)[]): this {
    results.forEach((result, index) => {
      const sizes = { payloadBytes: 10, lengthBytes: (entryId + 1) * 10 }
      if (result) onRead(this.state, { entryId, index, result, ...sizes }, this.effects)
    })
    return this
  }

  wrote(entryId: number, indexes: readonly number[], status: number = statuses.ok): this {
    const { writer } = this.state
    if (!writer) throw new Error('not writing')
    const batch = createReplyBatch(4)
    for (const index of indexes) {
      batch.entryIds[batch.count] = entryId
      batch.indexes[batch.count] = index
      batch.generations[batch.count] = writer.generations[index] ?? 0
      batch.statuses[batch.count] = status
      batch.count++
    }
    clearEffects(this.#writing)
    onReplies(writer, batch, this.#writing)
    if (this.#writing.choose !== 0) {
      onChosen(writer, { chosen: ['x', 'y', 'z'], nowMs: 0 }, this.#writing)
    }
    onWritten(this.state, this.effects)
    return this
  }
}

const fencedBy = (r: Recovering, lac: number): Recovering =>
  r.fence(0, 'found', lac).fence(1, 'negative')

t.test('recovery finds the end, and writes what it found again', (t) => {
  const r = fencedBy(new Recovering(), 2)
  t.same(r.effects.reads, [3, 4, 5, 6], 'behind the highest confirmation heard')
  r.fence(2, 'found', 9)
  t.equal(r.state.maxLac, 2, 'a late fence is ignored')
  r.read(4, 'found', 'negative')
  t.same(r.effects.copies, [], 'in order')
  r.read(3, 'negative', 'found')
  t.same(r.effects.copies, [3, 4])
  r.read(5, 'negative', undefined, 'negative')
  t.equal(r.state.end, 5, 'two of three say no, the third need not answer (D6)')
  r.wrote(3, [0, 1]).wrote(4, [1])
  t.equal(r.state.phase, 'copying')
  const copy = cloneRecovery(r.state)
  r.wrote(4, [0])
  t.equal(r.state.phase, 'closing')
  t.equal(copy.phase, 'copying')
  t.same([recoveredEnd(r.state), r.state.lengthBytes, recoveredFragments(r.state)], [4, 50, []])
  t.end()
})

t.test('D2: nothing before the last fragment is read or written again', (t) => {
  const r = fencedBy(new Recovering({ firstEntryId: 7 }), -1)
  t.same(r.effects.reads, [7, 8, 9, 10])
  r.read(7, 'negative', 'negative')
  t.equal(r.state.phase, 'measuring')
  t.equal(r.effects.measure, 6, 'the length is that of the last entry (A3)')
  onMeasured(r.state, 70)
  t.same([recoveredEnd(r.state), r.state.lengthBytes], [6, 70])
  const unreadable = fencedBy(new Recovering({ firstEntryId: 7 }), -1).read(
    7,
    'negative',
    'negative',
  )
  onMeasured(unreadable.state, undefined)
  t.equal(unreadable.state.failure, 'undecided')
  const empty = fencedBy(new Recovering(), -1).read(0, 'negative', 'negative')
  t.same(
    [empty.state.phase, recoveredEnd(empty.state), empty.state.lengthBytes],
    ['closing', -1, 0],
  )
  t.end()
})

t.test('what cannot be known ends a recovery, never the ledger', (t) => {
  const r = fencedBy(new Recovering(), -1).read(0, 'negative', 'unknown', 'unknown')
  t.same([r.state.phase, r.state.failure], ['failed', 'undecided'])
  const f = new Recovering().fence(0, 'unknown').fence(1, 'unknown')
  t.same([f.state.phase, f.state.failure], ['failed', 'no-coverage'])
  const u = new Recovering().fence(0, 'unauthorized')
  t.same([u.state.phase, u.state.failure], ['failed', 'unauthorized'])
  const one = new Recovering().fence(0, 'found', 0)
  t.equal(one.state.phase, 'fencing', 'one of three does not cover')
  const d = fencedBy(new Recovering(), -1).read(0, 'unknown', 'unknown', 'found')
  t.equal(d.state.phase, 'copying', 'one positive is enough')
  t.end()
})

t.test('D9: replacements stay with the recovery until it closes the ledger', (t) => {
  const r = fencedBy(new Recovering({ window: 2 }), -1)
  r.read(0, 'found').wrote(0, [0, 1])
  r.read(1, 'found')
  r.wrote(1, [2], statuses.io)
  t.equal(r.state.writer?.end, undefined)
  t.same(r.state.fragment.ensemble, ['a', 'b', 'c'], 'reads go where they went')
  t.same(r.state.writer?.newFragments, [{ firstEntryId: 1, ensemble: ['a', 'b', 'z'] }])
  r.wrote(1, [0, 2]).read(2, 'negative', 'negative')
  t.equal(r.state.phase, 'closing')
  t.same(recoveredFragments(r.state), [{ firstEntryId: 1, ensemble: ['a', 'b', 'z'] }])
  t.end()
})
