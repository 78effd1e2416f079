// Records as the index names them: from the journal's memory, held against reuse, or from disk.

import { messageOf } from '../../errors.ts'
import { noEntryId, type Status, statuses } from '../../wire/bookie-messages.ts'
import { readInt64, readU32 } from '../../wire/int64.ts'
import type { Shared } from './shared.ts'

/**
 * A record, or why there is none. `slot` is held until `letGo`, −1 when the bytes are nobody
 * else's.
 */
export interface Fetched {
  readonly status: Status
  readonly bytes: Buffer
  readonly slot: number
}

const none = Buffer.alloc(0)

export interface Wanted {
  readonly high: number
  readonly low: number
  /** −1: the last one held. */
  readonly entryId: number
}

/**
 * Whether these are the bytes of the entry: an index that points elsewhere is a doubt, not an
 * absence (B13).
 */
export function isEntry(bytes: Buffer, { high, low, entryId }: Wanted): boolean {
  if (bytes.length < 16) return false
  if (readU32(bytes, 0) !== high || readU32(bytes, 4) !== low) return false
  if (entryId === noEntryId) return true
  return readInt64(bytes, 8) === entryId
}

export async function fetchEntry(shared: Shared, wanted: Wanted): Promise<Fetched> {
  const { store } = shared
  return fetch(shared, {
    find: () => store.read(wanted.high, wanted.low, wanted.entryId),
    isRight: (bytes) => isEntry(bytes, wanted),
  })
}

export async function fetchExplicitLac(shared: Shared, wanted: Wanted): Promise<Fetched> {
  const { store } = shared
  return fetch(shared, {
    find: () => store.readExplicitLac(wanted.high, wanted.low),
    isRight: (bytes) => isEntry(bytes, { ...wanted, entryId: noEntryId }),
  })
}

export function letGo(shared: Shared, fetched: Fetched): void {
  if (fetched.slot >= 0) shared.store.journal.release(fetched.slot)
}

/**
 * Tells that a record is not what it should be: the answer is "unknown", never "absent" (A11.3).
 */
export function unreadable(shared: Shared, facts: object, cause: string): void {
  shared.counts.unreadable++
  shared.logger.error({ ...facts, problem: cause }, 'a stored record cannot be read')
}

interface Search {
  /** Looks the record up: OK with its place in the store, or the answer. */
  readonly find: () => Status
  readonly isRight: (bytes: Buffer) => boolean
}

/** Between look-up and disk a record may move or its ledger go: a second look-up tells. */
async function fetch(shared: Shared, { find, isRight }: Search): Promise<Fetched> {
  const { store, disk } = shared
  for (let attempt = 0; attempt < 2; attempt++) {
    const status = find()
    if (status !== statuses.ok) return { status, bytes: none, slot: -1 }
    const { slot, offset8 } = store.place
    const view = store.journal.view(slot, offset8)
    if (view !== undefined && isRight(view)) {
      store.journal.hold(slot)
      return { status, bytes: view, slot }
    }
    try {
      shared.counts.diskReads++
      const bytes = await disk.run(() => store.journal.read(slot, offset8))
      if (isRight(bytes)) return { status, bytes, slot: -1 }
      if (attempt > 0) unreadable(shared, { slot, offset8 }, 'it is another record')
    } catch (error) {
      if (attempt > 0) unreadable(shared, { slot, offset8 }, messageOf(error))
    }
  }
  return { status: statuses.io, bytes: none, slot: -1 }
}
