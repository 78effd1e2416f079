// The named logs of one client: one object for a name, so that its writer and its readers in this
// process know one another.

import { QuireError } from '../../errors.ts'
import type { Clock, Logger, Random, Timers } from '../../io/index.ts'
import type { LedgerClient } from '../../replication/api.ts'
import { Confirmations } from './confirmations.ts'
import { Feed } from './feed.ts'
import { Log, type CallSignal } from './log.ts'
import { logDefaults, type LogOptions, type LogOwner, type LogParts } from './parts.ts'
import { RecordStore, type LogRecordManager } from './record-store.ts'

export interface LogsParts {
  readonly ledgers: LedgerClient
  readonly records: LogRecordManager
  readonly clock: Clock
  readonly random: Random
  readonly timers: Timers
  readonly logger: Logger
  readonly owner: LogOwner
  /** Defaults for every log of this client. */
  readonly options?: LogOptions
}

export interface Logs {
  /**
   * The log of that name, made if there is none: letters, digits, `.`, `_` and `-`, at most 128,
   * not beginning with `.`. Options count for the first call of a name. Fails with
   * QUIRE_BAD_OPTION.
   */
  log(name: string, options?: LogOptions & CallSignal): Promise<Log>
  /**
   * Closes the writers, once what they have taken is durable, and ends the readers with
   * QUIRE_CLOSED.
   */
  close(): Promise<void>
}

export function createLogs(parts: LogsParts): Logs {
  const known = new Map<string, Log>()
  const closing = new AbortController()
  const writers = new Set<AsyncDisposable>()
  const life = { closed: closing.signal, writers }
  return {
    async log(name, { signal, ...options } = {}) {
      checkName(name)
      checkOpen(closing.signal)
      const log = known.get(name) ?? createLog({ ...parts, ...life }, name, options)
      known.set(name, log)
      await log.parts.store.read({ signal })
      return log
    },

    async close() {
      const ended = await Promise.allSettled([...writers].map((w) => w[Symbol.asyncDispose]()))
      closing.abort(closedError())
      const failure = ended.find(({ status }) => status === 'rejected')
      // The next owner finds the end of a log that could not be closed.
      if (failure) parts.logger.warn({ err: failure }, 'a log was left open')
    },
  }
}

function closedError(): QuireError {
  return new QuireError('QUIRE_CLOSED', 'the client of this log was closed')
}

function checkOpen(closed: AbortSignal): void {
  if (closed.aborted) throw closedError()
}

function createLog(
  parts: LogsParts & Pick<LogParts, 'closed' | 'writers'>,
  name: string,
  own: LogOptions,
): Log {
  const options = { ...logDefaults, ...parts.options, ...own }
  checkOptions(options)
  const { random, timers, records } = parts
  const store = new RecordStore({ name, records, random, timers })
  const feed = new Feed(options.feedBytes)
  return new Log({ ...parts, name, store, options, feed, confirmations: new Confirmations() })
}

/** A log's name is a node's name in the metadata and a file's name beside it. */
export function checkName(name: string): void {
  if (/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/.test(name)) return
  throw new QuireError(
    'QUIRE_BAD_OPTION',
    `${JSON.stringify(name)} cannot name a log: take letters, digits, ".", "_" and "-", at ` +
      'most 128, not beginning with "."',
    { facts: { name } },
  )
}

function checkOptions(options: Required<LogOptions>): void {
  const least: readonly [keyof LogOptions, number][] = [
    ['entryBytes', 64],
    ['pendingBytes', 1],
    ['depth', 1],
    ['segmentBytes', 1],
    ['segmentAgeMs', 1],
    ['feedBytes', 0],
    ['pollMs', 1],
  ]
  for (const [name, min] of least) {
    const value = options[name]
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= min) continue
    throw new QuireError('QUIRE_BAD_OPTION', `${name} must be an integer of at least ${min}`, {
      facts: { [name]: value },
    })
  }
}
