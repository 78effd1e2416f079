// Threads that are none: programs run in the caller's thread, while messages are cloned and
// delivered later, as they would be between threads. For tests, for `threads: 'inline'`, and for
// the simulator, which delays and cuts deliveries.

import { invariant } from '../invariant.ts'
import type { Io } from './io.ts'
import type { Message, Thread, ThreadPort, ThreadProgramName, Threads } from './threads.ts'

export type ThreadProgram = (port: ThreadPort, io: Io) => void | Promise<void>

export interface InlineThreadOptions {
  readonly programs: Partial<Record<ThreadProgramName, ThreadProgram>>
  /** The outside world of a program that starts; `thread` is what it runs as. */
  readonly ioFor: (thread: Thread) => Io
  /** Calls later, in the order of the calls made with the same `lane`. */
  readonly deliver: (lane: object, call: () => void) => void
}

export function createInlineThreads(options: InlineThreadOptions): Threads {
  return {
    start(program, data) {
      const run = options.programs[program]
      invariant(run !== undefined, 'the program of an inline thread was given', { program })
      const thread = new InlineThread(options.deliver)
      thread.post(data)
      thread.run(run, options.ioFor(thread))
      return thread
    },
  }
}

/** One direction of messages: kept until there is a handler, in order. */
class Lane {
  readonly #deliver: InlineThreadOptions['deliver']
  readonly #failed: (error: unknown) => void
  readonly #arrived: Message[] = []
  #handler: ((message: Message) => void) | undefined
  cut = false

  constructor(deliver: InlineThreadOptions['deliver'], failed: (error: unknown) => void) {
    this.#deliver = deliver
    this.#failed = failed
  }

  post(message: Message, transfer: readonly ArrayBuffer[] = []): void {
    if (this.cut) return
    const copy: Message = structuredClone(message, { transfer: [...transfer] })
    this.#deliver(this, () => {
      if (this.cut) return
      this.#arrived.push(copy)
      this.#drain()
    })
  }

  receive(handler: (message: Message) => void): void {
    this.#handler = handler
    this.#deliver(this, () => this.#drain())
  }

  #drain(): void {
    const handler = this.#handler
    if (handler === undefined) return
    while (!this.cut && this.#arrived.length > 0) {
      try {
        handler(this.#arrived.shift())
      } catch (error) {
        this.#failed(error)
      }
    }
  }
}

class InlineThread implements Thread {
  readonly ended: Promise<Error | undefined>
  readonly #deliver: InlineThreadOptions['deliver']
  readonly #inward: Lane
  readonly #outward: Lane
  readonly #end: (error: Error | undefined) => void

  constructor(deliver: InlineThreadOptions['deliver']) {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    this.ended = promise
    this.#deliver = deliver
    this.#end = resolve
    this.#inward = new Lane(deliver, (error) => this.fail(error))
    // An error of the owner's handler is the owner's own.
    this.#outward = new Lane(deliver, (error) => {
      throw error
    })
  }

  post(message: Message, transfer?: readonly ArrayBuffer[]): void {
    this.#inward.post(message, transfer)
  }

  receive(handler: (message: Message) => void): void {
    this.#outward.receive(handler)
  }

  async terminate(): Promise<void> {
    this.#cut()
    this.#end(undefined)
  }

  /** Ends the thread as an error that nobody caught would. */
  fail(error: unknown): void {
    this.#cut()
    this.#end(error instanceof Error ? error : new Error(String(error)))
  }

  run(program: ThreadProgram, io: Io): void {
    const port: ThreadPort = {
      post: (message, transfer) => this.#outward.post(message, transfer),
      receive: (handler) => this.#inward.receive(handler),
    }
    this.#deliver(this, () => void this.#run(program, port, io))
  }

  async #run(program: ThreadProgram, port: ThreadPort, io: Io): Promise<void> {
    try {
      await program(port, io)
    } catch (error) {
      this.fail(error)
    }
  }

  #cut(): void {
    this.#inward.cut = true
    this.#outward.cut = true
  }
}
