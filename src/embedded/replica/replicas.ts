// Replicated state machines in memory: the log is their durable form, a snapshot the shorter way
// through it.

import type { Machine } from '../../snapshot/memory-state.ts'
import { MemoryState } from '../../snapshot/memory-state.ts'
import { encodeValue } from '../../snapshot/values.ts'
import type { CallSignal, NamedLog } from '../log/log.ts'
import { openReplica, resultOf, type OpenReplicaParts } from './open-replica.ts'
import type { ReplicaOptions, SnapshotFacts } from './replica.ts'

export interface QueryOptions extends CallSignal {
  /**
   * `local` (the default) answers from what this replica has applied, which may be behind.
   * `linearizable` sees everything that was answered anywhere before the call; it costs a record in
   * the log, shared by the queries of one moment.
   */
  readonly consistency?: 'local' | 'linearizable'
}

/** A state machine that is applied to the same commands, in the same order, on every node. */
export interface StateReplica<Command, Result, Question, Answered> extends AsyncDisposable {
  readonly log: NamedLog
  /** The position that is applied next. */
  readonly position: number
  /**
   * The command's result, once it is durable and applied here. It takes effect once. Fails with
   * QUIRE_COMMAND_FAILED when the machine threw, QUIRE_BACKPRESSURE (wait for `ready`),
   * QUIRE_CLOSED and others when nothing was sent; with QUIRE_OUTCOME_UNKNOWN, QUIRE_SESSION_GONE
   * and QUIRE_ABORTED it may have taken effect.
   */
  execute(command: Command, options?: CallSignal): Promise<Result>
  query(question: Question, options?: QueryOptions): Promise<Answered>
  /** Resolves when `execute` would take a command. */
  ready(signal?: AbortSignal): Promise<void>
  /** Resolves when everything that was answered anywhere before the call is applied here. */
  barrier(options?: CallSignal): Promise<void>
  /** Takes and publishes a snapshot, and cuts the log behind the older of the two that are kept. */
  snapshot(options?: CallSignal): Promise<SnapshotFacts>
  close(): Promise<void>
}

export interface Replicas {
  /** Opens the replica, caught up with what is confirmed. Its log is the named log of that name. */
  replica<State, Command, Result, Question, Answered>(
    name: string,
    machine: Machine<State, Command, Result, Question, Answered>,
    options?: ReplicaOptions & CallSignal,
  ): Promise<StateReplica<Command, Result, Question, Answered>>
}

export function createReplicas(parts: OpenReplicaParts): Replicas {
  return {
    async replica(name, machine, options = {}) {
      const { replica, state, close } = await openReplica(parts, name, {
        options,
        state: async (_log, checkEvery) => new MemoryState(machine, checkEvery),
      })
      return {
        log: replica.log,
        get position() {
          return replica.position
        },
        execute: async (command, call) =>
          resultOf(await replica.execute(encodeValue(command), call)),
        async query(question, { consistency, signal } = {}) {
          if (consistency === 'linearizable') await replica.barrier({ signal })
          return state.query(question)
        },
        ready: (signal) => replica.ready(signal),
        barrier: (call) => replica.barrier(call),
        snapshot: (call) => replica.snapshot(call),
        close,
        [Symbol.asyncDispose]: close,
      }
    },
  }
}
