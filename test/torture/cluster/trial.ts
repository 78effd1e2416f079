// Three machines that keep metadata and entries together, under load, while one after the other
// thing befalls them. After each round the recorded history must be one that a single copy could
// have had, all that was acknowledged must be there, and no ephemeral may have gone before its
// session.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAddress } from '../../../src/embedded/address.ts'
import { inquire } from '../../../src/metadata/raft/founding/inquire.ts'
import { createChooser, type Chooser } from '../../support/chooser.ts'
import { startQuire, type QuireProcess, type StartOptions } from '../../support/processes.ts'
import { ioFor, Load, readLog, readTree, type LoadOptions } from './load.ts'
import { createPlace, type Machine, type Place } from './place.ts'

export const faults = [
  'kill the leader',
  'kill a follower',
  'kill all',
  'stop one',
  'cut one off',
  'fill a disk',
  'restart in order',
] as const
export type Fault = (typeof faults)[number]

export interface ClusterOptions {
  readonly rounds: number
  readonly directory: string
  readonly seed: number
  readonly start?: StartOptions
  readonly report?: (round: RoundReport) => void
}

export interface RoundReport {
  readonly round: number
  readonly fault: Fault
  readonly victim: string
  /** Changes of the tree, and records of the log. */
  readonly acked: number
  readonly lost: number
  readonly linearizable: boolean
  /** Ephemerals that were gone before their session. */
  readonly early: number
  /** The longest time without an acknowledged change of the tree, and without an append. */
  readonly writePauseMs: number
  readonly appendPauseMs: number
  /** What was not as it must be, in words. */
  readonly wrong: readonly string[]
}

export interface ClusterReport {
  readonly ok: boolean
  readonly rounds: number
  readonly acked: number
  readonly lost: number
  readonly linearizable: boolean
  readonly early: number
  /** In rounds in which two of three machines were well at any time. */
  readonly longestPauseMs: number
  /** In those in which all were killed. */
  readonly longestPauseOfAllMs: number
}

const secret = 'known to the three of them'
/** How long a round waits for what must come, on a machine however slow. */
const patienceMs = 120_000

export async function runCluster(options: ClusterOptions): Promise<ClusterReport> {
  const place = createPlace(options.directory, 3)
  const cluster = new Cluster(place, options)
  const rounds: RoundReport[] = []
  try {
    await cluster.start()
    for (let round = 0; round < options.rounds; round++) {
      const report = await oneRound(cluster, { ...options, round })
      rounds.push(report)
      options.report?.(report)
    }
  } finally {
    await cluster.stop()
    place.close()
  }
  return totalOf(rounds)
}

export function totalOf(rounds: readonly RoundReport[]): ClusterReport {
  const sum = (of: (round: RoundReport) => number): number =>
    rounds.reduce((total, round) => total + of(round), 0)
  const longest = (some: readonly RoundReport[]): number =>
    Math.max(0, ...some.flatMap((one) => [one.writePauseMs, one.appendPauseMs]))
  const [lost, early] = [sum((round) => round.lost), sum((round) => round.early)]
  const linearizable = rounds.every((round) => round.linearizable)
  const isClean = rounds.every(({ wrong }) => wrong.length === 0)
  return {
    ok: lost === 0 && early === 0 && linearizable && isClean && rounds.every((r) => r.acked > 0),
    rounds: rounds.length,
    acked: sum((round) => round.acked),
    lost,
    linearizable,
    early,
    longestPauseMs: longest(rounds.filter(({ fault }) => fault !== 'kill all')),
    longestPauseOfAllMs: longest(rounds.filter(({ fault }) => fault === 'kill all')),
  }
}

class Cluster {
  readonly machines: readonly Machine[]
  readonly uri: string
  readonly #start: StartOptions
  readonly #processes: (QuireProcess | undefined)[] = []
  /** Processes that ended though nobody ended them. */
  readonly died: string[] = []

  constructor({ machines }: Place, { start }: ClusterOptions) {
    this.machines = machines
    this.uri = `quire://${machines.map(({ listen }) => listen).join(',')}`
    this.#start = start ?? {}
  }

  async start(): Promise<void> {
    await Promise.all(this.machines.map((_, index) => this.launch(index)))
  }

  /** Resolves when it serves. */
  async launch(index: number): Promise<void> {
    const machine = this.machines[index]
    if (!machine) throw new Error(`there is no machine ${index}`)
    const { directory, listen, on } = machine
    const peers = this.machines.map((each) => each.listen).join(',')
    const args = ['--dir', `${directory}/quire`, '--listen', listen, '--peers', peers]
    const under = ['env', `QUIRE_SECRET=${secret}`, ...on]
    const started = startQuire(args, { ...this.#start, under })
    this.#processes[index] = started
    void this.#watch(index, started)
    await started.ready
  }

  async #watch(index: number, started: QuireProcess): Promise<void> {
    const how = await started.ended
    if (this.#processes[index] !== started) return
    this.died.push(`${this.machines[index]?.name} ended with ${how}: ${started.stderr()}`)
    this.#processes[index] = undefined
  }

  async kill(index: number, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    const running = this.#processes[index]
    this.#processes[index] = undefined
    await running?.kill(signal)
  }

  signal(index: number, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#processes[index]?.child.kill(signal)
  }

  async stop(): Promise<void> {
    await Promise.all(this.machines.map((_, index) => this.kill(index)))
  }

  async leader(): Promise<number> {
    const io = ioFor(secret)
    for (let leftMs = patienceMs; leftMs > 0; leftMs -= 100) {
      for (const [index, { listen }] of this.machines.entries()) {
        const said = await inquire(io, parseAddress(listen)).catch(() => undefined)
        const status: unknown = JSON.parse(said?.status ?? '{}')
        if (Object(status).serves === true) return index
      }
      await sleep(100)
    }
    throw new Error('nobody leads')
  }
}

interface Round extends ClusterOptions {
  readonly round: number
}

async function oneRound(cluster: Cluster, options: Round): Promise<RoundReport> {
  const { round, seed } = options
  const choose = createChooser(seed * 1000 + round)
  const fault = faults[round % faults.length] ?? faults[0]
  const loadOptions: LoadOptions = { uri: cluster.uri, secret, round, choose }
  const load = new Load(loadOptions)
  await load.start()
  await moves(load, cluster)
  const victim = await befall(cluster, fault, choose)
  await moves(load, cluster)
  await load.stop()
  await readTree(load, loadOptions)
  const { held } = await readLog(load, loadOptions)
  return reportOf({ round, fault, victim, load, held, died: cluster.died.splice(0) })
}

interface Seen {
  readonly round: number
  readonly fault: Fault
  readonly victim: string
  readonly load: Load
  readonly held: ReadonlyMap<number, string>
  readonly died: readonly string[]
}

function reportOf({ round, fault, victim, load, held, died }: Seen): RoundReport {
  const log = load.log.check(held)
  const unexplained = load.tree.verdicts().filter((each) => !each.isLinearizable)
  return {
    round,
    fault,
    victim,
    acked: load.writes.count + load.log.acked,
    lost: log.lost,
    linearizable: unexplained.length === 0 && log.wrong.length === 0,
    early: load.early.length,
    writePauseMs: load.writes.longestMs,
    appendPauseMs: load.appends.longestMs,
    wrong: [
      ...unexplained.map(({ path, calls }) => `${path}: no order of ${calls} calls explains them`),
      ...log.wrong.slice(0, 5),
      ...load.early.map((path) => `${path} was gone before its session`),
      ...load.unexpected.map(String),
      ...died,
    ],
  }
}

/** Changes of the tree and appends are acknowledged, now. */
async function moves(load: Load, cluster: Cluster): Promise<void> {
  const [writes, appends] = [load.writes.count + 100, load.appends.count + 100]
  for (let leftMs = patienceMs; leftMs > 0; leftMs -= 20) {
    if (load.writes.count >= writes && load.appends.count >= appends) return
    await sleep(20)
  }
  const [left, leftToAppend] = [writes - load.writes.count, appends - load.appends.count]
  const died = cluster.died.join('; ')
  throw new Error(`nothing moves: ${left} changes and ${leftToAppend} appends missing; ${died}`)
}

/** Resolves, to whom it befell, when all are well again. */
async function befall(cluster: Cluster, fault: Fault, choose: Chooser): Promise<string> {
  const leader = await cluster.leader()
  const follower = (leader + 1 + choose(2)) % 3
  const anyone = choose(2) === 0 ? leader : follower
  const named = { 'kill the leader': leader, 'kill a follower': follower }
  const victim = new Map<string, number>(Object.entries(named)).get(fault) ?? anyone
  const machine = cluster.machines[victim]
  if (!machine) throw new Error('there are three')
  switch (fault) {
    case 'kill the leader':
    case 'kill a follower':
      await cluster.kill(victim)
      // Long enough that the others must go on without it.
      await sleep(3000 + choose(3000))
      await cluster.launch(victim)
      break
    case 'kill all':
      await Promise.all([0, 1, 2].map((index) => cluster.kill(index)))
      await Promise.all([0, 1, 2].map((index) => cluster.launch(index)))
      return 'all'
    case 'stop one':
      cluster.signal(victim, 'SIGSTOP')
      await sleep(10_000)
      cluster.signal(victim, 'SIGCONT')
      break
    case 'cut one off':
      machine.unplug()
      await sleep(6000 + choose(6000))
      machine.plug()
      break
    case 'fill a disk':
      await machine.fill()
      await sleep(4000 + choose(4000))
      machine.empty()
      break
    case 'restart in order':
      for (const index of [0, 1, 2]) {
        await cluster.kill(index, 'SIGTERM')
        await cluster.launch(index)
      }
      return 'all, one by one'
  }
  return victim === leader ? `${machine.name}, the leader` : machine.name
}
