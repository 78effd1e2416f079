// A small honest bookie in memory, speaking V3 as src/wire has it, and a network that delivers in
// arbitrary pieces, late. It takes what was written only when it delivers it: whoever reuses memory
// before it was flushed is found out.

import { QuireError } from '../../src/errors.ts'
import type { Address, Connection, ConnectionHandler, Network } from '../../src/io/network.ts'
import { operations, requestFlags, statuses } from '../../src/wire/bookie-messages.ts'
import type { BookieRequest, Status } from '../../src/wire/bookie-messages.ts'
import { encodeReadLacResponse, encodeWriteLacResponse } from '../../src/wire/bookie-answers.ts'
import { createRequest, decodeRequest } from '../../src/wire/bookie-request.ts'
import {
  addResponseBytesMax,
  encodeReadResponse,
  encodeReadResponseHeader,
  encodeReadResponseTail,
  writeAddResponse,
} from '../../src/wire/bookie-response.ts'
import { entryLac, lacPacketLac } from '../../src/wire/entry.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { ledgerIdFromHalves } from '../../src/wire/int64.ts'

export interface StoredLedger {
  readonly key: string
  fenced: boolean
  readonly entries: Map<number, Buffer>
  lac: number
  explicitLac: Buffer | undefined
}

/** What a request is, for a test that interferes. */
export interface Seen {
  readonly operation: 'add' | 'read' | 'fence' | 'poll' | 'readLac' | 'writeLac'
  readonly ledgerId: bigint
  readonly entryId: number
  readonly recovery: boolean
}

/**
 * `serve`: as it should. `hang`: no effect, no answer. `mute`: done, and no answer. `hold`: done,
 * answered at `release`.
 */
export type Verdict = 'serve' | 'hang' | 'mute' | 'hold' | Status

type Reply = (bytes: Buffer) => void

export class HonestBookie {
  readonly id: string
  readonly ledgers: Map<bigint, StoredLedger> = new Map()
  readonly seen: Seen[] = []
  interfere: (seen: Seen) => Verdict = () => 'serve'
  readonly #held: (() => void)[] = []
  #watchers: { ledgerId: bigint; above: number; wake: () => void }[] = []

  constructor(id: string) {
    this.id = id
  }

  entriesOf(ledgerId: bigint): number[] {
    return [...(this.ledgers.get(ledgerId)?.entries.keys() ?? [])].sort((a, b) => a - b)
  }

  payload(ledgerId: bigint, entryId: number): string | undefined {
    return this.ledgers.get(ledgerId)?.entries.get(entryId)?.subarray(36).toString()
  }

  /** Answers that were held leave, in the order given by `order`. */
  release(order: (held: (() => void)[]) => (() => void)[] = (held) => held): void {
    for (const reply of order(this.#held.splice(0))) reply()
  }

  get heldCount(): number {
    return this.#held.length
  }

  handle(request: BookieRequest, reply: Reply): void {
    const seen = describe(request)
    this.seen.push(seen)
    const verdict = this.interfere(seen)
    if (verdict === 'hang') return
    const answer = (bytes: Buffer): void => {
      if (verdict === 'hold') this.#held.push(() => reply(bytes))
      else if (verdict !== 'mute') reply(bytes)
    }
    const status = typeof verdict === 'number' ? verdict : undefined
    if (seen.operation === 'add') this.#add(request, answer, status)
    else if (seen.operation === 'poll') this.#poll(request, answer, status)
    else if (seen.operation === 'readLac') this.#readLac(request, answer)
    else if (seen.operation === 'writeLac') this.#writeLac(request, answer)
    else this.#read(request, answer, status)
  }

  #ledger(request: BookieRequest): StoredLedger | undefined {
    return this.ledgers.get(ledgerIdOf(request))
  }

  #keyed(request: BookieRequest): StoredLedger | undefined {
    const key = request.bytes.toString('hex', request.keyStart, request.keyEnd)
    const id = ledgerIdOf(request)
    const known = this.ledgers.get(id)
    if (known) return known.key === key ? known : undefined
    const made = { key, fenced: false, entries: new Map(), lac: -1, explicitLac: undefined }
    this.ledgers.set(id, made)
    return made
  }

  #add(request: BookieRequest, reply: Reply, forced: Status | undefined): void {
    const ledger = forced === undefined ? this.#keyed(request) : undefined
    const recovery = (request.flags & requestFlags.recovery) !== 0
    let status: Status = forced ?? statuses.ok
    if (forced === undefined && !ledger) status = statuses.unauthorized
    if (ledger?.fenced && !recovery) status = statuses.fenced
    if (ledger && status === statuses.ok) {
      const entry = Buffer.from(request.bytes.subarray(request.bodyStart, request.bodyEnd))
      if (!ledger.entries.has(request.entryId)) ledger.entries.set(request.entryId, entry)
      this.#advance(ledgerIdOf(request), ledger, entryLac(entry, 0))
    }
    const target = Buffer.alloc(addResponseBytesMax)
    const fields = { ...idsOf(request), status, protocol: 3 as const, version: 3 }
    reply(target.subarray(0, writeAddResponse(target, 0, fields)))
  }

  #advance(ledgerId: bigint, ledger: StoredLedger, lac: number): void {
    ledger.lac = Math.max(ledger.lac, lac)
    const woken = this.#watchers.filter((w) => w.ledgerId === ledgerId && w.above < ledger.lac)
    this.#watchers = this.#watchers.filter((watcher) => !woken.includes(watcher))
    for (const { wake } of woken) wake()
  }

  #read(request: BookieRequest, reply: Reply, forced: Status | undefined): void {
    const fence = (request.flags & requestFlags.fence) !== 0
    const ledger = fence ? this.#keyed(request) : this.#ledger(request)
    if (fence && !ledger) return reply(readAnswer(request, statuses.unauthorized, {}))
    if (forced !== undefined) return reply(readAnswer(request, forced, {}))
    if (ledger && fence) ledger.fenced = true
    if (!ledger) return reply(readAnswer(request, statuses.noLedger, {}))
    const wanted = request.entryId === -1 ? Math.max(-1, ...ledger.entries.keys()) : request.entryId
    const entry = ledger.entries.get(wanted)
    const status = entry ? statuses.ok : statuses.noEntry
    reply(readAnswer(request, status, { entry, maxLac: entry && !fence ? ledger.lac : undefined }))
  }

  #poll(request: BookieRequest, reply: Reply, forced: Status | undefined): void {
    const ledger = this.#ledger(request)
    if (forced !== undefined) return reply(readAnswer(request, forced, {}))
    if (!ledger) return reply(readAnswer(request, statuses.noLedger, {}))
    const copy = { ...request, bytes: Buffer.alloc(0) }
    const wake = (): void => reply(readAnswer(copy, statuses.ok, { maxLac: ledger.lac }))
    if (ledger.lac > request.previousLac) wake()
    else this.#watchers.push({ ledgerId: ledgerIdOf(request), above: request.previousLac, wake })
  }

  #readLac(request: BookieRequest, reply: Reply): void {
    const ledger = this.#ledger(request)
    const last = ledger?.entries.get(Math.max(-1, ...ledger.entries.keys()))
    const none = !last && !ledger?.explicitLac
    const status = none ? statuses.noEntry : statuses.ok
    const found = { lacPacket: ledger?.explicitLac, lastEntry: last }
    reply(encodeReadLacResponse({ ...idsOf(request), status }, found))
  }

  #writeLac(request: BookieRequest, reply: Reply): void {
    const ledger = this.#keyed(request)
    if (ledger) {
      ledger.explicitLac = Buffer.from(request.bytes.subarray(request.bodyStart, request.bodyEnd))
      this.#advance(ledgerIdOf(request), ledger, lacPacketLac(ledger.explicitLac, 0))
    }
    const status = ledger ? statuses.ok : statuses.unauthorized
    reply(encodeWriteLacResponse({ ...idsOf(request), status }))
  }
}

const ledgerIdOf = (request: BookieRequest): bigint =>
  ledgerIdFromHalves(request.ledgerHigh, request.ledgerLow)

const idsOf = ({ txnHigh, txnLow, ledgerHigh, ledgerLow, entryId }: BookieRequest) => ({
  txnHigh,
  txnLow,
  ledgerHigh,
  ledgerLow,
  entryId,
})

function describe(request: BookieRequest): Seen {
  const fence = (request.flags & requestFlags.fence) !== 0
  const names = new Map<number, Seen['operation']>([
    [operations.add, 'add'],
    [operations.readLac, 'readLac'],
    [operations.writeLac, 'writeLac'],
    [operations.read, request.hasPreviousLac ? 'poll' : fence ? 'fence' : 'read'],
  ])
  const operation = names.get(request.operation)
  if (!operation) throw new Error(`unexpected operation ${request.rawOperation}`)
  const recovery = (request.flags & requestFlags.recovery) !== 0
  return { operation, ledgerId: ledgerIdOf(request), entryId: request.entryId, recovery }
}

function readAnswer(
  request: BookieRequest,
  status: Status,
  { entry, maxLac }: { entry?: Buffer | undefined; maxLac?: number | undefined },
): Buffer {
  const ids = { ...idsOf(request), status, protocol: 3 as const, version: 3 }
  const fields = { ...ids, entryBytes: entry?.length, maxLac }
  if (!entry) return encodeReadResponse(fields)
  return Buffer.concat([encodeReadResponseHeader(fields), entry, encodeReadResponseTail(fields)])
}

/** Bookies behind one network; the port is the bookie's number. */
export class BookieCluster implements Network {
  readonly bookies: HonestBookie[]
  readonly #down = new Set<number>()
  readonly #connections = new Set<Pipe>()
  /** Sizes of the pieces in which bytes arrive. */
  pieceBytes: () => number = () => 1_000_000
  connects = 0

  constructor(count: number) {
    this.bookies = Array.from({ length: count }, (_, index) => new HonestBookie(`bookie-${index}`))
  }

  bookie(index: number): HonestBookie {
    const bookie = this.bookies[index]
    if (!bookie) throw new Error(`no bookie ${index}`)
    return bookie
  }

  /** One more, empty; its port. */
  add(): number {
    return this.bookies.push(new HonestBookie(`bookie-${this.bookies.length}`)) - 1
  }

  /** Ends its connections and refuses new ones. What it holds stays. */
  stop(index: number): void {
    this.#down.add(index)
    this.disconnect(index)
  }

  start(index: number): void {
    this.#down.delete(index)
  }

  disconnect(index: number): void {
    for (const pipe of this.#connections) {
      if (pipe.remote.port === index) pipe.cut()
    }
  }

  async connect(address: Address): Promise<Connection> {
    this.connects++
    const bookie = this.bookies[address.port]
    if (!bookie || this.#down.has(address.port)) {
      throw new QuireError('QUIRE_CONNECTION_LOST', `bookie ${address.port} refused`)
    }
    const pipe = new Pipe(address, bookie, () => this.pieceBytes())
    this.#connections.add(pipe)
    return pipe
  }

  async listen(): Promise<never> {
    throw new Error('nobody listens here')
  }
}

class Pipe implements Connection {
  readonly remote: Address
  readonly #bookie: HonestBookie
  readonly #pieceBytes: () => number
  #handler: ConnectionHandler | undefined
  readonly #out: { bytes: Uint8Array; flushed: ((error?: Error | null) => void) | undefined }[] = []
  readonly #in: Buffer[] = []
  readonly #reader = new FrameReader()
  readonly #request = createRequest()
  #scheduled = false
  #ended = false

  constructor(remote: Address, bookie: HonestBookie, pieceBytes: () => number) {
    this.remote = remote
    this.#bookie = bookie
    this.#pieceBytes = pieceBytes
  }

  get queuedBytes(): number {
    return this.#out.reduce((sum, { bytes }) => sum + bytes.length, 0)
  }

  start(handler: ConnectionHandler): void {
    this.#handler = handler
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    this.#out.push({ bytes, flushed })
    this.#wake()
    return true
  }

  cork(): void {
    this.#wake()
  }

  uncork(): void {
    this.#wake()
  }

  pause(): void {
    throw new Error('not needed')
  }

  resume(): void {
    throw new Error('not needed')
  }

  end(): void {
    this.cut()
  }

  destroy(): void {
    this.cut()
  }

  cut(): void {
    if (this.#ended) return
    this.#ended = true
    const error = new QuireError('QUIRE_CONNECTION_LOST', 'cut')
    const lost = this.#out.splice(0)
    setImmediate(() => {
      for (const { flushed } of lost) flushed?.(error)
      this.#handler?.close(error)
    })
  }

  #wake(): void {
    if (this.#scheduled || this.#ended) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#step()
    })
  }

  /**
   * Half of what waits arrives in this turn, so that what is written meanwhile overlaps with it.
   */
  #step(): void {
    if (this.#ended) return
    for (const { bytes, flushed } of this.#out.splice(0, Math.ceil(this.#out.length / 2))) {
      for (const piece of this.#pieces(Buffer.from(bytes))) this.#serve(piece)
      flushed?.()
    }
    const answers = Buffer.concat(this.#in.splice(0))
    for (const piece of this.#pieces(answers)) {
      if (!this.#ended) this.#handler?.data(Buffer.from(piece))
    }
    if (this.#out.length > 0) this.#wake()
  }

  *#pieces(bytes: Buffer): Generator<Buffer> {
    for (let at = 0; at < bytes.length;) {
      const next = at + Math.max(1, this.#pieceBytes())
      yield bytes.subarray(at, next)
      at = next
    }
  }

  #serve(piece: Buffer): void {
    const problem = this.#reader.push(piece, (bytes, start, end) => {
      const decoded = decodeRequest(bytes, start, end, 'v3-first', this.#request)
      if (decoded === 'bad') throw new Error('a client sends whole requests')
      this.#bookie.handle(this.#request, (answer) => {
        this.#in.push(answer)
        this.#wake()
      })
    })
    if (problem) throw new Error(problem.message)
  }
}
