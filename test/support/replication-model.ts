// A model of one ledger for a search through all histories: the real cores of writer and recovery,
// bookies and a metadata record reduced to what the protocol promises of them, and an oracle that
// sees everything.

import type { LedgerFragment, LedgerMetadata } from '../../src/wire/ledger-metadata.ts'
import type { MetadataChange } from '../../src/replication/core/metadata-update.ts'
import type { RecoveryEffects, RecoveryState } from '../../src/replication/core/recovery.ts'
import type { WriterEffects, WriterState } from '../../src/replication/core/writer-state.ts'
import { loadMutated, Violation, violationOf } from './mutated-core.ts'
import type { Mutation } from './mutated-core.ts'

type Core = typeof import('../../src/replication/core/quorum.ts') &
  typeof import('../../src/replication/core/metadata-update.ts') &
  typeof import('../../src/replication/core/writer.ts') &
  typeof import('../../src/replication/core/writer-state.ts') &
  typeof import('../../src/replication/core/recovery.ts')

const coreFiles = ['quorum', 'metadata-update', 'writer', 'writer-state', 'recovery']

/** The cores, the real ones or with a defect; see `loadMutated`. */
export async function loadCore(directory: string, mutation?: Mutation): Promise<Core> {
  const options = { directory, mutation }
  return (await loadMutated('replication/core', coreFiles, options)) as Core
}

export interface Model {
  readonly core: Core
  readonly ensembleSize: number
  readonly writeQuorumSize: number
  readonly ackQuorumSize: number
  readonly bookies: number
  readonly entries: number
  readonly recoverers: number
  /** Bookies that may go away for good. */
  readonly crashes: number
  /** Requests whose client gives up on them while they are still under way. */
  readonly timeouts: number
  /** The reply of an add is a message of its own. */
  readonly lateReplies?: boolean
  readonly writerCloses?: boolean
  /** Entries that a recovery reads at one time; 1 unless told otherwise. */
  readonly window?: number
  /** The defect of D1, for showing that it is found. */
  readonly unfencedReads?: boolean
}

interface Message {
  readonly type: 'add' | 'reply' | 'fence' | 'read'
  /** −1 = the writer, else a recoverer. */
  readonly client: number
  readonly bookie: number
  readonly index: number
  readonly entryId: number
  readonly generation: number
  readonly lac: number
  readonly status: number
  /** Its client does not wait for it any more. */
  readonly ghost: boolean
}

interface Bookie {
  /** Last confirmation that came with each entry; −2 = not there. */
  readonly lacs: number[]
  fenced: boolean
  up: boolean
}

interface Update {
  readonly kind: 'change' | 'close' | 'begin' | 'end'
  readonly change: MetadataChange
  current: { value: LedgerMetadata; version: number }
  /** Distinguishes states: the change is a function. */
  readonly key: string
}

interface Recoverer {
  /** The metadata as it was when the recovery had begun. */
  begun: { value: LedgerMetadata; version: number } | undefined
  stage: 'absent' | 'running' | 'ended' | 'failed'
  state: RecoveryState | undefined
  sentLacs: number[]
  update: Update | undefined
  avoid: number
}

interface System {
  bookies: Bookie[]
  metadata: { value: LedgerMetadata; version: number }
  writer: WriterState
  writerKnows: { value: LedgerMetadata; version: number }
  writerUpdate: Update | undefined
  writerAvoid: number
  appended: number
  /** The confirmation in each entry. */
  sentLacs: number[]
  closing: boolean
  recoverers: Recoverer[]
  messages: Message[]
  crashes: number
  timeouts: number
  /** Highest entry acknowledged to the caller. */
  acked: number
}

export interface SearchResult {
  readonly states: number
  readonly transitions: number
  /** False when the bound on states was reached. */
  readonly complete: boolean
  readonly violation: Violation | undefined
  /** Of histories that ended: how often each end of the ledger was seen. */
  readonly ends: ReadonlyMap<string, number>
}

const io = 501
const fenced = 504

/** Breadth first through all histories. */
export function search(model: Model, maxStates: number): SearchResult {
  const machine = new Machine(model)
  const first = machine.initial()
  const seen = new Set([machine.key(first)])
  let frontier = [first]
  let transitions = 0
  const ends = new Map<string, number>()
  try {
    while (frontier.length > 0) {
      const next: System[] = []
      for (const system of frontier) {
        const steps = machine.steps(system)
        if (steps === 0) machine.checkEnd(system)
        if (steps === 0) count(ends, system.metadata.value)
        for (let i = 0; i < steps; i++) {
          const copy = machine.clone(system)
          machine.step(copy, i)
          transitions++
          const key = machine.key(copy)
          if (seen.has(key)) continue
          seen.add(key)
          next.push(copy)
        }
        if (seen.size >= maxStates) {
          return { states: seen.size, transitions, complete: false, violation: undefined, ends }
        }
      }
      frontier = next
    }
  } catch (error) {
    const violation = violationOf(error)
    return { states: seen.size, transitions, complete: false, violation, ends }
  }
  return { states: seen.size, transitions, complete: true, violation: undefined, ends }
}

/** Histories at random, to their ends: deeper than a search reaches. */
export function walk(
  model: Model,
  options: { walks: number; below: (below: number) => number },
): SearchResult {
  const machine = new Machine(model)
  const ends = new Map<string, number>()
  let transitions = 0
  try {
    for (let i = 0; i < options.walks; i++) {
      const system = machine.initial()
      for (let steps = machine.steps(system); steps > 0; steps = machine.steps(system)) {
        machine.step(system, options.below(steps))
        transitions++
      }
      machine.checkEnd(system)
      count(ends, system.metadata.value)
    }
  } catch (error) {
    return { states: 0, transitions, complete: false, violation: violationOf(error), ends }
  }
  return { states: 0, transitions, complete: false, violation: undefined, ends }
}

function count(ends: Map<string, number>, { state, lastEntryId }: LedgerMetadata): void {
  const key = state === 'closed' ? `closed at ${lastEntryId}` : state
  ends.set(key, (ends.get(key) ?? 0) + 1)
}

class Machine {
  readonly #model: Model
  readonly #core: Core
  readonly #effects: WriterEffects
  readonly #recoveryEffects: RecoveryEffects
  readonly #batch

  constructor(model: Model) {
    this.#model = model
    this.#core = model.core
    this.#effects = this.#core.createEffects()
    this.#recoveryEffects = this.#core.createRecoveryEffects()
    this.#batch = this.#core.createReplyBatch(1)
  }

  readonly #limits = {
    capacity: 4,
    keptEntriesMax: 100,
    keptBytesMax: 1_000,
    addTimeoutMs: 1,
    quorumTimeoutMs: 1_000,
    ensembleChangesMax: 10,
  }

  initial(): System {
    const { ensembleSize, writeQuorumSize, ackQuorumSize, bookies, recoverers } = this.#model
    const ensemble = Array.from({ length: ensembleSize }, (_, i) => String(i))
    const value: LedgerMetadata = {
      formatVersion: 3,
      state: 'open',
      ensembleSize,
      writeQuorumSize,
      ackQuorumSize,
      fragments: [{ firstEntryId: 0, ensemble }],
      lastEntryId: -1,
      lengthBytes: 0,
      digest: 'crc32c',
      password: new Uint8Array(0),
      ctimeMs: undefined,
      customMetadata: new Map(),
      creatorToken: 0n,
    }
    const metadata = { value, version: 0 }
    return {
      bookies: Array.from({ length: bookies }, () => ({ lacs: [], fenced: false, up: true })),
      metadata,
      writer: this.#core.createWriter({
        quorum: this.#core.createQuorum(value),
        limits: this.#limits,
        ensemble,
        lac: -1,
        local: false,
        nowMs: 0,
      }),
      writerKnows: metadata,
      writerUpdate: undefined,
      writerAvoid: 0,
      appended: 0,
      sentLacs: [],
      closing: false,
      recoverers: Array.from({ length: recoverers }, () => ({
        begun: undefined,
        stage: 'absent' as const,
        state: undefined,
        sentLacs: [],
        update: undefined,
        avoid: 0,
      })),
      messages: [],
      crashes: this.#model.crashes,
      timeouts: this.#model.timeouts,
      acked: -1,
    }
  }

  clone(system: System): System {
    return {
      ...system,
      bookies: system.bookies.map((bookie) => ({ ...bookie, lacs: [...bookie.lacs] })),
      writer: this.#core.cloneWriter(system.writer),
      writerUpdate: system.writerUpdate && { ...system.writerUpdate },
      recoverers: system.recoverers.map((one) => ({
        ...one,
        sentLacs: [...one.sentLacs],
        update: one.update && { ...one.update },
        state: one.state && this.#core.cloneRecovery(one.state),
      })),
      messages: [...system.messages],
      sentLacs: [...system.sentLacs],
    }
  }

  /**
   * What can happen now, as functions of the system they are called with, in an order that is
   * always the same.
   */
  #moves(system: System): ((system: System) => void)[] {
    const { model } = { model: this.#model }
    const moves: ((system: System) => void)[] = []
    const { writer } = system
    const open = writer.end === undefined && !system.closing
    if (open && system.appended < model.entries && this.#core.canAppend(writer)) {
      moves.push((s) => this.#append(s))
    }
    if (open && model.writerCloses) moves.push((s) => this.#close(s))
    if (system.writerUpdate) moves.push((s) => this.#writerUpdate(s))
    system.recoverers.forEach((one, i) => {
      if (one.stage === 'absent' && (i === 0 || system.recoverers[i - 1]?.stage !== 'absent')) {
        moves.push((s) => this.#recover(s, i))
      } else if (one.update) moves.push((s) => this.#recovererUpdate(s, i))
    })
    const same = new Set<string>()
    system.messages.forEach((message, at) => {
      const key = messageKey(message)
      if (same.has(key)) return
      same.add(key)
      moves.push((s) => this.#deliver(s, at))
      const waits = !message.ghost && message.type !== 'reply'
      if (system.timeouts > 0 && waits && system.bookies[message.bookie]?.up) {
        moves.push((s) => this.#timeout(s, at))
      }
    })
    if (system.crashes > 0) {
      system.bookies.forEach(({ up }, index) => {
        if (up && index < model.ensembleSize) moves.push((s) => this.#crash(s, index))
      })
    }
    return moves
  }

  steps(system: System): number {
    return this.#moves(system).length
  }

  step(system: System, which: number): void {
    this.#moves(system)[which]?.(system)
    this.#forget(system)
    this.#check(system)
  }

  /**
   * What a recoverer does not wait for any more never arrives: one of the things that may happen,
   * and the worst, for what arrives only fences.
   */
  #forget(system: System): void {
    system.messages = system.messages.filter(({ client, type, entryId }) => {
      const one = system.recoverers[client]
      if (!one) return true
      if (one.stage !== 'running' || !one.state) return false
      if (type === 'fence') return one.state.phase === 'fencing'
      return type !== 'read' || one.state.replies.has(entryId)
    })
  }

  #append(system: System): void {
    const { writer } = system
    const entryId = this.#core.append(writer, 1)
    system.appended++
    this.#core.sent(writer, entryId, { upTo: entryId, nowMs: 0 })
    for (let index = 0; index < writer.quorum.ensembleSize; index++) {
      if ((this.#core.targets(writer, entryId) >>> index) & 1)
        this.#send(system, -1, entryId, index)
    }
  }

  #send(system: System, client: number, entryId: number, index: number): void {
    const writer = client < 0 ? system.writer : system.recoverers[client]?.state?.writer
    if (!writer) throw new Error('a client that sends writes')
    const bookie = Number(writer.ensemble[index])
    const generation = writer.generations[index] ?? 0
    const sentLacs = client < 0 ? system.sentLacs : (system.recoverers[client]?.sentLacs ?? [])
    // The same bytes whenever it is sent.
    const lac = (sentLacs[entryId] ??= writer.lac)
    const rest = { status: 0, ghost: false }
    system.messages.push({ type: 'add', client, bookie, index, entryId, generation, lac, ...rest })
  }

  #close(system: System): void {
    system.closing = true
    this.#core.beginClose(system.writer)
    this.#closeWhenIdle(system)
  }

  #closeWhenIdle(system: System): void {
    const { writer } = system
    if (!system.closing || system.writerUpdate || writer.phase !== 'idle') return
    if (writer.end !== undefined) return
    this.#core.leaveRestBehind(writer, this.#effects)
    this.#core.clearEffects(this.#effects)
    const end = { lastEntryId: writer.lac, lengthBytes: writer.confirmedBytes, holes: [] }
    system.writerUpdate = {
      kind: 'close',
      change: this.#core.writerClose(end),
      current: system.writerKnows,
      key: `close ${writer.lac}`,
    }
  }

  #writerUpdate(system: System): void {
    const update = system.writerUpdate
    if (!update) return
    const outcome = this.#attempt(system, update)
    if (outcome === undefined) return
    system.writerUpdate = undefined
    system.writerKnows = update.current
    const { writer } = system
    if (outcome !== 'done') this.#core.onRefused(writer, outcome)
    else if (update.kind === 'close') this.#core.onClosed(writer)
    else {
      const { ensemble } = this.#core.lastFragment(update.current.value)
      this.#core.onChanged(writer, { ensemble, nowMs: 0 }, this.#effects)
    }
    this.#actWriter(system)
  }

  /** One turn of the loop of A1: undefined = a conflict, evaluated anew at the next turn. */
  #attempt(
    system: System,
    update: Update,
  ): 'done' | 'closed' | 'in-recovery' | 'missing' | undefined {
    const verdict = update.change(update.current.value)
    if (verdict.type === 'refused') return verdict.reason
    if (verdict.type === 'done') return 'done'
    if (system.metadata.version !== update.current.version) {
      update.current = system.metadata
      return undefined
    }
    checkChange(system.metadata.value, verdict.metadata)
    system.metadata = { value: verdict.metadata, version: system.metadata.version + 1 }
    update.current = system.metadata
    return 'done'
  }

  #actWriter(system: System): void {
    const effects = this.#effects
    for (let i = 0; i < effects.resendEntries.length; i++) {
      this.#send(system, -1, effects.resendEntries[i] ?? 0, effects.resendIndexes[i] ?? 0)
    }
    const { choose, change } = effects
    this.#core.clearEffects(effects)
    if (change) {
      system.writerUpdate = {
        kind: 'change',
        change: this.#core.ensembleChange(change),
        current: system.writerKnows,
        key: JSON.stringify([change.firstEntryId, change.replacements]),
      }
    }
    if (choose !== 0) {
      system.writerAvoid |= membersOf(system.writer.committed, choose)
      const chosen = this.#choose(system, system.writer, choose, system.writerAvoid)
      this.#core.onChosen(system.writer, { chosen, nowMs: 0 }, effects)
      this.#actWriter(system)
    }
    this.#closeWhenIdle(system)
  }

  #choose(
    system: System,
    writer: WriterState,
    mask: number,
    avoid: number,
  ): (string | undefined)[] {
    const spare = system.bookies
      .map((_, index) => index)
      .filter((b) => !writer.committed.includes(String(b)) && ((avoid >>> b) & 1) === 0)
    return writer.committed.map((_, index) => {
      const next = (mask >>> index) & 1 ? spare.shift() : undefined
      return next === undefined ? undefined : String(next)
    })
  }

  #recover(system: System, which: number): void {
    const one = system.recoverers[which]
    if (!one) return
    one.stage = 'running'
    const change = this.#core.beginRecovery
    one.update = { kind: 'begin', change, current: system.metadata, key: 'begin' }
  }

  #recovererUpdate(system: System, which: number): void {
    const one = system.recoverers[which]
    const update = one?.update
    if (!one || !update) return
    const outcome = this.#attempt(system, update)
    if (outcome === undefined) return
    one.update = undefined
    one.begun ??= update.current
    const { value } = update.current
    if (outcome !== 'done') one.stage = 'failed'
    else if (value.state === 'closed') one.stage = 'ended'
    else {
      const fragment = this.#core.lastFragment(value)
      one.state = this.#core.createRecovery({
        quorum: this.#core.createQuorum(value),
        limits: this.#limits,
        fragment,
        window: this.#model.window ?? 1,
      })
      fragment.ensemble.forEach((bookie, index) =>
        this.#ask(system, which, 'fence', -1, index, bookie),
      )
    }
  }

  #ask(
    system: System,
    client: number,
    type: 'fence' | 'read',
    entryId: number,
    index: number,
    bookie: string,
  ): void {
    const rest = { generation: 0, lac: 0, status: 0, ghost: false }
    system.messages.push({ type, client, bookie: Number(bookie), index, entryId, ...rest })
  }

  #crash(system: System, index: number): void {
    const bookie = system.bookies[index]
    if (bookie) bookie.up = false
    system.crashes--
  }

  /** The client gives up. What it sent may still arrive: an add does, a read is of no interest. */
  #timeout(system: System, at: number): void {
    const message = system.messages[at]
    if (!message) return
    system.timeouts--
    if (message.type === 'add') system.messages[at] = { ...message, ghost: true }
    else system.messages.splice(at, 1)
    this.#answer(system, { ...message, status: io }, 'unknown', -1)
  }

  #deliver(system: System, at: number): void {
    const [message] = system.messages.splice(at, 1)
    const bookie = message && system.bookies[message.bookie]
    if (!message || !bookie) return
    if (message.type === 'reply') this.#answer(system, message, 'unknown', -1)
    else if (!bookie.up) {
      if (!message.ghost) this.#answer(system, { ...message, status: io }, 'unknown', -1)
    } else if (message.type === 'add') this.#add(system, message, bookie)
    else this.#read(system, message, bookie)
  }

  #add(system: System, message: Message, bookie: Bookie): void {
    const refused = bookie.fenced && message.client < 0
    if (!refused && (bookie.lacs[message.entryId] ?? -2) === -2) {
      bookie.lacs[message.entryId] = message.lac
    }
    const reply: Message = { ...message, type: 'reply', status: refused ? fenced : 0 }
    if (this.#model.lateReplies && message.client < 0) system.messages.push(reply)
    else this.#answer(system, reply, 'unknown', -1)
  }

  #read(system: System, message: Message, bookie: Bookie): void {
    if (message.type === 'fence' || !this.#model.unfencedReads) bookie.fenced = true
    let { entryId } = message
    if (entryId < 0) entryId = bookie.lacs.findLastIndex((lac) => (lac ?? -2) !== -2)
    const lac = bookie.lacs[entryId] ?? -2
    this.#answer(system, message, lac === -2 ? 'negative' : 'found', lac)
  }

  #answer(
    system: System,
    message: Message,
    result: 'found' | 'negative' | 'unknown',
    lac: number,
  ): void {
    const { client, index, entryId } = message
    const one = system.recoverers[client]
    const state = one?.state
    if (message.type === 'add' || message.type === 'reply') {
      const writer = client < 0 ? system.writer : state?.writer
      if (!writer) return
      this.#reply(writer, message)
      if (client < 0) this.#actWriter(system)
      else this.#actRecovery(system, client)
      return
    }
    if (!state) return
    const effects = this.#recoveryEffects
    if (message.type === 'fence') {
      this.#core.onFenced(state, { index, result, lac, nowMs: 0 }, effects)
    } else {
      const sizes = { payloadBytes: 1, lengthBytes: entryId + 1 }
      this.#core.onRead(state, { entryId, index, result, ...sizes }, effects)
    }
    this.#actRecovery(system, client)
  }

  #reply(writer: WriterState, message: Message): void {
    const batch = this.#batch
    batch.count = 1
    batch.entryIds[0] = message.entryId
    batch.indexes[0] = message.index
    batch.generations[0] = message.generation
    batch.statuses[0] = message.status
    this.#core.onReplies(writer, batch, this.#effects)
  }

  #actRecovery(system: System, which: number): void {
    const one = system.recoverers[which]
    const state = one?.state
    if (!one || !state) return
    const effects = this.#recoveryEffects
    for (let more = true; more;) {
      more = this.#actCopies(system, which, one)
      const reads = effects.reads.slice()
      const copies = effects.copies.slice()
      const { measure } = effects
      this.#core.clearRecoveryEffects(effects)
      for (const entryId of reads) {
        state.fragment.ensemble.forEach((bookie, index) => {
          const wanted = (this.#core.readTargets(state, entryId) >>> index) & 1
          if (wanted) this.#ask(system, which, 'read', entryId, index, bookie)
        })
      }
      for (const entryId of copies) {
        for (let index = 0; index < state.quorum.ensembleSize; index++) {
          const writer = state.writer
          if (!writer || ((this.#core.targets(writer, entryId) >>> index) & 1) === 0) continue
          this.#send(system, which, entryId, index)
        }
      }
      // What can be read of a confirmed entry says its length: of entries of one byte, their
      // number.
      if (measure >= 0) this.#core.onMeasured(state, measure + 1)
      this.#core.onWritten(state, effects)
      more ||= effects.reads.length + effects.copies.length > 0 || effects.measure >= 0
    }
    this.#finishRecovery(one, state)
  }

  /** What its writer asks for. */
  #actCopies(system: System, which: number, one: Recoverer): boolean {
    const writer = one.state?.writer
    const effects = this.#effects
    if (!writer) return false
    const resends = effects.resendEntries.map((entryId, i) => [
      entryId,
      effects.resendIndexes[i] ?? 0,
    ])
    for (const [entryId = 0, index = 0] of resends) this.#send(system, which, entryId, index)
    const { choose } = effects
    this.#core.clearEffects(effects)
    if (choose === 0) return resends.length > 0
    one.avoid |= membersOf(writer.committed, choose)
    const chosen = this.#choose(system, writer, choose, one.avoid)
    this.#core.onChosen(writer, { chosen, nowMs: 0 }, effects)
    return true
  }

  #finishRecovery(one: Recoverer, state: RecoveryState): void {
    if (state.phase === 'failed') one.stage = 'failed'
    if (state.phase !== 'closing' || one.update || one.stage !== 'running' || !one.begun) return
    const end = {
      lastEntryId: this.#core.recoveredEnd(state),
      lengthBytes: state.lengthBytes,
      fragments: this.#core.recoveredFragments(state),
      holes: [],
    }
    one.update = {
      kind: 'end',
      change: this.#core.endRecovery(end),
      current: one.begun,
      key: JSON.stringify(end),
    }
  }

  checkEnd(system: System): void {
    const { writer } = system
    if (writer.end === undefined && writer.lac < writer.lap) {
      throw new Violation('L1', `the writer waits for entry ${writer.lac + 1} for ever`)
    }
    system.recoverers.forEach(({ stage }, i) => {
      if (stage === 'running') throw new Violation('L2', `recoverer ${i} waits for ever`)
    })
  }

  #check(system: System): void {
    this.#checkAcks(system)
    this.#checkConfirmations(system)
    for (const { state } of system.recoverers) {
      if (state?.writer && state.writer.lac < state.fragment.firstEntryId - 1) {
        throw new Violation('A10', 'a recovery goes back behind the last fragment')
      }
    }
    const { value } = system.metadata
    if (value.state !== 'closed') return
    if (system.acked > value.lastEntryId) {
      throw new Violation(
        'I1',
        `entry ${system.acked} was acknowledged, the end is ${value.lastEntryId}`,
      )
    }
    if (value.lengthBytes !== value.lastEntryId + 1) {
      throw new Violation(
        'I2',
        `a length of ${value.lengthBytes} for ${value.lastEntryId + 1} entries`,
      )
    }
    for (let entryId = 0; entryId <= value.lastEntryId; entryId++)
      this.#checkCopies(system, entryId)
  }

  #checkAcks(system: System): void {
    const { writer } = system
    if (writer.lac < system.acked) throw new Violation('I4', 'an acknowledgement was taken back')
    const { value } = system.metadata
    if (writer.lac > system.acked && value.state === 'closed' && writer.lac > value.lastEntryId) {
      throw new Violation(
        'I3',
        `entry ${writer.lac} acknowledged behind the end ${value.lastEntryId}`,
      )
    }
    system.acked = writer.lac
    for (let entryId = 0; entryId <= system.acked; entryId++) this.#checkCopies(system, entryId)
  }

  /**
   * I1, I8: an ack quorum of the fragment that owns the entry, as the metadata has it, holds the
   * entry.
   */
  #checkCopies(system: System, entryId: number): void {
    const { value } = system.metadata
    const { ensemble } = this.#core.fragmentOf(value, entryId)
    const set = this.#core.writeSet(system.writer.quorum, entryId)
    let copies = 0
    ensemble.forEach((bookie, index) => {
      const held = system.bookies[Number(bookie)]?.lacs[entryId] ?? -2
      if ((set >>> index) & 1 && held !== -2) copies++
    })
    if (copies >= this.#model.ackQuorumSize) return
    throw new Violation('I8', `entry ${entryId} has ${copies} copies in its fragment`)
  }

  /** I5: nobody is told of a confirmation that was not given, or re-established. */
  #checkConfirmations(system: System): void {
    let most = system.acked
    for (const { state } of system.recoverers) most = Math.max(most, state?.writer?.lac ?? -1)
    for (const { lacs } of system.bookies) {
      lacs.forEach((lac, entryId) => {
        if (lac > most) throw new Violation('I5', `confirmation ${lac} of ${most} was stored`)
        if (lac >= entryId) throw new Violation('I5', `entry ${entryId} confirms ${lac}`)
      })
    }
  }

  key(system: System): string {
    const { value } = system.metadata
    return [
      system.bookies.map(
        ({ lacs, fenced: shut, up }) => `${lacs.join()}${shut ? 'f' : ''}${up ? '' : 'x'}`,
      ),
      fragmentsKey(value.fragments),
      value.state,
      value.lastEntryId,
      system.metadata.version,
      writerKey(system.writer),
      system.writerKnows.version,
      updateKey(system.writerUpdate),
      system.writerAvoid,
      system.appended,
      system.closing,
      system.recoverers.map(recovererKey).join('/'),
      system.messages.map(messageKey).sort().join(),
      system.crashes,
      system.timeouts,
    ].join('|')
  }
}

function membersOf(ensemble: readonly string[], mask: number): number {
  let members = 0
  ensemble.forEach((bookie, index) => {
    if ((mask >>> index) & 1) members |= 1 << Number(bookie)
  })
  return members
}

/** I12, and the part of I8 that needs no bookies. */
function checkChange(before: LedgerMetadata, after: LedgerMetadata): void {
  const order = { open: 0, 'in-recovery': 1, closed: 2 }
  if (order[after.state] < order[before.state] || before.state === 'closed') {
    throw new Violation('I12', `${before.state} to ${after.state}`)
  }
  let last = -1
  for (const { firstEntryId, ensemble } of after.fragments) {
    if (firstEntryId <= last) throw new Violation('I8', 'fragments do not ascend')
    if (new Set(ensemble).size !== after.ensembleSize)
      throw new Violation('I8', 'twice in an ensemble')
    last = firstEntryId
  }
  if (after.fragments[0]?.firstEntryId !== 0) throw new Violation('I8', 'no fragment at 0')
  for (const [i, { firstEntryId }] of before.fragments.slice(0, -1).entries()) {
    if (after.fragments[i]?.firstEntryId !== firstEntryId) throw new Violation('I8', 'a key moved')
  }
}

const messageKey = (m: Message): string =>
  [m.type, m.client, m.bookie, m.index, m.entryId, m.generation, m.lac, m.status, m.ghost].join('.')

const fragmentsKey = (fragments: readonly LedgerFragment[]): string =>
  fragments.map(({ firstEntryId, ensemble }) => `${firstEntryId}:${ensemble.join('')}`).join()

function writerKey(w: WriterState | undefined): string {
  if (!w) return ''
  const acks: number[] = []
  for (let entryId = w.head; entryId <= w.lap; entryId++) {
    acks.push(w.acked[entryId % w.acked.length] ?? 0)
  }
  return [
    acks.join('.'),
    w.head,
    w.lac,
    w.lap,
    w.ensemble.join(''),
    w.committed.join(''),
    w.generations.join('.'),
    w.phase,
    w.gated,
    w.delayed,
    w.handling,
    w.lagging,
    w.closing,
    w.end,
    fragmentsKey(w.newFragments),
  ].join()
}

const updateKey = (update: Update | undefined): string =>
  update ? `${update.kind}${update.key}@${update.current.version}` : ''

function recovererKey(one: Recoverer): string {
  const { state } = one
  if (!state) return `${one.stage}${updateKey(one.update)}`
  const replies = [...state.replies].map(
    ([e, { found, negative, unknown }]) => `${e}:${found}.${negative}.${unknown}`,
  )
  return [
    one.stage,
    updateKey(one.update),
    one.avoid,
    state.phase,
    fragmentsKey([state.fragment]),
    state.known,
    state.failed,
    state.maxLac,
    replies.join(';'),
    state.issued,
    state.decided,
    state.end,
    writerKey(state.writer),
  ].join()
}
