// Linearizable reads without a log entry (read index). The leader notes its commit index once it
// knows everything committed, and confirms with a heartbeat begun after the read came that it still
// leads. There are no lease reads: no clock is trusted (F3.41).

import { majorityIndex } from './configuration.ts'
import { broadcastHeartbeat } from './heartbeat.ts'
import { sendNow } from './outbox.ts'
import { configurationOf, isReady } from './state.ts'
import type { PendingRead, RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { ReadRequest, ReadResponse } from './messages.ts'

export function onReadIndex(state: RaftState, ctx: number, effects: Effects): void {
  const { options, leader, role } = state
  if (role === 'leader') {
    const read = { from: options.id, runId: options.runId, readId: ctx }
    if (!enqueue(state, read)) refuse(state, ctx, effects)
  } else if (leader === undefined) {
    effects.readsFailed.push(ctx)
  } else if (state.forwarded.length >= options.readsMax) {
    refuse(state, ctx, effects)
  } else {
    const readId = ++state.readId
    state.forwarded.push({ readId, ctx, ticks: state.ticks })
    sendNow(effects, {
      type: 'read',
      from: options.id,
      to: leader,
      term: state.term,
      runId: options.runId,
      readId,
    })
  }
}

const refuse = (state: RaftState, ctx: number, effects: Effects): void => {
  effects.refused.push({ ctx, reason: 'overloaded', leader: state.leader })
}

function enqueue(state: RaftState, read: Pick<PendingRead, 'from' | 'runId' | 'readId'>): boolean {
  if (state.reads.length >= state.options.readsMax) return false
  state.reads.push({ ...read, ticks: state.ticks, round: 0, index: 0 })
  return true
}

/** A follower's read. Only a leader answers; whom it reaches otherwise has lost leadership. */
export function onReadRequest(state: RaftState, request: ReadRequest, effects: Effects): void {
  if (state.role === 'leader' && enqueue(state, request)) return
  answer(state, request, { ok: false, index: 0, effects })
}

function answer(
  state: RaftState,
  { from, runId, readId }: Pick<PendingRead, 'from' | 'runId' | 'readId'>,
  { ok, index, effects }: { ok: boolean; index: number; effects: Effects },
): void {
  const { id } = state.options
  if (from !== id) {
    const { term } = state
    const type = 'read-response'
    sendNow(effects, { type, from: id, to: from, term, runId, readId, ok, index })
  } else if (ok) effects.readStates.push({ ctx: readId, index })
  else effects.readsFailed.push(readId)
}

export function onReadResponse(state: RaftState, response: ReadResponse, effects: Effects): void {
  if (response.runId !== state.options.runId || response.from !== state.leader) return
  const at = state.forwarded.findIndex(({ readId }) => readId === response.readId)
  const [read] = at < 0 ? [] : state.forwarded.splice(at, 1)
  if (!read) return
  if (response.ok) effects.readStates.push({ ctx: read.ctx, index: response.index })
  else effects.readsFailed.push(read.ctx)
}

/** At the end of a batch: a heartbeat for the reads that came, answers for those confirmed. */
export function serveReads(state: RaftState, effects: Effects): void {
  const { reads, commit } = state
  // F3.36: a leader that is not ready does not know what is committed. They wait.
  if (!isReady(state) || reads.length === 0) return
  if (reads.at(-1)?.round === 0) {
    broadcastHeartbeat(state, effects)
    for (const read of reads) {
      if (read.round !== 0) continue
      read.round = state.round
      read.index = commit
    }
  }
  const confirmed = confirmedRound(state)
  const served = reads.findIndex(({ round }) => round > confirmed)
  for (const read of reads.splice(0, served < 0 ? reads.length : served)) {
    answer(state, read, { ok: true, index: read.index, effects })
  }
}

/** F3.37: the latest heartbeat that a majority of the voters has answered. */
const confirmedRound = (state: RaftState): number =>
  majorityIndex(configurationOf(state), (id) =>
    id === state.options.id ? state.round : (state.progress.get(id)?.ackedRound ?? 0),
  )

/** F3.36: what is not confirmed in time fails, so that whoever asked may ask again. */
export function expireReads(state: RaftState, effects: Effects): void {
  const oldest = state.ticks - state.options.readTicks
  while ((state.reads[0]?.ticks ?? oldest) < oldest) {
    const read = state.reads.shift()
    if (read) answer(state, read, { ok: false, index: 0, effects })
  }
  while ((state.forwarded[0]?.ticks ?? oldest) < oldest) {
    const read = state.forwarded.shift()
    if (read) effects.readsFailed.push(read.ctx)
  }
}
