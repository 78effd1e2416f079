// What the passing of time brings: campaigns, heartbeats, and the end of what stands still.

import { isMajority } from './configuration.ts'
import { campaign, canCampaign } from './election.ts'
import { broadcastHeartbeat } from './heartbeat.ts'
import { tickProgress } from './progress.ts'
import { expireReads } from './reads.ts'
import { becomeFollower } from './roles.ts'
import { tickTransfer } from './snapshot-send.ts'
import { configurationOf } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'

export function onTick(state: RaftState, jitter: number, effects: Effects): void {
  state.ticks++
  if (state.storage.pending.length > 0) state.storage.stalledTicks++
  expireReads(state, effects)
  if (state.role === 'leader') tickLeader(state, effects)
  else tickOther(state, jitter, effects)
}

function tickOther(state: RaftState, jitter: number, effects: Effects): void {
  const { electionTicks } = state.options
  state.electionTicks++
  // F3.5: drawn anew after each campaign and each sign of life.
  if (state.timeoutTicks === 0) state.timeoutTicks = electionTicks + (jitter % electionTicks)
  if (state.electionTicks < state.timeoutTicks) return
  if (canCampaign(state)) campaign(state, { transfer: false }, effects)
  else if (state.role === 'follower' && state.leader !== undefined) {
    // Nobody to follow any more; reads are not passed on into the void.
    becomeFollower(state, { term: state.term, leader: undefined }, effects)
  }
}

function tickLeader(state: RaftState, effects: Effects): void {
  const { options, storage } = state
  for (const progress of state.progress.values()) {
    tickProgress(progress, { lastIndex: state.log.lastIndex, ticksMax: options.electionTicks })
    tickTransfer(state, progress, effects)
  }
  // F3.45: a leader that cannot write is none, however well it hears and speaks.
  if (storage.stalledTicks > options.storageStallTicks || !hearsMajority(state)) {
    resign(state, effects)
    return
  }
  if (state.transferee !== undefined && ++state.transferTicks >= options.electionTicks) {
    // A request that is still under way is void once this heartbeat has arrived (F3.71).
    state.transferee = undefined
    state.heartbeatTicks = options.heartbeatTicks
  }
  if (++state.heartbeatTicks < options.heartbeatTicks) return
  state.heartbeatTicks = 0
  broadcastHeartbeat(state, effects)
}

/** F3.13: a majority of the voters has answered within an election timeout. */
const hearsMajority = (state: RaftState): boolean =>
  isMajority(configurationOf(state), (id) => {
    if (id === state.options.id) return true
    const progress = state.progress.get(id)
    if (!progress || progress.state === 'reverted') return false
    return progress.silentTicks < state.options.electionTicks
  })

/** Leads no more, in the same term: others are free to elect. */
export function resign(state: RaftState, effects: Effects): void {
  if (state.role !== 'leader') return
  becomeFollower(state, { term: state.term, leader: undefined }, effects)
}
