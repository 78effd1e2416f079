// What a bookie knows of the last add confirmed: asked of a whole ensemble at once (READ_LAC), and
// waited for by long polls.

import type { QuireError } from '../errors.ts'
import { requestFlags, statuses } from '../wire/bookie-messages.ts'
import type { BookieResponse } from '../wire/bookie-messages.ts'
import { encodeReadLacRequest, encodeReadRequest } from '../wire/bookie-request.ts'
import { entryLac, lacPacketLac, verifyEntry, verifyLacPacket } from '../wire/entry.ts'
import type { LedgerIdentity } from './add-pipeline.ts'
import type { ReplySink } from './bookie-connection.ts'
import { fencingCoverage } from './core/quorum.ts'
import type { Quorum } from './core/quorum.ts'
import type { ClientParts } from './parts.ts'

export interface ConfirmedQuery {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly quorum: Quorum
  readonly ensemble: readonly string[]
}

/**
 * The highest confirmation that members know of; undefined when none could be asked. It may be
 * stale, never too high.
 */
export async function readConfirmed(query: ConfirmedQuery): Promise<number | undefined> {
  const read = new ConfirmedRead(query)
  return read.result
}

class ConfirmedRead implements ReplySink {
  readonly #query: ConfirmedQuery
  readonly #done = Promise.withResolvers<number | undefined>()
  #known = 0
  #failed = 0
  #lac = -1

  constructor(query: ConfirmedQuery) {
    this.#query = query
    const { parts, identity, ensemble } = query
    const { ledgerHigh, ledgerLow } = identity
    ensemble.forEach((bookieId, index) => {
      parts.bookies.connection(bookieId).request({
        encode: (txnLow) => encodeReadLacRequest({ txnHigh: 0, txnLow, ledgerHigh, ledgerLow }),
        sink: this,
        token: index,
        timeoutMs: parts.options.readTimeoutMs,
      })
    })
  }

  get result(): Promise<number | undefined> {
    return this.#done.promise
  }

  answered(index: number, response: BookieResponse): void {
    const { status } = response
    const negative = status === statuses.noEntry || status === statuses.noLedger
    const lac = confirmedIn(response, this.#query.identity)
    if (lac !== undefined) this.#lac = Math.max(this.#lac, lac)
    if (lac !== undefined || negative) this.#known |= 1 << index
    else this.#failed |= 1 << index
    this.#settle()
  }

  failed(index: number): void {
    this.#failed |= 1 << index
    this.#settle()
  }

  #settle(): void {
    const { quorum } = this.#query
    const members = { known: this.#known, failed: this.#failed }
    const all = (this.#known | this.#failed) === quorum.all
    if (!all && fencingCoverage(quorum, members) !== 'covered') return
    this.#done.resolve(this.#known === 0 ? undefined : this.#lac)
  }
}

/**
 * The higher of both bodies, each verified; undefined when there is none. A body counts whatever
 * the status (wire 2.8).
 */
function confirmedIn(response: BookieResponse, identity: LedgerIdentity): number | undefined {
  const { bytes, bodyStart, bodyEnd, secondStart, secondEnd } = response
  const { digest, ledgerHigh, ledgerLow } = identity
  const expected = { digest, ledgerHigh, ledgerLow, entryId: -1 }
  let lac: number | undefined
  if (response.hasBody && verifyLacPacket(bytes, bodyStart, bodyEnd, expected) === 'ok') {
    lac = lacPacketLac(bytes, bodyStart)
  }
  if (response.hasSecond && verifyEntry(bytes, secondStart, secondEnd, expected) === 'ok') {
    lac = Math.max(lac ?? -1, entryLac(bytes, secondStart))
  }
  return lac
}

export interface PollOptions extends ConfirmedQuery {
  readonly above: number
  readonly timeoutMs: number
  /** Of each confirmation above `above`. */
  readonly heard: (lac: number) => void
  /** Once, when all members have answered or failed. */
  readonly rested: () => void
}

/** One long poll of every member. */
export class ConfirmedPoll implements ReplySink {
  readonly options: PollOptions
  #outstanding = 0

  constructor(options: PollOptions) {
    this.options = options
    const { parts, identity, ensemble, above, timeoutMs } = options
    const { ledgerHigh, ledgerLow } = identity
    this.#outstanding = ensemble.length
    ensemble.forEach((bookieId, index) => {
      parts.bookies.connection(bookieId).request({
        encode: (txnLow) =>
          encodeReadRequest({
            txnHigh: 0,
            txnLow,
            ledgerHigh,
            ledgerLow,
            entryId: -1,
            flags: requestFlags.piggyback,
            previousLac: above,
            timeoutMs,
          }),
        sink: this,
        token: index,
        timeoutMs: timeoutMs + parts.options.readTimeoutMs,
      })
    })
  }

  answered(_index: number, response: BookieResponse): void {
    const { status, hasMaxLac, maxLac } = response
    const safe = Number.isSafeInteger(maxLac)
    if (status === statuses.ok && hasMaxLac && safe && maxLac > this.options.above) {
      this.options.heard(maxLac)
    }
    this.#rest()
  }

  failed(_index: number, _error: QuireError): void {
    this.#rest()
  }

  #rest(): void {
    this.#outstanding -= 1
    if (this.#outstanding === 0) this.options.rested()
  }
}
