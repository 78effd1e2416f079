// Which bookies make an ensemble. Chance is given: a number below each count that it asks for.

import type { Quorum, QuorumSizes } from './quorum.ts'

export type Below = (below: number) => number

/**
 * `count` of the candidates, those in `avoid` only when the others do not suffice; undefined when
 * there are too few.
 */
export function chooseEnsemble(
  candidates: readonly string[],
  options: { count: number; avoid: ReadonlySet<string>; below: Below },
): string[] | undefined {
  const distinct = [...new Set(candidates)]
  if (distinct.length < options.count) return undefined
  const good = shuffle(
    distinct.filter((id) => !options.avoid.has(id)),
    options.below,
  )
  const poor = shuffle(
    distinct.filter((id) => options.avoid.has(id)),
    options.below,
  )
  return [...good, ...poor].slice(0, options.count)
}

/**
 * A replacement for each index in the mask `failed`, as many as there are: never a member of the
 * ensemble, never one to avoid. Index positions are kept (A7).
 */
export function chooseReplacements(
  quorum: Quorum,
  ensemble: readonly string[],
  options: {
    failed: number
    candidates: readonly string[]
    avoid: ReadonlySet<string>
    below: Below
  },
): (string | undefined)[] {
  const spare = shuffle(
    [...new Set(options.candidates)].filter(
      (id) => !ensemble.includes(id) && !options.avoid.has(id),
    ),
    options.below,
  )
  const chosen: (string | undefined)[] = []
  for (let index = 0; index < quorum.ensembleSize; index += 1) {
    chosen.push((options.failed & (1 << index)) === 0 ? undefined : spare.pop())
  }
  return chosen
}

export interface WantedSizes {
  readonly ensembleSize?: number | undefined
  readonly writeQuorumSize?: number | undefined
  readonly ackQuorumSize?: number | undefined
}

/**
 * Sizes for a new ledger with `live` bookies (A16). Without a wish: three copies, two when only two
 * live, and two are always durable before an acknowledgement. An ensemble shrinks to what lives, an
 * ack quorum never: undefined when too few live.
 */
export function ledgerSizes(wanted: WantedSizes, live: number): QuorumSizes | undefined {
  const ensembleWish = wanted.ensembleSize ?? Math.max(3, wanted.writeQuorumSize ?? 0)
  const writeWish = Math.min(wanted.writeQuorumSize ?? ensembleWish, ensembleWish)
  const ackQuorumSize = wanted.ackQuorumSize ?? Math.floor(writeWish / 2) + 1
  const ensembleSize = Math.min(ensembleWish, live)
  const writeQuorumSize = Math.min(writeWish, ensembleSize)
  if (writeQuorumSize < ackQuorumSize || ackQuorumSize < 1) return undefined
  return { ensembleSize, writeQuorumSize, ackQuorumSize }
}

function shuffle(ids: string[], below: Below): string[] {
  for (let i = ids.length - 1; i > 0; i -= 1) {
    const j = below(i + 1)
    const [a, b] = [ids[i], ids[j]]
    if (a === undefined || b === undefined) continue
    ids[i] = b
    ids[j] = a
  }
  return ids
}
