// Taking a log over (D6): the epoch first, then the ends of what older owners left open, then a
// ledger, then the record names it, and only then a writer. After the epoch is in the record no
// older owner can change it; after the recovery no older owner can have a record acknowledged; so
// histories of owners follow one another and never interleave.

import { QuireError } from '../../errors.ts'
import type { LedgerReader } from '../../replication/api.ts'
import { decodeEntryHeader } from './core/log-entry.ts'
import { nextRecovery } from './core/locate.ts'
import {
  appendSegment,
  claim,
  endOf,
  recordEnd,
  type LogRecord,
  type LogSegment,
  type SegmentEnd,
} from './core/log-record.ts'
import { ledgerMark, type LogParts } from './parts.ts'
import { checkSignal, orAborted } from './wait.ts'
import { SegmentedWriter } from './writer.ts'

export interface AcquireOptions {
  readonly signal?: AbortSignal | undefined
}

export interface TakeOverOptions extends AcquireOptions {
  /**
   * Only from this epoch's owner: fails with QUIRE_NOT_OWNER when another one came in between.
   */
  readonly ifEpoch?: number | undefined
}

/**
 * Fails with QUIRE_NOT_OWNER when somebody else acquired the log meanwhile, and with what ledgers
 * and metadata fail with.
 */
export async function acquire(
  parts: LogParts,
  options: TakeOverOptions = {},
): Promise<SegmentedWriter> {
  const { signal, ifEpoch } = options
  checkSignal(signal)
  const { store, random, owner } = parts
  const token = random.uuid()
  const id = `${owner.id}/${owner.incarnation}`
  const change = (record: LogRecord) => claim(record, { id, token, ifEpoch })
  const claimed = await store.change(change, { signal })
  if (claimed.outcome.type === 'lost') {
    throw superseded(parts, { epoch: claimed.outcome.epoch, own: ifEpoch ?? 0 })
  }
  const record = await recoverAll(parts, claimed.record, signal)
  return openSegment(parts, record, signal)
}

async function recoverAll(
  parts: LogParts,
  claimed: LogRecord,
  signal: AbortSignal | undefined,
): Promise<LogRecord> {
  const epoch = claimed.ownerEpoch
  let record = claimed
  for (;;) {
    const next = nextRecovery(record, epoch)
    if (next.type === 'open') return record
    if (next.type === 'lost') throw superseded(parts, { epoch: next.epoch, own: epoch })
    const end = await recoverSegment(parts, next.segment, signal)
    const changed = await parts.store.change((r) => recordEnd(r, epoch, end), { signal })
    record = changed.record
  }
}

/** Fences whoever writes it, and reads its end from its last entry. */
async function recoverSegment(
  parts: LogParts,
  segment: LogSegment,
  signal: AbortSignal | undefined,
): Promise<SegmentEnd> {
  await using reader = await parts.ledgers.recover(segment.ledgerId, { signal })
  const last = await lastEntry(reader, signal)
  const { ledgerId, firstPosition } = segment
  if (!last) return { ledgerId, endPosition: firstPosition, timeMs: 0 }
  return { ledgerId, endPosition: last.firstPosition + last.count, timeMs: last.timeMs }
}

async function lastEntry(reader: LedgerReader, signal: AbortSignal | undefined) {
  const entryId = reader.lastAddConfirmed
  if (entryId < 0) return undefined
  for await (const { payload } of reader.read({ from: entryId, to: entryId, signal })) {
    return decodeEntryHeader(payload)
  }
  throw new QuireError(
    'QUIRE_ENTRY_UNREADABLE',
    `the last entry ${entryId} of ledger ${reader.ledgerId} was not delivered; try again`,
    { facts: { ledgerId: reader.ledgerId, entryId } },
  )
}

async function openSegment(
  parts: LogParts,
  record: LogRecord,
  signal: AbortSignal | undefined,
): Promise<SegmentedWriter> {
  const { logId, ownerEpoch: epoch } = record
  const seq = (record.segments.at(-1)?.seq ?? 0) + 1
  const customMetadata = ledgerMark({ logId, epoch, kind: 'segment', seq })
  const ledger = await parts.ledgers.create({ ...parts.options.ledger, customMetadata, signal })
  try {
    const segment = { ledgerId: ledger.ledgerId, epoch }
    // Not abortable: an aborted change has an unknown outcome, and the ledger would be open under a
    // name in the record.
    const work = parts.store.change((r) => appendSegment(r, segment))
    const { outcome, record: named } = await orAborted(work, signal)
    if (outcome.type === 'lost') throw superseded(parts, { epoch: outcome.epoch, own: epoch })
    void deleteDropped(parts, record, named)
    return new SegmentedWriter(parts, {
      logId,
      epoch,
      seq,
      ledger,
      firstPosition: firstPositionOf(named, ledger.ledgerId),
      timeMs: named.lastTimeMs,
    })
  } catch (error) {
    // Named or not: without a writer it stays empty, and the next owner closes or collects it.
    ledger.close().catch((cause: unknown) => {
      parts.logger.debug({ log: parts.name, err: cause }, 'a ledger was left open')
    })
    throw error
  }
}

/** Ledgers of empty segments that the record does not name any more. */
async function deleteDropped(parts: LogParts, before: LogRecord, after: LogRecord): Promise<void> {
  const kept = new Set(after.segments.map(({ ledgerId }) => ledgerId))
  for (const { ledgerId } of before.segments) {
    if (kept.has(ledgerId)) continue
    try {
      await parts.ledgers.delete(ledgerId)
    } catch (error) {
      // It is collected later.
      const facts = { log: parts.name, ledgerId, err: error }
      parts.logger.debug(facts, 'the ledger of an empty segment could not be deleted yet')
    }
  }
}

function firstPositionOf(record: LogRecord, ledgerId: bigint): number {
  const position = record.segments.find((s) => s.ledgerId === ledgerId)?.firstPosition
  if (position !== undefined) return position
  throw new QuireError('QUIRE_NOT_OWNER', 'the new segment was taken out of the record again', {
    facts: { ledgerId, end: endOf(record) },
  })
}

function superseded(parts: LogParts, facts: { epoch: number; own: number }): QuireError {
  return new QuireError(
    'QUIRE_NOT_OWNER',
    `another owner acquired the log ${parts.name} at the same time; try again if this node ` +
      'should own it',
    { facts },
  )
}
