// Where a replica's records go: to this process's own writer, or to whoever owns the log. From what
// the log's record says and what the owner answered, without clock, chance or I/O.
//
// T1. An owner that can be reached is asked, never deposed.
// T2. An owner is deposed only when it is known to be gone (it said so, a later life of its node
//     answered), or did not answer for as long as `goneMs`, counted in waits of this replica.
// T3. What is deposed is one epoch: whoever comes second finds another owner, and asks that one.

export interface OwnerSeen {
  readonly epoch: number
  readonly ownerId: string
  /** It ended its last segment: it writes no more under this epoch. */
  readonly ended: boolean
}

export type Step =
  /** Takes the log over, unless somebody else has since. */
  | { readonly type: 'acquire'; readonly ifEpoch: number }
  | { readonly type: 'ask'; readonly ownerId: string; readonly epoch: number }

/** What came of asking an owner. */
export type Answered =
  /** No answer: not registered, not reachable, silent, or somebody else at its address. */
  | 'silent'
  /** It is about to own the log. */
  | 'acquiring'
  /** It is reached, and does not own the log under that epoch. */
  | 'notOwner'
  /** Its process has ended: the node was started again since. */
  | 'gone'
  /** It takes what is sent to it. */
  | 'serves'

export interface RouteTimes {
  /** How long an owner may stay silent. */
  readonly goneMs: number
  /** The same for one that nobody can reach: a client without a port. */
  readonly unreachableMs: number
  readonly waitMs: { readonly least: number; readonly most: number }
}

export const routeTimes: RouteTimes = {
  goneMs: 1500,
  unreachableMs: 100,
  waitMs: { least: 10, most: 400 },
}

export class Route {
  readonly #self: string
  readonly #times: RouteTimes
  /** The epoch that was asked last; -1: none. */
  #epoch = -1
  /** How long its owner was waited for without an answer. */
  #silentMs = 0
  #isGone = false
  #waits = 0

  constructor(self: string, times: RouteTimes = routeTimes) {
    this.#self = self
    this.#times = times
  }

  next({ epoch, ownerId, ended }: OwnerSeen): Step {
    if (epoch !== this.#epoch) {
      this.#epoch = epoch
      this.#silentMs = 0
      this.#isGone = false
    }
    const acquire: Step = { type: 'acquire', ifEpoch: epoch }
    if (epoch === 0 || ended || ownerId === this.#self || this.#isGone) return acquire
    const { goneMs, unreachableMs } = this.#times
    const patience = isReachable(ownerId) ? goneMs : unreachableMs
    return this.#silentMs >= patience ? acquire : { type: 'ask', ownerId, epoch }
  }

  /** How long to wait before the record is read again; `tookMs` is what the asking itself took. */
  answered(answer: Exclude<Answered, 'serves'>, tookMs: number): number {
    if (answer === 'notOwner' || answer === 'gone') {
      this.#isGone = true
      return 0
    }
    const waitMs = this.#wait()
    if (answer === 'silent') this.#silentMs += tookMs + waitMs
    else this.#silentMs = 0
    return waitMs
  }

  /** The log could not be acquired, by this replica or because another one was faster. */
  failed(): number {
    return this.#wait()
  }

  /** What is sent is taken: whatever was thought of owners is of yesterday. */
  settled(): void {
    this.#epoch = -1
    this.#waits = 0
  }

  #wait(): number {
    const { least, most } = this.#times.waitMs
    this.#waits += 1
    return Math.min(most, least * 2 ** (this.#waits - 1))
  }
}

/** A node has a port; a client of `connect()` has none. */
export function isReachable(ownerId: string): boolean {
  return !ownerId.startsWith('client-') && nodeOf(ownerId) !== undefined
}

/** The bookie id in an owner's name, `ID/INCARNATION`. */
export function nodeOf(ownerId: string): string | undefined {
  const at = ownerId.lastIndexOf('/')
  return at > 0 ? ownerId.slice(0, at) : undefined
}
