// What two ends say to one another before anything else where there is a secret.
// docs/format/authentication.md draws it, with the reasons. The messages travel as frames of their
// own, or as the payloads of BookKeeper's AUTH.

import { QuireError } from '../errors.ts'
import { ByteReader, ByteWriter } from './bytes.ts'

/** The first four bytes of every message. */
export const authenticationMagic = 'QRA1'

/** High byte: major, refused when it is not one's own. Low byte: minor, fields added at the end. */
export const authenticationVersion = 0x0100

/** The name of the plugin in BookKeeper's AUTH. */
export const authenticationPlugin = 'quire-secret'

export const authenticationLimits = {
  /** A message: the longest is a refusal with its sentence. */
  messageBytes: 512,
  nonceBytes: 32,
  proofBytes: 32,
  textBytes: 480,
  /** For the whole exchange, as the side that waits for a client counts it. */
  withinMs: 10_000,
} as const

export const authenticationRefusals = {
  refused: 0,
  /** The other does not speak this major version. */
  version: 1,
  /** What was said was not made with the secret of this node. */
  secret: 2,
  /** This node has no secret, so it cannot show that it knows one. */
  noSecret: 3,
} as const

export type AuthenticationRefusal = keyof typeof authenticationRefusals

export type AuthenticationMessage =
  /** The client's first word, and the server's answer to it. */
  | { readonly type: 'hello' | 'challenge'; readonly version: number; readonly nonce: Buffer }
  /** The client's proof, and the server's, which tells that the client's was right. */
  | { readonly type: 'proof' | 'welcome'; readonly version: number; readonly proof: Buffer }
  | {
      readonly type: 'refusal'
      readonly version: number
      /** One that this version does not know is `refused`. */
      readonly reason: AuthenticationRefusal
      /** For people. */
      readonly text: string
    }

const kinds = { hello: 1, challenge: 2, proof: 3, welcome: 4, refusal: 5 } as const
type Kind = keyof typeof kinds

const kindOf = new Map<number, Kind>(
  Object.entries(kinds).map(([kind, number]) => [number, kind as Kind]),
)
const refusalOf = new Map<number, AuthenticationRefusal>(
  Object.entries(authenticationRefusals).map(([reason, number]) => [
    number,
    reason as AuthenticationRefusal,
  ]),
)

const bad = (what: string): QuireError =>
  new QuireError('QUIRE_BAD_FRAME', `malformed authentication: ${what}`)

function begin(kind: Kind): ByteWriter {
  const magic = Buffer.from(authenticationMagic, 'latin1')
  return new ByteWriter(64).raw(magic).u16(authenticationVersion).u8(kinds[kind])
}

export function encodeNonce(type: 'hello' | 'challenge', nonce: Uint8Array): Buffer {
  return begin(type).raw(nonce).finish()
}

export function encodeProof(type: 'proof' | 'welcome', proof: Uint8Array): Buffer {
  return begin(type).raw(proof).finish()
}

/** Of a text that is too long, the beginning. */
export function encodeRefusal(reason: AuthenticationRefusal, text: string): Buffer {
  const most = authenticationLimits.textBytes
  const short = Buffer.byteLength(text) <= most ? text : text.slice(0, most / 4)
  return begin('refusal').u8(authenticationRefusals[reason]).utf8(short).finish()
}

/**
 * QUIRE_BAD_FRAME for what is no message. Of another major version nothing is read but its number
 * and its kind, which is then `hello` or `refusal`.
 */
export function decodeAuthentication(message: Uint8Array): AuthenticationMessage {
  if (message.length > authenticationLimits.messageBytes) throw bad('too long')
  const from = new ByteReader(message)
  if (from.raw(authenticationMagic.length).toString('latin1') !== authenticationMagic) {
    throw bad('magic')
  }
  const version = from.u16()
  const type = kindOf.get(from.u8())
  if (type === undefined) throw bad('kind')
  const isForeign = version >> 8 !== authenticationVersion >> 8
  switch (type) {
    case 'hello':
    case 'challenge':
      if (isForeign && type === 'hello') return { type, version, nonce: Buffer.alloc(0) }
      if (isForeign) throw bad('version')
      return { type, version, nonce: Buffer.from(from.raw(authenticationLimits.nonceBytes)) }
    case 'proof':
    case 'welcome':
      if (isForeign) throw bad('version')
      return { type, version, proof: Buffer.from(from.raw(authenticationLimits.proofBytes)) }
    case 'refusal':
      break
  }
  if (isForeign) return { type, version, reason: 'version', text: '' }
  const reason = refusalOf.get(from.u8()) ?? 'refused'
  return { type, version, reason, text: from.utf8(authenticationLimits.textBytes) }
}

/** A message as a frame of its own: u32 length, message. */
export function frameOf(message: Uint8Array): Buffer {
  return new ByteWriter(message.length + 4).bytes(message).finish()
}
