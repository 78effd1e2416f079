// The asker's end of a channel: to a proposer it looks like a writer of the log, whose records go
// over the wire. What has no answer when it ends is unknown.

import { QuireError } from '../../errors.ts'
import { forwardLimits, type Rejection } from '../../wire/forward-messages.ts'
import type { Confirmed } from '../log/confirmations.ts'
import { Gate } from '../log/wait.ts'

/** Takes records for a log, in order: a writer of it, or a channel to who owns it. */
export interface RecordSink {
  /** Everything that can be in the log already lies before. */
  readonly nextPosition: number
  readonly writable: boolean
  readonly ended: Promise<Error | undefined>
  append(record: Uint8Array): Promise<number>
  ready(signal?: AbortSignal): Promise<void>
  close(): Promise<void>
}

export interface ChannelWire {
  /** Told of what the owner says is durable. */
  confirmed(entry: Confirmed): void
  append(number: number, record: Buffer): void
  /** The channel is not used any more. */
  close(): void
}

interface Appended {
  readonly number: number
  readonly position: number
}

interface Waiting {
  readonly bytes: number
  readonly resolve: (position: number) => void
  readonly reject: (error: Error) => void
}

export class ForwardChannel implements RecordSink {
  readonly nextPosition: number
  readonly ended: Promise<Error | undefined>
  readonly #wire: ChannelWire
  readonly #end: (error: Error | undefined) => void
  readonly #waiting = new Map<number, Waiting>()
  readonly #room = new Gate()
  #number = 0
  #bytes = 0
  #failure: Error | undefined

  constructor(wire: ChannelWire, position: number) {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.#wire = wire
    this.nextPosition = position
    this.ended = promise
    this.#end = resolve
  }

  /** Records that have no answer yet. */
  get inFlight(): number {
    return this.#waiting.size
  }

  get writable(): boolean {
    if (this.#failure) return false
    const { records, bytes } = forwardLimits
    return this.#waiting.size < records && this.#bytes < bytes
  }

  append(record: Uint8Array): Promise<number> {
    if (this.#failure) return Promise.reject(this.#failure)
    const { frameBytes, overheadBytes } = forwardLimits
    if (record.length + overheadBytes > frameBytes) return Promise.reject(tooLarge(record.length))
    if (!this.writable) {
      const text = `${this.#bytes} bytes wait for the log’s owner; wait for ready()`
      return Promise.reject(new QuireError('QUIRE_BACKPRESSURE', text))
    }
    const number = ++this.#number
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    this.#waiting.set(number, { bytes: record.length, resolve, reject })
    this.#bytes += record.length
    this.#wire.append(number, Buffer.from(record))
    return promise
  }

  async ready(signal?: AbortSignal): Promise<void> {
    while (!this.writable) {
      if (this.#failure) throw this.#failure
      await this.#room.wait(signal)
    }
  }

  async close(): Promise<void> {
    if (this.#failure) return
    this.#wire.close()
    this.fail(new QuireError('QUIRE_CLOSED', 'the channel to the log’s owner was closed'))
  }

  appended({ number, position, ledgerId, entryId }: Confirmed & Appended): void {
    this.#wire.confirmed({ ledgerId, entryId })
    this.#take(number)?.resolve(position)
  }

  rejected(number: number, reason: Rejection): void {
    const waiting = this.#take(number)
    if (reason === 'tooLarge') waiting?.reject(tooLarge(waiting.bytes))
    else waiting?.reject(unfit())
  }

  /** It takes nothing more; what has no answer is unknown. */
  fail(error: Error): void {
    if (this.#failure) return
    this.#failure = error
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
    this.#bytes = 0
    this.#room.open()
    this.#end(error)
  }

  #take(number: number): Waiting | undefined {
    const waiting = this.#waiting.get(number)
    if (!waiting) return undefined
    this.#waiting.delete(number)
    this.#bytes -= waiting.bytes
    this.#room.open()
    return waiting
  }
}

function tooLarge(bytes: number): QuireError {
  return new QuireError(
    'QUIRE_ENTRY_TOO_LARGE',
    `a command of ${bytes} bytes does not fit into an entry of the log; split it, or raise ` +
      'entryBytes',
    { facts: { bytes } },
  )
}

function unfit(): QuireError {
  return new QuireError(
    'QUIRE_UNSUPPORTED',
    'the owner of the log does not take this record: it runs another version of this program',
  )
}
