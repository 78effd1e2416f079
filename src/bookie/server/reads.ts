// Answers to what reads: entries, positions, lists. What is in memory is answered in the turn that
// asked.

import {
  type BookieRequest,
  noEntryId,
  operations,
  type Status,
  statuses,
} from '../../wire/bookie-messages.ts'
import { readInt64, readU32 } from '../../wire/int64.ts'
import { AvailabilityWriter } from '../../wire/availability.ts'
import { type Call, callOf, type Echo } from './call.ts'
import type { BookieConnection } from './connection.ts'
import { type Fetched, fetchEntry, fetchExplicitLac, isEntry, letGo } from './records.ts'

/**
 * A plain read of one entry. False: it is on disk, and too many reads of the disk are under way.
 */
export function tryRead(connection: BookieConnection, request: BookieRequest): boolean {
  const { store, disk } = connection.shared
  const { ledgerHigh: high, ledgerLow: low, entryId } = request
  const status = store.read(high, low, entryId)
  if (status !== statuses.ok) {
    connection.answers.status(request, status)
    return true
  }
  const { slot, offset8 } = store.place
  const view = store.journal.view(slot, offset8)
  if (view !== undefined && isEntry(view, { high, low, entryId })) {
    const maxLac = request.protocol === 3 ? store.index.lac(store.ledger) : undefined
    answerEntry(connection, request, { status, bytes: view, slot }, { maxLac })
    return true
  }
  if (disk.isFull) return false
  finish(connection, callOf(request))
  return true
}

/**
 * Answers a call that was admitted: fenced durably if it asked for that, waited for if it was to
 * wait.
 */
export function finish(connection: BookieConnection, call: Call): void {
  if (call.operation === operations.listEntries) listEntries(connection, call)
  else void finishLater(connection, call)
}

const batchWeight = 16

async function finishLater(connection: BookieConnection, call: Call): Promise<void> {
  const weight = call.operation === operations.batchRead ? batchWeight : 1
  connection.callBegins(weight)
  try {
    if (call.operation === operations.read) await finishRead(connection, call)
    else if (call.operation === operations.batchRead) await finishBatch(connection, call)
    else await finishReadLac(connection, call)
  } finally {
    connection.callEnds(weight)
  }
}

/** The copy of an entry that an add would repeat is on disk: reads it, then judges the add. */
export function compareWithDisk(connection: BookieConnection, request: BookieRequest): void {
  const { bytes, bodyStart } = request
  // The view is refilled by the next frame; its chunk is not.
  const kept = { ...request }
  const wanted = {
    high: readU32(bytes, bodyStart),
    low: readU32(bytes, bodyStart + 4),
    entryId: readInt64(bytes, bodyStart + 8),
  }
  const { shared } = connection
  const compare = async (): Promise<void> => {
    const held = await fetchEntry(shared, wanted)
    if (held.status === statuses.ok && !connection.closed) {
      connection.settleDuplicate(kept, shared.store.judgeDuplicate(held.bytes, kept))
    } else if (!connection.closed) {
      // Deleted meanwhile is refused as any late add; what cannot be read cannot be confirmed.
      const gone = held.status === statuses.noLedger
      connection.settleDuplicate(kept, gone ? statuses.fenced : statuses.io)
    }
    letGo(shared, held)
  }
  void compare()
}

// ---- long poll (wire 2.7)

export function startLongPoll(connection: BookieConnection, request: BookieRequest): void {
  const { shared } = connection
  const call = callOf(request)
  if (!request.hasTimeout) {
    goOn(connection, call, 0)
    return
  }
  const status = shared.store.findLedger(call.ledgerHigh, call.ledgerLow)
  if (status !== statuses.ok) {
    connection.answers.status(call, status)
    return
  }
  const { ledger } = shared.store
  const known = shared.store.index.lac(ledger)
  if (known > call.previousLac || connection.polls.size >= shared.limits.longPolls) {
    goOn(connection, call, 0)
    return
  }
  const go = (advanced: boolean): void => {
    connection.polls.delete(stop)
    goOn(connection, call, advanced ? shared.clock.wallMs() : 0)
    connection.flush()
  }
  const stop = shared.polls.wait({ call, ledger, go }, request.timeoutMs)
  connection.polls.add(stop)
}

function goOn(connection: BookieConnection, call: Call, movedMs: number): void {
  const { store } = connection.shared
  if (!call.piggyback) {
    finish(connection, call)
    return
  }
  if (call.entryId !== noEntryId) {
    connection.answers.status(call, statuses.badRequest)
    return
  }
  const status = store.findLedger(call.ledgerHigh, call.ledgerLow)
  if (status !== statuses.ok) {
    connection.answers.status(call, status)
    return
  }
  const maxLac = store.index.lac(store.ledger)
  if (maxLac < 0 && store.index.lastEntry(store.ledger) < 0) {
    const unsure = store.isSuspect(call.ledgerHigh, call.ledgerLow)
    connection.answers.status(call, unsure ? statuses.unknownLedgerState : statuses.noEntry)
  } else if (maxLac <= call.previousLac) {
    connection.answers.position(call, { maxLac, movedMs: 0 })
  } else {
    void piggyback(connection, call, { maxLac, movedMs })
  }
}

/**
 * The entry behind the position that the reader knows, if it is here: with striping it often is
 * not.
 */
async function piggyback(
  connection: BookieConnection,
  call: Call,
  known: { maxLac: number; movedMs: number },
): Promise<void> {
  const entryId = Math.max(call.previousLac, noEntryId) + 1
  const wanted = { high: call.ledgerHigh, low: call.ledgerLow, entryId }
  const fetched = await fetchEntry(connection.shared, wanted)
  if (connection.closed) {
    letGo(connection.shared, fetched)
  } else if (fetched.status === statuses.ok) {
    answerEntry(connection, { ...call, entryId }, fetched, known)
    letGo(connection.shared, fetched)
  } else {
    connection.answers.position(call, known)
  }
  connection.flush()
}

// ---- below

async function finishRead(connection: BookieConnection, call: Call): Promise<void> {
  const { shared } = connection
  const { ledgerHigh: high, ledgerLow: low, entryId } = call
  const fetched = await fetchEntry(shared, { high, low, entryId })
  if (connection.closed) {
    letGo(shared, fetched)
    return
  }
  if (fetched.status === statuses.ok) {
    const tells = call.protocol === 3 && !call.fencing
    const maxLac = tells ? shared.store.lac(high, low) : undefined
    answerEntry(connection, call, fetched, { maxLac })
    letGo(shared, fetched)
  } else {
    connection.answers.status(call, fetched.status)
  }
  connection.flush()
}

/**
 * Larger entries are sent from the journal's memory, held until they left; smaller ones are cheaper
 * to copy.
 */
const copiedBytes = 16 * 1024

function answerEntry(
  connection: BookieConnection,
  echo: Echo,
  entry: Fetched,
  known: { maxLac?: number | undefined; movedMs?: number },
): void {
  const { answers } = connection
  const { bytes, slot } = entry
  if (slot < 0 || bytes.length <= copiedBytes) {
    answers.entry(echo, bytes, { ...known, copied: bytes.length <= copiedBytes })
    return
  }
  answers.entry(echo, bytes, { ...known, copied: false, flushed: connection.holdView(slot) })
}

/** Wire 1.9. The first entry is always returned, whatever its size. */
async function finishBatch(connection: BookieConnection, call: Call): Promise<void> {
  const { shared } = connection
  const entries: Fetched[] = []
  const limit = Math.min(call.maxBytes, shared.limits.batchReadBytes)
  let count = call.maxCount <= 0 ? 2 ** 31 - 1 : call.maxCount
  let size = 36
  let failure: Status = statuses.ok
  for (let at = 0; at < count; at++) {
    const entryId = call.entryId + at
    const entry = await fetchEntry(shared, {
      high: call.ledgerHigh,
      low: call.ledgerLow,
      entryId,
    })
    size += entry.bytes.length + 4
    if (entry.status !== statuses.ok || (at > 0 && size > limit)) {
      if (at === 0) failure = entry.status
      letGo(shared, entry)
      break
    }
    entries.push(entry)
    if (at === 0) {
      const more = Math.floor((limit - size) / (entry.bytes.length + 4))
      count = Math.min(count, 1 + Math.max(0, more))
    }
  }
  if (!connection.closed) {
    if (failure === statuses.ok) connection.answers.batch(call, entries)
    else connection.answers.status(call, failure)
  }
  for (const entry of entries) letGo(shared, entry)
  connection.flush()
}

/**
 * Wire 2.8, its odd status included; but where nothing was obtained "no entry" is said only if that
 * is proven: what cannot be read or is suspect stays unknown.
 */
async function finishReadLac(connection: BookieConnection, call: Call): Promise<void> {
  const { shared } = connection
  const wanted = { high: call.ledgerHigh, low: call.ledgerLow, entryId: noEntryId }
  const explicit = await fetchExplicitLac(shared, wanted)
  const last = await fetchEntry(shared, wanted)
  if (!connection.closed) {
    connection.answers.readLac(call, readLacStatus(explicit.status, last.status), {
      explicit: explicit.status === statuses.ok ? explicit.bytes : undefined,
      last: last.status === statuses.ok ? last.bytes : undefined,
    })
  }
  letGo(shared, explicit)
  letGo(shared, last)
  connection.flush()
}

function readLacStatus(explicit: Status, last: Status): Status {
  const absent = (status: Status): boolean =>
    status === statuses.noEntry || status === statuses.noLedger
  if (explicit !== statuses.ok && last !== statuses.ok) {
    if (absent(explicit) && absent(last)) return statuses.noEntry
    return absent(last) ? explicit : last
  }
  if (last !== statuses.ok) return last === statuses.noEntry ? statuses.io : last
  return explicit === statuses.noEntry ? statuses.ok : explicit
}

/** Wire 2.12. A ledger that may have lost entries has no list: a gap in it would be believed. */
function listEntries(connection: BookieConnection, call: Call): void {
  const { shared, answers } = connection
  const { ledgerHigh: high, ledgerLow: low } = call
  const status = shared.store.findLedger(high, low)
  if (status !== statuses.ok || shared.store.isSuspect(high, low)) {
    answers.status(call, status === statuses.noLedger ? status : statuses.io)
    return
  }
  const list = new AvailabilityWriter()
  shared.store.index.runs(shared.store.ledger, (first, last) => list.add(first, last))
  const availability = list.finish()
  // A list that no frame can carry, of ids with a million gaps, is one that cannot be told.
  if (availability.length + 64 > shared.limits.maxFrameBytes) answers.status(call, statuses.io)
  else answers.list(call, availability)
}
