// Reads single records of segments from their files, verified. A few files stay open.

import type { Files, OpenFile } from '../../io/index.ts'
import { QuireError } from '../../errors.ts'
import {
  isHeaderAt,
  payloadLengthAt,
  payloadStateAt,
  payloadStates,
  recordBytes,
  recordHeaderBytes,
} from './format.ts'
import type { Segment } from './segment.ts'

/** Read at first: most records are shorter. */
const guessBytes = 4096
const openFilesMax = 32

export class SegmentReader {
  readonly #files: Files
  /** By path, the least recently used first. */
  readonly #open = new Map<string, { file: Promise<OpenFile>; users: number }>()

  constructor(files: Files) {
    this.#files = files
  }

  /** The payload at an offset. QUIRE_JOURNAL_CORRUPT when it does not verify. */
  async read(segment: Segment, at: number): Promise<Buffer> {
    const { path } = segment
    const entry = this.#take(path)
    entry.users += 1
    try {
      const file = await entry.file
      return await readRecord(file, segment, at)
    } finally {
      entry.users -= 1
      await this.#trim()
    }
  }

  /** Closes a file that is not used as it was any more. */
  async forget(path: string): Promise<void> {
    const entry = this.#open.get(path)
    this.#open.delete(path)
    if (entry !== undefined) await closeQuietly(entry.file)
  }

  async close(): Promise<void> {
    for (const path of this.#open.keys()) await this.forget(path)
  }

  #take(path: string): { file: Promise<OpenFile>; users: number } {
    const found = this.#open.get(path)
    const entry = found ?? { file: this.#files.open(path, 'read'), users: 0 }
    this.#open.delete(path)
    this.#open.set(path, entry)
    if (found === undefined) {
      // A failure is told to whoever reads; the next reader tries again.
      entry.file.catch(() => this.#open.delete(path))
    }
    return entry
  }

  async #trim(): Promise<void> {
    for (const [path, { users }] of this.#open) {
      if (this.#open.size <= openFilesMax) return
      if (users === 0) await this.forget(path)
    }
  }
}

async function closeQuietly(opening: Promise<OpenFile>): Promise<void> {
  const [outcome] = await Promise.allSettled([opening])
  // It was only read: a close that fails loses nothing.
  if (outcome.status === 'fulfilled') await Promise.allSettled([outcome.value.close()])
}

async function readRecord(file: OpenFile, segment: Segment, at: number): Promise<Buffer> {
  const { path, seed, durableEnd } = segment
  let bytes = Buffer.alloc(Math.max(0, Math.min(guessBytes, durableEnd - at)))
  let count = await file.read(bytes, at)
  if (count < recordHeaderBytes || !isHeaderAt(bytes, 0, seed, at)) throw corrupt(path, at)
  const length = payloadLengthAt(bytes, 0)
  const needed = recordBytes(length)
  if (at + needed > durableEnd) throw corrupt(path, at)
  if (needed > count) {
    const whole = Buffer.alloc(needed)
    bytes.copy(whole, 0, 0, count)
    count += await file.read(whole.subarray(count), at + count)
    bytes = whole
  }
  if (count < recordHeaderBytes + length) throw corrupt(path, at)
  if (payloadStateAt(bytes, 0, seed, at) !== payloadStates.whole) throw corrupt(path, at)
  return bytes.subarray(recordHeaderBytes, recordHeaderBytes + length)
}

function corrupt(path: string, at: number): QuireError {
  return new QuireError(
    'QUIRE_JOURNAL_CORRUPT',
    `the record at offset ${at} of ${path} does not verify: it is answered as "cannot tell"; ` +
      'readers use another replica',
    { facts: { path, offset: at } },
  )
}
