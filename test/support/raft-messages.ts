// Messages as another node might send them, for a test to inject.

import type {
  AppendRequest,
  AppendResponse,
  Heartbeat,
  Message,
  VoteRequest,
  VoteResponse,
} from '../../src/metadata/raft/core/messages.ts'
import type { Entry, NodeId } from '../../src/metadata/raft/core/types.ts'

export const entry = (index: number, term: number, text: string = `${index}.${term}`): Entry => ({
  index,
  term,
  type: 'normal',
  bytes: Buffer.from(text),
})

/** Who says it, to whom, in which term. */
type Head = readonly [from: NodeId, to: NodeId, term: number]

const head = ([from, to, term]: Head): { from: NodeId; to: NodeId; term: number } => ({
  from,
  to,
  term,
})

export const vote = (of: Head, more: Partial<VoteRequest> = {}): VoteRequest => ({
  type: 'vote',
  ...head(of),
  preVote: false,
  round: 1,
  lastIndex: 0,
  lastTerm: 0,
  transfer: false,
  ...more,
})

export const voteResponse = (of: Head, more: Partial<VoteResponse> = {}): VoteResponse => ({
  type: 'vote-response',
  ...head(of),
  preVote: false,
  round: 1,
  granted: false,
  ...more,
})

export const append = (of: Head, more: Partial<AppendRequest> = {}): AppendRequest => ({
  type: 'append',
  ...head(of),
  prevIndex: 0,
  prevTerm: 0,
  entries: [],
  commit: 0,
  ...more,
})

export const appendResponse = (of: Head, more: Partial<AppendResponse> = {}): AppendResponse => ({
  type: 'append-response',
  ...head(of),
  rejected: false,
  index: 0,
  hintIndex: 0,
  hintTerm: 0,
  ...more,
})

export const heartbeat = (of: Head, more: Partial<Heartbeat> = {}): Heartbeat => ({
  type: 'heartbeat',
  ...head(of),
  commit: 0,
  round: 1,
  ...more,
})

/** The messages of one type, as that type. */
export const ofType = <T extends Message['type']>(
  messages: readonly Message[],
  type: T,
): Extract<Message, { type: T }>[] =>
  messages.filter((message): message is Extract<Message, { type: T }> => message.type === type)

/** To `take` all messages of these types off the wire. */
export const types =
  (...wanted: Message['type'][]): ((message: Message) => boolean) =>
  ({ type }) =>
    wanted.includes(type)
