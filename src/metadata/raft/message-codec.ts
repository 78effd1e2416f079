// The bytes of messages between cores: docs/format/peer-protocol.md. Sender and receiver are those
// of the connection, and not in the bytes. A decoder throws QUIRE_BAD_FRAME and nothing else, makes
// nothing larger than the body, copies what outlives it, and ignores bytes behind the last field.

import { QuireError } from '../../errors.ts'
import { ByteReader, ByteWriter } from '../../wire/bytes.ts'
import { decodeConfiguration, encodeConfiguration } from './core/configuration-codec.ts'
import type { Message, SnapshotChunk } from './core/messages.ts'
import type { Entry, EntryType, NodeId, SnapshotMeta } from './core/types.ts'

const kinds: Record<Message['type'], number> = {
  vote: 1,
  'vote-response': 2,
  append: 3,
  'append-response': 4,
  heartbeat: 5,
  'heartbeat-response': 6,
  'timeout-now': 7,
  read: 8,
  'read-response': 9,
  snapshot: 10,
  'snapshot-response': 11,
  retired: 12,
}

/** Also what an entry's kind is in the store. */
export const entryKinds: Record<EntryType, number> = { normal: 0, config: 1, empty: 2 }

const statuses = { more: 0, installed: 1, failed: 2 } as const

const idBytesMax = 128
/** Index, term, kind and a length: what an entry takes at least. */
const entryBytesMin = 21

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed peer message: ${what}`)

/** The type of an entry's kind. One of a newer release: stop, never skip (F3.79). */
export function entryTypeOf(kind: number): EntryType {
  for (const type of ['normal', 'config', 'empty'] as const) {
    if (entryKinds[type] === kind) return type
  }
  throw new QuireError(
    'QUIRE_UNSUPPORTED',
    `an entry of kind ${kind} is in the metadata's log, which this release does not know: ` +
      'start the newer release',
    { facts: { kind } },
  )
}

export function encodeMessage(message: Message): Buffer {
  const to = new ByteWriter(64).u8(kinds[message.type]).safeInteger(message.term)
  switch (message.type) {
    case 'vote':
      to.u8(flag(message.preVote)).u8(flag(message.transfer)).safeInteger(message.round)
      to.safeInteger(message.lastIndex).safeInteger(message.lastTerm)
      break
    case 'vote-response':
      to.u8(flag(message.preVote)).u8(flag(message.granted)).safeInteger(message.round)
      break
    case 'append':
      to.safeInteger(message.prevIndex).safeInteger(message.prevTerm).safeInteger(message.commit)
      putEntries(to, message.entries)
      break
    case 'append-response':
      to.u8(flag(message.rejected)).safeInteger(message.index)
      to.safeInteger(message.hintIndex).safeInteger(message.hintTerm)
      break
    case 'heartbeat':
      to.safeInteger(message.commit).safeInteger(message.round)
      break
    case 'heartbeat-response':
      to.safeInteger(message.round).safeInteger(message.lastIndex)
      break
    case 'timeout-now':
      to.safeInteger(message.lastIndex).safeInteger(message.round)
      break
    case 'read':
      to.safeInteger(message.runId).safeInteger(message.readId)
      break
    case 'read-response':
      to.safeInteger(message.runId).safeInteger(message.readId)
      to.u8(flag(message.ok)).safeInteger(message.index)
      break
    case 'snapshot':
      putChunk(to, message)
      break
    case 'snapshot-response':
      to.utf8(message.id).u8(statuses[message.status])
      to.safeInteger(message.offset).safeInteger(message.index)
      break
    case 'retired':
      break
  }
  return to.finish()
}

/** Undefined for a kind of a newer minor version. */
export function decodeMessage(
  body: Uint8Array,
  ends: { from: NodeId; to: NodeId },
): Message | undefined {
  const from = new ByteReader(body)
  const kind = from.u8()
  const common = { ...ends, term: natural(from) }
  switch (kind) {
    case kinds.vote: {
      const flags = { preVote: bool(from), transfer: bool(from) }
      const places = { round: natural(from), lastIndex: natural(from), lastTerm: natural(from) }
      return { ...common, type: 'vote', ...flags, ...places }
    }
    case kinds['vote-response']:
      return {
        ...common,
        type: 'vote-response',
        preVote: bool(from),
        granted: bool(from),
        round: natural(from),
      }
    case kinds.append: {
      const previous = { prevIndex: natural(from), prevTerm: natural(from), commit: natural(from) }
      return { ...common, type: 'append', ...previous, entries: takeEntries(from) }
    }
    case kinds['append-response']: {
      const found = { rejected: bool(from), index: natural(from) }
      const hint = { hintIndex: natural(from), hintTerm: natural(from) }
      return { ...common, type: 'append-response', ...found, ...hint }
    }
    default:
      return decodeLater(kind, from, common)
  }
}

function decodeLater(
  kind: number,
  from: ByteReader,
  common: { from: NodeId; to: NodeId; term: number },
): Message | undefined {
  switch (kind) {
    case kinds.heartbeat:
      return { ...common, type: 'heartbeat', commit: natural(from), round: natural(from) }
    case kinds['heartbeat-response']: {
      const round = natural(from)
      return { ...common, type: 'heartbeat-response', round, lastIndex: natural(from) }
    }
    case kinds['timeout-now']: {
      const lastIndex = natural(from)
      return { ...common, type: 'timeout-now', lastIndex, round: natural(from) }
    }
    case kinds.read:
      return { ...common, type: 'read', runId: natural(from), readId: natural(from) }
    case kinds['read-response']: {
      const ids = { runId: natural(from), readId: natural(from) }
      return { ...common, type: 'read-response', ...ids, ok: bool(from), index: natural(from) }
    }
    case kinds.snapshot:
      return { ...common, type: 'snapshot', ...takeChunk(from) }
    case kinds['snapshot-response']: {
      const head = { id: from.utf8(idBytesMax), status: takeStatus(from) }
      const places = { offset: natural(from), index: natural(from) }
      return { ...common, type: 'snapshot-response', ...head, ...places }
    }
    case kinds.retired:
      return { ...common, type: 'retired' }
    default:
      return undefined
  }
}

const flag = (value: boolean): number => (value ? 1 : 0)

function bool(from: ByteReader): boolean {
  const value = from.u8()
  if (value > 1) throw bad(`${value} is no flag`)
  return value === 1
}

function natural(from: ByteReader): number {
  const value = from.safeInteger()
  if (value < 0) throw bad('a negative number')
  return value
}

function putEntries(to: ByteWriter, entries: readonly Entry[]): void {
  to.u32(entries.length)
  for (const { index, term, type, bytes } of entries) {
    to.safeInteger(index).safeInteger(term).u8(entryKinds[type]).bytes(bytes)
  }
}

function takeEntries(from: ByteReader): Entry[] {
  const count = from.u32()
  if (count * entryBytesMin > from.remaining) throw bad('more entries than the body has room for')
  return Array.from({ length: count }, () => ({
    index: natural(from),
    term: natural(from),
    type: entryTypeOf(from.u8()),
    bytes: Buffer.from(from.bytes()),
  }))
}

function putChunk(to: ByteWriter, { snapshot, offset, bytes, last }: SnapshotChunk): void {
  const { id, index, term, configuration, sizeBytes } = snapshot
  to.utf8(id).safeInteger(index).safeInteger(term).safeInteger(sizeBytes)
  to.safeInteger(configuration.index).bytes(encodeConfiguration(configuration.configuration))
  to.safeInteger(offset).u8(flag(last)).bytes(bytes)
}

function takeChunk(
  from: ByteReader,
): Pick<SnapshotChunk, 'snapshot' | 'offset' | 'bytes' | 'last'> {
  const head = { id: from.utf8(idBytesMax), index: natural(from), term: natural(from) }
  const sizeBytes = natural(from)
  const at = natural(from)
  const configuration = { index: at, configuration: decodeConfiguration(from.bytes()) }
  const snapshot: SnapshotMeta = { ...head, sizeBytes, configuration }
  const place = { offset: natural(from), last: bool(from) }
  return { snapshot, ...place, bytes: Buffer.from(from.bytes()) }
}

function takeStatus(from: ByteReader): keyof typeof statuses {
  const value = from.u8()
  for (const status of ['more', 'installed', 'failed'] as const) {
    if (statuses[status] === value) return status
  }
  throw bad(`${value} is no status of a snapshot`)
}
