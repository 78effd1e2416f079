// Puts records into a replica's log, in order, whatever happens to writers: through a writer of its
// own when this process owns the log, else through a channel to who does. It takes the log over
// only when nobody owns it any more (core/route.ts). Guarantees:
// O1 after a failure nothing is sent again before the truth about what is in doubt is known: this
// replica applies the log up to where the new writer, or channel, begins; what was committed is
// settled by then, and what is still open was not, and never will be but by being sent again;
// O2 what is sent again goes under its first session and number (D10).

import { QuireError } from '../../errors.ts'
import type { Asker } from '../forward/asker.ts'
import type { RecordSink } from '../forward/channel.ts'
import type { Confirmed } from '../log/confirmations.ts'
import { endOf, type LogRecord } from '../log/core/log-record.ts'
import type { Log } from '../log/log.ts'
import { Gate, pause } from '../log/wait.ts'
import type { SegmentedWriter } from '../log/writer.ts'
import { Route, type OwnerSeen, type Step } from './core/route.ts'

export interface Proposal {
  /** The record, made when it is sent. */
  record(): Buffer
  readonly bytes: number
  /** True once it needs no (further) sending: it was answered, or given up. */
  settled: boolean
  /** Times it was sent. */
  attempts: number
  /** It is in the log at `position`, and durable. */
  appended(position: number): void
  failed(error: Error): void
}

export interface ProposerParts {
  readonly log: Log
  readonly asker: Pick<Asker, 'ask'>
  /**
   * Resolves when this replica has applied everything before `position`: where a new writer begins,
   * the true end of all that is in the log, or a channel to somebody else's.
   */
  readonly applied: (
    position: number,
    of: 'writer' | 'channel',
    signal: AbortSignal,
  ) => Promise<void>
  /** Records that a new writer or channel begins with. Also called when nothing is in doubt. */
  readonly preface: () => readonly Buffer[]
  readonly acquireTimeoutMs: number
}

interface Attempt {
  readonly sink?: RecordSink
  /** Before the next one. */
  readonly waitMs: number
  readonly error: unknown
}

export class Proposer {
  readonly #parts: ProposerParts
  readonly #queue: Proposal[] = []
  #sent: Proposal[] = []
  #sink: RecordSink | undefined
  /** The same, when it is this process's own. */
  #writer: SegmentedWriter | undefined
  #isAcquiring = false
  readonly #route: Route
  #pumping: Promise<void> | undefined
  readonly #closing = new AbortController()
  readonly #room = new Gate()
  #pendingBytes = 0

  constructor(parts: ProposerParts) {
    this.#parts = parts
    const { id, incarnation } = parts.log.parts.owner
    this.#route = new Route(`${id}/${incarnation}`)
  }

  /** The writer while this process owns the log, as far as it knows. */
  get owned(): SegmentedWriter | undefined {
    return this.#writer
  }

  /** Whether it is about to own it. */
  get acquiring(): boolean {
    return this.#isAcquiring
  }

  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** Opens when proposals were settled. */
  get room(): Gate {
    return this.#room
  }

  propose(proposal: Proposal): void {
    this.#queue.push(proposal)
    this.#pendingBytes += proposal.bytes
    this.#pumping ??= this.#pump()
  }

  /** Marks it settled. */
  settle(proposal: Proposal): void {
    if (proposal.settled) return
    proposal.settled = true
    this.#pendingBytes -= proposal.bytes
    while (this.#sent[0]?.settled) this.#sent.shift()
    this.#room.open()
  }

  /** A record nobody waits for: sent if there is somewhere to send it now, else dropped. */
  offer(record: Buffer): void {
    if (!this.#sink?.writable) return
    this.#sink.append(record).catch((error: unknown) => {
      const { logger, name } = this.#parts.log.parts
      logger.debug({ log: name, err: error }, 'a record that nobody waits for was dropped')
    })
  }

  /** Ends it; what has no answer yet fails because of `cause`. */
  async close(cause: Error): Promise<void> {
    this.#closing.abort()
    this.#failAll(cause)
    await this.#pumping
    const sink = this.#sink
    this.#sink = undefined
    this.#writer = undefined
    try {
      await sink?.close()
    } catch (error) {
      // The next owner finds the end.
      const { logger, name } = this.#parts.log.parts
      logger.info({ log: name, err: error }, 'the log’s writer could not be closed in order')
    }
  }

  async #pump(): Promise<void> {
    // A turn later, so that `pumping` is set, and commands of one turn are sent together.
    await Promise.resolve()
    try {
      while (this.#queue.length > 0) {
        const sink = this.#sink ?? (await this.#connect())
        await this.#send(sink)
      }
    } catch (error) {
      this.#failAll(error)
    } finally {
      this.#pumping = undefined
    }
  }

  async #send(sink: RecordSink): Promise<void> {
    while (this.#queue.length > 0 && this.#sink === sink) {
      if (!sink.writable) {
        try {
          await sink.ready(this.#closing.signal)
        } catch (error) {
          this.#lose(sink, error)
        }
        continue
      }
      const proposal = this.#queue.shift()
      if (!proposal || proposal.settled) continue
      this.#sent.push(proposal)
      proposal.attempts += 1
      sink.append(proposal.record()).then(
        (position) => proposal.appended(position),
        (error: unknown) => this.#refused(sink, proposal, error),
      )
    }
  }

  #refused(sink: RecordSink, proposal: Proposal, error: unknown): void {
    if (!isFinal(error)) {
      this.#lose(sink, error)
      return
    }
    this.#sent = this.#sent.filter((other) => other !== proposal)
    this.#fail(proposal, error)
  }

  /** Everything that is not settled goes back to the front, in its order. */
  #lose(sink: RecordSink, error: unknown): void {
    if (this.#sink !== sink) return
    const { logger, name } = this.#parts.log.parts
    const text = this.#writer
      ? 'the log’s writer ended; another way into the log is looked for'
      : 'the channel to the log’s owner ended; another way into the log is looked for'
    logger.info({ log: name, err: error }, text)
    this.#sink = undefined
    this.#writer = undefined
    const again = this.#sent.filter(({ settled }) => !settled)
    this.#sent = []
    this.#queue.unshift(...again)
    if (this.#queue.length > 0) this.#pumping ??= this.#pump()
  }

  /** Finds a way into the log: a channel to its owner, or a writer when it has none. */
  async #connect(): Promise<RecordSink> {
    const { log, acquireTimeoutMs } = this.#parts
    const { clock } = log.parts
    const { signal } = this.#closing
    const deadline = clock.monotonicMs() + acquireTimeoutMs
    for (;;) {
      const { sink, waitMs, error } = await this.#attempt(signal)
      if (sink) return sink
      if (clock.monotonicMs() + waitMs > deadline) throw error
      log.parts.logger.debug({ log: log.name, err: error }, 'there is no way into the log yet')
      if (waitMs > 0) await pause(log.parts, waitMs, signal)
    }
  }

  async #attempt(signal: AbortSignal): Promise<Attempt> {
    try {
      const { value } = await this.#parts.log.parts.store.read({ signal })
      const step = this.#route.next(ownerIn(value))
      return await (step.type === 'acquire'
        ? this.#acquire(step.ifEpoch, signal)
        : this.#ask(step, signal))
    } catch (error) {
      if (!QuireError.is(error) || !error.retryable) throw error
      return { waitMs: this.#route.failed(), error }
    }
  }

  async #acquire(ifEpoch: number, signal: AbortSignal): Promise<Attempt> {
    const { log, applied } = this.#parts
    this.#isAcquiring = true
    if (ifEpoch > 0)
      log.parts.logger.info(
        { log: log.name, ifEpoch },
        'a replica acquires its log after another owner',
      )
    try {
      const writer = await log.acquire({ ifEpoch, signal })
      try {
        await applied(writer.nextPosition, 'writer', signal)
      } catch (error) {
        await writer.close()
        throw error
      }
      this.#writer = writer
      return this.#adopt(writer)
    } finally {
      this.#isAcquiring = false
    }
  }

  /** T1. */
  async #ask(step: Step & { type: 'ask' }, signal: AbortSignal): Promise<Attempt> {
    const { log, asker, applied } = this.#parts
    const { clock } = log.parts
    const { ownerId, epoch } = step
    const askedMs = clock.monotonicMs()
    const confirmed = (entry: Confirmed): void => log.parts.confirmations.tell(entry)
    const asked = await asker.ask({ log: log.name, ownerId, epoch, confirmed, signal })
    if (asked.type !== 'serves') {
      const waitMs = this.#route.answered(asked.type, clock.monotonicMs() - askedMs)
      return { waitMs, error: unserved(log, ownerId) }
    }
    const { channel } = asked
    const ending = new AbortController()
    void channel.ended.then(() => ending.abort())
    try {
      const either = AbortSignal.any([signal, ending.signal])
      await applied(channel.nextPosition, 'channel', either)
    } catch (error) {
      // A channel that ended is no reason to give up: the next attempt asks anew.
      await channel.close()
      if (ending.signal.aborted && !signal.aborted) throw await channel.ended
      throw error
    }
    return this.#adopt(channel)
  }

  #adopt(sink: RecordSink): Attempt {
    this.#route.settled()
    this.#sink = sink
    void sink.ended.then((error) => {
      this.#lose(sink, error)
      return undefined
    })
    for (const record of this.#parts.preface()) this.offer(record)
    return { sink, waitMs: 0, error: undefined }
  }

  #failAll(error: unknown): void {
    const pending = [...this.#sent, ...this.#queue.splice(0)]
    this.#sent = []
    for (const proposal of pending) {
      if (!proposal.settled) this.#fail(proposal, error)
    }
  }

  #fail(proposal: Proposal, cause: unknown): void {
    this.settle(proposal)
    const sent = proposal.attempts > 0 && !isFinal(cause)
    if (!sent && cause instanceof Error) {
      proposal.failed(cause)
      return
    }
    const name = this.#parts.log.name
    proposal.failed(
      new QuireError(
        'QUIRE_OUTCOME_UNKNOWN',
        `the command may or may not take effect: it was sent to the log ${name}, and its ` +
          'answer cannot be had now; read the state to know',
        { cause },
      ),
    )
  }
}

/** It will never be in the log: nothing was sent, or the owner refused it for what it is. */
function isFinal(error: unknown): boolean {
  return QuireError.is(error, 'QUIRE_ENTRY_TOO_LARGE') || QuireError.is(error, 'QUIRE_UNSUPPORTED')
}

function ownerIn(record: LogRecord): OwnerSeen {
  const { ownerEpoch: epoch, ownerId, segments } = record
  const ended = segments.at(-1)?.epoch === epoch && endOf(record) !== undefined
  return { epoch, ownerId, ended }
}

function unserved({ name }: Log, ownerId: string): QuireError {
  return new QuireError(
    'QUIRE_TIMEOUT',
    `the owner ${ownerId} of the log ${name} takes no commands yet, and it cannot be taken over ` +
      'yet; try again',
    { facts: { ownerId } },
  )
}
