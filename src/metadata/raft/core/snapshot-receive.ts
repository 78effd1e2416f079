// A follower takes a snapshot in: pieces are put aside one behind the other; when all are there the
// driver checks and installs them, and only then is the log reset. Meanwhile heartbeats and votes
// are answered as ever (F3.59).

import { invariant } from '../../../invariant.ts'
import { hearLeader } from './follower.ts'
import { holds, resetLog } from './log.ts'
import { sendAfterPersist } from './outbox.ts'
import { advanceCommit } from './own-log.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { SnapshotChunk, SnapshotResponse } from './messages.ts'
import type { NodeId, SnapshotMeta } from './types.ts'

export function onSnapshotChunk(state: RaftState, chunk: SnapshotChunk, effects: Effects): void {
  const { from, snapshot, offset, bytes } = chunk
  hearLeader(state, from, effects)
  // What is being installed is answered when it is done.
  if (state.installing) return
  if (isNotNeeded(state, snapshot)) {
    if (state.receiving?.snapshot.id === snapshot.id) state.receiving = undefined
    respond(state, from, { id: snapshot.id, status: 'installed', index: state.commit }, effects)
    return
  }
  if (state.receiving?.snapshot.id !== snapshot.id) state.receiving = { snapshot, offset: 0 }
  const { receiving } = state
  const end = offset + bytes.length
  const isGood = end <= snapshot.sizeBytes && (bytes.length > 0 || end === snapshot.sizeBytes)
  if (offset === receiving.offset && isGood) {
    receiving.offset = end
    effects.chunksToWrite.push({ snapshot, offset, bytes })
    if (end === snapshot.sizeBytes) {
      state.receiving = undefined
      state.installing = snapshot
      effects.snapshotToInstall = snapshot
      return
    }
  }
  const answer = { id: snapshot.id, status: 'more', offset: receiving.offset } as const
  respond(state, from, answer, effects)
}

/** F3.53, F3.54: what the state contains, or the log leads to, is not taken from a snapshot. */
function isNotNeeded(state: RaftState, { index, term }: SnapshotMeta): boolean {
  if (index > state.commit && holds(state.log, index, term)) advanceCommit(state, index)
  return index <= state.commit
}

function respond(
  state: RaftState,
  to: NodeId,
  answer: Pick<SnapshotResponse, 'id' | 'status'> & { offset?: number; index?: number },
  effects: Effects,
): void {
  const { id, status, offset = 0, index = 0 } = answer
  const { term, options } = state
  sendAfterPersist(effects, {
    type: 'snapshot-response',
    from: options.id,
    to,
    term,
    id,
    status,
    offset,
    index,
  })
}

/** The driver is done with what it was told to install. */
export function onSnapshotDone(
  state: RaftState,
  { id, installed }: { id: string; installed: boolean },
  effects: Effects,
): void {
  const snapshot = state.installing
  invariant(snapshot?.id === id, 'a snapshot is done that was to be installed', { id })
  state.installing = undefined
  if (installed) adopt(state, snapshot, effects)
  if (state.leader === undefined) return
  const status = installed ? 'installed' : 'failed'
  respond(state, state.leader, { id, status, index: state.commit }, effects)
}

/** F3.54, F3.55: the log is empty and goes on behind the snapshot. */
function adopt(state: RaftState, snapshot: SnapshotMeta, effects: Effects): void {
  const { index, configuration } = snapshot
  invariant(index > state.commit, 'a snapshot is newer than the state it replaces', {
    index,
    commit: state.commit,
  })
  resetLog(state.log, snapshot)
  for (const write of state.storage.pending) write.lastIndex = 0
  state.commit = index
  state.handedOut = index
  state.applied = index
  state.applying.length = 0
  state.applyingBytes = 0
  state.readingCommitted = false
  state.configurations.length = 0
  state.configurations.push(configuration)
  // Committed by this node's leadership before, contained in the snapshot: their result is not.
  for (const { ctx } of state.proposals) effects.unknown.push(ctx)
  state.proposals.length = 0
}
