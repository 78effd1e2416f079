// What the oracle knows of damage: what a bookie may lack, what it may forget unnoticed, and what it
// must have kept.

import { recordTypes } from '../../src/bookie/journal/contract.ts'
import type { Damage, StoredRecord } from '../../src/simulation/index.ts'
import type { BookieChecker, BookieFacts, Held } from './checkers/bookies.ts'
import type { LedgerChecker } from './checkers/ledgers.ts'
import type { Promised } from './crash-clone.ts'
import type { MetadataChecker } from './checkers/metadata.ts'

export interface BudgetParts {
  readonly metadata: () => MetadataChecker
  readonly damage: () => Damage | undefined
}

/** Newest copies, and fences, that are asked for after a crash. */
const askedMax = 12

export class Budget implements BookieFacts {
  readonly #parts: BudgetParts

  constructor(parts: BudgetParts) {
    this.#parts = parts
  }

  isLost({ bookie, ledgerId, entryId }: Held): boolean {
    return this.#parts.damage()?.isLost(bookie, ledgerId, entryId) === true
  }

  isForgotten({ bookie, ledgerId, entryId, lastAckedAt }: Held): boolean {
    const at = this.#parts.damage()?.forgottenAt(bookie, ledgerId, entryId)
    return at !== undefined && lastAckedAt <= at
  }

  isLeaving(ledgerId: bigint): boolean {
    return this.#parts.metadata().isLeaving(ledgerId)
  }

  /** Whether a node that was refused a start may stay down. */
  mayStayDown(machine: string, error: unknown): boolean {
    return this.#parts.damage()?.explains(machine, error) === true
  }

  mayRefuse(machine: string, error: unknown): boolean {
    return this.#parts.damage()?.explainsOnce(machine, error) === true
  }

  /** Nothing may be asked of a clone of a disk that is damaged. */
  isSound(machine: string): boolean {
    return this.#parts.damage()?.isOf(machine) !== true
  }

  promisedBy(machine: string, bookies: BookieChecker): Promised {
    const isHere = (entry: { readonly bookie: string; readonly ledgerId: bigint }): boolean =>
      entry.bookie === machine && !this.isLeaving(entry.ledgerId)
    const held = bookies.held.filter((entry) => isHere(entry) && !this.isForgotten(entry))
    return {
      held: held.slice(-askedMax),
      fences: bookies.fences.filter(isHere).slice(-4 * askedMax),
    }
  }

  /**
   * Whether a bookie may forget records without being able to notice. What it then denies counts as
   * a negative answer: it must be one more than an ack quorum that holds an entry, unless the
   * ledger's end is known already.
   */
  mayForget(
    machine: string,
    records: readonly StoredRecord[],
    checkers: { readonly bookies: BookieChecker; readonly ledgers: LedgerChecker },
  ): boolean {
    return records.every(({ type, ledgerId, entryId }) => {
      if (type !== recordTypes.entry && type !== recordTypes.fence) return true
      const metadata = this.#parts.metadata().ledger(ledgerId)
      if (metadata === undefined || this.isLeaving(ledgerId)) return false
      const isClosed = metadata.state === 'closed'
      if (type === recordTypes.fence) return isClosed
      const holders = checkers.bookies.holders(ledgerId, entryId)
      if (!holders.includes(machine)) return true
      const ensemble = this.#parts.metadata().owners(ledgerId, entryId) ?? []
      const others = ensemble.filter((each) => each !== machine && holders.includes(each))
      const isAcked = entryId < (checkers.ledgers.ackedCount(ledgerId) ?? 0)
      if (!isClosed && !isAcked) return false
      return others.length >= (isClosed ? 1 : metadata.ackQuorumSize)
    })
  }
}
