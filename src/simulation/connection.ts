// A simulated stream: order is kept and nothing comes twice, but it comes in any pieces, late, or
// not at all. What a sender wrote is taken when it leaves (`flushed`), and must still be what it
// was at `write`. When a connection is reset, what is under way is lost, and the sender does not
// know how much arrived.

import { crc32 } from 'node:zlib'
import { invariant } from '../invariant.ts'
import { endedError, lostError } from '../io/network-errors.ts'
import type { Address, Connection, ConnectionHandler } from '../io/network.ts'
import { systemError } from './disk.ts'
import type { SimulatedCables } from './network.ts'
import type { SimulatedProcess } from './node.ts'
import type { Scheduled } from './scheduler.ts'

interface Queued {
  readonly bytes: Uint8Array
  readonly checksum: number
  readonly flushed: ((error?: Error | null) => void) | undefined
  sent: number
}

interface Segment {
  readonly arrivesMs: number
  readonly bytes: Buffer
}

interface Ends {
  readonly near: SimulatedProcess
  readonly far: SimulatedProcess
  readonly nearAddress: Address
  readonly farAddress: Address
}

/** Both ends of one connection. */
export function connectionPair(
  cables: SimulatedCables,
  ends: Ends,
): [SimulatedConnection, SimulatedConnection] {
  const near = new SimulatedConnection(cables, ends.near, ends.farAddress)
  const far = new SimulatedConnection(cables, ends.far, ends.nearAddress)
  near.join(far)
  far.join(near)
  return [near, far]
}

export class SimulatedConnection implements Connection {
  readonly remote: Address
  readonly task: SimulatedProcess
  readonly #cables: SimulatedCables
  #peer: SimulatedConnection = this
  #handler: ConnectionHandler | undefined
  /** Written here, not yet under way. */
  readonly #queue: Queued[] = []
  #queuedBytes = 0
  #wantsDrain = false
  #corks = 0
  #flushing = false
  /** Under way to here. */
  #incoming: Segment[] = []
  #incomingBytes = 0
  #lastArrivalMs = 0
  #delivering = false
  #stalledSinceMs: number | undefined
  #paused = false
  /** The peer sends nothing after what is under way. */
  #peerEnded = false
  #ended = false
  #finSent = false
  #state: 'open' | 'closed' = 'open'
  #givingUp: Scheduled | undefined
  #closeError: Error | undefined
  #closeTold = false

  constructor(cables: SimulatedCables, task: SimulatedProcess, remote: Address) {
    this.#cables = cables
    this.task = task
    this.remote = remote
  }

  join(peer: SimulatedConnection): void {
    this.#peer = peer
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  start(handler: ConnectionHandler): void {
    const isTakeover = this.#handler !== undefined
    this.#handler = handler
    if (this.#state === 'open') this.#deliverLater()
    else if (!isTakeover) this.#soon('net.close', () => this.#tellClosed())
  }

  write(bytes: Uint8Array, flushed?: (error?: Error | null) => void): boolean {
    if (this.#state === 'closed' || this.#ended) {
      if (flushed !== undefined) {
        this.#soon('net.refused', () => flushed(this.#closeError ?? endedError(this.remote)))
      }
      return false
    }
    this.#queue.push({ bytes, checksum: crc32(bytes), flushed, sent: 0 })
    this.#queuedBytes += bytes.length
    this.#flushLater()
    const hasRoom = this.#queuedBytes < this.#cables.faults.highWaterBytes
    if (!hasRoom) this.#wantsDrain = true
    return hasRoom
  }

  cork(): void {
    this.#corks += 1
  }

  uncork(): void {
    this.#corks = Math.max(0, this.#corks - 1)
    this.#flushLater()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#deliverLater()
  }

  end(): void {
    this.#ended = true
    this.#corks = 0
    this.#flushLater()
  }

  destroy(error?: Error): void {
    if (this.#state === 'closed') return
    const peer = this.#peer
    const { scheduler } = this.#cables
    // The system tells the peer after what it has taken already, or resets, and that is lost.
    if (scheduler.choose(2, 'net.destroy') === 0) peer.#finArrives()
    else peer.#resetLater()
    this.#close(error)
  }

  /** Both ends lose the connection, each in its own time; what is under way is lost. */
  reset(): void {
    this.#resetLater()
    this.#peer.#resetLater()
  }

  /** Whether its ends are on these two machines. */
  isBetween(one: string, other: string): boolean {
    const [here, there] = [this.task.node.name, this.#peer.task.node.name]
    return (here === one && there === other) || (here === other && there === one)
  }

  processEnded(hasPower: boolean): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#cables.forget(this)
    const peer = this.#peer
    if (!hasPower) peer.#giveUpLater()
    else if (this.#cables.scheduler.choose(2, 'net.killed') === 0) peer.#finArrives()
    else peer.#resetLater()
  }

  // Sending

  #flushLater(): void {
    if (this.#flushing || this.#state === 'closed' || this.#corks > 0) return
    this.#flushing = true
    this.#soon('net.flush', () => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#state === 'closed' || this.#corks > 0) return
    const peer = this.#peer
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      const room = this.#cables.faults.windowBytes - peer.#incomingBytes
      const left = head.bytes.length - head.sent
      if (room <= 0 && left > 0) break
      const part = head.bytes.subarray(head.sent, head.sent + Math.min(room, left))
      head.sent += part.length
      this.#queuedBytes -= part.length
      peer.#receive(Buffer.from(part))
      if (head.sent < head.bytes.length) break
      this.#queue.shift()
      this.#sent(head)
      if (this.#isClosed()) return
    }
    if (this.#queue.length > 0) return
    if (this.#ended && !this.#finSent) {
      this.#finSent = true
      peer.#finArrives()
      if (this.#peerEnded) this.#deliverLater()
    }
    if (this.#wantsDrain) {
      this.#wantsDrain = false
      this.#handler?.drain()
    }
  }

  #sent(queued: Queued): void {
    const unchanged = crc32(queued.bytes) === queued.checksum
    invariant(unchanged, 'bytes given to a connection stay as they are until they were flushed')
    queued.flushed?.(null)
  }

  // Receiving

  #receive(bytes: Buffer): void {
    if (this.#state === 'closed' || bytes.length === 0) return
    const { scheduler } = this.#cables
    const latencyMs = this.#cables.latencyMs(this.#peer.task.node, this.task.node)
    const arrivesMs = Math.max(this.#lastArrivalMs, scheduler.nowMs + latencyMs)
    scheduler.observe('net.bytes', crc32(bytes))
    this.#lastArrivalMs = arrivesMs
    this.#incoming.push({ arrivesMs, bytes })
    this.#incomingBytes += bytes.length
    this.#deliverLater()
  }

  #finArrives(): void {
    this.#peerEnded = true
    this.#deliverLater()
  }

  #deliverLater(): void {
    if (this.#delivering || this.#state === 'closed') return
    this.#delivering = true
    const { scheduler } = this.#cables
    const firstMs = this.#incoming[0]?.arrivesMs
    const latencyMs = this.#cables.latencyMs(this.#peer.task.node, this.task.node)
    const delayMs = firstMs === undefined ? latencyMs : firstMs - scheduler.nowMs
    this.#later(delayMs, 'net.deliver', () => {
      this.#delivering = false
      this.#deliver()
    })
  }

  #deliver(): void {
    if (this.#isClosed()) return
    if (this.#isHeldUp()) return
    if (this.#paused || this.#handler === undefined) return
    if (this.#incoming.length === 0) {
      if (this.#peerEnded) this.#finished()
      return
    }
    if (this.#cables.scheduler.chance(this.#cables.faults.reset, 'net.reset')) return this.reset()
    const chunk = this.#takeChunk()
    if (chunk.length > 0) this.#handler.data(chunk)
    this.#peer.#flushLater()
    this.#deliverLater()
  }

  /** Nothing passes while the direction is cut; at last the connection is given up. */
  #isHeldUp(): boolean {
    const { scheduler, faults } = this.#cables
    if (!this.#cables.isCut(this.#peer.task.node, this.task.node)) {
      this.#stalledSinceMs = undefined
      return false
    }
    this.#stalledSinceMs ??= scheduler.nowMs
    if (scheduler.nowMs - this.#stalledSinceMs > faults.giveUpMs) {
      this.#peer.#lose('ETIMEDOUT')
      this.#lose('ETIMEDOUT')
      return true
    }
    this.#delivering = true
    this.#later(scheduler.between([5, 50], 'net.retry'), 'net.retry', () => {
      this.#delivering = false
      this.#deliver()
    })
    return true
  }

  #takeChunk(): Buffer {
    const { scheduler, faults } = this.#cables
    const arrived = this.#incoming.filter((segment) => segment.arrivesMs <= scheduler.nowMs)
    const all = Buffer.concat(arrived.map((segment) => segment.bytes))
    let count = all.length
    if (count > 1 && scheduler.chance(faults.oneByte, 'net.byte')) count = 1
    else if (count > 1 && scheduler.chance(faults.split, 'net.split')) {
      count = 1 + scheduler.choose(count, 'net.part')
    }
    const rest = all.subarray(count)
    this.#incoming.splice(0, arrived.length)
    if (rest.length > 0) this.#incoming.unshift({ arrivesMs: scheduler.nowMs, bytes: rest })
    this.#incomingBytes -= count
    return Buffer.from(all.subarray(0, count))
  }

  /** The peer sent its last: this end sends what it still has, and closes. */
  #finished(): void {
    this.#ended = true
    if (this.#finSent) return this.#close(undefined)
    if (this.#peer.#isClosed() && this.#queue.length > 0) return this.#lose('EPIPE')
    this.#flush()
  }

  // Ending

  #resetLater(): void {
    const latencyMs = this.#cables.latencyMs(this.#peer.task.node, this.task.node)
    this.#later(latencyMs, 'net.reset', () => this.#lose('ECONNRESET'))
  }

  /** The other machine says nothing any more; this one's system notices in its own time. */
  #giveUpLater(): void {
    const call = (): void => this.#lose('ETIMEDOUT')
    const { scheduler, faults } = this.#cables
    this.#givingUp = scheduler.schedule(this.task, faults.giveUpMs, { label: 'net.gone', call })
  }

  #lose(code: string): void {
    this.#close(lostError(systemError(code, this.remote.host), this.remote))
  }

  #close(error: Error | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#givingUp?.cancel()
    this.#closeError = error
    this.#cables.forget(this)
    const unsent = this.#queue.splice(0)
    this.#queuedBytes = 0
    this.#incoming = []
    this.#incomingBytes = 0
    this.#soon('net.close', () => {
      for (const { flushed } of unsent) flushed?.(error ?? endedError(this.remote))
      this.#tellClosed()
    })
  }

  #tellClosed(): void {
    if (this.#handler === undefined || this.#closeTold) return
    this.#closeTold = true
    this.#handler.close(this.#closeError)
  }

  #isClosed(): boolean {
    return this.#state === 'closed'
  }

  #soon(label: string, call: () => void): void {
    this.#cables.scheduler.soon(this.task, { label, call })
  }

  #later(delayMs: number, label: string, call: () => void): void {
    this.#cables.scheduler.schedule(this.task, delayMs, { label, call })
  }
}
