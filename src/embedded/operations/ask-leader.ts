// Asks the leader, whoever that is when the question arrives, until it is answered.
//
// A change that got no answer may have happened: it is asked for again, and a leader says of what
// is so already that it is. So nothing is done twice, and nothing is told as done that is not.
import { abortedError, messageOf, QuireError } from '../../errors.ts'
import type { Address } from '../../io/index.ts'
import { request, type Request } from '../../metadata/raft/founding/inquire.ts'
import type { Reply } from '../../wire/inquiry-codec.ts'
import { lookAround, type OperationParts, type View } from './view.ts'

export interface AskLeaderOptions {
  /** Nodes that may know who leads. */
  readonly seeds: readonly Address[]
  /** How long a leader is looked for, and one that is busy asked again. Default 30,000. */
  readonly waitMs?: number | undefined
}

const waitMsDefault = 30_000
export const againMs = 250
/** A leader that is new does not know yet who is in touch: until then that is no reason. */
export const newLeaderMs = 3_000

/** What another leader, or the same one a moment later, may grant. */
const passing = new Set([
  'not-leader',
  'not-ready',
  'transferring',
  'overloaded',
  'change-in-flight',
])

/** Why a change was refused, as sentences; the word is in `facts.reason`. */
const sentences: Readonly<Record<string, string>> = {
  'not-caught-up': 'the node has not caught up with the others yet',
  'quorum-at-risk':
    'it would leave too few nodes in touch for a quorum: bring back the nodes that are down, or ' +
    'replace them, before this one',
  'bad-change': 'the cluster does not know the node, or had it removed: an id never comes back',
  'too-large': 'the list of members would become too large',
  'no-member': 'the node that was asked belongs to no cluster yet',
}

export function refusedError(
  reason: Reply['reason'],
  text: string = sentences[reason] ?? reason,
): QuireError {
  return new QuireError('QUIRE_CHANGE_REFUSED', `refused, and nothing was changed: ${text}`, {
    facts: { reason },
  })
}

/**
 * Resolves when it is done, or was before. QUIRE_CHANGE_REFUSED with `facts.reason`,
 * QUIRE_METADATA_UNAVAILABLE when there is no leader, QUIRE_UNAUTHORIZED.
 */
export async function askLeader(
  parts: OperationParts,
  asked: Request,
  { seeds, waitMs = waitMsDefault }: AskLeaderOptions,
): Promise<void> {
  const { clock } = parts.io
  const beganMs = clock.monotonicMs()
  const endMs = beganMs + waitMs
  const isPassing = (reason: string): boolean =>
    passing.has(reason) ||
    (reason === 'quorum-at-risk' && clock.monotonicMs() - beganMs < newLeaderMs)
  for (let why = ''; ;) {
    const { leader } = await leaderOf(parts, { seeds, waitMs: endMs - clock.monotonicMs(), why })
    const reply = await askOnce(parts, leader.address, asked)
    if (reply?.outcome === 'done' || reply?.reason === 'already-so') return
    if (reply?.outcome === 'refused' && !isPassing(reply.reason)) throw refusedError(reply.reason)
    why = reply?.reason ?? 'no answer'
    await pause(parts, againMs)
  }
}

/**
 * A view with a leader that has confirmed that it leads. QUIRE_METADATA_UNAVAILABLE when there is
 * none in time.
 */
export async function leaderOf(
  parts: OperationParts,
  { seeds, waitMs = waitMsDefault, why = '' }: AskLeaderOptions & { why?: string | undefined },
): Promise<View & { readonly leader: NonNullable<View['leader']> }> {
  const { clock } = parts.io
  const endMs = clock.monotonicMs() + waitMs
  for (;;) {
    const view = await lookAround(parts, seeds)
    const { leader } = view
    if (leader?.status.ready === true && clock.monotonicMs() <= endMs) return { ...view, leader }
    if (clock.monotonicMs() > endMs) {
      const because = why === '' ? '' : ` (${why})`
      throw new QuireError(
        'QUIRE_METADATA_UNAVAILABLE',
        `no node leads the cluster ${view.clusterId}${because}: more than half of its nodes must ` +
          'run; if they are lost for good, "quire rescue" makes a new cluster of what is left',
      )
    }
    await pause(parts, againMs)
  }
}

/** Undefined: there was no answer, and it may have happened. */
async function askOnce(
  parts: OperationParts,
  address: Address,
  asked: Request,
): Promise<Reply | undefined> {
  const { network, timers } = parts.io
  try {
    return await request({ network, timers, signal: parts.signal }, address, asked)
  } catch (error) {
    if (QuireError.is(error) && error.retryable) {
      parts.logger.debug({ ...address, error: messageOf(error) }, 'the leader did not answer')
      return undefined
    }
    throw error
  }
}

/** QUIRE_ABORTED. */
export async function pause({ io, signal }: OperationParts, ms: number): Promise<void> {
  await new Promise<void>((resolve) => io.timers.after(ms, resolve))
  if (signal?.aborted === true) throw abortedError(signal)
}
