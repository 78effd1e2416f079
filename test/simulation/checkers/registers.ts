// What sessions saw of nodes of the metadata tree that change by compare-and-set alone. Values are
// all different.
//
// Each version has one value; a write makes the version behind the one it named; a write that was
// refused is nowhere; a linearizable read sees everything that was answered before it began; a
// session never sees an older version than before; a watch speaks before its session sees more.

import type { Report } from '../../../src/simulation/report.ts'

interface Register {
  readonly values: Map<number, string>
  readonly written: Set<string>
  readonly refused: Set<string>
  /** The highest version that anybody was told. */
  known: number
}

/** A watch of a session: called once. */
export interface Watch {
  called: boolean
}

export class RegisterChecker {
  readonly #report: Report
  readonly #registers = new Map<string, Register>()
  readonly #sessions = new Map<string, number>()
  /** By session and path: watches, and the versions that they were laid on. */
  readonly #watches = new Map<string, Map<Watch, number>>()

  constructor(report: Report) {
    this.#report = report
  }

  /** The highest version that anybody was told so far. */
  known(path: string): number {
    return this.#of(path).known
  }

  writing(path: string, value: string): void {
    this.#of(path).written.add(value)
  }

  written(path: string, value: string, versions: { named: number; made: number }): void {
    const { named, made } = versions
    this.#report.holds(
      made === named + 1,
      'register version',
      () => `${path}: a write on version ${named} made ${made}`,
    )
    this.#saw(path, value, made)
  }

  /** The write was told that its version is not the present one. */
  refused(path: string, value: string): void {
    const register = this.#of(path)
    register.refused.add(value)
    this.#report.holds(
      ![...register.values.values()].includes(value),
      'register refused',
      () => `${path}: ${value} was refused, and is there`,
    )
  }

  /** `known` as it was before a linearizable read; −1 for another one. */
  read(
    path: string,
    found: { value: string; version: number },
    by: { session: string; known: number; watch?: Watch | undefined },
  ): void {
    const { value, version } = found
    this.#report.holds(
      version >= by.known,
      'register linearizable',
      () => `${path}: version ${version} was read, and ${by.known} was known before`,
    )
    const key = `${by.session} ${path}`
    const before = this.#sessions.get(key) ?? -1
    this.#report.holds(
      version >= before,
      'register session',
      () => `${path}: a session saw version ${before}, then ${version}`,
    )
    const watches = this.#watches.get(key) ?? new Map<Watch, number>()
    for (const [{ called }, laidOn] of watches) {
      this.#report.holds(
        called || version === laidOn,
        'register watch',
        () => `${path}: version ${version} was read, and the watch on ${laidOn} is silent`,
      )
    }
    this.#sessions.set(key, version)
    if (by.watch) watches.set(by.watch, version)
    this.#watches.set(key, watches)
    this.#saw(path, value, version)
  }

  /** After everything was started anew. */
  final(path: string, value: string, version: number): void {
    const { known } = this.#of(path)
    this.#report.holds(
      version >= known,
      'register lost',
      () => `${path} has version ${version}, and ${known} was known`,
    )
    this.#saw(path, value, version)
  }

  #saw(path: string, value: string, version: number): void {
    const register = this.#of(path)
    const before = register.values.get(version) ?? value
    this.#report.holds(
      before === value,
      'register value',
      () => `${path}: version ${version} is ${value}, and was ${before}`,
    )
    this.#report.holds(
      register.written.has(value) && !register.refused.has(value),
      'register refused',
      () => `${path}: ${value} is there, which nobody wrote or which was refused`,
    )
    register.values.set(version, value)
    register.known = Math.max(register.known, version)
  }

  #of(path: string): Register {
    let register = this.#registers.get(path)
    if (register === undefined) {
      register = { values: new Map(), written: new Set(), refused: new Set(), known: -1 }
      this.#registers.set(path, register)
    }
    return register
  }
}
