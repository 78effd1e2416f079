// Which bookies make an ensemble. Chance is given: a number below each count that it asks for.

import { canAckWithout } from './quorum.ts'
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
 * ensemble, and one to avoid only where no ack quorum would be left without it (A7: preferably).
 * Index positions are kept.
 */
export function chooseReplacements(
  quorum: Quorum,
  ensemble: readonly string[],
  options: {
    failed: number
    candidates: readonly string[]
    avoid: ReadonlySet<string>
    /** Failed this very ledger: not even the last resort. */
    shun?: ReadonlySet<string>
    /** Members that were left behind. */
    lagging?: number
    below: Below
  },
): (string | undefined)[] {
  const { failed, avoid, shun, lagging = 0, below } = options
  const others = [...new Set(options.candidates)].filter((id) => !ensemble.includes(id))
  const good = shuffle(
    others.filter((id) => !avoid.has(id)),
    below,
  )
  const poor = shuffle(
    others.filter((id) => avoid.has(id) && shun?.has(id) !== true),
    below,
  )
  const chosen: (string | undefined)[] = []
  let without = lagging | failed
  const choose = (index: number, bookieId: string | undefined): void => {
    chosen[index] = bookieId
    if (bookieId !== undefined) without &= ~(1 << index)
  }
  for (let index = 0; index < quorum.ensembleSize; index += 1) {
    choose(index, (failed & (1 << index)) === 0 ? undefined : good.pop())
  }
  for (let index = 0; index < quorum.ensembleSize; index += 1) {
    const lacks = (failed & (1 << index)) !== 0 && chosen[index] === undefined
    if (lacks && !canAckWithout(quorum, without)) choose(index, poor.pop())
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
