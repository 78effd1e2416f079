// What replicas and databases share: their options, one open handle for a name, and what an outcome
// means to a caller.

import { QuireError } from '../../errors.ts'
import type { Outcome, ReplicatedState } from '../../snapshot/state.ts'
import { decodeValue } from '../../snapshot/values.ts'
import type { Asker } from '../forward/asker.ts'
import type { ForwardServer } from '../forward/server.ts'
import type { CallSignal, Log } from '../log/log.ts'
import type { Logs } from '../log/logs.ts'
import { Replica, replicaDefaults, type ReplicaOptions } from './replica.ts'

/**
 * Names that are open: two states of one name in one process would take the log from each other.
 */
export class OpenNames {
  readonly #names = new Map<string, (() => Promise<void>) | undefined>()

  take(name: string): void {
    if (this.#names.has(name)) {
      throw new QuireError(
        'QUIRE_BAD_OPTION',
        `${name} is open in this process already; use that one, or close it first`,
        { facts: { name } },
      )
    }
    this.#names.set(name, undefined)
  }

  /** How it is closed, now that it is open. */
  opened(name: string, close: () => Promise<void>): void {
    this.#names.set(name, close)
  }

  release(name: string): void {
    this.#names.delete(name)
  }

  /** Closes all that are open: before the logs they stand on. */
  async close(): Promise<void> {
    await Promise.all([...this.#names.values()].map(async (close) => close?.()))
  }
}

/** The way of commands from one process to another. */
export interface Forwards {
  readonly asker: Pick<Asker, 'ask'>
  readonly server: Pick<ForwardServer, 'serve'>
}

export interface OpenReplicaParts {
  readonly forwards: Forwards
  readonly logs: Logs
  readonly names: OpenNames
}

/** The name is held from here until `close` of what it returns. */
export async function openReplica<S extends ReplicatedState>(
  parts: OpenReplicaParts,
  name: string,
  open: {
    readonly options: ReplicaOptions & CallSignal
    readonly state: (log: Log, checkEvery: number) => Promise<S>
  },
): Promise<{ replica: Replica; state: S; close: () => Promise<void> }> {
  const { options } = open
  checkReplicaOptions(options)
  parts.names.take(name)
  try {
    const log = await parts.logs.log(name, { signal: options.signal })
    const state = await open.state(log, options.checkEvery ?? replicaDefaults.checkEvery)
    const replica = await Replica.open({ log, forwards: parts.forwards }, state, options)
    const close = async (): Promise<void> => {
      try {
        await replica.close()
      } finally {
        parts.names.release(name)
      }
    }
    parts.names.opened(name, close)
    return { replica, state, close }
  } catch (error) {
    parts.names.release(name)
    throw error
  }
}

function checkReplicaOptions(options: ReplicaOptions): void {
  const least: readonly [keyof ReplicaOptions, number][] = [
    ['snapshotEvery', 0],
    // A check is a record too: checks of checks must come to an end.
    ['checkEvery', 4],
    ['pendingBytes', 1],
    ['sessionTimeoutMs', 1],
    ['acquireTimeoutMs', 0],
  ]
  for (const [name, min] of least) {
    const value = options[name]
    if (value === undefined || (Number.isSafeInteger(value) && value >= min)) continue
    throw new QuireError('QUIRE_BAD_OPTION', `${name} must be an integer of at least ${min}`, {
      facts: { [name]: value },
    })
  }
}

/** The command's result, or QUIRE_COMMAND_FAILED with what it threw. */
export function resultOf(outcome: Outcome): ReturnType<typeof decodeValue> {
  if (outcome.type === 'done') return decodeValue(outcome.value)
  throw new QuireError(
    'QUIRE_COMMAND_FAILED',
    outcome.type === 'failed' ? outcome.message : 'the command had no effect',
  )
}
