// What clients may do, by area. Each life does a part of it; some runs are about one area alone, so
// that more of it happens.

import type { Work } from './workload.ts'
import * as work from './workload.ts'

export const areas = ['ledgers', 'logs', 'states', 'registers'] as const
export type Area = (typeof areas)[number]

interface Task {
  readonly name: string
  readonly area: Area
  /** One life in so many has it, when runs are about everything. */
  readonly oneIn: number
  readonly work: Work
}

export const tasks: readonly Task[] = [
  { name: 'ledger writer', area: 'ledgers', oneIn: 3, work: work.writeLedger },
  { name: 'ledger recoverer', area: 'ledgers', oneIn: 3, work: work.recoverLedger },
  { name: 'ledger reader', area: 'ledgers', oneIn: 3, work: work.tailLedger },
  { name: 'ledger deleter', area: 'ledgers', oneIn: 8, work: work.deleteLedger },
  { name: 'log writer', area: 'logs', oneIn: 3, work: work.writeLog('orders') },
  { name: 'log reader', area: 'logs', oneIn: 3, work: work.readLog('orders') },
  { name: 'log truncator', area: 'logs', oneIn: 5, work: work.truncateLog('orders') },
  { name: 'machine user', area: 'states', oneIn: 3, work: work.useMachine('accounts') },
  { name: 'database user', area: 'states', oneIn: 3, work: work.useDatabase('bank') },
]
