// The Raft core: `step` takes one input, `finish` ends a batch of them. It does nothing itself; it
// changes its state and says in the effects what is to be done (F2). A broken invariant ends the
// node.

import { invariant } from '../../../invariant.ts'
import { campaign, canCampaign, countOwnVote } from './election.ts'
import { isDisruptive, onVoteRequest, onVoteResponse } from './election.ts'
import { onAppend, onHeartbeat, tellTerm } from './follower.ts'
import { cutLog, termAt } from './log.ts'
import { sendAfterPersist } from './outbox.ts'
import { onChange, onPropose, onTransfer } from './proposals.ts'
import { onReadIndex, onReadRequest, onReadResponse } from './reads.ts'
import { handOutEntry } from './ready.ts'
import { heard } from './progress.ts'
import type { Progress } from './progress.ts'
import { onAcknowledged, onAppendResponse } from './replication.ts'
import { onEntriesRead, onHeartbeatResponse } from './replication.ts'
import { becomeFollower } from './roles.ts'
import { onSnapshotChunk, onSnapshotDone } from './snapshot-receive.ts'
import { onChunkRead, onSnapshotTaken, onTransferResponse } from './snapshot-send.ts'
import { onTick, resign } from './tick.ts'
import { isRetired } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { Input } from './inputs.ts'
import type {
  AppendResponse,
  HeartbeatResponse,
  Message,
  SnapshotResponse,
  TimeoutNow,
} from './messages.ts'
import type { Entry, NodeId } from './types.ts'

type LeaderResponse = AppendResponse | HeartbeatResponse | SnapshotResponse

/** Terms above are not taken over: no group comes there, only a damaged message (F3.18). */
const termMax = 2 ** 48

export function step(state: RaftState, input: Input, effects: Effects): void {
  switch (input.type) {
    case 'tick':
      onTick(state, input.jitter, effects)
      break
    case 'message':
      onMessage(state, input.message, effects)
      break
    case 'propose':
      onPropose(state, input, effects)
      break
    case 'read-index':
      onReadIndex(state, input.ctx, effects)
      break
    case 'change':
      onChange(state, input, effects)
      break
    case 'transfer':
      onTransfer(state, input, effects)
      break
    case 'storage-done':
    case 'storage-state':
    case 'apply-done':
    case 'entries-read':
    case 'log-cut':
    case 'snapshot-taken':
    case 'chunk-read':
    case 'snapshot-done':
      stepDriver(state, input, effects)
      break
  }
}

type DriverInput = Exclude<
  Input,
  { type: 'tick' | 'message' | 'propose' | 'read-index' | 'change' | 'transfer' }
>

/** Answers of the driver to what it was asked for. */
function stepDriver(state: RaftState, input: DriverInput, effects: Effects): void {
  switch (input.type) {
    case 'storage-done':
      onStorageDone(state, input.token, effects)
      break
    case 'storage-state':
      state.storage.writable = input.writable
      if (!input.writable) resign(state, effects)
      break
    case 'apply-done':
      onApplyDone(state, input.index)
      break
    case 'entries-read':
      onRead(state, input, effects)
      break
    case 'log-cut':
      onLogCut(state, input.index)
      break
    case 'snapshot-taken':
      onSnapshotTaken(state, input, effects)
      break
    case 'chunk-read':
      withProgress(state, input.to, (progress) => {
        onChunkRead(state, progress, { ...input, effects })
      })
      break
    case 'snapshot-done':
      onSnapshotDone(state, input, effects)
      break
  }
}

function withProgress(state: RaftState, id: NodeId, act: (progress: Progress) => void): void {
  const progress = state.role === 'leader' ? state.progress.get(id) : undefined
  if (progress) act(progress)
}

/** F2.2: a completion counts for what is still in the log of what was written. */
function onStorageDone(state: RaftState, token: number, effects: Effects): void {
  const { storage, log } = state
  invariant(token <= storage.token, 'a batch is done that was given', { token })
  const done = storage.pending.findLast((write) => write.token <= token)
  if (!done) return
  storage.pending.splice(0, storage.pending.indexOf(done) + 1)
  storage.stalledTicks = 0
  log.durable = Math.max(log.durable, done.lastIndex)
  storage.durableTerm = done.term
  storage.durableVote = done.vote
  countOwnVote(state, effects)
}

function onApplyDone(state: RaftState, index: number): void {
  invariant(index <= state.handedOut, 'what is applied was handed out', { index })
  const left = state.applying.findIndex((each) => each.index > index)
  const done = state.applying.splice(0, left < 0 ? state.applying.length : left)
  for (const { bytes } of done) state.applyingBytes -= bytes
  state.applied = Math.max(state.applied, index)
}

function onRead(
  state: RaftState,
  { reader, from, entries }: { reader: NodeId; from: number; entries: readonly Entry[] },
  effects: Effects,
): void {
  if (reader !== state.options.id) {
    withProgress(state, reader, (progress) => onEntriesRead(state, progress, { entries, effects }))
    return
  }
  // What was asked for before a snapshot was installed is not wanted any more.
  if (!state.readingCommitted || from !== state.handedOut + 1) return
  state.readingCommitted = false
  // Behind a snapshot that takes their place they would undo it; if it fails they are read again.
  if (state.installing) return
  invariant(entries.length > 0, 'what is committed and not applied is in the store', { from })
  const { log } = state
  for (const entry of entries) {
    if (entry.index > Math.min(state.commit, log.durable)) break
    invariant(
      entry.index === state.handedOut + 1 && termAt(log, entry.index) === entry.term,
      'the store holds the entries that it was given',
      { index: entry.index, expected: state.handedOut + 1, term: entry.term },
    )
    handOutEntry(state, entry, effects)
  }
}

function onLogCut(state: RaftState, index: number): void {
  // A snapshot that was installed meanwhile has cut more.
  if (index <= state.log.cutIndex) return
  invariant(index <= state.applied, 'only what the state contains is cut', { index })
  cutLog(state.log, index)
  const kept = state.configurations.findLastIndex((each) => each.index <= index)
  state.configurations.splice(0, Math.max(kept, 0))
}

function onMessage(state: RaftState, message: Message, effects: Effects): void {
  const { options } = state
  const { from, to, term } = message
  // F3.44: a node that lost data says nothing, for nothing it says would be true.
  if (to !== options.id || from === options.id || !options.whole) return
  if (!Number.isSafeInteger(term) || term < 0 || term > termMax) return
  if (message.type === 'retired') {
    retire(state, effects)
  } else if (message.type === 'vote' && isRetired(state, from)) {
    // F3.12: one that was removed and does not know it.
    sendAfterPersist(effects, { type: 'retired', from: to, to: from, term: state.term })
  } else if (takesOver(state, message, effects)) {
    dispatch(state, message, effects)
  }
}

function retire(state: RaftState, effects: Effects): void {
  state.retired = true
  if (state.role === 'follower') return
  becomeFollower(state, { term: state.term, leader: undefined }, effects)
}

/** Compares terms; false if that is all there is to do. */
function takesOver(state: RaftState, message: Message, effects: Effects): boolean {
  const { type, term, from } = message
  const isPreVote = type === 'vote' && message.preVote
  if (term < state.term) {
    if (type === 'append' || type === 'heartbeat' || type === 'snapshot') {
      tellTerm(state, from, effects)
    }
    return isPreVote
  }
  if (term === state.term || isPreVote) return true
  if (type === 'vote' && isDisruptive(state, message)) return false
  // F3.7: a grant speaks of a term that nobody has begun.
  if (type === 'vote-response' && message.preVote && message.granted) return true
  becomeFollower(state, { term, leader: undefined }, effects)
  return true
}

function dispatch(state: RaftState, message: Message, effects: Effects): void {
  switch (message.type) {
    case 'vote':
      onVoteRequest(state, message, effects)
      break
    case 'vote-response':
      onVoteResponse(state, message, effects)
      break
    case 'append':
      onAppend(state, message, effects)
      break
    case 'heartbeat':
      onHeartbeat(state, message, effects)
      break
    case 'timeout-now':
      onTimeoutNow(state, message, effects)
      break
    case 'snapshot':
      onSnapshotChunk(state, message, effects)
      break
    case 'read':
      onReadRequest(state, message, effects)
      break
    case 'read-response':
      onReadResponse(state, message, effects)
      break
    case 'retired':
      break
    case 'append-response':
    case 'heartbeat-response':
    case 'snapshot-response':
      withProgress(state, message.from, (progress) => {
        onResponse(state, progress, { message, effects })
      })
      break
  }
}

function onResponse(
  state: RaftState,
  progress: Progress,
  { message, effects }: { message: LeaderResponse; effects: Effects },
): void {
  if (!heard(progress)) return
  if (message.type === 'append-response') {
    onAppendResponse(state, progress, message)
  } else if (message.type === 'heartbeat-response') {
    onHeartbeatResponse(progress, { response: message, effects })
  } else {
    if (message.status === 'installed') onAcknowledged(state, progress, message.index)
    onTransferResponse(state, progress, { response: message, effects })
  }
}

/** F3.71: only as its leader left it; a request that a later heartbeat overtook is void. */
function onTimeoutNow(state: RaftState, request: TimeoutNow, effects: Effects): void {
  const { from, lastIndex, round } = request
  if (state.role !== 'follower' || state.leader !== from || !canCampaign(state)) return
  if (lastIndex !== state.log.lastIndex || round < state.leaderRound) return
  campaign(state, { transfer: true }, effects)
}
