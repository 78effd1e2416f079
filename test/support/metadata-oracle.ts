// The same random calls on two metadata stores, step by step: what they answer, and what they tell
// watchers, must be the same, numbers of changes up to their order.
import { inspect } from 'node:util'
import { QuireError } from '../../src/errors.ts'
import type {
  CreateMode,
  MetadataSession,
  MetadataStore,
  MultiOperation,
  NodeStat,
  WatchEvent,
} from '../../src/metadata/contract.ts'
import { createChooser } from './chooser.ts'

export type Step =
  | {
      readonly type: 'create'
      readonly path: string
      readonly data: string
      readonly mode: CreateMode
      readonly ttlMs: number
    }
  | { readonly type: 'set'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly type: 'delete'; readonly path: string; readonly version: number }
  | {
      readonly type: 'get' | 'exists' | 'children'
      readonly path: string
      readonly watch: boolean
      readonly linearizable: boolean
    }
  | { readonly type: 'multi'; readonly operations: readonly MultiOperation[] }
  /** The session is closed, and another one takes its place. */
  | { readonly type: 'renew' }

/** Which session does what. */
export interface SessionStep {
  readonly session: number
  readonly step: Step
}

export const sessionCount = 2

export interface Shape {
  readonly base: string
  readonly modes: readonly [CreateMode, ...CreateMode[]]
  /** Bad paths too, and watches. Default true. */
  readonly hostile?: boolean
}

export const plainModes = [
  'persistent',
  'ephemeral',
  'persistent-sequential',
  'ephemeral-sequential',
] as const

/** A program of so many steps below `base`: the same seed, the same program. */
export function program(shape: Shape & { seed: number; steps: number }): SessionStep[] {
  const below = createChooser(shape.seed)
  return Array.from({ length: shape.steps }, () => ({
    session: below(sessionCount),
    step: step(below, shape),
  }))
}

type Below = (below: number) => number
type Read = 'get' | 'exists' | 'children'

const pick = <T>(below: Below, from: readonly [T, ...T[]]): T => from[below(from.length)] ?? from[0]

/** Few names, so that they meet: some are missing, some have children, some end with sequences. */
function path(below: Below, { base, hostile = true }: Shape): string {
  if (hostile && below(40) === 0)
    return pick(below, [`${base}/`, `${base}//x`, 'none', `${base}/../a`])
  const depth = 1 + below(3)
  const names = Array.from({ length: depth }, () => pick(below, ['a', 'b', 'c', 's-0000000001']))
  return [base, ...names].join('/')
}

const version = (below: Below): number => pick(below, [-1, -1, 0, 0, 1, 2, 7])
const data = (below: Below): string => 'x'.repeat(below(4) * below(40))

/** Longer than any trial. */
const ttlMs = 86_400_000

function creation(below: Below, shape: Shape): Step & { type: 'create' } {
  const root = { type: 'create', path: '/', data: '', mode: 'persistent', ttlMs } as const
  if (below(60) === 0) return root
  const mode = pick(below, shape.modes)
  const at = path(below, shape)
  const sequential = mode.endsWith('-sequential') && below(4) > 0
  const named = sequential ? `${at.replace(/\/[^/]*$/, '')}/${pick(below, ['s-', 'a', ''])}` : at
  return { type: 'create', path: named, data: data(below), mode, ttlMs }
}

function step(below: Below, shape: Shape): Step {
  const kind = below(100)
  if (kind < 30) return creation(below, shape)
  if (kind < 42)
    return { type: 'set', path: path(below, shape), data: data(below), version: version(below) }
  // The root of each has children that the other one lacks: it is not read, and never changed.
  if (kind === 42) return { type: 'delete', path: '/', version: version(below) }
  if (kind < 56) return { type: 'delete', path: path(below, shape), version: version(below) }
  if (kind < 82) {
    const type = pick<Read>(below, ['get', 'exists', 'children'])
    return {
      type,
      path: path(below, shape),
      watch: shape.hostile !== false && below(2) === 0,
      linearizable: below(2) === 0,
    }
  }
  if (kind === 99) return { type: 'renew' }
  const operations = Array.from({ length: below(5) }, () => operation(below, shape))
  return { type: 'multi', operations }
}

function operation(below: Below, shape: Shape): MultiOperation {
  const kind = below(10)
  // Bad paths are found before the call is sent, or behind what comes before them: both are right.
  const { base, modes } = shape
  const at = path(below, shape)
  const good = at.startsWith(`${base}/`) && !/\/(?:\/|\.\.|$)/.test(at) ? at : `${base}/a`
  if (kind < 4) {
    const mode = pick(below, modes)
    return { type: 'create', path: good, data: Buffer.from(data(below)), mode, ttlMs }
  }
  if (kind < 6) {
    return { type: 'set', path: good, data: Buffer.from(data(below)), version: version(below) }
  }
  return { type: kind < 9 ? 'delete' : 'check', path: good, version: version(below) }
}

/** One of the two stores, with its sessions and what its watchers were told since asked last. */
export class Side {
  readonly #store: MetadataStore
  readonly #sessions: MetadataSession[] = []
  /** By session id: which of the program's sessions it was, in order of opening. */
  readonly #names = new Map<bigint, string>()
  /** By the number of the session. */
  #told: string[][] = []

  constructor(store: MetadataStore) {
    this.#store = store
  }

  async open(base: string): Promise<void> {
    for (let index = 0; index < sessionCount; index++) await this.#openSession(index)
    await this.#sessions[0]?.create(base, Buffer.alloc(0))
  }

  /** The outcome of a step, and what every session was told up to then. */
  async run({ session: index, step }: SessionStep): Promise<unknown> {
    const outcome = await this.#outcome(index, step)
    // Events come before the answer to anything that is asked later.
    for (const session of this.#sessions) await session.exists('/', { linearizable: true })
    const told = this.#told.map((each) => (step.type === 'renew' ? each.sort() : inRuns(each)))
    this.#told = []
    return this.#named({ outcome, told })
  }

  async #openSession(index: number): Promise<void> {
    const session = await this.#store.session()
    this.#sessions[index] = session
    this.#names.set(session.sessionId, `session ${this.#names.size}`)
  }

  async #outcome(index: number, step: Step): Promise<unknown> {
    const session = this.#sessions[index]
    if (!session) throw new Error('the program names a session that is not there')
    try {
      return await this.#do(session, index, step)
    } catch (error) {
      if (!QuireError.is(error)) throw error
      const { index, path } = error.facts
      return { failed: error.code, path, index }
    }
  }

  async #do(session: MetadataSession, index: number, step: Step): Promise<unknown> {
    switch (step.type) {
      case 'create':
        return session.create(step.path, Buffer.from(step.data), step)
      case 'set':
        return session.set(step.path, Buffer.from(step.data), step.version)
      case 'delete':
        return session.delete(step.path, step.version)
      case 'multi':
        return session.multi(step.operations)
      case 'renew':
        await session.close()
        return this.#openSession(index)
      case 'get':
      case 'exists':
      case 'children':
        break
    }
    const { linearizable } = step
    const watch = step.watch ? this.#watch(index, step.type) : undefined
    return session[step.type](step.path, { linearizable, watch })
  }

  #watch(index: number, read: Read): (event: WatchEvent) => void {
    return ({ type, path }) => {
      const told = (this.#told[index] ??= [])
      told.push(`${type} ${path} to who asked ${read}`)
    }
  }

  /** Owners by the names of their sessions, bytes as text. */
  #named(value: unknown): unknown {
    if (typeof value === 'bigint')
      return value === 0n ? value : (this.#names.get(value) ?? 'nobody')
    if (value instanceof Uint8Array) return Buffer.from(value).toString()
    if (Array.isArray(value)) return value.map((each) => this.#named(each))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, this.#named(each)]))
  }
}

/**
 * What one event told to several watchers, in one order. That of different events stays; in which
 * the ephemerals and the watches of a session go is nobody's promise.
 */
function inRuns(told: readonly string[]): string[][] {
  const runs: string[][] = []
  const eventOf = (text: string | undefined): string | undefined => text?.split(' to ')[0]
  for (const text of told) {
    const run = runs.at(-1)
    if (run && eventOf(run[0]) === eventOf(text)) run.push(text)
    else runs.push([text])
  }
  return runs.map((run) => run.sort())
}

/** Compares outcomes; remembers which change of one store is which of the other. */
export class Comparison {
  /** Numbers of changes on the left, with those on the right. */
  readonly #zxids = new Map<number, number>()
  readonly #timeOf: readonly Map<number, number>[] = [new Map(), new Map()]

  /** What differs, undefined when nothing does. */
  difference(left: unknown, right: unknown): string | undefined {
    const stats = [statsIn(left), statsIn(right)] as const
    const plain = [withoutStats(left), withoutStats(right)].map((each) =>
      inspect(each, { depth: 9 }),
    )
    if (plain[0] !== plain[1]) return `${plain[0]}\nis not\n${plain[1]}`
    for (const [at, stat] of stats[0].entries()) {
      const other = stats[1][at]
      const problem = other ? this.#statProblem(stat, other) : 'a stat is missing'
      if (problem !== undefined) return `${problem}: ${inspect(stat)} and ${inspect(other)}`
    }
    return this.#orderProblem()
  }

  #statProblem(left: NodeStat, right: NodeStat): string | undefined {
    for (const name of ['version', 'cversion', 'aversion', 'dataLength', 'childCount'] as const) {
      if (left[name] !== right[name]) return name
    }
    if (String(left.ephemeralOwner) !== String(right.ephemeralOwner)) return 'ephemeralOwner'
    for (const name of ['czxid', 'mzxid', 'pzxid'] as const) {
      const known = this.#zxids.get(left[name])
      if (known !== undefined && known !== right[name]) return name
      this.#zxids.set(left[name], right[name])
    }
    for (const [side, stat] of [left, right].entries()) {
      if (!this.#hasItsTime(side, stat.czxid, stat.ctimeMs)) return 'ctimeMs'
      if (!this.#hasItsTime(side, stat.mzxid, stat.mtimeMs)) return 'mtimeMs'
    }
    return undefined
  }

  /** A change happened at one time, whatever clock that was. */
  #hasItsTime(side: number, zxid: number, timeMs: number): boolean {
    const times = this.#timeOf[side]
    const known = times?.get(zxid)
    times?.set(zxid, timeMs)
    return known === undefined || known === timeMs
  }

  #orderProblem(): string | undefined {
    const pairs = [...this.#zxids].sort(([a], [b]) => a - b)
    for (const [at, [left, right]] of pairs.entries()) {
      const before = pairs[at - 1]
      if (before && before[1] >= right)
        return `changes ${before.join()} and ${left},${right} are in another order`
    }
    return undefined
  }
}

const isStat = (value: object): value is NodeStat => 'czxid' in value

function statsIn(value: unknown): NodeStat[] {
  if (typeof value !== 'object' || value === null) return []
  return isStat(value) ? [value] : Object.values(value).flatMap(statsIn)
}

function withoutStats(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (isStat(value)) return 'a stat'
  if (Array.isArray(value)) return value.map(withoutStats)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, withoutStats(each)]))
}
