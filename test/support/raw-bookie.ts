// One bookie, spoken to directly in V3: for tests that ask what a bookie itself acknowledged and
// holds.
import net from 'node:net'
import { decodeAvailability } from '../../src/wire/availability.ts'
import { operations, type BookieResponse, type Operation } from '../../src/wire/bookie-messages.ts'
import {
  addRequestBytes,
  encodeListEntriesRequest,
  encodeReadRequest,
  writeAddRequestHeader,
  type LedgerRequestFields,
} from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { ledgerIdHigh, ledgerIdLow, writeInt64, writeU32 } from '../../src/wire/int64.ts'
import { masterKey } from '../../src/wire/digest.ts'

export interface EntryName {
  readonly ledgerId: bigint
  readonly entryId: number
}

export interface TestBookieClient {
  /** Adds one entry; resolves to the status (0 = OK). Rejects when the connection ends first. */
  add(entry: EntryName & { payload: Buffer; flags?: number; lac?: number }): Promise<number>
  /** The payload of an entry that `add` stored; undefined when the bookie does not give it. */
  read(entry: EntryName & { flags?: number }): Promise<Buffer | undefined>
  /** The status of a read: 0 found, 402 no ledger, 403 no entry, … */
  readStatus(entry: EntryName & { flags?: number }): Promise<number>
  /** How many of the entries 0..last it holds. */
  countEntries(ledgerId: bigint, last: number): Promise<number>
  close(): void
}

const headerBytes = 36
const key = masterKey(Buffer.alloc(0))

export async function createTestBookieClient(listen: string): Promise<TestBookieClient> {
  const connection = await RawConnection.open(listen)
  return {
    add: (entry) => connection.ask(operations.add, addFrame(entry), ({ status }) => status),
    read: (entry) =>
      connection.ask(operations.read, readFrame(entry), ({ status, bytes, bodyStart, bodyEnd }) =>
        status === 0 ? Buffer.from(bytes.subarray(bodyStart + headerBytes, bodyEnd)) : undefined,
      ),
    readStatus: (entry) =>
      connection.ask(operations.read, readFrame(entry), ({ status }) => status),
    countEntries: (ledgerId, last) =>
      connection.ask(
        operations.listEntries,
        (txn) => encodeListEntriesRequest(namesOf(ledgerId, txn)),
        (response) => (response.status === 0 ? countUpTo(response, last) : 0),
      ),
    close: () => connection.close(),
  }
}

const namesOf = (ledgerId: bigint, txn: number): LedgerRequestFields => ({
  txnHigh: 0,
  txnLow: txn,
  ledgerHigh: ledgerIdHigh(ledgerId),
  ledgerLow: ledgerIdLow(ledgerId),
})

function addFrame(entry: EntryName & { payload: Buffer; flags?: number; lac?: number }) {
  return (txn: number): Buffer => {
    const names = namesOf(entry.ledgerId, txn)
    const entryBytes = headerBytes + entry.payload.length
    const fields = {
      ...names,
      protocol: 3 as const,
      entryId: entry.entryId,
      flags: entry.flags ?? 0,
      masterKey: key,
      entryBytes,
    }
    const frame = Buffer.alloc(addRequestBytes(fields))
    const start = writeAddRequestHeader(frame, 0, fields)
    writeU32(frame, start, names.ledgerHigh)
    writeU32(frame, start + 4, names.ledgerLow)
    writeInt64(frame, start + 8, entry.entryId)
    writeInt64(frame, start + 16, entry.lac ?? -1)
    writeInt64(frame, start + 24, entry.payload.length)
    entry.payload.copy(frame, start + headerBytes)
    return frame
  }
}

function readFrame({ ledgerId, entryId, flags = 0 }: EntryName & { flags?: number }) {
  return (txn: number): Buffer =>
    encodeReadRequest({
      ...namesOf(ledgerId, txn),
      entryId,
      flags,
      masterKey: flags === 0 ? undefined : key,
    })
}

function countUpTo({ bytes, bodyStart, bodyEnd }: BookieResponse, last: number): number {
  const held = decodeAvailability(bytes, bodyStart, bodyEnd)
  if (held === undefined) throw new Error('the list of entries cannot be read')
  let count = 0
  for (let entryId = 0; entryId <= last; entryId++) if (held.has(entryId)) count++
  return count
}

type Take = (response: BookieResponse | undefined) => void

class RawConnection {
  readonly #socket: net.Socket
  readonly #pending = new Map<number, Take>()
  readonly #frames = new FrameReader()
  readonly #response = createResponse()
  #txn = 0

  static open(listen: string): Promise<RawConnection> {
    const [host = '', port = ''] = listen.split(':')
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host, port: Number(port), noDelay: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new RawConnection(socket))
      })
    })
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#fail())
    socket.on('data', (chunk: Buffer) => {
      const problem = this.#frames.push(chunk, (bytes, start, end) =>
        this.#answer(bytes, start, end),
      )
      if (problem) socket.destroy()
    })
  }

  ask<T>(
    operation: Operation,
    frame: (txn: number) => Buffer,
    take: (response: BookieResponse) => T,
  ): Promise<T> {
    const txn = ++this.#txn
    return new Promise((resolve, reject) => {
      this.#pending.set(txn, (response) => {
        if (response === undefined) reject(new Error('the connection ended'))
        else if (response.operation !== operation)
          reject(new Error(`answer to ${response.operation}`))
        else resolve(take(response))
      })
      if (this.#socket.destroyed) this.#fail()
      else this.#socket.write(frame(txn))
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #answer(bytes: Buffer, start: number, end: number): void {
    if (decodeResponse(bytes, start, end, 3, this.#response) === 'bad') {
      this.#socket.destroy()
      return
    }
    const take = this.#pending.get(this.#response.txnLow)
    this.#pending.delete(this.#response.txnLow)
    take?.(this.#response)
  }

  #fail(): void {
    for (const take of this.#pending.values()) take(undefined)
    this.#pending.clear()
  }
}
