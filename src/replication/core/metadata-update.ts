// Changes of a ledger's metadata (A1), each as an idempotent predicate and a pure transform, and
// the optimistic loop that carries one through: evaluate, compare-and-set, on a conflict or a lost
// reply read again and evaluate anew.
//
// Because predicate and transform see only what is stored, a reply that was lost is harmless: the
// retry sees its own effect and finishes without a second write.

import { invariant } from '../../invariant.ts'
import type { LedgerFragment, LedgerMetadata } from '../../wire/ledger-metadata.ts'
import { endHoles, formatHoles, holesKey, mergeHoles, parseHoles } from './holes.ts'
import type { Hole } from './holes.ts'

/** Why a change makes no sense any more. */
export type Refusal = 'closed' | 'in-recovery' | 'missing'

export type Verdict =
  | { readonly type: 'write'; readonly metadata: LedgerMetadata }
  | { readonly type: 'done' }
  | { readonly type: 'refused'; readonly reason: Refusal }

export type MetadataChange = (current: LedgerMetadata) => Verdict

const done: Verdict = { type: 'done' }

export function lastFragment(metadata: LedgerMetadata): LedgerFragment {
  const fragment = metadata.fragments.at(-1)
  invariant(fragment !== undefined, 'a ledger has a fragment')
  return fragment
}

/** The fragment that holds an entry: the one with the greatest start at or before it. */
export function fragmentOf(metadata: LedgerMetadata, entryId: number): LedgerFragment {
  const { fragments } = metadata
  for (let i = fragments.length - 1; i >= 0; i -= 1) {
    const fragment = fragments[i]
    if (fragment !== undefined && fragment.firstEntryId <= entryId) return fragment
  }
  return lastFragment({ ...metadata, fragments: fragments.slice(0, 1) })
}

/** Adds a fragment, or replaces the last one when that starts at the same entry. */
export function withFragment(
  fragments: readonly LedgerFragment[],
  added: LedgerFragment,
): LedgerFragment[] {
  const last = fragments.at(-1)
  invariant(
    last === undefined || last.firstEntryId <= added.firstEntryId,
    'fragments are added at the end',
    { last: last?.firstEntryId, added: added.firstEntryId },
  )
  const kept = last?.firstEntryId === added.firstEntryId ? fragments.slice(0, -1) : fragments
  return [...kept, added]
}

function withHoles(metadata: LedgerMetadata, holes: readonly Hole[]): LedgerMetadata {
  const customMetadata = new Map(metadata.customMetadata)
  if (holes.length === 0) customMetadata.delete(holesKey)
  else customMetadata.set(holesKey, formatHoles(holes))
  return { ...metadata, customMetadata }
}

function holesOf(metadata: LedgerMetadata): Hole[] {
  return parseHoles(metadata.customMetadata.get(holesKey))
}

function sameHoles(a: readonly Hole[], b: readonly Hole[]): boolean {
  return formatHoles(a).equals(formatHoles(b))
}

export interface Replacement {
  readonly index: number
  readonly failed: string
  readonly bookieId: string
}

export interface EnsembleChange {
  /** Last add confirmed + 1: it does not move until the change's outcome is known (A5). */
  readonly firstEntryId: number
  readonly replacements: readonly Replacement[]
  readonly holes: readonly Hole[]
}

/**
 * A7: while the ledger is open and some failed bookie is still at its index of the last fragment.
 */
export function ensembleChange(change: EnsembleChange): MetadataChange {
  return (current) => {
    if (current.state !== 'open') return { type: 'refused', reason: current.state }
    const last = lastFragment(current)
    const standing = change.replacements.filter(
      ({ index, failed }) => last.ensemble[index] === failed,
    )
    if (standing.length === 0) return done
    invariant(
      last.firstEntryId <= change.firstEntryId,
      'no fragment starts behind what is confirmed',
      {
        lastFragment: last.firstEntryId,
        firstEntryId: change.firstEntryId,
      },
    )
    const ensemble = [...last.ensemble]
    for (const { index, bookieId } of standing) ensemble[index] = bookieId
    invariant(new Set(ensemble).size === ensemble.length, 'an ensemble has distinct members')
    const fragments = withFragment(current.fragments, {
      firstEntryId: change.firstEntryId,
      ensemble,
    })
    const holes = mergeHoles(holesOf(current), change.holes)
    return { type: 'write', metadata: withHoles({ ...current, fragments }, holes) }
  }
}

/** Records that a member was left behind. */
export function holesChange(holes: readonly Hole[]): MetadataChange {
  return (current) => {
    if (current.state !== 'open') return { type: 'refused', reason: current.state }
    const known = holesOf(current)
    const merged = mergeHoles(known, holes)
    if (sameHoles(known, merged)) return done
    return { type: 'write', metadata: withHoles(current, merged) }
  }
}

export interface LedgerEnd {
  readonly lastEntryId: number
  readonly lengthBytes: number
  readonly holes: readonly Hole[]
}

/** A8, the strict rule: a writer that finds a recovery under way does not close. */
export function writerClose(end: LedgerEnd): MetadataChange {
  return (current) => {
    if (current.state === 'closed') {
      const same =
        current.lastEntryId === end.lastEntryId && current.lengthBytes === end.lengthBytes
      return same ? done : { type: 'refused', reason: 'closed' }
    }
    if (current.state !== 'open') return { type: 'refused', reason: current.state }
    const holes = endHoles(mergeHoles(holesOf(current), end.holes), end.lastEntryId)
    const { lastEntryId, lengthBytes } = end
    const closed = { ...current, state: 'closed', lastEntryId, lengthBytes } as const
    return { type: 'write', metadata: withHoles(closed, holes) }
  }
}

/** A10 R1. A ledger that is closed, or that somebody recovers already, needs no change. */
export const beginRecovery: MetadataChange = (current) =>
  current.state === 'open'
    ? { type: 'write', metadata: { ...current, state: 'in-recovery' } }
    : done

/**
 * A10 R6: end, length and the fragments that recovery made, in one write. Whoever closed first is
 * adopted.
 */
export function endRecovery(
  end: LedgerEnd & { readonly fragments: readonly LedgerFragment[] },
): MetadataChange {
  return (current) => {
    if (current.state === 'closed') return done
    invariant(current.state === 'in-recovery', 'a recovery never goes back to open')
    let fragments: readonly LedgerFragment[] = current.fragments
    for (const fragment of end.fragments) fragments = withFragment(fragments, fragment)
    const holes = endHoles(mergeHoles(holesOf(current), end.holes), end.lastEntryId)
    const { lastEntryId, lengthBytes } = end
    const closed = { ...current, state: 'closed', fragments, lastEntryId, lengthBytes } as const
    return { type: 'write', metadata: withHoles(closed, holes) }
  }
}
