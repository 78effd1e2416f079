// Entries that come into this node's log, from its own leadership or from another's, and the
// configurations among them. A configuration is in force as soon as its entry is here (F3.65).

import { invariant } from '../../../invariant.ts'
import { decodeConfiguration } from './configuration-codec.ts'
import { membersOf } from './configuration.ts'
import { appendEntry, entryBytes, truncate } from './log.ts'
import { createProgress } from './progress.ts'
import { configurationOf, inForce } from './state.ts'
import type { RaftState } from './state.ts'
import type { Effects } from './effects.ts'
import type { Entry, EntryType } from './types.ts'

/** Appends an entry of any leader. */
export function appendAny(state: RaftState, entry: Entry): void {
  appendEntry(state.log, entry)
  if (entry.type === 'config') {
    const configuration = decodeConfiguration(entry.bytes)
    state.configurations.push({ index: entry.index, configuration })
    return
  }
  invariant(entry.type === 'normal' || entry.type === 'empty', 'the type of an entry is known', {
    type: entry.type,
  })
}

/** Appends an entry of this leader's own; resolves to its index. */
export function appendOwn(state: RaftState, type: EntryType, bytes: Uint8Array): number {
  invariant(state.role === 'leader', 'only a leader appends of its own')
  const entry: Entry = { index: state.log.lastIndex + 1, term: state.term, type, bytes }
  appendAny(state, entry)
  state.uncommitted.push(entryBytes(entry))
  state.uncommittedBytes += entryBytes(entry)
  return entry.index
}

/** Drops the entries from `from` on, and with them their configurations. */
export function truncateFrom(state: RaftState, from: number): void {
  // F3.24: a leader that wants this is wrong, or this log is.
  invariant(from > state.commit, 'what is committed is never truncated', {
    from,
    commit: state.commit,
  })
  truncate(state.log, from)
  // F2.2: a write that is still under way counts for what is left of it.
  for (const write of state.storage.pending) write.lastIndex = Math.min(write.lastIndex, from - 1)
  while (inForce(state).index >= from) state.configurations.pop()
}

/** What is committed up to `index` is known now. */
export function advanceCommit(state: RaftState, index: number): void {
  if (index <= state.commit) return
  invariant(index <= state.log.lastIndex, 'what is committed is in the log', {
    index,
    last: state.log.lastIndex,
  })
  if (state.role === 'leader') {
    for (const bytes of state.uncommitted.splice(0, index - state.commit)) {
      state.uncommittedBytes -= bytes
    }
  }
  state.commit = index
}

/** Makes the leader's list of others that of the configuration in force. */
export function followMembers(state: RaftState, effects: Effects): void {
  const members = new Set(membersOf(configurationOf(state)))
  for (const [id, { transfer }] of state.progress) {
    if (members.has(id)) continue
    if (transfer) effects.snapshotsReleased.push(id)
    state.progress.delete(id)
  }
  for (const id of members) {
    if (id === state.options.id || state.progress.has(id)) continue
    state.progress.set(id, createProgress(id, state.log.lastIndex))
  }
  if (state.transferee !== undefined && !members.has(state.transferee)) {
    state.transferee = undefined
  }
}
