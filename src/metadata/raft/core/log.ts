// What the core keeps of the log: the terms of all of it, as runs, and the newest entries in
// memory. An entry leaves memory only when it is committed and durable; older ones are read back
// by the driver (`entryReads`). Everything behind `handed` has not been given to the driver yet.

import { invariant } from '../../../invariant.ts'
import type { Entry, StoredState, TermRun } from './types.ts'

export interface Log {
  /** The entry before the first: what was cut off, or what a snapshot contains. */
  cutIndex: number
  cutTerm: number
  lastIndex: number
  readonly terms: TermRun[]
  /** From `head` on: consecutive entries that end at `lastIndex`. */
  readonly entries: (Entry | undefined)[]
  head: number
  /** Bytes of the entries in memory. */
  bytes: number
  /** Last entry given to the driver for writing. */
  handed: number
  /** Last entry that is durable here. */
  durable: number
  /** Entries given to the driver from here on were truncated since. */
  truncateFrom: number | undefined
}

/** What an entry costs beside its bytes. */
export const entryOverheadBytes = 64

/** Bytes an entry counts for in every budget. */
export const entryBytes = (entry: Entry): number => entry.bytes.length + entryOverheadBytes

export function createLog(stored: StoredState): Log {
  const { cut, lastIndex, terms } = stored
  invariant(lastIndex >= cut.index, 'a log ends behind its cut', { lastIndex, cut: cut.index })
  invariant(
    lastIndex === cut.index ? terms.length === 0 : terms[0]?.firstIndex === cut.index + 1,
    'the terms of a log are those of its entries',
    { lastIndex, cut: cut.index },
  )
  return {
    cutIndex: cut.index,
    cutTerm: cut.term,
    lastIndex,
    terms: [...terms],
    entries: [],
    head: 0,
    bytes: 0,
    handed: lastIndex,
    durable: lastIndex,
    truncateFrom: undefined,
  }
}

export const cloneLog = (log: Log): Log => ({
  ...log,
  terms: [...log.terms],
  entries: log.entries.slice(log.head),
  head: 0,
})

/** Index of the first entry in memory; `lastIndex + 1` if there is none. */
export const firstInMemory = (log: Log): number =>
  log.lastIndex + 1 - (log.entries.length - log.head)

/** Term of the entry at `index`; undefined if it was cut off or is not there. */
export function termAt(log: Log, index: number): number | undefined {
  if (index === log.cutIndex) return log.cutTerm
  if (index < log.cutIndex || index > log.lastIndex) return undefined
  return log.terms[runAt(log, index)]?.term
}

/** The last run that begins at or before `index`. Searched from the end: new entries are asked. */
function runAt(log: Log, index: number): number {
  let at = log.terms.length - 1
  while (at > 0 && (log.terms[at]?.firstIndex ?? 0) > index) at--
  return at
}

export function lastTerm(log: Log): number {
  return log.terms.at(-1)?.term ?? log.cutTerm
}

/** True if the log holds this very entry, or was cut behind it. */
export const holds = (log: Log, index: number, term: number): boolean => termAt(log, index) === term

export function appendEntry(log: Log, entry: Entry): void {
  const before = lastTerm(log)
  invariant(entry.index === log.lastIndex + 1, 'a log has no gaps', {
    index: entry.index,
    last: log.lastIndex,
  })
  invariant(entry.term >= before, 'terms of a log never fall', { term: entry.term, before })
  // A run of its own also if the cut had the same term: runs are those of the entries.
  if (entry.term !== before || log.terms.length === 0) {
    log.terms.push({ firstIndex: entry.index, term: entry.term })
  }
  log.entries.push(entry)
  log.bytes += entryBytes(entry)
  log.lastIndex = entry.index
}

/** Drops the entries from `from` on. The caller has checked that none of them is committed. */
export function truncate(log: Log, from: number): void {
  invariant(from > log.cutIndex, 'what was cut is committed', { from, cut: log.cutIndex })
  if (from > log.lastIndex) return
  const inMemory = firstInMemory(log)
  for (let index = log.lastIndex; index >= Math.max(from, inMemory); index--) {
    const entry = log.entries.pop()
    if (entry) log.bytes -= entryBytes(entry)
  }
  while ((log.terms.at(-1)?.firstIndex ?? 0) >= from) log.terms.pop()
  log.lastIndex = from - 1
  if (log.handed >= from) {
    log.handed = from - 1
    log.truncateFrom = Math.min(log.truncateFrom ?? from, from)
  }
  // F2.2: what is being written of them must not count when its write is done.
  log.durable = Math.min(log.durable, from - 1)
}

export function entryAt(log: Log, index: number): Entry | undefined {
  const first = firstInMemory(log)
  return index < first ? undefined : log.entries[log.head + index - first]
}

/** Entries from `from` on, up to `to`, within `bytesMax` but one at least; all are in memory. */
export function sliceEntries(
  log: Log,
  from: number,
  limits: { readonly to: number; readonly bytesMax: number },
): Entry[] {
  const slice: Entry[] = []
  let bytes = 0
  for (let index = from; index <= limits.to; index++) {
    const entry = entryAt(log, index)
    invariant(entry !== undefined, 'entries of a slice are in memory', { index })
    bytes += entryBytes(entry)
    if (slice.length > 0 && bytes > limits.bytesMax) break
    slice.push(entry)
  }
  return slice
}

/**
 * The last entry at or before `index` whose term is at most `term`: behind it the log and one that
 * has `term` at `index` cannot agree (F3.27).
 */
export function lastThatMayAgree(
  log: Log,
  { index, term }: { index: number; term: number },
): number {
  let at = Math.min(index, log.lastIndex)
  for (let run = runAt(log, at); run >= 0 && at > log.cutIndex; run--) {
    const { firstIndex, term: runTerm } = log.terms[run] ?? { firstIndex: 0, term: 0 }
    if (runTerm <= term) return at
    at = Math.min(at, firstIndex - 1)
  }
  return at
}

/** Lets entries up to `upTo` leave memory while there are more bytes than `bytesMax`. */
export function evict(log: Log, { upTo, bytesMax }: { upTo: number; bytesMax: number }): void {
  let first = firstInMemory(log)
  while (log.bytes > bytesMax && first <= Math.min(upTo, log.handed)) {
    const entry = log.entries[log.head]
    if (entry) log.bytes -= entryBytes(entry)
    log.entries[log.head++] = undefined
    first++
  }
  if (log.head > 64 && log.head * 2 > log.entries.length) {
    log.entries.splice(0, log.head)
    log.head = 0
  }
}

/** The store has dropped everything up to `index`. */
export function cutLog(log: Log, index: number): void {
  const term = termAt(log, index)
  invariant(term !== undefined && index <= log.durable, 'a log is cut at an entry it has', {
    index,
  })
  evict(log, { upTo: index, bytesMax: -1 })
  const run = runAt(log, index)
  log.terms.splice(0, Math.max(run, 0))
  const first = log.terms[0]
  if (log.lastIndex === index) log.terms.length = 0
  else if (log.terms[1]?.firstIndex === index + 1) log.terms.shift()
  else if (first) log.terms[0] = { firstIndex: index + 1, term: first.term }
  log.cutIndex = index
  log.cutTerm = term
}

/** A snapshot was installed: the log is empty and goes on behind it. */
export function resetLog(log: Log, { index, term }: { index: number; term: number }): void {
  log.cutIndex = index
  log.cutTerm = term
  log.lastIndex = index
  log.handed = index
  log.durable = index
  log.truncateFrom = undefined
  log.terms.length = 0
  log.entries.length = 0
  log.head = 0
  log.bytes = 0
}
