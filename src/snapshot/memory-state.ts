// A replicated state in memory, by a machine that a program writes as functions of values. The
// state is a value: applying returns the next one, so that a command that throws has changed
// nothing, and a snapshot sees one position while commands go on.

import { crc32 } from 'node:zlib'
import { QuireError } from '../errors.ts'
import {
  Progress,
  type Answer,
  type ApplyContext,
  type Check,
  type RecordBatch,
  type ReplicatedState,
} from './state.ts'
import type { Sessions } from './sessions.ts'
import { decodeValue, encodeResult, encodeValue } from './values.ts'

/**
 * A deterministic state machine. Commands, results, questions and answers are made of JSON values,
 * bigint and Uint8Array. All functions are synchronous except `restore`, and use nothing but their
 * arguments.
 */
export interface Machine<State, Command, Result, Question, Answered> {
  /** The state before the first command. */
  create(): State
  /**
   * The next state and the command's result. It must not change `state`: share what stays, make
   * what differs anew. A throw is the command's result (QUIRE_COMMAND_FAILED), and the state stays.
   */
  apply(state: State, command: Command, context: ApplyContext): { state: State; result: Result }
  query(state: State, question: Question): Answered
  /** The state as chunks of bytes. */
  snapshot(state: State): Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  /** The state from the bytes that `snapshot` gave, in chunks of any size. */
  restore(chunks: AsyncIterable<Uint8Array>): State | Promise<State>
}

export class MemoryState<State, Command, Result, Question, Answered> implements ReplicatedState {
  readonly format = 'memory-1'
  readonly #machine: Machine<State, Command, Result, Question, Answered>
  readonly #checkEvery: number
  #progress: Progress
  #state: State

  constructor(machine: Machine<State, Command, Result, Question, Answered>, checkEvery: number) {
    this.#machine = machine
    this.#checkEvery = checkEvery
    this.#progress = new Progress(checkEvery)
    this.#state = machine.create()
  }

  get position(): number {
    return this.#progress.position
  }

  get sessions(): Pick<Sessions, 'has' | 'resultOf'> {
    return this.#progress.sessions
  }

  get check(): Check | undefined {
    return this.#progress.check
  }

  async apply(batch: RecordBatch): Promise<readonly Answer[]> {
    await Promise.resolve()
    return this.#progress.apply(batch, (body, context) => this.#run(body, context))
  }

  #run(body: Buffer, context: ApplyContext): { result: Buffer; trace: number } {
    const command: Command = decodeValue(body)
    const next = this.#machine.apply(this.#state, command, context)
    const result = encodeResult(next.result)
    this.#state = next.state
    return { result, trace: crc32(body) }
  }

  query(question: Question): Answered {
    return this.#machine.query(this.#state, question)
  }

  /** u32 length, the progress and sessions; then the machine's own bytes. */
  snapshot(chunkBytes: number): AsyncIterable<Uint8Array> {
    const head = this.#head()
    const state = this.#state
    return chunked(head, this.#machine.snapshot(state), chunkBytes)
  }

  #head(): Buffer {
    const { sessions } = this.#progress
    const table = [...sessions.ids()].map((id) => [id, sessions.encode(id)] as const)
    const body = encodeValue({ progress: this.#progress.encode(), sessions: table })
    const length = Buffer.alloc(4)
    length.writeUInt32BE(body.length, 0)
    return Buffer.concat([length, body])
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    const input = new Splitter(chunks)
    const head = await input.take((await input.take(4)).readUInt32BE(0))
    const stored: { progress: Buffer; sessions: [string, Buffer][] } = decodeValue(head)
    const progress = new Progress(this.#checkEvery)
    progress.load(stored.progress)
    for (const [id, session] of stored.sessions) progress.sessions.load(id, session)
    const state = await this.#machine.restore(input.rest())
    // A machine that stopped reading early must not hide what is wrong behind it.
    await input.drain()
    this.#progress = progress
    this.#state = state
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }
}

/** Cuts and joins to chunks of `chunkBytes`; only the last is smaller. */
async function* chunked(
  head: Buffer,
  rest: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  chunkBytes: number,
): AsyncGenerator<Uint8Array> {
  let pending: Buffer = head
  for await (const bytes of rest) {
    pending = Buffer.concat([pending, bytes])
    while (pending.length >= chunkBytes) {
      yield pending.subarray(0, chunkBytes)
      pending = pending.subarray(chunkBytes)
    }
  }
  for (; pending.length > 0; pending = pending.subarray(chunkBytes)) {
    yield pending.subarray(0, chunkBytes)
  }
}

/** Takes bytes from the front of a stream, and hands over what follows. */
class Splitter {
  readonly #chunks: AsyncIterator<Uint8Array>
  #buffer: Buffer = Buffer.alloc(0)
  #done = false

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]()
  }

  async #next(): Promise<Uint8Array | undefined> {
    if (this.#done) return undefined
    const { value, done } = await this.#chunks.next()
    if (done) this.#done = true
    return done ? undefined : value
  }

  async take(count: number): Promise<Buffer> {
    while (this.#buffer.length < count) {
      const chunk = await this.#next()
      if (!chunk) {
        throw new QuireError('QUIRE_SNAPSHOT_CORRUPT', 'a snapshot ends before its head does')
      }
      this.#buffer = Buffer.concat([this.#buffer, chunk])
    }
    const taken = this.#buffer.subarray(0, count)
    this.#buffer = this.#buffer.subarray(count)
    return taken
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    if (this.#buffer.length > 0) yield this.#buffer
    for (let chunk = await this.#next(); chunk; chunk = await this.#next()) yield chunk
  }

  async drain(): Promise<void> {
    while (await this.#next()) continue
  }
}
