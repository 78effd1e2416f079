// What clients saw of one named log. Payloads are all different.
//
// Positions are dense; every position has one record for all readers (a common sequence); a record
// whose append was told a position is there, and nowhere else; one whose append was refused is
// nowhere; one of unknown outcome is there at most once; an owner begins behind everything that was
// acknowledged before it asked; behind its beginning no older owner has anything acknowledged (I13).

import { nameOf, type Report } from '../../../src/simulation/report.ts'

export class LogChecker {
  readonly #report: Report
  readonly #name: string
  readonly #appended = new Set<string>()
  readonly #refused = new Set<string>()
  readonly #acked = new Map<number, Buffer>()
  readonly #seen = new Map<number, Buffer>()
  readonly #positions = new Map<string, number>()
  /** Where the owner of an epoch began, and where the last record ends that it had acknowledged. */
  readonly #epochs = new Map<number, { readonly begin: number; ackedEnd: number }>()
  readonly #next = new Map<string, number>()
  #ackedEnd = 0
  #cut = 0

  constructor(report: Report, name: string) {
    this.#report = report
    this.#name = name
  }

  /** The first position behind everything that was acknowledged. */
  get ackedEnd(): number {
    return this.#ackedEnd
  }

  /** `ackedEnd` as it was when the owner asked. */
  acquired(epoch: number, nextPosition: number, ackedEnd: number): void {
    this.#holds(!this.#epochs.has(epoch), 'log epochs', () => `epoch ${epoch} came twice`)
    for (const [older, { ackedEnd: end }] of this.#epochs) {
      this.#holds(
        older > epoch || end <= nextPosition,
        'I13',
        () => `epoch ${epoch} begins at ${nextPosition}, ${older} has acknowledged up to ${end}`,
      )
    }
    this.#epochs.set(epoch, { begin: nextPosition, ackedEnd: nextPosition })
    this.#holds(
      nextPosition >= ackedEnd,
      'log acked',
      () => `epoch ${epoch} begins at ${nextPosition}, ${ackedEnd} records were acknowledged`,
    )
  }

  /** What is before `position` may go from now on. */
  truncating(position: number): void {
    this.#cut = Math.max(this.#cut, position)
  }

  /** The log begins at `oldest`. */
  truncated(oldest: number): void {
    this.#holds(
      oldest <= this.#cut,
      'log truncated',
      () => `it begins at ${oldest}, and only what is before ${this.#cut} was given back`,
    )
  }

  appending(payload: Buffer): void {
    this.#appended.add(payload.toString('latin1'))
  }

  acked(position: number, payload: Buffer, epoch: number): void {
    for (const [newer, { begin }] of this.#epochs) {
      this.#holds(
        newer <= epoch || position < begin,
        'I13',
        () => `epoch ${epoch} acknowledged ${position}, ${newer} had begun at ${begin}`,
      )
    }
    const owner = this.#epochs.get(epoch)
    if (owner) owner.ackedEnd = Math.max(owner.ackedEnd, position + 1)
    this.#saw(position, payload)
    this.#acked.set(position, payload)
    this.#ackedEnd = Math.max(this.#ackedEnd, position + 1)
  }

  /** The call failed, and said that nothing was sent. */
  refused(payload: Buffer): void {
    const key = payload.toString('latin1')
    this.#refused.add(key)
    const position = this.#positions.get(key)
    this.#holds(
      position === undefined,
      'log refused',
      () => `${nameOf(payload)} was refused, and is at ${position}`,
    )
  }

  /** Appends that neither were acknowledged nor failed for certain, as they were at last. */
  get unknown(): { there: number; notThere: number } {
    const acked = new Set([...this.#acked.values()].map((payload) => payload.toString('latin1')))
    const open = [...this.#appended].filter((key) => !acked.has(key) && !this.#refused.has(key))
    const there = open.filter((key) => this.#positions.has(key)).length
    return { there, notThere: open.length - there }
  }

  /** One pass of one reader: positions must follow one another. */
  read(reader: string, position: number, payload: Buffer): void {
    const next = this.#next.get(reader) ?? position
    this.#holds(
      position === next,
      'log dense',
      () => `${reader} was given ${position}, ${next} is next`,
    )
    this.#next.set(reader, position + 1)
    this.#saw(position, payload)
  }

  /** The last word, from the oldest position on. */
  final(oldest: number, records: readonly Buffer[]): void {
    for (const [index, payload] of records.entries()) this.#saw(oldest + index, payload)
    const end = oldest + records.length
    this.truncated(oldest)
    for (const [position, payload] of [...this.#acked, ...this.#seen]) {
      if (position < oldest) continue
      const isAcked = this.#acked.has(position)
      this.#holds(
        position < end && records[position - oldest]?.equals(payload) === true,
        isAcked ? 'log acked' : 'log seen',
        () => `${nameOf(payload)} was at ${position}, and is not there (${oldest} to ${end})`,
      )
    }
  }

  #saw(position: number, payload: Buffer): void {
    const key = payload.toString('latin1')
    const what = `${nameOf(payload)} at ${position}`
    this.#holds(this.#appended.has(key), 'log content', () => `${what} was never appended`)
    this.#holds(!this.#refused.has(key), 'log refused', () => `${what} had been refused`)
    const before = this.#seen.get(position)
    const same = before === undefined || before.equals(payload)
    this.#holds(same, 'log sequence', () => `${what}, and before ${nameOf(before ?? payload)}`)
    const other = this.#positions.get(key) ?? position
    this.#holds(other === position, 'log once', () => `${what} is also at ${other}`)
    this.#seen.set(position, payload)
    this.#positions.set(key, position)
  }

  #holds(condition: boolean, checker: string, reason: () => string): void {
    this.#report.holds(condition, checker, () => `log ${this.#name}: ${reason()}`)
  }
}
