// What a program that is simulated gives, and what it is given.

import type { Client } from '../../embedded/client.ts'
import type { Node } from '../../embedded/open.ts'
import type { ClientSettings } from '../../embedded/options.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import type { CrashMode } from '../crash.ts'
import type { FaultKind } from '../nemesis.ts'

/** A machine with a node, in the hands of a test. */
export interface SimulatedMachine {
  readonly name: string
  /**
   * The node that runs now; undefined while there is none. A program asks its own `client`: what is
   * asked of another process's node is never answered once that process was killed.
   */
  readonly node: Node | undefined
  /** Ends the process at once. An operator starts it again, as after every other end. */
  kill(): void
  /** Ends it with the machine's power; `mode`: what survives of what was not synced. */
  cutPower(mode?: CrashMode): void
  /** Closes the node in order. */
  restart(): void
  /** Nothing happens on the machine for so long. */
  pause(forMs: number): void
}

/** What a process has: its machine's clock and not the real one, and an end. */
export interface ProcessParts<Model> {
  /** The machine's name: `node-1`, `client-1`. */
  readonly machine: string
  readonly clock: Clock
  readonly timers: Timers
  /** The same in every run of one seed. */
  readonly random: Random
  /** Waits so long in virtual time, or somewhere between the two. */
  readonly pause: (forMs: number | readonly [number, number]) => Promise<void>
  /** Aborted when the run comes to its end: then the program must end too. */
  readonly signal: AbortSignal
  /** An invariant: the run ends, and fails with `what`, when it does not hold. */
  readonly check: (holds: boolean, what: string) => void
  /** What `model` of the options made for this run: shared by all its processes. */
  readonly model: Model
  /** Machines with nodes. */
  readonly nodes: readonly SimulatedMachine[]
}

/** A process without a node. */
export interface ClientProcess<Model = undefined> extends ProcessParts<Model> {
  readonly client: Client
}

/** A process with a node. */
export interface NodeProcess<Model = undefined> extends ProcessParts<Model> {
  readonly node: Node
}

/** What makes a run, beside its seed. */
export interface ProgramOptions<Model = undefined> {
  /**
   * Machines with nodes. Default 3: they keep the metadata together. Of fewer the first one has it,
   * of more the first three.
   */
  readonly nodes?: number
  /** Machines that run `run`. Default 2. */
  readonly clients?: number
  /**
   * Kinds of faults. Default: everything that a cluster claims to survive, of which each seed has a
   * part.
   */
  readonly faults?: readonly FaultKind[]
  /** Virtual milliseconds of faults. Default: by the seed, 3,000 to 15,000. */
  readonly faultMs?: number
  /** Timeouts of nodes and clients. Default: by the seed, those of `open` or short ones. */
  readonly settings?: Partial<ClientSettings>
  /** Made once for each run: what a test keeps, beside the processes, of what has happened. */
  readonly model?: () => Model
  /**
   * The program of a client: called in a new process with a new client; again in another one after
   * it has returned, was killed, or threw an error that faults explain. Any other error fails the
   * run.
   */
  readonly run?: (process: ClientProcess<Model>) => Promise<void>
  /** The program in a node's process: called whenever the node has started. */
  readonly service?: (process: NodeProcess<Model>) => Promise<void>
  /**
   * The last look: after all faults are over, everything has ended and all machines were started
   * anew.
   */
  readonly verify?: (process: ClientProcess<Model>) => Promise<void>
}
