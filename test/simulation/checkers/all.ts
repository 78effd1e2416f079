// The checkers of one run, each told of what the others know.

import type { CreateLedgerOptions } from '../../../src/replication/api.ts'
import type { Damage, World } from '../../../src/simulation/index.ts'
import type { Report } from '../../../src/simulation/report.ts'
import { Budget } from '../budget.ts'
import { Sometimes } from '../sometimes.ts'
import { Turns, type TellMoment } from '../turns.ts'
import { BookieChecker } from './bookies.ts'
import { CommandChecker } from './commands.ts'
import { LedgerChecker } from './ledgers.ts'
import { LogChecker } from './logs.ts'
import { MetadataChecker } from './metadata.ts'
import { RegisterChecker } from './registers.ts'

export interface Checkers {
  /** Copies that an acknowledged entry of an ordinary ledger has at least. */
  ackQuorumSize: number
  /** Shapes that ledgers are created with. */
  quorums: readonly CreateLedgerOptions[]
  readonly ledgers: LedgerChecker
  readonly logs: ReadonlyMap<string, LogChecker>
  readonly machines: ReadonlyMap<string, CommandChecker>
  readonly databases: ReadonlyMap<string, CommandChecker>
  readonly registers: RegisterChecker
  readonly bookies: BookieChecker
  readonly metadata: MetadataChecker
  readonly budget: Budget
  readonly sometimes: Sometimes
  readonly turns: Turns
}

/** What befalls the world. */
export interface Fate {
  /** Of the disk that is damaged, so far. */
  readonly damage: () => Damage | undefined
  readonly moment: TellMoment
}

export function createCheckers(world: World, report: Report, fate: Fate): Checkers {
  const sometimes = new Sometimes(world)
  const budget = new Budget({ damage: fate.damage, metadata: () => metadata })
  const machineOf = (bookieId: string): string => metadata.machineOf(bookieId)
  const turns = new Turns({ world, machineOf, moment: fate.moment })
  const bookies = new BookieChecker(report, budget)
  const holders = bookies.holders.bind(bookies)
  const metadata: MetadataChecker = new MetadataChecker({
    report,
    holders,
    fenced: (ledgerId) => bookies.fencedBookies(ledgerId),
    written: (...entry) => bookies.written(...entry),
    ackedCount: (ledgerId) => ledgers.ackedCount(ledgerId),
    closed: (ledgerId, last) => {
      if (ledgers.live.includes(ledgerId)) ledgers.closed(ledgerId, last, 'the metadata')
    },
    states: new Set(['accounts', 'bank']),
    changed: (...change) => {
      sometimes.changed(...change)
      turns.changed(...change)
    },
    owned: () => turns.owned(),
  })
  const ledgers = new LedgerChecker(report, holders, (...entry) => metadata.owners(...entry))
  return {
    ackQuorumSize: 1,
    quorums: [],
    budget,
    sometimes,
    turns,
    ledgers,
    logs: new Map([['orders', new LogChecker(report, 'orders')]]),
    machines: new Map([['accounts', new CommandChecker(report, 'accounts')]]),
    databases: new Map([['bank', new CommandChecker(report, 'bank')]]),
    registers: new RegisterChecker(report),
    bookies,
    metadata,
  }
}
