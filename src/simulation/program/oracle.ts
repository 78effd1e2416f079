// What is known of one replicated state of a program, over all its replicas and lives: which
// command stands at which position, what it did to the state, and what callers were told. Every
// replica applies every entry before our eyes, after a crash once more: each is a replay of the log
// that is compared with all others, entry by entry.

import type { Report } from '../report.ts'
import type { World } from '../world.ts'
import { difference } from './difference.ts'

/** What one entry did on one replica. */
export interface Applied {
  readonly position: number
  /** Of the call that executed it. */
  readonly id: string
  /** The command, for people. */
  readonly command: string
  /** On which machine. */
  readonly who: string
  /** The state before and behind it, as text. */
  readonly before: string
  readonly after: string
  /** As JSON; undefined: it threw. */
  readonly result: string | undefined
}

export interface OracleParts {
  readonly world: World
  readonly report: Report
}

interface Executed {
  readonly command: string
  readonly who: string
}

export class StateOracle {
  readonly name: string
  readonly #parts: OracleParts
  readonly #entries = new Map<number, Applied>()
  readonly #places = new Map<string, number>()
  readonly #executed = new Map<string, Executed>()
  readonly #refused = new Set<string>()
  #last: Applied | undefined
  #answeredEnd = 0
  #answered = 0

  constructor(parts: OracleParts, name: string) {
    this.#parts = parts
    this.name = name
  }

  /** The first position behind all commands that were answered. */
  get answeredEnd(): number {
    return this.#answeredEnd
  }

  get counts(): { executed: number; answered: number; applied: number } {
    const [executed, applied] = [this.#executed.size, this.#entries.size]
    return { executed, answered: this.#answered, applied }
  }

  executing(id: string, executed: Executed): void {
    this.#executed.set(id, executed)
    this.#tell(executed.who, () => `executes ${executed.command}`)
  }

  /** `result` as JSON; undefined: the caller was told that it threw. */
  answered(id: string, result: string | undefined): void {
    const entry = this.#entryOf(id)
    const executed = this.#executed.get(id)
    if (entry === undefined) {
      this.violated('command lost', `${executed?.command} was answered, and never applied`)
      return
    }
    this.#tell(executed?.who ?? '', () => `is answered: position ${entry.position}`)
    this.#answered += 1
    this.#answeredEnd = Math.max(this.#answeredEnd, entry.position + 1)
    if (entry.result === result) return
    const text = `was answered with ${result}, and its result was ${entry.result}`
    this.violated('command answer', `${place(entry)} ${text}`)
  }

  /** The caller was told that it has no effect, now or later. */
  refused(id: string): void {
    this.#refused.add(id)
    const entry = this.#entryOf(id)
    if (entry !== undefined) this.#refusedInVain(entry)
  }

  /** Before anything is said of it. */
  seen({ who, position, command }: Applied): void {
    this.#tell(who, () => `applies ${position}: ${command}`)
  }

  applied(entry: Applied): void {
    const known = this.#entries.get(entry.position)
    if (known !== undefined) this.#compare(known, entry)
    else if (this.#isNext(entry)) this.#add(entry)
  }

  /**
   * The state that an entry is about to be applied to. `chained`: only commands change such states,
   * so that it is the one behind the command before.
   */
  begins(position: number, state: { who: string; before: string; chained: boolean }): void {
    const { who, before, chained } = state
    const known = this.#entries.get(position)
    const expected = known?.before ?? (chained ? this.#last?.after : undefined)
    if (expected === undefined || expected === before) return
    const other = known?.who ?? this.#last?.who
    const text = `before position ${position} the state on ${who} is not the one of ${other}`
    this.violated('state equality', `${text}: ${difference(before, expected)}`)
  }

  /** A state that has applied everything before `position`, after the end of the run. */
  final(who: string, position: number, state: string): void {
    const end = this.#last?.position ?? -1
    if (position < this.#answeredEnd) {
      const text = `${who} has applied the log to ${position}`
      this.violated('command lost', `${text}, and commands to ${this.#answeredEnd} were answered`)
    } else if (position > end && this.#last !== undefined && state !== this.#last.after) {
      const text = `the state on ${who}, from the log, is not the one behind ${place(this.#last)}`
      this.violated('state equality', `${text}: ${difference(state, this.#last.after)}`)
    }
  }

  violated(checker: string, reason: string): void {
    this.#parts.report.violated(checker, `state ${this.name}: ${reason}`)
  }

  #tell(machine: string, text: () => string): void {
    this.#parts.world.scheduler.tell(text, { machine, about: `state ${this.name}` })
  }

  #isNext(entry: Applied): boolean {
    if (this.#last === undefined || entry.position > this.#last.position) return true
    const past = `${this.#last.who} had gone past it`
    this.violated('state equality', `${place(entry)} is applied on ${entry.who}, and ${past}`)
    return false
  }

  #add(entry: Applied): void {
    this.#entries.set(entry.position, entry)
    this.#last = entry
    const first = this.#entryOf(entry.id)
    if (first !== undefined) {
      const text = `${place(first)} took effect again at position ${entry.position}`
      this.violated('exactly once', text)
    }
    this.#places.set(entry.id, entry.position)
    if (!this.#executed.has(entry.id)) {
      this.violated('command content', `${place(entry)} was never executed`)
    }
    if (this.#refused.has(entry.id)) this.#refusedInVain(entry)
  }

  #compare(known: Applied, entry: Applied): void {
    if (known.id !== entry.id) {
      const text = `${place(entry)} on ${entry.who} is ${known.command} on ${known.who}`
      this.violated('state equality', text)
    } else if (known.after !== entry.after) {
      const text = `${place(entry)} makes another state on ${entry.who} than on ${known.who}`
      this.violated('state equality', `${text}: ${difference(entry.after, known.after)}`)
    } else if (known.result !== entry.result) {
      const results = `${entry.result} on ${entry.who} and ${known.result} on ${known.who}`
      this.violated('state equality', `${place(entry)} has two results: ${results}`)
    }
  }

  #refusedInVain(entry: Applied): void {
    this.violated('command refused', `${place(entry)} was refused, and took effect`)
  }

  #entryOf(id: string): Applied | undefined {
    const position = this.#places.get(id)
    return position === undefined ? undefined : this.#entries.get(position)
  }
}

/** An entry for people. */
export function place({ position, command }: Pick<Applied, 'position' | 'command'>): string {
  return `the command at position ${position}, ${command},`
}
