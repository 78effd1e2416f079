// The processes of a run: each gets a client or a node of its own and the program's function for
// it, and is started again when it ended.

import type { Node } from '../../embedded/open.ts'
import { QuireError } from '../../errors.ts'
import type { Io } from '../../io/io.ts'
import type { Operator, SimulatedCluster } from '../cluster.ts'
import { Host } from '../host.ts'
import { createSimulatedIo } from '../io.ts'
import { checkError, type Report } from '../report.ts'
import type { World } from '../world.ts'
import type { ProgramOptions } from './options.ts'
import { ProgramProcess } from './process.ts'
import { Watcher, type WatchedRun } from './watched-client.ts'

export interface ProgramsWorld {
  readonly world: World
  readonly report: Report
  readonly cluster: SimulatedCluster
}

export interface ProgramsParts<Model> {
  readonly options: ProgramOptions<Model>
  readonly watched: WatchedRun
}

/** A process and the observer of its states. */
interface Running<Model> {
  readonly program: ProgramProcess<Model>
  readonly watcher: Watcher
  readonly io: Io
}

export class Programs<Model> {
  readonly #in: ProgramsWorld
  readonly #options: ProgramOptions<Model>
  readonly #watched: WatchedRun
  readonly #model: Model
  readonly #processes: ProgramProcess<Model>[] = []
  readonly #onNodes = new Map<string, Running<Model>>()
  #stopping = false

  constructor(where: ProgramsWorld, parts: ProgramsParts<Model>) {
    this.#in = where
    this.#options = parts.options
    this.#watched = parts.watched
    this.#model = modelOf(parts.options)
  }

  /** What has begun and not ended. */
  get waitingFor(): string[] {
    return this.#processes.flatMap(({ waitingFor }) => waitingFor)
  }

  /** Nothing is begun any more, and what goes on is told so. */
  stop(): void {
    this.#stopping = true
    for (const program of this.#processes) program.end()
  }

  /** The outside world of a node's new program, with an observer in it. */
  onNode(io: Io, machine: string): Io {
    const running = this.#start(io, machine)
    this.#onNodes.set(machine, running)
    return running.io
  }

  /** Runs the program's service on a node, each time the node has started. */
  serve(operator: Operator): void {
    const { service } = this.#options
    if (service === undefined) return
    const serve = async (): Promise<void> => {
      while (!this.#stopping) {
        const { node } = operator
        if (node !== undefined) void this.#service(operator, node)
        await operator.ready.wait()
      }
    }
    void serve()
  }

  host(machine: string): Host {
    const live = async (lives: () => boolean): Promise<void> => {
      await this.#client(machine)
      // Its process ended by itself; another takes its place.
      if (lives()) host.kill()
    }
    const host: Host = new Host({ world: this.#in.world, machine, restartMs: [1, 3000], live })
    return host
  }

  /** States as their logs tell them, and what the program itself wants to see at the end. */
  async lastLook(machine: string): Promise<void> {
    const { world, cluster, report } = this.#in
    const { io, program, watcher } = this.#start(createSimulatedIo(world, machine), machine)
    try {
      const client = await cluster.client(machine, io)
      for (const look of this.#watched.looks) await look(watcher, client)
      const parts = { ...program.parts, client: watcher.watch(client) }
      await program.inside(async () => this.#options.verify?.(parts))
      await client.close()
    } catch (error) {
      if (!this.#isExplained(error)) this.#failed('verify', program, error)
      else report.violated('last look', `${error.message}, when all was whole again`)
    }
  }

  async #client(machine: string): Promise<void> {
    const { world, cluster } = this.#in
    const { io, program, watcher } = this.#start(createSimulatedIo(world, machine), machine)
    try {
      const connect = () => cluster.client(machine, io)
      const client = await program.during('connect', connect)
      const parts = { ...program.parts, client: watcher.watch(client) }
      if (!this.#stopping) {
        const run = async () => this.#options.run?.(parts)
        await program.during('run', () => program.inside(run))
      }
      await program.during('close of the client', () => client.close())
      await world.pass(1000)
      this.#checkLeaks(program)
    } catch (error) {
      this.#failed('run', program, error)
    }
  }

  async #service(operator: Operator, node: Node): Promise<void> {
    const running = this.#onNodes.get(operator.name)
    if (running === undefined) return
    const { program, watcher } = running
    const parts = { ...program.parts, node: watcher.watch(node) }
    const serve = async () => this.#options.service?.(parts)
    while (!this.#stopping && operator.node === node) {
      try {
        await program.during('service', () => program.inside(serve))
        return
      } catch (error) {
        this.#failed('service', program, error)
      }
      await watcher.close()
      await program.pause([50, 1000])
    }
  }

  /** What faults explain is passed over; anything else is the program's mistake, or ours. */
  #failed(what: string, program: ProgramProcess<Model>, error: unknown): void {
    const { report } = this.#in
    const ended = program.signal.aborted && error instanceof Error && error.name === 'AbortError'
    if (!program.task.alive || ended) return
    const where = `${what} on ${program.machine}`
    if (QuireError.is(error)) checkError(report, error, where)
    else report.violated('run', `${where}: ${error instanceof Error ? error.stack : String(error)}`)
  }

  #isExplained(error: unknown): error is QuireError {
    return QuireError.is(error) && error.retryable
  }

  /** Faults may hold up what the system does for a process that has closed all; not its timers. */
  #checkLeaks({ task, machine }: ProgramProcess<Model>): void {
    const leaks = task.pending.filter((label) => label === 'timer')
    const text = `the client on ${machine} is closed, and still has: ${leaks.join()}`
    this.#in.report.holds(leaks.length === 0, 'leak', () => text)
  }

  #start(io: Io, machine: string): Running<Model> {
    const { world, cluster, report } = this.#in
    const { task } = world.node(machine)
    if (task === undefined) throw new QuireError('QUIRE_INVARIANT', `${machine} has no process`)
    const failed = (what: string) => report.violated('check', `${what}, on ${machine}`)
    const program = new ProgramProcess({ world, cluster, task, model: this.#model, failed })
    this.#processes.push(program)
    const watcher = new Watcher({
      run: this.#watched,
      label: task.label,
      who: machine,
      states: io.states,
      during: program.during,
      clock: program.clock,
      random: world.scheduler.random(`${task.label}/apply`),
    })
    return { program, watcher, io: { ...io, states: watcher.states } }
  }
}

/** Without one, a program was typed as one that has none. */
function modelOf<Model>({ model }: ProgramOptions<Model>): Model {
  const none: ReturnType<typeof JSON.parse> = undefined
  return model?.() ?? none
}
