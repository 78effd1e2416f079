// Collection of ledgers that are gone from the metadata (semantics B9).
//
// C1 The set of local ledgers is taken first, so that one created meanwhile is never a candidate.
// C2 A ledger goes only on positive evidence: after the listing lacked it, a linearizable question
// about it alone says that it does not exist. C3 Its tombstone is durable before anything of it is
// given up. C4 An error or a doubt deletes nothing; nor does metadata that is another cluster's, or
// was made anew: it names none of our ledgers. C5 A deleted ledger is forgotten when its writer is
// gone, and no earlier than the last record that would bring it back.

import { QuireError } from '../errors.ts'
import { type Burial, ledgerFlags } from './index/ledger-index.ts'
import { recordsPerPage } from './index/paged-words.ts'
import { replayedSegment } from './store/replay.ts'
import type { Store } from './store/store.ts'

/** What the bookie needs to know of the cluster's ledgers. */
export interface LiveLedgers {
  /**
   * Whether this is the metadata of the bookie's own cluster still: compares instance ids, read
   * linearizably.
   */
  isOurs(signal?: AbortSignal): Promise<boolean>
  /** Ids of all ledgers in the metadata. Fails rather than leaving some out. */
  list(signal?: AbortSignal): AsyncIterable<bigint>
  /**
   * Whether a ledger exists, read linearizably: not from a follower that may lag. False only if the
   * metadata answered that there is none; anything else fails.
   */
  exists(ledgerId: bigint, signal?: AbortSignal): Promise<boolean>
}

export interface CollectOptions {
  readonly signal?: AbortSignal | undefined
  /** Called after each candidate. */
  readonly progress?: (done: number, candidates: number) => void
}

export interface Collected {
  /** Ledgers held when the pass began. */
  readonly held: number
  readonly candidates: number
  readonly deleted: number
  /** Candidates that exist after all, or could not be asked about: they stay. */
  readonly kept: number
  readonly forgottenTombstones: number
  /** Why nothing was done, if so. */
  readonly refused?: 'not-our-metadata'
}

/** How long late adds to a deleted ledger are refused: as Java does. */
const rememberedSeconds = 7 * 24 * 3600
const questionsAtOnce = 8

export async function collect(
  store: Store,
  live: LiveLedgers,
  options: CollectOptions & { second: number },
): Promise<Collected> {
  const forgottenTombstones = forgetTombstones(store, options.second - rememberedSeconds)
  const snapshot = new Snapshot(store)
  for await (const id of live.list(options.signal)) snapshot.seen(id)
  const none = { held: snapshot.held, deleted: 0, kept: 0, forgottenTombstones }
  const candidates = snapshot.unseen()
  let deleted = 0
  let done = 0
  for (let at = 0; at < candidates.length; at += questionsAtOnce) {
    const some = candidates.slice(at, at + questionsAtOnce)
    const gone = await Promise.all(some.map((id) => isGone(live, id, options.signal)))
    const doomed = some.filter((_, index) => gone[index] === true)
    // Asked behind the questions, so that it is true of their answers.
    if (doomed.length > 0 && !(await live.isOurs(options.signal))) {
      const kept = candidates.length - deleted
      const refused = 'not-our-metadata'
      return { ...none, candidates: candidates.length, deleted, kept, refused }
    }
    await Promise.all(doomed.map((id) => remove(store, id)))
    deleted += doomed.length
    done += some.length
    options.progress?.(done, candidates.length)
  }
  const kept = candidates.length - deleted
  return { ...none, candidates: candidates.length, deleted, kept }
}

/**
 * A failed question is no evidence (C4): the ledger stays until the next pass. An abort ends the
 * pass.
 */
async function isGone(
  live: LiveLedgers,
  id: bigint,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  try {
    return !(await live.exists(id, signal))
  } catch (error) {
    if (signal?.aborted === true) throw error
    return false
  }
}

function remove(store: Store, id: bigint): Promise<void> {
  return new Promise((resolve, reject) => {
    const taken = store.delete(Number(id >> 32n), Number(id & 0xffffffffn), (error) => {
      if (error === undefined) resolve()
      else reject(error)
    })
    if (taken) return
    reject(
      new QuireError(
        'QUIRE_DISK_FULL',
        'the reserve has no room for the record of a deletion: free space on the journal disk',
        { facts: { ledgerId: id } },
      ),
    )
  })
}

/** C5. Forgets ledgers whose deletion was before `second`. Returns how many. */
function forgetTombstones(store: Store, second: number): number {
  const { index, journal, firstSegment } = store
  const { oldestSegment } = journal
  const isOver = (burial: Burial): boolean => {
    const segment = burial.segment === replayedSegment ? firstSegment : burial.segment
    return burial.second < second && segment < oldestSegment
  }
  const old: number[] = []
  let at = 0
  do {
    at = index.walk(at, (ledger) => {
      if (!index.has(ledger, ledgerFlags.buried)) return
      if (isOver(index.burial(ledger))) old.push(ledger)
    })
  } while (at !== 0)
  for (const ledger of old) index.forget(ledger)
  return old.length
}

/** Which ledgers were held, by record of the index: records are used again only after a pass. */
class Snapshot {
  held = 0
  readonly #store: Store
  /** A page of bits by page of the index: held and not seen in the listing. */
  readonly #pages: Uint8Array[] = []

  constructor(store: Store) {
    this.#store = store
    let at = 0
    do {
      const page = new Uint8Array(recordsPerPage)
      this.#pages.push(page)
      at = store.index.walk(at, (ledger) => {
        if (store.index.has(ledger, ledgerFlags.deleted)) return
        page[ledger % recordsPerPage] = 1
        this.held++
      })
    } while (at !== 0)
  }

  seen(id: bigint): void {
    const ledger = this.#store.index.find(Number(id >> 32n), Number(id & 0xffffffffn))
    const page = this.#pages[Math.floor(ledger / recordsPerPage)]
    if (page !== undefined) page[ledger % recordsPerPage] = 0
  }

  unseen(): bigint[] {
    const ids: bigint[] = []
    const { index } = this.#store
    this.#pages.forEach((page, number) => {
      for (let at = 0; at < recordsPerPage; at++) {
        if (page[at] !== 1) continue
        const ledger = number * recordsPerPage + at
        ids.push((BigInt(index.idHigh(ledger)) << 32n) | BigInt(index.idLow(ledger)))
      }
    })
    return ids
  }
}
