// What is lost when one node goes on alone, from what it has of the metadata and of the entries.
//
// The bookie's own disk says of each closed ledger which entries are here: the others are lost. The
// end of an open ledger is known by nobody who is left. Where the disk cannot be read, the ledgers'
// metadata says what may be lost: an acknowledged entry is on Qa bookies of the Qw that it was sent
// to, so with fewer than Qw - Qa + 1 of these left, all that had it may be gone.
import type { BookieSurvey } from '../../../bookie/index.ts'
import { decodeLogRecord } from '../../log/core/log-record-codec.ts'
import { membersOf } from '../../../metadata/raft/core/configuration.ts'
import { bookieOf } from '../../../metadata/raft/founding/member-id.ts'
import type { Stored } from '../../../metadata/raft/stored.ts'
import type { LedgerMetadata } from '../../../wire/ledger-metadata.ts'
import type { Managers } from '../../managers.ts'
import { copiesOf } from '../copies.ts'
import { eachLedger, ledgersNamedMax } from '../with-metadata.ts'

export interface RescueReport {
  readonly clusterId: string
  /** As a member, and its bookie. */
  readonly id: string
  readonly bookieId: string
  readonly voters: readonly string[]
  /** Members that will be no more. */
  readonly lost: readonly string[]
  /** Entries of the metadata's log: all up to `appended` are kept. */
  readonly log: {
    readonly term: number
    readonly applied: number
    /** As far as this node was told. */
    readonly committed: number
    readonly appended: number
  }
  readonly ledgers: LedgerSummary
  readonly logs: readonly LogLeft[]
}

export interface LedgerSummary {
  readonly total: number
  /** Closed, with all entries here. */
  readonly whole: number
  /** Closed, and entries are missing here, or may be. */
  readonly lacking: Group
  /** Not closed: what was written last may be missing, and is cut off at what this bookie has. */
  readonly open: Group
  /** With entries that were never sent to this bookie. */
  readonly gone: Group
}

export interface Group {
  readonly count: number
  /** At most as many as an answer names. */
  readonly ledgers: readonly LedgerLeft[]
}

export interface LedgerLeft {
  readonly ledgerId: bigint
  /** Entries of it that are here; undefined: the bookie's disk was not read. */
  readonly held: number | undefined
  /** Entries that are not; undefined: not known. */
  readonly missing: number | undefined
}

/** A log, and who owned it. */
export interface LogLeft {
  readonly name: string
  readonly ownerId: string
  readonly ownerEpoch: number
  readonly segments: number
  /** Of its segments, the ledgers that are not whole. */
  readonly uncertain: readonly bigint[]
}

export interface WhatIsLeft {
  readonly stored: Stored
  readonly managers: Managers
  /** Of the node's own bookie. */
  readonly survey: BookieSurvey | undefined
}

export async function reportOf({ stored, managers, survey }: WhatIsLeft): Promise<RescueReport> {
  const { identity, state } = stored
  const last = state.configurations.at(-1)?.configuration
  const bookieId = bookieOf(identity.id)
  const { summary, uncertain } = await ledgersLeft(managers, { bookieId, survey })
  const { term, commit: committed } = state.hardState
  return {
    clusterId: identity.clusterId,
    id: identity.id,
    bookieId,
    voters: last?.voters ?? [],
    lost: (last ? membersOf(last) : []).filter((id) => id !== identity.id),
    log: { term, applied: state.applied, committed, appended: state.lastIndex },
    ledgers: summary,
    logs: await logsLeft(managers, uncertain),
  }
}

/** How a ledger fares when only the bookie of this node is left. */
export type Fate = 'whole' | 'lacking' | 'open' | 'gone'

export interface BookieLeft {
  readonly bookieId: string
  readonly survey?: BookieSurvey | undefined
}

export function fateOf(
  ledgerId: bigint,
  metadata: LedgerMetadata,
  { bookieId, survey }: BookieLeft,
): LedgerLeft & { readonly fate: Fate } {
  const { state, lastEntryId } = metadata
  const isClosed = state === 'closed'
  const held = survey?.held(ledgerId, isClosed ? lastEntryId : Number.MAX_SAFE_INTEGER - 1)
  const missing = held !== undefined && isClosed ? lastEntryId + 1 - held : undefined
  const left = { ledgerId, held, missing }
  const found = copiesOf(ledgerId, metadata, (each) => each === bookieId)
  if (found === undefined || missing === 0) return { ...left, fate: 'whole' }
  if (found.copies === 0) return { ...left, fate: 'gone' }
  if (!isClosed) return { ...left, fate: 'open' }
  const isCertain = missing === undefined && found.copies >= found.needed
  return { ...left, fate: isCertain ? 'whole' : 'lacking' }
}

async function ledgersLeft(
  managers: Managers,
  bookie: BookieLeft,
): Promise<{ summary: LedgerSummary; uncertain: ReadonlySet<bigint> }> {
  const counts = { whole: 0, lacking: 0, open: 0, gone: 0 }
  const named: Record<Fate, LedgerLeft[]> = { whole: [], lacking: [], open: [], gone: [] }
  const uncertain = new Set<bigint>()
  for await (const { ledgerId, metadata } of eachLedger(managers)) {
    const { fate, ...left } = fateOf(ledgerId, metadata, bookie)
    counts[fate] += 1
    if (fate === 'whole') continue
    uncertain.add(ledgerId)
    if (named[fate].length < ledgersNamedMax) named[fate].push(left)
  }
  const groupOf = (fate: Fate): Group => ({ count: counts[fate], ledgers: named[fate] })
  const total = counts.whole + counts.lacking + counts.open + counts.gone
  const [lacking, open, gone] = [groupOf('lacking'), groupOf('open'), groupOf('gone')]
  return { summary: { total, whole: counts.whole, lacking, open, gone }, uncertain }
}

async function logsLeft({ records }: Managers, uncertain: ReadonlySet<bigint>): Promise<LogLeft[]> {
  const logs: LogLeft[] = []
  for (const name of await records.list()) {
    const found = await records.read(name)
    if (!found) continue
    const { ownerId, ownerEpoch, segments } = decodeLogRecord(found.value, name)
    const ledgers = segments.map(({ ledgerId }) => ledgerId).filter((id) => uncertain.has(id))
    logs.push({ name, ownerId, ownerEpoch, segments: segments.length, uncertain: ledgers })
  }
  return logs
}
