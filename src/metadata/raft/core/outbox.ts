// Where messages are put. What promises something about this node's memory (a vote, an entry, a
// term) waits until that is durable; what does not may leave at once.

import type { Effects } from './effects.ts'
import type { Message } from './messages.ts'
import type { RaftState } from './state.ts'

/** For what promises nothing: a leader's words, questions, and a campaign that binds nobody. */
export function sendNow(effects: Effects, message: Message): void {
  effects.messagesNow.push(message)
}

/** Leaves when everything that this node has decided so far is durable (F3.1, F3.2, F3.21). */
export function sendAfterPersist(effects: Effects, message: Message): void {
  effects.messagesAfterPersist.push(message)
}

/** True if term and vote are durable as they are now. */
export const isHardStateDurable = ({ term, vote, storage }: RaftState): boolean =>
  storage.durableTerm === term && storage.durableVote === vote
