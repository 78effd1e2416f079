// Replicas and databases on logs in memory: exactly once, linearizable reads, snapshots and what
// follows from them (D7, D9, D10, D11, canaries 44 and 45).
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import { createDatabases, type Database } from '../../../src/embedded/replica/databases.ts'
import { OpenNames } from '../../../src/embedded/replica/open-replica.ts'
import { createReplicas, type StateReplica } from '../../../src/embedded/replica/replicas.ts'
import type { ReplicaOptions } from '../../../src/embedded/replica/replica.ts'
import { states } from '../../../src/io/real/state-store.ts'
import type { Machine } from '../../../src/snapshot/memory-state.ts'
import type { SqlCommand } from '../../../src/snapshot/sqlite-state.ts'
import { MemoryCluster } from '../../support/memory-logs.ts'

type Sum = StateReplica<number, number, undefined, number>

/** Only adds: what is applied twice shows. */
const sum: Machine<number, number, number, undefined, number> = {
  create: () => 0,
  apply: (state, add) => {
    if (add === 13) throw new Error('thirteen')
    return { state: state + add, result: state + add }
  },
  query: (state) => state,
  snapshot: (state) => [Buffer.from(String(state))],
  restore: async (chunks) => {
    let text = ''
    for await (const chunk of chunks) text += Buffer.from(chunk).toString()
    return Number(text)
  },
}

/** The replica of one more process. */
const replicaOf = (cluster: MemoryCluster, options: ReplicaOptions = {}): Promise<Sum> => {
  const at = cluster.process({ pollMs: 2, segmentBytes: 200 })
  return createReplicas({ ...at, names: new OpenNames() }).replica('sum', sum, options)
}

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  try {
    await work
    return 'no error'
  } catch (error) {
    return QuireError.is(error) ? error.code : String(error)
  }
}

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate)
}

t.test('commands are answered in order, also those that fail', async (t) => {
  const cluster = new MemoryCluster()
  const replica = await replicaOf(cluster)
  t.same(await Promise.all([1, 2, 3].map((n) => replica.execute(n))), [1, 3, 6])
  const failure = replica.execute(13)
  await t.rejects(failure, { code: 'QUIRE_COMMAND_FAILED', message: 'thirteen' })
  t.equal(await replica.execute(4), 10)
  t.equal(await replica.query(undefined), 10)
  await replica.close()
  t.equal(await codeOf(replica.execute(1)), 'QUIRE_CLOSED')
  const again = await replicaOf(cluster)
  t.equal(await again.query(undefined), 10, 'from the log')
  await again.close()
})

t.test('a lost answer: the library tries again, and one effect is seen', async (t) => {
  for (const fault of ['lose', 'fail'] as const) {
    const cluster = new MemoryCluster()
    const replica = await replicaOf(cluster)
    await replica.execute(1)
    let faults = 2
    cluster.ledgers.faults.append = () => (faults-- > 0 ? fault : 'ok')
    const answers = await Promise.all([10, 20, 30].map((n) => replica.execute(n)))
    t.same(answers, [11, 31, 61], `${fault}: in order, once`)
    t.equal(await replica.query(undefined, { consistency: 'linearizable' }), 61)
    t.ok((await replica.log.facts()).ownerEpoch > 1, 'the log was acquired again')
    await replica.close()
    const other = await replicaOf(cluster)
    t.equal(await other.query(undefined), 61)
    await other.close()
  }
})

t.test('two proposers: one owns the log, the other brings it its commands', async (t) => {
  const cluster = new MemoryCluster()
  const replicas = [await replicaOf(cluster), await replicaOf(cluster)]
  const executed: Promise<number>[] = []
  for (let round = 0; round < 10; round++) {
    for (const replica of replicas) executed.push(replica.execute(1))
    await turns(round)
  }
  const answers = await Promise.all(executed)
  t.same(
    answers.sort((a, b) => a - b),
    answers.map((_, index) => index + 1),
    'every command saw its own state',
  )
  t.equal((await replicas[0]?.log.facts())?.ownerEpoch, 1, 'nobody took the log from the other')
  for (const replica of replicas) {
    t.equal(await replica.query(undefined, { consistency: 'linearizable' }), 20)
    await replica.close()
  }
})

t.test(
  'a linearizable query sees what was answered elsewhere, a local one what is applied',
  async (t) => {
    const cluster = new MemoryCluster()
    const [a, b] = [await replicaOf(cluster), await replicaOf(cluster)]
    await a.execute(5)
    const before = a.position
    const queries = [1, 2, 3].map(() => b.query(undefined, { consistency: 'linearizable' }))
    t.same(await Promise.all(queries), [5, 5, 5])
    t.equal(b.position, before + 3, 'a session, an expiry, and one barrier for all')
    await a.execute(7)
    const later = a.position
    t.equal(await b.query(undefined, { consistency: 'linearizable' }), 12)
    t.ok(b.position >= later + 1, 'a barrier of its own')
    const abort = new AbortController()
    abort.abort()
    t.equal(
      await codeOf(b.query(undefined, { consistency: 'linearizable', signal: abort.signal })),
      'QUIRE_ABORTED',
    )
    t.equal(await codeOf(b.execute(1, { signal: abort.signal })), 'QUIRE_ABORTED')
    await a.close()
    await b.close()
  },
)

t.test('backpressure, and an aborted wait', async (t) => {
  const cluster = new MemoryCluster()
  const replica = await replicaOf(cluster, { pendingBytes: 3 })
  await replica.execute(0)
  cluster.ledgers.faults.append = () => 'hold'
  const abort = new AbortController()
  const first = codeOf(replica.execute(111, { signal: abort.signal }))
  t.equal(await codeOf(replica.execute(1)), 'QUIRE_BACKPRESSURE')
  abort.abort()
  t.equal(await first, 'QUIRE_ABORTED')
  await turns(3)
  const ready = replica.ready()
  cluster.ledgers.faults.append = () => 'ok'
  cluster.ledgers.release()
  await ready
  t.equal(await replica.execute(1), 112, 'what was aborted took effect')
  await replica.close()
})

t.test('a session that ended in silence is replaced when nothing is in doubt', async (t) => {
  const cluster = new MemoryCluster()
  const [a, b] = [
    await replicaOf(cluster, { sessionTimeoutMs: 100 }),
    await replicaOf(cluster, { sessionTimeoutMs: 100 }),
  ]
  await a.execute(1)
  cluster.clock.wall += 1000
  await b.execute(1)
  await b.execute(1)
  t.equal(await a.execute(1), 4)
  await a.close()
  await b.close()
})

t.test('a session that ended while an answer was in doubt says so', async (t) => {
  const cluster = new MemoryCluster()
  const [a, b] = [
    await replicaOf(cluster, { sessionTimeoutMs: 100 }),
    await replicaOf(cluster, { sessionTimeoutMs: 100 }),
  ]
  await a.execute(1)
  const others: Promise<number>[] = []
  cluster.ledgers.faults.append = () => {
    // Before the command is tried again, others make its session expire.
    cluster.ledgers.faults = {}
    cluster.clock.wall += 1000
    others.push(b.execute(10), b.execute(10))
    return 'fail'
  }
  t.equal(await codeOf(a.execute(100)), 'QUIRE_SESSION_GONE')
  await Promise.all(others)
  t.equal(await b.query(undefined, { consistency: 'linearizable' }), 21, 'at most once')
  await a.close()
  await b.close()
})

t.test(
  'snapshots: two are kept, the log is cut behind the older, and a new replica begins there',
  async (t) => {
    const cluster = new MemoryCluster()
    const replica = await replicaOf(cluster)
    t.ok(await replica.execute(1))
    const positions: number[] = []
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 10; n++) await replica.execute(1)
      const before = (await replica.log.facts()).oldest
      positions.push((await replica.snapshot()).position)
      const { oldest, snapshots } = await replica.log.facts()
      t.ok(oldest <= (snapshots[1]?.position ?? 0), 'the older one can be continued from')
      if (round === 0) t.equal(oldest, before, 'nothing is cut behind a single snapshot')
    }
    const { snapshots, oldest } = await replica.log.facts()
    t.same(
      snapshots.map(({ position }) => position),
      [positions[2], positions[1]],
    )
    t.ok(oldest > 0, 'the log was cut')
    t.equal(
      (await replica.snapshot()).position,
      positions[2],
      'again at the same place: the same one',
    )
    await replica.execute(100)
    await replica.close()
    t.same(
      await (await cluster.client().log('sum')).collectOrphans(),
      [],
      'nothing was left behind',
    )
    const fresh = await replicaOf(cluster)
    t.equal(await fresh.query(undefined), 131)
    await fresh.close()
    // The newest cannot be read: the older one and a longer piece of log give the same.
    const newest = cluster.ledgers.stored.get(snapshots[0]?.ledgerId ?? 0n)
    newest?.entries[1]?.fill(1)
    const older = await replicaOf(cluster)
    t.equal(await older.query(undefined), 131)
    await older.close()
    cluster.ledgers.stored.get(snapshots[1]?.ledgerId ?? 0n)?.entries[1]?.fill(1)
    t.equal(await codeOf(replicaOf(cluster)), 'QUIRE_SNAPSHOT_CORRUPT')
  },
)

t.test('nothing is cut before a snapshot is published (canary 44)', async (t) => {
  const cluster = new MemoryCluster()
  const replica = await replicaOf(cluster)
  for (let n = 0; n < 20; n++) await replica.execute(1)
  await replica.snapshot()
  const { oldest } = await replica.log.facts()
  await replica.execute(1)
  cluster.records.before = () =>
    Promise.reject(new QuireError('QUIRE_METADATA_UNAVAILABLE', 'away'))
  const taken = codeOf(replica.snapshot())
  await turns(20)
  cluster.records.before = () => Promise.reject(new QuireError('QUIRE_IO', 'broken'))
  t.equal(await taken, 'QUIRE_IO')
  cluster.records.before = () => Promise.resolve()
  t.equal((await replica.log.facts()).oldest, oldest)
  t.equal((await replica.log.facts()).snapshots.length, 1)
  await replica.close()
})

t.test('the owner takes snapshots by itself', async (t) => {
  const cluster = new MemoryCluster()
  const replica = await replicaOf(cluster, { snapshotEvery: 20 })
  for (let n = 0; n < 50; n++) await replica.execute(1)
  await replica.close()
  const { snapshots } = await (await cluster.client().log('sum')).facts()
  t.ok(snapshots.length > 0)
})

t.test('a command that is not deterministic ends the replica that differs', async (t) => {
  const cluster = new MemoryCluster()
  const first = await replicaOf(cluster, { checkEvery: 10 })
  for (let n = 0; n < 25; n++) await first.execute(1)
  await first.close()
  const at = cluster.process()
  const wrong = {
    ...sum,
    apply: (state: number, add: number) => ({ state: state + add, result: 7 }),
  }
  const opening = createReplicas({ ...at, names: new OpenNames() }).replica('sum', wrong, {
    checkEvery: 10,
  })
  await t.rejects(opening, { code: 'QUIRE_STATE_DIVERGED', facts: { position: 10 } })
  // Beside a running owner: what runs already notices too, and is not used any more.
  const late = await replicaOf(cluster, { checkEvery: 10 })
  t.equal(await late.query(undefined), 25)
  await late.close()
})

t.test('one name is open once in a process, and options are checked', async (t) => {
  const cluster = new MemoryCluster()
  const names = new OpenNames()
  const replicas = createReplicas({ ...cluster.process(), names })
  const first = await replicas.replica('sum', sum)
  t.equal(await codeOf(replicas.replica('sum', sum)), 'QUIRE_BAD_OPTION')
  await first.close()
  const second = await replicas.replica('sum', sum)
  t.equal(await second.execute(1), 1)
  await names.close()
  t.equal(await codeOf(second.execute(1)), 'QUIRE_CLOSED')
  t.equal(await codeOf(replicas.replica('sum', sum, { checkEvery: 1 })), 'QUIRE_BAD_OPTION')
})

const transfer: SqlCommand<{ from: string; to: string; amount: number }, number> = (tx, args) => {
  const { from, to, amount } = args
  tx.run('update account set balance = balance - ? where name = ?', amount, from)
  tx.run('update account set balance = balance + ? where name = ?', amount, to)
  return Number(tx.get('select balance from account where name = ?', from)?.['balance'])
}
const openAccount: SqlCommand<{ name: string; balance: number }, void> = (tx, args) => {
  tx.run('insert into account values (?, ?)', args.name, args.balance)
}
const bank = {
  migrations: [
    'create table account (name text primary key, balance integer check (balance >= 0))',
  ],
  commands: { transfer, openAccount },
}
type Bank = Database<(typeof bank)['commands']>

const bankOf = (cluster: MemoryCluster, directory: string): Promise<Bank> => {
  const at = cluster.process({ pollMs: 2, segmentBytes: 300 })
  return createDatabases({ ...at, names: new OpenNames(), states, directory }).database(
    'bank',
    bank,
  )
}

const balances = async (database: Bank): Promise<unknown[]> =>
  (await database.query('select balance from account order by name')).map(({ balance }) => balance)

t.test('a database: commands, failures, migrations', async (t) => {
  const cluster = new MemoryCluster()
  const directory = t.testdir()
  const database = await bankOf(cluster, directory)
  await database.execute('openAccount', { name: 'a', balance: 100 })
  await database.execute('openAccount', { name: 'b', balance: 0 })
  t.equal(await database.execute('transfer', { from: 'a', to: 'b', amount: 30 }), 70)
  const tooMuch = database.execute('transfer', { from: 'b', to: 'a', amount: 31 })
  await t.rejects(tooMuch, { code: 'QUIRE_COMMAND_FAILED', message: /CHECK/ })
  t.same(await balances(database), [70, 30])
  t.equal(await codeOf(database.query('delete from account')), 'QUIRE_BAD_OPTION')
  const sql = 'select balance from account where name = ?'
  t.same(await database.query({ sql, values: ['b'], consistency: 'linearizable' }), [
    { balance: 30 },
  ])
  await database.close()
  const newer = { ...bank, migrations: [...bank.migrations, 'alter table account add note text'] }
  const at = cluster.process()
  const parts = { ...at, names: new OpenNames(), states, directory }
  const migrated = await createDatabases(parts).database('bank', newer)
  t.same(await migrated.query('select note from account where name = ?', 'a'), [{ note: null }])
  await migrated.close()
  t.equal(await codeOf(createDatabases(parts).database('bank', bank)), 'QUIRE_BAD_OPTION', 'older')
  const broken = { ...newer, migrations: [...newer.migrations, 'create tabel x'] }
  t.equal(await codeOf(createDatabases(parts).database('bank', broken)), 'QUIRE_COMMAND_FAILED')
})

t.test(
  'a database whose file is gone returns from the snapshot’s ledger and the rest of the log',
  async (t) => {
    const cluster = new MemoryCluster()
    const directory = t.testdir()
    const database = await bankOf(cluster, directory)
    await database.execute('openAccount', { name: 'a', balance: 1000 })
    await database.execute('openAccount', { name: 'b', balance: 0 })
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 10; n++)
        await database.execute('transfer', { from: 'a', to: 'b', amount: 1 })
      await database.snapshot()
    }
    await database.execute('transfer', { from: 'a', to: 'b', amount: 5 })
    t.ok((await database.log.facts()).oldest > 0, 'the beginning of the log is gone')
    await database.close()
    const file = join(directory, 'bank.sqlite')
    t.ok(existsSync(file))
    await states.remove(file)
    const reads: bigint[] = []
    cluster.ledgers.faults.read = (ledgerId) => {
      reads.push(ledgerId)
      return undefined
    }
    const again = await bankOf(cluster, directory)
    t.same(await balances(again), [965, 35])
    const { snapshots } = await again.log.facts()
    t.ok(reads.includes(snapshots[0]?.ledgerId ?? 0n))
    t.equal(await again.execute('transfer', { from: 'a', to: 'b', amount: 1 }), 964)
    await again.close()
  },
)
