// The last part of a run: everything goes down and comes up again, and fresh clients look at all
// that is there.

import type { Client } from '../../src/embedded/client.ts'
import { recordTypes } from '../../src/bookie/journal/contract.ts'
import { openManagers } from '../../src/embedded/managers.ts'
import { messageOf } from '../../src/errors.ts'
import { createSimulatedIo, journalOn, quiet, restartAll } from '../../src/simulation/index.ts'
import { checkError } from '../../src/simulation/report.ts'
import { openProbe } from './probe.ts'
import { registerPaths } from './registers.ts'
import type { Run } from './run.ts'
import { databaseOf, machine } from './states.ts'

export async function verify(run: Run): Promise<void> {
  for (const name of ['k1', 'k2', 'k3']) run.world.kill(name)
  const { world, cluster, report, checkers } = run
  const mayStayDown = (name: string, error: unknown) => checkers.budget.mayStayDown(name, error)
  const isUp = await restartAll({ world, cluster, report, mayStayDown })
  for (const { name, refusals } of cluster.operators) {
    for (const { error } of refusals) checkers.bookies.refused(name, error)
  }
  if (!isUp) return
  const one = await run.cluster.client('v1')
  const other = await run.cluster.client('v2')
  const steps = [ledgers, fragments, logs, states, registers]
  for (const step of steps) {
    try {
      await step(run, one, other)
    } catch (error) {
      checkError(run.report, error, `the last look at ${step.name}`)
      run.report.violated('last look', messageOf(error))
    }
  }
  await bookies(run, one)
  await one.close()
  await other.close()
  for (const operator of run.cluster.operators.reverse()) {
    const isDown = operator.node === undefined
    await operator.close()
    if (isDown) run.world.kill(operator.name)
  }
  await quiet(run, [...run.cluster.nodes, 'v1', 'v2'])
}

async function ledgers({ checkers, report }: Run, one: Client, other: Client): Promise<void> {
  const listed = new Set<bigint>()
  for await (const ledgerId of one.ledgers.list()) listed.add(ledgerId)
  for (const ledgerId of checkers.ledgers.live) {
    report.holds(listed.has(ledgerId), 'I1', () => `ledger ${ledgerId} is in no list`)
    const readers = await Promise.all([
      one.ledgers.recover(ledgerId),
      other.ledgers.recover(ledgerId),
    ])
    for (const reader of readers) {
      const entries: Buffer[] = []
      for await (const { payload } of reader.read()) entries.push(Buffer.from(payload))
      checkers.ledgers.final(ledgerId, reader.lastAddConfirmed, entries)
      await reader[Symbol.asyncDispose]()
    }
  }
}

/** What the metadata says of who holds what. */
async function fragments(run: Run): Promise<void> {
  const io = createSimulatedIo(run.world, 'v5')
  await using store = run.metadataOf('v5', io)
  await using session = await store.session()
  const managers = await openManagers(session, { io })
  for (const ledgerId of run.checkers.ledgers.live) {
    const { value } = await managers.ledgers.read(ledgerId)
    const named = value.fragments.map(({ firstEntryId, ensemble }) => ({
      firstEntryId,
      ensemble: ensemble.map((id) => run.checkers.metadata.machineOf(id)),
    }))
    run.checkers.ledgers.fragments(ledgerId, named)
  }
}

async function logs({ checkers }: Run, one: Client, other: Client): Promise<void> {
  for (const [name, checker] of checkers.logs) {
    // An owner first: what the last one left open is not confirmed to readers.
    const writer = await (await one.log(name)).acquire()
    checker.acquired(writer.epoch, writer.nextPosition, checker.ackedEnd)
    for (const client of [other, one]) {
      const log = await client.log(name)
      const { oldest } = await log.facts()
      const records: Buffer[] = []
      for await (const { bytes } of log.read({ from: oldest })) records.push(Buffer.from(bytes))
      checker.final(oldest, records)
    }
    await writer.close()
  }
}

async function states({ checkers }: Run, one: Client, other: Client): Promise<void> {
  for (const client of [one, other]) {
    for (const [name, checker] of checkers.machines) {
      await using replica = await client.replica(name, machine)
      checker.final(await replica.query(null, { consistency: 'linearizable' }))
    }
    for (const [name, checker] of checkers.databases) {
      await using database = await databaseOf(client, name)
      const sql = 'select name from command order by rowid'
      const rows = await database.query({ sql, consistency: 'linearizable' })
      checker.final(rows.map((row) => String(row['name'])))
    }
  }
}

/** Nodes of the metadata tree. */
async function registers(run: Run): Promise<void> {
  const io = createSimulatedIo(run.world, 'v4')
  await using store = run.metadataOf('v4', io)
  await using session = await store.session()
  for (const path of registerPaths) {
    const stat = await session.exists(path, { linearizable: true })
    if (stat === undefined) {
      const known = run.checkers.registers.known(path)
      run.report.holds(known < 0, 'register lost', () => `${path} is gone`)
      continue
    }
    const { data } = await session.get(path)
    run.checkers.registers.final(path, Buffer.from(data).toString(), stat.version)
  }
}

/** Every bookie by itself: what it acknowledged, and what it was fenced for. */
async function bookies(run: Run, client: Client): Promise<void> {
  const { world, cluster, checkers } = run
  const { bookies } = checkers
  const io = createSimulatedIo(world, 'v3')
  const there = new Set<bigint>()
  for await (const ledgerId of client.ledgers.list()) {
    if (!checkers.ledgers.isDeleted(ledgerId)) there.add(ledgerId)
  }
  for (const { name, node } of cluster.operators) {
    if (node === undefined) continue
    buried(run, name)
    const probe = await openProbe(io, name, cluster.secret)
    const held = bookies.held.filter((e) => e.bookie === name && there.has(e.ledgerId))
    const fences = bookies.fences.filter((e) => e.bookie === name && there.has(e.ledgerId))
    await Promise.all([
      ...held.map(async (entry) => {
        bookies.final(entry, (await probe.read(entry.ledgerId, entry.entryId)).found)
      }),
      ...fences.map(async ({ ledgerId }) => {
        bookies.finalFence(name, ledgerId, await probe.refusesAdds(ledgerId))
      }),
    ])
    probe.close()
  }
}

/** What the bookie's disk says of ledgers that are gone. */
function buried({ world, checkers }: Run, name: string): void {
  for (const { records } of journalOn(world.node(name).disk)?.batches ?? []) {
    for (const { type, ledgerId } of records) {
      if (type === recordTypes.tombstone) checkers.bookies.buried(name, ledgerId)
    }
  }
}
