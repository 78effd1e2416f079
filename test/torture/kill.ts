// kill -9 under load, round after round: in half of the rounds all processes at once, in the others one of them.
//
// Each round writes through the public ledger API and, beside it, to each bookie alone, kills, starts again, and demands:
// every entry that was acknowledged is there, as it was written; entry ids are dense; and what a bookie acknowledged itself,
// it holds itself.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type Client, type LedgerWriter } from '../../src/index.ts'
import { startCluster, type Cluster, type StartOptions } from '../support/processes.ts'
import { createTestBookieClient, type TestBookieClient } from '../support/raw-bookie.ts'
import { createChooser, type Chooser } from '../support/chooser.ts'

export interface KillOptions {
  readonly rounds: number
  readonly directory: string
  readonly seed: number
  readonly bookies?: number
  readonly start?: StartOptions
  /** Longest time under load before the kill. */
  readonly loadMs?: number
  readonly report?: (round: RoundReport) => void
}

export interface RoundReport {
  readonly round: number
  readonly killed: string
  readonly acked: number
  readonly ackedAlone: number
  readonly lost: number
  readonly differing: number
  readonly recoverMs: number
}

export interface KillReport {
  readonly ok: boolean
  readonly rounds: number
  readonly acked: number
  readonly lost: number
  readonly differing: number
}

export async function runKill(options: KillOptions): Promise<KillReport> {
  const choose = createChooser(options.seed)
  const cluster = await startCluster(options.directory, options.bookies ?? 3, options.start)
  const total = { acked: 0, lost: 0, differing: 0 }
  try {
    for (let round = 0; round < options.rounds; round++) {
      const report = await oneRound(cluster, round, { choose, loadMs: options.loadMs ?? 400 })
      total.acked += report.acked + report.ackedAlone
      total.lost += report.lost
      total.differing += report.differing
      options.report?.(report)
    }
  } finally {
    await cluster.stop()
  }
  const ok = total.lost === 0 && total.differing === 0 && total.acked > 0
  return { ok, rounds: options.rounds, ...total }
}

interface RoundSetting {
  readonly choose: Chooser
  readonly loadMs: number
}

async function oneRound(
  cluster: Cluster,
  round: number,
  setting: RoundSetting,
): Promise<RoundReport> {
  const { choose, loadMs } = setting
  const client = await connect(cluster.uri)
  const load = await startLoad(client, cluster)
  await sleep(20 + choose(loadMs))
  const all = round % 2 === 0
  const victims = all
    ? cluster.processes.map((_, index) => index)
    : [choose(cluster.processes.length)]
  await Promise.all(victims.map((index) => cluster.processes[index]?.kill('SIGKILL')))
  load.stop()
  // The client of a killed cluster cannot end its session in order; what it held is closed all the same.
  const closed = client.close().catch(() => undefined)
  const startedAt = performance.now()
  for (const index of victims) await cluster.restart(index)
  await Promise.all([closed, load.ended])
  const verdict = await verify(cluster, load)
  return {
    round,
    killed: all ? 'all' : `${victims[0]}`,
    acked: load.acked.size,
    ackedAlone: load.alone.reduce((sum, { acked }) => sum + acked.size, 0),
    ...verdict,
    recoverMs: Math.round(performance.now() - startedAt),
  }
}

interface Alone {
  readonly listen: string
  readonly acked: Map<number, Buffer>
}

interface Load {
  readonly ledgerId: bigint
  readonly aloneId: bigint
  readonly acked: Map<number, Buffer>
  /** Everything sent, acknowledged or not: what is there must be one of these. */
  readonly sent: Buffer[]
  readonly alone: readonly Alone[]
  stop(): void
  readonly ended: Promise<unknown>
}

async function startLoad(client: Client, cluster: Cluster): Promise<Load> {
  const writer = await client.ledgers.create({ ensembleSize: cluster.processes.length })
  // Its entries are written past the client, to each bookie alone.
  const aloneWriter = await client.ledgers.create({ ensembleSize: cluster.processes.length })
  const state = { stopped: false }
  const acked = new Map<number, Buffer>()
  const sent: Buffer[] = []
  const alone = cluster.listens.map((listen): Alone => ({ listen, acked: new Map() }))
  const stopped = (): boolean => state.stopped
  const loops = [
    ...Array.from({ length: 16 }, () => appendLoop(writer, { acked, sent, stopped })),
    ...alone.map((one) => aloneLoop(one, aloneWriter.ledgerId, stopped)),
  ]
  return {
    ledgerId: writer.ledgerId,
    aloneId: aloneWriter.ledgerId,
    acked,
    sent,
    alone,
    stop: () => {
      state.stopped = true
    },
    ended: Promise.all(loops),
  }
}

async function appendLoop(
  writer: LedgerWriter,
  load: { acked: Map<number, Buffer>; sent: Buffer[]; stopped: () => boolean },
): Promise<void> {
  while (!load.stopped()) {
    const payload = randomBytes(200 + (load.sent.length % 1500))
    load.sent.push(payload)
    try {
      load.acked.set(await writer.append(payload), payload)
    } catch {
      return // Killed under it: the outcome is unknown, which the check allows for.
    }
  }
}

async function aloneLoop(one: Alone, ledgerId: bigint, stopped: () => boolean): Promise<void> {
  const bookie = await createTestBookieClient(one.listen)
  const lane = async (first: number): Promise<void> => {
    for (let entryId = first; !stopped(); entryId += 8) {
      const payload = randomBytes(300 + (entryId % 700))
      if (!(await addAcknowledged(bookie, { ledgerId, entryId, payload }))) return
      one.acked.set(entryId, payload)
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, first) => lane(first)))
  bookie.close()
}

async function addAcknowledged(
  bookie: TestBookieClient,
  entry: { ledgerId: bigint; entryId: number; payload: Buffer },
): Promise<boolean> {
  try {
    return (await bookie.add(entry)) === 0
  } catch {
    return false // The connection ended with the process.
  }
}

interface Verdict {
  readonly lost: number
  readonly differing: number
}

async function verify(cluster: Cluster, load: Load): Promise<Verdict> {
  const verdict = { lost: 0, differing: 0 }
  await using client = await connect(cluster.uri)
  await using reader = await client.ledgers.recover(load.ledgerId)
  const seen = new Map<number, Buffer>()
  const sent = new Set(load.sent.map((payload) => payload.toString('latin1')))
  for await (const { entryId, payload } of reader.read()) {
    if (entryId !== seen.size) verdict.differing++ // Ids are dense.
    seen.set(entryId, Buffer.from(payload))
    if (!sent.has(payload.toString('latin1'))) verdict.differing++
  }
  compare(load.acked, seen, verdict)
  for (const one of load.alone) {
    const bookie = await createTestBookieClient(one.listen)
    const held = new Map<number, Buffer>()
    for (const entryId of one.acked.keys()) {
      const payload = await bookie.read({ ledgerId: load.aloneId, entryId })
      if (payload) held.set(entryId, payload)
    }
    bookie.close()
    compare(one.acked, held, verdict)
  }
  await client.ledgers.delete(load.ledgerId)
  await client.ledgers.delete(load.aloneId)
  return verdict
}

function compare(
  acked: Map<number, Buffer>,
  held: Map<number, Buffer>,
  verdict: { lost: number; differing: number },
): void {
  for (const [entryId, payload] of acked) {
    const found = held.get(entryId)
    if (!found) verdict.lost++
    else if (!found.equals(payload)) verdict.differing++
  }
}
