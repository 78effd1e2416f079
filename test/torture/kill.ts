// kill -9 under load, round after round: in half of the rounds all processes at once, in the others
// one of them, while the load goes on.
//
// After each round every entry that was acknowledged must be there, as it was written; entry ids
// are dense; and what a bookie acknowledged itself, it holds itself. The rounds before are read
// again: a start must not lose what an earlier start had found.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type Client } from '../../src/index.ts'
import { createChooser, type Chooser } from '../support/chooser.ts'
import { startCluster, type Cluster, type StartOptions } from '../support/processes.ts'
import { quiet } from '../support/quiet.ts'
import { forget, startLoad, verify, type Claims, type Load } from './load.ts'

export interface KillOptions {
  readonly rounds: number
  readonly directory: string
  readonly seed: number
  readonly bookies?: number
  readonly start?: StartOptions
  /** Longest time under load before the kill. */
  readonly loadMs?: number
  readonly report?: (round: RoundReport) => void
  /** Called while the killed are down: how a test proves that the trial can fail. */
  readonly sabotage?: (cluster: Cluster, claims: Claims) => void
}

export interface RoundReport {
  readonly round: number
  readonly killed: string
  readonly acked: number
  /** Of those: acknowledged after a single victim was killed and before it was back. */
  readonly ackedMeanwhile: number
  readonly ackedAlone: number
  readonly lost: number
  readonly differing: number
  /** From the kill to the last `ready` line. */
  readonly restartMs: number
}

export interface KillReport {
  readonly ok: boolean
  readonly rounds: number
  readonly acked: number
  readonly lost: number
  readonly differing: number
}

/** Rounds whose entries are read again and again, before they are deleted. */
const remembered = 3

export async function runKill(options: KillOptions): Promise<KillReport> {
  const choose = createChooser(options.seed)
  const cluster = await startCluster(options.directory, options.bookies ?? 3, options.start)
  const total = { acked: 0, lost: 0, differing: 0 }
  const earlier: Claims[] = []
  try {
    for (let round = 0; round < options.rounds; round++) {
      const report = await oneRound({ cluster, round, choose, earlier, options })
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

interface Round {
  readonly cluster: Cluster
  readonly round: number
  readonly choose: Chooser
  /** Of the rounds before, oldest first. */
  readonly earlier: Claims[]
  readonly options: KillOptions
}

async function oneRound(setting: Round): Promise<RoundReport> {
  const { cluster, round, choose, earlier, options } = setting
  const client = await connect(cluster.uri, { logger: quiet })
  const load = await startLoad(client, cluster)
  await loaded(load.claims)
  await sleep(choose(options.loadMs ?? 400))
  const count = cluster.processes.length
  const all = round % 2 === 0
  const victims = all ? cluster.processes.map((_, index) => index) : [choose(count)]
  const doomed = cluster.processes.filter((_, index) => victims.includes(index))
  const startedAt = performance.now()
  await Promise.all(doomed.map((one) => one.kill('SIGKILL')))
  const ackedBefore = load.claims.acked.size
  if (all) load.stop()
  options.sabotage?.(cluster, load.claims)
  await Promise.all(victims.map((index) => cluster.restart(index)))
  const restartMs = Math.round(performance.now() - startedAt)
  const ackedMeanwhile = all ? 0 : load.claims.acked.size - ackedBefore
  await endLoad(client, load)
  earlier.push(load.claims)
  const verdict = await verifyAll(cluster.uri, earlier)
  if (earlier.length > remembered) await forget(cluster.uri, earlier.shift() ?? load.claims)
  return {
    round,
    killed: all ? 'all' : `${victims[0]}`,
    acked: load.claims.acked.size,
    ackedMeanwhile,
    ackedAlone: load.claims.alone.reduce((sum, { acked }) => sum + acked.size, 0),
    lost: verdict.lost,
    differing: verdict.differing + load.twice.length,
    restartMs,
  }
}

/** The client is dropped with its ledger open, as a dead application leaves it. */
async function endLoad(client: Client, load: Load): Promise<void> {
  load.stop()
  await client.close()
  await load.ended
}

async function verifyAll(
  uri: string,
  rounds: readonly Claims[],
): Promise<{ lost: number; differing: number }> {
  const sum = { lost: 0, differing: 0 }
  for (const claims of rounds) {
    const { lost, differing } = await verify(uri, claims)
    sum.lost += lost
    sum.differing += differing
  }
  return sum
}

/** On a machine however slow: a round counts only if every load was acknowledged something. */
async function loaded({ acked, alone }: Claims): Promise<void> {
  const few = (one: ReadonlyMap<number, unknown>): boolean => one.size < 32
  while (few(acked) || alone.some((one) => few(one.acked))) await sleep(5)
}
