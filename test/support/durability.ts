// Judges a record of system calls: every answer that says "done" must come after a sync, of the
// very file that holds what was done, that began after the write had ended and ended before the
// answer began.
import { requestFlags, operations, statuses } from '../../src/wire/bookie-messages.ts'
import { createRequest, decodeRequest } from '../../src/wire/bookie-request.ts'
import { createResponse, decodeResponse } from '../../src/wire/bookie-response.ts'
import { FrameReader } from '../../src/wire/frame-reader.ts'
import { writeInt64, writeU32 } from '../../src/wire/int64.ts'
import {
  decodeClientPacket,
  decodeServerPacket,
  startsMetadataConnection,
} from '../../src/wire/metadata-codec.ts'
import { isRead, isSync, isWrite, type SystemCall } from './strace.ts'

export interface Verdict {
  entries: number
  fences: number
  changes: number
  /** Answers without the sync that they need. */
  readonly violations: string[]
}

interface Stream {
  readonly requests: FrameReader
  readonly answers: FrameReader
  metadata: boolean | undefined
  connected: boolean
  /**
   * Fencing reads by transaction, metadata changes by request, with the place where they came in.
   */
  readonly fences: Map<number, Buffer>
  readonly changes: Map<number, number>
}

const changing = new Set(['create', 'set', 'delete', 'multi'])

export class DurabilityJudge {
  readonly verdict: Verdict = { entries: 0, fences: 0, changes: 0, violations: [] }
  readonly #streams = new Map<string, Stream>()
  readonly #calls: SystemCall[] = []
  readonly #request = createRequest()
  readonly #response = createResponse()

  take(call: SystemCall): void {
    if (call.target.startsWith('TCP')) this.#socket(call)
    else if (isSync(call) ? call.result === 0 : isWrite(call)) this.#calls.push(call)
  }

  #socket(call: SystemCall): void {
    if (call.bytes.length === 0 || call.result <= 0) return
    const bytes = call.bytes.subarray(0, call.result)
    const stream = this.#streamOf(call.target)
    if (isRead(call)) {
      stream.metadata ??= startsMetadataConnection(bytes.subarray(4))
      stream.requests.push(bytes, (from, start, end) =>
        this.#requested(stream, from.subarray(start, end), call),
      )
    } else if (isWrite(call)) {
      stream.answers.push(bytes, (from, start, end) =>
        this.#answered(stream, from.subarray(start, end), call),
      )
    }
  }

  #streamOf(target: string): Stream {
    const known = this.#streams.get(target)
    if (known) return known
    const stream = {
      requests: new FrameReader(),
      answers: new FrameReader(),
      metadata: undefined,
      connected: false,
      fences: new Map(),
      changes: new Map(),
    }
    this.#streams.set(target, stream)
    return stream
  }

  #requested(stream: Stream, packet: Buffer, call: SystemCall): void {
    if (stream.metadata === true) {
      if (startsMetadataConnection(packet)) return
      const request = decodeClientPacket(packet)
      if (request.type === 'request' && changing.has(request.request.type)) {
        stream.changes.set(request.requestId, call.end)
      }
      return
    }
    const request = this.#request
    if (decodeRequest(packet, 0, packet.length, 'v3-first', request) === 'bad') return
    if (request.operation !== operations.read || (request.flags & requestFlags.fence) === 0) return
    const record = Buffer.alloc(8)
    writeU32(record, 0, request.ledgerHigh)
    writeU32(record, 4, request.ledgerLow)
    const key = request.bytes.subarray(request.keyStart, request.keyEnd)
    stream.fences.set(request.txnLow, Buffer.concat([record, key]))
  }

  #answered(stream: Stream, packet: Buffer, call: SystemCall): void {
    if (stream.metadata === true) this.#metadataAnswer(stream, packet, call)
    else if (stream.metadata === false) this.#bookieAnswer(stream, packet, call)
  }

  #metadataAnswer(stream: Stream, packet: Buffer, call: SystemCall): void {
    if (!stream.connected) {
      stream.connected = true // The first answer is the session's.
      return
    }
    const answer = decodeServerPacket(packet)
    if (answer.type !== 'answer' || answer.result.type === 'error') return
    const since = stream.changes.get(answer.requestId)
    if (since === undefined) return
    this.verdict.changes++
    const isTree = ({ target }: SystemCall): boolean => /\.sqlite(?:-wal)?$/.test(target)
    if (!this.#durable((write) => isTree(write) && write.start > since, call)) {
      this.verdict.violations.push(`metadata change ${answer.requestId} answered at ${call.start}`)
    }
  }

  #bookieAnswer(stream: Stream, packet: Buffer, call: SystemCall): void {
    const answer = this.#response
    if (decodeResponse(packet, 0, packet.length, 3, answer) === 'bad') return
    if (answer.operation === operations.add && answer.status === statuses.ok) {
      this.verdict.entries++
      const record = Buffer.alloc(16)
      writeU32(record, 0, answer.ledgerHigh)
      writeU32(record, 4, answer.ledgerLow)
      writeInt64(record, 8, answer.entryId)
      if (!this.#recorded(record, call))
        this.verdict.violations.push(`entry ${answer.entryId} at ${call.start}`)
    }
    const fence =
      answer.operation === operations.read ? stream.fences.get(answer.txnLow) : undefined
    const known: readonly number[] = [statuses.ok, statuses.noEntry, statuses.noLedger]
    if (fence && known.includes(answer.status)) {
      this.verdict.fences++
      if (!this.#recorded(fence, call)) this.verdict.violations.push(`fence at ${call.start}`)
    }
  }

  #recorded(record: Buffer, answer: SystemCall): boolean {
    return this.#durable(
      ({ target, bytes }) => target.endsWith('.journal') && bytes.includes(record),
      answer,
    )
  }

  #durable(holds: (write: SystemCall) => boolean, answer: SystemCall): boolean {
    const writes = this.#calls.filter(
      (call) => isWrite(call) && call.end < answer.start && holds(call),
    )
    return writes.some((write) =>
      this.#calls.some(
        (sync) =>
          isSync(sync) &&
          sync.target === write.target &&
          sync.start > write.end &&
          sync.end < answer.start,
      ),
    )
  }
}
