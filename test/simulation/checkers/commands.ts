// What clients saw of one replicated state whose commands each add a name to a list.
//
// A command that was answered took effect once, at the place it was told; one that was refused took
// none; one of unknown outcome at most one. A linearizable question sees everything that was
// answered before it was asked. States at one position are equal, and grow only at their end.

import type { Report } from '../../../src/simulation/report.ts'

export class CommandChecker {
  readonly #report: Report
  readonly #name: string
  readonly #known = new Set<string>()
  readonly #refused = new Set<string>()
  /** By name: its place in the list, from 0. */
  readonly #answered = new Map<string, number>()
  /** The longest list that anybody saw. */
  #list: readonly string[] = []

  constructor(report: Report, name: string) {
    this.#report = report
    this.#name = name
  }

  /** Commands that were answered so far. */
  get answeredCount(): number {
    return this.#answered.size
  }

  /** Commands that were neither answered nor refused, as they were at last. */
  get unknown(): { there: number; notThere: number } {
    const isOpen = (name: string) => !this.#answered.has(name) && !this.#refused.has(name)
    const open = [...this.#known].filter(isOpen)
    const list = new Set(this.#list)
    const there = open.filter((name) => list.has(name)).length
    return { there, notThere: open.length - there }
  }

  executing(command: string): void {
    this.#known.add(command)
  }

  answered(command: string, place: number): void {
    this.#answered.set(command, place)
    const there = this.#list[place]
    this.#holds(
      there === undefined || there === command,
      'command place',
      () => `${command} was told ${place}, where ${there} is`,
    )
  }

  refused(command: string): void {
    this.#refused.add(command)
    this.#holds(
      !this.#list.includes(command),
      'command refused',
      () => `${command} was refused, and took effect`,
    )
  }

  /** A replica's list; `answeredBefore`: how many had been answered when it was asked. */
  saw(list: readonly string[], who: string, answeredBefore: number = 0): void {
    const shorter = Math.min(list.length, this.#list.length)
    const differs = list.slice(0, shorter).findIndex((name, at) => name !== this.#list[at])
    this.#holds(
      differs < 0,
      'state equality',
      () => `${who} has ${list[differs]} at ${differs}, others ${this.#list[differs]}`,
    )
    const before = this.#list.length
    if (list.length > before) this.#list = list
    for (const [index, name] of list.slice(before).entries()) {
      const at = before + index
      this.#holds(this.#known.has(name), 'command content', () => `${name} was never executed`)
      this.#holds(!this.#refused.has(name), 'command refused', () => `${name} had been refused`)
      const first = list.indexOf(name)
      this.#holds(first === at, 'exactly once', () => `${name} is at ${first} and at ${at}`)
      const told = this.#answered.get(name) ?? at
      this.#holds(told === at, 'command place', () => `${name} is at ${at}, and was told ${told}`)
    }
    const names = [...this.#answered.keys()].slice(0, answeredBefore)
    const lists = new Set(list)
    const missing = names.find((name) => !lists.has(name))
    this.#holds(
      missing === undefined,
      'linearizable',
      () => `${who} does not see ${missing}, which was answered before it asked`,
    )
  }

  /** After everything was started anew: nothing that was answered is missing. */
  final(list: readonly string[]): void {
    this.saw(list, 'the last reader')
    this.#holds(
      list.length >= this.#list.length,
      'command lost',
      () => `there are ${list.length} commands, and have been ${this.#list.length}`,
    )
    for (const [name, place] of this.#answered) {
      this.#holds(
        list[place] === name,
        'command lost',
        () => `${name} was answered, and is not at ${place}`,
      )
    }
  }

  #holds(condition: boolean, checker: string, reason: () => string): void {
    this.#report.holds(condition, checker, () => `state ${this.#name}: ${reason()}`)
  }
}
