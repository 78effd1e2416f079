// What a leader knows of one other member, and how far it goes in sending to it.
//
//  probe      one append at a time, until one is accepted
//  replicate  appends follow one another, within bounds by count and by bytes
//  snapshot   what it needs was cut: a snapshot is taken, then sent piece by piece
//  reverted   it lost what it had acknowledged: nothing is sent any more

import type { NodeId, SnapshotMeta } from './types.ts'

export type ProgressState = 'probe' | 'replicate' | 'snapshot' | 'reverted'

export interface SnapshotTransfer {
  /** Undefined while the driver takes it. */
  snapshot: SnapshotMeta | undefined
  /** Bytes that the follower has put aside. */
  offset: number
  /** Ticks since `offset` grew, and since the piece at `offset` was asked for. */
  stalledTicks: number
  askedTicks: number
}

export interface Progress {
  readonly id: NodeId
  state: ProgressState
  /** Everything up to here is on its disk, as the leader has it. */
  match: number
  /** The entry to send next, behind `match`. */
  next: number
  /** The commit index that the appends sent so far let it know. */
  sentCommit: number
  /** In state `probe`: an append is under way. */
  paused: boolean
  /** Ask, with an append without entries, whether those under way have arrived. */
  asksAgain: boolean
  /** Entries for it are being read by the driver. */
  reading: boolean
  /** Appends under way: last index and bytes of each, oldest first. */
  readonly inflight: { readonly lastIndex: number; readonly bytes: number }[]
  inflightBytes: number
  transfer: SnapshotTransfer | undefined
  /** The log is kept for it behind its snapshot until it has caught up (F3.56). */
  pinned: boolean

  /** Since its last answer of this term; `answered` once there was one (F3.13). */
  silentTicks: number
  answered: boolean
  /** The latest heartbeat it has answered. */
  ackedRound: number
  /** It answers this heartbeat with `checkedMatch` at least, or has lost data (F3.62). */
  checkedRound: number
  checkedMatch: number

  /** It has caught up once it reaches this, soon enough (F3.68). */
  roundTarget: number
  roundTicks: number
  caughtUp: boolean
}

export function createProgress(id: NodeId, lastIndex: number): Progress {
  return {
    id,
    state: 'probe',
    match: 0,
    next: lastIndex + 1,
    sentCommit: 0,
    paused: false,
    asksAgain: false,
    reading: false,
    inflight: [],
    inflightBytes: 0,
    transfer: undefined,
    pinned: false,
    silentTicks: 0,
    answered: false,
    ackedRound: 0,
    checkedRound: 0,
    checkedMatch: 0,
    roundTarget: lastIndex,
    roundTicks: 0,
    caughtUp: false,
  }
}

export const cloneProgress = (progress: Progress): Progress => ({
  ...progress,
  inflight: [...progress.inflight],
  transfer: progress.transfer && { ...progress.transfer },
})

function become(progress: Progress, state: ProgressState): void {
  progress.state = state
  progress.paused = false
  progress.asksAgain = false
  progress.reading = false
  progress.inflight.length = 0
  progress.inflightBytes = 0
  progress.transfer = undefined
}

/** It has answered: false if its answers do not count. */
export function heard(progress: Progress): boolean {
  if (progress.state === 'reverted') return false
  progress.silentTicks = 0
  progress.answered = true
  return true
}

/** Back to finding out what it has; `next` is a guess, never below what it acknowledged (F3.25). */
export function becomeProbe(progress: Progress, next: number): void {
  become(progress, 'probe')
  progress.next = Math.max(next, progress.match + 1)
}

export function becomeReplicate(progress: Progress): void {
  become(progress, 'replicate')
  progress.next = progress.match + 1
}

export function becomeSnapshot(progress: Progress): void {
  become(progress, 'snapshot')
  progress.pinned = true
  progress.transfer = { snapshot: undefined, offset: 0, stalledTicks: 0, askedTicks: 0 }
}

/** What it acknowledged counts for nothing any more. */
export function becomeReverted(progress: Progress): void {
  become(progress, 'reverted')
  progress.match = 0
  progress.next = 1
  progress.pinned = false
}

export const inflightFull = (
  { inflight, inflightBytes }: Progress,
  limits: { readonly inflightMessagesMax: number; readonly inflightBytesMax: number },
): boolean =>
  inflight.length >= limits.inflightMessagesMax || inflightBytes >= limits.inflightBytesMax

export function addInflight(
  progress: Progress,
  { lastIndex, bytes }: { lastIndex: number; bytes: number },
): void {
  progress.inflight.push({ lastIndex, bytes })
  progress.inflightBytes += bytes
}

/** Acknowledged up to `index`: true if that is news. */
export function acknowledge(progress: Progress, index: number): boolean {
  let freed = 0
  for (const { lastIndex, bytes } of progress.inflight) {
    if (lastIndex > index) break
    progress.inflightBytes -= bytes
    freed++
  }
  if (freed > 0) progress.inflight.splice(0, freed)
  if (index <= progress.match) return false
  progress.match = index
  progress.next = Math.max(progress.next, index + 1)
  return true
}

/**
 * A round of catching up begins with entries that it lacks, and ends when everything is there that
 * was when it began. It has caught up if the last round was short and this one is not too long.
 */
export function countRound(
  progress: Progress,
  { lastIndex, ticksMax }: { lastIndex: number; ticksMax: number },
): void {
  if (progress.match < progress.roundTarget) return
  progress.caughtUp = progress.roundTicks <= ticksMax
  progress.roundTarget = lastIndex
  progress.roundTicks = 0
}

export function tickProgress(
  progress: Progress,
  { lastIndex, ticksMax }: { lastIndex: number; ticksMax: number },
): void {
  progress.silentTicks++
  if (progress.match >= progress.roundTarget) progress.roundTarget = lastIndex
  if (progress.match < progress.roundTarget) progress.roundTicks++
  if (progress.roundTicks > ticksMax) progress.caughtUp = false
  if (progress.transfer) {
    progress.transfer.stalledTicks++
    progress.transfer.askedTicks++
  }
}
