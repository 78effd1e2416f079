// What clients saw of ledgers, held against the invariants of semantics A15. Told of each call and
// answer in the order of true time.
//
// I1 no acknowledged entry is lost: an ack quorum of the bookies that the metadata names for it has
// acknowledged it by then, the end of the ledger is behind it, and it reads as it was acknowledged.
// I2 all who close or recover a ledger report one end, which then stays.
// I3 nothing beyond a reported end is acknowledged, ever.
// I4 acknowledgements come in order of ids, dense from 0, each once.
// I5 what a handle says is confirmed never goes back, never lies beyond the end, and an ack quorum
// has it.
// I6 an entry reads as what its writer appended there; I7 as the same to everyone.
// I8 an ack quorum of the ensemble that the metadata names for an entry holds it.

import { nameOf, type Report } from '../../../src/simulation/report.ts'

interface Ledger {
  readonly ackQuorumSize: number
  readonly attempts: Map<string, number>
  /** By entry id: acknowledged, in order. */
  readonly acked: Buffer[]
  /** By entry id: as anybody saw it. */
  readonly seen: Map<number, Buffer>
  readonly ids: Map<string, number>
  readonly confirmed: Map<string, number>
  /** The highest confirmation anybody was told. */
  told: number
  end: number | undefined
  deleted: boolean
}

export type Holders = (ledgerId: bigint, entryId: number) => readonly string[]
export type Owners = (ledgerId: bigint, entryId: number) => readonly string[] | undefined

export interface Fragment {
  readonly firstEntryId: number
  /** Names of bookies, as `Holders` gives them. */
  readonly ensemble: readonly string[]
}

export class LedgerChecker {
  readonly #report: Report
  readonly #holders: Holders
  readonly #owners: Owners
  readonly #ledgers = new Map<bigint, Ledger>()

  /**
   * `holders`: bookies that acknowledged an entry, whoever heard them. `owners`: those that the
   * metadata names for it now; undefined where nobody knows.
   */
  constructor(report: Report, holders: Holders, owners: Owners = () => undefined) {
    this.#report = report
    this.#holders = holders
    this.#owners = owners
  }

  /** Ledgers that must be there. */
  get live(): bigint[] {
    return [...this.#ledgers].filter(([, { deleted }]) => !deleted).map(([id]) => id)
  }

  /** Entries that were acknowledged; undefined: the ledger is not one of these. */
  ackedCount(ledgerId: bigint): number | undefined {
    return this.#ledgers.get(ledgerId)?.acked.length
  }

  isDeleted(ledgerId: bigint): boolean {
    return this.#ledgers.get(ledgerId)?.deleted === true
  }

  created(ledgerId: bigint, ackQuorumSize: number): void {
    this.#report.holds(!this.#ledgers.has(ledgerId), 'ids', () => `ledger ${ledgerId} came twice`)
    this.#ledgers.set(ledgerId, {
      ackQuorumSize,
      attempts: new Map(),
      acked: [],
      seen: new Map(),
      ids: new Map(),
      confirmed: new Map(),
      told: -1,
      end: undefined,
      deleted: false,
    })
  }

  /** Before the call. Payloads of a ledger are all different. */
  appending(ledgerId: bigint, payload: Buffer): void {
    const { attempts } = this.#of(ledgerId)
    attempts.set(payload.toString('latin1'), attempts.size)
  }

  acked(ledgerId: bigint, entryId: number, payload: Buffer): void {
    const ledger = this.#of(ledgerId)
    const next = ledger.acked.length
    this.#report.holds(
      entryId === next,
      'I4',
      () => `ledger ${ledgerId}: ${entryId} was acknowledged, ${next} is next`,
    )
    const { end } = ledger
    this.#report.holds(
      end === undefined || entryId <= end,
      'I3',
      () => `ledger ${ledgerId}: ${entryId} was acknowledged behind the end ${end}`,
    )
    const holders = this.#holders(ledgerId, entryId)
    const owners = this.#owners(ledgerId, entryId) ?? holders
    const copies = holders.filter((bookie) => owners.includes(bookie)).length
    this.#report.holds(
      copies >= ledger.ackQuorumSize,
      'I1',
      () =>
        `ledger ${ledgerId}: ${entryId} was acknowledged with ${copies} copies: by ` +
        `${holders.join()}, and it belongs to ${owners.join()}`,
    )
    ledger.acked.push(payload)
    this.#saw(ledgerId, entryId, payload)
  }

  /** Its writer, a recoverer or the metadata says that it ends with `last`. */
  closed(ledgerId: bigint, last: number, who: string): void {
    const ledger = this.#of(ledgerId)
    const { end } = ledger
    this.#report.holds(
      end === undefined || end === last,
      'I2',
      () => `ledger ${ledgerId} ends with ${end}, and for ${who} with ${last}`,
    )
    ledger.end ??= last
    this.#report.holds(
      ledger.acked.length - 1 <= last,
      'I1',
      () => `ledger ${ledgerId} ends with ${last}, acknowledged were ${ledger.acked.length}`,
    )
    this.#report.holds(
      ledger.told <= last,
      'I5',
      () => `ledger ${ledgerId} ends with ${last}, and ${ledger.told} was confirmed to a reader`,
    )
  }

  /** A handle says how far the ledger may be read. */
  confirmed(ledgerId: bigint, handle: string, lac: number): void {
    const ledger = this.#of(ledgerId)
    const before = ledger.confirmed.get(handle) ?? -1
    const beyond = ledger.end !== undefined && lac > ledger.end
    this.#report.holds(
      lac >= before,
      'I5',
      () => `ledger ${ledgerId}: ${handle} was confirmed ${before}, then ${lac}`,
    )
    this.#report.holds(
      !beyond && lac < ledger.attempts.size,
      'I5',
      () => `ledger ${ledgerId}: ${lac} confirmed to ${handle}, which is beyond what there can be`,
    )
    const copies = lac < 0 ? Infinity : this.#holders(ledgerId, lac).length
    this.#report.holds(
      copies >= ledger.ackQuorumSize,
      'I5',
      () => `ledger ${ledgerId}: ${lac} was confirmed to ${handle}, and has ${copies} copies`,
    )
    ledger.confirmed.set(handle, lac)
    ledger.told = Math.max(ledger.told, lac)
  }

  read(ledgerId: bigint, entryId: number, payload: Buffer): void {
    this.#saw(ledgerId, entryId, payload)
  }

  /** From the call on it need not be there. */
  deleting(ledgerId: bigint): void {
    this.#of(ledgerId).deleted = true
  }

  /** The last word: what a client finds after everything was started anew. */
  final(ledgerId: bigint, last: number, entries: readonly Buffer[]): void {
    const ledger = this.#of(ledgerId)
    this.closed(ledgerId, last, 'the last reader')
    this.#report.holds(
      entries.length === last + 1,
      'I6',
      () => `ledger ${ledgerId} has ${last + 1} entries, ${entries.length} were delivered`,
    )
    for (const [entryId, payload] of entries.entries()) this.#saw(ledgerId, entryId, payload)
    for (const [entryId, payload] of ledger.acked.entries()) {
      const there = entries[entryId]
      this.#report.holds(
        there !== undefined && there.equals(payload),
        'I1',
        () => `ledger ${ledgerId}: the acknowledged entry ${entryId} is not there`,
      )
    }
  }

  /** The fragments of a ledger that is closed. */
  fragments(ledgerId: bigint, fragments: readonly Fragment[]): void {
    const { ackQuorumSize, acked } = this.#of(ledgerId)
    const keys = fragments.map(({ firstEntryId }) => firstEntryId)
    const ascending = keys.every((key, at) => (at === 0 ? key === 0 : key > (keys[at - 1] ?? key)))
    this.#report.holds(ascending, 'I8', () => `ledger ${ledgerId} has fragments at ${keys.join()}`)
    for (const entryId of acked.keys()) {
      const owner = fragments.findLast(({ firstEntryId }) => firstEntryId <= entryId)
      const holders = this.#holders(ledgerId, entryId)
      const copies = owner?.ensemble.filter((bookie) => holders.includes(bookie)).length ?? 0
      this.#report.holds(
        copies >= ackQuorumSize,
        'I8',
        () =>
          `ledger ${ledgerId}: ${entryId} belongs to ${owner?.ensemble.join()}, and was ` +
          `acknowledged by ${holders.join()}`,
      )
    }
  }

  #saw(ledgerId: bigint, entryId: number, payload: Buffer): void {
    const ledger = this.#of(ledgerId)
    const key = payload.toString('latin1')
    const attempt = ledger.attempts.get(key)
    const what = `ledger ${ledgerId}, entry ${entryId}: ${nameOf(payload)}`
    // Ids follow the order of appends; what was refused took none.
    const known = attempt !== undefined && attempt >= entryId
    this.#report.holds(known, 'I6', () => `${what} was never appended there`)
    const before = ledger.seen.get(entryId)
    const same = before === undefined || before.equals(payload)
    this.#report.holds(same, 'I7', () => `${what}, and before ${nameOf(before ?? payload)}`)
    const otherId = ledger.ids.get(key) ?? entryId
    this.#report.holds(otherId === entryId, 'I7', () => `${what} is also entry ${otherId}`)
    ledger.seen.set(entryId, payload)
    ledger.ids.set(key, entryId)
  }

  #of(ledgerId: bigint): Ledger {
    const ledger = this.#ledgers.get(ledgerId)
    if (ledger === undefined) throw new Error(`the checker knows no ledger ${ledgerId}`)
    return ledger
  }
}
