// Answers of one connection that wait for the journal, as plain numbers in a ring: adds, LAC writes
// and forces. They are in the order of the sequence numbers they wait for, since each waits for the
// newest record at its time.

import type { BookieRequest, Operation } from '../../wire/bookie-messages.ts'

const intsEach = 6
const floatsEach = 2

/** What is needed to answer OK. */
export interface Ack {
  protocol: 2 | 3
  version: number
  operation: Operation | 0
  txnHigh: number
  txnLow: number
  ledgerHigh: number
  ledgerLow: number
  entryId: number
}

export class AckQueue {
  #capacity = 16
  /** Transaction, ledger, and what tells protocol, version and operation. */
  #ints = new Uint32Array(this.#capacity * intsEach)
  /** Sequence awaited, entry id. */
  #floats = new Float64Array(this.#capacity * floatsEach)
  #head = 0
  #count = 0

  get count(): number {
    return this.#count
  }

  push(request: BookieRequest, awaited: number): void {
    if (this.#count === this.#capacity) this.#grow()
    const at = (this.#head + this.#count) & (this.#capacity - 1)
    const ints = this.#ints
    const base = at * intsEach
    ints[base] = request.txnHigh
    ints[base + 1] = request.txnLow
    ints[base + 2] = request.ledgerHigh
    ints[base + 3] = request.ledgerLow
    ints[base + 4] = request.protocol
    ints[base + 5] = (request.operation << 8) | (request.version & 0xff)
    this.#floats[at * floatsEach] = awaited
    this.#floats[at * floatsEach + 1] = request.entryId
    this.#count++
  }

  /** Takes the oldest answer if what it waits for is durable. */
  take(durable: number, into: Ack): boolean {
    const at = this.#head
    if (this.#count === 0 || (this.#floats[at * floatsEach] ?? 0) > durable) return false
    const ints = this.#ints
    const base = at * intsEach
    into.txnHigh = ints[base] ?? 0
    into.txnLow = ints[base + 1] ?? 0
    into.ledgerHigh = ints[base + 2] ?? 0
    into.ledgerLow = ints[base + 3] ?? 0
    into.protocol = ints[base + 4] === 2 ? 2 : 3
    const word = ints[base + 5] ?? 0
    into.operation = operationOf(word >>> 8)
    into.version = word & 0xff
    into.entryId = this.#floats[at * floatsEach + 1] ?? 0
    this.#head = (at + 1) & (this.#capacity - 1)
    this.#count--
    return true
  }

  #grow(): void {
    const ints = new Uint32Array(this.#capacity * 2 * intsEach)
    const floats = new Float64Array(this.#capacity * 2 * floatsEach)
    const first = this.#capacity - this.#head
    ints.set(this.#ints.subarray(this.#head * intsEach))
    ints.set(this.#ints.subarray(0, this.#head * intsEach), first * intsEach)
    floats.set(this.#floats.subarray(this.#head * floatsEach))
    floats.set(this.#floats.subarray(0, this.#head * floatsEach), first * floatsEach)
    this.#ints = ints
    this.#floats = floats
    this.#head = 0
    this.#capacity *= 2
  }
}

function operationOf(number: number): Operation | 0 {
  switch (number) {
    case 2:
    case 6:
    case 10:
      return number
    default:
      return 0
  }
}
