// A session of the metadata contract on a ZooKeeper: each call becomes one request, each answer is
// checked to be of the kind that was asked for.

import { QuireError } from '../../errors.ts'
import type {
  ZooKeeperMultiResult,
  ZooKeeperOperation,
  ZooKeeperRequest,
  ZooKeeperResult,
  ZooKeeperStat,
} from '../../io/zookeeper.ts'
import type {
  CallOptions,
  CreateMode,
  CreateOptions,
  MetadataSession,
  MultiOperation,
  MultiResult,
  NodeStat,
  ReadOptions,
} from '../contract.ts'
import { anyVersion } from '../contract.ts'
import { treeError } from '../tree/errors.ts'
import { pathProblem } from '../tree/path.ts'
import { answerError, codes } from './errors.ts'
import type { EndReason, ZooKeeperSupervisor } from './supervisor.ts'
import type { WatchKind } from './watches.ts'

/** The most that a server takes in one request unless it is told otherwise (`jute.maxbuffer`). */
const requestBytesMax = 1_048_575
/** Fixed fields of an operation, its access list included. */
const overheadBytes = 64

const flagsOf: Partial<Record<CreateMode, number>> = {
  persistent: 0,
  ephemeral: 1,
  'persistent-sequential': 2,
  'ephemeral-sequential': 3,
}

export class ZooKeeperSession implements MetadataSession {
  readonly #supervisor: ZooKeeperSupervisor

  constructor(supervisor: ZooKeeperSupervisor) {
    this.#supervisor = supervisor
  }

  get sessionId(): bigint {
    return this.#supervisor.sessionId
  }

  get ended(): Promise<EndReason> {
    return this.#supervisor.ended
  }

  async create(
    path: string,
    data: Uint8Array,
    options: CreateOptions = {},
  ): Promise<{ path: string; stat: NodeStat }> {
    const request = operationOf({ type: 'create', path, data, ...options })
    const { path: created, stat } = await this.#ask('create', request, options)
    return { path: created, stat: statOf(stat) }
  }

  async get(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ data: Uint8Array; stat: NodeStat }> {
    const { data, stat } = await this.#ask('get', readOf('get', path, options), options)
    return { data, stat: statOf(stat) }
  }

  async exists(path: string, options: ReadOptions = {}): Promise<NodeStat | undefined> {
    try {
      const { stat } = await this.#ask('exists', readOf('exists', path, options), options)
      return statOf(stat)
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_NO_NODE')) return undefined
      throw error
    }
  }

  async children(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ names: string[]; stat: NodeStat }> {
    const { names, stat } = await this.#ask('children', readOf('children', path, options), options)
    return { names: [...names].sort(), stat: statOf(stat) }
  }

  multiRead(): Promise<never> {
    return Promise.reject(unsupported({ what: 'reads of several nodes at once' }))
  }

  watch(): Promise<never> {
    return Promise.reject(unsupported({ what: 'watches that tell every change' }))
  }

  async set(
    path: string,
    data: Uint8Array,
    version: number,
    options: CallOptions = {},
  ): Promise<NodeStat> {
    const request = operationOf({ type: 'set', path, data, version })
    return statOf((await this.#ask('set', request, options)).stat)
  }

  async delete(path: string, version: number, options: CallOptions = {}): Promise<void> {
    await this.#ask('delete', operationOf({ type: 'delete', path, version }), options)
  }

  async multi(
    operations: readonly MultiOperation[],
    options: CallOptions = {},
  ): Promise<MultiResult[]> {
    const request = { type: 'multi', operations: operations.map(indexed) } as const
    const { results } = await this.#ask('multi', request, options)
    throwIfRefused(results, operations)
    return results.map(multiResult)
  }

  async close(): Promise<void> {
    await this.#supervisor.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #ask<T extends ZooKeeperResult['type']>(
    type: T,
    request: ZooKeeperRequest,
    { signal, watch, linearizable = false }: ReadOptions,
  ): Promise<Extract<ZooKeeperResult, { type: T }>> {
    const path = 'path' in request ? request.path : '/'
    const isWrite = !isRead(request)
    const bytes = bytesOf(request)
    if (bytes > requestBytesMax) throw treeError({ code: 'QUIRE_FRAME_TOO_LARGE', path, index: 0 })
    const { error, result } = await this.#supervisor.call({
      request,
      bytes,
      linearizable,
      isWrite,
      signal,
      seen: ({ error }) => {
        const kind = watch && kindOfWatch(request.type, error)
        if (kind) this.#supervisor.watches.lay({ kind, path, callback: watch })
      },
    })
    if (error !== 0) throw answerError(error, { path })
    if (isType(result, type)) return result
    throw new QuireError(
      'QUIRE_METADATA_UNAVAILABLE',
      `the ZooKeeper answered ${type} with ${result?.type}: what became of it is unknown`,
      { facts: { path } },
    )
  }
}

type Read = Extract<ZooKeeperRequest, { type: 'get' | 'exists' | 'children' }>

const isRead = (request: ZooKeeperRequest): request is Read => 'watch' in request

function isType<T extends ZooKeeperResult['type']>(
  result: ZooKeeperResult | undefined,
  type: T,
): result is Extract<ZooKeeperResult, { type: T }> {
  return result?.type === type
}

function readOf(type: Read['type'], path: string, { watch }: ReadOptions): Read {
  checkPath(path)
  return { type, path, watch: watch !== undefined }
}

/** Which watch the server has laid with an answer, undefined for none. */
function kindOfWatch(type: ZooKeeperRequest['type'], error: number): WatchKind | undefined {
  if (type === 'exists' && error === codes.noNode) return 'exist'
  if (error !== 0) return undefined
  return type === 'children' ? 'children' : 'data'
}

/** Takes its bytes: what the caller does to its buffer later changes nothing. */
function operationOf(
  operation: MultiOperation & { type: 'create' | 'set' | 'delete' },
): Exclude<ZooKeeperOperation, { type: 'check' }>
function operationOf(operation: MultiOperation): ZooKeeperOperation
function operationOf(operation: MultiOperation): ZooKeeperOperation {
  const { type, path } = operation
  if (type === 'create') {
    const { mode = 'persistent', data } = operation
    const flags = flagsOf[mode]
    if (flags === undefined) throw unsupported({ what: `${mode} nodes`, path })
    checkPath(path, mode.endsWith('-sequential') ? `${path}1` : path)
    return { type, path, data: Buffer.from(data), flags }
  }
  checkPath(path)
  const { version } = operation
  if (!Number.isInteger(version) || version < anyVersion || version > versionMax) {
    throw new QuireError('QUIRE_BAD_OPTION', `${version} is no version of a node`, {
      facts: { path },
    })
  }
  if (type === 'set') return { type, path, data: Buffer.from(operation.data), version }
  if (type === 'delete' && path === '/') throw treeError({ code: 'QUIRE_BAD_PATH', path, index: 0 })
  return { type, path, version }
}

const versionMax = 2_147_483_647

function indexed(operation: MultiOperation, index: number): ZooKeeperOperation {
  try {
    return operationOf(operation)
  } catch (error) {
    if (!QuireError.is(error)) throw error
    const facts = { ...error.facts, index }
    throw new QuireError(error.code, error.message, { cause: error, facts })
  }
}

/** `checked`: with the digits that it will have. */
function checkPath(path: string, checked = path): void {
  if (pathProblem(checked) === undefined) return
  throw treeError({ code: 'QUIRE_BAD_PATH', path, index: 0 })
}

function unsupported({ what, path = '/' }: { what: string; path?: string }): QuireError {
  return new QuireError(
    'QUIRE_UNSUPPORTED',
    `${path}: node-zookeeper-client has no ${what}; a node of Quire has`,
    { facts: { path } },
  )
}

/** An upper bound of what the request takes as a frame. */
function bytesOf(request: ZooKeeperRequest): number {
  const operations = request.type === 'multi' ? request.operations : [request]
  let bytes = overheadBytes
  for (const operation of operations) {
    bytes += overheadBytes
    if ('path' in operation) bytes += Buffer.byteLength(operation.path)
    if ('data' in operation && Buffer.isBuffer(operation.data)) bytes += operation.data.length
  }
  return bytes
}

/** The first of the results that is an error; those before it would have been done. */
function throwIfRefused(
  results: readonly ZooKeeperMultiResult[],
  operations: readonly MultiOperation[],
): void {
  for (const [index, result] of results.entries()) {
    if (result.type !== 'error' || result.error === 0) continue
    throw answerError(result.error, { path: operations[index]?.path ?? '/', index })
  }
}

function multiResult(result: ZooKeeperMultiResult): MultiResult {
  switch (result.type) {
    case 'create':
      return { type: 'create', path: result.path, stat: statOf(result.stat) }
    case 'set':
      return { type: 'set', stat: statOf(result.stat) }
    case 'error':
      throw new QuireError(
        'QUIRE_METADATA_UNAVAILABLE',
        'the ZooKeeper answered a multi with half of its results: what became of it is unknown',
      )
    case 'check':
    case 'delete':
      break
  }
  return { type: result.type }
}

function statOf(stat: ZooKeeperStat): NodeStat {
  const { version, cversion, aversion, dataLength, childCount } = stat
  return {
    czxid: safe(stat.czxid),
    mzxid: safe(stat.mzxid),
    pzxid: safe(stat.pzxid),
    ctimeMs: safe(stat.ctimeMs),
    mtimeMs: safe(stat.mtimeMs),
    version,
    cversion,
    aversion,
    ephemeralOwner: isOwnerless(stat.ephemeralOwner) ? 0n : stat.ephemeralOwner,
    dataLength,
    childCount,
  }
}

function safe(value: bigint): number {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  throw new QuireError('QUIRE_BAD_METADATA', `${value} in a node's stat is beyond 2^53`)
}

/** Where ZooKeeper keeps that a node is a container, or its time to live. */
const container = 0x8000_0000_0000_0000n
const ttlMark = 0xff_0000n

function isOwnerless(owner: bigint): boolean {
  return owner === container || owner >> 40n === ttlMark
}
