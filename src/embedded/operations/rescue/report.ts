// What may be lost when one node goes on alone, from what it has of the metadata.
//
// An acknowledged entry is on Qa bookies of the Qw that it was sent to. With fewer than Qw - Qa + 1
// of these left, all that had it may be gone. So a closed ledger is whole where that many copies
// are here, and may lack entries where there are fewer; where there is none, what is missing is
// known. The end of an open ledger is known by nobody who is left.
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

/** Ids, at most as many as an answer names. `mayLack` and `open` overlap with nothing. */
export interface LedgerSummary {
  readonly total: number
  /** Closed, with enough copies here for each entry to be certain. */
  readonly whole: number
  /** Closed, with a copy here of what this bookie had received: not of what only others had. */
  readonly mayLack: Group
  /** Not closed: what was written last may be missing, and is cut off at what this bookie has. */
  readonly open: Group
  /** With entries that were never sent to this bookie. */
  readonly gone: Group
}

export interface Group {
  readonly count: number
  readonly ledgers: readonly bigint[]
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

export async function reportOf(stored: Stored, managers: Managers): Promise<RescueReport> {
  const { identity, state } = stored
  const last = state.configurations.at(-1)?.configuration
  const bookieId = bookieOf(identity.id)
  const { summary, uncertain } = await ledgersLeft(managers, bookieId)
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
export type Fate = 'whole' | 'mayLack' | 'open' | 'gone'

export function fateOf(ledgerId: bigint, metadata: LedgerMetadata, bookieId: string): Fate {
  const found = copiesOf(ledgerId, metadata, (each) => each === bookieId)
  if (found === undefined) return 'whole'
  if (found.copies === 0) return 'gone'
  if (metadata.state !== 'closed') return 'open'
  return found.copies >= found.needed ? 'whole' : 'mayLack'
}

async function ledgersLeft(
  managers: Managers,
  bookieId: string,
): Promise<{ summary: LedgerSummary; uncertain: ReadonlySet<bigint> }> {
  const counts = { whole: 0, mayLack: 0, open: 0, gone: 0 }
  const named: Record<Fate, bigint[]> = { whole: [], mayLack: [], open: [], gone: [] }
  const uncertain = new Set<bigint>()
  for await (const { ledgerId, metadata } of eachLedger(managers)) {
    const fate = fateOf(ledgerId, metadata, bookieId)
    counts[fate] += 1
    if (fate === 'whole') continue
    uncertain.add(ledgerId)
    if (named[fate].length < ledgersNamedMax) named[fate].push(ledgerId)
  }
  const groupOf = (fate: Fate): Group => ({ count: counts[fate], ledgers: named[fate] })
  const total = counts.whole + counts.mayLack + counts.open + counts.gone
  const [mayLack, open, gone] = [groupOf('mayLack'), groupOf('open'), groupOf('gone')]
  return { summary: { total, whole: counts.whole, mayLack, open, gone }, uncertain }
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
