// Damage to what a disk holds, and an account of it. One disk of a world is hit, never what it has
// of the metadata: of no entry with an ack quorum of two are all copies damaged. Whatever is hit,
// the node can tell (another record, the superblock or the metadata proves that something was
// there), so that it must not deny what it lost; but for `forgotten tail`, which no single node can
// notice and which happens only where enough others hold what is forgotten. A disk that is wiped
// whole is that of somebody else afterwards.

import { QuireError, type ErrorCode } from '../errors.ts'
import type { Operator } from './cluster.ts'
import { sectorBytes } from './content.ts'
import { afterPowerLoss } from './crash.ts'
import { Disk } from './disk.ts'
import {
  durableBytes,
  journalOn,
  type StoredBatch,
  type StoredJournal,
  type StoredRecord,
} from './journals.ts'
import type { World } from './world.ts'

export const damageKinds = [
  'bit flip',
  'bad sector',
  'zeroed sector',
  'garbage sector',
  'lost write',
  'misdirected write',
  'misdirected read',
  'truncated file',
  'lost file',
  'damaged superblock',
  'empty mount',
  'restored image',
  'forgotten tail',
  'wiped disk',
] as const

export type DamageKind = (typeof damageKinds)[number]

export interface DamageOptions {
  readonly world: World
  /** The node whose disk is hit. */
  readonly victim: Operator
  /** How often it is hit. Default: by the seed, once to five times. */
  readonly timesMax?: number
  /**
   * Whether the victim may forget records without being able to notice. Default: never.
   */
  readonly mayForget?: ((records: readonly StoredRecord[]) => boolean) | undefined
  /**
   * The victim replicates the metadata: no older image is put back, since nothing could tell that
   * its votes are old ones; but the whole disk may be wiped. Default false.
   */
  readonly isKeeper?: boolean
}

/** What a start that meets the damage may be refused with; none: it must start. */
const refusals: Readonly<Record<DamageKind, readonly ErrorCode[]>> = {
  'bit flip': ['QUIRE_RANGE_LOST'],
  'bad sector': ['QUIRE_RANGE_LOST', 'QUIRE_IO'],
  'zeroed sector': ['QUIRE_RANGE_LOST'],
  'garbage sector': ['QUIRE_RANGE_LOST'],
  'lost write': ['QUIRE_RANGE_LOST'],
  'misdirected write': ['QUIRE_RANGE_LOST'],
  'misdirected read': [],
  'truncated file': ['QUIRE_RANGE_LOST'],
  'lost file': ['QUIRE_RANGE_LOST', 'QUIRE_SUPERBLOCK_CORRUPT', 'QUIRE_STALE_DISK'],
  'damaged superblock': ['QUIRE_RANGE_LOST', 'QUIRE_SUPERBLOCK_CORRUPT', 'QUIRE_STALE_DISK'],
  'empty mount': ['QUIRE_IDENTITY_UNKNOWN'],
  'restored image': ['QUIRE_STALE_DISK'],
  'forgotten tail': [],
  'wiped disk': [],
}

/** What a read that was misdirected may make a start say, once. */
const passing: readonly ErrorCode[] = [
  'QUIRE_RANGE_LOST',
  'QUIRE_SUPERBLOCK_CORRUPT',
  'QUIRE_STALE_DISK',
]

/** Two of these on one disk could hide one another. */
const ofWholeFiles: ReadonlySet<DamageKind> = new Set([
  'truncated file',
  'lost file',
  'damaged superblock',
  'empty mount',
  'restored image',
  'wiped disk',
])

type Hit = (journal: StoredJournal) => readonly StoredRecord[] | undefined

export class Damage {
  readonly counts: Map<DamageKind, number> = new Map()
  readonly #options: DamageOptions
  readonly #lost = new Set<string>()
  /** With the number of events so far. */
  readonly #forgotten = new Map<string, number>()
  readonly #hits: Readonly<Record<DamageKind, Hit>>
  #label = 'damage'
  #timesLeft: number
  #image: { readonly disk: Disk; readonly incarnation: number } | undefined

  constructor(options: DamageOptions) {
    this.#options = options
    this.#timesLeft = options.timesMax ?? 1 + this.#choose(5)
    this.#hits = { ...this.#ofSectors(), ...this.#ofFiles() }
  }

  get victim(): string {
    return this.#options.victim.name
  }

  /** Whether the disk of this machine was hit. */
  isOf(machine: string): boolean {
    return machine === this.victim && this.counts.size > 0
  }

  /** Whether the machine's copy was damaged, and it can know: it must not be denied there. */
  isLost(machine: string, ledgerId: bigint, entryId: number): boolean {
    return machine === this.victim && this.#lost.has(`${ledgerId}/${entryId}`)
  }

  /** Events so far when the machine forgot a copy, without being able to know; or undefined. */
  forgottenAt(machine: string, ledgerId: bigint, entryId: number): number | undefined {
    return machine === this.victim ? this.#forgotten.get(`${ledgerId}/${entryId}`) : undefined
  }

  /**
   * Whether damage explains that starts of the machine are refused with this error, for good; or
   * that it waits to be let in, without an error.
   */
  explains(machine: string, error: unknown): boolean {
    if (machine === this.victim && this.counts.has('wiped disk')) return true
    if (machine !== this.victim || !QuireError.is(error)) return false
    return [...this.counts.keys()].some((kind) => refusals[kind].includes(error.code))
  }

  /** Whether it explains that one start was. */
  explainsOnce(machine: string, error: unknown): boolean {
    if (this.explains(machine, error)) return true
    const isMisread = machine === this.victim && this.counts.has('misdirected read')
    return isMisread && QuireError.is(error) && passing.includes(error.code)
  }

  /**
   * Hits the victim's disk, if there is something to hit and it may be hit still. What happened:
   * once an image was taken, it is put back as soon as that makes sense, in place of anything else.
   * Draws from `label`.
   */
  happen(asked: DamageKind, label: string = 'damage'): DamageKind | undefined {
    this.#label = label
    const journal = journalOn(this.#disk)
    if (this.#timesLeft === 0 || journal === undefined) return undefined
    const hitBefore = [...this.counts.keys()].some((each) => ofWholeFiles.has(each))
    const kind = this.#image !== undefined && !hitBefore ? 'restored image' : asked
    if (hitBefore && ofWholeFiles.has(kind)) return undefined
    const records = this.#hits[kind](journal)
    if (records !== undefined) this.#account(kind, records)
    return records === undefined ? undefined : kind
  }

  #account(kind: DamageKind, records: readonly StoredRecord[]): void {
    const { scheduler } = this.#options.world
    for (const { ledgerId, entryId } of records) {
      const key = `${ledgerId}/${entryId}`
      if (kind === 'forgotten tail') this.#forgotten.set(key, scheduler.events)
      else this.#lost.add(key)
    }
    this.#timesLeft -= 1
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1)
    const text = () => `damage: ${kind}, ${records.length} records`
    scheduler.tell(text, { machine: this.victim })
  }

  #ofSectors() {
    return {
      'bit flip': this.#anywhere((path, at, end) => {
        const disk = this.#disk
        const bit = at + this.#choose(end - at)
        disk.flipBit(path, bit, this.#choose(8))
        return [bit, bit + 1]
      }),
      'bad sector': this.#anywhere((path, at, end) => {
        this.#disk.breakSector(path, at)
        return [at, end]
      }),
      'zeroed sector': this.#anywhere((path, at, end) => {
        this.#disk.overwrite(path, at, new Uint8Array(end - at))
        return [at, end]
      }),
      'garbage sector': this.#anywhere((path, at, end) => {
        const garbage = Uint8Array.from({ length: end - at }, () => this.#choose(256))
        this.#disk.overwrite(path, at, garbage)
        return [at, end]
      }),
      'lost write': (journal: StoredJournal) => {
        const batch = this.#provenBatch(journal)
        if (batch === undefined) return undefined
        const old = new Uint8Array(batch.to - batch.from)
        const stale = this.#disk.stale[this.#choose(this.#disk.stale.length + 1)]
        if (stale !== undefined) old.set(stale.subarray(0, old.length))
        this.#disk.revert(batch.path, batch.from, old)
        return batch.records
      },
      'misdirected write': (journal: StoredJournal) => {
        const [from, to] = [this.#provenBatch(journal), this.#provenBatch(journal)]
        if (from === undefined || to === undefined || from.from === to.from) return undefined
        const bytes = durableBytes(this.#disk, from.path).subarray(from.from, from.to)
        const part = bytes.subarray(0, to.to - to.from)
        this.#disk.overwrite(to.path, to.from, part)
        this.#disk.overwrite(from.path, from.from, new Uint8Array(bytes.length))
        return [...from.records, ...to.records]
      },
      'misdirected read': (journal: StoredJournal) => {
        const batch = this.#provenBatch(journal)
        if (batch === undefined) return undefined
        const bytes = durableBytes(this.#disk, batch.path)
        const at = this.#sectorOf(batch)
        const other = sectorBytes * this.#choose(Math.floor(bytes.length / sectorBytes))
        this.#node.diskFaults.misreads.push({
          path: batch.path,
          at,
          right: bytes.subarray(at, at + sectorBytes),
          wrong: bytes.subarray(other, other + sectorBytes),
        })
        return []
      },
    } satisfies Partial<Record<DamageKind, Hit>>
  }

  #ofFiles() {
    return {
      'truncated file': (journal: StoredJournal) => {
        const batch = this.#provenBatch(journal)
        if (batch === undefined) return undefined
        const { path, from, to } = batch
        const size = from + this.#choose(to - from + 1)
        this.#disk.cut(path, size)
        return recordsIn(journal, path, [size, Infinity])
      },
      'lost file': (journal: StoredJournal) => {
        const superblocks = journal.superblocks.length < 2 ? [] : journal.superblocks
        const paths = [...journal.batches, ...superblocks].map(({ path }) => path)
        const path = [...new Set(paths)][this.#choose(new Set(paths).size + 1)]
        if (path === undefined) return undefined
        this.#disk.lose(path)
        return recordsIn(journal, path, [0, Infinity])
      },
      'damaged superblock': ({ superblocks }: StoredJournal) => {
        const [, older] = superblocks
        const slot = older === undefined ? undefined : superblocks[this.#choose(2)]
        if (slot === undefined) return undefined
        if (this.#choose(2) === 0) this.#disk.flipBit(slot.path, this.#choose(100))
        else this.#disk.overwrite(slot.path, 0, new Uint8Array(sectorBytes))
        return []
      },
      'empty mount': (journal: StoredJournal) => {
        this.#options.victim.cutPower('none')
        const records = allRecords(journalOn(this.#disk))
        for (const path of this.#disk.files(journal.directory)) this.#disk.lose(path)
        return records
      },
      'restored image': (journal: StoredJournal) => this.#restore(journal),
      'wiped disk': () => {
        if (this.#options.isKeeper !== true) return undefined
        this.#options.victim.cutPower('none')
        const records = allRecords(journalOn(this.#disk))
        this.#node.disk = new Disk(this.#disk.options)
        return records
      },
      'forgotten tail': () => {
        this.#options.victim.cutPower('none')
        const tail = journalOn(this.#disk)?.batches.find(({ isProven }) => !isProven)
        if (tail === undefined || this.#options.mayForget?.(tail.records) !== true) return undefined
        this.#disk.overwrite(tail.path, tail.from, new Uint8Array(tail.to - tail.from))
        return tail.records
      },
    } satisfies Partial<Record<DamageKind, Hit>>
  }

  /**
   * At first only takes the image. It is put back once the metadata has seen a later start: of the
   * present start no one could tell that the disk is an old one.
   */
  #restore(journal: StoredJournal): readonly StoredRecord[] | undefined {
    const incarnation = journal.superblocks[0]?.block.incarnation ?? 0
    const { victim } = this.#options
    const image = this.#image
    if (this.#options.isKeeper === true) return undefined
    if (image === undefined) {
      const disk = afterPowerLoss(this.#disk, 'none', () => 0)
      this.#image = { disk, incarnation }
      return undefined
    }
    if (incarnation <= image.incarnation || victim.node === undefined) return undefined
    victim.cutPower('none')
    const there = allRecords(journalOn(image.disk)).map(nameOf)
    const known = new Set(there)
    const lost = allRecords(journalOn(this.#disk)).filter((record) => !known.has(nameOf(record)))
    image.disk.capacityBytes = this.#disk.capacityBytes
    this.#node.disk = image.disk
    return lost
  }

  /** Hits sectors of a batch, a few at most; `hit` returns what it has damaged. */
  #anywhere(hit: (path: string, at: number, end: number) => readonly [number, number]): Hit {
    return (journal) => {
      const batch = this.#provenBatch(journal)
      if (batch === undefined) return undefined
      const records: StoredRecord[] = []
      for (let left = this.#choose(3); left >= 0; left -= 1) {
        const at = this.#sectorOf(batch)
        const range = hit(batch.path, at, at + sectorBytes)
        records.push(...recordsIn(journal, batch.path, range))
      }
      return records
    }
  }

  #provenBatch({ batches }: StoredJournal): StoredBatch | undefined {
    const proven = batches.filter(({ isProven }) => isProven)
    return proven[this.#choose(Math.max(1, proven.length))]
  }

  /** One of a record, mostly; of what is between records and their end, sometimes. */
  #sectorOf({ from, to, records }: StoredBatch): number {
    const record = records[this.#choose(records.length + 1)]
    const within = record === undefined ? [from, to] : [record.from, record.to]
    const at = (within[0] ?? from) + this.#choose((within[1] ?? to) - (within[0] ?? from))
    return Math.floor(at / sectorBytes) * sectorBytes
  }

  get #node() {
    return this.#options.world.node(this.victim)
  }

  get #disk(): Disk {
    return this.#node.disk
  }

  #choose(count: number): number {
    return this.#options.world.scheduler.choose(count, this.#label)
  }
}

function recordsIn(
  journal: StoredJournal,
  path: string,
  [from, to]: readonly [number, number],
): StoredRecord[] {
  const records = journal.batches.flatMap((batch) => (batch.path === path ? batch.records : []))
  return records.filter((record) => record.from < to && record.to > from)
}

function allRecords(journal: StoredJournal | undefined): StoredRecord[] {
  return journal?.batches.flatMap(({ records }) => records) ?? []
}

function nameOf({ type, ledgerId, entryId }: StoredRecord): string {
  return `${type}/${ledgerId}/${entryId}`
}
