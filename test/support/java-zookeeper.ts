// A ZooKeeper through ZooKeeper's own client: the metadata contract without watches, and with the
// nodes that node-zookeeper-client cannot make. For comparisons, one call at a time.
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { ChildProcess } from 'node:child_process'
import type {
  CreateMode,
  MetadataCapability,
  MetadataSession,
  MetadataStore,
  MultiOperation,
  MultiResult,
  NodeStat,
} from '../../src/metadata/contract.ts'
import { answerError } from '../../src/metadata/zookeeper/errors.ts'
import { javaSource, startJava } from './java.ts'

const modes: Record<CreateMode, string> = {
  persistent: 'PERSISTENT',
  ephemeral: 'EPHEMERAL',
  'persistent-sequential': 'PERSISTENT_SEQUENTIAL',
  'ephemeral-sequential': 'EPHEMERAL_SEQUENTIAL',
  container: 'CONTAINER',
  ttl: 'PERSISTENT_WITH_TTL',
}
const container = -(2n ** 63n)

function statOf(text: string | undefined): NodeStat {
  const parts = (text ?? '').split(',')
  const number = (at: number): number => Number(parts[at])
  const owner = BigInt(parts[8] ?? '')
  const ownerless = owner === container || BigInt.asUintN(64, owner) >> 40n === 0xff_0000n
  return {
    czxid: number(0),
    mzxid: number(1),
    pzxid: number(2),
    ctimeMs: number(3),
    mtimeMs: number(4),
    version: number(5),
    cversion: number(6),
    aversion: number(7),
    ephemeralOwner: ownerless ? 0n : BigInt.asUintN(64, owner),
    dataLength: number(9),
    childCount: number(10),
  }
}

/** Fields of an operation, as the program reads them. */
function fieldsOf(operation: MultiOperation): string[] {
  const { type, path } = operation
  if (type === 'create') {
    const { mode = 'persistent', ttlMs, data } = operation
    // The client wants none but for the nodes that have one.
    const ttl = mode === 'ttl' ? String(ttlMs) : '-1'
    return [type, modes[mode], ttl, path, hex(data)]
  }
  const fields = [type, String(operation.version), path]
  return type === 'set' ? [...fields, hex(operation.data)] : fields
}

const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')

class JavaSession implements MetadataSession {
  readonly sessionId: bigint
  readonly ended = new Promise<never>(() => undefined)
  readonly #number: number
  readonly #ask: (path: string, ...lines: string[][]) => Promise<string[]>

  constructor(sessionId: bigint, number: number, ask: JavaZooKeeper['ask']) {
    this.sessionId = sessionId
    this.#number = number
    this.#ask = (path, [first = '', ...rest] = [], ...more) =>
      ask(path, [String(this.#number), first, ...rest], ...more)
  }

  async create(
    path: string,
    data: Uint8Array,
    options: { mode?: CreateMode; ttlMs?: number } = {},
  ): Promise<{ path: string; stat: NodeStat }> {
    const operation = { type: 'create', path, data, ...options } as const
    const [created = '', stat] = await this.#ask(path, fieldsOf(operation))
    return { path: created, stat: statOf(stat) }
  }

  async get(path: string): Promise<{ data: Uint8Array; stat: NodeStat }> {
    const [data = '', stat] = await this.#ask(path, ['get', path])
    return { data: Buffer.from(data, 'hex'), stat: statOf(stat) }
  }

  async exists(path: string): Promise<NodeStat | undefined> {
    const [stat] = await this.#ask(path, ['exists', path])
    return stat === undefined ? undefined : statOf(stat)
  }

  async children(path: string): Promise<{ names: string[]; stat: NodeStat }> {
    const [names = '', stat] = await this.#ask(path, ['children', path])
    return { names: names.split('/').filter(Boolean).sort(), stat: statOf(stat) }
  }

  multiRead(): Promise<never> {
    return Promise.reject(new Error('the Java client of these tests does not read so'))
  }

  watch(): Promise<never> {
    return Promise.reject(new Error('the Java client of these tests lays no watches'))
  }

  async set(path: string, data: Uint8Array, version: number): Promise<NodeStat> {
    const [stat] = await this.#ask(path, fieldsOf({ type: 'set', path, data, version }))
    return statOf(stat)
  }

  async delete(path: string, version: number): Promise<void> {
    await this.#ask(path, fieldsOf({ type: 'delete', path, version }))
  }

  async multi(operations: readonly MultiOperation[]): Promise<MultiResult[]> {
    const path = operations.map((each) => each.path).join('\n')
    const lines = operations.map(fieldsOf)
    const results = await this.#ask(path, ['multi', String(operations.length)], ...lines)
    return results.map((text) => {
      const [type, first, second] = text.split(' ')
      if (type === 'create') return { type, path: first ?? '', stat: statOf(second) }
      if (type === 'set') return { type, stat: statOf(first) }
      return { type: type === 'delete' ? 'delete' : 'check' }
    })
  }

  async close(): Promise<void> {
    await this.#ask('/', ['close'])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

export class JavaZooKeeper implements MetadataStore {
  readonly capabilities: ReadonlySet<MetadataCapability> = new Set(['container', 'ttl'] as const)
  readonly #child: ChildProcess
  readonly #waiting: ((line: string) => void)[] = []
  readonly #ended: Promise<void>
  #sessions = 0

  constructor(listen: string) {
    const options = ['-Dzookeeper.extendedTypesEnabled=true']
    this.#child = startJava([javaSource('Nodes.java'), listen], options, 'pipe')
    const { stdout } = this.#child
    if (!stdout) throw new Error('the program has an output')
    createInterface({ input: stdout }).on('line', (line) => this.#waiting.shift()?.(line))
    const errors: Buffer[] = []
    this.#child.stderr?.on('data', (chunk: Buffer) => errors.push(chunk))
    this.#ended = this.#endAll(errors)
  }

  async #endAll(errors: readonly Buffer[]): Promise<void> {
    await once(this.#child, 'close')
    const said = Buffer.concat(errors).toString()
    for (const call of this.#waiting.splice(0)) call(`ended\t${said}`)
  }

  /** `path`: what a failure is about; of a multi, one for each operation, in lines. */
  readonly ask = async (path: string, ...lines: string[][]): Promise<string[]> => {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.#waiting.push(resolve)
    this.#child.stdin?.write(lines.map((fields) => `${fields.join('\t')}\n`).join(''))
    const [outcome, ...rest] = (await promise).split('\t')
    if (outcome === 'ok') return rest
    if (outcome !== 'error') throw new Error(`the Java client ended: ${rest.join('\n')}`)
    const index = Number(rest[1])
    const at = path.split('\n')[Math.max(index, 0)] ?? '/'
    throw answerError(Number(rest[0]), index < 0 ? { path: at } : { path: at, index })
  }

  async session(): Promise<MetadataSession> {
    const [sessionId = ''] = await this.ask('/', ['open'])
    return new JavaSession(BigInt.asUintN(64, BigInt(sessionId)), this.#sessions++, this.ask)
  }

  async close(): Promise<void> {
    this.#child.stdin?.end()
    await this.#ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
