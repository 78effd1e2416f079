// Drives a Raft core: brings it what happens, and does what it asks for. Nothing here decides; the
// core does (core/raft.ts).
//
// I1. What a message depends on is durable before it leaves (F2.1).
// I2. In one turn: what arrived first, the tick last, one at most (F3.48, F3.81).
// I3. A broken invariant, or a store that failed, ends the node. What was asked and not answered is
//     unknown then, as it is when leadership is lost (F3.31).

import type { Logger } from '../../io/log.ts'
import type { Random, Timer, Timers } from '../../io/time.ts'
import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { TreeResult } from '../tree/command.ts'
import { Applier } from './applier.ts'
import { clearEffects, createEffects } from './core/effects.ts'
import type { Effects, EntryRead, Refusal, SoftState } from './core/effects.ts'
import type { Input, MemberChange } from './core/inputs.ts'
import { termAt } from './core/log.ts'
import type { Message } from './core/messages.ts'
import { step } from './core/raft.ts'
import { finish } from './core/ready.ts'
import { createRaft } from './core/state.ts'
import type { RaftState } from './core/state.ts'
import { cutLimit, statusOf } from './core/status.ts'
import type { RaftStatus } from './core/status.ts'
import { defaultRaftOptions } from './core/types.ts'
import type { ConfigurationAt, NodeId, RaftOptions } from './core/types.ts'
import { LogWriter } from './log-writer.ts'
import type { TreeMachine } from './machine.ts'
import { Copies, Staging } from './snapshots.ts'
import type { StoreLane } from './store-lane.ts'
import { cutFact, entryFrom } from './stored.ts'
import type { Stored } from './stored.ts'

/** What became of a proposal or a change. `unknown`: it may have happened, or may happen yet. */
export type Outcome =
  | { readonly type: 'applied'; readonly result: TreeResult | undefined }
  | { readonly type: 'refused'; readonly reason: Refusal; readonly leader: NodeId | undefined }
  | { readonly type: 'unknown' }

export interface DriverOptions {
  readonly store: ReplicatedTreeStore
  readonly lane: StoreLane
  readonly machine: TreeMachine
  readonly stored: Stored
  readonly timers: Timers
  readonly random: Random
  readonly logger: Logger
  /** Must not call back at once. */
  readonly send: (message: Message) => void
  /** Whom to be connected with, whenever it changes. */
  readonly members: (configuration: ConfigurationAt) => void
  /** Who leads, whenever it changes: before anything that was asked is told as unknown. */
  readonly changed?: ((softState: SoftState) => void) | undefined
  /** Default 50. */
  readonly tickMs?: number | undefined
  readonly raft?: Partial<RaftOptions> | undefined
  /** The log is cut when it has twice as many entries, or more bytes. Default 10,000 and 64 MiB. */
  readonly keepEntries?: number | undefined
  readonly keepBytes?: number | undefined
}

const defaults = { tickMs: 50, keepEntries: 10_000, keepBytes: 67_108_864 } as const

interface Held {
  readonly afterToken: number
  readonly messages: readonly Message[]
}

export class RaftDriver {
  /** Resolves when this node can go on no more: with why (I3). */
  readonly failed: Promise<Error>
  readonly #options: DriverOptions
  readonly #core: RaftState
  readonly #effects: Effects = createEffects()
  readonly #writer: LogWriter
  readonly #applier: Applier
  readonly #staging: Staging
  readonly #copies: Copies
  readonly #fail: (error: Error) => void
  readonly #asked = new Map<number, (outcome: Outcome) => void>()
  readonly #reads = new Map<number, (isConfirmed: boolean) => void>()
  /** Confirmed reads that wait for the tree. */
  #confirmed: { index: number; resolve: (isConfirmed: boolean) => void }[] = []
  #inputs: Input[] = []
  readonly #held: Held[] = []
  #durable = 0
  #applied: number
  #isTicked = false
  #isScheduled = false
  #lastCtx = 0
  #ticker: Timer | undefined
  #ended = false

  constructor(options: DriverOptions) {
    const { store, lane, machine, random } = options
    const { promise, resolve } = Promise.withResolvers<Error>()
    this.failed = promise
    this.#fail = resolve
    this.#options = options
    const { identity, state } = options.stored
    const runId = random.bytes(6).readUIntBE(0, 6)
    this.#core = createRaft(
      { ...defaultRaftOptions, ...options.raft, id: identity.id, runId },
      state,
    )
    this.#applied = state.applied
    this.#staging = new Staging({ store, lane })
    this.#copies = new Copies({ store, random })
    const failed = (error: unknown): void => this.#failWith(error)
    this.#writer = new LogWriter({
      store,
      lane,
      stage: (chunk) => this.#staging.take(chunk),
      done: (token) => this.#wrote(token),
      failed,
    })
    this.#applier = new Applier({
      store,
      lane,
      machine,
      staging: this.#staging,
      written: () => this.#writer.idle(),
      applied: (index) => this.#wasApplied(index),
      answered: (ctx, result) => this.#answer(ctx, { type: 'applied', result }),
      installed: ({ id, index }, installed) => {
        if (installed) this.#wasInstalled(index)
        this.input({ type: 'snapshot-done', id, installed })
      },
      failed,
    })
    this.#scheduleTick()
    this.#schedule()
  }

  get status(): RaftStatus {
    return statusOf(this.#core)
  }

  /** The part of the status that changes often, for those who look at it often. */
  get position(): Pick<RaftStatus, 'role' | 'term' | 'commit'> {
    const { role, term, commit } = this.#core
    return { role, term, commit }
  }

  /** Syncs of the log since the start. */
  get syncs(): number {
    return this.#writer.syncs
  }

  input(input: Input): void {
    if (this.#ended) return
    this.#inputs.push(input)
    this.#schedule()
  }

  /** Puts a command into the log, on the leader. */
  propose(bytes: Uint8Array): Promise<Outcome> {
    return this.#ask((ctx) => ({ type: 'propose', ctx, bytes }))
  }

  change(changes: readonly MemberChange[]): Promise<Outcome> {
    return this.#ask((ctx) => ({ type: 'change', ctx, changes }))
  }

  /** Refused, or begun: whether it succeeds shows in who leads. */
  transfer(target: NodeId): void {
    this.input({ type: 'transfer', ctx: ++this.#lastCtx, target })
  }

  /**
   * Resolves to true when a read of the tree shows everything that was acknowledged anywhere before
   * the call; to false when that could not be confirmed: ask again.
   */
  confirmRead(): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false)
    const ctx = ++this.#lastCtx
    const { promise, resolve } = Promise.withResolvers<boolean>()
    this.#reads.set(ctx, resolve)
    this.input({ type: 'read-index', ctx })
    return promise
  }

  /** Ends what this node does. What was asked is unknown. */
  async close(): Promise<void> {
    this.#end()
    this.#applier.stop()
    await this.#options.lane.close()
    await this.#writer.idle()
    await this.#applier.idle()
  }

  #ask(inputOf: (ctx: number) => Input): Promise<Outcome> {
    if (this.#ended)
      return Promise.resolve({ type: 'refused', reason: 'not-leader', leader: undefined })
    const ctx = ++this.#lastCtx
    const { promise, resolve } = Promise.withResolvers<Outcome>()
    this.#asked.set(ctx, resolve)
    this.input(inputOf(ctx))
    return promise
  }

  #answer(ctx: number, outcome: Outcome): void {
    this.#asked.get(ctx)?.(outcome)
    this.#asked.delete(ctx)
  }

  #scheduleTick(): void {
    const { timers, tickMs = defaults.tickMs } = this.#options
    this.#ticker = timers.after(tickMs, () => {
      this.#isTicked = true
      this.#schedule()
      this.#scheduleTick()
    })
  }

  #schedule(): void {
    if (this.#isScheduled || this.#ended) return
    this.#isScheduled = true
    this.#options.timers.soon(() => this.#turn())
  }

  #turn(): void {
    this.#isScheduled = false
    if (this.#ended) return
    const inputs = this.#inputs
    this.#inputs = []
    try {
      for (const input of inputs) step(this.#core, input, this.#effects)
      if (this.#isTicked) {
        const jitter = this.#options.random.below(2 ** 31)
        step(this.#core, { type: 'tick', jitter }, this.#effects)
      }
      this.#isTicked = false
      finish(this.#core, this.#effects)
      this.#act(this.#effects)
      clearEffects(this.#effects)
    } catch (error) {
      this.#failWith(error)
    }
  }

  #act(effects: Effects): void {
    for (const message of effects.messagesNow) this.#options.send(message)
    if (effects.token !== 0) this.#writer.add(effects)
    if (effects.messagesAfterPersist.length > 0) {
      this.#held.push({
        afterToken: effects.afterToken,
        messages: [...effects.messagesAfterPersist],
      })
      this.#release()
    }
    if (effects.committed.length > 0) this.#applier.apply(effects.committed)
    if (effects.snapshotToInstall) this.#applier.install(effects.snapshotToInstall)
    this.#actOnCallers(effects)
    for (const each of effects.entryReads) void this.#readEntries(each)
    for (const to of effects.snapshotsWanted) void this.#takeSnapshot(to)
    for (const { to, id, offset, bytesMax } of effects.chunkReads) {
      const bytes = this.#copies.read(id, { offset, bytesMax })
      this.input({ type: 'chunk-read', to, id, offset, bytes })
    }
    for (const to of effects.snapshotsReleased) this.#copies.release(to)
    if (effects.configuration) this.#options.members(effects.configuration)
    for (const node of effects.reverted) {
      this.#options.logger.error(
        { node },
        'a node lost what it had acknowledged: it must be replaced',
      )
    }
  }

  #actOnCallers(effects: Effects): void {
    if (effects.softState) {
      this.#options.logger.info(effects.softState, 'the metadata group')
      this.#options.changed?.(effects.softState)
    }
    for (const { ctx, reason, leader } of effects.refused) {
      this.#answer(ctx, { type: 'refused', reason, leader })
      this.#settleRead(ctx, false)
    }
    for (const ctx of effects.unknown) this.#answer(ctx, { type: 'unknown' })
    for (const ctx of effects.readsFailed) this.#settleRead(ctx, false)
    for (const { ctx, index } of effects.readStates) {
      const resolve = this.#reads.get(ctx)
      this.#reads.delete(ctx)
      if (resolve) this.#confirmed.push({ index, resolve })
    }
    if (effects.readStates.length > 0) this.#serveReads()
  }

  #settleRead(ctx: number, isConfirmed: boolean): void {
    this.#reads.get(ctx)?.(isConfirmed)
    this.#reads.delete(ctx)
  }

  /** F3.38: as soon as the tree contains what they must see. */
  #serveReads(): void {
    const ready = this.#confirmed.filter(({ index }) => index <= this.#applied)
    this.#confirmed = this.#confirmed.filter(({ index }) => index > this.#applied)
    for (const { resolve } of ready) resolve(true)
  }

  #wrote(token: number): void {
    this.#durable = token
    this.#release()
    this.input({ type: 'storage-done', token })
  }

  /** I1. */
  #release(): void {
    for (let next = this.#held[0]; next !== undefined; next = this.#held[0]) {
      if (next.afterToken > this.#durable) return
      this.#held.shift()
      for (const message of next.messages) this.#options.send(message)
    }
  }

  async #wasApplied(index: number): Promise<void> {
    this.#applied = index
    this.input({ type: 'apply-done', index })
    this.#serveReads()
    await this.#cutLog()
  }

  #wasInstalled(index: number): void {
    this.#applied = Math.max(this.#applied, index)
    this.#serveReads()
  }

  async #readEntries(read: EntryRead): Promise<void> {
    const { reader, from } = read
    try {
      const entries = await this.#options.store.entries(read)
      const found = entries[0]?.index === from ? entries.map(entryFrom) : []
      this.input({ type: 'entries-read', reader, from, entries: found })
    } catch (error) {
      this.#failWith(error)
    }
  }

  async #takeSnapshot(to: NodeId): Promise<void> {
    try {
      const snapshot = await this.#copies.take(to)
      this.input({ type: 'snapshot-taken', to, snapshot })
    } catch (error) {
      this.#failWith(error)
    }
  }

  /** Behind the tree, whose rows are durable when the cut is: they were written before. */
  async #cutLog(): Promise<void> {
    const { store, lane, keepEntries = defaults.keepEntries } = this.#options
    const { keepBytes = defaults.keepBytes } = this.#options
    const { cutIndex } = this.#core.log
    const isLong = this.#applied - cutIndex > 2 * keepEntries
    if (!isLong && this.#writer.bytesWritten <= keepBytes) return
    const index = Math.min(this.#applied - keepEntries, cutLimit(this.#core))
    const term = termAt(this.#core.log, index)
    if (index <= cutIndex || term === undefined) return
    this.#writer.bytesWritten = 0
    const facts = new Map([cutFact({ index, term })])
    await lane.run(() => store.append({ cutTo: index, entries: [], facts }))
    this.input({ type: 'log-cut', index })
  }

  #failWith(cause: unknown): void {
    if (this.#ended) return
    this.#options.logger.error({ err: cause }, 'the metadata group lost this node')
    this.#end()
    this.#applier.stop()
    this.#fail(cause instanceof Error ? cause : new Error(String(cause)))
  }

  #end(): void {
    this.#ended = true
    this.#ticker?.cancel()
    for (const resolve of this.#asked.values()) resolve({ type: 'unknown' })
    for (const resolve of this.#reads.values()) resolve(false)
    for (const { resolve } of this.#confirmed) resolve(false)
    this.#asked.clear()
    this.#reads.clear()
    this.#confirmed = []
  }
}
