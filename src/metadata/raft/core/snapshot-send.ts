// A leader's transfer of a snapshot to one follower, a piece at a time: the follower says where to
// go on, so that what is lost is sent again, and either side may restart.

import { sendNow } from './outbox.ts'
import { becomeProbe, becomeSnapshot } from './progress.ts'
import type { Progress } from './progress.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { SnapshotResponse } from './messages.ts'
import type { NodeId, SnapshotMeta } from './types.ts'

export function startTransfer(progress: Progress, effects: Effects): void {
  becomeSnapshot(progress)
  effects.snapshotsWanted.push(progress.id)
}

/** F3.58: whatever went wrong, the follower is asked again what it has. */
export function endTransfer(progress: Progress, effects: Effects): void {
  if (!progress.transfer) return
  effects.snapshotsReleased.push(progress.id)
  becomeProbe(progress, progress.next)
}

/** Gives up; tried again when the follower answers the next heartbeat. */
function abortTransfer(progress: Progress, effects: Effects): void {
  endTransfer(progress, effects)
  progress.pinned = false
  progress.paused = true
}

export function onSnapshotTaken(
  state: RaftState,
  { to, snapshot }: { to: NodeId; snapshot: SnapshotMeta | undefined },
  effects: Effects,
): void {
  const progress = state.progress.get(to)
  const { transfer } = progress ?? {}
  if (!progress || !transfer) {
    // Given up meanwhile.
    if (snapshot) effects.snapshotsReleased.push(to)
    return
  }
  if (transfer.snapshot) return
  // F3.56: behind it the log must go on.
  if (!snapshot || snapshot.index < state.log.cutIndex) {
    abortTransfer(progress, effects)
    return
  }
  transfer.snapshot = snapshot
  transfer.stalledTicks = 0
  askForChunk(state, progress, effects)
}

function askForChunk(state: RaftState, progress: Progress, effects: Effects): void {
  const { transfer, id } = progress
  if (!transfer?.snapshot) return
  transfer.askedTicks = 0
  effects.chunkReads.push({
    to: id,
    id: transfer.snapshot.id,
    offset: transfer.offset,
    bytesMax: state.options.chunkBytesMax,
  })
}

export function onChunkRead(
  state: RaftState,
  progress: Progress,
  chunk: { id: string; offset: number; bytes: Uint8Array | undefined; effects: Effects },
): void {
  const { transfer } = progress
  const { bytes, effects, offset } = chunk
  const snapshot = transfer?.snapshot
  if (!transfer || !snapshot || snapshot.id !== chunk.id || transfer.offset !== offset) return
  const last = bytes !== undefined && offset + bytes.length === snapshot.sizeBytes
  if (!bytes || (bytes.length === 0 && !last)) {
    abortTransfer(progress, effects)
    return
  }
  sendNow(effects, {
    type: 'snapshot',
    from: state.options.id,
    to: progress.id,
    term: state.term,
    snapshot,
    offset,
    bytes,
    last,
  })
}

/** `installed` was noted by the caller: it holds for every snapshot, also one given up since. */
export function onTransferResponse(
  state: RaftState,
  progress: Progress,
  { response, effects }: { response: SnapshotResponse; effects: Effects },
): void {
  const { transfer } = progress
  const { status, offset } = response
  if (transfer?.snapshot?.id !== response.id) return
  if (status === 'installed') endTransfer(progress, effects)
  else if (status === 'failed') abortTransfer(progress, effects)
  else if (offset !== transfer.offset && offset <= transfer.snapshot.sizeBytes) {
    if (offset > transfer.offset) transfer.stalledTicks = 0
    transfer.offset = offset
    askForChunk(state, progress, effects)
  }
}

/** A piece or its answer may be lost: it is sent again after two heartbeats. */
export function tickTransfer(state: RaftState, progress: Progress, effects: Effects): void {
  const { transfer } = progress
  const { snapshotStallTicks, heartbeatTicks } = state.options
  if (!transfer) return
  if (transfer.stalledTicks > snapshotStallTicks) abortTransfer(progress, effects)
  else if (transfer.askedTicks >= 2 * heartbeatTicks) askForChunk(state, progress, effects)
}
