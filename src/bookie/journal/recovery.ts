// What start-up makes of what it finds, as a table. Two questions decide everything: can it be
// read, and is it proven that it was durable? A record is proven durable by a later batch that says
// so (each carries the durable sequence of its time), by the superblock, or by a sealed segment.
//
// R1 What was proven durable is served, or the start is refused. R2 What is not proven durable and
// can be read is written anew and synced before it is served. R3 What cannot be read and is not
// proven durable was never acknowledged: it is cut off. Nothing is ever written behind a tail.

import { QuireError } from '../../errors.ts'
import { invariant } from '../../invariant.ts'
import type { Batch, SegmentScan } from './scan.ts'

/** What is found at the place where a batch should begin. */
export interface Finding {
  readonly file: 'there' | 'missing' | 'short'
  /** The header block: of this use of the file, of another, or none that verifies. */
  readonly header: 'matches' | 'other' | 'unreadable'
  /** What the manifest says: complete with a known end, or perhaps still written to. */
  readonly segment: 'sealed' | 'open'
  /** `end`: the sealed end, or the end of the file. `holed`: some entries' bytes are damaged. */
  readonly batch: 'whole' | 'holed' | 'broken' | 'end'
  /** Whether the batch is, or records that should follow here are, proven durable. */
  readonly proven: boolean
  /** Whether a batch before it verified: then the file is the right one. */
  readonly verified: boolean
}

/**
 * `keep`: replay it. `mark`: replay it, reads of the damaged entries answer "cannot tell".
 * `rewrite`: the tail, write it anew. `cut`: a torn tail, or nothing. `done`: the segment ends
 * here. `lost`: refuse to start.
 */
export type Action = 'keep' | 'mark' | 'rewrite' | 'cut' | 'done' | 'lost'

export interface Row {
  readonly when: Partial<Finding>
  readonly action: Action
}

const there = { file: 'there', header: 'matches' } as const
/** The header block is damaged, and records prove whose file it is. */
const damaged = { file: 'there', header: 'unreadable' } as const

/** Exactly one row fits every finding. */
export const recoveryTable: readonly Row[] = [
  { when: { file: 'missing' }, action: 'lost' },
  { when: { file: 'short' }, action: 'lost' },
  { when: { file: 'there', header: 'other' }, action: 'lost' },
  // The first batch of a file whose header cannot be read, by itself, proves whose it is.
  ...[there, damaged].flatMap((file): Row[] => [
    { when: { ...file, segment: 'sealed', batch: 'whole' }, action: 'keep' },
    { when: { ...file, segment: 'sealed', batch: 'holed' }, action: 'mark' },
    { when: { ...file, segment: 'sealed', batch: 'broken' }, action: 'lost' },
    { when: { ...file, segment: 'open', batch: 'whole', proven: true }, action: 'keep' },
    { when: { ...file, segment: 'open', batch: 'whole', proven: false }, action: 'rewrite' },
    { when: { ...file, segment: 'open', batch: 'holed', proven: true }, action: 'mark' },
    { when: { ...file, segment: 'open', batch: 'holed', proven: false }, action: 'cut' },
    { when: { ...file, segment: 'open', batch: 'broken', proven: true }, action: 'lost' },
    { when: { ...file, segment: 'open', batch: 'end', proven: true }, action: 'lost' },
  ]),
  { when: { ...there, segment: 'sealed', batch: 'end' }, action: 'done' },
  { when: { ...there, segment: 'open', batch: 'broken', proven: false }, action: 'cut' },
  { when: { ...there, segment: 'open', batch: 'end', proven: false }, action: 'done' },
  { when: { ...damaged, segment: 'sealed', batch: 'end', verified: true }, action: 'done' },
  { when: { ...damaged, segment: 'sealed', batch: 'end', verified: false }, action: 'lost' },
  ...(['broken', 'end'] as const).flatMap((batch): Row[] => {
    const when = { ...damaged, segment: 'open', batch, proven: false } as const
    return [
      { when: { ...when, verified: true }, action: batch === 'end' ? 'done' : 'cut' },
      { when: { ...when, verified: false }, action: 'lost' },
    ]
  }),
]

const fields = ['file', 'header', 'segment', 'batch', 'proven', 'verified'] as const

export function rowsFor(finding: Finding): Row[] {
  return recoveryTable.filter(({ when }) =>
    fields.every((field) => when[field] === undefined || when[field] === finding[field]),
  )
}

export function actionFor(finding: Finding): Action {
  const [row] = rowsFor(finding)
  invariant(row !== undefined, 'the recovery table has a row for everything', { ...finding })
  return row.action
}

/** A segment that the manifest names, as it was found. */
export interface FoundSegment {
  readonly path: string
  readonly file: Finding['file']
  readonly header: Finding['header']
  /** Of the sealed part, or of the whole file. Without batches where there is no file. */
  readonly scan: SegmentScan
  /** Where the sealed part ends, or the file. */
  readonly to: number
}

/** Refuses unless a sealed segment is all there; its records are [first, last]. */
export function checkSealed(found: FoundSegment, first: number, last: number): void {
  const { scan } = found
  const walk = new Walk(found, 'sealed')
  let next = first
  for (const batch of scan.batches) {
    if (batch.first !== next) lost(found, { offset: batch.start, first: next, last })
    if (walk.batch(batch, true) === 'lost') lost(found, { offset: batch.start, first: next, last })
    next = batch.last + 1
  }
  const action = walk.end(true)
  if (action === 'lost' || next !== last + 1) lost(found, { offset: scan.end, first: next, last })
}

export interface OpenOutcome {
  /** Of each open segment, in order: where what is kept of it ends, and its records. */
  readonly kept: readonly { readonly end: number; readonly first: number; readonly last: number }[]
  /** The batch that is to be written anew, in the open segment of that number. */
  readonly tail: { readonly index: number; readonly batch: Batch } | undefined
  /** The last sequence number that is proven durable and kept. */
  readonly provenSequence: number
  /** The same including the tail. */
  readonly lastSequence: number
}

/**
 * Decides about the segments that were perhaps still written to, in order. `sealedSequence` ends
 * what is in sealed segments; `durableSequence` is what the superblock calls durable.
 */
export function recoverOpen(
  open: readonly FoundSegment[],
  bounds: { readonly sealedSequence: number; readonly durableSequence: number },
): OpenOutcome {
  const told = open.map(({ scan }) => scan.durable)
  const durable = Math.max(bounds.durableSequence, bounds.sealedSequence, ...told)
  const kept: { end: number; first: number; last: number }[] = []
  let tail: OpenOutcome['tail']
  let proven = bounds.sealedSequence
  let ended = false
  // Behind the last batch there is nothing to find: what is missing was in its segment.
  const last = Math.max(
    0,
    open.findLastIndex(({ scan }) => scan.batches.length > 0),
  )
  for (const [index, found] of open.entries()) {
    const walk = new Walk(found, 'open')
    let end = 0
    const first = proven + 1
    for (const batch of found.scan.batches) {
      const isNext: boolean = !ended && batch.first === proven + 1
      const action: Action = isNext ? walk.batch(batch, batch.last <= durable) : 'lost'
      if (action === 'lost') {
        const before = end === 0 ? open[index - 1] : undefined
        const offset = before === undefined ? batch.start : before.scan.end
        lost(before ?? found, { offset, first: proven + 1, last: durable })
      }
      ended = action === 'rewrite' || action === 'cut'
      if (action === 'rewrite') tail = { index, batch }
      if (ended) continue
      proven = batch.last
      end = batch.end
    }
    kept.push({ end, first, last: proven })
    const missing = index === last && durable > (tail?.batch.last ?? proven)
    if (walk.end(missing) === 'lost') {
      lost(found, { offset: found.scan.end, first: proven + 1, last: durable })
    }
  }
  return { kept, tail, provenSequence: proven, lastSequence: tail?.batch.last ?? proven }
}

/** Asks the table about one segment, place by place. */
class Walk {
  readonly #found: FoundSegment
  readonly #segment: Finding['segment']
  #verified = false

  constructor(found: FoundSegment, segment: Finding['segment']) {
    this.#found = found
    this.#segment = segment
  }

  batch(batch: Batch, proven: boolean): Action {
    const action = this.#ask(batch.holes.length === 0 ? 'whole' : 'holed', proven)
    this.#verified = true
    return action
  }

  end(proven: boolean): Action {
    const { scan, to } = this.#found
    return this.#ask(scan.end === to ? 'end' : 'broken', proven)
  }

  #ask(batch: Finding['batch'], proven: boolean): Action {
    const { file, header } = this.#found
    const verified = this.#verified
    return actionFor({ file, header, segment: this.#segment, batch, proven, verified })
  }
}

function lost(found: FoundSegment, range: { offset: number; first: number; last: number }): never {
  const { path, file, header, to } = found
  const { offset, first, last } = range
  const what =
    file === 'missing'
      ? `${path} is missing`
      : file === 'short'
        ? `${path} is shorter than the ${to} bytes it should have`
        : header === 'other'
          ? `${path} holds another segment than the superblock names`
          : `${path} cannot be read from offset ${offset} to ${to}`
  const records = last >= first ? `, records ${first} to ${last}` : ''
  throw new QuireError(
    'QUIRE_RANGE_LOST',
    `${what}: what was durable there is lost${records}; restore the file, or replace the bookie`,
    { facts: { path, from: offset, to, firstSequence: first, lastSequence: last } },
  )
}
