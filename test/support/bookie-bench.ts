// A bookie over a journal in memory, with a clock and timers that the test moves.
import { type Bookie, type BookieLimits, createBookie } from '../../src/bookie/index.ts'
import type { Timer } from '../../src/io/index.ts'
import type { SharedSecret } from '../../src/wire/handshake.ts'
import { type Logged, recordingLogger } from './bookie-requests.ts'
import { ClientEnd } from './client-end.ts'
import { MemoryJournal } from './memory-journal.ts'

export interface BookieBench {
  readonly bookie: Bookie
  readonly journal: MemoryJournal
  readonly lines: Logged[]
  readonly failures: Error[]
  /** Connects a client. */
  readonly connect: () => ClientEnd
  /** Lets virtual time pass; timers that are due are called in order. */
  readonly pass: (ms: number) => void
  readonly timers: () => number
  /** A process that starts after a crash. */
  readonly crash: (options?: BenchOptions) => BookieBench
}

export interface BenchOptions {
  readonly limits?: Partial<BookieLimits>
  readonly mayHaveLost?: (high: number, low: number) => boolean
  readonly secret?: SharedSecret
}

export function bookieBench(options: BenchOptions = {}, before?: MemoryJournal): BookieBench {
  const { logger, lines } = recordingLogger()
  const failures: Error[] = []
  let now = 1000
  let drawn = 0
  const due: { atMs: number; call: () => void }[] = []
  const after = (delayMs: number, call: () => void): Timer => {
    const timer = { atMs: now + delayMs, call }
    due.push(timer)
    return { cancel: () => due.splice(due.indexOf(timer) >>> 0, 1) }
  }
  const bookie = createBookie({
    io: {
      timers: { after, soon: (call) => call() },
      clock: { monotonicMs: () => now, wallMs: () => 1_700_000_000_000 },
      random: { below: () => 11, bytes: (count) => Buffer.alloc(count, ++drawn), uuid: () => '' },
    },
    logger,
    failed: (error) => failures.push(error),
    ...options,
  })
  const journal =
    before === undefined ? new MemoryJournal(bookie.owner) : before.crash(bookie.owner)
  bookie.start(journal)
  return {
    bookie,
    journal,
    lines,
    failures,
    connect() {
      const client = new ClientEnd()
      bookie.accept(client)
      return client
    },
    pass(ms) {
      now += ms
      for (const timer of due.filter(({ atMs }) => atMs <= now)) {
        due.splice(due.indexOf(timer), 1)
        timer.call()
      }
    },
    timers: () => due.length,
    crash: (next) => bookieBench(next ?? options, journal),
  }
}

/** Lets answers that need a turn of the microtask queue come. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await Promise.resolve()
}
