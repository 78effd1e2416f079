// Judges a record of system calls: every answer that says "done" must come after a sync, of the
// very file that holds what was done, that began after the write had ended and ended before the
// answer began.
import { requestFlags, operations, statuses } from '../../src/wire/bookie-messages.ts'
import { createRequest, decodeRequest } from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { writeU32 } from '../../src/wire/int64.ts'
import {
  decodeClientPacket,
  decodeServerPacket,
  startsMetadataConnection,
} from '../../src/wire/metadata-codec.ts'
import type { MetadataRequest, MetadataResult } from '../../src/wire/metadata-messages.ts'
import { isRead, isSync, isWrite, type SystemCall } from './strace.ts'

export interface Verdict {
  entries: number
  fences: number
  changes: number
  /** Answers without the sync that they need. */
  readonly violations: string[]
}

interface Stream {
  readonly metadata: boolean
  readonly requests: FrameReader
  readonly answers: FrameReader
  /**
   * Packets of each direction so far: the first ones of a metadata connection are the session's.
   */
  readonly count: { requests: number; answers: number }
  /** What was asked and must be durable before its answer, by transaction or request. */
  readonly adds: Map<number, string>
  readonly fences: Map<number, Buffer>
  readonly changes: Map<number, Change>
}

/** A change of the tree, with the place where it came in. */
interface Change {
  readonly since: number
  readonly request: MetadataRequest
}

const changing = new Set(['create', 'set', 'delete', 'multi'])

export class DurabilityJudge {
  readonly verdict: Verdict = { entries: 0, fences: 0, changes: 0, violations: [] }
  /** Undefined: this process is the one who asks. */
  readonly #streams = new Map<string, Stream | undefined>()
  /** Entries as they came in, by ledger, id, length and payload: each may come more than once. */
  readonly #copies = new Map<string, Buffer[]>()
  readonly #writes: SystemCall[] = []
  readonly #syncs = new Map<string, SystemCall[]>()
  readonly #request = createRequest()
  readonly #response = createResponse()

  take(call: SystemCall): void {
    if (call.target.startsWith('TCP')) this.#socket(call)
    else if (isSync(call) && call.result === 0) {
      const before = this.#syncs.get(call.target)
      if (before) before.push(call)
      else this.#syncs.set(call.target, [call])
    } else if (isWrite(call) && call.result > 0) this.#writes.push(call)
  }

  #socket(call: SystemCall): void {
    if (call.bytes.length === 0 || call.result <= 0) return
    const bytes = call.bytes.subarray(0, call.result)
    if (!this.#streams.has(call.target)) this.#streams.set(call.target, open(call))
    const stream = this.#streams.get(call.target)
    if (stream === undefined) return
    if (isRead(call)) {
      stream.requests.push(bytes, (from, start, end) =>
        this.#requested(stream, from.subarray(start, end), call),
      )
    } else {
      stream.answers.push(bytes, (from, start, end) =>
        this.#answered(stream, from.subarray(start, end), call),
      )
    }
  }

  #requested(stream: Stream, packet: Buffer, call: SystemCall): void {
    if (!stream.metadata) this.#bookieRequest(stream, packet)
    else if (stream.count.requests++ > 0) {
      const packetRead = decodeClientPacket(packet)
      if (packetRead.type !== 'request' || !changing.has(packetRead.request.type)) return
      const { requestId, request } = packetRead
      // Its data is a view of the packet, which is this record's own.
      if (request.type !== 'unknown') stream.changes.set(requestId, { since: call.end, request })
    }
  }

  #bookieRequest(stream: Stream, packet: Buffer): void {
    const request = this.#request
    if (decodeRequest(packet, 0, packet.length, 'v3-first', request) === 'bad') return
    const { bytes } = request
    if (request.operation === operations.add) {
      const entry = Buffer.from(bytes.subarray(request.bodyStart, request.bodyEnd))
      const name = nameOf(entry)
      stream.adds.set(request.txnLow, name)
      this.#copies.set(name, [...(this.#copies.get(name) ?? []), entry])
    }
    if (request.operation !== operations.read || (request.flags & requestFlags.fence) === 0) return
    const record = Buffer.alloc(8)
    writeU32(record, 0, request.ledgerHigh)
    writeU32(record, 4, request.ledgerLow)
    const key = bytes.subarray(request.keyStart, request.keyEnd)
    stream.fences.set(request.txnLow, Buffer.concat([record, key]))
  }

  #answered(stream: Stream, packet: Buffer, call: SystemCall): void {
    if (!stream.metadata) this.#bookieAnswer(stream, packet, call)
    else if (stream.count.answers++ > 0) this.#metadataAnswer(stream, packet, call)
  }

  #metadataAnswer(stream: Stream, packet: Buffer, call: SystemCall): void {
    const answer = decodeServerPacket(packet)
    if (answer.type !== 'answer' || answer.result.type === 'error') return
    const change = stream.changes.get(answer.requestId)
    if (change === undefined) return
    this.verdict.changes++
    const path = pathOf(change.request, answer.result)
    const holds = ({ target, start, bytes }: SystemCall): boolean =>
      start > change.since && /\.sqlite(?:-wal)?$/.test(target) && bytes.includes(path)
    if (!this.#durable(holds, call)) {
      this.verdict.violations.push(`metadata change ${path} answered at ${call.start}`)
    }
  }

  #bookieAnswer(stream: Stream, packet: Buffer, call: SystemCall): void {
    const answer = this.#response
    if (decodeResponse(packet, 0, packet.length, 3, answer) === 'bad') return
    if (answer.operation === operations.add && answer.status === statuses.ok) {
      this.verdict.entries++
      const copies = this.#copies.get(stream.adds.get(answer.txnLow) ?? '') ?? []
      if (!copies.some((entry) => this.#journaled(entry, call)))
        this.verdict.violations.push(`entry ${answer.entryId} at ${call.start}`)
    }
    const fence =
      answer.operation === operations.read ? stream.fences.get(answer.txnLow) : undefined
    const known: readonly number[] = [statuses.ok, statuses.noEntry, statuses.noLedger]
    if (fence && known.includes(answer.status)) {
      this.verdict.fences++
      if (!this.#journaled(fence, call)) this.verdict.violations.push(`fence at ${call.start}`)
    }
  }

  #journaled(record: Buffer, answer: SystemCall): boolean {
    return this.#durable(
      ({ target, bytes }) => target.endsWith('.journal') && bytes.includes(record),
      answer,
    )
  }

  #durable(holds: (write: SystemCall) => boolean, answer: SystemCall): boolean {
    return this.#writes.some(
      (write) =>
        write.end < answer.start &&
        holds(write) &&
        (this.#syncs.get(write.target) ?? []).some(
          (sync) => sync.start > write.end && sync.end < answer.start,
        ),
    )
  }
}

/** Last add confirmed and digest may differ from copy to copy: a recovery writes them anew. */
const nameOf = (entry: Buffer): string =>
  entry.toString('hex', 0, 16) + entry.toString('hex', 24, 32) + entry.toString('hex', 36)

/** Whoever is read from first is the server's side of a connection. */
function open(first: SystemCall): Stream | undefined {
  if (!isRead(first)) return undefined
  return {
    metadata: startsMetadataConnection(first.bytes),
    requests: new FrameReader(),
    answers: new FrameReader(),
    count: { requests: 0, answers: 0 },
    adds: new Map(),
    fences: new Map(),
    changes: new Map(),
  }
}

/**
 * The path that a change must have written: that of the node, or of the parent of a deleted one.
 */
function pathOf(request: MetadataRequest, result: MetadataResult): string {
  if (result.type === 'create') return result.path // Sequential nodes get their name there.
  const first = request.type === 'multi' ? request.operations[0] : request
  if (!first || !('path' in first)) return ''
  return first.type === 'delete' ? first.path.slice(0, first.path.lastIndexOf('/')) : first.path
}
