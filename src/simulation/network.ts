// The simulated network: who listens where, which directions are cut, and the making of
// connections. Streams themselves are in `connection.ts`. A node is reached by its name;
// `localhost` and `127.0.0.1` are the node itself.

import { abortedError, type QuireError } from '../errors.ts'
import { connectError, listenError, timeoutError } from '../io/network-errors.ts'
import type { Address, Connection, Listener, Network } from '../io/network.ts'
import { connectionPair, type SimulatedConnection } from './connection.ts'
import { defaultNetworkFaults, type NetworkFaults } from './faults.ts'
import { systemError } from './disk.ts'
import type { SimulatedNode, SimulatedProcess } from './node.ts'
import type { Scheduled, Scheduler } from './scheduler.ts'

interface Listening {
  readonly task: SimulatedProcess
  readonly accept: (connection: Connection) => void
}

const firstPort = 40_000

/** The cables between the nodes of a world. */
export class SimulatedCables {
  readonly faults: NetworkFaults = defaultNetworkFaults()
  readonly scheduler: Scheduler
  readonly #listening = new Map<string, Listening>()
  readonly #cut = new Set<string>()
  readonly #slow = new Map<string, readonly [number, number]>()
  readonly #connections = new Set<SimulatedConnection>()
  readonly #node: (name: string) => SimulatedNode | undefined
  #lastPort = firstPort

  constructor(scheduler: Scheduler, node: (name: string) => SimulatedNode | undefined) {
    this.scheduler = scheduler
    this.#node = node
  }

  /** Nothing gets from one node to the other; the other direction stays as it is. */
  cut(from: string, to: string): void {
    this.scheduler.tell(() => `cut off from here: ${to}`, { machine: from })
    this.#cut.add(`${from}>${to}`)
  }

  /** Two groups that cannot reach one another, in either direction. */
  partition(one: readonly string[], other: readonly string[]): void {
    for (const left of one) {
      for (const right of other) {
        this.cut(left, right)
        this.cut(right, left)
      }
    }
  }

  heal(): void {
    if (this.#cut.size > 0) this.scheduler.tell(() => 'all cables are mended', { machine: '' })
    this.#cut.clear()
  }

  isCut(from: SimulatedNode, to: SimulatedNode): boolean {
    return from !== to && this.#cut.has(`${from.name}>${to.name}`)
  }

  /** What goes from one node to the other takes so long, until it is quickened. */
  slowDown(from: string, to: string, rangeMs: readonly [number, number]): void {
    this.scheduler.tell(() => `slow from here: ${to}`, { machine: from })
    this.#slow.set(`${from}>${to}`, rangeMs)
  }

  /** As it was before; all of them when none is named. */
  quicken(from?: string, to?: string): void {
    if (from === undefined) this.#slow.clear()
    else this.#slow.delete(`${from}>${to}`)
  }

  latencyMs(from: SimulatedNode, to: SimulatedNode): number {
    const usual = from === to ? this.faults.loopbackMs : this.faults.latencyMs
    const range = (this.#slow.size > 0 && this.#slow.get(`${from.name}>${to.name}`)) || usual
    return this.scheduler.between(range, 'net.latency')
  }

  /** The connections that are open, in the order they were made. */
  connections(): SimulatedConnection[] {
    return [...this.#connections]
  }

  forget(connection: SimulatedConnection): void {
    this.#connections.delete(connection)
  }

  /**
   * What the system does for a process that was killed; without power, it does nothing, and the
   * others find out late.
   */
  processEnded(task: SimulatedProcess, hasPower: boolean): void {
    for (const connection of this.connections()) {
      if (connection.task === task) connection.processEnded(hasPower)
    }
  }

  listen(task: SimulatedProcess, asked: Address, accept: Listening['accept']): Listener {
    const port = asked.port === 0 ? ++this.#lastPort : asked.port
    const key = `${task.node.name}:${port}`
    if (this.#listening.get(key)?.task.alive === true) {
      throw listenError(systemError('EADDRINUSE', key), asked)
    }
    const listening = { task, accept }
    this.#listening.set(key, listening)
    return {
      address: { host: asked.host, port },
      close: async () => {
        if (this.#listening.get(key) === listening) this.#listening.delete(key)
      },
    }
  }

  /** A packet that asks for a connection has got to where it was sent, or not. */
  arrive(task: SimulatedProcess, address: Address): SimulatedConnection | QuireError | undefined {
    const isLocal = address.host === 'localhost' || address.host === '127.0.0.1'
    const node = isLocal ? task.node : this.#node(address.host)
    if (node === undefined) return connectError(systemError('ENOTFOUND', address.host), address)
    if (node.isDark || this.isCut(task.node, node) || this.isCut(node, task.node)) {
      return undefined
    }
    const listening = this.#listening.get(`${node.name}:${address.port}`)
    if (listening === undefined || !listening.task.alive) {
      return connectError(systemError('ECONNREFUSED', address.host), address)
    }
    const [near, far] = connectionPair(this, {
      near: task,
      far: listening.task,
      nearAddress: { host: task.node.name, port: ++this.#lastPort },
      farAddress: address,
    })
    this.#connections.add(near).add(far)
    const call = () => listening.accept(far)
    this.scheduler.schedule(listening.task, 0, { label: 'net.accept', call })
    return near
  }
}

export function createSimulatedNetwork(cables: SimulatedCables, task: SimulatedProcess): Network {
  task.onEnd.push((hasPower) => cables.processEnded(task, hasPower))
  return {
    listen: (address, accept) =>
      task.later('net.listen', [0, 0.1], () => cables.listen(task, address, accept)),
    connect: (address, options) =>
      new Promise((resolve, reject) => {
        new Attempt(cables, task, { address, resolve, reject }).start(options)
      }),
  }
}

interface AttemptOutcome {
  readonly address: Address
  readonly resolve: (connection: Connection) => void
  readonly reject: (error: QuireError) => void
}

class Attempt {
  readonly #cables: SimulatedCables
  readonly #task: SimulatedProcess
  readonly #outcome: AttemptOutcome
  #settled = false
  #release: () => void = () => undefined

  constructor(cables: SimulatedCables, task: SimulatedProcess, outcome: AttemptOutcome) {
    this.#cables = cables
    this.#task = task
    this.#outcome = outcome
  }

  start(options: { timeoutMs: number; signal?: AbortSignal | undefined }): void {
    const { timeoutMs, signal } = options
    if (signal?.aborted === true) return this.#fail(abortedError(signal))
    const abort = () => signal && this.#fail(abortedError(signal))
    signal?.addEventListener('abort', abort, { once: true })
    const giveUp = () => this.#fail(timeoutError(this.#outcome.address, timeoutMs))
    const timeout = this.#at(timeoutMs, 'net.connect.timeout', giveUp)
    this.#release = () => {
      signal?.removeEventListener('abort', abort)
      timeout.cancel()
    }
    const { faults, scheduler } = this.#cables
    const wayMs = scheduler.between(faults.latencyMs, 'net.connect')
    this.#at(wayMs, 'net.connect.arrives', () => this.#arrived(wayMs))
  }

  #arrived(wayMs: number): void {
    if (this.#settled) return
    const answer = this.#cables.arrive(this.#task, this.#outcome.address)
    if (answer === undefined) return
    this.#at(wayMs, 'net.connect.answered', () => {
      if (answer instanceof Error) this.#fail(answer)
      else if (this.#settled) answer.destroy()
      else this.#succeed(answer)
    })
  }

  #succeed(connection: Connection): void {
    this.#settled = true
    this.#release()
    this.#outcome.resolve(connection)
  }

  #fail(error: QuireError): void {
    if (this.#settled) return
    this.#settled = true
    this.#release()
    this.#outcome.reject(error)
  }

  #at(delayMs: number, label: string, call: () => void): Scheduled {
    return this.#cables.scheduler.schedule(this.#task, delayMs, { label, call })
  }
}
