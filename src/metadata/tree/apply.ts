// ZooKeeper's rules, pure: rows in, changed rows, events and a result out. No clock, no chance, no
// promise.
//
// I1. A command takes effect whole or not at all; one that fails changes no row.
// I2. cversion = 2 × sequence − childCount, as ZooKeeper computes it: creations and removals
//     counted together, while `sequence`, the creations alone, names the sequential nodes.
// I3. Nothing of a session that has ended takes effect.

import { invariant } from '../../invariant.ts'
import type { TreeRow } from '../../io/tree-store.ts'
import type { CreateMode, MultiOperation, MultiResult, NodeStat } from '../contract.ts'
import { anyVersion } from '../contract.ts'
import { dataBytesMax, rememberedMax } from './command.ts'
import type { SessionEnd, TreeCommand, TreeFailure, TreeRequest, TreeResult } from './command.ts'
import { parentOf, pathProblem, sequenceDigits } from './path.ts'

export interface TreeView {
  row(path: string): TreeRow | undefined
  session(sessionId: bigint): SessionView | undefined
}

export interface SessionView {
  readonly answeredUpTo: number
  readonly results: ReadonlyMap<number, TreeResult>
  readonly ephemerals: ReadonlySet<string>
}

export interface TreeEvent {
  readonly type: 'created' | 'deleted' | 'changed' | 'children'
  readonly path: string
}

export type SessionChange =
  | {
      readonly type: 'opened'
      readonly sessionId: bigint
      readonly timeoutMs: number
      readonly password: Uint8Array
    }
  | { readonly type: 'ended'; readonly sessionId: bigint; readonly reason: SessionEnd }
  | {
      readonly type: 'answered'
      readonly sessionId: bigint
      readonly requestId: number
      readonly answeredUpTo: number
      readonly result: TreeResult
    }

export interface Applied {
  readonly result: TreeResult
  /** After the command; undefined where a node was removed. */
  readonly rows: ReadonlyMap<string, TreeRow | undefined>
  readonly session: SessionChange | undefined
  /** In ZooKeeper's order: a node's own event before its parent's. */
  readonly events: readonly TreeEvent[]
}

interface Context {
  readonly zxid: number
  readonly timeMs: number
}

const done: TreeResult = { ok: true, results: [] }
const nothing = { rows: new Map<string, TreeRow>(), events: [], session: undefined } as const

/**
 * Applies a command at a place in the order of all changes. The same input gives the same output,
 * always.
 */
export function applyCommand(view: TreeView, command: TreeCommand, zxid: number): Applied {
  const context = { zxid, timeMs: command.timeMs }
  switch (command.type) {
    case 'open-session':
      return openSession(view, command)
    case 'end-session':
      return endSession(view, command, context)
    case 'collect':
      return collect(view, command.paths, context)
    case 'write':
      break
  }
  return write(view, command, context)
}

/** What ZooKeeper shows of a node. */
export function statOf(row: TreeRow): NodeStat {
  const { czxid, mzxid, pzxid, ctimeMs, mtimeMs, version, cversion, childCount } = row
  return {
    czxid,
    mzxid,
    pzxid,
    ctimeMs,
    mtimeMs,
    version,
    cversion,
    aversion: 0,
    ephemeralOwner: row.owner,
    dataLength: row.data.length,
    childCount,
  }
}

/** The node that every tree has. */
export const rootRow: TreeRow = {
  path: '/',
  data: new Uint8Array(0),
  czxid: 0,
  mzxid: 0,
  pzxid: 0,
  ctimeMs: 0,
  mtimeMs: 0,
  version: 0,
  cversion: 0,
  sequence: 0,
  childCount: 0,
  owner: 0n,
  kind: 'persistent',
  ttlMs: 0,
}

function openSession(view: TreeView, command: TreeCommand & { type: 'open-session' }): Applied {
  const { sessionId, timeoutMs, password } = command
  if (view.session(sessionId)) {
    return { ...nothing, result: { ok: false, code: 'QUIRE_NODE_EXISTS', path: '/', index: 0 } }
  }
  return { ...nothing, result: done, session: { type: 'opened', sessionId, timeoutMs, password } }
}

function endSession(
  view: TreeView,
  command: TreeCommand & { type: 'end-session' },
  context: Context,
): Applied {
  const { sessionId, reason } = command
  const session = view.session(sessionId)
  if (!session) return { ...nothing, result: done }
  const draft = new Draft(view, context)
  for (const path of [...session.ephemerals].sort()) {
    const row = draft.row(path)
    if (row?.owner === sessionId) draft.remove(row)
  }
  const { rows, events } = draft
  return { rows, events, result: done, session: { type: 'ended', sessionId, reason } }
}

/** A container that had children and has none; a TTL node that nobody changed for its time. */
function due(row: TreeRow, timeMs: number): boolean {
  if (row.childCount > 0) return false
  if (row.kind === 'container') return row.sequence !== 0
  return row.kind === 'ttl' && timeMs - row.mtimeMs > row.ttlMs
}

function collect(view: TreeView, paths: readonly string[], context: Context): Applied {
  const draft = new Draft(view, context)
  for (const path of paths) {
    const row = draft.row(path)
    if (row && due(row, context.timeMs)) draft.remove(row)
  }
  return { rows: draft.rows, events: draft.events, result: done, session: undefined }
}

function write(
  view: TreeView,
  command: TreeCommand & { type: 'write' },
  context: Context,
): Applied {
  const { request, operations } = command
  const session = view.session(request.sessionId)
  if (!session) return refuse('QUIRE_SESSION_EXPIRED', operations)
  const earlier = answeredBefore(session, request)
  if (earlier === 'stale') return refuse('QUIRE_METADATA_UNAVAILABLE', operations)
  if (earlier) return { ...nothing, result: earlier }
  const draft = new Draft(view, context)
  const result = runAll(draft, operations, request.sessionId)
  const answered = answeredNow(request, result)
  if (!result.ok) return { ...nothing, result, session: answered }
  return { rows: draft.rows, events: draft.events, result, session: answered }
}

function refuse(code: TreeFailure, operations: readonly MultiOperation[]): Applied {
  return { ...nothing, result: { ok: false, code, path: operations[0]?.path ?? '/', index: 0 } }
}

/**
 * The remembered result of a request that was applied. `stale`: its result was forgotten because
 * the session had it, or the session has more unanswered than is remembered.
 */
function answeredBefore(
  session: SessionView,
  request: TreeRequest,
): TreeResult | 'stale' | undefined {
  if (request.requestId === undefined) return undefined
  const remembered = session.results.get(request.requestId)
  if (remembered) return remembered
  const forgotten = request.requestId <= session.answeredUpTo
  return forgotten || outstanding(session, request) >= rememberedMax ? 'stale' : undefined
}

function outstanding({ results }: SessionView, { answeredUpTo = 0 }: TreeRequest): number {
  if (results.size < rememberedMax) return results.size
  return [...results.keys()].filter((requestId) => requestId > answeredUpTo).length
}

function answeredNow(request: TreeRequest, result: TreeResult): SessionChange | undefined {
  const { sessionId, requestId, answeredUpTo = 0 } = request
  if (requestId === undefined) return undefined
  return { type: 'answered', sessionId, requestId, answeredUpTo, result }
}

function runAll(draft: Draft, operations: readonly MultiOperation[], owner: bigint): TreeResult {
  const results: MultiResult[] = []
  for (const [index, operation] of operations.entries()) {
    const result = run(draft, operation, owner)
    if (typeof result === 'string') {
      return { ok: false, code: result, path: operation.path, index }
    }
    results.push(result)
  }
  return { ok: true, results }
}

function run(draft: Draft, operation: MultiOperation, owner: bigint): MultiResult | TreeFailure {
  switch (operation.type) {
    case 'create':
      return create(draft, operation, owner)
    case 'set':
      return set(draft, operation)
    case 'delete':
      return remove(draft, operation)
    case 'check':
      break
  }
  return check(draft, operation)
}

const kinds = {
  persistent: 'persistent',
  'persistent-sequential': 'persistent',
  ephemeral: 'ephemeral',
  'ephemeral-sequential': 'ephemeral',
  container: 'container',
  ttl: 'ttl',
} as const satisfies Record<CreateMode, TreeRow['kind']>

/** ZooKeeper's longest time to live, 2^40 − 1 milliseconds. */
const ttlMsMax = 1_099_511_627_775

function create(
  draft: Draft,
  operation: MultiOperation & { type: 'create' },
  owner: bigint,
): MultiResult | TreeFailure {
  const { path, data, mode = 'persistent', ttlMs = 0 } = operation
  const sequential = mode.endsWith('-sequential')
  if (pathProblem(sequential ? `${path}1` : path) !== undefined) return 'QUIRE_BAD_PATH'
  if (data.length > dataBytesMax) return 'QUIRE_FRAME_TOO_LARGE'
  const kind = kinds[mode]
  if (kind === 'ttl' && !(Number.isInteger(ttlMs) && ttlMs > 0 && ttlMs <= ttlMsMax)) {
    return 'QUIRE_BAD_OPTION'
  }
  if (path === '/' && !sequential) return 'QUIRE_NODE_EXISTS'
  const parent = draft.row(parentOf(path))
  if (!parent) return 'QUIRE_NO_NODE'
  const full = sequential ? path + sequenceDigits(parent.sequence) : path
  if (draft.row(full)) return 'QUIRE_NODE_EXISTS'
  if (parent.kind === 'ephemeral') return 'QUIRE_NO_CHILDREN_FOR_EPHEMERALS'
  const row = draft.add(parent, {
    ...rootRow,
    path: full,
    data,
    kind,
    owner: kind === 'ephemeral' ? owner : 0n,
    ttlMs: kind === 'ttl' ? ttlMs : 0,
  })
  return { type: 'create', path: full, stat: statOf(row) }
}

function set(draft: Draft, operation: MultiOperation & { type: 'set' }): MultiResult | TreeFailure {
  const { path, data, version } = operation
  const row = existing(draft, path, version)
  if (typeof row === 'string') return row
  if (data.length > dataBytesMax) return 'QUIRE_FRAME_TOO_LARGE'
  return { type: 'set', stat: statOf(draft.change(row, data)) }
}

function remove(
  draft: Draft,
  operation: MultiOperation & { type: 'delete' },
): MultiResult | TreeFailure {
  if (operation.path === '/') return 'QUIRE_BAD_PATH'
  const row = existing(draft, operation.path, operation.version)
  if (typeof row === 'string') return row
  if (row.childCount > 0) return 'QUIRE_NOT_EMPTY'
  draft.remove(row)
  return { type: 'delete' }
}

function check(
  draft: Draft,
  operation: MultiOperation & { type: 'check' },
): MultiResult | TreeFailure {
  const row = existing(draft, operation.path, operation.version)
  return typeof row === 'string' ? row : { type: 'check' }
}

function existing(draft: Draft, path: string, version: number): TreeRow | TreeFailure {
  if (pathProblem(path) !== undefined) return 'QUIRE_BAD_PATH'
  const row = draft.row(path)
  if (!row) return 'QUIRE_NO_NODE'
  return version === anyVersion || version === row.version ? row : 'QUIRE_BAD_VERSION'
}

/** The next signed 32-bit number; −1 is passed over where it means "any version". */
const nextInt = (value: number): number => (value + 1) | 0
const nextVersion = (version: number): number => {
  const next = nextInt(version)
  return next === anyVersion ? 0 : next
}

/** Changes of one command over the rows as they were. */
class Draft {
  readonly rows = new Map<string, TreeRow | undefined>()
  readonly events: TreeEvent[] = []
  readonly #view: TreeView
  readonly #context: Context

  constructor(view: TreeView, context: Context) {
    this.#view = view
    this.#context = context
  }

  row(path: string): TreeRow | undefined {
    if (this.rows.has(path)) return this.rows.get(path)
    return this.#view.row(path)
  }

  add(parent: TreeRow, node: TreeRow): TreeRow {
    const { zxid, timeMs } = this.#context
    const times = { czxid: zxid, mzxid: zxid, pzxid: zxid, ctimeMs: timeMs, mtimeMs: timeMs }
    const row: TreeRow = { ...node, ...times }
    this.rows.set(row.path, row)
    this.#parent(parent, { sequence: nextInt(parent.sequence), childCount: parent.childCount + 1 })
    this.events.push({ type: 'created', path: row.path }, { type: 'children', path: parent.path })
    return row
  }

  change(row: TreeRow, data: Uint8Array): TreeRow {
    const { zxid, timeMs } = this.#context
    const version = nextVersion(row.version)
    const changed: TreeRow = { ...row, data, version, mzxid: zxid, mtimeMs: timeMs }
    this.rows.set(row.path, changed)
    this.events.push({ type: 'changed', path: row.path })
    return changed
  }

  remove(row: TreeRow): void {
    const parent = this.row(parentOf(row.path))
    invariant(parent !== undefined, 'a node has a parent', { path: row.path })
    invariant(parent.childCount > 0, 'a parent counts its children', { path: parent.path })
    this.rows.set(row.path, undefined)
    this.#parent(parent, { childCount: parent.childCount - 1 })
    this.events.push({ type: 'deleted', path: row.path }, { type: 'children', path: parent.path })
  }

  #parent(parent: TreeRow, change: Partial<TreeRow>): void {
    const cversion = nextInt(parent.cversion)
    this.rows.set(parent.path, { ...parent, ...change, cversion, pzxid: this.#context.zxid })
  }
}
