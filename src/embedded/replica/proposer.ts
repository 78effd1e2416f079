// Puts records into a replica's log, in order, whatever happens to writers. It acquires the log
// when there is something to write. After a failure it acquires again, which tells the truth about
// everything in doubt: once this replica has applied the log up to the new writer's beginning, what
// was committed is settled, and what is still open was not and is sent again.

import { QuireError } from '../../errors.ts'
import type { Log } from '../log/log.ts'
import type { LogWriter } from '../log/writer.ts'
import { Gate, pause } from '../log/wait.ts'

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
  /**
   * Resolves when this replica has applied everything before `position`, where a new writer begins.
   */
  readonly applied: (position: number, signal: AbortSignal) => Promise<void>
  /** Records that a new writer begins with. Also called when nothing is in doubt. */
  readonly preface: () => readonly Buffer[]
  readonly acquireTimeoutMs: number
}

/** Pauses between attempts to acquire: short at first, since most often an owner has just ended. */
const backoffMs = { least: 10, most: 1000 }

export class Proposer {
  readonly #parts: ProposerParts
  readonly #queue: Proposal[] = []
  #sent: Proposal[] = []
  #writer: LogWriter | undefined
  #pumping: Promise<void> | undefined
  readonly #closing = new AbortController()
  readonly #room = new Gate()
  #pendingBytes = 0

  constructor(parts: ProposerParts) {
    this.#parts = parts
  }

  /** True while this process owns the log, as far as it knows. */
  get owning(): boolean {
    return this.#writer !== undefined
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

  /** A record nobody waits for: written if this process owns the log and has room, else dropped. */
  offer(record: Buffer): void {
    if (!this.#writer?.writable) return
    this.#writer.append(record).catch((error: unknown) => {
      const { logger, name } = this.#parts.log.parts
      logger.debug({ log: name, err: error }, 'a record that nobody waits for was dropped')
    })
  }

  /** Ends it; what has no answer yet fails because of `cause`. */
  async close(cause: Error): Promise<void> {
    this.#closing.abort()
    this.#failAll(cause)
    await this.#pumping
    const writer = this.#writer
    this.#writer = undefined
    try {
      await writer?.close()
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
        const writer = this.#writer ?? (await this.#acquire())
        await this.#send(writer)
      }
    } catch (error) {
      this.#failAll(error)
    } finally {
      this.#pumping = undefined
    }
  }

  async #send(writer: LogWriter): Promise<void> {
    while (this.#queue.length > 0 && this.#writer === writer) {
      if (!writer.writable) {
        try {
          await writer.ready(this.#closing.signal)
        } catch (error) {
          this.#lose(writer, error)
        }
        continue
      }
      const proposal = this.#queue.shift()
      if (!proposal || proposal.settled) continue
      this.#sent.push(proposal)
      proposal.attempts += 1
      writer.append(proposal.record()).then(
        (position) => proposal.appended(position),
        (error: unknown) => this.#refused(writer, proposal, error),
      )
    }
  }

  #refused(writer: LogWriter, proposal: Proposal, error: unknown): void {
    if (!QuireError.is(error, 'QUIRE_ENTRY_TOO_LARGE')) {
      this.#lose(writer, error)
      return
    }
    this.#sent = this.#sent.filter((other) => other !== proposal)
    this.#fail(proposal, error)
  }

  /** Everything that is not settled goes back to the front, in its order. */
  #lose(writer: LogWriter, error: unknown): void {
    if (this.#writer !== writer) return
    this.#writer = undefined
    const { logger, name } = this.#parts.log.parts
    logger.info({ log: name, err: error }, 'the log’s writer ended; it is acquired again')
    const again = this.#sent.filter(({ settled }) => !settled)
    this.#sent = []
    this.#queue.unshift(...again)
    if (this.#queue.length > 0) this.#pumping ??= this.#pump()
  }

  async #acquire(): Promise<LogWriter> {
    const { log, acquireTimeoutMs } = this.#parts
    const { clock } = log.parts
    const { signal } = this.#closing
    const deadline = clock.monotonicMs() + acquireTimeoutMs
    let delayMs = backoffMs.least
    for (;;) {
      try {
        return await this.#acquireOnce(signal)
      } catch (error) {
        const retryable = QuireError.is(error) && error.retryable
        if (!retryable || clock.monotonicMs() + delayMs > deadline) throw error
        log.parts.logger.debug({ log: log.name, err: error }, 'the log could not be acquired yet')
      }
      await pause(log.parts, delayMs, signal)
      delayMs = Math.min(delayMs * 2, backoffMs.most)
    }
  }

  async #acquireOnce(signal: AbortSignal): Promise<LogWriter> {
    const writer = await this.#parts.log.acquire({ signal })
    try {
      await this.#parts.applied(writer.nextPosition, signal)
    } catch (error) {
      await writer.close()
      throw error
    }
    this.#adopt(writer)
    return writer
  }

  #adopt(writer: LogWriter): void {
    this.#writer = writer
    void writer.ended.then((error) => {
      this.#lose(writer, error)
      return undefined
    })
    for (const record of this.#parts.preface()) this.offer(record)
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
    const sent = proposal.attempts > 0 && !QuireError.is(cause, 'QUIRE_ENTRY_TOO_LARGE')
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
