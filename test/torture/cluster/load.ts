// The load of a round, and all that is written down of it: changes and reads of the metadata tree
// over several sessions, ephemerals with somebody who looks after each, and a log with a writer and
// a reader that follows.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAddress } from '../../../src/embedded/address.ts'
import { connect, QuireError, type Client } from '../../../src/index.ts'
import { withSecret, type Io } from '../../../src/io/index.ts'
import { createIo } from '../../../src/io/real/index.ts'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import type { MetadataSession, MetadataStore } from '../../../src/metadata/contract.ts'
import { SharedSecret } from '../../../src/wire/handshake.ts'
import { Histories } from '../../simulation/checkers/histories.ts'
import type { Chooser } from '../../support/chooser.ts'
import { quiet } from '../../support/quiet.ts'
import { LogHistory } from './log-history.ts'
import { Pauses } from './pauses.ts'
import { treeModel, type TreeInput, type TreeOutput, type TreeState } from './tree-model.ts'

export interface LoadOptions {
  readonly uri: string
  readonly secret: string
  readonly round: number
  readonly choose: Chooser
}

/** Silence after which a client's session ends. */
export const sessionTimeoutMs = 4000
const sessions = 3
const lanes = 4
const keys = 6
const inFlight = 4

export const ioFor = (secret: string): Io => withSecret(createIo(), new SharedSecret(secret))

export function metadataOf({ uri, secret }: Pick<LoadOptions, 'uri' | 'secret'>): MetadataStore {
  const addresses = uri.replace('quire://', '').split(',').map(parseAddress)
  const timeoutMs = sessionTimeoutMs
  return connectMetadata({ ...ioFor(secret), logger: quiet, addresses, timeoutMs })
}

export const clientOf = ({ uri, secret }: Pick<LoadOptions, 'uri' | 'secret'>): Promise<Client> =>
  connect(uri, { secret, logger: quiet, sessionTimeoutMs })

/** What a cluster may answer while machines die; everything else is a defect. */
const isExpected = (error: unknown): boolean =>
  QuireError.is(error) && error.code !== 'QUIRE_INVARIANT'

export class Load {
  readonly tree: Histories<TreeState, TreeInput, TreeOutput>
  readonly log: LogHistory = new LogHistory()
  readonly writes: Pauses = new Pauses()
  readonly appends: Pauses = new Pauses()
  /** Ephemerals that were gone while their session lived. */
  readonly early: string[] = []
  readonly unexpected: unknown[] = []
  readonly parent: string
  readonly #options: LoadOptions
  readonly #stop = new AbortController()
  readonly #beganMs = performance.now()
  #loops: Promise<unknown>[] = []
  #values = 0

  constructor(options: LoadOptions) {
    this.#options = options
    this.parent = `/torture-${options.round}`
    this.tree = new Histories(treeModel, ['get', 'list'])
  }

  get logName(): string {
    return 'torture'
  }

  async start(): Promise<void> {
    const store = metadataOf(this.#options)
    await using first = await store.session()
    for (const path of [this.parent, `${this.parent}-e`]) await first.create(path, Buffer.alloc(0))
    this.#loops = [
      ...Array.from({ length: sessions }, () => this.#useTree(store)),
      ...Array.from({ length: sessions }, (_, index) => this.#keepEphemeral(store, index)),
      this.#appendToLog(),
      this.#followLog(),
    ]
    this.#stop.signal.addEventListener('abort', () => this.writes.end())
    this.#stop.signal.addEventListener('abort', () => this.appends.end())
    this.#loops.push(this.#closed(store))
  }

  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#loops)
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted
  }

  async #closed(store: MetadataStore): Promise<void> {
    const { signal } = this.#stop
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    // Answers that are on their way are waited for a moment, and then are unknown.
    await sleep(500)
    await store.close()
  }

  /** As often as the session ends another one, until the round is over. */
  async #withSessions(
    store: MetadataStore,
    use: (session: MetadataSession) => Promise<unknown>,
  ): Promise<void> {
    while (!this.#stopped) {
      try {
        const session = await store.session()
        await use(session)
        await session.close()
      } catch (error) {
        if (!isExpected(error)) this.unexpected.push(error)
        await sleep(20)
      }
    }
  }

  #useTree(store: MetadataStore): Promise<void> {
    return this.#withSessions(store, async (session) => {
      const state = { ended: false }
      void session.ended.then(() => (state.ended = true))
      const lane = async (): Promise<void> => {
        const versions = new Map<string, number>()
        while (!this.#stopped && !state.ended) {
          await this.#useKey(session, versions)
          await sleep(this.#options.choose(20))
        }
      }
      await Promise.all(Array.from({ length: lanes }, lane))
    })
  }

  /** New keys every few seconds, so that no history is long. */
  #key(): string {
    const era = Math.floor((performance.now() - this.#beganMs) / 3000)
    return `k${era}-${this.#options.choose(keys)}`
  }

  async #useKey(session: MetadataSession, versions: Map<string, number>): Promise<void> {
    const { choose, round } = this.#options
    const name = this.#key()
    const version = versions.get(name) ?? 0
    const value = `${round}-${++this.#values}`
    const kind = choose(10)
    if (kind === 0) return this.#list(session)
    const input: TreeInput =
      kind < 3
        ? { type: 'create', value }
        : kind < 7
          ? { type: 'set', version, value }
          : kind < 8
            ? { type: 'delete', version }
            : { type: 'get' }
    const output = await this.#call(session, name, input)
    if (output?.type === 'is') versions.set(name, output.version)
    else if (output?.type === 'bad version') await this.#learn(session, name, versions)
  }

  async #learn(
    session: MetadataSession,
    name: string,
    versions: Map<string, number>,
  ): Promise<void> {
    const found = await this.#call(session, name, { type: 'get' })
    if (found?.type === 'is') versions.set(name, found.version)
  }

  /** The answer, and undefined when there is none. */
  async #call(
    session: MetadataSession,
    name: string,
    input: TreeInput,
  ): Promise<TreeOutput | undefined> {
    const path = `${this.parent}/${name}`
    const open = this.tree.called(path, input)
    try {
      const output = await make(session, path, input)
      this.tree.returned(path, open, output)
      if (input.type !== 'get') this.writes.acked()
      return output
    } catch (error) {
      const output = refusalOf(error)
      if (output !== 'unknown') this.tree.returned(path, open, output)
      if (!isExpected(error)) this.unexpected.push(error)
      return output === 'unknown' ? undefined : output
    }
  }

  /** A read of each key at once. */
  async #list(session: MetadataSession): Promise<void> {
    const paths = this.tree.paths.slice(-keys)
    const open = paths.map((path) => this.tree.called(path, { type: 'list' }))
    try {
      const { names } = await session.children(this.parent, { linearizable: true })
      const there = new Set(names)
      for (const [index, path] of paths.entries()) {
        const isThere = there.has(path.slice(this.parent.length + 1))
        const call = open[index]
        if (call) this.tree.returned(path, call, { type: 'listed', isThere })
      }
    } catch (error) {
      if (!isExpected(error)) this.unexpected.push(error)
    }
  }

  /** What a session owns is there as long as the session itself believes that it lives. */
  #keepEphemeral(store: MetadataStore, index: number): Promise<void> {
    return this.#withSessions(store, async (session) => {
      const path = `${this.parent}-e/${index}-${++this.#values}`
      await session.create(path, Buffer.alloc(0), { mode: 'ephemeral' })
      const state = { ended: false }
      void session.ended.then(() => (state.ended = true))
      await using other = await store.session()
      while (!this.#stopped && !state.ended) {
        const stat = await other.exists(path, { linearizable: true })
        // Its alarm may be late in a process that is busy.
        if (stat === undefined) await sleep(100)
        if (stat === undefined && !state.ended) this.early.push(path)
        await sleep(200)
      }
    })
  }

  async #appendToLog(): Promise<void> {
    await using client = await clientOf(this.#options)
    const log = await client.log(this.logName)
    while (!this.#stopped) {
      try {
        const writer = await log.acquire()
        const lane = (): Promise<void> => this.#append((bytes) => writer.append(bytes))
        await Promise.all(Array.from({ length: inFlight }, lane))
        await writer.close()
      } catch (error) {
        if (!isExpected(error)) this.unexpected.push(error)
        await sleep(50)
      }
    }
  }

  async #append(append: (bytes: Buffer) => Promise<number>): Promise<void> {
    const { round, choose } = this.#options
    while (!this.#stopped) {
      const record = `${round}-${++this.#values}`
      const call = this.log.called(record, performance.now())
      const position = await append(Buffer.from(record))
      this.log.returned(call, { position, nowMs: performance.now() })
      this.appends.acked()
      await sleep(choose(8))
    }
  }

  async #followLog(): Promise<void> {
    const { signal } = this.#stop
    await using client = await clientOf(this.#options)
    const log = await client.log(this.logName)
    let from = 0
    while (!this.#stopped) {
      try {
        from = Math.max(from, (await log.facts()).oldest)
        for await (const { position, bytes } of log.read({ from, follow: true, signal })) {
          if (bytes.toString().startsWith(`${this.#options.round}-`)) {
            this.log.read(position, bytes.toString())
          }
          from = position + 1
        }
      } catch (error) {
        if (!this.#stopped && !isExpected(error)) this.unexpected.push(error)
        await sleep(50)
      }
    }
  }
}

async function make(session: MetadataSession, path: string, input: TreeInput): Promise<TreeOutput> {
  if (input.type === 'create') {
    await session.create(path, Buffer.from(input.value))
    return { type: 'is', version: 0, value: input.value }
  }
  if (input.type === 'set') {
    const { version } = await session.set(path, Buffer.from(input.value), input.version)
    return { type: 'is', version, value: input.value }
  }
  if (input.type === 'delete') {
    await session.delete(path, input.version)
    return { type: 'deleted' }
  }
  const { data, stat } = await session.get(path, { linearizable: true })
  return { type: 'is', version: stat.version, value: Buffer.from(data).toString() }
}

/** What an error says happened: undefined when nothing was done. */
function refusalOf(error: unknown): TreeOutput | undefined | 'unknown' {
  if (QuireError.is(error, 'QUIRE_NO_NODE')) return { type: 'none' }
  if (QuireError.is(error, 'QUIRE_NODE_EXISTS')) return { type: 'exists' }
  if (QuireError.is(error, 'QUIRE_BAD_VERSION')) return { type: 'bad version' }
  const isRefused =
    QuireError.is(error, 'QUIRE_BACKPRESSURE') || QuireError.is(error, 'QUIRE_SESSION_EXPIRED')
  return isRefused ? undefined : 'unknown'
}

/** After the round: what is there, as a client sees it that knows nothing of it. */
export async function readTree(load: Load, options: LoadOptions): Promise<void> {
  await using store = metadataOf(options)
  await using session = await store.session()
  for (const path of load.tree.paths) {
    const open = load.tree.called(path, { type: 'get' })
    const output = await make(session, path, { type: 'get' }).catch(refusalOf)
    if (output === 'unknown') throw new Error(`${path} cannot be read`)
    load.tree.returned(path, open, output)
  }
}

/** The records of the round by position, and the first position behind them. */
export async function readLog(
  load: Load,
  options: LoadOptions,
): Promise<{ held: Map<number, string>; end: number }> {
  await using client = await clientOf(options)
  const log = await client.log(load.logName)
  // Closed first, by one that writes nothing: then all that was acknowledged can be read.
  await (await log.acquire()).close()
  const held = new Map<number, string>()
  let end = (await log.facts()).oldest
  for await (const { position, bytes } of log.read({ from: end })) {
    end = position + 1
    const record = bytes.toString()
    if (record.startsWith(`${options.round}-`)) held.set(position, record)
  }
  await log.truncate(end)
  return { held, end }
}
