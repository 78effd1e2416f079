// Requests and answers of ZooKeeper through the records of node-zookeeper-client. Two things it
// lacks: creates that answer with a stat (operation 15), and `sync` (9).

import { QuireError } from '../../errors.ts'
import type {
  ZooKeeperEvent,
  ZooKeeperMultiResult,
  ZooKeeperOperation,
  ZooKeeperRequest,
  ZooKeeperResult,
  ZooKeeperStat,
} from '../zookeeper.ts'

/** A record of the protocol: its fields are properties, by the names of ZooKeeper's own files. */
export interface JuteRecord {
  deserialize(buffer: Buffer, offset: number): number
  [field: string]: unknown
}

export interface JuteHeader extends JuteRecord {
  xid: number
  zxid: Buffer
  err: number
}

type RecordName =
  | 'RequestHeader'
  | 'ReplyHeader'
  | 'CreateRequest'
  | 'DeleteRequest'
  | 'SetDataRequest'
  | 'GetDataRequest'
  | 'GetACLRequest'
  | 'SetWatches'
  | 'GetDataResponse'
  | 'GetChildren2Response'
  | 'ExistsResponse'
  | 'CreateResponse'
  | 'ErrorResponse'
  | 'MultiHeader'
  | 'WatcherEvent'

export interface JuteRequest {
  readonly header: JuteHeader
}

/** What of the library is used here. */
export interface Jute {
  readonly protocol: Readonly<Record<RecordName, new (...fields: unknown[]) => JuteRecord>>
  readonly Request: new (header: JuteRecord, payload: JuteRecord | null) => JuteRequest
  readonly TransactionRequest: new (operations: readonly object[]) => JuteRecord
}

export interface JuteAcl {
  /** Anybody may do anything: what BookKeeper uses unless its security is on. */
  readonly OPEN_ACL_UNSAFE: readonly { toRecord(): JuteRecord }[]
}

const codes = {
  delete: 2,
  exists: 3,
  get: 4,
  set: 5,
  sync: 9,
  ping: 11,
  children: 12,
  check: 13,
  multi: 14,
  create: 15,
  setWatches: 101,
  closeSession: -11,
} as const
/** The library's own name for a create, whose number is then replaced. */
const plainCreate = 1
const multiError = -1
export const pingXid = -2
export const eventXid = -1

export class ZooKeeperCodec {
  readonly #jute: Jute
  readonly #acl: JuteAcl

  constructor(jute: Jute, acl: JuteAcl) {
    this.#jute = jute
    this.#acl = acl
  }

  /** The library gives it a number when it is sent, pings aside. */
  encode(request: ZooKeeperRequest): JuteRequest {
    const { protocol, Request } = this.#jute
    const xid = request.type === 'ping' ? pingXid : 0
    const header = new protocol.RequestHeader(xid, codes[request.type])
    return new Request(header, this.#payload(request))
  }

  header(frame: Buffer): { header: JuteHeader; body: Buffer } {
    const header = new this.#jute.protocol.ReplyHeader() as JuteHeader
    return { body: frame.subarray(header.deserialize(frame, 0)), header }
  }

  result(type: ZooKeeperRequest['type'], body: Buffer): ZooKeeperResult {
    switch (type) {
      case 'create':
        return this.#created(body, 0).result
      case 'get': {
        const { data, stat } = this.#read('GetDataResponse', body, 0)
        return { type, data: dataOf(data), stat: statOf(stat) }
      }
      case 'exists':
      case 'set':
        return { type, stat: statOf(this.#read('ExistsResponse', body, 0)['stat']) }
      case 'children': {
        const { children, stat } = this.#read('GetChildren2Response', body, 0)
        return { type, names: namesOf(children), stat: statOf(stat) }
      }
      case 'multi':
        return { type, results: this.#results(body) }
      case 'delete':
      case 'sync':
      case 'setWatches':
      case 'ping':
      case 'closeSession':
        break
    }
    return { type }
  }

  /** Undefined for kinds that nobody asked for. */
  event(body: Buffer): ZooKeeperEvent | undefined {
    const { type, path } = this.#read('WatcherEvent', body, 0)
    const kind = events[Number(type)]
    return kind && typeof path === 'string' ? { type: kind, path } : undefined
  }

  #payload(request: ZooKeeperRequest): JuteRecord | null {
    const { protocol, TransactionRequest } = this.#jute
    switch (request.type) {
      case 'create': {
        const acl = this.#acl.OPEN_ACL_UNSAFE.map((each) => each.toRecord())
        return new protocol.CreateRequest(request.path, request.data, acl, request.flags)
      }
      case 'delete':
        return new protocol.DeleteRequest(request.path, request.version)
      case 'set':
        return new protocol.SetDataRequest(request.path, request.data, request.version)
      case 'get':
      case 'exists':
      case 'children':
        return new protocol.GetDataRequest(request.path, request.watch)
      case 'sync':
        return new protocol.GetACLRequest(request.path)
      case 'setWatches': {
        const { data, exist, children } = request
        return new protocol.SetWatches(zxidBytes(request.zxid), data, exist, children)
      }
      case 'multi': {
        const operations = request.operations.map((each) => this.#operation(each))
        return numberedAnew(new TransactionRequest(operations), request.operations)
      }
      case 'ping':
      case 'closeSession':
        break
    }
    return null
  }

  #operation(operation: ZooKeeperOperation): object {
    if (operation.type !== 'create') return { ...operation, type: codes[operation.type] }
    const { path, data, flags } = operation
    return { type: plainCreate, path, data, acls: this.#acl.OPEN_ACL_UNSAFE, mode: flags }
  }

  #results(body: Buffer): ZooKeeperMultiResult[] {
    const results: ZooKeeperMultiResult[] = []
    for (let at = 0; ;) {
      const header = new this.#jute.protocol.MultiHeader()
      at += header.deserialize(body, at)
      if (header['done'] === true) return results
      const { result, bytes } = this.#result(Number(header['type']), body, at)
      results.push(result)
      at += bytes
    }
  }

  #result(code: number, body: Buffer, at: number): { result: ZooKeeperMultiResult; bytes: number } {
    switch (code) {
      case codes.create:
        return this.#created(body, at)
      case codes.set: {
        const { stat } = this.#read('ExistsResponse', body, at)
        return { result: { type: 'set', stat: statOf(stat) }, bytes: statBytes }
      }
      case codes.delete:
        return { result: { type: 'delete' }, bytes: 0 }
      case codes.check:
        return { result: { type: 'check' }, bytes: 0 }
      case multiError: {
        const error = Number(this.#read('ErrorResponse', body, at)['err'])
        return { result: { type: 'error', error }, bytes: 4 }
      }
      default:
        throw new QuireError('QUIRE_BAD_FRAME', `a multi was answered with operation ${code}`)
    }
  }

  /** A path and a stat: on the wire the same as data and a stat. */
  #created(
    body: Buffer,
    at: number,
  ): { result: Extract<ZooKeeperResult, { type: 'create' }>; bytes: number } {
    const { data, stat } = this.#read('GetDataResponse', body, at)
    const path = dataOf(data)
    const bytes = 4 + path.length + statBytes
    return { result: { type: 'create', path: path.toString('utf8'), stat: statOf(stat) }, bytes }
  }

  #read(name: RecordName, body: Buffer, at: number): JuteRecord {
    const record = new this.#jute.protocol[name]()
    record.deserialize(body, at)
    return record
  }
}

const events: Readonly<Record<number, ZooKeeperEvent['type']>> = {
  1: 'created',
  2: 'deleted',
  3: 'changed',
  4: 'children',
}

/** Six longs and five ints. */
const statBytes = 68

/** The operations of a multi follow each other as header and record. */
function numberedAnew(
  transaction: JuteRecord,
  operations: readonly ZooKeeperOperation[],
): JuteRecord {
  const { records } = transaction
  if (!Array.isArray(records)) throw new QuireError('QUIRE_INVARIANT', 'a multi has records')
  for (const [index, { type }] of operations.entries()) {
    if (type === 'create') records[2 * index].type = codes.create
  }
  return transaction
}

export function zxidBytes(zxid: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(zxid)
  return bytes
}

/** Java's clients may store no data at all, which is read as empty. */
function dataOf(value: unknown): Buffer {
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0)
}

function namesOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function statOf(value: unknown): ZooKeeperStat {
  const stat = value as Record<string, unknown>
  const long = (name: string): bigint => dataOf(stat[name]).readBigInt64BE()
  return {
    czxid: long('czxid'),
    mzxid: long('mzxid'),
    pzxid: long('pzxid'),
    ctimeMs: long('ctime'),
    mtimeMs: long('mtime'),
    version: Number(stat['version']),
    cversion: Number(stat['cversion']),
    aversion: Number(stat['aversion']),
    ephemeralOwner: BigInt.asUintN(64, long('ephemeralOwner')),
    dataLength: Number(stat['dataLength']),
    childCount: Number(stat['numChildren']),
  }
}
