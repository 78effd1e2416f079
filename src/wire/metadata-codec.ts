// The bytes of the metadata protocol, both directions. Encoders make whole frames (length field
// included) and own them; decoders take the payload of a frame and copy what outlives it. A decoder
// throws QUIRE_BAD_FRAME and nothing else, reads nothing beyond the payload, makes nothing larger
// than it, and ignores bytes after the last field it knows.

import { ByteReader, ByteWriter } from './bytes.ts'
import {
  bad,
  beginFrame,
  finishFrame,
  putList,
  putMagic,
  putStat,
  takeBytes,
  takeList,
  takeMagic,
  takeStat,
} from './metadata-fields.ts'
import {
  connectStatuses,
  goodbyeReasons,
  metadataLimits,
  metadataMagic,
  metadataVersion,
} from './metadata-messages.ts'
import type {
  ClientPacket,
  ConnectRequest,
  ConnectResponse,
  ConnectStatus,
  GoodbyeReason,
  MetadataRequest,
  MetadataResult,
  ServerPacket,
  UnknownRequest,
  WireCreate,
  WireCreateMode,
  WireDelete,
  WireError,
  WireOperation,
  WireOperationResult,
  WireReadResult,
  WireSet,
  WireWatch,
} from './metadata-messages.ts'

const operationNumbers = {
  create: 1,
  delete: 2,
  exists: 3,
  get: 4,
  set: 5,
  sync: 9,
  children: 12,
  check: 13,
  multi: 14,
  removeWatch: 18,
  multiRead: 22,
  setWatches: 101,
  addWatch: 106,
  closeSession: 11,
} as const

const modeNumbers: Record<WireCreateMode, number> = {
  persistent: 0,
  ephemeral: 1,
  'persistent-sequential': 2,
  'ephemeral-sequential': 3,
  container: 4,
  ttl: 5,
}

const eventNumbers = { created: 1, deleted: 2, changed: 3, children: 4, missed: 5 } as const
const watchKindNumbers = { data: 1, children: 2, node: 3, tree: 4 } as const
const clientKinds = { request: 1, ping: 2 } as const
const serverKinds = { answer: 1, pong: 2, event: 3, goodbye: 4 } as const
const readFlags = { watch: 1, linearizable: 2 } as const
/** In place of an error's index where there is none. */
const noIndex = 0xffff_ffff

const names = <T extends string>(numbers: Record<T, number>): ReadonlyMap<number, T> =>
  new Map(Object.entries(numbers).map(([name, number]) => [number as number, name as T]))

const operationOf = names(operationNumbers)
const modeOf = names(modeNumbers)
const eventOf = names(eventNumbers)
const watchKindOf = names(watchKindNumbers)
const statusOf = names(connectStatuses)
const goodbyeOf = names(goodbyeReasons)

type Name = keyof typeof operationNumbers

/**
 * True when the first bytes of a connection (length field included) begin a metadata connection.
 */
export function startsMetadataConnection(bytes: Uint8Array): boolean {
  if (bytes.length < 4 + metadataMagic.length) return false
  for (let i = 0; i < metadataMagic.length; i++) {
    if (bytes[4 + i] !== metadataMagic.charCodeAt(i)) return false
  }
  return true
}

// Packets of the first exchange

export function encodeConnectRequest(request: ConnectRequest): Buffer {
  const to = putMagic(beginFrame()).u16(request.version).i64(request.sessionId)
  to.bytes(request.password).u32(request.timeoutMs).safeInteger(request.lastZxid)
  return finishFrame(to.utf8(request.instanceId))
}

/**
 * Of another major version nothing but the number is read: the rest may mean something else there.
 */
export function decodeConnectRequest(payload: Uint8Array): ConnectRequest {
  const from = new ByteReader(payload)
  takeMagic(from)
  const version = from.u16()
  if (version >> 8 !== metadataVersion >> 8) return { ...nobody, version, lastZxid: 0 }
  return {
    version,
    sessionId: from.i64(),
    password: takeBytes(from, metadataLimits.passwordBytes),
    timeoutMs: from.u32(),
    lastZxid: from.safeInteger(),
    instanceId: from.utf8(),
  }
}

const nobody = { sessionId: 0n, password: new Uint8Array(0), timeoutMs: 0, instanceId: '' } as const

export function encodeConnectResponse(response: ConnectResponse): Buffer {
  const to = putMagic(beginFrame()).u16(response.version).u16(connectStatuses[response.status])
  to.utf8(response.message)
  if (response.status === 'elsewhere') {
    const { host, port } = response.leader ?? { host: '', port: 0 }
    return finishFrame(to.utf8(host).u16(port))
  }
  to.i64(response.sessionId).bytes(response.password)
  to.u32(response.timeoutMs).safeInteger(response.zxid)
  return finishFrame(to.utf8(response.instanceId))
}

/**
 * A refusal need not say more than its sentence, and one of another major version may say it
 * otherwise.
 */
export function decodeConnectResponse(payload: Uint8Array): ConnectResponse {
  const from = new ByteReader(payload)
  takeMagic(from)
  const version = from.u16()
  const status: ConnectStatus = statusOf.get(from.u16()) ?? 'unavailable'
  const message = from.utf8()
  if (status === 'elsewhere') {
    const at = { host: from.utf8(), port: from.u16() }
    const leader = at.host === '' ? undefined : at
    return { ...nobody, version, status, message, zxid: 0, leader }
  }
  if (status !== 'ok') return { ...nobody, version, status, message, zxid: 0 }
  return {
    version,
    status,
    message,
    sessionId: from.i64(),
    password: takeBytes(from, metadataLimits.passwordBytes),
    timeoutMs: from.u32(),
    zxid: from.safeInteger(),
    instanceId: from.utf8(),
  }
}

// Packets of the client

export function encodeClientPacket(packet: Exclude<ClientPacket, { type: 'unknown' }>): Buffer {
  const to = beginFrame().u8(clientKinds[packet.type])
  if (packet.type === 'ping') return finishFrame(to.safeInteger(packet.number))
  const { request } = packet
  if (request.type === 'unknown') throw bad('an unknown request cannot be sent')
  to.safeInteger(packet.requestId)
    .safeInteger(packet.answeredUpTo)
    .u8(operationNumbers[request.type])
  putRequest(to, request)
  return finishFrame(to)
}

export function decodeClientPacket(payload: Uint8Array): ClientPacket {
  const from = new ByteReader(payload)
  const kind = from.u8()
  if (kind === clientKinds.ping) return { type: 'ping', number: from.safeInteger() }
  if (kind !== clientKinds.request) return { type: 'unknown', kind }
  const requestId = from.safeInteger()
  const answeredUpTo = from.safeInteger()
  return { type: 'request', requestId, answeredUpTo, request: takeRequest(from) }
}

function putRequest(to: ByteWriter, request: MetadataRequest): void {
  switch (request.type) {
    case 'create':
    case 'set':
    case 'delete':
      putOperation(to, request)
      break
    case 'get':
    case 'exists':
    case 'children': {
      const watch = request.watch ? readFlags.watch : 0
      to.utf8(request.path).u8(watch | (request.linearizable ? readFlags.linearizable : 0))
      break
    }
    case 'multi':
      putOperations(to, request.operations)
      break
    case 'multiRead':
      to.u8(request.linearizable ? readFlags.linearizable : 0)
      putList(to, request.reads, ({ type, path }) => to.u8(operationNumbers[type]).utf8(path))
      break
    case 'sync':
      to.utf8(request.path)
      break
    case 'setWatches':
      putList(to, request.watches, ({ watchId, kind, path, zxid }) =>
        to.safeInteger(watchId).u8(watchKindNumbers[kind]).utf8(path).safeInteger(zxid),
      )
      break
    case 'addWatch':
      to.utf8(request.path).u8(watchKindNumbers[request.kind])
      break
    case 'removeWatch':
      to.safeInteger(request.watchId)
      break
    case 'closeSession':
      break
  }
}

function takeRequest(from: ByteReader): MetadataRequest | UnknownRequest {
  const operation = from.u8()
  const type = operationOf.get(operation)
  if (type === undefined || type === 'check') return { type: 'unknown', operation }
  switch (type) {
    case 'create':
    case 'set':
    case 'delete':
      return takeOperation(from, type)
    case 'get':
    case 'exists':
    case 'children': {
      const path = from.utf8()
      const flags = from.u8()
      const watch = (flags & readFlags.watch) !== 0
      return { type, path, watch, linearizable: (flags & readFlags.linearizable) !== 0 }
    }
    case 'multi':
      return { type, operations: takeList(from, takeMultiOperation) }
    case 'multiRead': {
      const linearizable = (from.u8() & readFlags.linearizable) !== 0
      return { type, linearizable, reads: takeList(from, takeRead) }
    }
    case 'sync':
      return { type, path: from.utf8() }
    case 'setWatches':
      return { type, watches: takeList(from, takeWatch) }
    case 'addWatch': {
      const path = from.utf8()
      const kind = watchKindOf.get(from.u8())
      if (kind !== 'node' && kind !== 'tree') throw bad('kind of a standing watch')
      return { type, path, kind }
    }
    case 'removeWatch':
      return { type, watchId: from.safeInteger() }
    case 'closeSession':
      break
  }
  return { type }
}

function putOperations(to: ByteWriter, operations: readonly WireOperation[]): void {
  putList(to, operations, (operation) => {
    to.u8(operationNumbers[operation.type])
    putOperation(to, operation)
  })
}

/** The operations of a multi by themselves, as logs keep them. */
export function encodeOperations(operations: readonly WireOperation[]): Buffer {
  const to = new ByteWriter()
  putOperations(to, operations)
  return to.finish()
}

export function decodeOperations(bytes: Uint8Array): WireOperation[] {
  return takeList(new ByteReader(bytes), takeMultiOperation)
}

function putOperation(to: ByteWriter, operation: WireOperation): void {
  to.utf8(operation.path)
  if (operation.type === 'create') {
    to.bytes(operation.data).u8(modeNumbers[operation.mode]).safeInteger(operation.ttlMs)
  } else if (operation.type === 'set') {
    to.bytes(operation.data).i32(operation.version)
  } else {
    to.i32(operation.version)
  }
}

function takeOperation(
  from: ByteReader,
  type: 'create' | 'set' | 'delete',
): WireCreate | WireSet | WireDelete {
  const path = from.utf8()
  if (type === 'create') {
    const data = takeBytes(from)
    const mode = modeOf.get(from.u8())
    if (!mode) throw bad('create mode')
    return { type, path, data, mode, ttlMs: from.safeInteger() }
  }
  if (type === 'set') return { type, path, data: takeBytes(from), version: from.i32() }
  return { type, path, version: from.i32() }
}

function takeMultiOperation(from: ByteReader): WireOperation {
  const type = operationOf.get(from.u8())
  if (type === 'create' || type === 'set' || type === 'delete') return takeOperation(from, type)
  // All or nothing: an operation that is not understood cannot be left out.
  if (type !== 'check') throw bad('operation of a multi')
  return { type, path: from.utf8(), version: from.i32() }
}

function takeRead(from: ByteReader): { type: 'get' | 'children'; path: string } {
  const type = operationOf.get(from.u8())
  if (type !== 'get' && type !== 'children') throw bad('operation of a multiRead')
  return { type, path: from.utf8() }
}

function takeWatch(from: ByteReader): WireWatch {
  const watchId = from.safeInteger()
  const kind = watchKindOf.get(from.u8())
  if (!kind) throw bad('kind of a watch')
  return { watchId, kind, path: from.utf8(), zxid: from.safeInteger() }
}

// Packets of the server

export function encodeServerPacket(packet: Exclude<ServerPacket, { type: 'unknown' }>): Buffer {
  const to = beginFrame().u8(serverKinds[packet.type])
  switch (packet.type) {
    case 'answer':
      to.safeInteger(packet.requestId).safeInteger(packet.zxid)
      putResult(to, packet.result)
      break
    case 'pong':
      to.safeInteger(packet.number)
      break
    case 'event':
      to.safeInteger(packet.watchId).u8(eventNumbers[packet.event]).utf8(packet.path)
      break
    case 'goodbye':
      to.u8(goodbyeReasons[packet.reason]).utf8(packet.message)
      break
  }
  return finishFrame(to)
}

export function decodeServerPacket(payload: Uint8Array): ServerPacket {
  const from = new ByteReader(payload)
  const kind = from.u8()
  switch (kind) {
    case serverKinds.answer: {
      const requestId = from.safeInteger()
      return { type: 'answer', requestId, zxid: from.safeInteger(), result: takeResult(from) }
    }
    case serverKinds.pong:
      return { type: 'pong', number: from.safeInteger() }
    case serverKinds.event: {
      const watchId = from.safeInteger()
      const event = eventOf.get(from.u8())
      if (!event) throw bad('kind of an event')
      return { type: 'event', watchId, event, path: from.utf8() }
    }
    case serverKinds.goodbye: {
      const reason: GoodbyeReason = goodbyeOf.get(from.u8()) ?? 'unavailable'
      return { type: 'goodbye', reason, message: from.utf8() }
    }
    default:
      return { type: 'unknown', kind }
  }
}

function putResult(to: ByteWriter, result: MetadataResult): void {
  if (result.type === 'error') {
    to.u16(result.code).utf8(result.message)
    to.u8(result.path === undefined ? 0 : 1).utf8(result.path ?? '')
    to.u32(result.index ?? noIndex)
    return
  }
  to.u16(0).u8(operationNumbers[result.type])
  switch (result.type) {
    case 'create':
      putStat(to.utf8(result.path), result.stat)
      break
    case 'set':
      putStat(to, result.stat)
      break
    case 'get':
      putStat(to.bytes(result.data), result.stat)
      break
    case 'exists':
      to.u8(result.stat ? 1 : 0)
      if (result.stat) putStat(to, result.stat)
      break
    case 'children':
      putStat(to, result.stat)
      putList(to, result.names, (name) => to.utf8(name))
      break
    case 'multi':
    case 'multiRead':
      putList<MetadataResult>(to, result.results, (each) => putResult(to, each))
      break
    case 'delete':
    case 'check':
    case 'sync':
    case 'setWatches':
    case 'addWatch':
    case 'removeWatch':
    case 'closeSession':
      break
  }
}

function takeResult(from: ByteReader): MetadataResult {
  const code = from.u16()
  if (code !== 0) return takeError(from, code)
  const type = operationOf.get(from.u8())
  if (type === undefined) throw bad('kind of a result')
  switch (type) {
    case 'multi':
      return { type, results: takeList(from, takeOperationResult) }
    case 'multiRead':
      return { type, results: takeList(from, takeReadResult) }
    case 'exists':
      return { type, stat: from.u8() === 0 ? undefined : takeStat(from) }
    case 'get':
    case 'children':
      return takeReadBody(from, type)
    case 'sync':
    case 'setWatches':
    case 'addWatch':
    case 'removeWatch':
    case 'closeSession':
      return { type }
    case 'create':
    case 'set':
    case 'delete':
    case 'check':
      break
  }
  return takeOperationBody(from, type)
}

function takeError(from: ByteReader, code: number): WireError {
  const message = from.utf8()
  const hasPath = from.u8() !== 0
  const path = from.utf8()
  const index = from.u32()
  return {
    type: 'error',
    code,
    message,
    path: hasPath ? path : undefined,
    index: index === noIndex ? undefined : index,
  }
}

function takeOperationResult(from: ByteReader): WireOperationResult {
  if (from.u16() !== 0) throw bad('an error inside the results of a multi')
  return takeOperationBody(from, operationOf.get(from.u8()))
}

function takeOperationBody(from: ByteReader, type: Name | undefined): WireOperationResult {
  if (type === 'create') return { type, path: from.utf8(), stat: takeStat(from) }
  if (type === 'set') return { type, stat: takeStat(from) }
  if (type === 'delete' || type === 'check') return { type }
  throw bad('kind of a result')
}

function takeReadResult(from: ByteReader): WireReadResult {
  const code = from.u16()
  return code === 0 ? takeReadBody(from, operationOf.get(from.u8())) : takeError(from, code)
}

function takeReadBody(from: ByteReader, type: Name | undefined): WireReadResult {
  if (type === 'get') return { type, data: takeBytes(from), stat: takeStat(from) }
  if (type !== 'children') throw bad('kind of a result')
  const stat = takeStat(from)
  return { type, names: takeList(from, (each) => each.utf8()), stat }
}
