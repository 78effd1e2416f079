// I12: how the metadata of a ledger may change (semantics A1), one change at a time.

import type { LedgerFragment, LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'

export interface LedgerChange {
  /** Undefined: the ledger is made. */
  readonly before: LedgerMetadata | undefined
  readonly after: LedgerMetadata
  /** Entries that its writer has acknowledged, where that is known. */
  readonly ackedCount: number | undefined
}

/** What is wrong with a change; undefined: nothing. */
export function ledgerProblem(change: LedgerChange): string | undefined {
  const { before, after } = change
  return shapeProblem(after) ?? (before ? stepProblem(change, before) : birthProblem(after))
}

function shapeProblem({ state, fragments, ...metadata }: LedgerMetadata): string | undefined {
  const keys = fragments.map(({ firstEntryId }) => firstEntryId)
  const ascending = keys.every((key, at) => (at === 0 ? key === 0 : key > (keys[at - 1] ?? key)))
  if (!ascending) return `has fragments at ${keys.join()}`
  for (const { ensemble } of fragments) {
    if (new Set(ensemble).size !== metadata.ensembleSize)
      return `has an ensemble ${ensemble.join()}`
  }
  const { lastEntryId, lengthBytes } = metadata
  if (state !== 'closed' && (lastEntryId !== -1 || lengthBytes !== 0)) {
    return `is ${state}, and ends with ${lastEntryId}`
  }
  return undefined
}

function birthProblem({ state, fragments }: LedgerMetadata): string | undefined {
  const isNew = state === 'open' && fragments.length === 1
  return isNew ? undefined : `is made ${state}, with ${fragments.length} fragments`
}

function stepProblem(change: LedgerChange, before: LedgerMetadata): string | undefined {
  const { after } = change
  if (constants(before) !== constants(after)) return 'has changed what never changes'
  switch (`${before.state} to ${after.state}`) {
    case 'open to open':
      return growthProblem(change, before)
    case 'open to in-recovery':
    case 'open to closed':
      return same(before.fragments, after.fragments) ? undefined : 'has changed its fragments'
    case 'in-recovery to closed':
      return keepsAllButLast(before, after) ? undefined : 'was closed with other fragments'
    case 'closed to closed':
      return repairProblem(before, after)
    default:
      return `went from ${before.state} to ${after.state}`
  }
}

/** A change of the ensemble begins behind what is acknowledged; whoever is left behind is noted. */
function growthProblem(
  { after, ackedCount }: LedgerChange,
  before: LedgerMetadata,
): string | undefined {
  if (same(before.fragments, after.fragments)) {
    const noted = same(holes(before), holes(after))
    return noted ? 'was written again as it was' : undefined
  }
  if (!keepsAllButLast(before, after)) return 'has changed older fragments'
  const key = after.fragments.at(-1)?.firstEntryId
  if (ackedCount === undefined || key === ackedCount) return undefined
  return `has a new fragment at ${key}, and ${ackedCount} entries are acknowledged`
}

function repairProblem(before: LedgerMetadata, after: LedgerMetadata): string | undefined {
  if (same(before.fragments, after.fragments)) return 'was written again as it was'
  const facts = ({ fragments, lastEntryId, lengthBytes }: LedgerMetadata) => [
    lastEntryId,
    lengthBytes,
    ...fragments.map(({ firstEntryId }) => firstEntryId),
  ]
  return same(facts(before), facts(after)) ? undefined : 'has changed its end or its fragments'
}

/** The last fragment may be replaced, where it begins, and others may follow. */
function keepsAllButLast(before: LedgerMetadata, after: LedgerMetadata): boolean {
  const older = before.fragments.slice(0, -1)
  const replaced = after.fragments[older.length]
  const key = before.fragments.at(-1)?.firstEntryId
  return same(older, after.fragments.slice(0, older.length)) && replaced?.firstEntryId === key
}

function constants(metadata: LedgerMetadata): string {
  const { ensembleSize, writeQuorumSize, ackQuorumSize, digest, ctimeMs } = metadata
  return JSON.stringify([ensembleSize, writeQuorumSize, ackQuorumSize, digest, ctimeMs])
}

function holes({ customMetadata }: LedgerMetadata): readonly string[] {
  return [...customMetadata].map(([name, value]) => `${name}=${Buffer.from(value).toString('hex')}`)
}

function same<T extends number | string | LedgerFragment>(
  a: readonly T[],
  b: readonly T[],
): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
