// A journal device on the caller's own thread, over `Files`: for the simulator and for tests. Same
// rules as the real one.

import { invariant } from '../invariant.ts'
import { messageOf, QuireError } from '../errors.ts'
import type { Files, OpenFile } from './files.ts'
import type { JournalDevice, JournalDevices, JournalFile } from './journal-device.ts'
import { prepareFile } from './prepare-file.ts'

/** Devices that write through `files`. */
export function createFilesJournalDevices(files: Files): JournalDevices {
  return { open: async () => new FilesJournalDevice(files) }
}

interface Commit {
  readonly file: OpenJournalFile
  readonly from: number
  readonly to: number
  readonly done: (error?: Error) => void
}

class OpenJournalFile implements JournalFile {
  readonly path: string
  readonly image: Uint8Array
  readonly file: OpenFile

  constructor(path: string, image: Uint8Array, file: OpenFile) {
    this.path = path
    this.image = image
    this.file = file
  }
}

class FilesJournalDevice implements JournalDevice {
  readonly #files: Files
  readonly #queue: Commit[] = []
  #working: Promise<void> | undefined
  #dead: QuireError | undefined

  constructor(files: Files) {
    this.#files = files
  }

  allocate(bytes: number): Uint8Array {
    return new Uint8Array(bytes)
  }

  async prepare(path: string, bytes: number): Promise<void> {
    if (this.#dead !== undefined) throw this.#dead
    try {
      await prepareFile(this.#files, path, bytes)
    } catch (error) {
      if (QuireError.is(error, 'QUIRE_FSYNC_FAILED')) this.#dead ??= error
      throw error
    }
  }

  async open(path: string, image: Uint8Array): Promise<JournalFile> {
    if (this.#dead !== undefined) throw this.#dead
    return new OpenJournalFile(path, image, await this.#files.open(path, 'write'))
  }

  commit(file: JournalFile, from: number, to: number, done: (error?: Error) => void): void {
    invariant(file instanceof OpenJournalFile, 'a journal file belongs to its device')
    invariant(from <= to && to <= file.image.length, 'a commit lies within its image', { from, to })
    this.#queue.push({ file, from, to, done })
    this.#working ??= this.#work()
  }

  async closeFile(file: JournalFile): Promise<void> {
    invariant(file instanceof OpenJournalFile, 'a journal file belongs to its device')
    await this.#working
    await file.file.close()
  }

  async close(): Promise<void> {
    await this.#working
    this.#dead ??= closedError()
  }

  async #work(): Promise<void> {
    // Never within the call of `commit`.
    await Promise.resolve()
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const error = this.#dead ?? (await this.#perform(next))
      next.done(error)
    }
    this.#working = undefined
  }

  async #perform(commit: Commit): Promise<QuireError | undefined> {
    const { file, from, to } = commit
    try {
      await file.file.write(file.image.subarray(from, to), from)
      await file.file.datasync()
      return undefined
    } catch (error) {
      if (isFullAndUntouched(error)) return error
      this.#dead = failedError(file.path, error)
      return this.#dead
    }
  }
}

function isFullAndUntouched(error: unknown): error is QuireError {
  return QuireError.is(error, 'QUIRE_DISK_FULL') && error.facts['writtenBytes'] === 0
}

/** The error of a commit whose fate is unknown. The device that gives it is dead. */
export function failedError(path: string, cause: unknown): QuireError {
  if (QuireError.is(cause, 'QUIRE_FSYNC_FAILED')) return cause
  const text =
    `the journal ${path} could not be written and synced: ${messageOf(cause)}; what its disk ` +
    'holds is unknown until it is read again: end this process, check the disk, start anew'
  return new QuireError('QUIRE_FSYNC_FAILED', text, { cause, facts: { path } })
}

export function closedError(): QuireError {
  return new QuireError('QUIRE_CLOSED', 'the journal device is closed')
}
