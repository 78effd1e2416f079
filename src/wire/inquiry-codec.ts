// Inquiries: what nodes ask of one another, and operators of a node, before anything else: who it
// is and where it stands; and what operators ask of the node that leads. One question on a
// connection, one answer. docs/format/peer-protocol.md draws them.

import { QuireError } from '../errors.ts'
import type { ByteReader, ByteWriter } from './bytes.ts'
import { beginSealed, openSealed, seal } from './sealed-frames.ts'

/** The first four bytes of the question and of the answer. */
export const inquiryMagic = 'QRI1'

/** High byte: major, refused when another. Low byte: minor, fields added at the end. */
export const inquiryVersion = 0x0100

export const inquiryLimits = {
  /** A question with its length field. */
  questionBytes: 1_024,
  /** An answer with its length field. */
  answerBytes: 65_536,
  /** Members that an answer names. */
  members: 100,
  /** Changes that one question asks for. */
  changes: 10,
} as const

/** Where a member of a group is; `host` is empty when the node that answers does not know. */
export interface MemberAddress {
  readonly id: string
  readonly host: string
  readonly port: number
}

/** What a node says of itself. */
export interface Introduction {
  /** Of whoever has no data yet: made once, before it was told to anybody. */
  readonly id: string
  /** Empty: the node belongs to no cluster yet. */
  readonly clusterId: string
  /** Names the list of addresses that the node was given. */
  readonly token: string
  /** Who founded the cluster. */
  readonly founders: readonly string[]
  /** Who belongs to it now. */
  readonly members: readonly MemberAddress[]
  /** JSON for people and programs: what `quire status` shows. */
  readonly status: string
  /** Clusters that this one was rescued from, and that are no more. */
  readonly formerly: readonly string[]
}

/** A change of one member, and where that is: an empty host is not known. */
export interface AskedChange extends MemberAddress {
  readonly kind: 'learner' | 'voter' | 'remove'
}

export type Question =
  | { readonly type: 'who' }
  /** All of them at once. */
  | { readonly type: 'change'; readonly changes: readonly AskedChange[] }
  /** That this member leads. */
  | { readonly type: 'transfer'; readonly target: string }

/**
 * What became of a change: `unknown` may have happened, or may happen yet. `reason` is a word of a
 * refusal; `leader` is whom to ask, when that is another.
 */
export interface Reply {
  readonly outcome: 'done' | 'refused' | 'unknown'
  readonly reason: string
  readonly leader: MemberAddress
}

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed inquiry: ${what}`)

const questions = { who: 1, change: 2, transfer: 3 } as const
const changeKinds = ['learner', 'voter', 'remove'] as const
const outcomes = ['done', 'refused', 'unknown'] as const

/** As a frame. */
export function encodeQuestion(question: Question): Buffer {
  const to = beginSealed(inquiryMagic).u16(inquiryVersion).u8(questions[question.type])
  if (question.type === 'transfer') to.utf8(question.target)
  if (question.type === 'change') {
    to.u32(question.changes.length)
    for (const change of question.changes) {
      putMember(to.u8(changeKinds.indexOf(change.kind)), change)
    }
  }
  return seal(to)
}

/**
 * QUIRE_BAD_FRAME when it is none; QUIRE_UNSUPPORTED for another major version, or a question that
 * is not known.
 */
export function decodeQuestion(payload: Uint8Array): Question {
  const from = openSealed(payload, inquiryMagic)
  checkVersion(from.u16())
  const kind = from.u8()
  switch (kind) {
    case questions.who:
      return { type: 'who' }
    case questions.change:
      return { type: 'change', changes: many(from, inquiryLimits.changes, takeChange) }
    case questions.transfer:
      return { type: 'transfer', target: from.utf8() }
  }
  throw new QuireError('QUIRE_UNSUPPORTED', `question ${kind} is not known to this node`)
}

export function encodeIntroduction(said: Introduction): Buffer {
  const to = beginSealed(inquiryMagic).u16(inquiryVersion)
  to.utf8(said.id).utf8(said.clusterId).utf8(said.token)
  putTexts(to, said.founders)
  to.u32(said.members.length)
  for (const member of said.members) putMember(to, member)
  putTexts(to.utf8(said.status), said.formerly)
  return seal(to)
}

/** Fails as `decodeQuestion` does. */
export function decodeIntroduction(payload: Uint8Array): Introduction {
  const from = openSealed(payload, inquiryMagic)
  checkVersion(from.u16())
  const names = { id: from.utf8(), clusterId: from.utf8(), token: from.utf8() }
  const founders = many(from, inquiryLimits.members, takeText)
  const members = many(from, inquiryLimits.members, takeMember)
  const status = from.utf8()
  const formerly = many(from, inquiryLimits.members, takeText)
  return { ...names, founders, members, status, formerly }
}

export function encodeReply({ outcome, reason, leader }: Reply): Buffer {
  const to = beginSealed(inquiryMagic).u16(inquiryVersion).u8(outcomes.indexOf(outcome))
  return seal(putMember(to.utf8(reason), leader))
}

/** Fails as `decodeQuestion` does. */
export function decodeReply(payload: Uint8Array): Reply {
  const from = openSealed(payload, inquiryMagic)
  checkVersion(from.u16())
  const outcome = outcomes[from.u8()]
  if (outcome === undefined) throw bad('an outcome that is none')
  return { outcome, reason: from.utf8(), leader: takeMember(from) }
}

function putMember(to: ByteWriter, { id, host, port }: MemberAddress): ByteWriter {
  return to.utf8(id).utf8(host).u16(port)
}

function takeMember(from: ByteReader): MemberAddress {
  return { id: from.utf8(), host: from.utf8(), port: from.u16() }
}

function takeChange(from: ByteReader): AskedChange {
  const kind = changeKinds[from.u8()]
  if (kind === undefined) throw bad('a change of an unknown kind')
  return { kind, ...takeMember(from) }
}

function putTexts(to: ByteWriter, texts: readonly string[]): void {
  to.u32(texts.length)
  for (const text of texts) to.utf8(text)
}

const takeText = (from: ByteReader): string => from.utf8()

function many<T>(from: ByteReader, most: number, take: (from: ByteReader) => T): T[] {
  const count = from.u32()
  if (count > most) throw bad(`${count} of what there are ${most} of at most`)
  return Array.from({ length: count }, () => take(from))
}

function checkVersion(version: number): void {
  if (version >> 8 === inquiryVersion >> 8) return
  throw new QuireError('QUIRE_UNSUPPORTED', `version ${version >> 8} of inquiries is not spoken`)
}
