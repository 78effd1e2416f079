// Admission: what a bookie takes, refuses and knows, decided synchronously over the index and the
// journal.
//
// I1 A check and the append it allows happen in one call: a fence is either before an add or after
// it (A11.1). I2 An entry can be read before its add can be acknowledged. I3 A fence counts in
// memory at once and is reported only once its record is durable, whatever else the answer says
// (A11.2). I4 "No entry" and "no ledger" are said only of what is proven absent: of a suspect
// ledger the answer is "unknown" (A11.3). I5 The first copy of an entry stays.
//
// It leaves waiting for durability to its callers: `pending` means "when `awaited` is durable".
// Deferred-sync adds wait too.

import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import {
  type BookieRequest,
  noEntryId,
  requestFlags,
  type Status,
  statuses,
} from '../../wire/bookie-messages.ts'
import { readInt64, readU32 } from '../../wire/int64.ts'
import { ledgerFlags, LedgerIndex } from '../index/ledger-index.ts'
import {
  type BookieJournal,
  type JournalOwner,
  type RecordPlace,
  type RecordType,
  recordTypes,
} from '../journal/contract.ts'
import {
  maxKeyBytes,
  type Outcome,
  outcomes,
  type StoreCounts,
  type StoreListener,
  type StoreOptions,
} from './outcomes.ts'
import { entryHeaderBytes, isNegativeAt, isStoredId, sameEntry, storedLac } from './entry-fields.ts'
import { replayRecord, stillNeeded } from './replay.ts'

/** The longest digest makes 36. */
const maxLacPacketBytes = 256
/** How many adds pass between two looks at the index's memory. */
const budgetEvery = 256

type Done = (error?: Error) => void

export class Store implements JournalOwner {
  readonly index: LedgerIndex
  readonly counts: StoreCounts = {
    adds: 0,
    duplicates: 0,
    conflicts: 0,
    fences: 0,
    reads: 0,
    deletedLedgers: 0,
  }
  /** Sequence number that the last `pending` outcome waits for. */
  awaited = 0
  /** Where the last found entry, or the one to compare, is. Read it before the next call. */
  readonly place: RecordPlace = { slot: 0, offset8: 0 }
  /** Ledger record of the last successful `read`, or 0. */
  ledger = 0
  /** Refuses adds as a full disk does; an operator's choice. */
  readOnly = false
  readonly #options: StoreOptions
  readonly #appended: RecordPlace = { slot: 0, offset8: 0 }
  /** Entries of each slot that replay found, told to the journal once it is there. */
  readonly #replayed = new Map<number, number>()
  /**
   * Fences whose record is not durable yet: ledger record → sequence. Few, and only for one batch.
   */
  readonly #fencing = new Map<number, number>()
  /** Deletions whose tombstone is not durable yet. */
  readonly #burying: { ledger: number; sequence: number; done: Done }[] = []
  #scratch = Buffer.alloc(8 + 64)
  /** Where the journal went on behind the replay. */
  firstSegment = 0
  #journal: BookieJournal | undefined
  #listener: StoreListener | undefined
  #overBudget = false
  #untilBudget = 0

  constructor(options: StoreOptions) {
    this.#options = options
    this.index = new LedgerIndex(options.seed)
  }

  /**
   * Joins the journal, once it has replayed all it holds, and whoever waits for what becomes
   * durable.
   */
  attach(journal: BookieJournal, listener: StoreListener): void {
    invariant(this.#journal === undefined, 'a store has one journal')
    this.#journal = journal
    this.#listener = listener
    this.firstSegment = journal.activeSegment
    for (const [slot, entries] of this.#replayed) journal.count(slot, entries)
    this.#replayed.clear()
  }

  get journal(): BookieJournal {
    const journal = this.#journal
    if (journal === undefined) invariant(false, 'the store is attached before it serves')
    return journal
  }

  /** True while ordinary adds are refused: the disk is full, or an operator said so. */
  get isReadOnly(): boolean {
    return this.readOnly || this.journal.isFull
  }

  // ---- adds

  add(request: BookieRequest): Outcome {
    const { bytes, bodyStart, bodyEnd } = request
    const urgent = isUrgent(request)
    if (this.isReadOnly && !urgent) return statuses.readOnly
    const size = bodyEnd - bodyStart
    if (size < entryHeaderBytes || size > this.journal.payloadBytesMax) return statuses.badRequest
    if (isNegativeAt(bytes, bodyStart) || !isStoredId(bytes, bodyStart + 8)) {
      return statuses.badRequest
    }
    const recovery = (request.flags & requestFlags.recovery) !== 0
    let ledger = this.index.find(readU32(bytes, bodyStart), readU32(bytes, bodyStart + 4))
    const refused = this.#refusal(ledger, request, recovery)
    if (refused !== statuses.ok) return refused
    const entryId = readInt64(bytes, bodyStart + 8)
    if (ledger !== 0 && this.index.lookup(ledger, entryId, this.place))
      return this.#duplicate(request)
    if (this.#isOverBudget() && !urgent) return statuses.tooManyRequests
    if (!this.journal.hasRoom && !urgent) return this.#noRoom(statuses.readOnly)
    if (ledger === 0 || !this.index.hasKey(ledger)) {
      ledger = this.#open(ledger, request, { type: recordTypes.ledgerKey, urgent })
      if (ledger === 0) return this.#noRoom(statuses.readOnly)
    }
    return this.#append(ledger, entryId, request)
  }

  /** After `compare`: the bytes that were on disk. Returns OK (pending on `awaited`) or EIO. */
  judgeDuplicate(held: Buffer, request: BookieRequest): Outcome {
    const { bytes, bodyStart, bodyEnd } = request
    this.counts.duplicates++
    if (sameEntry(held, bytes, { start: bodyStart, end: bodyEnd })) {
      const ledger = this.index.find(readU32(bytes, bodyStart), readU32(bytes, bodyStart + 4))
      if (ledger !== 0) this.#learnLac(ledger, request)
      return this.#afterAll()
    }
    this.counts.conflicts++
    this.#options.logger.error(
      {
        ledgerId: bytes.readBigInt64BE(bodyStart),
        entryId: bytes.readBigInt64BE(bodyStart + 8),
        heldBytes: held.length,
        sentBytes: bodyEnd - bodyStart,
      },
      'an add carries other bytes than the entry that is stored under its id: it was refused',
    )
    return statuses.io
  }

  /** WRITE_LAC (wire 2.9). */
  writeLac(request: BookieRequest): Outcome {
    const { bytes, bodyStart, bodyEnd } = request
    if (this.isReadOnly) return statuses.readOnly
    const size = bodyEnd - bodyStart
    if (size < 16 || size > maxLacPacketBytes) return statuses.badRequest
    if (isNegativeAt(bytes, bodyStart)) return statuses.badRequest
    let ledger = this.index.find(readU32(bytes, bodyStart), readU32(bytes, bodyStart + 4))
    if (ledger !== 0 && this.index.has(ledger, ledgerFlags.deleted)) return statuses.noLedger
    const denied = this.#denied(ledger, request)
    if (denied !== statuses.ok) return denied
    if (!this.journal.hasRoom) return this.#noRoom(statuses.readOnly)
    if (ledger === 0 || !this.index.hasKey(ledger)) {
      ledger = this.#open(ledger, request, { type: recordTypes.ledgerKey, urgent: false })
      if (ledger === 0) return this.#noRoom(statuses.readOnly)
    }
    const lac = storedLac(bytes, bodyStart + 8)
    // One that overtook a later one is answered, not kept: a reader wants the highest.
    if (lac >= this.index.explicitLacValue(ledger)) {
      const type = recordTypes.explicitLac
      if (!this.journal.append(type, bytes, bodyStart, bodyEnd, this.#appended, false)) {
        return this.#noRoom(statuses.readOnly)
      }
      this.index.setExplicitLac(ledger, lac, this.#appended)
      if (this.index.raiseLac(ledger, lac)) this.#announce(ledger, false)
    }
    return this.#afterAll()
  }

  // ---- fences

  /**
   * Fences the ledger that a read names, creating it if need be. OK: durable. Pending: when
   * `awaited` is; no answer at all, not even a negative one, may leave before (I3).
   */
  fence(request: BookieRequest): Outcome {
    const { ledgerHigh, ledgerLow } = request
    let ledger = this.index.find(ledgerHigh, ledgerLow)
    if (ledgerHigh > 0x7fffffff) return statuses.noLedger
    if (ledger !== 0 && this.index.has(ledger, ledgerFlags.deleted)) return statuses.noLedger
    const denied = this.#denied(ledger, request)
    if (denied !== statuses.ok) return denied
    if (ledger !== 0 && this.index.has(ledger, ledgerFlags.fenceRecorded)) {
      const sequence = this.#fencing.get(ledger)
      if (sequence === undefined) return statuses.ok
      this.awaited = sequence
      return outcomes.pending
    }
    if (ledger !== 0) this.index.mark(ledger, ledgerFlags.fenced)
    ledger = this.#open(ledger, request, { type: recordTypes.fence, urgent: true })
    if (ledger === 0) return this.#noRoom(statuses.io)
    this.index.mark(ledger, ledgerFlags.fenced)
    this.index.mark(ledger, ledgerFlags.fenceRecorded)
    this.counts.fences++
    this.#announce(ledger, true)
    const outcome = this.#afterAll()
    if (outcome === outcomes.pending) this.#fencing.set(ledger, this.awaited)
    return outcome
  }

  // ---- reads

  /**
   * Looks an entry up; −1 is the last one held. OK: it is at `place`, of ledger `ledger`. Else
   * ENOLEDGER or ENOENTRY, both proven, or EUNKNOWNLEDGERSTATE (I4).
   */
  read(high: number, low: number, entryId: number): Status {
    this.counts.reads++
    const ledger = this.#known(high, low)
    this.ledger = ledger
    if (ledger === 0) return this.#absentLedger(high, low)
    const suspect = this.#isSuspect(ledger, high, low)
    const wanted = entryId === noEntryId ? this.index.lastEntry(ledger) : entryId
    // The last entry of a suspect ledger may be one that was lost.
    if (suspect && entryId === noEntryId) return statuses.unknownLedgerState
    if (this.index.lookup(ledger, wanted, this.place)) return statuses.ok
    return suspect ? statuses.unknownLedgerState : statuses.noEntry
  }

  /** The explicit LAC packet's place. "No entry" when there is none. */
  readExplicitLac(high: number, low: number): Status {
    const ledger = this.#known(high, low)
    if (ledger === 0) return this.#absentLedger(high, low)
    return this.index.explicitLac(ledger, this.place) ? statuses.ok : statuses.noEntry
  }

  /** Whether a ledger is known: OK, ENOLEDGER or EUNKNOWNLEDGERSTATE; its record is in `ledger`. */
  findLedger(high: number, low: number): Status {
    this.ledger = this.#known(high, low)
    return this.ledger === 0 ? this.#absentLedger(high, low) : statuses.ok
  }

  /** The last confirmed position as known here, −1 also when nothing is: wire 5.4. */
  lac(high: number, low: number): number {
    const ledger = this.#known(high, low)
    return ledger === 0 ? -1 : this.index.lac(ledger)
  }

  // ---- the rest

  /** FORCE_LEDGER: pending until everything appended so far is durable. */
  force(): Outcome {
    return this.#afterAll()
  }

  /**
   * Deletes a ledger: reads and adds of it end at once, its entries are given up when the tombstone
   * is durable, and then `done` is called; with the error if the journal failed first. False: no
   * room for the tombstone.
   */
  delete(high: number, low: number, done: Done): boolean {
    const ledger = this.#known(high, low)
    if (ledger === 0) {
      done()
      return true
    }
    this.#putId(high, low)
    const type = recordTypes.tombstone
    if (!this.journal.append(type, this.#scratch, 0, 8, this.#appended, true)) return false
    this.index.mark(ledger, ledgerFlags.deleted)
    this.#fencing.delete(ledger)
    this.#announce(ledger, true)
    if (this.#afterAll() === outcomes.pending) {
      this.#burying.push({ ledger, sequence: this.awaited, done })
    } else {
      this.#bury(ledger, done)
    }
    return true
  }

  /**
   * From now on nothing that this ledger lacks is called absent, and it takes recovery adds only.
   */
  suspect(high: number, low: number): void {
    const found = this.index.find(high, low)
    const ledger = found === 0 ? this.index.create(high, low) : found
    this.index.mark(ledger, ledgerFlags.suspect)
    this.index.mark(ledger, ledgerFlags.fenced)
  }

  /** Whether a negative about a ledger would be a guess. */
  isSuspect(high: number, low: number): boolean {
    return this.#isSuspect(this.index.find(high, low), high, low)
  }

  // ---- what the journal calls

  replay(type: RecordType, place: RecordPlace, bytes: Buffer, start: number, end: number): void {
    replayRecord({
      index: this.index,
      type,
      place,
      bytes,
      start,
      end,
      second: this.#options.second(),
      count: (slot, entries) => {
        this.#replayed.set(slot, (this.#replayed.get(slot) ?? 0) + entries)
      },
      warn: (facts, message) => this.#options.logger.error(facts, message),
    })
  }

  durable(sequence: number): void {
    for (const [ledger, fenced] of this.#fencing) {
      if (fenced <= sequence) this.#fencing.delete(ledger)
    }
    while (this.#burying[0] !== undefined && this.#burying[0].sequence <= sequence) {
      const buried = this.#burying.shift()
      if (buried !== undefined) this.#bury(buried.ledger, buried.done)
    }
    this.#listener?.durable(sequence)
  }

  failed(error: Error): void {
    for (const { done } of this.#burying.splice(0)) done(error)
    this.#listener?.failed(error)
  }

  writable(): void {
    this.#listener?.writable()
  }

  starved(): void {
    this.#listener?.starved()
  }

  evacuate(
    records: Iterable<{ type: RecordType; bytes: Buffer; start: number; end: number }>,
  ): void {
    const place: RecordPlace = { slot: 0, offset8: 0 }
    for (const { type, bytes, start, end } of records) {
      const ledger = stillNeeded(this.index, { type, bytes, start })
      if (ledger === 0) continue
      if (!this.journal.append(type, bytes, start, end, place, true)) {
        throw new QuireError(
          'QUIRE_DISK_FULL',
          'the reserve has no room for records that must outlive a segment: the segment stays',
        )
      }
      if (type === recordTypes.explicitLac) {
        this.index.setExplicitLac(ledger, this.index.explicitLacValue(ledger), place)
      }
    }
  }

  // ---- below

  #known(high: number, low: number): number {
    const ledger = this.index.find(high, low)
    return ledger !== 0 && this.index.has(ledger, ledgerFlags.deleted) ? 0 : ledger
  }

  #absentLedger(high: number, low: number): Status {
    const ledger = this.index.find(high, low)
    if (ledger !== 0) return statuses.noLedger
    return this.#isSuspect(0, high, low) ? statuses.unknownLedgerState : statuses.noLedger
  }

  #isSuspect(ledger: number, high: number, low: number): boolean {
    if (ledger !== 0 && this.index.has(ledger, ledgerFlags.suspect)) return true
    return this.#options.mayHaveLost !== undefined && this.#options.mayHaveLost(high, low)
  }

  /** Why an add to a ledger is refused, in Java's order: deleted, key, limbo, fence. */
  #refusal(ledger: number, request: BookieRequest, recovery: boolean): Status {
    if (ledger !== 0 && this.index.has(ledger, ledgerFlags.deleted)) return statuses.fenced
    const denied = this.#denied(ledger, request)
    if (denied !== statuses.ok || recovery) return denied
    const { bytes, bodyStart } = request
    const high = readU32(bytes, bodyStart)
    if (this.#isSuspect(ledger, high, readU32(bytes, bodyStart + 4))) {
      return statuses.unauthorized
    }
    if (ledger === 0 || !this.index.has(ledger, ledgerFlags.fenced)) return statuses.ok
    return statuses.fenced
  }

  #denied(ledger: number, request: BookieRequest): Status {
    if (request.keyEnd - request.keyStart > maxKeyBytes) return statuses.badRequest
    if (ledger === 0 || !this.index.hasKey(ledger)) return statuses.ok
    const range = { start: request.keyStart, end: request.keyEnd }
    return this.index.keyMatches(ledger, request.bytes, range) ? statuses.ok : statuses.unauthorized
  }

  /**
   * Records the key of a ledger (or, with it, its fence) before anything else of it, and makes the
   * ledger known. 0: no room, nothing was done.
   */
  #open(
    known: number,
    request: BookieRequest,
    record: { type: typeof recordTypes.ledgerKey | typeof recordTypes.fence; urgent: boolean },
  ): number {
    const { bytes, keyStart, keyEnd } = request
    const isAdd = record.type === recordTypes.ledgerKey
    // The ledger id inside the body rules (wire 2.6); a read has only the outer one.
    const high = isAdd ? readU32(bytes, request.bodyStart) : request.ledgerHigh
    const low = isAdd ? readU32(bytes, request.bodyStart + 4) : request.ledgerLow
    const size = 8 + keyEnd - keyStart
    if (this.#scratch.length < size) this.#scratch = Buffer.alloc(8 + maxKeyBytes)
    this.#putId(high, low)
    bytes.copy(this.#scratch, 8, keyStart, keyEnd)
    const { type, urgent } = record
    if (!this.journal.append(type, this.#scratch, 0, size, this.#appended, urgent)) return 0
    const ledger = known === 0 ? this.index.create(high, low) : known
    if (!this.index.hasKey(ledger)) {
      this.index.setKey(ledger, bytes, { start: keyStart, end: keyEnd })
    }
    return ledger
  }

  #append(ledger: number, entryId: number, request: BookieRequest): Outcome {
    const { bytes, bodyStart, bodyEnd } = request
    const urgent = isUrgent(request)
    const type = recordTypes.entry
    if (!this.journal.append(type, bytes, bodyStart, bodyEnd, this.#appended, urgent)) {
      return this.#noRoom(statuses.readOnly)
    }
    this.index.insert(ledger, entryId, this.#appended)
    this.journal.count(this.#appended.slot, 1)
    this.counts.adds++
    this.#learnLac(ledger, request)
    return this.#afterAll()
  }

  /** An add tells a position, also one that repeats an entry: recovery sends later ones. */
  #learnLac(ledger: number, { bytes, bodyStart }: BookieRequest): void {
    const lac = storedLac(bytes, bodyStart + 16)
    if (this.index.raiseLac(ledger, lac)) this.#announce(ledger, false)
  }

  #duplicate(request: BookieRequest): Outcome {
    const held = this.journal.view(this.place.slot, this.place.offset8)
    return held === undefined ? outcomes.compare : this.judgeDuplicate(held, request)
  }

  /** Everything appended so far, the first copy of a duplicate included. */
  #afterAll(): Outcome {
    this.awaited = this.journal.sequence
    return this.awaited <= this.journal.durableSequence ? statuses.ok : outcomes.pending
  }

  #noRoom(whenFull: Status): Outcome {
    return this.journal.isFull ? whenFull : outcomes.blocked
  }

  #isOverBudget(): boolean {
    if (this.#untilBudget-- > 0) return this.#overBudget
    this.#untilBudget = budgetEvery
    this.#overBudget = this.index.bytes >= this.#options.indexBytes
    return this.#overBudget
  }

  #announce(ledger: number, ended: boolean): void {
    if (this.index.has(ledger, ledgerFlags.watched)) this.#listener?.advanced(ledger, ended)
  }

  #bury(ledger: number, done: Done): void {
    const burial = { second: this.#options.second(), segment: this.journal.activeSegment }
    this.index.bury(ledger, burial, (slot) => this.journal.count(slot, -1))
    this.counts.deletedLedgers++
    done()
  }

  #putId(high: number, low: number): void {
    this.#scratch.writeUInt32BE(high, 0)
    this.#scratch.writeUInt32BE(low, 4)
  }
}

/**
 * High priority: V2 says it with a flag, V3 with a priority whose sign bit Java reads as a sign
 * (wire 2.4).
 */
export function isUrgent(request: BookieRequest): boolean {
  return (request.flags & requestFlags.highPriority) !== 0 || (request.priority | 0) > 0
}
