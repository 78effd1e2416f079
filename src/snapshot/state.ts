// A replicated state, and the part of applying that is the same for every one: positions, sessions,
// checks. Guarantees:
// A1 a record has its effect once, in order of position; a command that comes again is answered
// from the session;
// A2 a command that throws changes nothing, and that is its result, everywhere alike; what no
// replica could repeat (a full
//    disk, a broken invariant, an exhausted stack) is no result: it ends the replica;
// A3 nothing but the record decides: no clock, no random, no order of arrival;
// A4 a fingerprint of all that commands did is compared at the positions that the owner wrote down
// (D7).

import { crc32 } from 'node:zlib'
import { QuireError, messageOf } from '../errors.ts'
import { invariant } from '../invariant.ts'
import { decodeReplicaRecord, type ReplicaRecord } from './commands.ts'
import { Sessions } from './sessions.ts'

/** What a command may know beside itself; the same on every replica. */
export interface ApplyContext {
  /** Of the command, in its log. */
  readonly position: number
  /** Log time, milliseconds since 1970: use this for "now". */
  readonly timeMs: number
}

export interface RecordBatch {
  readonly firstPosition: number
  readonly timeMs: number
  readonly records: readonly Buffer[]
}

export type Outcome =
  | { readonly type: 'done'; readonly value: Buffer }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'gone' }

export interface Answer {
  readonly session: string
  readonly seq: number
  readonly outcome: Outcome
}

export interface Check {
  readonly position: number
  readonly fingerprint: number
}

/**
 * A state that follows a log. Calls do not overlap: `apply`, `snapshot` and `restore` come one
 * after another.
 */
export interface ReplicatedState {
  /** Names the form of its snapshots. */
  readonly format: string
  /** The position that is applied next. Moves together with the state, never apart (D10). */
  readonly position: number
  readonly sessions: Pick<Sessions, 'has' | 'resultOf'>
  /** The newest check that this state has made. */
  readonly check: Check | undefined
  /**
   * Applies a batch that begins at `position`. A rejection is final: the state must not be used any
   * more.
   */
  apply(batch: RecordBatch): Promise<readonly Answer[]>
  /**
   * The state at the moment of the call, in chunks of at most `chunkBytes`; applying goes on
   * meanwhile.
   */
  snapshot(chunkBytes: number): AsyncIterable<Uint8Array>
  /**
   * Takes the place of the state once the chunks have ended without an error; else the state is as
   * before.
   */
  restore(chunks: AsyncIterable<Uint8Array>): Promise<void>
  close(): Promise<void>
}

/**
 * Runs a command's body and returns its result; a throw is a failed command. `trace` gets what the
 * command wrote.
 */
export type RunCommand = (body: Buffer, context: ApplyContext) => { result: Buffer; trace: number }

const checksKept = 64
const messageMax = 1000

export class Progress {
  readonly sessions: Sessions = new Sessions()
  readonly #checkEvery: number
  #position = 0
  #fingerprint = 0
  #checks: Check[] = []

  constructor(checkEvery: number) {
    this.#checkEvery = checkEvery
  }

  get position(): number {
    return this.#position
  }

  get fingerprint(): number {
    return this.#fingerprint
  }

  get check(): Check | undefined {
    return this.#checks.at(-1)
  }

  /** Applies the records of a batch in order; the answers to its commands. */
  apply(batch: RecordBatch, run: RunCommand): Answer[] {
    invariant(batch.firstPosition === this.#position, 'positions are applied without a hole', {
      expected: this.#position,
      found: batch.firstPosition,
    })
    const answers: Answer[] = []
    for (const bytes of batch.records) {
      const record = decodeReplicaRecord(bytes)
      const context = { position: this.#position, timeMs: batch.timeMs }
      if (record.type === 'command') answers.push(this.#command(record, context, run))
      else this.#keep(record, context)
      this.#position += 1
      if (this.#position % this.#checkEvery === 0) this.#note()
    }
    return answers
  }

  #command(
    record: ReplicaRecord & { type: 'command' },
    context: ApplyContext,
    run: RunCommand,
  ): Answer {
    const { session, seq } = record
    const admission = this.sessions.admit(record, context.timeMs)
    if (admission.type === 'gone' || admission.type === 'stale') {
      return { session, seq, outcome: { type: 'gone' } }
    }
    if (admission.type === 'again') {
      return { session, seq, outcome: decodeOutcome(admission.result) }
    }
    const outcome = this.#run(record.body, context, run)
    this.sessions.keep(record, encodeOutcome(outcome))
    return { session, seq, outcome }
  }

  #run(body: Buffer, context: ApplyContext, run: RunCommand): Outcome {
    try {
      const { result, trace } = run(body, context)
      this.#mix(trace)
      this.#mix(crc32(result))
      return { type: 'done', value: result }
    } catch (error) {
      if (isFatal(error)) throw error
      // Not the message: it may differ from one version of Node to the next.
      this.#mix(context.position % 2 ** 32)
      return { type: 'failed', message: messageOf(error).slice(0, messageMax) }
    }
  }

  #mix(value: number): void {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value, 0)
    this.#fingerprint = crc32(bytes, this.#fingerprint)
  }

  #keep(record: Exclude<ReplicaRecord, { type: 'command' }>, context: ApplyContext): void {
    if (record.type === 'open') {
      this.sessions.open({
        id: record.session,
        timeoutMs: record.timeoutMs,
        timeMs: context.timeMs,
      })
    } else if (record.type === 'close') this.sessions.close(record.session)
    else if (record.type === 'expire') this.sessions.expire(context.timeMs)
    else if (record.type === 'check') this.#compare(record)
  }

  #note(): void {
    this.#checks.push({ position: this.#position, fingerprint: this.#fingerprint })
    if (this.#checks.length > checksKept) this.#checks.shift()
  }

  #compare({ position, fingerprint }: Check): void {
    const index = this.#checks.findIndex((check) => check.position === position)
    const own = this.#checks[index]
    if (!own || own.fingerprint === fingerprint) return
    throw new QuireError(
      'QUIRE_STATE_DIVERGED',
      `the state at position ${position} is not the one its owner had there: a command ` +
        `between ${this.#checks[index - 1]?.position ?? 0} and ${position} did something else ` +
        'here; commands must use nothing but their arguments',
      {
        facts: {
          position,
          after: this.#checks[index - 1]?.position ?? 0,
          expected: fingerprint,
          found: own.fingerprint,
        },
      },
    )
  }

  /** position u64 · fingerprint u32 · count u32 · { position u64 · fingerprint u32 } … */
  encode(): Buffer {
    const bytes = Buffer.alloc(16 + 12 * this.#checks.length)
    bytes.writeBigUInt64BE(BigInt(this.#position), 0)
    bytes.writeUInt32BE(this.#fingerprint, 8)
    let at = bytes.writeUInt32BE(this.#checks.length, 12)
    for (const check of this.#checks) {
      at = bytes.writeBigUInt64BE(BigInt(check.position), at)
      at = bytes.writeUInt32BE(check.fingerprint, at)
    }
    return bytes
  }

  load(stored: Uint8Array): void {
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength)
    this.#position = Number(bytes.readBigUInt64BE(0))
    this.#fingerprint = bytes.readUInt32BE(8)
    this.#checks = Array.from({ length: bytes.readUInt32BE(12) }, (_, index) => ({
      position: Number(bytes.readBigUInt64BE(16 + 12 * index)),
      fingerprint: bytes.readUInt32BE(24 + 12 * index),
    }))
  }
}

/** True for what another replica, or a second try, would not meet in the same place (A2). */
export function isFatal(error: unknown): boolean {
  if (QuireError.is(error)) return error.code !== 'QUIRE_COMMAND_FAILED'
  return error instanceof RangeError && error.message.includes('call stack')
}

function encodeOutcome(outcome: Outcome): Buffer {
  if (outcome.type === 'done') return Buffer.concat([Buffer.of(0), outcome.value])
  const message = outcome.type === 'failed' ? outcome.message : ''
  return Buffer.concat([Buffer.of(1), Buffer.from(message)])
}

export function decodeOutcome(bytes: Buffer): Outcome {
  const rest = bytes.subarray(1)
  return bytes[0] === 0
    ? { type: 'done', value: rest }
    : { type: 'failed', message: rest.toString('utf8') }
}
