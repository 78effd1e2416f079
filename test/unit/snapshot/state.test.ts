// Replicated states without a log: exactly once, atomic commands, checks, and snapshots that carry
// all of it (D7, D10, canaries 45, 46, 50), over the real SQLite store, the simulated one, and
// machines in memory.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { StateStores } from '../../../src/io/index.ts'
import { states as realStates } from '../../../src/io/real/state-store.ts'
import { createSimulatedStateStores } from '../../../src/simulation/state-store.ts'
import { encodeReplicaRecord, type ReplicaRecord } from '../../../src/snapshot/commands.ts'
import { MemoryState, type Machine } from '../../../src/snapshot/memory-state.ts'
import { SqliteState, type SqlCommand } from '../../../src/snapshot/sqlite-state.ts'
import type { Outcome, ReplicatedState } from '../../../src/snapshot/state.ts'
import { decodeValue, encodeValue } from '../../../src/snapshot/values.ts'
import { seededRandom } from '../../support/memory-logs.ts'

const session = 'ab'.repeat(16)
const open: ReplicaRecord = { type: 'open', session, timeoutMs: 1000 }

const command = (seq: number, value: unknown, ackedUpTo = 0): ReplicaRecord => {
  return { type: 'command', session, seq, ackedUpTo, body: encodeValue(value) }
}

const apply = async (
  state: ReplicatedState,
  records: readonly ReplicaRecord[],
  timeMs = 1000,
): Promise<Outcome[]> => {
  const encoded = records.map((record) => encodeReplicaRecord(record))
  const batch = { firstPosition: state.position, timeMs, records: encoded }
  return (await state.apply(batch)).map(({ outcome }) => outcome)
}

const values = (outcomes: readonly Outcome[]): unknown[] =>
  outcomes.map((o) => (o.type === 'done' ? decodeValue(o.value) : o.type))

const collect = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer[]> => {
  const found: Buffer[] = []
  for await (const chunk of chunks) found.push(Buffer.from(chunk))
  return found
}

async function* streamOf(
  chunks: readonly Uint8Array[],
  failure?: Error,
): AsyncGenerator<Uint8Array> {
  await Promise.resolve()
  yield* chunks
  if (failure) throw failure
}

/** A sum; knows nothing of keys or retries. A negative number fails. */
const sum: Machine<number, number, number, undefined, number> = {
  create: () => 0,
  apply: (state, add) => {
    if (add < 0) throw new Error('negative')
    return { state: state + add, result: state + add }
  },
  query: (state) => state,
  snapshot: (state) => [Buffer.from(String(state))],
  restore: async (chunks) => Number(Buffer.concat(await collect(chunks)).toString()),
}

const add: SqlCommand<number, number> = (tx, amount) => {
  tx.run('update total set sum = sum + ?', amount)
  if (amount < 0) throw new Error('negative')
  return Number(tx.get('select sum from total')?.['sum'])
}

const sqlite = (states: StateStores, path: string, commands = {}): Promise<SqliteState> =>
  SqliteState.open({ states, path, logId: 'one', checkEvery: 4, commands: { add, ...commands } })

const schema = 'create table total (sum integer); insert into total values (0);'
const setUp = [open, command(1, ['migrate', 0, schema])]

interface Kind {
  readonly name: string
  make(): Promise<ReplicatedState>
  readonly setUp: readonly ReplicaRecord[]
  add(seq: number, amount: number, ackedUpTo?: number): ReplicaRecord
  total(state: ReplicatedState): Promise<number>
}

t.test('a result that cannot be told fails its command, not the machine', async (t) => {
  const machine: Machine<number, number, unknown, undefined, number> = {
    ...sum,
    apply: (state, change) => ({ state: state + change, result: { '$quire:bytes': change } }),
  }
  const state = new MemoryState(machine, 4)
  t.same(values(await apply(state, [open, command(1, 5)])), ['failed'])
  t.equal(state.query(undefined), 0)
  t.same(values(await apply(state, [command(1, 5)])), ['failed'], 'and the same again')
})

const kinds = (directory: string): Kind[] => {
  const simulated = createSimulatedStateStores({ random: seededRandom(1) })
  let made = 0
  const sqliteKind = (name: string, states: StateStores): Kind => ({
    name,
    make: () => sqlite(states, join(directory, `${++made}`, 'state.sqlite')),
    setUp,
    add: (seq, amount, acked) => command(seq + 1, ['command', 'add', amount], acked && acked + 1),
    total: async (state) => {
      if (!(state instanceof SqliteState)) return Number.NaN
      return Number((await state.query('select sum from total', []))[0]?.['sum'])
    },
  })
  return [
    {
      name: 'memory',
      make: () => Promise.resolve(new MemoryState(sum, 4)),
      setUp: [open, { type: 'barrier' }],
      add: command,
      total: (state) =>
        Promise.resolve(state instanceof MemoryState ? Number(state.query(undefined)) : Number.NaN),
    },
    sqliteKind('sqlite', realStates),
    sqliteKind('simulated sqlite', simulated),
  ]
}

t.test('a command has one effect, and its answer for every time it comes', async (t) => {
  for (const kind of kinds(t.testdir())) {
    const state = await kind.make()
    await apply(state, kind.setUp)
    const first = kind.add(1, 5)
    t.same(values(await apply(state, [first, kind.add(2, 3), first])), [5, 8, 5], kind.name)
    t.same(values(await apply(state, [first])), [5], 'in a later batch too')
    t.same(values(await apply(state, [kind.add(3, 1, 2), first])), [9, 'gone'], 'acknowledged')
    t.equal(await kind.total(state), 9)
    t.equal(state.position, 8, 'every record has a position')
    await state.close()
  }
})

t.test('a command that throws changes nothing, and that is its answer', async (t) => {
  for (const kind of kinds(t.testdir())) {
    const state = await kind.make()
    await apply(state, kind.setUp)
    const answers = await apply(state, [kind.add(1, 1), kind.add(2, -5), kind.add(3, 1)])
    t.same(answers[1], { type: 'failed', message: 'negative' }, kind.name)
    t.same((await apply(state, [kind.add(2, -5)]))[0], answers[1], 'kept as any answer')
    t.equal(await kind.total(state), 2)
    await state.close()
  }
})

t.test('sessions end by log time, and what comes for them has no effect', async (t) => {
  for (const kind of kinds(t.testdir())) {
    const state = await kind.make()
    await apply(state, kind.setUp, 1000)
    await apply(state, [kind.add(1, 1)], 1500)
    await apply(state, [{ type: 'expire' }], 2499)
    t.ok(state.sessions.has(session), `${kind.name}: counted from the last command`)
    await apply(state, [{ type: 'expire' }], 2500)
    t.notOk(state.sessions.has(session))
    t.same(values(await apply(state, [kind.add(1, 1), kind.add(2, 1)])), ['gone', 'gone'])
    t.equal(await kind.total(state), 1)
    await apply(state, [open, { type: 'close', session }])
    t.notOk(state.sessions.has(session))
    await state.close()
  }
})

t.test('a snapshot carries the state, its position, its sessions and its checks', async (t) => {
  for (const kind of kinds(t.testdir())) {
    const state = await kind.make()
    await apply(state, kind.setUp)
    await apply(state, [kind.add(1, 5), kind.add(2, -1)])
    const copying = state.snapshot(100)
    await apply(state, [kind.add(3, 7)])
    const chunks = await collect(copying)
    t.ok(chunks.every(({ length }) => length <= 100))
    const copy = await kind.make()
    const failing = copy.restore(streamOf(chunks.slice(0, 1), new Error('half')))
    await t.rejects(failing, { message: 'half' })
    t.equal(copy.position, 0, 'half a snapshot replaces nothing')
    await copy.restore(streamOf(chunks))
    t.equal(copy.position, 4, `${kind.name}: the moment of the call`)
    t.equal(await kind.total(copy), 5)
    // Canary 45: a retry of what is in the snapshot.
    t.same(values(await apply(copy, [kind.add(1, 5)])), [5])
    t.equal(await kind.total(copy), 5)
    t.ok(copy.check, 'checks are compared across a restore')
    await copy.close()
    await state.close()
  }
})

t.test('a check names the position where a state went another way', async (t) => {
  for (const kind of kinds(t.testdir())) {
    const [one, same, other] = [await kind.make(), await kind.make(), await kind.make()]
    for (const state of [one, same, other]) await apply(state, kind.setUp)
    const common = [kind.add(1, 1), kind.add(2, 2)]
    await apply(one, common)
    await apply(same, common)
    await apply(other, [kind.add(1, 1), kind.add(2, 3)])
    const check: ReplicaRecord = {
      type: 'check',
      ...(one.check ?? { position: 0, fingerprint: 0 }),
    }
    await apply(same, [check])
    await t.rejects(apply(other, [check]), {
      code: 'QUIRE_STATE_DIVERGED',
      facts: { position: 4, after: 0 },
    })
    for (const state of [one, same, other]) await state.close()
  }
})

t.test('position, sessions and state of a database are one transaction', async (t) => {
  // Canary 50: at every crash the database is as after some batch, position and effect alike.
  for (let seed = 1; seed <= 10; seed++) {
    const states = createSimulatedStateStores({ random: seededRandom(seed) })
    const state = await sqlite(states, 'a')
    await apply(state, setUp)
    const adds = [1, 2, 3, 4, 5].map((n) => command(n + 1, ['command', 'add', 10 ** n]))
    for (const record of adds) await apply(state, [record])
    states.crash()
    const after = await sqlite(states, 'a')
    const missing = [...setUp, ...adds].slice(after.position)
    await apply(after, missing)
    t.equal((await after.query('select sum from total', []))[0]?.['sum'], 111110)
    t.same(values(await apply(after, adds)), [10, 110, 1110, 11110, 111110])
    await after.close()
  }
})

t.test('a failing disk is nobody’s answer: the state ends where it was', async (t) => {
  const path = join(t.testdir(), 'state.sqlite')
  const broken: SqlCommand<null, null> = () => {
    throw new QuireError('QUIRE_DISK_FULL', 'full')
  }
  const state = await sqlite(realStates, path, { broken })
  await apply(state, setUp)
  const batch = [command(2, ['command', 'add', 1]), command(3, ['command', 'broken', null])]
  await t.rejects(apply(state, batch), { code: 'QUIRE_DISK_FULL' })
  await t.rejects(apply(state, []), { code: 'QUIRE_DISK_FULL' }, 'it is not used any more')
  await state.close()
  const again = await sqlite(realStates, path)
  t.equal(again.position, 2)
  t.same(await again.query('select sum from total', []), [{ sum: 0 }])
  await again.close()
})

t.test('what a command may not do', async (t) => {
  const later: SqlCommand<null, unknown> = () => Promise.resolve(1)
  const leaves: SqlCommand<null, unknown> = (tx) => tx.run('commit')
  const peeks: SqlCommand<null, unknown> = (tx) => tx.all('select * from quire_meta')
  const unusable: SqlCommand<null, unknown> = () => ({ '$quire:bytes': 1 })
  const state = await sqlite(realStates, join(t.testdir(), 's'), { later, leaves, peeks, unusable })
  await apply(state, setUp)
  const names = ['later', 'leaves', 'peeks', 'unusable']
  const outcomes = await apply(
    state,
    names.map((name, index) => command(2 + index, ['command', name, null])),
  )
  t.same(
    outcomes.map(({ type }) => type),
    names.map(() => 'failed'),
  )
  t.same(values(await apply(state, [command(9, ['migrate', 0, 'drop table total'])])), [false])
  const trigger = `create table seen (n); create trigger see after update on total
    begin insert into seen values (new.sum); end;`
  t.same(values(await apply(state, [command(10, ['migrate', 1, trigger])])), [true])
  await t.rejects(apply(state, [command(11, ['command', 'unknown', null])]), {
    code: 'QUIRE_UNSUPPORTED',
  })
  await state.close()
})

t.test('a database of another log is set aside', async (t) => {
  const path = join(t.testdir(), 'state.sqlite')
  const state = await sqlite(realStates, path)
  await apply(state, setUp)
  await state.close()
  const parts = { states: realStates, path, checkEvery: 4, commands: { add } }
  const other = await SqliteState.open({ ...parts, logId: 'two' })
  t.equal(other.position, 0)
  await other.close()
})

t.test('a question waits while a snapshot takes the place of the state', async (t) => {
  const directory = t.testdir()
  const first = await sqlite(realStates, join(directory, 'first.sqlite'))
  await apply(first, [...setUp, command(2, ['command', 'add', 7])])
  const second = await sqlite(realStates, join(directory, 'second.sqlite'))
  const restored = second.restore(first.snapshot(65_536))
  const asked = second.query('select sum from total', [])
  await restored
  t.same(await asked, [{ sum: 7 }])
  await first.close()
  await second.close()
  await t.rejects(second.query('select sum from total', []), { code: 'QUIRE_CLOSED' })
})

t.test('the store: one point, no leftovers, reads that cannot write', async (t) => {
  const directory = t.testdir()
  const path = join(directory, 'state.sqlite')
  const store = await realStates.open(path)
  await store.transact((tx) => tx.script('create table pad (n integer, bytes blob)'))
  await store.transact((tx) => {
    for (let n = 0; n < 1000; n++) tx.run('insert into pad values (?, zeroblob(2000))', n)
  })
  const reading = store.snapshot(65536)[Symbol.asyncIterator]()
  const first = reading.next()
  for (let i = 0; i < 20; i++) {
    await store.transact((tx) => tx.run('update pad set n = n + 1'), { durable: i === 10 })
  }
  const chunks = [(await first).value]
  for (let chunk = await reading.next(); !chunk.done; chunk = await reading.next()) {
    chunks.push(chunk.value)
  }
  const copy = join(directory, 'copy')
  await realStates.restore(copy, streamOf(chunks))
  const copied = await realStates.open(copy)
  t.same(await copied.query('select min(n) least, max(n) most from pad', []), [
    { least: 0, most: 999 },
  ])
  for (const sql of ['delete from pad', 'select nothing', 'select 1; select 2']) {
    await t.rejects(copied.query(sql, []), { code: 'QUIRE_BAD_OPTION' }, sql)
  }
  await copied.close()
  // A consumer that stops early leaves nothing either.
  for await (const chunk of store.snapshot(65536)) {
    t.ok(chunk.length > 0)
    break
  }
  await store.close()
  t.same(readdirSync(directory).sort(), ['copy', 'state.sqlite'])
  await realStates.remove(path)
  t.same(readdirSync(directory), ['copy'])
})

t.test('values: JSON, bigint and bytes', (t) => {
  const value = { a: [1, null, 'x', 2n ** 70n], b: new Uint8Array([1, 2]), c: Buffer.from('z') }
  const back = decodeValue(encodeValue(value))
  t.same(back.a, value.a)
  t.same([...back.b], [1, 2])
  t.equal(String(back.c), 'z')
  t.equal(decodeValue(encodeValue(undefined)), undefined)
  t.throws(() => encodeValue({ '$quire:x': 1 }), { code: 'QUIRE_BAD_OPTION' })
  t.end()
})
