// The real file system, by Node's thread pool.

import { constants } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat, statfs, type FileHandle } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { QuireError } from '../../errors.ts'
import type { FileFacts, Files, OpenFile, OpenMode } from '../files.ts'
import { lockDirectory, poisonDirectory } from './directory-lock.ts'
import { fileError, syncError, systemCode } from './file-errors.ts'

const flags: Record<OpenMode, number> = {
  read: constants.O_RDONLY,
  write: constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
}
const fileMode = 0o640
const directoryMode = 0o750

export const files: Files = {
  open: async (path, mode) =>
    new RealFile(path, await attempt(path, 'open', () => open(path, flags[mode], fileMode))),
  facts,
  list: async (directory) => (await attempt(directory, 'list', () => readdir(directory))).sort(),
  makeDirectory,
  rename: (from, to) => attempt(from, 'rename', () => rename(from, to)),
  remove: (path) => attempt(path, 'remove', () => rm(path, { force: true })),
  syncDirectory,
  lock: async (directory) => lockDirectory(directory),
  poison: poisonDirectory,
  space: async (directory) => {
    const facts = await attempt(directory, 'measure', () => statfs(directory))
    return { freeBytes: facts.bavail * facts.bsize, totalBytes: facts.blocks * facts.bsize }
  },
}

class RealFile implements OpenFile {
  readonly #path: string
  readonly #handle: FileHandle

  constructor(path: string, handle: FileHandle) {
    this.#path = path
    this.#handle = handle
  }

  async read(into: Uint8Array, at: number): Promise<number> {
    return attempt(this.#path, 'read', async () => {
      let done = 0
      while (done < into.length) {
        const step = await this.#handle.read(into, done, into.length - done, at + done)
        if (step.bytesRead === 0) break
        done += step.bytesRead
      }
      return done
    })
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    let done = 0
    try {
      while (done < bytes.length) {
        const step = await this.#handle.write(bytes, done, bytes.length - done, at + done)
        done += step.bytesWritten
      }
    } catch (error) {
      const failure = fileError(error, this.#path, 'write')
      failure.facts['writtenBytes'] = done
      throw failure
    }
  }

  datasync(): Promise<void> {
    return synced(this.#path, this.#handle.datasync())
  }

  sync(): Promise<void> {
    return synced(this.#path, this.#handle.sync())
  }

  truncate(bytes: number): Promise<void> {
    return attempt(this.#path, 'truncate', () => this.#handle.truncate(bytes))
  }

  async bytes(): Promise<number> {
    return (await attempt(this.#path, 'measure', () => this.#handle.stat())).size
  }

  close(): Promise<void> {
    return attempt(this.#path, 'close', () => this.#handle.close())
  }
}

async function facts(path: string): Promise<FileFacts | undefined> {
  try {
    const found = await stat(path)
    const kind = found.isFile() ? 'file' : found.isDirectory() ? 'directory' : 'other'
    return { kind, bytes: found.size }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw fileError(error, path, 'look up')
  }
}

async function makeDirectory(path: string): Promise<void> {
  const missing: string[] = []
  let next = resolve(path)
  while ((await facts(next)) === undefined) {
    missing.unshift(next)
    next = dirname(next)
  }
  // An existing name that is no directory is refused by the system, with its own error.
  if (missing.length === 0) await attempt(path, 'use as a directory', () => readdir(path))
  await syncParent(next)
  for (const name of missing) {
    await attempt(name, 'create', () => makeOne(name))
    await syncDirectory(dirname(name))
  }
}

/**
 * Another process may make it at the same time. Not with `recursive`: where the system takes no
 * directory at all, as in /proc, Node tries that for ever.
 */
async function makeOne(name: string): Promise<void> {
  try {
    await mkdir(name, { mode: directoryMode })
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

/**
 * A directory that was found may be left by a process that was killed before it could sync the
 * name.
 */
async function syncParent(path: string): Promise<void> {
  try {
    await syncDirectory(dirname(path))
  } catch (error) {
    if (!QuireError.is(error, 'QUIRE_DIRECTORY_DENIED')) throw error
  }
}

async function syncDirectory(path: string): Promise<void> {
  const only = constants.O_RDONLY | constants.O_DIRECTORY
  const handle = await attempt(path, 'open', () => open(path, only))
  try {
    await synced(path, handle.sync())
  } finally {
    await handle.close()
  }
}

async function attempt<T>(path: string, doing: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw fileError(error, path, doing)
  }
}

async function synced(path: string, work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (error) {
    throw syncError(error, path)
  }
}
