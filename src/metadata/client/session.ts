// A session of the metadata contract, spoken over the network: each call becomes one request, each
// result is checked to be of the kind that was asked for.

import { QuireError } from '../../errors.ts'
import { metadataErrorCode, metadataLimits } from '../../wire/metadata-messages.ts'
import type {
  MetadataRequest,
  MetadataResult,
  WireError,
  WireOperation,
} from '../../wire/metadata-messages.ts'
import type {
  CallOptions,
  CreateOptions,
  MetadataRead,
  MetadataReadResult,
  MetadataSession,
  MultiOperation,
  MultiResult,
  NodeStat,
  ReadOptions,
  StandingWatch,
  StandingWatchOptions,
  WatchEvent,
} from '../contract.ts'
import type { EndReason, Supervisor } from './supervisor.ts'

/** Fixed fields of a request and of what is kept beside it. */
const requestOverheadBytes = 256

export class NetworkSession implements MetadataSession {
  readonly #supervisor: Supervisor

  constructor(supervisor: Supervisor) {
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
    const { mode = 'persistent', ttlMs = 0 } = options
    const request = { type: 'create', path, data: copyOf(path, data), mode, ttlMs } as const
    const { path: created, stat } = await this.#ask('create', request, options)
    return { path: created, stat }
  }

  async get(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ data: Uint8Array; stat: NodeStat }> {
    const { data, stat } = await this.#ask('get', readOf('get', path, options), options)
    return { data, stat }
  }

  async exists(path: string, options: ReadOptions = {}): Promise<NodeStat | undefined> {
    return (await this.#ask('exists', readOf('exists', path, options), options)).stat
  }

  async children(
    path: string,
    options: ReadOptions = {},
  ): Promise<{ names: string[]; stat: NodeStat }> {
    const { names, stat } = await this.#ask('children', readOf('children', path, options), options)
    return { names, stat }
  }

  async multiRead(
    reads: readonly MetadataRead[],
    options: CallOptions & { linearizable?: boolean } = {},
  ): Promise<MetadataReadResult[]> {
    const { linearizable = false } = options
    const request = { type: 'multiRead', reads, linearizable } as const
    const { results } = await this.#ask('multiRead', request, options)
    return results.map((result, index) =>
      result.type === 'error'
        ? { type: 'error', error: errorOf(result, reads[index]?.path) }
        : result,
    )
  }

  async watch(
    path: string,
    call: (event: WatchEvent) => void,
    options: StandingWatchOptions = {},
  ): Promise<StandingWatch> {
    const { recursive = false, signal } = options
    // A function of its own, by which this watch is known.
    const watch = (event: WatchEvent): void => call(event)
    const request = { type: 'addWatch', path, kind: recursive ? 'tree' : 'node' } as const
    await this.#ask('addWatch', request, { signal, watch })
    return { cancel: () => this.#cancel(watch) }
  }

  async #cancel(watch: (event: WatchEvent) => void): Promise<void> {
    const watchId = this.#supervisor.watches.remove(watch)
    if (watchId !== undefined) await this.#ask('removeWatch', { type: 'removeWatch', watchId }, {})
  }

  async set(
    path: string,
    data: Uint8Array,
    version: number,
    options: CallOptions = {},
  ): Promise<NodeStat> {
    const request = { type: 'set', path, data: copyOf(path, data), version } as const
    return (await this.#ask('set', request, options)).stat
  }

  async delete(path: string, version: number, options: CallOptions = {}): Promise<void> {
    await this.#ask('delete', { type: 'delete', path, version }, options)
  }

  async multi(
    operations: readonly MultiOperation[],
    options: CallOptions = {},
  ): Promise<MultiResult[]> {
    const request = { type: 'multi', operations: operations.map(wireOperation) } as const
    return (await this.#ask('multi', request, options)).results
  }

  async close(): Promise<void> {
    await this.#supervisor.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #ask<T extends MetadataResult['type']>(
    type: T,
    request: MetadataRequest,
    options: ReadOptions,
  ): Promise<Extract<MetadataResult, { type: T }>> {
    const { signal, watch } = options
    const bytes = bytesOf(request)
    const path = 'path' in request ? request.path : undefined
    if (bytes > metadataLimits.frameBytes) throw tooLarge({ bytes, path })
    const result = await this.#supervisor.call(request, { bytes, signal, watch })
    if (isType(result, type)) return result
    if (result.type === 'error') throw errorOf(result, path)
    throw new QuireError(
      'QUIRE_METADATA_UNAVAILABLE',
      `the metadata server answered ${type} with ${result.type}: what became of it is unknown`,
      { facts: { path } },
    )
  }
}

function isType<T extends MetadataResult['type']>(
  result: MetadataResult,
  type: T,
): result is Extract<MetadataResult, { type: T }> {
  return result.type === type
}

function readOf<T extends 'get' | 'exists' | 'children'>(
  type: T,
  path: string,
  { watch, linearizable = false }: ReadOptions,
): { type: T; path: string; watch: boolean; linearizable: boolean } {
  return { type, path, watch: watch !== undefined, linearizable }
}

/** Taken when the call is made: what the caller does to its buffer later changes nothing. */
function copyOf(path: string, data: Uint8Array): Buffer {
  if (data.length > metadataLimits.dataBytes) throw tooLarge({ bytes: data.length, path })
  return Buffer.from(data)
}

function wireOperation(operation: MultiOperation): WireOperation {
  const { path } = operation
  if (operation.type === 'create') {
    const { mode = 'persistent', ttlMs = 0 } = operation
    return { type: 'create', path, data: copyOf(path, operation.data), mode, ttlMs }
  }
  return operation.type === 'set' ? { ...operation, data: copyOf(path, operation.data) } : operation
}

/** An upper bound of what the request takes as a frame. */
function bytesOf(request: MetadataRequest): number {
  const operations = partsOf(request)
  let bytes = requestOverheadBytes
  for (const operation of operations) {
    bytes += 64
    if ('path' in operation) bytes += Buffer.byteLength(operation.path)
    if ('data' in operation) bytes += operation.data.length
  }
  return bytes
}

function partsOf(
  request: MetadataRequest,
): readonly (MetadataRequest | WireOperation | MetadataRead)[] {
  if (request.type === 'multi') return request.operations
  return request.type === 'multiRead' ? request.reads : [request]
}

function tooLarge(facts: { bytes: number; path: string | undefined }): QuireError {
  return new QuireError(
    'QUIRE_FRAME_TOO_LARGE',
    `a metadata request of ${facts.bytes} bytes is more than the protocol carries: it was not sent`,
    { facts },
  )
}

function errorOf(error: WireError, asked: string | undefined): QuireError {
  const facts = { path: error.path ?? asked, ...indexOf(error) }
  const code = metadataErrorCode(error.code)
  if (code) return new QuireError(code, error.message, { facts })
  return new QuireError(
    'QUIRE_METADATA_UNAVAILABLE',
    `the metadata server answered with error ${error.code}, unknown here: ${error.message}`,
    { facts },
  )
}

function indexOf({ index }: WireError): { index?: number } {
  return index === undefined ? {} : { index }
}
