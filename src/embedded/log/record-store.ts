// Reads and changes a log's record by compare-and-set. A lost answer is no special case: the record
// is read again, and the change, being a function that recognises its own effect, finds it there or
// makes it.

import { QuireError } from '../../errors.ts'
import type { CallOptions } from '../../metadata/contract.ts'
import type { Versioned } from '../../metadata/managers.ts'
import type { Random, Timers } from '../../io/index.ts'
import { newLog, type Change, type LogRecord } from './core/log-record.ts'
import { decodeLogRecord, encodeLogRecord } from './core/log-record-codec.ts'
import { pause } from './wait.ts'

/** What a log asks of the metadata: opaque bytes at /quire/logs/NAME. */
export interface LogRecordManager {
  /**
   * Undefined when there is none. Always linearizable. `watch` is called once at the next change.
   */
  read(
    name: string,
    options?: CallOptions & { watch?: (() => void) | undefined },
  ): Promise<Versioned<Uint8Array> | undefined>
  /** QUIRE_NODE_EXISTS when there is one. */
  create(name: string, record: Uint8Array, options?: CallOptions): Promise<unknown>
  /** CAS. QUIRE_BAD_VERSION on conflict. QUIRE_METADATA_UNAVAILABLE: the outcome is unknown. */
  write(name: string, record: Uint8Array, version: number, options?: CallOptions): Promise<unknown>
}

export interface RecordStoreParts {
  readonly name: string
  readonly records: LogRecordManager
  readonly random: Random
  readonly timers: Timers
}

/**
 * Attempts of one change while the metadata does not answer: about ten seconds with the pauses
 * between them.
 */
const attemptsMax = 12

export class RecordStore {
  readonly #parts: RecordStoreParts
  /** Who waits for the next change. One watch stands for all of them, however often they look. */
  readonly #watching = new Set<() => void>()
  /** The watch that is laid and was not called yet. */
  #laid: object | undefined

  constructor(parts: RecordStoreParts) {
    this.#parts = parts
  }

  /**
   * The record, made if there was none. `watch` is called once at its next change, sometimes
   * without one; `unwatch` takes it back.
   */
  async read(
    options: CallOptions & { watch?: (() => void) | undefined } = {},
  ): Promise<Versioned<LogRecord>> {
    const { name, records, random } = this.#parts
    for (;;) {
      const found = await this.#read(options)
      if (found) return { value: decodeLogRecord(found.value, name), version: found.version }
      try {
        const fresh = encodeLogRecord(newLog({ name, logId: random.uuid() }))
        await records.create(name, fresh, { signal: options.signal })
      } catch (error) {
        // Another one made it: the next turn reads it. An unknown outcome too is settled by
        // reading.
        if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
      }
    }
  }

  unwatch(watch: () => void): void {
    this.#watching.delete(watch)
  }

  async #read(
    options: CallOptions & { watch?: (() => void) | undefined },
  ): Promise<Versioned<Uint8Array> | undefined> {
    const { name, records } = this.#parts
    const { watch, ...call } = options
    if (!watch) return records.read(name, call)
    // Before the read: a change that comes at once is told by the watch of an earlier one.
    this.#watching.add(watch)
    if (this.#laid) return records.read(name, call)
    const laid = { called: false }
    const changed = (): void => {
      laid.called = true
      if (this.#laid === laid) this.#laid = undefined
      const told = [...this.#watching]
      this.#watching.clear()
      for (const tell of told) tell()
    }
    const found = await records.read(name, { ...call, watch: changed })
    if (found && !laid.called) this.#laid ??= laid
    return found
  }

  /**
   * Applies `change` until it is in the record, or says why it never will be. Resolves to the
   * record as of then.
   */
  async change(
    change: (record: LogRecord) => Change,
    options: CallOptions = {},
  ): Promise<{ outcome: Change; record: LogRecord }> {
    for (let attempt = 1; ; attempt++) {
      try {
        const { value, version } = await this.read(options)
        const outcome = change(value)
        if (outcome.type !== 'write') return { outcome, record: value }
        const { name, records } = this.#parts
        await records.write(name, encodeLogRecord(outcome.record), version, options)
        return { outcome, record: outcome.record }
      } catch (error) {
        if (QuireError.is(error, 'QUIRE_BAD_VERSION')) continue
        const lostAnswer =
          QuireError.is(error, 'QUIRE_METADATA_UNAVAILABLE') ||
          QuireError.is(error, 'QUIRE_TIMEOUT')
        if (!lostAnswer || attempt >= attemptsMax) throw error
        await pause(this.#parts, Math.min(1000, 20 * 2 ** attempt), options.signal)
      }
    }
  }
}
