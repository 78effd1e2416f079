// What a world does to its nodes without being asked. All of it may be changed while the world
// runs.

export interface DiskFaults {
  /** How long a call takes. */
  latencyMs: readonly [number, number]
  syncLatencyMs: readonly [number, number]
  /** Chances, each for one call. */
  slow: number
  slowMs: readonly [number, number]
  neverAnswers: number
  readError: number
  writeError: number
  syncError: number
  full: number
  /** Errors that come for sure, each once: the first that fits the call. */
  readonly next: NextFault[]
  /** Sectors that come wrong from the disk, once each. */
  readonly misreads: Misread[]
  /** Nothing completes before this time; Infinity: until `thaw`. */
  stalledUntilMs: number
}

export interface NextFault {
  readonly kind: 'read' | 'write' | 'sync' | 'full'
  /** Only for paths that contain this text. */
  readonly path?: string
}

/** A read that is misdirected: another sector's bytes in place of the right ones. */
export interface Misread {
  readonly path: string
  readonly at: number
  /** It befalls no other bytes that are there by then. */
  readonly right: Uint8Array
  readonly wrong: Uint8Array
}

export function defaultDiskFaults(): DiskFaults {
  return {
    latencyMs: [0.01, 0.3],
    syncLatencyMs: [0.1, 2],
    slow: 0,
    slowMs: [20, 400],
    neverAnswers: 0,
    readError: 0,
    writeError: 0,
    syncError: 0,
    full: 0,
    next: [],
    misreads: [],
    stalledUntilMs: 0,
  }
}

export interface NetworkFaults {
  /** One way. */
  latencyMs: readonly [number, number]
  loopbackMs: readonly [number, number]
  /** Chance that a delivery is one byte, or a random part of what came. */
  oneByte: number
  split: number
  /** Chance for each delivery that the connection is reset, and what is under way is lost. */
  reset: number
  /** Bytes that can be under way before the sender queues. */
  windowBytes: number
  /** Bytes that a sender queues before `write` says to wait. */
  highWaterBytes: number
  /** How long bytes may go undelivered before the connection is given up. */
  giveUpMs: number
}

export function defaultNetworkFaults(): NetworkFaults {
  return {
    latencyMs: [0.1, 1],
    loopbackMs: [0.01, 0.1],
    oneByte: 0.02,
    split: 0.2,
    reset: 0,
    windowBytes: 64 * 1024,
    highWaterBytes: 256 * 1024,
    giveUpMs: 30_000,
  }
}
