// What clients do while the world falls apart. Each is an endless task of a process; the checkers
// hear of every call before it is made and of every answer as it comes.

import { QuireError } from '../../src/errors.ts'
import type { CreateLedgerOptions, LedgerReader, LedgerWriter } from '../../src/replication/api.ts'
import type { LogWriter } from '../../src/embedded/log/writer.ts'
import type { Checkers } from './checkers/all.ts'
import type { CommandChecker } from './checkers/commands.ts'
import type { LedgerChecker } from './checkers/ledgers.ts'
import type { LogChecker } from './checkers/logs.ts'
import { checkError, mayHaveEffect } from '../../src/simulation/report.ts'
import type { Life } from './life.ts'
import { databaseOf, machineWith } from './states.ts'

export type Work = (life: Life, checkers: Checkers) => Promise<void>

/** Creates a ledger, appends, and closes it, or leaves it to others. */
export const writeLedger: Work = async (life, checkers) => {
  const { ledgers, quorums, sometimes, turns } = checkers
  const { client, report } = life
  await life.during('a ledger is created', async () => {
    const quorum = quorums[life.choose(quorums.length)]
    const writer = await client.ledgers.create(quorum)
    ledgers.created(writer.ledgerId, quorum?.ackQuorumSize ?? checkers.ackQuorumSize)
    const pending: Promise<void>[] = []
    for (let left = life.choose(120); left > 0 && !life.stopping; left -= 1) {
      pending.push(appendOne(life, ledgers, writer))
      if (life.choose(4) === 0) await life.pause([0, 60])
      if (life.choose(40) === 0) await Promise.all(pending.splice(0))
    }
    if (life.choose(3) > 0) await Promise.all(pending)
    if (life.choose(4) === 0) return
    try {
      turns.closing(writer.ledgerId)
      const last = await life.during('a ledger is closed', () =>
        sometimes.during('close', writer.ledgerId, () => writer.close()),
      )
      ledgers.closed(writer.ledgerId, last, `its writer on ${life.machine}`)
    } catch (error) {
      checkError(report, error, 'close of a ledger')
    }
  })
}

/** The default, and others: striped, with a spare, with a single acknowledgement. */
const allQuorums: readonly CreateLedgerOptions[] = [
  {},
  {},
  { ackQuorumSize: 3 },
  { ensembleSize: 3, writeQuorumSize: 2, ackQuorumSize: 2 },
  { ensembleSize: 2, writeQuorumSize: 2, ackQuorumSize: 2 },
  { ensembleSize: 2, writeQuorumSize: 2, ackQuorumSize: 1 },
  { ensembleSize: 4, writeQuorumSize: 2, ackQuorumSize: 2 },
  { ensembleSize: 4, writeQuorumSize: 3, ackQuorumSize: 2 },
  { ensembleSize: 5, writeQuorumSize: 3, ackQuorumSize: 2 },
]

/** `isDamaged`: a node may be gone for good, and with it a copy of all that it held. */
export function quorumsFor(nodes: number, isDamaged: boolean): readonly CreateLedgerOptions[] {
  return allQuorums.filter(({ ensembleSize, writeQuorumSize, ackQuorumSize = 2 }) => {
    const ensemble = ensembleSize ?? 3
    if (ensemble > nodes) return false
    const canSpare = ensemble < nodes || (writeQuorumSize ?? ensemble) > ackQuorumSize
    return !isDamaged || (ackQuorumSize >= 2 && canSpare)
  })
}

async function appendOne(life: Life, ledgers: LedgerChecker, writer: LedgerWriter): Promise<void> {
  const payload = life.payload(`L${writer.ledgerId}.`)
  ledgers.appending(writer.ledgerId, payload)
  try {
    const entryId = await life.during('an entry is appended', () => writer.append(payload))
    ledgers.acked(writer.ledgerId, entryId, payload)
  } catch (error) {
    checkError(life.report, error, 'append to a ledger')
  }
}

/** Fences whoever writes a ledger, and reads it to its end: some ledger, or one that changes. */
export const recoverLedger: Work = async (life, { ledgers, metadata, sometimes, turns }) => {
  const open = ledgers.live.filter((id) => metadata.ledger(id)?.state === 'open')
  const ids = open.length === 0 || life.choose(2) === 0 ? ledgers.live : open
  const some = ids[ids.length - 1 - life.choose(Math.min(6, Math.max(1, ids.length)))]
  const pause = life.pause([0, 1500]).then(() => some)
  const ledgerId = await (life.choose(2) === 0 ? pause : Promise.race([pause, turns.next()]))
  await life.pause([0, 3])
  if (ledgerId === undefined || life.stopping || ledgers.ackedCount(ledgerId) === undefined) return
  await onLedger(life, ledgers, ledgerId, async () => {
    const recover = () => life.client.ledgers.recover(ledgerId)
    await using reader = await sometimes.during('recovery', ledgerId, recover)
    ledgers.closed(ledgerId, reader.lastAddConfirmed, `a recoverer on ${life.machine}`)
    await readAll(life, ledgers, reader)
  })
}

/** Reads beside the writer, as far as it is confirmed. */
export const tailLedger: Work = async (life, { ledgers }) => {
  const ledgerId = ledgers.live.at(-1)
  await life.pause([0, 500])
  if (ledgerId === undefined || life.stopping) return
  await onLedger(life, ledgers, ledgerId, async () => {
    await using reader = await life.client.ledgers.tail(ledgerId)
    const handle = life.unique('tail')
    for (let round = life.choose(5); round >= 0 && !life.stopping; round -= 1) {
      ledgers.confirmed(ledgerId, handle, reader.lastAddConfirmed)
      await readAll(life, ledgers, reader)
      const above = reader.lastAddConfirmed
      const timeoutMs = 10 + life.choose(1500)
      const now = await reader.waitForConfirmed(above, { timeoutMs })
      ledgers.confirmed(ledgerId, handle, now)
    }
  })
}

/** Removes an old ledger, open or not. */
export const deleteLedger: Work = async (life, { ledgers }) => {
  await life.pause([500, 4000])
  const ledgerId = ledgers.live[0]
  if (ledgerId === undefined || life.stopping || ledgers.live.length < 4) return
  ledgers.deleting(ledgerId)
  await onLedger(life, ledgers, ledgerId, () => life.client.ledgers.delete(ledgerId))
}

async function onLedger(
  life: Life,
  ledgers: LedgerChecker,
  ...[ledgerId, work]: [bigint, () => Promise<void>]
): Promise<void> {
  try {
    await life.during(`work on ledger ${ledgerId}`, work)
  } catch (error) {
    if (ledgers.isDeleted(ledgerId)) {
      if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) return
      if (QuireError.is(error, 'QUIRE_ENTRY_MISSING')) return
    } else if (QuireError.is(error, 'QUIRE_LEDGER_MISSING')) {
      life.report.violated('I1', `ledger ${ledgerId} is missing: ${error.message}`)
    }
    throw error
  }
}

async function readAll(life: Life, ledgers: LedgerChecker, reader: LedgerReader): Promise<void> {
  const to = reader.lastAddConfirmed
  if (to < 0) return
  let next = Math.max(0, to - life.choose(50))
  for await (const { entryId, payload } of reader.read({ from: next, to })) {
    life.report.holds(entryId === next, 'I4', () => `${entryId} was read, ${next} is next`)
    next += 1
    ledgers.read(reader.ledgerId, entryId, Buffer.from(payload))
  }
  life.report.holds(next === to + 1, 'I6', () => `the read to ${to} ended before ${next}`)
}

/** Owns a log for a while. */
export function writeLog(name: string): Work {
  return async (life, { logs }) => {
    const checker = logs.get(name)
    if (checker === undefined) return
    const log = await life.client.log(name, { segmentBytes: 20_000, depth: 2 + life.choose(8) })
    await life.pause([0, 4000])
    if (life.stopping) return
    const { ackedEnd } = checker
    const writer = await life.during('a log is acquired', () => log.acquire())
    checker.acquired(writer.epoch, writer.nextPosition, ackedEnd)
    const pending: Promise<void>[] = []
    for (let left = life.choose(150); left > 0 && !life.stopping; left -= 1) {
      pending.push(appendRecord(life, checker, writer))
      if (life.choose(3) === 0) await life.pause([0, 50])
      if (!writer.writable) break
    }
    if (life.choose(2) === 0) await Promise.all(pending)
    if (life.choose(3) > 0) await life.during('the writer of a log is closed', () => writer.close())
  }
}

async function appendRecord(life: Life, checker: LogChecker, writer: LogWriter): Promise<void> {
  const payload = life.payload('R')
  checker.appending(payload)
  try {
    const position = await life.during('a record is appended', () => writer.append(payload))
    checker.acked(position, payload, writer.epoch)
  } catch (error) {
    if (!mayHaveEffect(error)) checker.refused(payload)
    checkError(life.report, error, 'append to a log')
  }
}

/** Follows a log from somewhere. */
export function readLog(name: string): Work {
  return async (life, { logs }) => {
    const checker = logs.get(name)
    if (checker === undefined) return
    const log = await life.client.log(name)
    const { oldest } = await log.facts()
    const isOldest = life.choose(3) === 0
    const from = oldest + (isOldest ? 0 : life.choose(Math.max(1, checker.ackedEnd - oldest)))
    // What it was about to read may be gone by then.
    if (isOldest) await life.pause([0, 3000])
    const follow = life.choose(2) === 0
    const reader = life.unique('reader')
    let left = 20 + life.choose(400)
    await life.during('a log is read', async () => {
      for await (const record of log.read({ from, follow, signal: life.ending.signal })) {
        checker.read(reader, record.position, Buffer.from(record.bytes))
        if (isOldest && life.choose(8) === 0) await life.pause([0, 300])
        if (--left === 0) break
      }
    })
    await life.pause([0, 500])
  }
}

/** Gives back the beginning of a log, and collects what crashes left of it. */
export function truncateLog(name: string): Work {
  return async (life, { logs }) => {
    const checker = logs.get(name)
    await life.pause([300, 4000])
    if (checker === undefined || life.stopping) return
    const log = await life.client.log(name)
    const position = life.choose(checker.ackedEnd + 1)
    checker.truncating(position)
    const oldest = await life.during('a log is truncated', () => log.truncate(position))
    checker.truncated(oldest)
    if (life.choose(3) === 0) {
      await life.during('orphans are collected', () => log.collectOrphans())
    }
  }
}

/** Commands and questions to a state in memory. */
export function useMachine(name: string): Work {
  return async (life, { machines, sometimes, turns }) => {
    const checker = machines.get(name)
    if (checker === undefined) return
    const begins = () => {
      turns.moment('a snapshot is loaded', { machine: life.machine, peer: life.machine })
      const loaded = sometimes.begins('the load of a snapshot is interrupted', life.machine)
      return async () => {
        await life.pause([0, 20])
        loaded()
      }
    }
    const machine = machineWith(begins)
    const sessionTimeoutMs = [3_600_000, 300, 20][life.choose(3)] ?? 0
    const snapshotEvery = [40, 10][life.choose(2)] ?? 0
    const options = { snapshotEvery, checkEvery: 10, sessionTimeoutMs }
    const open = () =>
      life.client.replica(name, machine, { ...options, signal: life.ending.signal })
    await using replica = await life.during('a replica is opened', open)
    const execute = (command: string) => replica.execute(command)
    const ask = (consistency: 'local' | 'linearizable') => replica.query(null, { consistency })
    const { ending } = life
    const barrier = () => replica.barrier({ signal: ending.signal })
    await useState(life, checker, { execute, ask, barrier, snapshot: () => replica.snapshot() })
  }
}

/** The same with a database. */
export function useDatabase(name: string): Work {
  return async (life, { databases }) => {
    const checker = databases.get(name)
    if (checker === undefined) return
    const open = () => databaseOf(life.client, name, life.ending.signal)
    await using database = await life.during('a database is opened', open)
    const execute = (command: string) => database.execute('add', command)
    const sql = 'select name from command order by place'
    const ask = async (consistency: 'local' | 'linearizable') => {
      const rows = await database.query({ sql, consistency })
      return rows.map((row) => String(row['name']))
    }
    const barrier = () => database.barrier({ signal: life.ending.signal })
    await useState(life, checker, { execute, ask, barrier, snapshot: () => database.snapshot() })
  }
}

interface State {
  /** Resolves to the command's place in the list. */
  execute(command: string): Promise<number>
  ask(consistency: 'local' | 'linearizable'): Promise<readonly string[]>
  barrier(): Promise<void>
  snapshot(): Promise<unknown>
}

async function useState(life: Life, checker: CommandChecker, state: State): Promise<void> {
  const pending: Promise<void>[] = []
  const who = life.machine
  for (let left = 5 + life.choose(60); left > 0 && !life.stopping; left -= 1) {
    const choice = life.choose(12)
    if (choice < 9) pending.push(executeOne(life, checker, state))
    else if (choice === 9) checker.saw(await state.ask('local'), who)
    else if (choice === 10) pending.push(askOne(life, checker, state))
    else if (life.choose(3) === 0) pending.push(snapshotOne(life, state))
    if (life.choose(2) === 0) await life.pause([0, life.choose(12) === 0 ? 1500 : 120])
    if (life.choose(10) === 0) await Promise.all(pending.splice(0))
  }
  if (life.choose(2) === 0 || life.stopping) await Promise.all(pending)
}

async function executeOne(life: Life, checker: CommandChecker, state: State): Promise<void> {
  const command = life.unique('C')
  checker.executing(command)
  try {
    const place = await life.during(`${command} is executed`, () => state.execute(command))
    checker.answered(command, place)
  } catch (error) {
    if (!mayHaveEffect(error)) checker.refused(command)
    checkError(life.report, error, `execution of ${command}`)
  }
}

async function askOne(life: Life, checker: CommandChecker, state: State): Promise<void> {
  const { answeredCount } = checker
  try {
    const list = await life.during('a linearizable question', () => state.ask('linearizable'))
    checker.saw(list, `a linearizable question on ${life.machine}`, answeredCount)
  } catch (error) {
    checkError(life.report, error, 'a linearizable question')
  }
}

async function snapshotOne(life: Life, state: State): Promise<void> {
  try {
    await life.during('a snapshot is taken', () => state.snapshot())
  } catch (error) {
    checkError(life.report, error, 'a snapshot')
  }
}
