// The metadata of ledgers and logs as it is committed, each version of each once.
//
// I12 versions grow by one, and each change is one that A1 allows; what is closed has an ack quorum
// of every entry where its fragments say (I8), and one end (I2); one that a recovery closed, no ack
// quorum of its last ensemble that was not fenced (I9). I13 a ledger takes entries of a
// log's owner only after the log names it. I14 nothing is deleted that is open, or that a log names.

import { QuireError } from '../../../src/errors.ts'
import { decodeLogRecord } from '../../../src/embedded/log/core/log-record-codec.ts'
import type { LogRecord } from '../../../src/embedded/log/core/log-record.ts'
import { readLedgerMark } from '../../../src/embedded/log/parts.ts'
import { bookieAddress } from '../../../src/wire/bookie-service-info.ts'
import { decodeLedgerMetadata } from '../../../src/wire/ledger-metadata-codec.ts'
import type { LedgerMetadata } from '../../../src/wire/ledger-metadata.ts'
import { ledgerIdOfPath } from '../../../src/wire/ledger-path.ts'
import { ledgerProblem } from './ledger-changes.ts'
import type { Holders } from './ledgers.ts'
import { logProblem } from './log-changes.ts'
import type { Report } from '../../../src/simulation/report.ts'

export interface MetadataRow {
  readonly path: string
  readonly version: number
  readonly data: Uint8Array
}

export interface MetadataParts {
  readonly report: Report
  readonly holders: Holders
  /** Bookies that have answered a fence of the ledger. */
  readonly fenced: (ledgerId: bigint) => readonly string[]
  /** Bookies that acknowledged an entry to the ledger's writer. Default: none. */
  readonly written?: (ledgerId: bigint, entryId: number) => readonly string[]
  /** Entries that a ledger's writer has acknowledged; undefined where nobody knows. */
  readonly ackedCount: (ledgerId: bigint) => number | undefined
  /** A ledger was closed. */
  readonly closed: (ledgerId: bigint, lastEntryId: number) => void
  /** Logs on which replicated states live. */
  readonly states: ReadonlySet<string>
  /** The metadata of a ledger was changed. */
  readonly changed?: (ledgerId: bigint, after: LedgerMetadata) => void
  /** Told when a log has a new owner. */
  readonly owned?: () => void
}

interface Node {
  version: number
  data: Buffer
  /** Written, and whether they are there is not known yet: by version. */
  readonly attempts: Map<number, Buffer>
}

const ledgerPath = /^\/ledgers\/\d{2}\/\d{4}\/L\d{4}$/
const logPath = /^\/quire\/logs\/([^/]+)$/
const bookiePath = /^\/ledgers\/available\/(?:readonly\/)?([^/]+)$/

const ledgerIdOf = (path: string): bigint => ledgerIdOfPath('/ledgers', 'hierarchical', path)

export class MetadataChecker {
  readonly #parts: MetadataParts
  readonly #nodes = new Map<string, Node>()
  readonly #ledgers = new Map<bigint, LedgerMetadata>()
  readonly #logs = new Map<string, LogRecord>()
  /** Ledgers that a log has ever named as its segment. */
  readonly #segments = new Set<bigint>()
  readonly #machines = new Map<string, string>()
  /** Ledgers whose deletion was, or is being, committed. */
  readonly #leaving = new Set<bigint>()
  /** Of the log of a group that replicates the metadata: up to here everything was seen. */
  appliedIndex: number = 0

  constructor(parts: MetadataParts) {
    this.#parts = parts
  }

  /** The write is under way: it may be there from now on. */
  attempted({ path, version, data }: MetadataRow): void {
    if (this.#watches(path)) this.#of(path).attempts.set(version, Buffer.from(data))
  }

  /** The row is there. */
  saw({ path, version, data }: MetadataRow): void {
    const bookie = bookiePath.exec(path)?.[1]
    if (bookie !== undefined && bookie !== 'readonly') {
      this.#machines.set(bookie, bookieAddress(bookie, data).host)
    }
    if (!this.#watches(path)) return
    const node = this.#of(path)
    if (version === node.version) {
      const same = node.data.equals(data)
      this.#holds(same, 'I12', () => `${path} has two values of version ${version}`)
    }
    while (node.version < version) {
      const next = node.version + 1
      const value = next === version ? Buffer.from(data) : node.attempts.get(next)
      this.#holds(
        value !== undefined,
        'I12',
        () => `${path} went from ${node.version} to ${version}`,
      )
      node.attempts.delete(next)
      node.version = next
      if (value === undefined) continue
      node.data = value
      this.#changed(path, value)
    }
  }

  /** The node goes, or has gone: nobody need hold anything of a ledger from then on. */
  removing(path: string): void {
    if (ledgerPath.test(path)) this.#leaving.add(ledgerIdOf(path))
  }

  isLeaving(ledgerId: bigint): boolean {
    return this.#leaving.has(ledgerId)
  }

  /** As it was last committed. */
  ledger(ledgerId: bigint): LedgerMetadata | undefined {
    return this.#ledgers.get(ledgerId)
  }

  removed(path: string): void {
    if (!this.#watches(path)) return
    this.#nodes.delete(path)
    if (!ledgerPath.test(path)) return
    const ledgerId = ledgerIdOf(path)
    const state = this.#ledgers.get(ledgerId)?.state
    this.#holds(state === 'closed', 'I14', () => `ledger ${ledgerId} was deleted while ${state}`)
    for (const { name, segments, snapshots } of this.#logs.values()) {
      const named = [...segments, ...snapshots].some((each) => each.ledgerId === ledgerId)
      this.#holds(
        !named,
        'I14',
        () => `ledger ${ledgerId} was deleted, and the log ${name} names it`,
      )
    }
  }

  /** Machines of the bookies that an entry belongs to now; undefined: nobody knows the ledger. */
  owners(ledgerId: bigint, entryId: number): readonly string[] | undefined {
    const fragments = this.#ledgers.get(ledgerId)?.fragments
    const owner = fragments?.findLast(({ firstEntryId }) => firstEntryId <= entryId)
    return owner?.ensemble.map((id) => this.machineOf(id))
  }

  /** Where a bookie was registered last; its id when it never was. */
  machineOf(bookieId: string): string {
    return this.#machines.get(bookieId) ?? bookieId
  }

  /** A bookie has taken an entry of the ledger's writer. */
  written(ledgerId: bigint): void {
    const custom = this.#ledgers.get(ledgerId)?.customMetadata
    if (!custom || !readLedgerMark(custom) || this.#segments.has(ledgerId)) return
    const isSegment = Buffer.from(custom.get('quire.kind') ?? []).toString() === 'segment'
    this.#holds(!isSegment, 'I13', () => `ledger ${ledgerId} takes entries, and no log names it`)
  }

  #changed(path: string, data: Buffer): void {
    const name = logPath.exec(path)?.[1]
    try {
      if (name !== undefined) this.#logChanged(name, decodeLogRecord(data, name))
      else this.#ledgerChanged(ledgerIdOf(path), decodeLedgerMetadata(data))
    } catch (error) {
      if (!QuireError.is(error)) throw error
      const checker = name === undefined ? 'I12' : 'log segments'
      this.#parts.report.violated(checker, `${path}: ${error.message}`)
    }
  }

  #logChanged(name: string, after: LogRecord): void {
    if (this.#logs.get(name)?.ownerEpoch !== after.ownerEpoch) this.#parts.owned?.()
    const problem = logProblem(this.#logs.get(name), after, this.#parts.states.has(name))
    if (problem) this.#parts.report.violated(problem.checker, `log ${name}: ${problem.text}`)
    this.#logs.set(name, after)
    for (const { ledgerId, endPosition } of after.segments) {
      this.#segments.add(ledgerId)
      const state = this.#ledgers.get(ledgerId)?.state ?? 'closed'
      this.#holds(
        endPosition === undefined || state === 'closed',
        'log segments',
        () => `log ${name}: an end is recorded of ledger ${ledgerId}, which is ${state}`,
      )
    }
  }

  #ledgerChanged(ledgerId: bigint, after: LedgerMetadata): void {
    const before = this.#ledgers.get(ledgerId)
    const ackedCount = this.#parts.ackedCount(ledgerId)
    const problem = ledgerProblem({ before, after, ackedCount })
    if (problem !== undefined) this.#parts.report.violated('I12', `ledger ${ledgerId} ${problem}`)
    this.#ledgers.set(ledgerId, after)
    this.#parts.changed?.(ledgerId, after)
    if (after.state !== 'closed' || before?.state === 'closed') return
    this.#parts.closed(ledgerId, after.lastEntryId)
    if (before?.state === 'in-recovery') this.#checkFences(ledgerId, before, after.lastEntryId + 1)
    for (let entryId = 0; entryId <= after.lastEntryId; entryId += 1) {
      const owners = this.owners(ledgerId, entryId)
      const holders = this.#parts.holders(ledgerId, entryId)
      const copies = owners?.filter((name) => holders.includes(name)).length ?? 0
      const text = `its entry ${entryId} belongs to ${owners?.join()}, and ${holders.join()} have it`
      const enough = copies >= after.ackQuorumSize
      this.#holds(enough, 'I8', () => `ledger ${ledgerId} is closed; ${text}`)
    }
  }

  /**
   * Its writer can have nothing acknowledged any more: nothing new anywhere, nor the entry behind
   * the end, some copies of which may be there.
   */
  #checkFences(
    ledgerId: bigint,
    { ackQuorumSize, writeQuorumSize, ...before }: LedgerMetadata,
    next: number,
  ): void {
    const ensemble = before.fragments.at(-1)?.ensemble ?? []
    const fenced = new Set(this.#parts.fenced(ledgerId))
    const setAt = (entryId: number): string[] =>
      Array.from({ length: writeQuorumSize }, (_, at) =>
        this.machineOf(ensemble[(entryId + at) % ensemble.length] ?? ''),
      )
    const isFenced = (name: string): boolean => fenced.has(name)
    const open = [...ensemble.keys()].map(setAt).find((set) => {
      return set.filter((name) => !isFenced(name)).length >= ackQuorumSize
    })
    const others = open?.filter((name) => !isFenced(name)).join()
    const text = () =>
      `ledger ${ledgerId} was recovered, and ${others} of ${open?.join()} not fenced`
    this.#holds(open === undefined, 'I9', text)
    if (open !== undefined) return
    const written = this.#parts.written?.(ledgerId, next) ?? []
    const may = setAt(next).filter((name) => !isFenced(name) || written.includes(name))
    this.#holds(
      may.length < ackQuorumSize,
      'I3',
      () => `ledger ${ledgerId} ends before ${next}, which ${may.join()} have or may yet take`,
    )
  }

  #watches(path: string): boolean {
    return ledgerPath.test(path) || logPath.test(path)
  }

  #of(path: string): Node {
    let node = this.#nodes.get(path)
    if (node === undefined) {
      node = { version: -1, data: Buffer.alloc(0), attempts: new Map() }
      this.#nodes.set(path, node)
    }
    return node
  }

  #holds(condition: boolean, checker: string, reason: () => string): void {
    this.#parts.report.holds(condition, checker, reason)
  }
}
