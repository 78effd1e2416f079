// How the record of a log may change (semantics D6), one change at a time: epochs and segments only
// grow, an end stays, and nothing is given back that a snapshot still needs.

import type { LogRecord, LogSegment } from '../../../src/embedded/log/core/log-record.ts'

export interface LogProblem {
  readonly checker: 'log epochs' | 'log segments' | 'log snapshots'
  readonly text: string
}

/** `isState`: a replicated state lives on it, which needs a snapshot of all that was given back. */
export function logProblem(
  before: LogRecord | undefined,
  after: LogRecord,
  isState: boolean,
): LogProblem | undefined {
  return (
    epochProblem(before, after) ??
    segmentProblem(before, after) ??
    (before && endProblem(before, after)) ??
    snapshotProblem(before, after, isState)
  )
}

function epochProblem(before: LogRecord | undefined, after: LogRecord): LogProblem | undefined {
  const earlier = before?.ownerEpoch ?? 0
  const { ownerEpoch } = after
  const steps = before?.ownerToken === after.ownerToken || !before ? 0 : 1
  if (ownerEpoch === earlier + steps) return undefined
  return { checker: 'log epochs', text: `epoch ${ownerEpoch} followed ${earlier}` }
}

function segmentProblem(before: LogRecord | undefined, after: LogRecord): LogProblem | undefined {
  const wrong = (text: string): LogProblem => ({ checker: 'log segments', text })
  const known = new Set(before?.segments.map(({ ledgerId }) => ledgerId))
  const lastSeq = before?.segments.at(-1)?.seq ?? 0
  let position = after.truncatedBefore
  const named = new Set<bigint>()
  for (const segment of after.segments) {
    const { ledgerId, seq, firstPosition, endPosition, epoch } = segment
    if (named.has(ledgerId)) return wrong(`ledger ${ledgerId} is named twice`)
    named.add(ledgerId)
    if (firstPosition !== position)
      return wrong(`${seq} begins at ${firstPosition}, not ${position}`)
    if (endPosition === undefined && segment !== after.segments.at(-1))
      return wrong(`${seq} is open`)
    position = endPosition ?? position
    if (known.has(ledgerId)) continue
    if (seq <= lastSeq) return wrong(`${seq} came after ${lastSeq}`)
    if (epoch !== after.ownerEpoch) return wrong(`${seq} is of epoch ${epoch}, not the owner’s`)
  }
  return undefined
}

/** What was recorded of a segment stays, and whole segments leave at the front. */
function endProblem(before: LogRecord, after: LogRecord): LogProblem | undefined {
  const wrong = (text: string): LogProblem => ({ checker: 'log segments', text })
  const { truncatedBefore } = after
  if (truncatedBefore < before.truncatedBefore) return wrong(`begins at ${truncatedBefore} again`)
  const now = new Map(after.segments.map((segment) => [segment.ledgerId, segment]))
  for (const old of before.segments) {
    const segment = now.get(old.ledgerId)
    if (!segment && isEmpty(old)) continue
    if (!segment && (old.endPosition ?? Infinity) <= truncatedBefore) continue
    if (!segment) return wrong(`${old.seq} is gone`)
    const end = old.endPosition ?? segment.endPosition
    if (end !== segment.endPosition) return wrong(`${old.seq} ends elsewhere now`)
  }
  return undefined
}

function isEmpty({ firstPosition, endPosition }: LogSegment): boolean {
  return firstPosition === endPosition
}

function snapshotProblem(
  before: LogRecord | undefined,
  after: LogRecord,
  isState: boolean,
): LogProblem | undefined {
  const wrong = (text: string): LogProblem => ({ checker: 'log snapshots', text })
  const newest = before?.snapshots[0]
  const first = after.snapshots[0]
  if (newest && (first?.position ?? -1) < newest.position) return wrong('a newer one is gone')
  if (first && first.ledgerId !== newest?.ledgerId && first.epoch !== after.ownerEpoch) {
    return wrong(`one of epoch ${first.epoch} came under ${after.ownerEpoch}`)
  }
  const needed = after.snapshots.at(-1)?.position ?? (isState ? 0 : Infinity)
  if (after.truncatedBefore <= needed) return undefined
  return wrong(`it begins at ${after.truncatedBefore}, and a snapshot goes on from ${needed}`)
}
