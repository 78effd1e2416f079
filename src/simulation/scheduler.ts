// Virtual time: a queue of events by (time, tie-break, order of scheduling), run one at a time with
// all promises settled in between. Every choice goes through `choose`, so that a run is lists of
// integers: it can be replayed and shrunk.

import { QuireError } from '../errors.ts'
import { timers } from '../io/real/time.ts'
import { Choices, type ChoiceLists } from './choices.ts'
import { EventQueue, type SimulatedEvent } from './event-queue.ts'
import { hashText, mix, SeededRandom } from './random.ts'

/**
 * Who an event happens to. A dead owner's events are dropped; a paused one's come when it goes on.
 */
export interface EventOwner {
  /** Of the machine; empty for whoever acts from outside. */
  readonly machine: string
  readonly alive: boolean
  readonly pausedUntilMs: number
  /** An error that nobody caught. */
  fail(error: unknown): void
  /** Called after each of its events: what it took of its time. */
  ran?(nowMs: number): void
}

export interface Scheduled {
  cancel(): void
}

export interface SchedulerOptions {
  readonly seed: number | string
  /** Choices to take again, from an earlier run's `choices`, changed or not. */
  readonly choices?: ChoiceLists | undefined
  /** Fails the run after so many events. Default 20 million. */
  readonly eventsMax?: number | undefined
  /** Called after each event, and all that followed from it: where invariants are looked at. */
  readonly afterEvent?: (() => void) | undefined
  /** Called for each event and choice, for people: what happened and when. */
  readonly trace?: ((line: string) => void) | undefined
  /** Called with what is told: the story of the run. Telling costs nothing when nobody listens. */
  readonly listen?: ((told: Told) => void) | undefined
}

/** Something that happened, for people. */
export interface Told {
  readonly timeMs: number
  /** Where; empty: everywhere. */
  readonly machine: string
  readonly text: string
  /** What it is about, in the words of checkers: `ledger 5`. Undefined: about the machine. */
  readonly about: string | undefined
}

export class Scheduler {
  readonly #options: SchedulerOptions
  readonly #seeds: SeededRandom
  readonly #choices: Choices
  readonly #hashes = new Map<string, number>()
  readonly #queue = new EventQueue<EventOwner>()
  #nowMs = 0
  #events = 0
  #hash = 0
  /** Where the present event happens. */
  #machine = ''
  #failure: { error: unknown } | undefined

  constructor(options: SchedulerOptions) {
    this.#options = options
    this.#seeds = new SeededRandom(String(options.seed))
    this.#choices = new Choices(this.#seeds, options.choices)
  }

  /** What was chosen so far, by label. */
  get choices(): ChoiceLists {
    return this.#choices.taken
  }

  get nowMs(): number {
    return this.#nowMs
  }

  /** Equal for two runs that did the same. */
  get traceHash(): number {
    return this.#hash >>> 0
  }

  /** How many events have happened. */
  get events(): number {
    return this.#events
  }

  /** Makes what was seen a part of the trace: two runs that differ in it differ in their hash. */
  observe(label: string, value: number): void {
    this.#note(label, value)
  }

  /** For people: not a part of the hash. By default it happens where the present event does. */
  tell(text: () => string, where: { machine?: string; about?: string | undefined } = {}): void {
    const { listen, trace } = this.#options
    if (listen === undefined && trace === undefined) return
    const { machine = this.#machine, about } = where
    const told = { timeMs: this.#nowMs, machine, text: text(), about }
    listen?.(told)
    trace?.(`${this.#nowMs.toFixed(3)} ${machine}: ${told.text}`)
  }

  /** A source of numbers of its own, which is not part of the list of choices. */
  random(label: string): SeededRandom {
    return this.#seeds.fork(label)
  }

  /** An integer in [0, count). Draws of one label do not disturb those of another. */
  choose(count: number, label: string): number {
    const choice = this.#choices.label(label).next(count)
    this.#note(label, choice)
    return choice
  }

  /** True with this probability; never draws for zero. The lowest choice is "no". */
  chance(probability: number, label: string): boolean {
    return probability > 0 && this.choose(1_000_000, label) >= (1 - probability) * 1_000_000
  }

  /** A number in [from, to). */
  between(range: readonly [number, number], label: string): number {
    const [from, to] = range
    return from + ((to - from) * this.choose(4096, label)) / 4096
  }

  schedule(
    owner: EventOwner,
    delayMs: number,
    what: { label: string; call: () => void },
  ): Scheduled {
    return this.#add(owner, this.#nowMs + Math.max(0, delayMs), what)
  }

  /** At the present time, after all that was scheduled for it in this way. */
  soon(owner: EventOwner, what: { label: string; call: () => void }): Scheduled {
    const event = { ...what, owner, timeMs: this.#nowMs, tie: -1, order: 0, cancelled: false }
    return this.#push(event)
  }

  /** What is still to happen to an owner. */
  pendingOf(owner: EventOwner): string[] {
    const pending = this.#queue.all.filter((event) => event.owner === owner && !event.cancelled)
    return pending.map(({ label }) => label)
  }

  /** Fails the run: the next step throws the error. */
  fail(error: unknown): void {
    this.#failure ??= { error }
  }

  /** Runs events until the promise is settled, and gives its outcome. */
  async settle<T>(promise: Promise<T>, limitMs: number = 3_600_000): Promise<T> {
    const endMs = this.#nowMs + limitMs
    const outcome = { settled: false }
    void note(promise, outcome)
    await turn()
    while (!outcome.settled) {
      if (this.#nowMs > endMs) throw stuck(`nothing settled within ${limitMs} ms`)
      if (!(await this.step())) throw stuck('no event is left, and the promise is not settled')
    }
    this.#throwFailure()
    return promise
  }

  /** Runs the events of the next `forMs`, and moves the clock there. */
  async run(forMs: number): Promise<void> {
    const endMs = this.#nowMs + forMs
    await turn()
    for (let next = this.#queue.peek(); next !== undefined && next.timeMs <= endMs;) {
      await this.step()
      next = this.#queue.peek()
    }
    this.#throwFailure()
    this.#nowMs = endMs
  }

  /** One event, and all that follows from it without time. False when there is none. */
  async step(): Promise<boolean> {
    this.#throwFailure()
    const event = this.#queue.pop()
    if (event === undefined) return false
    if (event.cancelled || !event.owner.alive) return true
    if (event.owner.pausedUntilMs > event.timeMs) {
      // The same event: whoever may cancel it still can.
      event.timeMs = event.owner.pausedUntilMs
      // What was to come at once keeps its order.
      if (event.tie >= 0) event.tie = this.choose(1024, 'tie')
      this.#queue.push(event)
      return true
    }
    this.#begin(event)
    try {
      event.call()
    } catch (error) {
      event.owner.fail(error)
    }
    event.owner.ran?.(this.#nowMs)
    await turn()
    this.#options.afterEvent?.()
    return true
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #begin(event: SimulatedEvent<EventOwner>): void {
    this.#nowMs = event.timeMs
    this.#machine = event.owner.machine
    this.#events += 1
    const eventsMax = this.#options.eventsMax ?? 20_000_000
    if (this.#events > eventsMax) throw stuck(`the run did not end within ${eventsMax} events`)
    this.#note(event.label, Math.floor(event.timeMs * 1000))
  }

  #add(owner: EventOwner, timeMs: number, what: { label: string; call: () => void }): Scheduled {
    const tie = this.choose(1024, 'tie')
    const { label, call } = what
    return this.#push({ label, call, owner, timeMs, tie, order: 0, cancelled: false })
  }

  #push(event: SimulatedEvent<EventOwner>): Scheduled {
    this.#queue.push(event)
    return { cancel: () => (event.cancelled = true) }
  }

  #note(label: string, value: number): void {
    this.#hash = mix(mix(this.#hash, this.#hashOf(label)), value)
    this.#options.trace?.(`${this.#nowMs.toFixed(3)} ${label} ${value}`)
  }

  #hashOf(label: string): number {
    let hash = this.#hashes.get(label)
    if (hash === undefined) this.#hashes.set(label, (hash = hashText(label)))
    return hash
  }
}

function stuck(text: string): QuireError {
  return new QuireError('QUIRE_INVARIANT', `the simulation is stuck: ${text}`)
}

async function note(promise: Promise<unknown>, outcome: { settled: boolean }): Promise<void> {
  await Promise.allSettled([promise])
  outcome.settled = true
}

/** Lets every promise that can settle do so. */
function turn(): Promise<void> {
  return new Promise((resolve) => timers.soon(resolve))
}
