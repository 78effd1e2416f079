// A leader's appends, and what it learns from the answers. Handlers only note what they learn;
// `sendAppends` sends at the end of a batch, so that what was proposed together travels together.

import { invariant } from '../../../invariant.ts'
import { entryBytes, firstInMemory, lastThatMayAgree, sliceEntries, termAt } from './log.ts'
import { sendNow } from './outbox.ts'
import {
  acknowledge,
  addInflight,
  becomeProbe,
  becomeReplicate,
  becomeReverted,
  countRound,
  inflightFull,
} from './progress.ts'
import type { Progress } from './progress.ts'
import { startTransfer } from './snapshot-send.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { AppendResponse, HeartbeatResponse } from './messages.ts'
import type { Entry } from './types.ts'

export function sendAppends(state: RaftState, effects: Effects): void {
  for (const progress of state.progress.values()) {
    if (progress.state === 'probe') probe(state, progress, effects)
    else if (progress.state === 'replicate') replicate(state, progress, effects)
  }
}

function probe(state: RaftState, progress: Progress, effects: Effects): void {
  if (progress.paused || progress.reading) return
  const entries = entriesFor(state, progress, effects)
  if (!entries) return
  sendAppend(state, progress, { entries, effects })
  progress.paused = true
}

function replicate(state: RaftState, progress: Progress, effects: Effects): void {
  const { options, log } = state
  let sent = false
  if (termAt(log, progress.next - 1) === undefined) {
    startTransfer(progress, effects)
    return
  }
  while (progress.next <= log.lastIndex && !inflightFull(progress, options) && !progress.reading) {
    const entries = entriesFor(state, progress, effects)
    if (!entries) return
    sendPipelined(state, progress, { entries, effects })
    sent = true
  }
  const isNews = progress.sentCommit < Math.min(state.commit, progress.next - 1)
  if (!sent && (progress.asksAgain || isNews)) {
    sendAppend(state, progress, { entries: [], effects })
  }
  progress.asksAgain = false
}

function sendPipelined(
  state: RaftState,
  progress: Progress,
  { entries, effects }: { entries: readonly Entry[]; effects: Effects },
): void {
  sendAppend(state, progress, { entries, effects })
  progress.next += entries.length
  const bytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0)
  addInflight(progress, { lastIndex: progress.next - 1, bytes })
}

/** Those to send next, if they are in memory; else they are asked for, or a snapshot is. */
function entriesFor(state: RaftState, progress: Progress, effects: Effects): Entry[] | undefined {
  const { log, options } = state
  const { next, id } = progress
  if (termAt(log, next - 1) === undefined) {
    startTransfer(progress, effects)
    return undefined
  }
  const limits = { to: log.lastIndex, bytesMax: options.appendBytesMax }
  if (next > log.lastIndex) return []
  if (next >= firstInMemory(log)) return sliceEntries(log, next, limits)
  progress.reading = true
  effects.entryReads.push({ reader: id, from: next, ...limits })
  return undefined
}

function sendAppend(
  state: RaftState,
  progress: Progress,
  { entries, effects }: { entries: readonly Entry[]; effects: Effects },
): void {
  const prevIndex = progress.next - 1
  const prevTerm = termAt(state.log, prevIndex)
  invariant(prevTerm !== undefined, 'an append goes on behind an entry of the log', { prevIndex })
  progress.sentCommit = Math.min(state.commit, prevIndex + entries.length)
  sendNow(effects, {
    type: 'append',
    from: state.options.id,
    to: progress.id,
    term: state.term,
    prevIndex,
    prevTerm,
    entries,
    commit: state.commit,
  })
}

/** Entries that were not in memory. What has changed since they were asked for is asked anew. */
export function onEntriesRead(
  state: RaftState,
  progress: Progress,
  { entries, effects }: { entries: readonly Entry[]; effects: Effects },
): void {
  const { log } = state
  const isProbe = progress.state === 'probe'
  if (!progress.reading || (!isProbe && progress.state !== 'replicate')) return
  const isCurrent = entries.every(
    ({ index, term }, i) => index === progress.next + i && termAt(log, index) === term,
  )
  progress.reading = false
  if (!isCurrent || entries.length === 0 || termAt(log, progress.next - 1) === undefined) return
  if (!isProbe) {
    sendPipelined(state, progress, { entries, effects })
  } else if (!progress.paused) {
    sendAppend(state, progress, { entries, effects })
    progress.paused = true
  }
}

export function onAppendResponse(
  state: RaftState,
  progress: Progress,
  response: AppendResponse,
): void {
  if (response.rejected) onRejection(state, progress, response)
  else onAcknowledged(state, progress, response.index)
}

function onRejection(state: RaftState, progress: Progress, response: AppendResponse): void {
  const { index, hintIndex, hintTerm } = response
  const { log } = state
  // F3.25: what it acknowledged since is not taken back by an answer that was late.
  if (index <= progress.match) return
  if (progress.state === 'replicate') {
    becomeProbe(progress, progress.match + 1)
  } else if (progress.state === 'probe' && progress.next - 1 === index) {
    const agree = lastThatMayAgree(log, {
      index: Math.min(hintIndex, index - 1),
      term: hintTerm,
    })
    becomeProbe(progress, agree + 1)
  }
}

/** The follower has everything up to `index`. */
export function onAcknowledged(state: RaftState, progress: Progress, index: number): void {
  const { log, options } = state
  invariant(index <= log.lastIndex, 'nobody has more of a term than its leader', {
    index,
    last: log.lastIndex,
    from: progress.id,
  })
  const isNews = acknowledge(progress, index)
  countRound(progress, { lastIndex: log.lastIndex, ticksMax: options.electionTicks })
  if (progress.match >= state.commit) progress.pinned = false
  if (progress.state === 'probe' && index >= progress.match) becomeReplicate(progress)
  else if (progress.state === 'probe' && isNews) progress.paused = false
}

export function onHeartbeatResponse(
  progress: Progress,
  { response, effects }: { response: HeartbeatResponse; effects: Effects },
): void {
  const { round, lastIndex } = response
  if (round >= progress.checkedRound && lastIndex < progress.checkedMatch) {
    if (progress.transfer) effects.snapshotsReleased.push(progress.id)
    becomeReverted(progress)
    effects.reverted.push(progress.id)
    return
  }
  progress.ackedRound = Math.max(progress.ackedRound, round)
  // F3.26: the append that is waited for may be lost. The follower says what it has.
  progress.paused = false
  if (progress.match < progress.next - 1) progress.asksAgain = true
}
