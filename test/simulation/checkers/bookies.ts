// What each bookie promised by its answers, whoever heard them.
//
// I9 after it answered a fencing request it acknowledges nothing that came later without the
// recovery flag, across restarts. I10 what it said to be absent, to a fencing read, it never
// acknowledges to a writer. I11 what it acknowledged it holds, whatever befell it, and never denies;
// I16 nor does it deny what a damaged disk has lost. I14 it buries no ledger that the metadata
// names. I7 one payload for an id on all bookies.

import { messageOf, QuireError } from '../../../src/errors.ts'
import { nameOf, type Report } from '../../../src/simulation/report.ts'

export interface BookieEntry {
  readonly bookie: string
  readonly ledgerId: bigint
  readonly entryId: number
}

export interface AckedAdd extends BookieEntry {
  /** Without header and digest: those of a recovered copy differ. */
  readonly payload: Buffer
  readonly isRecovery: boolean
  /** Events so far when the request came in. */
  readonly cameAt: number
  /** When it was answered. */
  readonly at: number
}

export interface Held extends BookieEntry {
  readonly payload: Buffer
  /** When it was acknowledged first, and last. */
  readonly ackedAt: number
  readonly lastAckedAt: number
}

/** What a checker must know of the world beside the answers of bookies. */
export interface BookieFacts {
  /** Whether a copy was damaged, and the bookie can know. */
  isLost(copy: Held): boolean
  /** Whether a copy was damaged, and the bookie cannot know. */
  isForgotten(copy: Held): boolean
  /** Whether the metadata has ceased, or is ceasing, to name the ledger. */
  isLeaving(ledgerId: bigint): boolean
  /** Whether damage explains that a start was refused with this error. */
  mayRefuse(bookie: string, error: unknown): boolean
}

const lossCodes = [
  'QUIRE_RANGE_LOST',
  'QUIRE_JOURNAL_CORRUPT',
  'QUIRE_SUPERBLOCK_CORRUPT',
  'QUIRE_IDENTITY_UNKNOWN',
  'QUIRE_IDENTITY_MISMATCH',
  'QUIRE_STALE_DISK',
] as const

const healthy: BookieFacts = {
  isLost: () => false,
  isForgotten: () => false,
  isLeaving: () => false,
  mayRefuse: () => false,
}

export class BookieChecker {
  readonly #report: Report
  readonly #facts: BookieFacts
  readonly #held = new Map<string, Held>()
  readonly #holders = new Map<string, string[]>()
  readonly #written = new Map<string, string[]>()
  readonly #values = new Map<string, Buffer>()
  readonly #fenced = new Map<string, number>()
  readonly #absent = new Set<string>()

  constructor(report: Report, facts: BookieFacts = healthy) {
    this.#report = report
    this.#facts = facts
  }

  /** Every fence that was answered: bookie and ledger. */
  get fences(): readonly { readonly bookie: string; readonly ledgerId: bigint }[] {
    return [...this.#fenced.keys()].map((key) => {
      const [bookie = '', ledgerId = ''] = key.split('/')
      return { bookie, ledgerId: BigInt(ledgerId) }
    })
  }

  /** Bookies that have answered a fence of the ledger. */
  fencedBookies(ledgerId: bigint): string[] {
    return this.fences.filter((fence) => fence.ledgerId === ledgerId).map(({ bookie }) => bookie)
  }

  /** Every acknowledged copy. */
  get held(): readonly Held[] {
    return [...this.#held.values()]
  }

  /** Bookies that acknowledged an entry. */
  holders(ledgerId: bigint, entryId: number): readonly string[] {
    return this.#holders.get(`${ledgerId}/${entryId}`) ?? []
  }

  /** Bookies that acknowledged an entry to the ledger's writer. */
  written(ledgerId: bigint, entryId: number): readonly string[] {
    return this.#written.get(`${ledgerId}/${entryId}`) ?? []
  }

  acked(add: AckedAdd): void {
    const { bookie, ledgerId, entryId, payload, isRecovery, cameAt, at } = add
    const where = `${bookie}, ledger ${ledgerId}, entry ${entryId}`
    const fencedAt = this.#fenced.get(`${bookie}/${ledgerId}`) ?? Infinity
    this.#report.holds(
      isRecovery || cameAt <= fencedAt,
      'I9',
      () => `${where}: acknowledged to a writer after the fence was answered`,
    )
    this.#report.holds(
      isRecovery || !this.#absent.has(`${bookie}/${ledgerId}/${entryId}`),
      'I10',
      () => `${where}: acknowledged to a writer after a fencing read was told that it is absent`,
    )
    const value = this.#values.get(`${ledgerId}/${entryId}`)
    this.#report.holds(
      value === undefined || value.equals(payload),
      'I7',
      () => `${where}: ${nameOf(payload)} was stored, elsewhere ${nameOf(value ?? payload)}`,
    )
    this.#values.set(`${ledgerId}/${entryId}`, payload)
    const holders = this.holders(ledgerId, entryId)
    if (!holders.includes(bookie)) this.#holders.set(`${ledgerId}/${entryId}`, [...holders, bookie])
    const written = this.written(ledgerId, entryId)
    if (!isRecovery) this.#written.set(`${ledgerId}/${entryId}`, [...written, bookie])
    const key = `${bookie}/${ledgerId}/${entryId}`
    const ackedAt = this.#held.get(key)?.ackedAt ?? at
    this.#held.delete(key)
    this.#held.set(key, { bookie, ledgerId, entryId, payload, ackedAt, lastAckedAt: at })
  }

  /** A fencing request was answered as done; `absent`: it named an entry that the bookie lacks. */
  fenced(entry: BookieEntry, at: number, absent: boolean): void {
    const { bookie, ledgerId, entryId } = entry
    const key = `${bookie}/${ledgerId}`
    if (!this.#fenced.has(key)) this.#fenced.set(key, at)
    if (absent && entryId >= 0) this.#absent.add(`${key}/${entryId}`)
  }

  /** Whether the bookie refuses an add of a writer to a ledger that was fenced there. */
  finalFence(bookie: string, ledgerId: bigint, refuses: boolean): void {
    this.#report.holds(
      refuses || !this.#fenced.has(`${bookie}/${ledgerId}`),
      'I9',
      () => `${bookie} answered a fence of ledger ${ledgerId}, and takes adds of its writer`,
    )
  }

  /** The bookie said of an entry that it is not there, to a request that came in then. */
  denied(entry: BookieEntry, cameAt: number): void {
    const { bookie, ledgerId, entryId } = entry
    const held = this.#held.get(`${bookie}/${ledgerId}/${entryId}`)
    if (held === undefined || cameAt <= held.ackedAt) return
    if (this.#facts.isForgotten(held) || this.#facts.isLeaving(ledgerId)) return
    const checker = this.#facts.isLost(held) ? 'I16' : 'I11'
    const text = `${bookie} acknowledged entry ${entryId} of ledger ${ledgerId}, and denies it`
    this.#report.violated(checker, text)
  }

  /** A start was refused: a disk that nothing befell has lost nothing. */
  refused(bookie: string, error: unknown): void {
    const saysLost = lossCodes.some((code) => QuireError.is(error, code))
    this.#report.holds(
      !saysLost || this.#facts.mayRefuse(bookie, error),
      'I11',
      () => `nothing befell the disk of ${bookie}, and its start says: ${messageOf(error)}`,
    )
  }

  /** The bookie's disk says that a ledger is gone. */
  buried(bookie: string, ledgerId: bigint): void {
    this.#report.holds(
      this.#facts.isLeaving(ledgerId),
      'I14',
      () => `${bookie} buried ledger ${ledgerId}, which the metadata names`,
    )
  }

  /** What the bookie gives, asked by itself; undefined: it does not give it. */
  final(entry: BookieEntry, found: Buffer | undefined): void {
    const { bookie, ledgerId, entryId } = entry
    const held = this.#held.get(`${bookie}/${ledgerId}/${entryId}`)
    if (held === undefined) return
    const mayLack = this.#facts.isLost(held) || this.#facts.isForgotten(held)
    this.#report.holds(
      found === undefined ? mayLack : found.equals(held.payload),
      'I11',
      () =>
        `${bookie} acknowledged entry ${entryId} of ledger ${ledgerId}, and ` +
        (found === undefined ? 'does not hold it' : `holds ${nameOf(found)}`),
    )
  }
}
