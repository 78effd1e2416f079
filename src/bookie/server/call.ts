// One request that is answered later than in the turn that brought it: what its answer needs,
// copied from the decoder's view. Adds have none (they wait as numbers, see acks.ts).

import { type BookieRequest, type Operation, requestFlags } from '../../wire/bookie-messages.ts'

/** What every answer echoes. A decoded request has these fields too. */
export interface Echo {
  readonly protocol: 2 | 3
  readonly version: number
  readonly operation: Operation | 0
  readonly rawOperation: number
  readonly txnHigh: number
  readonly txnLow: number
  readonly priority: number
  readonly ledgerHigh: number
  readonly ledgerLow: number
  readonly entryId: number
}

export interface Call extends Echo {
  readonly fencing: boolean
  readonly piggyback: boolean
  readonly previousLac: number
  readonly maxCount: number
  readonly maxBytes: number
}

export function callOf(request: BookieRequest): Call {
  return {
    protocol: request.protocol,
    version: request.version,
    operation: request.operation,
    rawOperation: request.rawOperation,
    txnHigh: request.txnHigh,
    txnLow: request.txnLow,
    priority: request.priority,
    ledgerHigh: request.ledgerHigh,
    ledgerLow: request.ledgerLow,
    entryId: request.entryId,
    fencing: (request.flags & requestFlags.fence) !== 0,
    piggyback: (request.flags & requestFlags.piggyback) !== 0,
    previousLac: request.previousLac,
    maxCount: request.maxCount,
    maxBytes: request.maxBytes,
  }
}
