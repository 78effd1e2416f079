// What stands on a journal, as small as it can be: it remembers what was appended, what was
// reported durable, and after a start what was replayed. Payloads are functions of their ids, so
// that wrong bytes are seen.
import { recordTypes } from '../../src/bookie/journal/contract.ts'
import type {
  BookieJournal,
  JournalOwner,
  RecordPlace,
  RecordType,
} from '../../src/bookie/journal/contract.ts'
import {
  type BookieIdentity,
  type BookieStore,
  type BookieStoreOptions,
  openBookieStore,
} from '../../src/bookie/identity/open.ts'
import { QuireError } from '../../src/errors.ts'
import type { Io, Logger } from '../../src/io/index.ts'

export const quiet: Logger = {
  child: () => quiet,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export const small: { segmentBytes: number; arenas: number; spareSegments: number } = {
  segmentBytes: 64 * 1024,
  arenas: 3,
  spareSegments: 1,
}

/** The entry of an id: ids, then bytes that depend on them. */
export function entryOf(ledger: number, id: number, size: number): Buffer {
  const bytes = Buffer.alloc(Math.max(size, 32))
  for (let at = 32; at < bytes.length; at++) bytes[at] = (ledger * 7 + id * 31 + at) & 0xff
  bytes.writeBigInt64BE(BigInt(ledger), 0)
  bytes.writeBigInt64BE(BigInt(id), 8)
  bytes.writeBigInt64BE(-1n, 16)
  return bytes
}

export const keyOf = (ledger: number): Buffer => {
  const bytes = Buffer.alloc(28, ledger & 0xff)
  bytes.writeBigInt64BE(BigInt(ledger), 0)
  return bytes
}

interface Held {
  readonly place: RecordPlace
  readonly bytes: Buffer
}

export class JournalModel implements JournalOwner {
  /** By "ledger/entry". */
  readonly entries: Map<string, Held> = new Map<string, Held>()
  readonly fences: Set<number> = new Set<number>()
  readonly tombstones: Set<number> = new Set<number>()
  /** What each sequence number was: "add 1/2", "fence 1". */
  readonly log: Map<number, string> = new Map<number, string>()
  durableSequence = 0
  failure: Error | undefined
  writables = 0
  starvations = 0
  replayed = 0
  evacuations = 0
  /** Replay found something that nobody ever wrote. */
  readonly wrong: string[] = []
  /** Bytes of entries are compared when they are replayed. */
  readonly checksBytes: boolean
  onDurable: (sequence: number) => void = () => undefined
  onWritable: () => void = () => undefined
  #journal: BookieJournal | undefined

  constructor(options: { checksBytes?: boolean } = {}) {
    this.checksBytes = options.checksBytes ?? true
  }

  attach(journal: BookieJournal): void {
    this.#journal = journal
    this.durableSequence = journal.durableSequence
    for (const { place } of this.entries.values()) journal.count(place.slot, 1)
  }

  get journal(): BookieJournal {
    if (this.#journal === undefined) throw new Error('the model has no journal yet')
    return this.#journal
  }

  add(ledger: number, id: number, size = 100, urgent = false): boolean {
    const bytes = entryOf(ledger, id, size)
    const place = this.#append(recordTypes.entry, bytes, { what: `add ${ledger}/${id}`, urgent })
    if (place === undefined) return false
    this.entries.set(`${ledger}/${id}`, { place, bytes })
    this.journal.count(place.slot, 1)
    return true
  }

  fence(ledger: number): boolean {
    const how = { what: `fence ${ledger}`, urgent: true }
    if (this.#append(recordTypes.fence, keyOf(ledger), how) === undefined) return false
    this.fences.add(ledger)
    return true
  }

  /** Gives all entries of a ledger up, the tombstone first. */
  remove(ledger: number): boolean {
    const bytes = keyOf(ledger).subarray(0, 8)
    const how = { what: `remove ${ledger}`, urgent: true }
    if (this.#append(recordTypes.tombstone, bytes, how) === undefined) return false
    this.tombstones.add(ledger)
    for (const place of this.#giveUp(ledger)) this.journal.count(place.slot, -1)
    return true
  }

  #giveUp(ledger: number): RecordPlace[] {
    const places: RecordPlace[] = []
    for (const [key, { place }] of this.entries) {
      if (!key.startsWith(`${ledger}/`)) continue
      this.entries.delete(key)
      places.push(place)
    }
    return places
  }

  #append(
    type: RecordType,
    bytes: Buffer,
    how: { what: string; urgent: boolean },
  ): RecordPlace | undefined {
    const place = { slot: -1, offset8: -1 }
    if (!this.journal.append(type, bytes, 0, bytes.length, place, how.urgent)) return undefined
    this.log.set(this.journal.sequence, how.what)
    return place
  }

  /** Resolves when everything appended so far is durable. */
  async settled(): Promise<void> {
    const wanted = this.journal.sequence
    while (this.durableSequence < wanted) {
      await new Promise<void>((resolve, reject) => {
        this.onDurable = () => resolve()
        if (this.failure !== undefined) reject(this.failure)
      })
    }
  }

  /** Adds, waiting for room where there is none; not if the journal failed. */
  async addWaiting(ledger: number, id: number, size = 100): Promise<void> {
    while (this.failure === undefined && !this.add(ledger, id, size)) {
      await new Promise<void>((resolve) => {
        this.onWritable = resolve
      })
    }
  }

  async read(ledger: number, id: number): Promise<Buffer> {
    const held = this.entries.get(`${ledger}/${id}`)
    if (held === undefined) throw new Error(`there is no entry ${ledger}/${id}`)
    const { slot, offset8 } = held.place
    return this.journal.view(slot, offset8) ?? this.journal.read(slot, offset8)
  }

  // ---- what the journal calls

  replay(type: RecordType, place: RecordPlace, bytes: Buffer, start: number, end: number): void {
    this.replayed += 1
    const payload = Buffer.from(bytes.subarray(start, end))
    const ledger = Number(payload.readBigInt64BE(0))
    if (type === recordTypes.entry) {
      const id = Number(payload.readBigInt64BE(8))
      const expected = entryOf(ledger, id, payload.length)
      if (this.checksBytes && !expected.equals(payload)) this.wrong.push(`bytes of ${ledger}/${id}`)
      if (this.tombstones.has(ledger)) return
      if (this.entries.has(`${ledger}/${id}`)) this.wrong.push(`${ledger}/${id} twice`)
      this.entries.set(`${ledger}/${id}`, { place: { ...place }, bytes: expected })
    } else if (type === recordTypes.fence) {
      if (!payload.equals(keyOf(ledger))) this.wrong.push(`key of ${ledger}`)
      this.fences.add(ledger)
    } else if (type === recordTypes.tombstone) {
      this.tombstones.add(ledger)
      this.#giveUp(ledger)
    } else {
      this.wrong.push(`a record of type ${type}`)
    }
  }

  durable(sequence: number): void {
    if (this.failure !== undefined) throw new Error('durable after failed')
    if (sequence <= this.durableSequence) throw new Error('durable goes back')
    this.durableSequence = sequence
    this.onDurable(sequence)
  }

  failed(error: Error): void {
    if (this.failure !== undefined) throw new Error('failed twice')
    this.failure = error
    this.onDurable(this.durableSequence)
    this.onWritable()
  }

  writable(): void {
    this.writables += 1
    this.onWritable()
  }

  starved(): void {
    this.starvations += 1
  }

  evacuate(
    records: Iterable<{ type: RecordType; bytes: Buffer; start: number; end: number }>,
  ): void {
    this.evacuations += 1
    for (const { type, bytes, start, end } of records) {
      const ledger = Number(bytes.readBigInt64BE(start))
      const payload = bytes.subarray(start, end)
      const what = type === recordTypes.fence ? `fence ${ledger}` : `remove ${ledger}`
      if (this.#append(type, payload, { what, urgent: true }) === undefined) {
        throw new QuireError('QUIRE_DISK_FULL', 'the reserve is used up')
      }
    }
  }
}

export interface OpenModelOptions extends Partial<BookieStoreOptions> {
  readonly io: Io
  /** What the metadata knows; by default it believes the disk. */
  readonly known?: {
    bookieId?: string
    clusterId?: string
    isKnown?: boolean
    incarnation?: number
  }
  readonly model?: JournalModel
}

/** Opens the directory "/j" of a world with small segments, and attaches a model to its journal. */
export async function openModel(
  options: OpenModelOptions,
): Promise<{ store: BookieStore; model: JournalModel }> {
  const { known, model = new JournalModel(), ...rest } = options
  const store = await openBookieStore({
    logger: quiet,
    directory: '/j',
    ledgerDirectories: ['/l'],
    owner: model,
    checkIdentity: async (onDisk: BookieIdentity | undefined) => ({
      clusterId: 'cluster',
      bookieId: 'bookie-1',
      isKnown: false,
      incarnation: onDisk?.incarnation ?? 0,
      ...known,
    }),
    ...small,
    ...rest,
  })
  model.attach(store.journal)
  return { store, model }
}
