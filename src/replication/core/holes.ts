// What members of an ensemble lack, as the ledger's metadata records it (custom metadata
// `quire.missing`).
//
// Text, a line a hole: `FROM TO BOOKIE`, entry ids in decimal, TO `*` while the hole is still
// growing: up to the last entry of the fragments, from the one that holds FROM on, that name the
// bookie. A hole says "may lack": whoever repairs asks. It never reads as absence, and one whose
// bookie is in no fragment of its range any more means nothing.

import { Buffer } from 'node:buffer'

export const holesKey = 'quire.missing'

export interface Hole {
  readonly bookieId: string
  readonly from: number
  /** Inclusive; undefined while it is still growing. */
  readonly to: number | undefined
}

const line = /^(\d+) (\d+|\*) (\S+)$/

/** Lines that are not understood are left out: a newer writer may have added others. */
export function parseHoles(bytes: Uint8Array | undefined): Hole[] {
  if (bytes === undefined) return []
  const holes: Hole[] = []
  for (const text of Buffer.from(bytes).toString('utf8').split('\n')) {
    const match = line.exec(text)
    if (match === null) continue
    const [, from = '', to = '', bookieId = ''] = match
    holes.push({ bookieId, from: Number(from), to: to === '*' ? undefined : Number(to) })
  }
  return holes
}

export function formatHoles(holes: readonly Hole[]): Buffer {
  const lines = holes.map(({ bookieId, from, to }) => `${from} ${to ?? '*'} ${bookieId}`)
  return Buffer.from(lines.toSorted().join('\n'), 'utf8')
}

/** The union, one hole for each bookie and start; one that has ended does not grow again. */
export function mergeHoles(known: readonly Hole[], added: readonly Hole[]): Hole[] {
  const merged = new Map<string, Hole>()
  for (const hole of [...known, ...added]) {
    const key = `${hole.from} ${hole.bookieId}`
    const before = merged.get(key)
    if (before?.to === undefined || hole.to !== undefined) merged.set(key, hole)
  }
  return [...merged.values()]
}

/** Ends growing holes at the last entry of a closed ledger, and drops those that lie behind it. */
export function endHoles(holes: readonly Hole[], lastEntryId: number): Hole[] {
  const ended: Hole[] = []
  for (const { bookieId, from, to } of holes) {
    const end = Math.min(to ?? lastEntryId, lastEntryId)
    if (from <= end) ended.push({ bookieId, from, to: end })
  }
  return ended
}
