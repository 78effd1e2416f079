// When each session was last heard, and which have been silent for too long. One timer for all of
// them.
//
// A server that has just started, or whose loop stood still, grants time: what a client sent
// meanwhile may lie unread in a socket, and an ephemeral that goes early does harm, one that goes
// late does none.

import type { Clock, Timer, Timers } from '../../io/time.ts'

export interface SessionTrackerOptions {
  readonly clock: Clock
  readonly timers: Timers
  /** The session was silent for its whole time-out. It is not tracked any more. */
  readonly expired: (sessionId: bigint) => void
}

interface Tracked {
  readonly timeoutMs: number
  heardMs: number
}

/** A timer this late means that the loop stood still: sockets are read before anybody is judged. */
const lateMs = 100
const graceMs = 50

export class SessionTracker {
  readonly #options: SessionTrackerOptions
  readonly #sessions = new Map<bigint, Tracked>()
  #timer: Timer | undefined
  #dueMs = Number.POSITIVE_INFINITY

  constructor(options: SessionTrackerOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Begins to watch a session, with its full time-out from now. */
  track(sessionId: bigint, timeoutMs: number): void {
    const heardMs = this.#options.clock.monotonicMs()
    this.#sessions.set(sessionId, { timeoutMs, heardMs })
    if (heardMs + timeoutMs < this.#dueMs) this.#arm(heardMs + timeoutMs)
  }

  /** False when the session is not tracked: it expired or was closed. */
  touch(sessionId: bigint): boolean {
    const session = this.#sessions.get(sessionId)
    if (session) session.heardMs = this.#options.clock.monotonicMs()
    return session !== undefined
  }

  forget(sessionId: bigint): void {
    this.#sessions.delete(sessionId)
    if (this.#sessions.size === 0) this.#disarm()
  }

  close(): void {
    this.#sessions.clear()
    this.#disarm()
  }

  #disarm(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#dueMs = Number.POSITIVE_INFINITY
  }

  #arm(dueMs: number): void {
    this.#disarm()
    this.#dueMs = dueMs
    const { timers, clock } = this.#options
    const delayMs = Math.max(1, dueMs - clock.monotonicMs())
    this.#timer = timers.after(delayMs, () => this.#ring())
  }

  #ring(): void {
    const nowMs = this.#options.clock.monotonicMs()
    if (nowMs > this.#dueMs + lateMs) {
      this.#arm(nowMs + graceMs)
      return
    }
    const silent = [...this.#sessions].filter(([, each]) => each.heardMs + each.timeoutMs <= nowMs)
    for (const [sessionId] of silent) this.#sessions.delete(sessionId)
    this.#disarm()
    let next = Number.POSITIVE_INFINITY
    for (const { heardMs, timeoutMs } of this.#sessions.values()) {
      next = Math.min(next, heardMs + timeoutMs)
    }
    if (next !== Number.POSITIVE_INFINITY) this.#arm(next)
    for (const [sessionId] of silent) this.#options.expired(sessionId)
  }
}
