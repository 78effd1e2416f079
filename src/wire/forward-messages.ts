// What a replica that does not own its log says to the one that does, over the owner's port.
// docs/format/forward-protocol.md draws it.
//
// The asker opens a channel for a log and an epoch of it, and sends records over it; the owner
// appends them in that order and says where they are. A channel belongs to one epoch of one owner:
// what an owner of another epoch gets of it is refused.

import { QuireError } from '../errors.ts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { beginSealed, openSealed, seal } from './sealed-frames.ts'

/** The first four bytes of the first packet, in both directions. */
export const forwardMagic = 'QRX1'

/** High byte: major, refused when another. Low byte: minor, fields added at the end. */
export const forwardVersion = 0x0100

export const forwardLimits = {
  /** A frame with its length field: as much as a bookie's. */
  frameBytes: 5_242_880,
  /** Nobody has shown who he is yet. */
  helloBytes: 1_024,
  /** Of a frame, beside the record in it. */
  overheadBytes: 64,
  /** Open channels of one connection. */
  channels: 256,
  /** Records of one channel that have no answer; the owner ends one that sends twice as many. */
  records: 1_024,
  /** Bytes of them, beyond which the asker sends no more. */
  bytes: 4_194_304,
} as const

export interface ForwardHello {
  readonly version: number
  readonly instanceId: string
  /** Of the asker's process, `ID/INCARNATION`: never that of another one. */
  readonly from: string
  /** The owner that is meant, as the log's record names it. */
  readonly to: string
}

export const forwardStatuses = {
  ok: 0,
  /** The other does not speak this major version. */
  version: 1,
  /** It belongs to another cluster. */
  cluster: 2,
  /** It is another node. */
  node: 3,
  /** It is a later life of that node: the one that is meant is gone for good. */
  incarnation: 4,
  /** It takes no more. */
  busy: 5,
} as const

export type ForwardStatus = keyof typeof forwardStatuses

export interface ForwardWelcome {
  readonly version: number
  /** One that this version does not know is `busy`. */
  readonly status: ForwardStatus
}

export const refusals = {
  /** This process does not own the log under that epoch, and is not about to. */
  notOwner: 1,
  /** It is about to own it: ask again. */
  acquiring: 2,
} as const

export type Refusal = keyof typeof refusals

export const rejections = {
  /** It does not fit into an entry of the log. */
  tooLarge: 1,
  /** It is no record of a replica, or none that an asker may send. */
  unfit: 2,
} as const

export type Rejection = keyof typeof rejections

export type ForwardRequest =
  | {
      readonly type: 'open'
      readonly channel: number
      readonly log: string
      readonly epoch: number
    }
  /** `number`: from 1 on each channel, by one. */
  | {
      readonly type: 'append'
      readonly channel: number
      readonly number: number
      readonly record: Buffer
    }
  | { readonly type: 'close'; readonly channel: number }
  | { readonly type: 'ping'; readonly number: number }

export type ForwardAnswer =
  /** All that the owner has appended lies before `position`. */
  | { readonly type: 'opened'; readonly channel: number; readonly position: number }
  /** In answer to `open`, or the end of a channel: what has no answer yet is unknown. */
  | { readonly type: 'refused'; readonly channel: number; readonly reason: Refusal }
  /** Durable, at that position; and so is all of the log up to that entry. */
  | {
      readonly type: 'appended'
      readonly channel: number
      readonly number: number
      readonly position: number
      readonly ledgerId: bigint
      readonly entryId: number
    }
  /** Not appended, for good. The channel goes on. */
  | {
      readonly type: 'rejected'
      readonly channel: number
      readonly number: number
      readonly reason: Rejection
    }
  | { readonly type: 'pong'; readonly number: number }

const nameBytesMax = 512

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed forward message: ${what}`)

const nameOf = <Names extends string>(
  numbers: Readonly<Record<Names, number>>,
  number: number,
): Names | undefined => (Object.keys(numbers) as Names[]).find((name) => numbers[name] === number)

export function encodeForwardHello({ version, instanceId, from, to }: ForwardHello): Buffer {
  return seal(beginSealed(forwardMagic).u16(version).utf8(instanceId).utf8(from).utf8(to))
}

/** Of another major version nothing but the number is read. */
export function decodeForwardHello(payload: Uint8Array): ForwardHello {
  const fields = openSealed(payload, forwardMagic)
  const version = fields.u16()
  if (version >> 8 !== forwardVersion >> 8) return { version, instanceId: '', from: '', to: '' }
  return {
    version,
    instanceId: fields.utf8(nameBytesMax),
    from: fields.utf8(nameBytesMax),
    to: fields.utf8(nameBytesMax),
  }
}

export function encodeForwardWelcome({ version, status }: ForwardWelcome): Buffer {
  return seal(beginSealed(forwardMagic).u16(version).u16(forwardStatuses[status]))
}

export function decodeForwardWelcome(payload: Uint8Array): ForwardWelcome {
  const fields = openSealed(payload, forwardMagic)
  const version = fields.u16()
  return { version, status: nameOf(forwardStatuses, fields.u16()) ?? 'busy' }
}

const requestKinds = { open: 1, append: 2, close: 3, ping: 4 } as const
const answerKinds = { opened: 65, refused: 66, appended: 67, rejected: 68, pong: 69 } as const

export function encodeForwardRequest(request: ForwardRequest): Buffer {
  const recordBytes = request.type === 'append' ? request.record.length : 256
  const to = new ByteWriter(recordBytes + 32).u8(requestKinds[request.type])
  if (request.type === 'ping') return to.safeInteger(request.number).finish()
  to.u32(request.channel)
  if (request.type === 'open') to.utf8(request.log).safeInteger(request.epoch)
  else if (request.type === 'append') to.safeInteger(request.number).raw(request.record)
  return to.finish()
}

/** Undefined: of a kind that is not known, to be passed over. The record is a view. */
export function decodeForwardRequest(body: Uint8Array): ForwardRequest | undefined {
  const from = new ByteReader(body)
  const type = nameOf(requestKinds, from.u8())
  if (type === undefined) return undefined
  if (type === 'ping') return { type, number: countOf(from) }
  const channel = from.u32()
  if (type === 'close') return { type, channel }
  if (type === 'append') return { type, channel, number: countOf(from), record: from.rest() }
  return { type, channel, log: from.utf8(nameBytesMax), epoch: countOf(from) }
}

export function encodeForwardAnswer(answer: ForwardAnswer): Buffer {
  const to = new ByteWriter(32).u8(answerKinds[answer.type])
  if (answer.type === 'pong') return to.safeInteger(answer.number).finish()
  to.u32(answer.channel)
  if (answer.type === 'opened') to.safeInteger(answer.position)
  else if (answer.type === 'refused') to.u8(refusals[answer.reason])
  else if (answer.type === 'appended') {
    to.safeInteger(answer.number).safeInteger(answer.position)
    to.i64(answer.ledgerId).safeInteger(answer.entryId)
  } else to.safeInteger(answer.number).u8(rejections[answer.reason])
  return to.finish()
}

/** Undefined: of a kind that is not known, to be passed over. */
export function decodeForwardAnswer(body: Uint8Array): ForwardAnswer | undefined {
  const from = new ByteReader(body)
  const type = nameOf(answerKinds, from.u8())
  if (type === undefined) return undefined
  if (type === 'pong') return { type, number: countOf(from) }
  const channel = from.u32()
  if (type === 'opened') return { type, channel, position: countOf(from) }
  // A reason that this version does not know ends what it is about, like those that it does.
  if (type === 'refused') {
    return { type, channel, reason: nameOf(refusals, from.u8()) ?? 'acquiring' }
  }
  const number = countOf(from)
  if (type === 'appended') {
    const position = countOf(from)
    return { type, channel, number, position, ledgerId: from.i64(), entryId: from.safeInteger() }
  }
  return { type, channel, number, reason: nameOf(rejections, from.u8()) ?? 'unfit' }
}

function countOf(from: ByteReader): number {
  const count = from.safeInteger()
  if (count < 0) throw bad(`a count of ${count}`)
  return count
}
