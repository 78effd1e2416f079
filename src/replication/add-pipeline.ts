// Sends the entries of one ledger to its ensemble and drives the writer core: of a writer, and of a
// recovery that writes again.
//
// P1. A frame is built once, in the arena; all members, and replacements, are sent those same
//     bytes.
// P2. What one turn appended leaves at its end, in spans as long as the memory allows.
// P3. The core sees the replies of one socket read as one batch.

import { messageOf, QuireError } from '../errors.ts'
import { statuses } from '../wire/bookie-messages.ts'
import { addRequestBytes, writeAddRequestHeader } from '../wire/bookie-request.ts'
import type { EntryDigest } from '../wire/digest.ts'
import { entryMetadataBytes, writeEntryHeader } from '../wire/entry.ts'
import type { AddLink, BookieConnection } from './bookie-connection.ts'
import type { EnsembleChange } from './core/metadata-update.ts'
import { chooseReplacements } from './core/placement.ts'
import {
  createReplyBatch,
  onChanged,
  onChosen,
  onMemberFailed,
  onReplies,
  onSpare,
  onTick,
  sent,
  targets,
} from './core/writer.ts'
import type { ReplyBatch } from './core/writer.ts'
import { clearEffects, createEffects } from './core/writer-state.ts'
import type { WriterEffects, WriterState } from './core/writer-state.ts'
import type { ClientParts } from './parts.ts'
import { SendArena } from './send-arena.ts'

export interface LedgerIdentity {
  readonly ledgerId: bigint
  readonly ledgerHigh: number
  readonly ledgerLow: number
  readonly masterKey: Uint8Array
  readonly digest: EntryDigest
}

export interface PipelineOwner {
  /** `lac`, `head` or `end` of the state may have moved. */
  progressed(): void
  /** Carry it through, then call `changed` or end the core with `onRefused`. */
  change(change: EnsembleChange): void
  recordHoles(): void
}

export interface PipelineOptions {
  readonly parts: ClientParts
  readonly identity: LedgerIdentity
  readonly state: WriterState
  /** Of every add: `recovery`, `highPriority`. */
  readonly flags: number
  readonly owner: PipelineOwner
  /** Names this pipeline on its connections: never used twice in a client. */
  readonly txnHigh: number
}

/** Bytes of a reply batch before the core is called in the middle of a socket read. */
const batchMax = 1_024

class MemberLink implements AddLink {
  readonly connection: BookieConnection
  readonly index: number
  readonly generation: number
  readonly #pipeline: AddPipeline

  constructor(
    pipeline: AddPipeline,
    member: { connection: BookieConnection; index: number; generation: number },
  ) {
    this.#pipeline = pipeline
    this.connection = member.connection
    this.index = member.index
    this.generation = member.generation
  }

  answered(entryLow: number, status: number): void {
    this.#pipeline.answered(this, entryLow, status)
  }

  settled(): void {
    this.#pipeline.settled()
  }

  lost(error: QuireError): void {
    this.#pipeline.lost(this, error)
  }
}

export class AddPipeline {
  readonly state: WriterState
  readonly #parts: ClientParts
  readonly #identity: LedgerIdentity
  readonly #owner: PipelineOwner
  readonly #txnHigh: number
  readonly #arena: SendArena
  readonly #batch: ReplyBatch = createReplyBatch(batchMax)
  readonly #effects: WriterEffects = createEffects()
  readonly #links: MemberLink[] = []
  /** Reused for every frame. */
  readonly #fields: {
    readonly protocol: 3
    readonly flags: number
    readonly txnHigh: number
    txnLow: number
    readonly ledgerHigh: number
    readonly ledgerLow: number
    entryId: number
    readonly masterKey: Uint8Array
    entryBytes: number
  }
  readonly #header: {
    readonly ledgerHigh: number
    readonly ledgerLow: number
    entryId: number
    lac: number
    length: number
  }
  /** Next entry to leave. */
  #unsent: number
  #scheduled = false
  /** Bookies that failed this ledger. */
  readonly #failedHere = new Set<string>()
  /** That of the links. */
  #ensemble: readonly string[]
  #stopListening: (() => void) | undefined
  #closed = false
  /** The last failure of a member: tells the caller why a writer ended. */
  lastFailure: QuireError | undefined

  constructor({ parts, identity, state, flags, owner, txnHigh }: PipelineOptions) {
    this.state = state
    this.#parts = parts
    this.#identity = identity
    this.#owner = owner
    this.#txnHigh = txnHigh
    this.#arena = new SendArena(state.lap + 1)
    this.#unsent = state.lap + 1
    this.#ensemble = state.ensemble
    const { ledgerHigh, ledgerLow, masterKey } = identity
    this.#fields = {
      protocol: 3,
      flags,
      txnHigh,
      txnLow: 0,
      ledgerHigh,
      ledgerLow,
      entryId: 0,
      masterKey,
      entryBytes: 0,
    }
    this.#header = { ledgerHigh, ledgerLow, entryId: 0, lac: -1, length: 0 }
    for (let index = 0; index < state.quorum.ensembleSize; index += 1) this.#attach(index)
  }

  /** Highest confirmation that went out with an entry. */
  get announcedLac(): number {
    return this.#header.lac
  }

  /** Bytes of memory for frames. */
  get heldBytes(): number {
    return this.#arena.heldBytes
  }

  /** The connection to a member. */
  connectionOf(index: number): BookieConnection | undefined {
    return this.#links[index]?.connection
  }

  /** Takes the bytes of an entry that the core has just numbered. */
  push(entryId: number, payload: Uint8Array, lengthBytes: number): void {
    const { digest } = this.#identity
    const fields = this.#fields
    const headBytes = entryMetadataBytes + digest.bytes
    fields.txnLow = entryId >>> 0
    fields.entryId = entryId
    fields.entryBytes = headBytes + payload.length
    const frameBytes = addRequestBytes(fields)
    const chunk = this.#arena.reserve(frameBytes)
    const header = this.#header
    header.entryId = entryId
    header.lac = this.state.lac
    header.length = lengthBytes
    const { bytes } = chunk
    const start = writeAddRequestHeader(bytes, chunk.used, fields)
    writeEntryHeader(bytes, start, header)
    const end = start + headBytes + payload.length
    bytes.set(payload, start + headBytes)
    digest.write(bytes, start, end)
    this.#arena.placed(entryId, chunk, end)
    if (this.#scheduled) return
    this.#scheduled = true
    this.#parts.turn.schedule(this)
  }

  flush(): void {
    this.#scheduled = false
    const { state } = this
    const from = this.#unsent
    const upTo = state.lap
    if (this.#closed || from > upTo) return
    this.#unsent = upTo + 1
    sent(state, from, { upTo, nowMs: this.#parts.clock.monotonicMs() })
    this.#parts.sweeper.watch(this)
    for (const link of this.#links) this.#sendRange(link, from, upTo)
  }

  sweep(nowMs: number): boolean {
    if (this.#closed) return false
    const before = this.state.delayed | this.state.handling
    onTick(this.state, nowMs, this.#effects)
    this.#resetStuck(this.state.handling & ~before)
    this.#act()
    return this.state.end === undefined && this.state.head <= this.state.lap
  }

  answered(link: MemberLink, entryLow: number, status: number): void {
    const batch = this.#batch
    if (batch.count === batchMax) this.settled()
    const { lap } = this.state
    const at = batch.count
    batch.entryIds[at] = lap - (((lap >>> 0) - entryLow) >>> 0)
    batch.indexes[at] = link.index
    batch.generations[at] = link.generation
    batch.statuses[at] = status
    batch.count = at + 1
    if (status !== statuses.ok) this.#failed(link, status)
  }

  settled(): void {
    onReplies(this.state, this.#batch, this.#effects)
    this.#batch.count = 0
    this.#act()
  }

  lost(link: MemberLink, error: QuireError): void {
    this.lastFailure = error
    onMemberFailed(this.state, link, this.#effects)
    this.#act()
  }

  /** The change that the owner was asked for is in the metadata. */
  changed(ensemble: readonly string[]): void {
    const nowMs = this.#parts.clock.monotonicMs()
    onChanged(this.state, { ensemble, nowMs }, this.#effects)
    this.#act()
  }

  /** Acts upon what the owner did to the core itself. */
  stepped(step: (effects: WriterEffects) => void): void {
    step(this.#effects)
    this.#act()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopListening?.()
    for (const link of this.#links) link.connection.detach(this.#txnHigh, link)
  }

  #failed(link: MemberLink, status: number): void {
    const { bookieId } = link.connection
    const facts = { bookieId, status, ledgerId: String(this.#identity.ledgerId) }
    this.lastFailure = new QuireError(
      'QUIRE_IO',
      `bookie ${bookieId} refused an add with status ${status}`,
      { facts },
    )
  }

  #attach(index: number): void {
    const { state } = this
    const bookieId = state.ensemble[index] ?? ''
    const connection = this.#parts.bookies.connection(bookieId)
    const generation = state.generations[index] ?? 0
    const link = new MemberLink(this, { connection, index, generation })
    this.#links[index] = link
    connection.attach(this.#txnHigh, link)
  }

  #attachChanged(): void {
    this.#ensemble = this.state.ensemble
    for (let index = 0; index < this.state.quorum.ensembleSize; index += 1) {
      const link = this.#links[index]
      if (link !== undefined && link.generation === this.state.generations[index]) continue
      link?.connection.detach(this.#txnHigh, link)
      this.#attach(index)
    }
  }

  /** Entries [from, upTo] that are of the member's, contiguous ones at once. */
  #sendRange(link: MemberLink, from: number, upTo: number): void {
    const arena = this.#arena
    const bit = 1 << link.index
    for (let entryId = from; entryId <= upTo; entryId += 1) {
      if ((targets(this.state, entryId) & bit) === 0) continue
      const chunk = arena.chunkOf(entryId)
      const start = arena.startOf(entryId)
      let end = arena.endOf(entryId)
      while (entryId < upTo && this.#continues(entryId + 1, bit, end)) {
        entryId += 1
        end = arena.endOf(entryId)
      }
      chunk.writes += 1
      link.connection.write(chunk.bytes.subarray(start, end), chunk.flushed)
    }
  }

  #continues(entryId: number, bit: number, end: number): boolean {
    const arena = this.#arena
    if ((targets(this.state, entryId) & bit) === 0 || arena.startOf(entryId) !== end) return false
    return arena.chunkOf(entryId) === arena.chunkOf(entryId - 1)
  }

  /** A member that timed out with bytes the system does not take would hold our memory for good. */
  #resetStuck(mask: number): void {
    for (const link of this.#links) {
      if ((mask & (1 << link.index)) === 0) continue
      const facts = { bookieId: link.connection.bookieId }
      const error = new QuireError('QUIRE_TIMEOUT', 'a bookie did not answer adds in time', {
        facts,
      })
      this.lastFailure = error
      if (link.connection.queuedBytes > 0) link.connection.reset(error)
    }
  }

  #act(): void {
    const effects = this.#effects
    const { choose, change, recordHoles } = effects
    const resends = effects.resendEntries.length
    if (this.#ensemble !== this.state.ensemble) this.#attachChanged()
    if (resends > 0) this.#resend()
    if (choose !== 0 || change !== undefined || recordHoles || resends > 0) clearEffects(effects)
    if (change !== undefined) this.#owner.change(change)
    if (recordHoles) {
      this.#awaitSpare()
      this.#owner.recordHoles()
    }
    if (choose !== 0) void this.#choose(choose) // Never rejects.
    this.#arena.release(this.state.end === undefined ? this.state.head : this.state.lap + 1)
    this.#owner.progressed()
  }

  /**
   * New members get the entries in flight, in order. What the last turn appended goes with the next
   * flush.
   */
  #resend(): void {
    const { resendEntries, resendIndexes } = this.#effects
    for (let i = 0; i < resendEntries.length; i += 1) {
      const entryId = resendEntries[i] ?? -1
      const link = this.#links[resendIndexes[i] ?? -1]
      if (link !== undefined && entryId < this.#unsent) this.#sendRange(link, entryId, entryId)
    }
  }

  async #choose(mask: number): Promise<void> {
    const { bookies, logger, random, clock } = this.#parts
    let candidates: readonly string[] = []
    for (let index = 0; index < this.state.quorum.ensembleSize; index += 1) {
      const bookieId = this.state.committed[index]
      if ((mask & (1 << index)) === 0 || bookieId === undefined) continue
      bookies.avoid(bookieId)
      this.#failedHere.add(bookieId)
    }
    try {
      candidates = await bookies.writable()
    } catch (error) {
      const facts = { ledgerId: String(this.#identity.ledgerId), error: messageOf(error) }
      logger.warn(facts, 'no replacement for a failed bookie: the bookies could not be listed')
    }
    if (this.state.end !== undefined) return
    const chosen = chooseReplacements(this.state.quorum, this.state.committed, {
      failed: mask,
      candidates,
      avoid: bookies.avoided(),
      shun: this.#failedHere,
      lagging: this.state.lagging,
      below: (below) => random.below(below),
    })
    onChosen(this.state, { chosen, nowMs: clock.monotonicMs() }, this.#effects)
    this.#act()
  }

  /** A member was left behind: as soon as there is another bookie, it is replaced. */
  #awaitSpare(): void {
    if (this.#closed) return
    this.#stopListening ??= this.#parts.bookies.onChange(() => {
      onSpare(this.state, this.#effects)
      this.#act()
    })
  }
}
