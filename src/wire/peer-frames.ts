// The frames of the peer protocol: what nodes that replicate the metadata say to one another, each
// over a connection that it made itself. docs/format/peer-protocol.md draws them.
//
// The first frame says who speaks to whom, of which cluster and since which start. Its checksum
// seeds those of all later frames, so that a frame belongs to this conversation or is none.

import {
  beginSealed,
  conversationSeed,
  openFrame,
  openSealed,
  seal,
  sealFrame,
} from './sealed-frames.ts'

/** The first four bytes of the first packet, in both directions. */
export const peerMagic = 'QRP1'

/** High byte: major, refused when newer. Low byte: minor, fields added at the end. */
export const peerVersion = 0x0100

export const peerLimits = {
  /** A frame with its length field: the largest entry, and what goes with it. */
  frameBytes: 2_097_152,
  /** Nobody has shown who he is yet. */
  helloBytes: 1_024,
} as const

/** What the one who connects says of himself, and of whom he means. */
export interface PeerHello {
  readonly version: number
  readonly clusterId: string
  readonly from: string
  readonly to: string
  /** Counts the starts of `from`: a lower one is of a process that is gone. */
  readonly incarnation: number
  /** Where `from` is to be found; an empty host: it does not say. */
  readonly host: string
  readonly port: number
}

export const peerStatuses = {
  ok: 0,
  /** The other does not speak this major version. */
  version: 1,
  /** It belongs to another cluster. */
  cluster: 2,
  /** It is not the one that is meant. */
  node: 3,
  /** It has heard from a later start of this node. */
  incarnation: 4,
  /** Removed, or another node under this id: it will not be heard. */
  unwelcome: 5,
  /** The node has a secret, and the sender has not shown that it knows it. */
  unauthorized: 6,
} as const

export type PeerStatus = keyof typeof peerStatuses

export interface PeerWelcome {
  readonly version: number
  /** One that this version does not know is `unwelcome`. */
  readonly status: PeerStatus
  /** For people. */
  readonly message: string
}

const statusOf = new Map<number, PeerStatus>()
for (const status of Object.keys(peerStatuses) as PeerStatus[]) {
  statusOf.set(peerStatuses[status], status)
}

export function encodePeerHello(hello: PeerHello): Buffer {
  const { version, clusterId, from, to, incarnation, host, port } = hello
  const frame = beginSealed(peerMagic).u16(version).utf8(clusterId).utf8(from).utf8(to)
  return seal(frame.safeInteger(incarnation).utf8(host).u16(port))
}

/** Of another major version nothing but the number is read. */
export function decodePeerHello(payload: Uint8Array): PeerHello {
  const from = openSealed(payload, peerMagic)
  const version = from.u16()
  if (version >> 8 !== peerVersion >> 8) {
    return { version, clusterId: '', from: '', to: '', incarnation: 0, host: '', port: 0 }
  }
  const names = { clusterId: from.utf8(), from: from.utf8(), to: from.utf8() }
  const incarnation = from.safeInteger()
  return { version, ...names, incarnation, host: from.utf8(), port: from.u16() }
}

export function encodePeerWelcome({ version, status, message }: PeerWelcome): Buffer {
  return seal(beginSealed(peerMagic).u16(version).u16(peerStatuses[status]).utf8(message))
}

export function decodePeerWelcome(payload: Uint8Array): PeerWelcome {
  const from = openSealed(payload, peerMagic)
  const version = from.u16()
  return { version, status: statusOf.get(from.u16()) ?? 'unwelcome', message: from.utf8() }
}

export const peerSeed: (hello: Uint8Array) => number = conversationSeed
export const encodePeerFrame: (body: Uint8Array, seed: number) => Buffer = sealFrame
export const decodePeerFrame: (payload: Uint8Array, seed: number) => Buffer = openFrame
