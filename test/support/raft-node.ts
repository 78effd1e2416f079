// One Raft core with a store in memory, driven as a driver has to: messages wait for their writes,
// writes are made in order, a crash takes what was not made durable.

import type { Committed, Effects } from '../../src/metadata/raft/core/effects.ts'
import type { Input } from '../../src/metadata/raft/core/inputs.ts'
import type { Message } from '../../src/metadata/raft/core/messages.ts'
import type { RaftState } from '../../src/metadata/raft/core/state.ts'
import type {
  Entry,
  NodeId,
  RaftOptions,
  SnapshotMeta,
} from '../../src/metadata/raft/core/types.ts'
import type { RaftCore } from './raft-core.ts'
import { apply, cut, install, storedOf, write } from './raft-disk.ts'
import type { Disk, Write } from './raft-disk.ts'
import type { RaftOracle } from './raft-oracle.ts'

export type Outcome =
  | { readonly type: 'committed'; readonly index: number }
  | { readonly type: 'read'; readonly index: number }
  | { readonly type: 'refused'; readonly reason: string; readonly leader: NodeId | undefined }
  | { readonly type: 'unknown' }
  | { readonly type: 'read-failed' }

/** What a node tells and uses; shared by all nodes of a network. */
export interface Surroundings {
  readonly core: RaftCore
  readonly oracle: RaftOracle
  readonly effects: Effects
  readonly send: (message: Message) => void
  readonly onOutcome: (ctx: number, outcome: Outcome) => void
}

interface Snapshot {
  readonly meta: SnapshotMeta
  readonly bytes: Uint8Array
}

export class RaftNode {
  readonly options: RaftOptions
  state: RaftState | undefined
  /** All that was written; and what of it a crash leaves. */
  view: Disk
  durable: Disk
  /** Given to the store and not written yet. */
  writes: Write[] = []
  /** Messages that wait for a token. */
  held: { readonly afterToken: number; readonly message: Message }[] = []
  applies: Committed[] = []
  staged: Uint8Array = new Uint8Array(0)
  installing: SnapshotMeta | undefined
  snapshots: Map<NodeId, Snapshot> = new Map()
  snapshotsTaken = 0
  /** Followers whose loss of data was noticed. */
  reverted: NodeId[] = []
  /** The next snapshot that comes in is found damaged. */
  damaged = false

  constructor(options: RaftOptions, disk: Disk) {
    this.options = options
    this.view = disk
    this.durable = disk
  }

  clone(core: RaftCore): RaftNode {
    const copy = new RaftNode(this.options, this.view)
    copy.durable = this.durable
    copy.state = this.state && core.cloneRaft(this.state)
    copy.writes = [...this.writes]
    copy.held = [...this.held]
    copy.applies = [...this.applies]
    copy.staged = this.staged
    copy.installing = this.installing
    copy.snapshots = new Map(this.snapshots)
    copy.snapshotsTaken = this.snapshotsTaken
    copy.reverted = [...this.reverted]
    copy.damaged = this.damaged
    return copy
  }

  start(around: Surroundings, changes: Partial<RaftOptions> = {}): void {
    this.state = around.core.createRaft({ ...this.options, ...changes }, storedOf(this.durable))
    this.view = this.durable
    this.#run([], around)
  }

  /** Loses all that was not durable, but the first `written` writes and, if asked, all applied. */
  crash({ written = 0, keepApplied = false }: { written?: number; keepApplied?: boolean }): void {
    for (const each of this.writes.slice(0, written)) this.#write(each)
    if (keepApplied) this.durable = this.view
    this.view = this.durable
    this.state = undefined
    this.writes = []
    this.held = []
    this.applies = []
    this.staged = new Uint8Array(0)
    this.installing = undefined
    this.snapshots.clear()
  }

  /** Any number of inputs as one batch. */
  step(inputs: readonly Input[], around: Surroundings): void {
    if (this.state) this.#run(inputs, around)
  }

  #run(inputs: readonly Input[], around: Surroundings): void {
    const { state } = this
    const { core, effects, oracle } = around
    if (!state) return
    for (const input of inputs) core.step(state, input, effects)
    core.finish(state, effects)
    oracle.onEffects(state, effects)
    if (state.role === 'leader')
      oracle.onCommitIndex(state, (index) => this.#entryAt(state, index, around))
    const answers = this.#act(state, around)
    core.clearEffects(effects)
    if (answers.length > 0) this.#run(answers, around)
  }

  #entryAt(state: RaftState, index: number, { core }: Surroundings): Entry | undefined {
    return core.entryAt(state.log, index) ?? this.view.log.find((entry) => entry.index === index)
  }

  /** Does what the core asks for; what can be answered at once is. */
  #act(state: RaftState, around: Surroundings): Input[] {
    const { effects } = around
    for (const message of effects.messagesNow) this.#send(message, around)
    for (const { snapshot, offset, bytes } of effects.chunksToWrite) {
      if (offset === 0) this.staged = new Uint8Array(0)
      if (this.staged.length !== offset) throw new Error(`a gap in snapshot ${snapshot.id}`)
      this.staged = Buffer.concat([this.staged, bytes])
    }
    if (effects.token !== 0) {
      const { token, truncateFrom, hardState: hard } = effects
      this.writes.push({ token, truncateFrom, entries: [...effects.entriesToAppend], hard })
    }
    const { afterToken } = effects
    for (const message of effects.messagesAfterPersist) {
      if (afterToken === 0) this.#send(message, around)
      else this.held.push({ afterToken, message })
    }
    this.applies.push(...effects.committed)
    if (effects.snapshotToInstall) this.installing = effects.snapshotToInstall
    this.reverted.push(...effects.reverted)
    this.#tellOutcomes(around)
    return this.#answer(state, around)
  }

  #tellOutcomes({ effects, onOutcome }: Surroundings): void {
    for (const { ctx, reason, leader } of effects.refused) {
      onOutcome(ctx, { type: 'refused', reason, leader })
    }
    for (const { ctx, index } of effects.readStates) onOutcome(ctx, { type: 'read', index })
    for (const ctx of effects.readsFailed) onOutcome(ctx, { type: 'read-failed' })
    for (const ctx of effects.unknown) onOutcome(ctx, { type: 'unknown' })
  }

  #answer(state: RaftState, { core, effects }: Surroundings): Input[] {
    const reads = effects.entryReads.map(({ reader, from, to, bytesMax }): Input => {
      const found = this.view.log.filter(({ index }) => index >= from && index <= to)
      let bytes = 0
      const entries = found.filter(
        (entry, i) => (bytes += core.entryBytes(entry)) <= bytesMax || i === 0,
      )
      return { type: 'entries-read', reader, from, entries }
    })
    const taken = effects.snapshotsWanted.map((to): Input => this.#takeSnapshot(state, to, core))
    const chunks = effects.chunkReads.map(({ to, id, offset, bytesMax }): Input => {
      const bytes = this.snapshots.get(to)?.bytes.subarray(offset, offset + bytesMax)
      return { type: 'chunk-read', to, id, offset, bytes }
    })
    for (const id of effects.snapshotsReleased) this.snapshots.delete(id)
    return [...reads, ...taken, ...chunks]
  }

  #takeSnapshot(state: RaftState, to: NodeId, core: RaftCore): Input {
    const { applied: index, values, log, cut } = this.view
    const term = log.find((entry) => entry.index === index)?.term ?? cut.term
    const bytes = Buffer.from(JSON.stringify(values))
    const meta: SnapshotMeta = {
      id: `${this.options.id}.${this.options.runId}.${++this.snapshotsTaken}`,
      index,
      term,
      configuration: core.configurationAt(state, index),
      sizeBytes: bytes.length,
    }
    this.snapshots.set(to, { meta, bytes })
    return { type: 'snapshot-taken', to, snapshot: meta }
  }

  #send(message: Message, { oracle, send }: Surroundings): void {
    oracle.onMessage(message, this.durable)
    send(message)
  }

  #write(each: Write): void {
    this.view = write(this.view, each)
    // One fsync also makes durable what was applied before.
    this.durable = this.view
  }

  /** Makes the first `count` writes durable; what waited for them leaves before the core is told. */
  persist(around: Surroundings, count: number = this.writes.length): void {
    const done = this.writes.splice(0, count)
    const token = done.at(-1)?.token
    if (token === undefined || !this.state) return
    for (const each of done) this.#write(each)
    const leaving = this.held.filter(({ afterToken }) => afterToken <= token)
    this.held = this.held.filter(({ afterToken }) => afterToken > token)
    for (const { message } of leaving) this.#send(message, around)
    this.step([{ type: 'storage-done', token }], around)
  }

  /** Applies what was handed out. */
  apply(around: Surroundings): void {
    const applies = this.applies.splice(0)
    const last = applies.at(-1)
    if (!last) return
    for (const { entry, ctx } of applies) {
      this.view = apply(this.view, entry)
      if (ctx !== undefined) around.onOutcome(ctx, { type: 'committed', index: entry.index })
    }
    this.step([{ type: 'apply-done', index: last.entry.index }], around)
  }

  /** Installs the snapshot that is complete, unless it is damaged. */
  install(around: Surroundings): void {
    const snapshot = this.installing
    if (!snapshot || this.writes.length > 0) return
    this.installing = undefined
    const installed = !this.damaged
    this.damaged = false
    if (installed) {
      this.applies = []
      this.view = install(this.view, snapshot, this.staged)
      this.durable = this.view
    }
    this.step([{ type: 'snapshot-done', id: snapshot.id, installed }], around)
  }

  /** Cuts the log as far as it may be, behind a durable state. */
  cut(around: Surroundings, index?: number): void {
    if (!this.state) return
    const limit = Math.min(around.core.cutLimit(this.state), index ?? Number.MAX_SAFE_INTEGER)
    if (limit <= this.view.cut.index) return
    this.view = cut(this.view, limit)
    this.durable = this.view
    this.step([{ type: 'log-cut', index: limit }], around)
  }

  get isIdle(): boolean {
    return this.writes.length === 0 && this.applies.length === 0 && !this.installing
  }
}
