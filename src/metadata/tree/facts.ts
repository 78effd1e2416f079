// The small values that a tree keeps beside its rows, in the same transactions:
// docs/format/tree.md.

import { QuireError } from '../../errors.ts'
import { ByteReader, ByteWriter } from '../../wire/bytes.ts'
import type { MultiResult, NodeStat } from '../contract.ts'
import type { TreeFailure, TreeResult } from './command.ts'

export const zxidFact = 'zxid'
export const sessionPrefix = 'session/'
export const resultPrefix = 'result/'

const formatVersion = 1

const hex = (sessionId: bigint): string => sessionId.toString(16).padStart(16, '0')

export const sessionFact = (sessionId: bigint): string => sessionPrefix + hex(sessionId)

/** Request ids have sixteen digits in a key, so that keys sort as they do. */
export const resultFact = (sessionId: bigint, requestId: number): string =>
  `${resultPrefix}${hex(sessionId)}/${String(requestId).padStart(16, '0')}`

export function resultFactKey(key: string): { sessionId: bigint; requestId: number } {
  const [id = '', request = ''] = key.slice(resultPrefix.length).split('/')
  return { sessionId: BigInt(`0x${id}`), requestId: Number(request) }
}

export const sessionOfFact = (key: string): bigint => BigInt(`0x${key.slice(sessionPrefix.length)}`)

export function encodeZxid(zxid: number): Uint8Array {
  return new ByteWriter(16).safeInteger(zxid).finish()
}

export function decodeZxid(bytes: Uint8Array): number {
  return new ByteReader(bytes).safeInteger()
}

export interface SessionFact {
  readonly timeoutMs: number
  readonly password: Uint8Array
}

export function encodeSession({ timeoutMs, password }: SessionFact): Uint8Array {
  return new ByteWriter(32).u8(formatVersion).u32(timeoutMs).bytes(password).finish()
}

export function decodeSession(bytes: Uint8Array): SessionFact {
  const reader = versioned(bytes)
  return { timeoutMs: reader.u32(), password: Buffer.from(reader.bytes()) }
}

export interface ResultFact {
  readonly answeredUpTo: number
  readonly result: TreeResult
}

export function encodeResult({ answeredUpTo, result }: ResultFact): Uint8Array {
  const writer = new ByteWriter(128).u8(formatVersion).safeInteger(answeredUpTo)
  if (!result.ok) {
    return writer.u8(0).utf8(result.code).utf8(result.path).u32(result.index).finish()
  }
  writer.u8(1).u32(result.results.length)
  for (const each of result.results) {
    writer.u8(types.indexOf(each.type))
    if (each.type === 'create') writer.utf8(each.path)
    if (each.type === 'create' || each.type === 'set') writeStat(writer, each.stat)
  }
  return writer.finish()
}

export function decodeResult(bytes: Uint8Array): ResultFact {
  const reader = versioned(bytes)
  const answeredUpTo = reader.safeInteger()
  if (reader.u8() === 0) {
    const code = knownFailure(reader.utf8())
    return { answeredUpTo, result: { ok: false, code, path: reader.utf8(), index: reader.u32() } }
  }
  const results = Array.from({ length: reader.u32() }, () => readOne(reader))
  return { answeredUpTo, result: { ok: true, results } }
}

const types = ['create', 'set', 'delete', 'check'] as const

const failures: readonly TreeFailure[] = [
  'QUIRE_NO_NODE',
  'QUIRE_NODE_EXISTS',
  'QUIRE_BAD_VERSION',
  'QUIRE_NOT_EMPTY',
  'QUIRE_NO_CHILDREN_FOR_EPHEMERALS',
  'QUIRE_BAD_PATH',
  'QUIRE_BAD_OPTION',
  'QUIRE_FRAME_TOO_LARGE',
  'QUIRE_SESSION_EXPIRED',
  'QUIRE_METADATA_UNAVAILABLE',
]

function knownFailure(text: string): TreeFailure {
  const code = failures.find((each) => each === text)
  if (code !== undefined) return code
  throw new QuireError('QUIRE_BAD_METADATA', `the tree's file holds an unknown result ${text}`)
}

function readOne(reader: ByteReader): MultiResult {
  const type = types[reader.u8()]
  switch (type) {
    case 'create':
      return { type, path: reader.utf8(), stat: readStat(reader) }
    case 'set':
      return { type, stat: readStat(reader) }
    case 'delete':
    case 'check':
      return { type }
    case undefined:
      break
  }
  throw new QuireError('QUIRE_BAD_METADATA', 'the tree holds the result of an unknown operation')
}

function versioned(bytes: Uint8Array): ByteReader {
  const reader = new ByteReader(bytes)
  const version = reader.u8()
  if (version === formatVersion) return reader
  throw new QuireError(
    'QUIRE_BAD_METADATA',
    `the tree's file holds a record of format ${version}, which this release does not know`,
  )
}

function writeStat(writer: ByteWriter, stat: NodeStat): void {
  writer.safeInteger(stat.czxid).safeInteger(stat.mzxid).safeInteger(stat.pzxid)
  writer.safeInteger(stat.ctimeMs).safeInteger(stat.mtimeMs)
  writer.i32(stat.version).i32(stat.cversion).i32(stat.aversion)
  writer.i64(stat.ephemeralOwner).u32(stat.dataLength).u32(stat.childCount)
}

function readStat(reader: ByteReader): NodeStat {
  return {
    czxid: reader.safeInteger(),
    mzxid: reader.safeInteger(),
    pzxid: reader.safeInteger(),
    ctimeMs: reader.safeInteger(),
    mtimeMs: reader.safeInteger(),
    version: reader.i32(),
    cversion: reader.i32(),
    aversion: reader.i32(),
    ephemeralOwner: reader.i64(),
    dataLength: reader.u32(),
    childCount: reader.u32(),
  }
}
