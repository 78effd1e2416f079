// One of the three processes: a node that keeps metadata and entries together with the others, and
// the state machine on it. A process that is forked with --dir, --listen, --peers and --flights;
// what else it does it is asked for over the channel to whoever forked it.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { destination, pino } from 'pino'
import { open, QuireError, type Database, type Node, type SqlRow } from '../../../src/index.ts'
import { readFlights, type Flight } from '../flights.ts'
import { commands, migrations } from '../state.ts'

export interface NodeFacts {
  readonly id: string
  /** The id of the node that leads the metadata, as far as this one knows. */
  readonly leader: string | undefined
}

export interface LogFacts {
  /** The id of the node that owns the log: its process is the one that writes. */
  readonly owner: string
  readonly oldest: number
  /** The position that is applied next. */
  readonly position: number
  readonly snapshot: { readonly position: number; readonly bytes: number } | undefined
}

/** What a member is asked for. */
export interface Questions {
  node(): Promise<NodeFacts>
  /** Opens the state machine, up to the end of the log. Resolves to how long it took, in ms. */
  start(): Promise<number>
  log(): Promise<LogFacts>
  /** Rows of this process's own state, behind everything that was answered anywhere. */
  query(sql: string): Promise<SqlRow[]>
  /** Submits flights until the state has so many. */
  feed(to: number): Promise<void>
  close(): Promise<void>
}

export type Ask = {
  [Name in keyof Questions]: {
    readonly number: number
    readonly name: Name
    readonly values: Parameters<Questions[Name]>
  }
}[keyof Questions]

export type Answer =
  /** So many flights are in the state, and durable. */
  | { readonly type: 'fed'; readonly count: number }
  | { readonly type: 'answer'; readonly number: number; readonly value: unknown }
  | { readonly type: 'error'; readonly number: number; readonly message: string }

/** Commands without an answer at any time: they share entries of the log, and its fsyncs. */
const inFlightMax = 1000

type Flights = Database<typeof commands>

const { values: options } = parseArgs({
  options: {
    dir: { type: 'string', default: '' },
    listen: { type: 'string', default: '' },
    peers: { type: 'string', default: '' },
    flights: { type: 'string', default: '20000' },
  },
})
const input = readFlights().slice(0, Number(options.flights))

/** A node is one call. Nothing needs to be installed or running. */
async function openNode(): Promise<Node> {
  mkdirSync(options.dir, { recursive: true })
  const logger = pino({ level: 'info' }, destination(join(options.dir, 'node.log')))
  const { dir, listen } = options
  for (let attempts = 1; ; attempts++) {
    try {
      return await open({ dir, listen, peers: options.peers.split(','), logger })
    } catch (error) {
      // A process of the run before may be ending still.
      const isTaken =
        QuireError.is(error, 'QUIRE_DIRECTORY_IN_USE') ||
        QuireError.is(error, 'QUIRE_ADDRESS_IN_USE')
      if (!isTaken || attempts === 50) throw error
      await sleep(100)
    }
  }
}

/** A state machine on it is another. */
async function openFlights(node: Node): Promise<Flights> {
  const snapshotEvery = Math.ceil(input.length * 0.375)
  return node.database('flights', { migrations, commands, snapshotEvery })
}

/**
 * How many flights the state holds. Linearizable: also what was durable but not yet applied when
 * a process was killed.
 */
async function countFed(flights: Flights): Promise<number> {
  const [row] = await flights.query({ sql: 'select fed from feed', consistency: 'linearizable' })
  return Number(row?.['fed'])
}

/**
 * Commands are applied in the order in which they are given, each once. So a state that counts n
 * flights holds the first n of the file, and no bookkeeping of our own is needed to go on with the
 * next.
 */
async function feed(flights: Flights, to: number): Promise<void> {
  let answered = await countFed(flights)
  const pending: Promise<void>[] = []
  const next = async (): Promise<void> => {
    await pending.shift()
    answered += 1
    if (answered % 100 === 0 || answered === to) tell({ type: 'fed', count: answered })
  }
  tell({ type: 'fed', count: answered })
  for (const flight of input.slice(answered, to)) {
    if (pending.length >= inFlightMax) await next()
    pending.push(submit(flights, flight))
  }
  while (pending.length > 0) await next()
}

function submit(flights: Flights, flight: Flight): Promise<void> {
  const execution = flights.execute('flight', flight)
  // The first that fails ends the loop; those behind it must not go unheard.
  execution.catch(() => undefined)
  return execution
}

async function factsOf(flights: Flights): Promise<LogFacts> {
  const { ownerId, oldest, snapshots } = await flights.log.facts()
  // Behind the name of a node its lives are counted.
  const [owner = ''] = ownerId.split('/')
  const [newest] = snapshots
  const snapshot = newest && { position: newest.position, bytes: newest.bytes }
  return { owner, oldest, position: flights.position, snapshot }
}

function answersOf(node: Node): Questions {
  let opened: Flights | undefined
  const flights = (): Flights => {
    if (opened) return opened
    throw new Error('it was not started')
  }
  return {
    async node() {
      const { leader } = await node.stats()
      return { id: node.id, leader }
    },
    async start() {
      const beganMs = performance.now()
      opened = await openFlights(node)
      return performance.now() - beganMs
    },
    log: () => factsOf(flights()),
    query: (sql) => flights().query({ sql, consistency: 'linearizable' }),
    feed: (to) => feed(flights(), to),
    async close() {
      await node.close()
    },
  }
}

function tell(answer: Answer): void {
  process.send?.(answer)
}

/** Asked for by name: each with the values of its own. */
function answer(answers: Questions, { name, values }: Ask): Promise<unknown> {
  if (name === 'query') return answers.query(...values)
  if (name === 'feed') return answers.feed(...values)
  return answers[name]()
}

// Whoever forked it is gone, or was killed: then this process ends as if killed too.
process.on('disconnect', () => process.exit(1))

const node = await openNode()
void node.failed.then((error) => {
  throw error
})
const answers = answersOf(node)
process.on('message', (ask: Ask) => {
  const { number } = ask
  answer(answers, ask).then(
    (value) => tell({ type: 'answer', number, value }),
    (error: unknown) => tell({ type: 'error', number, message: String(error) }),
  )
})
