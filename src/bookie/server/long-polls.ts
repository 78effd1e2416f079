// Readers that wait for a ledger's last confirmed position to advance (wire 2.7). Each waits once:
// whichever comes first of the advance, the timer and the end of its connection removes it.

import type { Timer, Timers } from '../../io/index.ts'
import { ledgerFlags, type LedgerIndex } from '../index/ledger-index.ts'
import type { Call } from './call.ts'

/** The timer's grain of Java bookies: "at once" means the next tick. */
const tickMs = 10
const longestMs = 24 * 3600 * 1000

export interface LongPoll {
  readonly call: Call
  /** The record of the ledger in the index. */
  readonly ledger: number
  /** Goes on with the call; `advanced`: the position really moved beyond the one it knows. */
  readonly go: (advanced: boolean) => void
}

interface Waiting extends LongPoll {
  timer: Timer | undefined
}

export class LongPolls {
  readonly #timers: Timers
  readonly #index: LedgerIndex
  readonly #byLedger = new Map<number, Set<Waiting>>()
  #count = 0

  constructor(timers: Timers, index: LedgerIndex) {
    this.#timers = timers
    this.#index = index
  }

  get count(): number {
    return this.#count
  }

  /** Returns a function that ends the wait without an answer. */
  wait(poll: LongPoll, timeoutMs: number): () => void {
    const waiting: Waiting = { ...poll, timer: undefined }
    const polls = this.#byLedger.get(poll.ledger) ?? new Set()
    polls.add(waiting)
    this.#byLedger.set(poll.ledger, polls)
    this.#index.mark(poll.ledger, ledgerFlags.watched)
    this.#count++
    const delayMs = Math.min(Math.max(timeoutMs, tickMs), longestMs)
    waiting.timer = this.#timers.after(delayMs, () => {
      if (this.#remove(waiting)) waiting.go(false)
    })
    return () => {
      this.#remove(waiting)
    }
  }

  /** The position of a ledger advanced, or (`ended`) waiting makes no more sense. */
  advanced(ledger: number, ended: boolean): void {
    const polls = this.#byLedger.get(ledger)
    if (polls === undefined) return
    const lac = this.#index.lac(ledger)
    for (const waiting of polls) {
      const moved = lac > waiting.call.previousLac
      if ((moved || ended) && this.#remove(waiting)) waiting.go(moved)
    }
  }

  #remove(waiting: Waiting): boolean {
    const polls = this.#byLedger.get(waiting.ledger)
    if (polls === undefined || !polls.delete(waiting)) return false
    waiting.timer?.cancel()
    this.#count--
    if (polls.size === 0) {
      this.#byLedger.delete(waiting.ledger)
      this.#index.unmark(waiting.ledger, ledgerFlags.watched)
    }
    return true
  }
}
