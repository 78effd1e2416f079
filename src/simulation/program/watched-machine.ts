// A program's state machine in memory with an observer: commands carry the id of their call, and
// each is applied twice. From a snapshot that is taken a second state is restored at once, and
// every later command is applied to it too.

import { isUtf8 } from 'node:buffer'
import { inspect } from 'node:util'
import { messageOf } from '../../errors.ts'
import type { Machine } from '../../snapshot/memory-state.ts'
import type { ApplyContext } from '../../snapshot/state.ts'
import { attempt, judge, resultText, type AttemptParts, type Effect } from './attempt.ts'
import { difference, shown } from './difference.ts'
import { place, type StateOracle } from './oracle.ts'

/** A command in the log of a simulated run. */
export interface Envelope<Command> {
  readonly id: string
  readonly command: Command
}

export interface WatchParts extends AttemptParts {
  readonly oracle: StateOracle
  /** The machine that it runs on. */
  readonly who: string
}

interface Next<State, Result> {
  readonly state: State
  readonly result: Result
}

interface Applied<State, Result> extends Next<State, Result> {
  readonly text: string
}

export class WatchedMachine<State, Command, Result, Question, Answered> implements Machine<
  State,
  Envelope<Command>,
  Result,
  Question,
  Answered
> {
  readonly #parts: WatchParts
  readonly #machine: Machine<State, Command, Result, Question, Answered>
  #state: State
  /** Behind the last entry, if this state came from there. */
  #after: { readonly position: number; readonly image: string } | undefined
  /** From the newest snapshot and all that came behind it. */
  #restored: { readonly state: State } | undefined

  constructor(parts: WatchParts, machine: Machine<State, Command, Result, Question, Answered>) {
    this.#parts = parts
    this.#machine = machine
    this.#state = machine.create()
  }

  /** The state as it is now. */
  get image(): string {
    return this.#imageOf(this.#state)
  }

  create(): State {
    return this.#state
  }

  apply(state: State, envelope: Envelope<Command>, context: ApplyContext): Next<State, Result> {
    const before = this.#imageOf(state)
    this.#checkBefore(before, context)
    const copy = structuredClone(envelope.command)
    const run = (to: State, command: Command) => () => {
      const { state: next, result } = this.#machine.apply(to, command, context)
      return { state: next, result, text: resultText(result) }
    }
    const next = attempt(this.#parts, 'now', run(state, envelope.command))
    const entry = { ...this.#entry(envelope, context), before, ...this.#effect(next, before) }
    if (this.#isChanged(state, entry)) return nextOf(next)
    const other = this.#restored ?? { state }
    const again = attempt(this.#parts, 'later', run(other.state, copy))
    const used = new Set([...next.used, ...again.used])
    const to = this.#restored ? 'the state from a snapshot' : 'the same state'
    judge(this.#parts.oracle, entry, { ...this.#effect(again, before), used, to })
    this.#isChanged(state, entry)
    this.#moved(next.value, this.#restored && again.value)
    this.#after = { position: context.position, image: entry.after }
    return nextOf(next)
  }

  #moved(next: { state: State } | undefined, restored: { state: State } | undefined): void {
    if (next) this.#state = next.state
    if (restored) this.#restored = restored
  }

  query(state: State, question: Question): Answered {
    return this.#machine.query(state, question)
  }

  snapshot(state: State): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
    void this.#checkSnapshot(state)
    return this.#machine.snapshot(state)
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<State> {
    this.#state = await this.#machine.restore(chunks)
    this.#after = undefined
    this.#restored = undefined
    return this.#state
  }

  async #checkSnapshot(state: State): Promise<void> {
    const { oracle, who } = this.#parts
    const where = `a snapshot behind position ${this.#after?.position ?? 'that it began with'}`
    try {
      const restored = await this.#machine.restore(chunksOf(this.#machine.snapshot(state)))
      const images = [this.#imageOf(restored), this.#imageOf(state)] as const
      if (images[0] !== images[1]) {
        const names = ['is restored', 'was there'] as const
        const text = `${where} on ${who} makes another state`
        oracle.violated('snapshot', `${text}: ${difference(...images, names)}`)
      }
      // When the state has gone on meanwhile, the two cannot go on together.
      if (this.#state === state) this.#restored = { state: restored }
    } catch (error) {
      oracle.violated('snapshot', `${where} on ${who} cannot be restored: ${messageOf(error)}`)
    }
  }

  #entry({ id, command }: Envelope<Command>, { position }: ApplyContext) {
    return { position, id, command: shown(command), who: this.#parts.who }
  }

  #checkBefore(before: string, { position }: ApplyContext): void {
    const { oracle, who } = this.#parts
    if (this.#after !== undefined && this.#after.image !== before) {
      const where = `between positions ${this.#after.position} and ${position}`
      const text = `the state on ${who} changed ${where}: only apply makes a new state`
      oracle.violated('determinism', text)
    }
    oracle.begins(position, { who, before, chained: true })
  }

  /** By contract `apply` leaves the state as it was, and makes another. */
  #isChanged(state: State, entry: Parameters<StateOracle['applied']>[0]): boolean {
    if (this.#imageOf(state) === entry.before) return false
    const text = `${place(entry)} changes the state that it is given, on ${entry.who}`
    const advice = 'apply makes what differs anew, and shares what stays'
    this.#parts.oracle.violated('determinism', `${text}: ${advice}`)
    return true
  }

  #effect(next: { readonly value: Applied<State, Result> | undefined }, before: string): Effect {
    if (next.value === undefined) return { after: before, result: undefined }
    return { after: this.#imageOf(next.value.state), result: next.value.text }
  }

  /** What the machine's own snapshot says; when that takes time, what can be seen of the value. */
  #imageOf(state: State): string {
    const chunks = this.#machine.snapshot(state)
    if (!(Symbol.iterator in chunks)) return inspect(state, everything)
    const bytes = Buffer.concat([...chunks])
    return bytes.toString(isUtf8(bytes) ? 'utf8' : 'latin1')
  }
}

async function* chunksOf(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* chunks
}

const everything = {
  depth: Infinity,
  maxArrayLength: Infinity,
  maxStringLength: Infinity,
  breakLength: Infinity,
  sorted: true,
} as const

function nextOf<T>(next: {
  readonly value: T | undefined
  readonly error: { readonly thrown: unknown } | undefined
}): T {
  if (next.value === undefined) throw next.error?.thrown
  return next.value
}
