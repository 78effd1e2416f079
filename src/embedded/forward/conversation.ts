// The owner's end of one asker's connection: channels in, records into the log in their order,
// positions out.
//
// V1. Records of a channel are appended in the order they came, or not at all: the first that fails
//     ends the channel, and nothing behind it is appended.
// V2. What `opened` tells lies behind every record of this asker that is, or will be, appended from
//     an earlier channel or connection: what those still hold is dropped.
// V3. What is held for an asker is bounded: one that sends more than it may is not listened to.

import { QuireError } from '../../errors.ts'
import { decodeReplicaRecord } from '../../snapshot/commands.ts'
import type { Connection, Timers } from '../../io/index.ts'
import { openFrame, sealFrame } from '../../wire/sealed-frames.ts'
import {
  decodeForwardRequest,
  encodeForwardAnswer,
  forwardLimits,
  type ForwardAnswer,
  type ForwardRequest,
  type Refusal,
} from '../../wire/forward-messages.ts'
import { FrameReader } from '../../wire/frame-reader.ts'
import type { SegmentedWriter } from '../log/writer.ts'

/** A writer of a log of this process. */
export type OwnWriter = Pick<
  SegmentedWriter,
  'append' | 'confirmed' | 'ended' | 'epoch' | 'nextPosition' | 'ready' | 'writable'
>

export interface ConversationParts {
  readonly connection: Connection
  readonly timers: Timers
  readonly seed: number
  /** The writer of a log if this process owns it under that epoch. */
  readonly writerOf: (log: string, epoch: number) => OwnWriter | Refusal
}

interface Channel {
  readonly log: string
  readonly writer: OwnWriter
  readonly queue: { readonly number: number; readonly record: Buffer }[]
  /** Records, and bytes, that have no answer. */
  held: number
  heldBytes: number
  lastNumber: number
  isPumping: boolean
}

const nothing = { ledgerId: -1n, entryId: -1 }
const answersBytesMax = 1_048_576

export class Conversation {
  readonly #parts: ConversationParts
  readonly #reader = new FrameReader({ maxFrameBytes: forwardLimits.frameBytes })
  readonly #channels = new Map<number, Channel>()
  #answers: Buffer[] = []
  #closed = false

  constructor(parts: ConversationParts) {
    this.#parts = parts
  }

  data(chunk: Buffer): void {
    if (this.#closed) return
    try {
      const problem = this.#reader.push(chunk, (bytes, start, end) => {
        if (!this.#closed) this.#frame(bytes.subarray(start, end))
      })
      if (problem) throw new QuireError(problem.code, problem.message)
    } catch (error) {
      if (!QuireError.is(error)) throw error
      this.close()
    }
  }

  /** Drops what is held (V2). */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#channels.clear()
    this.#parts.connection.destroy()
  }

  #frame(payload: Buffer): void {
    const request = decodeForwardRequest(openFrame(payload, this.#parts.seed))
    if (request === undefined) return
    if (request.type === 'ping') this.#answer({ type: 'pong', number: request.number })
    else if (request.type === 'open') this.#open(request)
    else if (request.type === 'append') this.#append(request)
    else this.#channels.delete(request.channel)
  }

  #open({ channel: id, log, epoch }: ForwardRequest & { type: 'open' }): void {
    for (const [other, { log: its }] of this.#channels) {
      if (its === log) this.#channels.delete(other)
    }
    if (this.#channels.size >= forwardLimits.channels || this.#channels.has(id)) {
      this.close()
      return
    }
    const writer = this.#parts.writerOf(log, epoch)
    if (typeof writer === 'string') {
      this.#answer({ type: 'refused', channel: id, reason: writer })
      return
    }
    const zero = { held: 0, heldBytes: 0, lastNumber: 0, isPumping: false }
    const channel: Channel = { log, writer, queue: [], ...zero }
    this.#channels.set(id, channel)
    void writer.ended.then(() => this.#end(id, channel))
    this.#answer({ type: 'opened', channel: id, position: writer.nextPosition })
  }

  #append({ channel: id, number, record }: ForwardRequest & { type: 'append' }): void {
    const channel = this.#channels.get(id)
    // It was refused, or ended, while this was on its way.
    if (!channel) return
    const { records, bytes, frameBytes } = forwardLimits
    const isTooMuch = channel.held >= 2 * records || channel.heldBytes > 2 * bytes + frameBytes
    if (isTooMuch || number !== channel.lastNumber + 1) {
      this.close()
      return
    }
    channel.lastNumber = number
    channel.held += 1
    channel.heldBytes += record.length
    channel.queue.push({ number, record })
    if (!channel.isPumping) void this.#pump(id, channel)
  }

  async #pump(id: number, channel: Channel): Promise<void> {
    const { queue, writer } = channel
    channel.isPumping = true
    while (queue.length > 0 && this.#channels.get(id) === channel) {
      if (!writer.writable) {
        try {
          await writer.ready()
        } catch {
          this.#end(id, channel)
        }
        continue
      }
      const next = queue.shift()
      if (next) void this.#put(id, channel, next)
    }
    channel.isPumping = false
  }

  async #put(id: number, channel: Channel, next: Channel['queue'][number]): Promise<void> {
    const { number, record } = next
    const about = { channel: id, number }
    try {
      if (isFit(record)) {
        const position = await channel.writer.append(record)
        const { confirmed = nothing } = channel.writer
        this.#answerOn(channel, { type: 'appended', ...about, position, ...confirmed })
      } else this.#answerOn(channel, { type: 'rejected', ...about, reason: 'unfit' })
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_ENTRY_TOO_LARGE')) {
        this.#answerOn(channel, { type: 'rejected', ...about, reason: 'tooLarge' })
      } else this.#end(id, channel)
    }
    channel.held -= 1
    channel.heldBytes -= record.length
  }

  /** V1. */
  #end(id: number, channel: Channel): void {
    if (this.#channels.get(id) !== channel) return
    this.#channels.delete(id)
    this.#answer({ type: 'refused', channel: id, reason: 'notOwner' })
  }

  #answerOn(channel: Channel, answer: ForwardAnswer & { channel: number }): void {
    if (this.#channels.get(answer.channel) === channel) this.#answer(answer)
  }

  /** Answers of one turn leave together. */
  #answer(answer: ForwardAnswer): void {
    if (this.#closed) return
    if (this.#parts.connection.queuedBytes > answersBytesMax) {
      this.close()
      return
    }
    this.#answers.push(sealFrame(encodeForwardAnswer(answer), this.#parts.seed))
    if (this.#answers.length === 1) this.#parts.timers.soon(() => this.#flush())
  }

  #flush(): void {
    const answers = this.#answers
    this.#answers = []
    if (!this.#closed) this.#parts.connection.write(Buffer.concat(answers))
  }
}

/** What every replica could apply: one record that it could not would be the end of all of them. */
function isFit(bytes: Buffer): boolean {
  try {
    const record = decodeReplicaRecord(bytes)
    if (record.type === 'check') return false
    if (record.type !== 'command') return true
    const { seq, ackedUpTo } = record
    return Number.isSafeInteger(seq) && ackedUpTo < seq
  } catch (error) {
    if (QuireError.is(error, 'QUIRE_LOG_CORRUPT')) return false
    throw error
  }
}
