// Inquiries: what nodes ask of one another, and operators of a node, before anything else: who it
// is and where it stands. One question on a connection, one answer. docs/format/peer-protocol.md
// draws both.

import { QuireError } from '../errors.ts'
import type { ByteReader } from './bytes.ts'
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
}

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed inquiry: ${what}`)

const kinds = { who: 1 } as const

/** Who is there? As a frame. */
export function encodeInquiry(): Buffer {
  return seal(beginSealed(inquiryMagic).u16(inquiryVersion).u8(kinds.who))
}

/**
 * QUIRE_BAD_FRAME when it is none; QUIRE_UNSUPPORTED for another major version, or a question that
 * is not known.
 */
export function decodeInquiry(payload: Uint8Array): void {
  const from = openSealed(payload, inquiryMagic)
  checkVersion(from.u16())
  const kind = from.u8()
  if (kind === kinds.who) return
  throw new QuireError('QUIRE_UNSUPPORTED', `question ${kind} is not known to this node`)
}

export function encodeIntroduction(said: Introduction): Buffer {
  const to = beginSealed(inquiryMagic).u16(inquiryVersion)
  to.utf8(said.id).utf8(said.clusterId).utf8(said.token)
  to.u32(said.founders.length)
  for (const founder of said.founders) to.utf8(founder)
  to.u32(said.members.length)
  for (const { id, host, port } of said.members) to.utf8(id).utf8(host).u16(port)
  return seal(to.utf8(said.status))
}

/** Fails as `decodeInquiry` does. */
export function decodeIntroduction(payload: Uint8Array): Introduction {
  const from = openSealed(payload, inquiryMagic)
  checkVersion(from.u16())
  const names = { id: from.utf8(), clusterId: from.utf8(), token: from.utf8() }
  const founders = many(from, () => from.utf8())
  const members = many(from, () => ({ id: from.utf8(), host: from.utf8(), port: from.u16() }))
  return { ...names, founders, members, status: from.utf8() }
}

function many<T>(from: ByteReader, read: () => T): T[] {
  const count = from.u32()
  if (count > inquiryLimits.members) throw bad(`${count} members`)
  return Array.from({ length: count }, read)
}

function checkVersion(version: number): void {
  if (version >> 8 === inquiryVersion >> 8) return
  throw new QuireError('QUIRE_UNSUPPORTED', `version ${version >> 8} of inquiries is not spoken`)
}
