// How many copies of a ledger's entries are where. Pure.
import type { LedgerMetadata } from '../../wire/ledger-metadata.ts'

/** A ledger that has too few copies, or names a bookie. */
export interface LedgerCopies {
  readonly ledgerId: bigint
  readonly state: LedgerMetadata['state']
  /** Copies that the entry with the fewest has at least, or may have, on bookies that live. */
  readonly copies: number
  /** Bookies that must have been asked before an entry is known to be nowhere: Qw - Qa + 1. */
  readonly needed: number
}

/** Bookies that any of its entries may be on. */
export function bookiesOf({ fragments }: LedgerMetadata): Set<string> {
  return new Set(fragments.flatMap(({ ensemble }) => ensemble))
}

/** Undefined: it holds no entry. */
export function copiesOf(
  ledgerId: bigint,
  metadata: LedgerMetadata,
  isLive: (bookieId: string) => boolean,
): LedgerCopies | undefined {
  const { state, writeQuorumSize, ackQuorumSize } = metadata
  const held = fragmentsWithEntries(metadata)
  if (held.length === 0) return undefined
  const fewest = held.map(({ ensemble }) => fewestLive(ensemble, writeQuorumSize, isLive))
  const needed = writeQuorumSize - ackQuorumSize + 1
  return { ledgerId, state, copies: Math.min(...fewest), needed }
}

function fragmentsWithEntries({ state, fragments, lastEntryId }: LedgerMetadata) {
  if (state !== 'closed') return fragments
  return fragments.filter(({ firstEntryId }) => firstEntryId <= lastEntryId)
}

/** Entry `n` is on the bookies at `n` to `n + Qw - 1`, around the ensemble. */
function fewestLive(
  ensemble: readonly string[],
  writeQuorumSize: number,
  isLive: (bookieId: string) => boolean,
): number {
  const size = ensemble.length
  const liveFrom = (first: number): number =>
    Array.from({ length: writeQuorumSize }, (_, at) => ensemble[(first + at) % size]).filter(
      (bookieId) => bookieId !== undefined && isLive(bookieId),
    ).length
  return Math.min(...ensemble.map((_, first) => liveFrom(first)))
}
