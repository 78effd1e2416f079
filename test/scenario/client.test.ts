// Clients on bad days: their node restarts, they are silent for too long, their calls are aborted,
// they are closed in the middle of work. Every error is told as documented, and nothing goes
// unheard.
import { getEventListeners, once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { errorCodes } from '../../src/errors.ts'
import {
  connect,
  open,
  QuireError,
  type ConnectOptions,
  type LedgerWriter,
  type LogWriter,
  type Machine,
  type NamedLog,
} from '../../src/index.ts'
import { recorded, silent, startNodes, unheard } from '../support/nodes.ts'
import { startProxy } from '../support/proxy.ts'
import { startQuire, type QuireProcess } from '../support/processes.ts'

const heard = unheard()

const text = (words: string): Buffer => Buffer.from(words)

/** A client that gives up soon. */
const hasty: ConnectOptions = {
  logger: silent,
  connectTimeoutMs: 500,
  addTimeoutMs: 500,
  readTimeoutMs: 500,
}

/** Everything that a caller was told by a throw. */
const told: unknown[] = []

/** Notes an error, and passes it on as what it should be. */
function note(error: unknown): QuireError {
  told.push(error)
  if (QuireError.is(error)) return error
  throw new Error('not an error of Quire', { cause: error })
}

/** Tries what may be tried again until it works. */
async function insist<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!note(error).retryable || attempt === 400) throw error
      await pause(10)
    }
  }
}

// ---- a node that restarts

/** What became of each value that was appended. */
interface Appended {
  readonly acked: Map<number, number>
  readonly unknown: Set<number>
}

/** Appends numbers until it is enough, whatever happens to the writer. */
async function keepAppending(log: NamedLog, enough: { yes: boolean }): Promise<Appended> {
  const appended: Appended = { acked: new Map(), unknown: new Set() }
  let value = 0
  let writer: LogWriter | undefined
  const appendOne = async (to: LogWriter, own: number): Promise<void> => {
    try {
      appended.acked.set(own, await to.append(text(String(own))))
    } catch (error) {
      if (note(error).code === 'QUIRE_OUTCOME_UNKNOWN') appended.unknown.add(own)
    }
  }
  while (!enough.yes) {
    writer ??= await insist(() => log.acquire())
    const current = writer
    await Promise.all(Array.from({ length: 10 }, () => appendOne(current, value++)))
    if (!current.writable) writer = undefined
  }
  writer ??= await insist(() => log.acquire())
  appended.acked.set(-1, await writer.append(text('-1')))
  await writer.close()
  return appended
}

/** Follows the log up to the value −1, beginning again where it was interrupted. */
async function keepReading(log: NamedLog): Promise<number[]> {
  const values: number[] = []
  for (;;) {
    try {
      for await (const { position, bytes } of log.read({ from: values.length, follow: true })) {
        if (position !== values.length) throw new Error(`${position} came at ${values.length}`)
        values.push(Number(bytes.toString()))
        if (values.at(-1) === -1) return values
      }
    } catch (error) {
      if (!note(error).retryable) throw error
      await pause(10)
    }
  }
}

function checkHistory(t: Test, values: readonly number[], { acked, unknown }: Appended): void {
  const lost = [...acked].filter(([value, position]) => values[position] !== value)
  t.same(lost, [], `${acked.size} acknowledged records are where they were said to be`)
  t.equal(new Set(values).size, values.length, 'none is there twice')
  const strange = values.filter((value) => !acked.has(value) && !unknown.has(value))
  t.same(strange, [], 'what nobody was told of may only be what is unknown')
}

for (const bookies of [1, 3]) {
  t.test(`a log, with ${bookies} bookies, while the node with the metadata restarts`, async (t) => {
    const cluster = await startNodes(t, bookies)
    const listen = cluster.nodes[0]?.listen ?? ''
    await using writing = await connect(cluster.uri, hasty)
    await using reading = await connect(cluster.uri, hasty)
    const log = await writing.log('orders', { segmentBytes: 3_000 })
    const following = keepReading(await reading.log('orders', { pollMs: 200 }))
    const enough = { yes: false }
    const appending = keepAppending(log, enough)
    for (let restart = 0; restart < 3; restart++) {
      const { end, segments } = await insist(() => log.facts())
      const before = end ?? segments.at(-1)?.firstPosition ?? 0
      await pause(50)
      await cluster.stop(0)
      await pause(20 * restart)
      await cluster.start(0, { listen })
      await insist(async () => {
        const facts = await log.facts()
        const now = facts.end ?? facts.segments.at(-1)?.firstPosition ?? 0
        if (now <= before) throw new QuireError('QUIRE_TIMEOUT', 'no segment was begun since then')
      })
    }
    enough.yes = true
    checkHistory(t, await following, await appending)
  })
}

/** Sums up numbers; anything else counts one. */
const counter: Machine<number, number | Uint8Array, number, null, number> = {
  create: () => 0,
  apply(state, by) {
    const sum = state + (typeof by === 'number' ? by : 1)
    return { state: sum, result: sum }
  },
  query: (state) => state,
  snapshot: (state) => [text(String(state))],
  async restore(chunks) {
    const parts: Uint8Array[] = []
    for await (const chunk of chunks) parts.push(chunk)
    return Number(Buffer.concat(parts).toString())
  },
}

t.test('commands, while the node restarts', async (t) => {
  const cluster = await startNodes(t, 1)
  const listen = cluster.nodes[0]?.listen ?? ''
  await using client = await connect(cluster.uri, hasty)
  await using replica = await client.replica('counter', counter, { snapshotEvery: 100 })
  const enough = { yes: false }
  const outcome = { answered: 0, unknown: 0 }
  const execute = async (): Promise<void> => {
    try {
      await replica.execute(1)
      outcome.answered += 1
    } catch (error) {
      if (note(error).code === 'QUIRE_OUTCOME_UNKNOWN') outcome.unknown += 1
    }
  }
  const executing = (async () => {
    while (!enough.yes) await Promise.all(Array.from({ length: 5 }, execute))
  })()
  for (let restart = 0; restart < 2; restart++) {
    const before = outcome.answered
    await until(() => outcome.answered > before + 20)
    await cluster.stop(0)
    await cluster.start(0, { listen })
  }
  const before = outcome.answered
  await until(() => outcome.answered > before + 20)
  enough.yes = true
  await executing
  const value = await insist(() => replica.query(null, { consistency: 'linearizable' }))
  const { answered, unknown } = outcome
  t.ok(value >= answered && value <= answered + unknown, `${answered} ≤ ${value}, ${unknown} open`)
})

async function until(condition: () => boolean): Promise<void> {
  for (let looks = 0; !condition(); looks++) {
    if (looks === 3_000) throw new Error('it does not come')
    await pause(10)
  }
}

// ---- a session that expires

t.test('a client that was not heard of for too long goes on with another session', async (t) => {
  const lines: string[] = []
  const logger = {
    ...silent,
    child: () => logger,
    info: (_: object, line: string) => lines.push(line),
  }
  const cluster = await startNodes(t, 1, { logger })
  const proxy = await startProxy(cluster.nodes[0]?.listen ?? '')
  t.teardown(() => proxy.close())
  const brief = { ...hasty, sessionTimeoutMs: 1_000 }
  await using client = await connect(`quire://${proxy.listen}`, brief)
  await using other = await connect(cluster.uri, hasty)
  const log = await client.log('orders', { pollMs: 60_000 })
  await using writer = await log.acquire()
  const watched = await other.ledgers.create()
  await using reader = await client.ledgers.tail(watched.ledgerId)
  const ending = reader.waitForConfirmed(100, { timeoutMs: 60_000 })
  t.equal(await writer.append(text('before')), 0)
  for (let round = 1; round <= 2; round++) {
    const expired = lines.filter((line) => line === 'a metadata session has expired').length
    proxy.silence()
    t.equal(
      await writer.append(text(`silent ${round}`)),
      2 * round - 1,
      'the data goes another way',
    )
    const created = client.ledgers.create()
    await until(
      () => lines.filter((line) => line === 'a metadata session has expired').length > expired,
    )
    proxy.resume()
    t.equal(await (await created).close(), -1, 'a call made meanwhile is made on the next session')
    t.equal(await writer.append(text(`again ${round}`)), 2 * round)
    t.equal((await client.log('others')).name, 'others')
  }
  await watched.close()
  t.equal(await ending, -1)
  t.equal(reader.closed, true, 'a watch from before the expiry is not lost')
  await cluster.start(1)
  const wide = await insist(() => client.ledgers.create({ ensembleSize: 2, ackQuorumSize: 2 }))
  t.equal(await wide.close(), -1, 'a bookie that came since then is seen')
})

t.test('connections that are cut again and again', async (t) => {
  const cluster = await startNodes(t, 1)
  const proxy = await startProxy(cluster.nodes[0]?.listen ?? '')
  t.teardown(() => proxy.close())
  await using client = await connect(`quire://${proxy.listen}`, hasty)
  const ids: bigint[] = []
  for (let round = 0; round < 15; round++) {
    const creating = Promise.all([1, 2, 3].map(() => client.ledgers.create()))
    for (let turn = 0; turn < round; turn++) await nextTurn()
    proxy.cut()
    for (const writer of await creating) {
      ids.push(writer.ledgerId)
      await writer.close()
    }
  }
  t.equal(new Set(ids).size, ids.length, 'each creation took effect once')
  const found: bigint[] = []
  for await (const ledgerId of client.ledgers.list()) found.push(ledgerId)
  t.same(
    found,
    ids.toSorted((a, b) => Number(a - b)),
    'and none besides',
  )
})

// ---- signals

type Calls = Record<string, (signal: AbortSignal) => Promise<unknown>>

/** Each call ends at once with the abort of its signal, and leaves nothing on it. */
async function abortAll(t: Test, calls: Calls): Promise<void> {
  for (const [name, call] of Object.entries(calls)) {
    for (const when of ['before', 'during'] as const) {
      const controller = new AbortController()
      const reason = new Error('enough')
      const { signal } = controller
      if (when === 'before') controller.abort(reason)
      const work = call(signal)
      const ended = work.then(
        () => 'it succeeded',
        (error: unknown) => error,
      )
      if (when === 'during') {
        for (let turn = 0; turn < 20; turn++) await nextTurn()
        controller.abort(reason)
      }
      const late = pause(5_000, 'nothing', { ref: false })
      const error = await Promise.race([ended, late])
      t.match(
        error,
        { code: 'QUIRE_ABORTED', name: 'AbortError', cause: reason },
        `${name}, ${when}`,
      )
      told.push(error)
      await nextTurn()
      t.equal(getEventListeners(signal, 'abort').length, 0, `${name}, ${when}: no listener is left`)
    }
  }
}

const next = async (iterable: AsyncIterable<unknown>): Promise<unknown> =>
  iterable[Symbol.asyncIterator]().next()

/** Appends until the writer says to wait. */
async function fill(writer: { append(bytes: Uint8Array): Promise<unknown> }): Promise<void> {
  const state = { isFull: false }
  while (!state.isFull) {
    writer.append(Buffer.alloc(100_000)).catch((error: unknown) => {
      if (note(error).code === 'QUIRE_BACKPRESSURE') state.isFull = true
    })
    await nextTurn()
  }
}

const definition = {
  migrations: ['create table one (value)'],
  commands: { add: (_tx: unknown, _args: Uint8Array): number => 1 },
  pendingBytes: 1_000_000,
}

/** Nothing but a signal is to end a call. */
const patient: ConnectOptions = {
  logger: silent,
  sessionTimeoutMs: 60_000,
  connectTimeoutMs: 60_000,
  addTimeoutMs: 60_000,
  readTimeoutMs: 60_000,
}

/** A process that can be stopped: its connections stay, and nobody answers. */
async function startStoppable(t: Test, dir: string, ...args: string[]): Promise<QuireProcess> {
  const node = startQuire(['--dir', dir, '--listen', '127.0.0.1:0', ...args])
  t.teardown(() => node.kill('SIGKILL'))
  await node.ready
  return node
}

t.test('every call takes a signal: nobody answers at all', async (t) => {
  const dir = t.testdir()
  const node = await startStoppable(t, join(dir, 'node'))
  const uri = `quire://${(await node.ready).listen}`
  const client = await connect(uri, { ...patient, dir: join(dir, 'state') })
  const { ledgers } = client
  const log = await client.log('orders', { pendingBytes: 1_000_000 })
  const writer = await log.acquire()
  const position = await writer.append(text('one'))
  const unread = await client.log('unread')
  const [replica, fullReplica] = [
    await client.replica('counter', counter),
    await client.replica('full', counter, { pendingBytes: 1_000_000 }),
  ]
  const [database, fullDatabase] = [
    await client.database('base', definition),
    await client.database('full-base', definition),
  ]
  const [full, closing, empty] = [
    await ledgers.create(),
    await ledgers.create(),
    await ledgers.create(),
  ]
  const closed = await ledgers.create()
  await closed.append(text('one'))
  await closed.close()
  const reader = await ledgers.tail(closed.ledgerId)
  const waiting = await ledgers.tail(empty.ledgerId)
  node.child.kill('SIGSTOP')
  await fill(full)
  await fill(writer)
  await fill({ append: (bytes) => fullReplica.execute(bytes) })
  await fill({ append: (bytes) => fullDatabase.execute('add', bytes) })
  await abortAll(t, {
    connect: (signal) => connect(uri, { ...patient, signal }),
    'client.log': (signal) => client.log('another', { signal }),
    'client.replica': (signal) => client.replica('another', counter, { signal }),
    'client.database': (signal) => client.database('another', definition, { signal }),
    'log.acquire': (signal) => log.acquire({ signal }),
    'log.read': (signal) => next(unread.read({ signal })),
    'log.read, follow': (signal) => next(log.read({ from: position + 1, follow: true, signal })),
    'log.truncate': (signal) => log.truncate(0, { signal }),
    'log.facts': (signal) => log.facts({ signal }),
    'log.collectOrphans': (signal) => log.collectOrphans({ signal }),
    'writer.ready': (signal) => writer.ready(signal),
    'replica.execute': (signal) => replica.execute(1, { signal }),
    'replica.query': (signal) => replica.query(null, { consistency: 'linearizable', signal }),
    'replica.barrier': (signal) => replica.barrier({ signal }),
    'replica.snapshot': (signal) => replica.snapshot({ signal }),
    'replica.ready': (signal) => fullReplica.ready(signal),
    'database.execute': (signal) => database.execute('add', text(''), { signal }),
    'database.query': (signal) =>
      database.query({ sql: 'select 1', consistency: 'linearizable', signal }),
    'database.barrier': (signal) => database.barrier({ signal }),
    'database.snapshot': (signal) => database.snapshot({ signal }),
    'database.ready': (signal) => fullDatabase.ready(signal),
    'ledgers.create': (signal) => ledgers.create({ signal }),
    'ledgers.recover': (signal) => ledgers.recover(empty.ledgerId, { signal }),
    'ledgers.tail': (signal) => ledgers.tail(empty.ledgerId, { signal }),
    'ledgers.delete': (signal) => ledgers.delete(closed.ledgerId, { signal }),
    'ledgers.exists': (signal) => ledgers.exists(closed.ledgerId, { signal }),
    'ledgers.list': async (signal) => next(ledgers.list({ signal })),
    'ledger.ready': (signal) => full.ready(signal),
    'ledger.close': (signal) => closing.close({ signal }),
    'reader.read': (signal) => next(reader.read({ signal })),
    'reader.waitForConfirmed': (signal) =>
      waiting.waitForConfirmed(5, { timeoutMs: 60_000, signal }),
  })
  node.child.kill('SIGCONT')
  await client.close()
  await node.kill('SIGKILL')
})

t.test('every call takes a signal: a bookie does not answer', async (t) => {
  const cluster = await startNodes(t, 1)
  const bookie = await startStoppable(t, join(cluster.dir, 'stopped'), '--metadata', cluster.uri)
  const { id } = await bookie.ready
  const client = await connect(cluster.uri, patient)
  const { ledgers } = client
  const single = { ensembleSize: 1, ackQuorumSize: 1 } as const
  const onBookie = async (): Promise<LedgerWriter> => {
    for (;;) {
      const writer = await ledgers.create(single)
      const { fragments } = await recorded(cluster.uri, writer.ledgerId)
      if (fragments[0]?.ensemble[0] !== id) continue
      await writer.append(text('one'))
      return writer
    }
  }
  const logOnBookie = async (): Promise<NamedLog> => {
    for (let index = 0; ; index++) {
      const log = await client.log(`log-${index}`, { ledger: single })
      const writer = await log.acquire()
      await writer.append(text('one'))
      const { segments } = await log.facts()
      const { fragments } = await recorded(cluster.uri, segments[0]?.ledgerId ?? 0n)
      if (fragments[0]?.ensemble[0] === id) return log
    }
  }
  const [open, closed] = [await onBookie(), await onBookie()]
  await closed.close()
  const log = await logOnBookie()
  await using other = await connect(cluster.uri, patient)
  const unread = await other.log(log.name)
  const reader = await ledgers.tail(closed.ledgerId)
  const waiting = await ledgers.tail(open.ledgerId)
  bookie.child.kill('SIGSTOP')
  await abortAll(t, {
    'client.replica': (signal) => other.replica(log.name, counter, { signal }),
    'log.acquire': (signal) => unread.acquire({ signal }),
    'log.read': (signal) => next(unread.read({ signal })),
    'log.read, follow': (signal) => next(unread.read({ follow: true, signal })),
    'log.collectOrphans': (signal) => unread.collectOrphans({ signal }),
    'ledgers.recover': (signal) => ledgers.recover(open.ledgerId, { signal }),
    'ledgers.tail': (signal) => ledgers.tail(open.ledgerId, { signal }),
    'ledgers.delete': (signal) => ledgers.delete(open.ledgerId, { signal }),
    'reader.read': (signal) => next(reader.read({ signal })),
    'reader.waitForConfirmed': (signal) =>
      waiting.waitForConfirmed(5, { timeoutMs: 60_000, signal }),
  })
  bookie.child.kill('SIGCONT')
  await client.close()
  await bookie.kill('SIGKILL')
})

t.test('an opening that is aborted leaves nothing behind', async (t) => {
  const dir = t.testdir()
  const stopped = await startStoppable(t, join(dir, 'stopped'))
  const metadata = `quire://${(await stopped.ready).listen}`
  stopped.child.kill('SIGSTOP')
  for (const threads of ['inline', 'worker'] as const) {
    const options = { dir: join(dir, threads), threads, logger: silent }
    await abortAll(t, { [threads]: (signal) => open({ ...options, metadata, signal }) })
    const node = await open(options)
    t.equal(typeof node.id, 'string', 'the directory is free')
    await node.close()
  }
  await stopped.kill('SIGKILL')
})

// ---- closing

/** How many of each outcome there are. */
async function outcomesOf(work: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const outcomes: Record<string, number> = {}
  for (const settled of await Promise.allSettled(work)) {
    const name = settled.status === 'fulfilled' ? 'done' : note(settled.reason).code
    outcomes[name] = (outcomes[name] ?? 0) + 1
  }
  return outcomes
}

const only = (outcomes: Record<string, number>, ...names: string[]): boolean =>
  Object.keys(outcomes).every((name) => names.includes(name))

t.test('a client that is closed while appends are pending', async (t) => {
  const cluster = await startNodes(t, 3)
  await using other = await connect(cluster.uri, hasty)
  for (let round = 0; round < 3; round++) {
    const client = await connect(cluster.uri, hasty)
    const ledger = await client.ledgers.create()
    const log = await client.log('orders')
    const writer = await log.acquire()
    const replica = await client.replica('counter', counter)
    const first = writer.nextPosition
    const some = Array.from({ length: 500 }, (_, index) => text(String(index)))
    const ledgerWork = some.map((bytes) => ledger.append(bytes))
    const logWork = some.map((bytes) => writer.append(bytes))
    const commands = some.map(() => replica.execute(1))
    const outcomes = [ledgerWork, logWork, commands].map(outcomesOf)
    for (let turn = 0; turn < round * 5; turn++) await nextTurn()
    await Promise.all([client.close(), client.close()])
    const [inLedger = {}, inLog, inReplica = {}] = await Promise.all(outcomes)
    t.ok(only(inLedger, 'done', 'QUIRE_OUTCOME_UNKNOWN'), JSON.stringify(inLedger))
    t.same(inLog, { done: 500 }, 'what a log has taken is durable when the client is closed')
    t.ok(
      only(inReplica, 'done', 'QUIRE_OUTCOME_UNKNOWN', 'QUIRE_CLOSED'),
      JSON.stringify(inReplica),
    )
    t.match(await ledger.ended, { code: 'QUIRE_CLOSED' })
    await using reader = await other.ledgers.recover(ledger.ledgerId)
    t.ok(reader.lastAddConfirmed + 1 >= (inLedger['done'] ?? 0), 'nothing of what was told is lost')
    let count = 0
    for await (const { bytes } of (await other.log('orders')).read({ from: first })) {
      if (bytes.equals(some[count] ?? text('none'))) count += 1
    }
    t.equal(count, 500)
  }
})

t.test('after the close every call says so', async (t) => {
  const cluster = await startNodes(t, 1)
  const dir = join(cluster.dir, 'state')
  const client = await connect(cluster.uri, { ...hasty, dir })
  const { ledgers } = client
  const ledger = await ledgers.create()
  await ledger.append(text('one'))
  const closed = await ledgers.create()
  await closed.append(text('one'))
  await closed.close()
  const reader = await ledgers.tail(ledger.ledgerId)
  const closedReader = await ledgers.tail(closed.ledgerId)
  const log = await client.log('orders')
  const writer = await log.acquire()
  await writer.append(text('one'))
  const replica = await client.replica('counter', counter)
  const database = await client.database('base', definition)
  const following = next(log.read({ from: 1, follow: true }))
  const waiting = reader.waitForConfirmed(5, { timeoutMs: 60_000 })
  const parked = outcomesOf([following, waiting])
  await client.close()
  t.same(await parked, { QUIRE_CLOSED: 2 }, 'what waited is told')
  const calls: Record<string, () => Promise<unknown>> = {
    log: () => client.log('orders'),
    replica: () => client.replica('other', counter),
    database: () => client.database('other', definition),
    create: () => ledgers.create(),
    recover: () => ledgers.recover(ledger.ledgerId),
    tail: () => ledgers.tail(ledger.ledgerId),
    delete: () => ledgers.delete(ledger.ledgerId),
    exists: () => ledgers.exists(ledger.ledgerId),
    list: async () => next(ledgers.list()),
    append: () => ledger.append(text('late')),
    'ledger.ready': () => ledger.ready(),
    'ledger.close': () => ledger.close(),
    read: () => next(closedReader.read()),
    waitForConfirmed: () => reader.waitForConfirmed(5, { timeoutMs: 60_000 }),
    acquire: () => log.acquire(),
    'log.read': () => next(log.read()),
    facts: () => log.facts(),
    truncate: () => log.truncate(0),
    collectOrphans: () => log.collectOrphans(),
    'writer.append': () => writer.append(text('late')),
    'writer.ready': () => writer.ready(),
    execute: () => replica.execute(1),
    'replica.query': () => replica.query(null, { consistency: 'linearizable' }),
    'replica.barrier': () => replica.barrier(),
    'replica.snapshot': () => replica.snapshot(),
    'database.execute': () => database.execute('add', text('late')),
    'database.query': () => database.query('select * from one'),
    'database.barrier': () => database.barrier(),
    'database.snapshot': () => database.snapshot(),
  }
  for (const [name, call] of Object.entries(calls)) {
    t.same(await outcomesOf([call()]), { QUIRE_CLOSED: 1 }, name)
  }
  await Promise.all([client.close(), writer.close(), replica.close(), database.close()])
})

t.test('a node that is closed ends connections that never said anything', async (t) => {
  for (const threads of ['inline', 'worker'] as const) {
    const node = await open({ dir: join(t.testdir(), threads), threads, logger: silent })
    const [host = '', port = ''] = node.listen.split(':')
    const sockets = [Buffer.alloc(0), Buffer.from([0, 0, 0, 50, 0x51])].map((bytes) => {
      const socket = net.connect({ host, port: Number(port) }, () => socket.write(bytes))
      return socket.on('error', () => socket.destroy()).resume()
    })
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const ended = sockets.map((socket) => once(socket, 'close'))
    await (await node.ledgers.create()).close()
    await node.close()
    await Promise.all(ended)
    t.pass(`${threads}: they are ended`)
  }
})

t.test('a node that is closed with everything open', async (t) => {
  const dir = t.testdir()
  for (const threads of ['inline', 'worker'] as const) {
    const node = await open({ dir: join(dir, threads), threads, logger: silent })
    const ledger = await node.ledgers.create()
    const writer = await (await node.log('orders')).acquire()
    const work = [1, 2, 3].flatMap((n) => [
      ledger.append(text(`${n}`)),
      writer.append(text(`${n}`)),
    ])
    const outcomes = outcomesOf(work)
    await node.close()
    t.ok(only(await outcomes, 'done', 'QUIRE_OUTCOME_UNKNOWN'), JSON.stringify(await outcomes))
    t.same(await outcomesOf([node.ledgers.create(), node.stats()]), { QUIRE_CLOSED: 2 })
    await node.close()
  }
})

t.test('nothing went unheard, and every error was told as documented', async (t) => {
  await nextTurn()
  t.same(heard, [])
  const codes = new Set<string>()
  for (const error of told) {
    if (!QuireError.is(error)) {
      t.fail(String(error))
      continue
    }
    codes.add(error.code)
    const { code, retryable, message } = error
    if (!(code in errorCodes) || retryable !== errorCodes[code].retryable) t.fail(code)
    if (!/\w+ \w+ .*\w+/.test(message)) t.fail(`no sentence: ${message}`)
  }
  t.comment([...codes].join(' '))
})
