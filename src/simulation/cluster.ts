// Whole nodes in a simulated world, made by the same `openWith` and `connectWith` as real ones,
// with an operator who starts again what ended. What the cluster replaces is `io` and nothing else;
// the node's program runs as a thread of its process, with messages that are delayed and cut.

import { messageOf } from '../errors.ts'
import { parseAddress } from '../embedded/address.ts'
import type { Client } from '../embedded/client.ts'
import { connectWith } from '../embedded/connect.ts'
import { run } from '../embedded/node-thread.ts'
import { openWith, type Node } from '../embedded/open.ts'
import type { ConnectOptions, OpenOptions } from '../embedded/options.ts'
import type { Io } from '../io/io.ts'
import type { Address } from '../io/network.ts'
import type { Logger } from '../io/log.ts'
import { SharedSecret } from '../wire/handshake.ts'
import { createSimulatedIo } from './io.ts'
import type { CrashMode } from './crash.ts'
import { Gate } from '../embedded/log/wait.ts'
import type { World } from './world.ts'

/** The outside world of a process, seen or changed by a test on its way. */
export type WrapIo = (io: Io, machine: string) => Io

export interface ClusterOptions {
  readonly world: World
  /** Names of the machines. */
  readonly nodes: readonly string[]
  /**
   * How many of the nodes, the first ones, keep the metadata together, as peers; the others are
   * bookies on it. Default 1: the first by itself.
   */
  readonly founders?: number | undefined
  readonly open?: Partial<OpenOptions>
  readonly connect?: Partial<ConnectOptions>
  readonly logger: (machine: string) => Logger
  /** Of all nodes and clients. Default: none. */
  readonly secret?: string | undefined
  /** Applied to what a node's thread is given. */
  readonly wrapNodeIo?: WrapIo
  /** Applied to what a node's process is given, beside that thread. */
  readonly wrapProcessIo?: WrapIo
  /** Milliseconds that the operator lets pass before a node that ended is started again. */
  readonly restartMs?: readonly [number, number]
}

/** Something in every fourth world, else nothing. */
export function drawSecret({ scheduler }: World): string | undefined {
  return scheduler.choose(4, 'group.authenticated') === 3 ? 'told to nobody else' : undefined
}

/** Where each node listens. */
export const clusterPort = 3181
const asItIs: WrapIo = (io) => io

export class SimulatedCluster {
  readonly world: World
  readonly nodes: readonly string[]
  readonly uri: string
  /** What `options.secret` makes. */
  readonly secret: SharedSecret | undefined
  readonly #options: ClusterOptions
  readonly #operators = new Map<string, Operator>()
  readonly #founders: readonly string[]

  constructor(options: ClusterOptions) {
    this.#options = options
    this.world = options.world
    this.nodes = options.nodes
    this.#founders = options.nodes.slice(0, options.founders ?? 1).map(addressOf)
    this.uri = `quire://${this.#founders.join(',')}`
    this.secret = options.secret === undefined ? undefined : new SharedSecret(options.secret)
    for (const name of options.nodes) {
      const operator = new Operator(options.world, {
        name,
        restartMs: options.restartMs ?? [10, 3000],
        open: () => this.#open(name),
      })
      this.#operators.set(name, operator)
    }
  }

  operator(name: string): Operator {
    const operator = this.#operators.get(name)
    if (operator === undefined) throw new Error(`${name} is no node of this cluster`)
    return operator
  }

  get operators(): Operator[] {
    return [...this.#operators.values()]
  }

  /** Never a node that has the only copy of the metadata. */
  get victims(): Operator[] {
    return this.#founders.length > 1 ? this.operators : this.operators.slice(1)
  }

  /** Nodes that replicate the metadata. */
  get keepers(): readonly string[] {
    return this.#founders.length > 1 ? this.nodes.slice(0, this.#founders.length) : []
  }

  /** Where the metadata is. */
  get addresses(): readonly Address[] {
    return this.#founders.map(parseAddress)
  }

  /** A client on a machine of its own. Whatever ran there must have been killed. */
  client(machine: string, io: Io = createSimulatedIo(this.world, machine)): Promise<Client> {
    const { logger, connect, secret } = this.#options
    const options = { dir: '/client', secret, ...connect }
    return connectWith({ io, logger: logger(machine) }, this.uri, options)
  }

  #metadataOf(address: string): Partial<OpenOptions> {
    if (!this.#founders.includes(address)) return { metadata: this.uri }
    return this.#founders.length > 1 ? { peers: this.#founders } : {}
  }

  #open(name: string): Promise<Node> {
    const { world, logger, open, secret } = this.#options
    const { wrapNodeIo: wrap = asItIs, wrapProcessIo = asItIs } = this.#options
    const programs = {
      'embedded/node-thread': (...[thread, io]: Parameters<typeof run>) =>
        run(thread, wrap(io, name)),
    } as const
    const io = createSimulatedIo(world, name, { programs })
    const options = {
      dir: '/data',
      listen: addressOf(name),
      insecure: true,
      ...this.#metadataOf(addressOf(name)),
      secret,
      ...open,
    }
    return openWith({ io: wrapProcessIo(io, name), logger: logger(name) }, options)
  }
}

const addressOf = (name: string): string => `${name}:${clusterPort}`

/** What an operator keeps running. */
export interface Running {
  /** Resolves when it can go on no more. */
  readonly failed: Promise<Error>
  close(): Promise<unknown>
}

interface OperatorParts<R extends Running> {
  readonly name: string
  readonly restartMs: readonly [number, number]
  readonly open: () => Promise<R>
}

/** Keeps one node running: starts it, and again when it ended or was made to end. */
export class Operator<R extends Running = Node> {
  readonly name: string
  /** Opens whenever a node became ready. */
  readonly ready: Gate = new Gate()
  /** Starts that failed, with why. */
  readonly refusals: { readonly timeMs: number; readonly error: unknown }[] = []
  readonly #world: World
  readonly #parts: OperatorParts<R>
  #node: R | undefined
  #wanted = false
  #life = 0

  constructor(world: World, parts: OperatorParts<R>) {
    this.name = parts.name
    this.#world = world
    this.#parts = parts
  }

  /** The node that runs now. */
  get node(): R | undefined {
    return this.#node
  }

  start(): void {
    if (this.#wanted) return
    this.#wanted = true
    void this.#run(++this.#life)
  }

  /** Ends the process as the system would, at once; the operator notices and starts another. */
  kill(): void {
    this.#endLife()
    this.#world.kill(this.name)
    this.#startLater()
  }

  cutPower(mode: CrashMode): void {
    this.#endLife()
    this.#world.cutPower(this.name, mode)
    this.#startLater()
  }

  /** Ends the node in order and starts it again; kills it when it does not end within `limitMs`. */
  async restart(limitMs: number): Promise<void> {
    const node = this.#node
    if (node === undefined) return
    const life = ++this.#life
    this.#node = undefined
    const kill = () => {
      if (this.#life === life) this.kill()
    }
    await Promise.race([node.close(), this.#world.pass(limitMs)])
    kill()
  }

  /** From now on nothing is started again. */
  leave(): void {
    this.#wanted = false
    this.#life += 1
  }

  /** Ends the process at once, and nothing is started again before `start`. */
  stop(): void {
    this.leave()
    this.#node = undefined
    this.#world.kill(this.name)
  }

  /** Ends the node in order, for good. The process is left as it is then. */
  async close(): Promise<void> {
    this.leave()
    const node = this.#node
    this.#node = undefined
    await node?.close()
  }

  #endLife(): void {
    this.#life += 1
    this.#node = undefined
  }

  #startLater(): void {
    if (!this.#wanted) return
    const { scheduler } = this.#world
    const delayMs = scheduler.between(this.#parts.restartMs, 'operator.restart')
    const life = this.#life
    const call = () => {
      if (this.#wanted && this.#life === life) void this.#run(life)
    }
    scheduler.schedule(this.#world.outside, delayMs, { label: 'operator.start', call })
  }

  async #run(life: number): Promise<void> {
    const { scheduler } = this.#world
    try {
      scheduler.tell(() => 'starts', { machine: this.name })
      const node = await this.#parts.open()
      if (this.#life !== life) return
      scheduler.tell(() => 'ready', { machine: this.name })
      this.#node = node
      this.ready.open()
      const error = await node.failed
      if (this.#life === life) this.#ended(error)
    } catch (error) {
      if (this.#life === life) this.#ended(error)
    }
  }

  #ended(error: unknown): void {
    const { scheduler } = this.#world
    this.refusals.push({ timeMs: scheduler.nowMs, error })
    scheduler.tell(() => `ended: ${messageOf(error)}`, { machine: this.name })
    this.kill()
  }
}
