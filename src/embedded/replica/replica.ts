// A replicated state and its log: follows the log, answers commands, takes and loads snapshots.
// Every replica applies every record; the one that owns the log also writes commands, checks and
// snapshots. Guarantees:
// P1 a command's answer is given when it is durable, and applied here; its effect is there once,
// whatever was lost on the way;
// P2 a linearizable read sees everything that was answered anywhere before it began: a barrier goes
// through the log (D9.1);
// P3 a snapshot is published only after it was read back; the log is cut behind the older of the
// two that are kept (D7);
// P4 a failure that another replica would not have ends this one: it never goes on with a state
// that may differ.

import { QuireError } from '../../errors.ts'
import { encodeReplicaRecord } from '../../snapshot/commands.ts'
import type { Answer, Outcome, RecordBatch, ReplicatedState } from '../../snapshot/state.ts'
import { readSnapshot, snapshotChunkBytes, writeSnapshot } from '../../snapshot/snapshots.ts'
import type { LogSnapshot } from '../log/core/log-record.ts'
import type { CallSignal, Log } from '../log/log.ts'
import { ledgerMark } from '../log/parts.ts'
import { Gate, checkSignal, orAborted, pause } from '../log/wait.ts'
import { Commands } from './commands.ts'
import type { Forwards } from './open-replica.ts'
import { Proposer, type Proposal } from './proposer.ts'

export interface ReplicaOptions {
  /**
   * The owner takes a snapshot when this many records were applied since the last one. Default
   * 10,000; 0 = never by itself.
   */
  readonly snapshotEvery?: number
  /**
   * The owner writes a check of the state every so many records; the same on all nodes. Default
   * 1,000.
   */
  readonly checkEvery?: number
  /** Bytes of commands without an answer, beyond which `execute` pushes back. Default 16 MiB. */
  readonly pendingBytes?: number
  /** Silence in log time after which a proposer's session ends. Default one hour. */
  readonly sessionTimeoutMs?: number
  /**
   * How long a command waits for the log's owner to take it, or for the log to be taken over when
   * that one is gone, before it fails. Default 30,000.
   */
  readonly acquireTimeoutMs?: number
}

export const replicaDefaults = {
  snapshotEvery: 10_000,
  checkEvery: 1_000,
  pendingBytes: 16_777_216,
  sessionTimeoutMs: 3_600_000,
  acquireTimeoutMs: 30_000,
} as const

export interface SnapshotFacts {
  /** The first position that is not in it. */
  readonly position: number
  readonly bytes: number
  readonly ledgerId: bigint
}

export interface ReplicaParts {
  readonly log: Log
  readonly forwards: Forwards
}

export class Replica {
  readonly #log: Log
  readonly #state: ReplicatedState
  readonly #options: Required<ReplicaOptions>
  readonly #proposer: Proposer
  readonly #unserve: () => void
  readonly #commands: Commands
  readonly #moved = new Gate()
  readonly #closing = new AbortController()
  #following: Promise<void> | undefined
  #failure: Error | undefined
  #applyFailed = false
  #closed: Promise<void> | undefined
  #barrier: Promise<void> | undefined
  #snapshotting: Promise<SnapshotFacts> | undefined
  /** Where the last snapshot was taken, or tried. */
  #snapshotAt = 0
  #checkedAt = 0

  private constructor(
    { log, forwards }: ReplicaParts,
    state: ReplicatedState,
    options: Required<ReplicaOptions>,
  ) {
    this.#log = log
    this.#state = state
    this.#options = options
    this.#proposer = new Proposer({
      log,
      asker: forwards.asker,
      applied: (position, of, signal) =>
        of === 'writer' ? this.#reach(position, signal) : this.#applied(position, signal),
      preface: () => this.#preface(),
      acquireTimeoutMs: options.acquireTimeoutMs,
    })
    this.#commands = new Commands({
      proposer: this.#proposer,
      sessions: () => state.sessions,
      random: log.parts.random,
      sessionTimeoutMs: options.sessionTimeoutMs,
    })
    this.#unserve = forwards.server.serve(log.name, this.#proposer)
  }

  /**
   * Loads a snapshot if the log no longer reaches back to the state, and catches up with what is
   * confirmed.
   */
  static async open(
    parts: ReplicaParts,
    state: ReplicatedState,
    options: ReplicaOptions & CallSignal = {},
  ): Promise<Replica> {
    const { signal, ...own } = options
    const { log } = parts
    const replica = new Replica(parts, state, { ...replicaDefaults, ...own })
    try {
      await replica.#catchUp({ follow: false, signal })
      const { snapshots } = await log.facts({ signal })
      replica.#snapshotAt = snapshots[0]?.position ?? 0
    } catch (error) {
      replica.#unserve()
      await state.close()
      throw error
    }
    replica.#following = replica.#follow()
    return replica
  }

  get log(): Log {
    return this.#log
  }

  /** The position that is applied next. */
  get position(): number {
    return this.#state.position
  }

  /**
   * The outcome of a command that every replica applies once. Fails with QUIRE_BACKPRESSURE (wait
   * for `ready`), QUIRE_CLOSED, and what keeps the log from being acquired (nothing was sent); with
   * QUIRE_OUTCOME_UNKNOWN, QUIRE_SESSION_GONE, QUIRE_ABORTED it may have taken effect, or may
   * later.
   */
  async execute(body: Buffer, { signal }: CallSignal = {}): Promise<Outcome> {
    checkSignal(signal)
    this.#checkUsable()
    if (!this.writable) {
      throw new QuireError(
        'QUIRE_BACKPRESSURE',
        `${this.#proposer.pendingBytes} bytes of commands have no answer yet; wait for ready()`,
      )
    }
    return orAborted(this.#commands.execute(body), signal)
  }

  get writable(): boolean {
    return this.#proposer.pendingBytes < this.#options.pendingBytes
  }

  /** Resolves when `execute` would take a command. */
  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.writable) {
      this.#checkUsable()
      await this.#proposer.room.wait(signal)
    }
  }

  /**
   * Resolves when everything that was answered anywhere before the call is applied here. Calls of
   * one turn share a record.
   */
  barrier({ signal }: CallSignal = {}): Promise<void> {
    this.#barrier ??= this.#startBarrier()
    return orAborted(this.#barrier, signal)
  }

  async #startBarrier(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    await new Promise<void>((go) => this.#log.parts.timers.soon(go))
    // From here on a caller is later than this barrier, and needs another.
    this.#barrier = undefined
    this.#checkUsable()
    const proposal: Proposal = {
      bytes: 1,
      settled: false,
      attempts: 0,
      record: () => encodeReplicaRecord({ type: 'barrier' }),
      appended: (position) => {
        this.#proposer.settle(proposal)
        resolve(position)
      },
      failed: reject,
    }
    this.#proposer.propose(proposal)
    await this.#applied((await promise) + 1, this.#closing.signal)
  }

  /** Takes a snapshot now, or joins the one that is being taken. */
  async snapshot({ signal }: CallSignal = {}): Promise<SnapshotFacts> {
    this.#checkUsable()
    this.#snapshotting ??= this.#takeSnapshot().finally(() => {
      this.#snapshotting = undefined
    })
    return orAborted(this.#snapshotting, signal)
  }

  async #takeSnapshot(): Promise<SnapshotFacts> {
    const call = { signal: this.#closing.signal }
    const { logId, ownerEpoch: epoch, snapshots } = await this.#log.facts(call)
    // Nothing is applied between these two lines: the copy is of this position.
    const { position, format } = this.#state
    this.#snapshotAt = position
    const newest = snapshots[0]
    if (newest && newest.position >= position) return newest
    const chunks = this.#state.snapshot(snapshotChunkBytes)
    const { ledgers, options } = this.#log.parts
    const customMetadata = ledgerMark({ logId, epoch, kind: 'snapshot', seq: position })
    const header = { format, logId, position, epoch }
    const ledger = { ...options.ledger, customMetadata }
    const stored = await writeSnapshot(ledgers, { header, chunks, ledger }, call)
    const snapshot: LogSnapshot = { ...stored, position, format, epoch }
    const published = await this.#log.publishSnapshot(snapshot, call)
    if (published) return { position, bytes: stored.bytes, ledgerId: stored.ledgerId }
    await ledgers.delete(stored.ledgerId)
    throw new QuireError(
      'QUIRE_NOT_OWNER',
      `a newer owner or a newer snapshot of ${this.#log.name} came in between; nothing is missing`,
    )
  }

  /** Ends it in order: a snapshot that is being taken is finished, what was sent is answered. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#snapshotting?.catch(() => undefined)
    this.#proposer.offer(this.#commands.goodbye())
    this.#closing.abort()
    this.#unserve()
    this.#failure ??= new QuireError('QUIRE_CLOSED', `the replica ${this.#log.name} was closed`)
    this.#moved.open()
    await this.#proposer.close(this.#failure)
    await this.#following
    await this.#snapshotting?.catch(() => undefined)
    await this.#state.close()
  }

  #checkUsable(): void {
    if (this.#failure) throw this.#failure
  }

  #preface(): Buffer[] {
    this.#checkUsable()
    return this.#commands.preface()
  }

  async #applied(position: number, signal: AbortSignal): Promise<void> {
    while (this.#state.position < position) {
      this.#checkUsable()
      await this.#moved.wait(signal)
    }
    this.#checkUsable()
  }

  /** Applies the log up to a new writer's beginning: the end of all that was ever committed. */
  async #reach(end: number, signal: AbortSignal): Promise<void> {
    const { position } = this.#state
    if (position > end) {
      this.#end(
        new QuireError(
          'QUIRE_STATE_DIVERGED',
          `the state of ${this.#log.name} has applied ${position} records, its log has ` +
            `${end}: it belongs to another life of the log; remove the local state`,
          { facts: { position, end } },
        ),
      )
    }
    await this.#applied(end, signal)
  }

  async #follow(): Promise<void> {
    const { signal } = this.#closing
    const { logger, name } = this.#log.parts
    let delayMs = 10
    while (!signal.aborted) {
      const before = this.#state.position
      try {
        await this.#catchUp({ follow: true, signal })
      } catch (error) {
        if (signal.aborted) return
        if (this.#applyFailed || !(QuireError.is(error) && error.retryable)) {
          this.#end(error)
          return
        }
        logger.warn({ log: name, err: error }, 'following the log is tried again')
      }
      delayMs = this.#state.position > before ? 10 : Math.min(delayMs * 2, 5000)
      await pause(this.#log.parts, delayMs, signal).catch(() => undefined) // Ended by it alone.
    }
  }

  #end(cause: unknown): void {
    const { logger, name } = this.#log.parts
    logger.error({ log: name, err: cause }, 'a replica ended')
    this.#failure = cause instanceof Error ? cause : new Error(String(cause))
    this.#moved.open()
    this.#proposer.close(this.#failure).catch((error: unknown) => {
      logger.debug({ log: name, err: error }, 'the writer of a replica that ended did not close')
    })
  }

  async #catchUp(options: { follow: boolean; signal: AbortSignal | undefined }): Promise<void> {
    for (;;) {
      try {
        const from = this.#state.position
        for await (const batch of this.#log.batches({ ...options, from })) {
          this.#commands.settle(await this.#apply(batch))
          this.#moved.open()
          this.#maintain()
        }
        return
      } catch (error) {
        if (!QuireError.is(error, 'QUIRE_TRUNCATED')) throw error
        await this.#load(options.signal)
        this.#moved.open()
      }
    }
  }

  // P4: what failed while applying is not tried again on the same state, however retryable its
  // cause.
  async #apply(batch: RecordBatch): Promise<readonly Answer[]> {
    try {
      return await this.#state.apply(batch)
    } catch (error) {
      this.#applyFailed = true
      throw error
    }
  }

  /** After each batch, on the owner: a check, and a snapshot when it is time. */
  #maintain(): void {
    if (this.#proposer.owned === undefined) return
    const { check } = this.#state
    if (check && check.position > this.#checkedAt) {
      this.#checkedAt = check.position
      this.#proposer.offer(encodeReplicaRecord({ type: 'check', ...check }))
    }
    const { snapshotEvery } = this.#options
    if (snapshotEvery === 0 || this.#snapshotting) return
    if (this.#state.position - this.#snapshotAt < snapshotEvery) return
    this.#snapshotAt = this.#state.position
    this.snapshot().catch((error: unknown) => {
      const { logger, name } = this.#log.parts
      logger.warn({ log: name, err: error }, 'a snapshot was not taken; it is tried again later')
    })
  }

  /** The newest snapshot that can be read; the older one if it cannot (D7). */
  async #load(signal: AbortSignal | undefined): Promise<void> {
    let cause: unknown
    for (let tried = ''; ;) {
      const { snapshots, oldest } = await this.#log.facts({ signal })
      const found = snapshots.map(({ ledgerId }) => ledgerId).join()
      if (found === tried) throw this.#notLoaded(oldest, cause)
      // What was tried may have been replaced meanwhile: then the new ones are.
      tried = found
      for (const snapshot of snapshots) {
        if (snapshot.position < oldest || snapshot.position < this.#state.position) continue
        cause = await this.#restore(snapshot, signal)
        if (cause === undefined) return
      }
    }
  }

  /** Resolves to why it could not be. */
  async #restore(snapshot: LogSnapshot, signal: AbortSignal | undefined): Promise<unknown> {
    const { ledgers, logger, name } = this.#log.parts
    try {
      await this.#state.restore(readSnapshot(ledgers, snapshot, { signal }))
    } catch (error) {
      checkSignal(signal)
      logger.warn({ log: name, snapshot, err: error }, 'a snapshot was passed over')
      return error
    }
    this.#snapshotAt = snapshot.position
    this.#commands.recall()
    return undefined
  }

  #notLoaded(oldest: number, cause: unknown): QuireError {
    if (QuireError.is(cause) && cause.retryable) return cause
    const text =
      `the log ${this.#log.name} begins at ${oldest} and no snapshot that can be read reaches ` +
      'it; bring back the ledgers of its snapshots'
    return new QuireError('QUIRE_SNAPSHOT_CORRUPT', text, { cause, facts: { oldest } })
  }
}
