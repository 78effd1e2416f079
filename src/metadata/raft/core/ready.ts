// The end of a batch: what is to be sent, written and applied, all of it at once.

import { invariant } from '../../../invariant.ts'
import { commitWhatMayBe, stepDownIfRemoved } from './commit.ts'
import { entryBytes, entryAt, evict, firstInMemory, sliceEntries } from './log.ts'
import { askTransferee } from './proposals.ts'
import { serveReads } from './reads.ts'
import { sendAppends } from './replication.ts'
import { inForce, isReady, isRetired } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects, SoftState } from './effects.ts'
import type { Entry } from './types.ts'

/**
 * Completes the effects of the inputs before it. To be called once for each batch, before the
 * effects are acted on.
 */
export function finish(state: RaftState, effects: Effects): void {
  if (state.role === 'leader') {
    commitWhatMayBe(state, effects)
    serveReads(state, effects)
    sendAppends(state, effects)
    askTransferee(state, effects)
    stepDownIfRemoved(state, effects)
  }
  collectWrites(state, effects)
  handOut(state, effects)
  const upTo = Math.min(state.log.durable, state.commit)
  evict(state.log, { upTo, bytesMax: state.options.windowBytesMax })
  tellChanges(state, effects)
}

function collectWrites(state: RaftState, effects: Effects): void {
  const { log, storage, term, vote } = state
  const hasEntries = log.handed < log.lastIndex || log.truncateFrom !== undefined
  const hasVote = term !== storage.writtenTerm || vote !== storage.writtenVote
  if (hasEntries || hasVote || effects.chunksToWrite.length > 0) {
    effects.token = ++storage.token
    effects.truncateFrom = log.truncateFrom
    if (log.handed < log.lastIndex) {
      const limits = { to: log.lastIndex, bytesMax: Number.MAX_SAFE_INTEGER }
      effects.entriesToAppend.push(...sliceEntries(log, log.handed + 1, limits))
    }
    if (hasEntries || hasVote) effects.hardState = { term, vote, commit: state.commit }
    log.handed = log.lastIndex
    log.truncateFrom = undefined
    storage.writtenTerm = term
    storage.writtenVote = vote
    storage.pending.push({ token: effects.token, lastIndex: log.lastIndex, term, vote })
  }
  effects.afterToken = storage.pending.at(-1)?.token ?? 0
}

/** Hands out what is committed and durable, as much as may wait to be applied. */
function handOut(state: RaftState, effects: Effects): void {
  if (state.installing || state.readingCommitted) return
  const { log, options } = state
  const to = Math.min(state.commit, log.durable)
  while (state.handedOut < to && hasRoom(state)) {
    const entry = entryAt(log, state.handedOut + 1)
    if (!entry) break
    handOutEntry(state, entry, effects)
  }
  const from = state.handedOut + 1
  if (from > to || from >= firstInMemory(log) || !hasRoom(state)) return
  state.readingCommitted = true
  const bytesMax = options.applyBytesMax - state.applyingBytes
  effects.entryReads.push({ reader: options.id, from, to, bytesMax })
}

const hasRoom = (state: RaftState): boolean =>
  state.applying.length === 0 || state.applyingBytes < state.options.applyBytesMax

export function handOutEntry(state: RaftState, entry: Entry, effects: Effects): void {
  const bytes = entryBytes(entry)
  state.handedOut = entry.index
  state.applying.push({ index: entry.index, bytes })
  state.applyingBytes += bytes
  effects.committed.push({ entry, ctx: takeProposal(state, entry) })
}

/** F3.33: only the very entry that was proposed answers whoever proposed it. */
function takeProposal(state: RaftState, { index, term }: Entry): number | undefined {
  const first = state.proposals[0]
  invariant(!first || first.index >= index, 'proposals are answered in order', { index })
  if (!first || first.index !== index || first.term !== term) return undefined
  state.proposals.shift()
  return first.ctx
}

function tellChanges(state: RaftState, effects: Effects): void {
  const { told } = state
  const soft: SoftState = {
    role: state.role,
    term: state.term,
    leader: state.leader,
    ready: isReady(state),
    transferee: state.transferee,
    retired: state.retired || isRetired(state, state.options.id),
  }
  const isSame =
    told.role === soft.role &&
    told.term === soft.term &&
    told.leader === soft.leader &&
    told.ready === soft.ready &&
    told.transferee === soft.transferee &&
    told.retired === soft.retired
  if (!isSame) {
    state.told = soft
    effects.softState = soft
  }
  const configuration = inForce(state)
  if (configuration !== state.toldConfiguration) {
    state.toldConfiguration = configuration
    effects.configuration = configuration
  }
}
