// A client, or a node, whose replicated states have observers. Whoever uses it sees no difference.

import type { Client } from '../../embedded/client.ts'
import type { Database, DatabaseDefinition, SqlCommands } from '../../embedded/replica/databases.ts'
import type { StateReplica } from '../../embedded/replica/replicas.ts'
import { QuireError } from '../../errors.ts'
import type { Machine } from '../../snapshot/memory-state.ts'
import type { StateStores } from '../../io/state-store.ts'
import { mayHaveEffect } from '../report.ts'
import { resultText, type AttemptParts } from './attempt.ts'
import { shown } from './difference.ts'
import { StateOracle, type OracleParts } from './oracle.ts'
import { watchedDefinition } from './watched-database.ts'
import { WatchedMachine } from './watched-machine.ts'
import { WatchedStates } from './watched-states.ts'

type States = Pick<Client, 'replica' | 'database'>
type DatabaseOptions = Parameters<Client['database']>[2]
type ReplicaOptions = NonNullable<Parameters<Client['replica']>[2]>

/** How a state is opened once more, on another machine, and what it holds then. */
export type LastLook = (watcher: Watcher, client: States) => Promise<void>

/** All states of a run. */
export class WatchedRun {
  /** How often replicas take snapshots and write checks, if not as the program says. */
  readonly replicas: Pick<ReplicaOptions, 'snapshotEvery' | 'checkEvery'>
  readonly #where: OracleParts
  readonly #oracles = new Map<string, StateOracle>()
  readonly #looks = new Map<string, LastLook>()

  constructor(where: OracleParts, replicas: Pick<ReplicaOptions, 'snapshotEvery' | 'checkEvery'>) {
    this.#where = where
    this.replicas = replicas
  }

  oracle(name: string, look: LastLook): StateOracle {
    let oracle = this.#oracles.get(name)
    if (oracle === undefined) {
      oracle = new StateOracle(this.#where, name)
      this.#oracles.set(name, oracle)
    }
    this.#looks.set(name, look)
    return oracle
  }

  get oracles(): StateOracle[] {
    return [...this.#oracles.values()]
  }

  get looks(): LastLook[] {
    return [...this.#looks.values()]
  }
}

export interface WatcherParts extends AttemptParts {
  readonly run: WatchedRun
  /** The process's name, unlike any other's. */
  readonly label: string
  readonly who: string
  readonly states: StateStores
  /** Told of calls that have begun and must end. */
  readonly during: <T>(what: string, work: () => Promise<T>) => Promise<T>
}

/** The states of one process. */
export class Watcher {
  /** What the process is given in the place of its databases. */
  readonly states: WatchedStates
  readonly #parts: WatcherParts
  readonly #open = new Set<() => Promise<void>>()
  #calls = 0

  constructor(parts: WatcherParts) {
    this.#parts = parts
    this.states = new WatchedStates(parts.states)
  }

  watch<C extends States>(client: C): C {
    return {
      ...client,
      replica: (name, machine, options = {}) =>
        this.openReplica(client, { name, machine, options }).then(({ replica }) => replica),
      database: (name, definition, options) =>
        this.openDatabase(client, { name, definition, options }),
    }
  }

  /** Closes what is open: a service that failed begins anew. */
  async close(): Promise<void> {
    for (const close of this.#open) await close()
  }

  async openReplica<State, Command, Result, Question, Answered>(
    client: Pick<States, 'replica'>,
    open: {
      readonly name: string
      readonly machine: Machine<State, Command, Result, Question, Answered>
      readonly options: ReplicaOptions
    },
  ): Promise<{
    replica: StateReplica<Command, Result, Question, Answered>
    image: () => string
  }> {
    const { name, machine, options } = open
    const { run, who } = this.#parts
    const oracle = run.oracle(name, async (watcher, other) => {
      const { replica, image } = await watcher.openReplica(other, { ...open, options: {} })
      await replica.barrier()
      oracle.final(watcher.#parts.who, replica.position, image())
      await replica.close()
    })
    const watched = new WatchedMachine({ ...this.#parts, oracle, who }, machine)
    const inner = await this.#parts.during(`the replica ${name} is opened`, () =>
      client.replica(name, watched, { ...options, ...run.replicas }),
    )
    const replica: StateReplica<Command, Result, Question, Answered> = {
      ...this.#handle(inner, oracle),
      get position() {
        return inner.position
      },
      execute: (command, call) =>
        this.#execute(oracle, shown(command), (id) => inner.execute({ id, command }, call)),
      query: (question, call) =>
        this.#ask(oracle, { inner, ...call }, () => inner.query(question, call)),
    }
    return { replica, image: () => watched.image }
  }

  async openDatabase<Commands extends SqlCommands>(
    client: Pick<States, 'database'>,
    open: {
      readonly name: string
      readonly definition: DatabaseDefinition<Commands>
      readonly options: DatabaseOptions
    },
  ): Promise<Database<Commands>> {
    const { name, definition, options } = open
    const { run, who } = this.#parts
    const oracle = run.oracle(name, async (watcher, other) => {
      const database = await watcher.openDatabase(other, { ...open, options: {} })
      await database.barrier()
      oracle.final(watcher.#parts.who, database.position, await watcher.states.imageOf(name))
      await database.close()
    })
    const parts = { ...this.#parts, oracle, who, states: this.states }
    const watched = { ...watchedDefinition(parts, definition), ...run.replicas }
    const inner = await this.#parts.during(`the database ${name} is opened`, () =>
      client.database(name, watched, options),
    )
    return {
      ...this.#handle(inner, oracle),
      get position() {
        return inner.position
      },
      execute: (command, args, call) =>
        this.#execute(oracle, `${command} ${shown(args)}`, (id) =>
          inner.execute(command, { id, args }, call),
        ),
      query: (request, ...values) => {
        const call = typeof request === 'string' ? {} : request
        return this.#ask(oracle, { inner, ...call }, () => inner.query(request, ...values))
      },
    }
  }

  /** What is the same for both, without what changes: a spread would keep it as it was. */
  #handle(inner: Handle, oracle: StateOracle): Omit<Handle, 'position'> {
    const { during } = this.#parts
    const close = async (): Promise<void> => {
      this.#open.delete(close)
      await during(`${oracle.name} is closed`, () => inner.close())
    }
    this.#open.add(close)
    return {
      log: inner.log,
      ready: (signal) => inner.ready(signal),
      barrier: (call) =>
        this.#ask(oracle, { inner, consistency: 'linearizable' }, () => inner.barrier(call)),
      snapshot: (call) => during(`a snapshot of ${oracle.name}`, () => inner.snapshot(call)),
      close,
      [Symbol.asyncDispose]: close,
    }
  }

  async #execute<T>(
    oracle: StateOracle,
    command: string,
    execute: (id: string) => Promise<T>,
  ): Promise<T> {
    this.#calls += 1
    const { label, who } = this.#parts
    const id = `${label}/${this.#calls}`
    oracle.executing(id, { command, who })
    try {
      const result = await this.#parts.during(`${command} is executed`, () => execute(id))
      oracle.answered(id, resultText(result))
      return result
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_COMMAND_FAILED')) oracle.answered(id, undefined)
      else if (!mayHaveEffect(error)) oracle.refused(id)
      throw error
    }
  }

  async #ask<T>(
    oracle: StateOracle,
    how: { readonly inner: Handle; readonly consistency?: 'local' | 'linearizable' },
    ask: () => Promise<T>,
  ): Promise<T> {
    const { answeredEnd } = oracle
    const answer = await this.#parts.during(`a question to ${oracle.name}`, ask)
    if (how.consistency === 'linearizable' && how.inner.position < answeredEnd) {
      const text = `a linearizable question on ${this.#parts.who} saw ${how.inner.position} entries`
      oracle.violated('linearizable', `${text}; ${answeredEnd} were answered before it`)
    }
    return answer
  }
}

type Handle = Pick<
  StateReplica<unknown, unknown, unknown, unknown>,
  'log' | 'position' | 'ready' | 'barrier' | 'snapshot' | 'close' | typeof Symbol.asyncDispose
>
