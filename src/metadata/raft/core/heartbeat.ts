// Heartbeats are numbered: an answer to one confirms what was asked before it was sent (F3.37), and
// shows that the follower still has what it acknowledged before (F3.62).

import { sendNow } from './outbox.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'

export function broadcastHeartbeat(state: RaftState, effects: Effects): void {
  state.round++
  for (const progress of state.progress.values()) {
    if (progress.state === 'reverted') continue
    if (progress.ackedRound >= progress.checkedRound) {
      progress.checkedRound = state.round
      progress.checkedMatch = progress.match
    }
    sendNow(effects, {
      type: 'heartbeat',
      from: state.options.id,
      to: progress.id,
      term: state.term,
      // F3.28.
      commit: Math.min(progress.match, state.commit),
      round: state.round,
    })
  }
}
