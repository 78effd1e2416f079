// One named log, as a program holds it: acquire, read, truncate, and what replicas need beneath it.

import { QuireError } from '../../errors.ts'
import { acquire, type AcquireOptions, type TakeOverOptions } from './acquire.ts'
import {
  endOf,
  isOrphan,
  publishSnapshot,
  truncate,
  type LogRecord,
  type LogSnapshot,
  type Truncation,
} from './core/log-record.ts'
import { readLedgerMark, type LogParts } from './parts.ts'
import { LogCursor, type LogBatch, type ReadLogOptions } from './reader.ts'
import type { LogWriter, SegmentedWriter } from './writer.ts'

export interface ReadRecord {
  /** The record's place in the log: dense from 0 over the log's whole life. */
  readonly position: number
  /** A view that nothing changes any more: do not write to it. */
  readonly bytes: Buffer
  /** Log time: the writer's clock in milliseconds since 1970, never going back. */
  readonly timeMs: number
}

export interface LogFacts {
  readonly name: string
  readonly logId: string
  readonly ownerEpoch: number
  readonly ownerId: string
  /** The first position that can be read. */
  readonly oldest: number
  /**
   * The first position after everything; undefined while a segment is open: only its writer knows.
   */
  readonly end: number | undefined
  readonly segments: LogRecord['segments']
  readonly snapshots: readonly LogSnapshot[]
}

export interface CallSignal {
  readonly signal?: AbortSignal | undefined
}

/**
 * A durable sequence of records under a name. Positions count records, densely, over the log's
 * whole life.
 */
export interface NamedLog {
  readonly name: string
  /**
   * Becomes the log's one writer: whoever wrote before is fenced, and can have nothing acknowledged
   * any more. Fails with QUIRE_NOT_OWNER when another one acquires it at the same time.
   */
  acquire(options?: AcquireOptions): Promise<LogWriter>
  /**
   * Records in order. Never disturbs the writer. Fails with QUIRE_TRUNCATED when `from` is before
   * the log's beginning.
   */
  read(options?: ReadLogOptions): AsyncIterableIterator<ReadRecord, void, undefined>
  /**
   * Gives back the space of whole segments before `position`, and never what the oldest kept
   * snapshot needs. Resolves to the first position that can be read from now on.
   */
  truncate(position: number, options?: CallSignal): Promise<number>
  facts(options?: CallSignal): Promise<LogFacts>
  /**
   * Deletes ledgers that crashes left behind: of this log, of an older epoch, in no record.
   * Resolves to their ids.
   */
  collectOrphans(options?: CallSignal): Promise<bigint[]>
}

export class Log implements NamedLog {
  readonly name: string
  readonly #parts: LogParts

  constructor(parts: LogParts) {
    this.name = parts.name
    this.#parts = parts
  }

  /** For what stands on a log in this layer. */
  get parts(): LogParts {
    return this.#parts
  }

  async acquire(options?: TakeOverOptions): Promise<SegmentedWriter> {
    const { closed, writers } = this.#parts
    if (closed.aborted) throw closed.reason
    const writer = await acquire(this.#parts, options)
    writers.add(writer)
    void writer.ended.then(() => writers.delete(writer))
    return writer
  }

  async *read(options: ReadLogOptions = {}): AsyncGenerator<ReadRecord, void, undefined> {
    for await (const { firstPosition, timeMs, records } of this.batches(options)) {
      let position = firstPosition
      for (const bytes of records) yield { position: position++, bytes, timeMs }
    }
  }

  /** The same, entry by entry. */
  async *batches(options: ReadLogOptions = {}): AsyncGenerator<LogBatch, void, undefined> {
    const { closed } = this.#parts
    const signal = options.signal ? AbortSignal.any([options.signal, closed]) : closed
    try {
      yield* new LogCursor(this.#parts, { ...options, signal }).batches()
    } catch (error) {
      if (closed.aborted && !options.signal?.aborted) throw closed.reason
      throw error
    }
  }

  async facts(options: CallSignal = {}): Promise<LogFacts> {
    const { value: record } = await this.#parts.store.read(options)
    const { name, logId, ownerEpoch, ownerId, segments, snapshots } = record
    const oldest = segments[0]?.firstPosition ?? record.truncatedBefore
    return { name, logId, ownerEpoch, ownerId, oldest, end: endOf(record), segments, snapshots }
  }

  async truncate(position: number, options: CallSignal = {}): Promise<number> {
    if (!Number.isSafeInteger(position) || position < 0) {
      throw new QuireError('QUIRE_BAD_OPTION', `${position} is not a position of a log`)
    }
    let last: Truncation | undefined
    await this.#parts.store.change((record) => {
      last = truncate(record, position)
      return last.change
    }, options)
    // The record first: a ledger that is gone is then no reader's business. What a crash leaves
    // here is collected later.
    await this.#deleteAll(last?.dropped ?? [], options)
    return last?.oldest ?? 0
  }

  /**
   * False when something newer made the snapshot pointless; its ledger is then the caller's to
   * delete.
   */
  async publishSnapshot(snapshot: LogSnapshot, options: CallSignal = {}): Promise<boolean> {
    let third: readonly LogSnapshot[] = []
    const { outcome, record } = await this.#parts.store.change((record) => {
      const change = publishSnapshot(record, snapshot)
      if (change.type === 'write') {
        const kept = new Set(change.record.snapshots.map(({ ledgerId }) => ledgerId))
        third = record.snapshots.filter(({ ledgerId }) => !kept.has(ledgerId))
      }
      return change
    }, options)
    if (outcome.type === 'lost' || outcome.type === 'superseded') return false
    await this.#deleteAll(
      third.map(({ ledgerId }) => ledgerId),
      options,
    )
    const older = record.snapshots[1]
    if (older) await this.truncate(older.position, options)
    return true
  }

  async collectOrphans(options: CallSignal = {}): Promise<bigint[]> {
    const { ledgers, store } = this.#parts
    // The list before the record (D8): what is made in between is in no list, and cannot be taken
    // for an orphan.
    const ids: bigint[] = []
    for await (const ledgerId of ledgers.list(options)) ids.push(ledgerId)
    const { value: record } = await store.read(options)
    const orphans: bigint[] = []
    for (const ledgerId of ids) {
      const mark = await this.#markOf(ledgerId, options)
      if (mark?.logId !== record.logId) continue
      if (isOrphan(record, { ledgerId, epoch: mark.epoch })) orphans.push(ledgerId)
    }
    await this.#deleteAll(orphans, options)
    return orphans
  }

  async #markOf(ledgerId: bigint, options: CallSignal) {
    try {
      await using reader = await this.#parts.ledgers.tail(ledgerId, options)
      return readLedgerMark(reader.customMetadata)
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_ABORTED')) throw error
      // Gone meanwhile, under another password, or unreadable now: not provably ours, so left
      // alone.
      this.#parts.logger.debug({ log: this.name, ledgerId, err: error }, 'a ledger was passed over')
      return undefined
    }
  }

  async #deleteAll(ledgerIds: readonly bigint[], options: CallSignal): Promise<void> {
    for (const ledgerId of ledgerIds) {
      try {
        await this.#parts.ledgers.delete(ledgerId, options)
      } catch (error) {
        if (QuireError.is(error, 'QUIRE_ABORTED')) throw error
        const facts = { log: this.name, ledgerId, err: error }
        this.#parts.logger.warn(facts, 'a ledger that is not needed could not be deleted yet')
      }
    }
  }
}
