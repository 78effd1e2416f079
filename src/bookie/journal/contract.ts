// Between the journal (segments, arenas, group commit, start-up) and the bookie that stands on it
// (index, admission, server). Everything here is synchronous or called back once a batch: no
// promise, closure or object for an entry.

/** What a record holds. The numbers are the format's (docs/format/journal.md). */
export const recordTypes = {
  /** The entry as it came: ledger id, entry id, last add confirmed, length, digest, payload. */
  entry: 1,
  /** i64 ledger id, then the master key: written before the first entry of a ledger. */
  ledgerKey: 2,
  /** i64 ledger id, then the master key: self-contained, valid for a ledger never seen. */
  fence: 3,
  /** The explicit LAC packet as it came (its first 8 bytes are the ledger id). */
  explicitLac: 4,
  /** i64 ledger id: the ledger is gone; nothing of it before this record lives. */
  tombstone: 5,
  batchEnd: 14,
} as const

export type RecordType = (typeof recordTypes)[keyof typeof recordTypes]

/** Indexes keep a slot in 16 bits. */
export const slotMax = 0xffff

/** Where a record is: a segment's slot, and the offset of its header there in units of 8 bytes. */
export interface RecordPlace {
  slot: number
  offset8: number
}

export interface JournalOwner {
  /**
   * During open: each record that counts, in the order of sequence numbers. `bytes[start, end)` is
   * its payload, only during the call. Of an entry that is damaged only the first 32 bytes are
   * right: `read` will not give it.
   */
  replay(type: RecordType, place: RecordPlace, bytes: Buffer, start: number, end: number): void
  /** Every record up to this sequence number is durable. Called once a batch, in order. */
  durable(sequence: number): void
  /**
   * The journal is dead: nothing pending will ever be known to be durable. Called once, after which
   * `durable` never is.
   */
  failed(error: Error): void
  /**
   * The journal is about to give a sealed segment back, since no entry in it lives: write again
   * (with `append`) the keys, fences, explicit LACs and tombstones among `records` that are still
   * needed. The segment is reused only once those are durable. Called several times for a large
   * one. What it throws keeps the segment until it is tried again.
   */
  evacuate(records: Iterable<{ type: RecordType; bytes: Buffer; start: number; end: number }>): void
  /**
   * After a refusal, ask again: `append` will take records, or the disk turned out to be full.
   */
  writable(): void
  /**
   * Appending waits for memory, and somebody holds all of it: let go of what is held for too long.
   * Called again and again while that lasts.
   */
  starved?(): void
}

export interface BookieJournal {
  /** Number of the last record appended; grows by one with each. */
  readonly sequence: number
  readonly durableSequence: number
  /** False: do not append (budget or disk full); `writable` of the owner tells when to go on. */
  readonly hasRoom: boolean
  /** The longest payload: of a record with a longer one there never would be room. */
  readonly payloadBytesMax: number
  /** True while the disk has no room for a next segment: only what may use the reserve is taken. */
  readonly isFull: boolean
  /**
   * Copies source[start, end) into the active segment as one record and remembers it for the next
   * commit. Synchronous: when it returns the record can be read at `place`. False: no room, nothing
   * was done (`urgent` may use the reserve: fences, keys, high-priority adds, evacuation).
   */
  append(
    type: RecordType,
    source: Buffer,
    start: number,
    end: number,
    place: RecordPlace,
    urgent: boolean,
  ): boolean
  /**
   * Bytes of the payload at a place, if it is in memory: a view that stays as it is while the slot
   * is held; else undefined.
   */
  view(slot: number, offset8: number): Buffer | undefined
  /** Counts a holder of the slot's memory, as a reply not yet flushed: refilled only at zero. */
  hold(slot: number): void
  release(slot: number): void
  /**
   * Reads and verifies a record from disk. Rejects with QUIRE_JOURNAL_CORRUPT when it does not
   * verify: the caller answers "cannot tell", never "absent".
   */
  read(slot: number, offset8: number): Promise<Buffer>
  /**
   * Entries living in a slot, as the index counts them: +1 at append and replay of an entry, −1
   * when its ledger goes. Those of the replay are told before the first append: from then on a
   * segment without entries is given back.
   */
  count(slot: number, entries: number): void
  /**
   * Numbers of the segment that is appended to and of the oldest that holds records: both only
   * grow.
   */
  readonly activeSegment: number
  readonly oldestSegment: number
  /** Segments and their bytes; what is free on the disk, or kept for reuse; the disk's size. */
  usage(): { segments: number; bytes: number; freeBytes: number; totalBytes: number }
  /** Waits until everything appended is durable, then closes files. */
  close(): Promise<void>
}
