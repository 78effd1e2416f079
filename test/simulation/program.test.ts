// The simulator as users get it: programs of their own on whole clusters under faults. Each planted
// mistake must be found by name, and at the entry that it is in.
import t from 'tap'
import type { Client, Machine, SqlTransaction } from '../../src/index.ts'
import {
  simulate,
  SimulationFailure,
  type ClientProcess,
  type SimulateOptions,
} from '../../src/simulation.ts'

t.setTimeout(300_000)

type Accounts = Readonly<Record<string, number>>
interface Deposit {
  readonly name: string
  readonly amount: number
}
type Bank = Machine<Accounts, Deposit, number, null, Accounts>

async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts).toString()
}

const bank: Bank = {
  create: () => ({}),
  apply(state, { name, amount }) {
    if (amount > 90) throw new Error('that is too much')
    const balance = (state[name] ?? 0) + amount
    return { state: { ...state, [name]: balance }, result: balance }
  },
  query: (state) => state,
  *snapshot(state) {
    yield Buffer.from(JSON.stringify(state))
  },
  restore: async (chunks) => JSON.parse(await textOf(chunks)),
}

const names = ['ada', 'bob', 'eve']

async function deposit(machine: Bank, { client, random, pause, signal }: ClientProcess<unknown>) {
  const accounts = await client.replica('bank', machine)
  for (let left = 15; left > 0 && !signal.aborted; left -= 1) {
    const command = { name: names[random.below(3)] ?? '', amount: random.below(100) }
    try {
      await accounts.execute(command)
    } catch (error) {
      if (!String(error).includes('that is too much')) throw error
    }
    await pause([0, 100])
  }
}

const quick = { seed: 2, faultMs: 3000, shrinkRuns: 0 }

t.test('what a program holds moves on as it would without an observer', async (t) => {
  const positions: number[] = []
  await simulate({
    ...quick,
    faults: [],
    clients: 1,
    async run({ client, pause }) {
      const accounts = await client.replica('bank', bank)
      positions.push(accounts.position)
      await accounts.execute({ name: 'ada', amount: 5 })
      positions.push(accounts.position)
      t.match(await accounts.log.facts(), { oldest: 0 })
      await pause(100_000)
    },
  })
  t.same([positions[0], (positions[1] ?? 0) >= 1], [0, true])
})

async function failureOf<Model>(options: SimulateOptions<Model>): Promise<SimulationFailure> {
  try {
    await simulate(options)
  } catch (error) {
    if (error instanceof SimulationFailure) return error
    throw error
  }
  throw new Error('the run did not fail')
}

t.test('a program that is right: a run holds, and is the same again', async (t) => {
  const run = (process: ClientProcess) => deposit(bank, process)
  const result = await simulate({ ...quick, run })
  t.match(result, { seed: 2, commands: { executed: Number, answered: Number } })
  t.ok(result.commands.applied > 10, 'entries were applied')
  t.ok(Object.keys(result.faults).length > 0, 'faults happened')
  t.equal((await simulate({ ...quick, run })).traceHash, result.traceHash)
  t.not((await simulate({ ...quick, seed: 4, run })).traceHash, result.traceHash)
})

t.test('a mistake in apply is found at the entry that it is in', async (t) => {
  let outside = 0
  const planted: Record<string, [Partial<Bank>, checker: string, RegExp]> = {
    'it reads the clock': [
      {
        apply: (state, { name }) => ({
          state: { ...state, [name]: name === 'eve' ? Date.now() : 1 },
          result: 1,
        }),
      },
      'determinism',
      /at position \d+, \{ name: 'eve', amount: \d+ \}, uses Date\.now\(\) on client-\d: .*context\.timeMs/,
    ],
    'it makes a date': [
      { apply: (state) => ({ state, result: new Date().getFullYear() }) },
      'determinism',
      /uses new Date\(\)/,
    ],
    'it draws random numbers': [
      { apply: (state) => ({ state: { ...state, ada: Math.random() }, result: 1 }) },
      'determinism',
      /uses Math\.random\(\).*the state has \{"ada":0\.\d+\} at first, \{"ada":0\.\d+\} then/,
    ],
    'it keeps something outside of the state': [
      {
        apply(state, { name }) {
          if (name === 'bob') outside += 1
          return { state: { ...state, [name]: outside }, result: 1 }
        },
      },
      'determinism',
      /at position \d+, \{ name: 'bob', .* does something else when it is applied a second time, to the same state/,
    ],
    'it changes the state that it is given': [
      {
        apply(state, { name, amount }) {
          Object.assign(state, { [name]: amount })
          return { state, result: 1 }
        },
      },
      'determinism',
      /at position \d+, \{ name: '\w+', amount: \d+ \}, changes the state that it is given/,
    ],
    'a query changes the state': [
      {
        apply: (state, { name }) => ({ state: { ...state, [name]: 1 }, result: 1 }),
        query: (state) => Object.assign(state, { asked: 1 }),
      },
      'determinism',
      /changed between positions \d+ and \d+: only apply makes a new state/,
    ],
    'what is restored lacks something': [
      {
        restore: async (chunks) => {
          const { ada: _, ...rest }: Accounts = JSON.parse(await textOf(chunks))
          return rest
        },
      },
      'snapshot',
      /a snapshot behind position \d+ on client-\d makes another state: \{.*\} is restored, \{.*\} was there/,
    ],
    'a snapshot leaves something out': [
      {
        *snapshot(state) {
          yield Buffer.from(JSON.stringify({ ...state, ada: undefined }))
        },
      },
      'determinism',
      /\{ name: 'ada', .* when it is applied a second time, to the state from a snapshot: it returns \d+ at first, \d+ then/,
    ],
  }
  for (const [what, [change, checker, reason]] of Object.entries(planted)) {
    const machine = { ...bank, ...change }
    const failure = await failureOf({
      ...quick,
      faults: ['kill of a client'],
      async run(process) {
        const accounts = await process.client.replica('bank', machine)
        for (const name of ['ada', 'ada', 'eve', 'bob']) {
          await accounts.execute({ name, amount: 1 })
          await accounts.query(null)
        }
        await accounts.snapshot()
        await accounts.execute({ name: 'ada', amount: 1 })
      },
    })
    t.match(failure, { checker, reason }, what)
  }
})

t.test('so is one in a command of a database', async (t) => {
  let outside = 0
  type Add = (tx: SqlTransaction, n: number) => number
  const planted: Record<string, [Add, RegExp]> = {
    'the clock': [
      (tx) => tx.run('insert into t values (?)', new Date().toISOString()).changes,
      /at position \d+, add \d+, uses new Date\(\)/,
    ],
    'the clock of SQL': [
      (tx) => tx.run("insert into t values (datetime('now', 'utc'))").changes,
      /at position \d+, add \d+, uses datetime\('now', 'utc'\) of SQL/,
    ],
    'something outside': [
      (tx) => tx.run('insert into t values (?)', (outside += 1)).changes,
      /add \d+, does something else .* t \{"n":\d+\} at first, t \{"n":\d+\} then/,
    ],
    'a result from outside': [() => (outside += 1), /it returns \d+ at first, \d+ then/],
  }
  for (const [what, [add, reason]] of Object.entries(planted)) {
    const failure = await failureOf({
      ...quick,
      async run({ client, random }) {
        const migrations = ['create table t (n)']
        const database = await client.database('numbers', { migrations, commands: { add } })
        await database.execute('add', random.below(100))
      },
    })
    t.match(failure, { checker: 'determinism', reason }, what)
  }
})

t.test('what a program says of itself', async (t) => {
  const wrong = await failureOf({
    ...quick,
    model: () => ({ runs: 0 }),
    async run({ model, check, pause }) {
      model.runs += 1
      check(model.runs < 3, `${model.runs} runs`)
      await pause(100)
    },
  })
  t.match(wrong, { checker: 'check', reason: /^3 runs, on client-\d$/ })

  const thrown = await failureOf({
    ...quick,
    run: () => Promise.reject(new Error('a mistake of the test')),
  })
  t.match(thrown, { checker: 'run', reason: /run on client-\d: Error: a mistake of the test/ })

  const lasting = await failureOf({
    ...quick,
    async run({ pause }) {
      for (;;) await pause(1000)
    },
  })
  t.match(lasting, { checker: 'liveness', reason: /run, on client-1; run, on client-2/ })

  const last = await failureOf({
    ...quick,
    run: (process) => deposit(bank, process),
    async verify({ client, check }) {
      const accounts = await client.replica('bank', bank)
      const state = await accounts.query(null, { consistency: 'linearizable' })
      check(Object.keys(state).length === 0, `there is ${Object.keys(state)[0]}`)
    },
  })
  t.match(last, { checker: 'check', reason: /^there is \w+, on observer$/ })
})

t.test('what cannot be run is refused', async (t) => {
  const faults = ['bit flip'] as const
  await t.rejects(simulate({ ...quick, nodes: 2, faults }), { code: 'QUIRE_BAD_OPTION' })
  await t.rejects(simulate({ replay: 'none' }), { code: 'QUIRE_BAD_OPTION' })
})

t.test('a failed run is made smaller, told, and kept', async (t) => {
  const machine: Bank = {
    ...bank,
    apply: (state, { amount }) => ({ state, result: amount > 50 ? Math.random() : 1 }),
  }
  const run = (process: ClientProcess) => deposit(machine, process)
  const failure = await failureOf({ ...quick, seed: 4, shrinkRuns: 40, shrinkMs: Infinity, run })
  t.match(failure.message, /^determinism: state bank: the command at position \d+/)
  t.match(failure.message, /1 client, faults: none/, 'the mistake needs neither')
  t.match(failure.message, /simulate\(\{ seed: 4, … \}\)/)
  const again = await failureOf({ ...quick, replay: failure.replay, run })
  t.match(again, { reason: failure.reason, checker: failure.checker, facts: failure.facts })
})

t.test('each node runs a service, and is started again', async (t) => {
  const starts = new Map<string, number>()
  const result = await simulate({
    ...quick,
    nodes: 3,
    faults: ['kill', 'restart'],
    async service({ node, machine, signal, pause }) {
      starts.set(machine, (starts.get(machine) ?? 0) + 1)
      const accounts = await node.replica('bank', bank)
      for (let amount = 1; !signal.aborted; amount = (amount % 80) + 1) {
        await accounts.execute({ name: machine, amount })
        await pause(200)
      }
    },
    async run({ nodes, pause }) {
      await pause(300)
      nodes[0]?.kill()
      await pause(100_000)
    },
  })
  t.same([...starts.keys()].sort(), ['node-1', 'node-2', 'node-3'])
  t.ok((starts.get('node-1') ?? 0) > 1, 'the first was started again')
  t.ok(result.commands.applied > 3)
})

t.test('global clocks and timers are those of the process', async (t) => {
  const seen: number[] = []
  const look = async (client: Client): Promise<void> => {
    const before = Date.now()
    await new Promise((resolve) => setTimeout(resolve, 60_000))
    await client.log('one')
    seen.push(Math.round((Date.now() - before) / 1000), new Date().getUTCFullYear())
  }
  const realMs = Date.now()
  await simulate({ ...quick, faults: [], clients: 1, run: ({ client }) => look(client) })
  t.match(seen.slice(0, 2), [60, 2025])
  t.ok(Date.now() - realMs > 0, 'and the test has its own')
})
