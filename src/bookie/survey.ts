// Which entries a bookie's disk holds, without starting it: its journal is read, nothing is
// changed. For tools that must say what is there before anybody decides.

import type { Files } from '../io/index.ts'
import { readInt64, readU32 } from '../wire/int64.ts'
import { readSuperblocks } from './identity/superblock-store.ts'
import { recordTypes } from './journal/contract.ts'
import { recordHeaderBytes, seedOf } from './journal/format.ts'
import { scanSegment, visitBatch } from './journal/scan.ts'
import { FileLoader } from './journal/segment-files.ts'
import { segmentPath } from './journal/segment.ts'

/** Whole entries by ledger, as ranges of ids. */
export class BookieSurvey {
  readonly #ledgers = new Map<bigint, Range[]>()

  add(ledgerId: bigint, entryId: number): void {
    const ranges = this.#ledgers.get(ledgerId) ?? []
    this.#ledgers.set(ledgerId, ranges)
    const last = ranges.at(-1)
    if (last && last.end === entryId) last.end += 1
    else ranges.push({ first: entryId, end: entryId + 1 })
  }

  /** How many different entries of `0` to `lastEntryId` there are. */
  held(ledgerId: bigint, lastEntryId: number): number {
    const ranges = this.#ledgers.get(ledgerId) ?? []
    ranges.sort((one, other) => one.first - other.first)
    let [count, next] = [0, 0]
    for (const { first, end } of ranges) {
      const from = Math.max(first, next)
      const to = Math.min(end, lastEntryId + 1)
      if (to > from) count += to - from
      next = Math.max(next, end)
    }
    return count
  }
}

interface Range {
  readonly first: number
  end: number
}

/** Undefined when no bookie's journal is in the directory. */
export async function surveyBookie(
  files: Files,
  directory: string,
): Promise<BookieSurvey | undefined> {
  if ((await files.facts(directory)) === undefined) return undefined
  const { block } = await readSuperblocks(files, directory)
  if (block === undefined) return undefined
  const survey = new BookieSurvey()
  const loader = new FileLoader(files)
  for (const { slot, uuid, sealedBytes } of block.segments) {
    const path = segmentPath(directory, slot)
    const facts = await files.facts(path)
    if (facts === undefined) continue
    const to = sealedBytes === 0 ? facts.bytes : Math.min(sealedBytes, facts.bytes)
    const bytes = await loader.load(path, to, 'zeros')
    take(survey, bytes, seedOf(uuid))
  }
  return survey
}

function take(survey: BookieSurvey, bytes: Buffer, seed: number): void {
  for (const batch of scanSegment(bytes, seed, bytes.length).batches) {
    visitBatch(bytes, batch, (type, _at, start) => {
      if (type !== recordTypes.entry) return
      if (batch.holes.includes(start - recordHeaderBytes)) return
      const ledgerId = (BigInt(readU32(bytes, start)) << 32n) | BigInt(readU32(bytes, start + 4))
      survey.add(ledgerId, readInt64(bytes, start + 8))
    })
  }
}
