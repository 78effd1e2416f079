// The exclusive claim on a directory. An exclusive SQLite transaction on DIRECTORY/LOCK keeps out
// other processes and, since SQLite's lock table is one for the process, other holders in this one,
// in any thread. Nothing has to be cleaned up after a crash. LOCK.holder names the holder for
// people. After an fsync error it is renamed to LOCK.poisoned, which needs no space: from then on,
// a lock by the same process (its number and time of start) fails, in whatever thread it is asked
// for.

import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { QuireError } from '../../errors.ts'
import type { DirectoryLock } from '../files.ts'
import { fileError, systemCode } from './file-errors.ts'
import { openSqlite, sqliteError, type SqliteDatabase } from './sqlite.ts'

const poisonedKey = Symbol.for('quire.poisoned-directories')

/** Takes the lock. Fails with QUIRE_DIRECTORY_IN_USE, QUIRE_DIRECTORY_POISONED, or as any file. */
export function lockDirectory(directory: string): DirectoryLock {
  const real = realPath(directory)
  refusePoisoned(real)
  const database = takeTransaction(real)
  try {
    refusePoisoned(real)
    rmSync(join(real, 'LOCK.poisoned'), { force: true })
    writeFileSync(join(real, 'LOCK.holder'), processIdentity())
  } catch (error) {
    database.close()
    throw fileError(error, real, 'lock')
  }
  return new HeldLock(real, database)
}

/**
 * From now on this process cannot lock the directory; other processes can, once this one has let
 * go.
 */
export function poisonDirectory(directory: string): void {
  let real = directory
  try {
    real = realpathSync(directory)
    renameSync(join(real, 'LOCK.holder'), join(real, 'LOCK.poisoned'))
  } catch (error) {
    // The disk may be gone altogether; this thread remembers, and others meet the same disk.
    if (systemCode(error) === '') throw error
  }
  poisonedHere().add(real)
}

class HeldLock implements DirectoryLock {
  readonly #directory: string
  readonly #database: SqliteDatabase

  constructor(directory: string, database: SqliteDatabase) {
    this.#directory = directory
    this.#database = database
  }

  async release(): Promise<void> {
    if (!this.#database.open) return
    try {
      rmSync(join(this.#directory, 'LOCK.holder'), { force: true })
    } finally {
      this.#database.close()
    }
  }
}

function takeTransaction(directory: string): SqliteDatabase {
  const path = join(directory, 'LOCK')
  const database = openSqlite(path, { timeoutMs: 0 })
  try {
    database.pragma('journal_mode = memory')
    database.exec('begin exclusive')
    return database
  } catch (error) {
    database.close()
    if (systemCode(error).startsWith('SQLITE_BUSY')) throw inUse(directory)
    throw sqliteError(error, path, 'lock')
  }
}

function inUse(directory: string): QuireError {
  const pid = Number(readText(join(directory, 'LOCK.holder')).split(' ')[0])
  const who = pid === process.pid ? 'by this process' : pid > 0 ? `by process ${pid}` : 'elsewhere'
  const next = 'close the other node, or give this one a directory of its own'
  const text = `${directory} is in use ${who}: ${next}`
  return new QuireError('QUIRE_DIRECTORY_IN_USE', text, { facts: { path: directory, pid } })
}

function refusePoisoned(directory: string): void {
  const marked = readText(join(directory, 'LOCK.poisoned')) === processIdentity()
  if (!marked && !poisonedHere().has(directory)) return
  const text =
    `${directory} had an fsync error: what its disk holds can only be told by a new process; ` +
    'end this one, check the disk, start again'
  throw new QuireError('QUIRE_DIRECTORY_POISONED', text, { facts: { path: directory } })
}

/** Directories that this thread poisoned, whichever copy of this module did. */
function poisonedHere(): Set<string> {
  const store = globalThis as { [poisonedKey]?: Set<string> }
  return (store[poisonedKey] ??= new Set())
}

/**
 * The same in all threads of a process, different in every other process, also one with the same
 * number.
 */
function processIdentity(): string {
  const fields = readText('/proc/self/stat').split(') ')[1]?.split(' ')
  const ticks = fields?.[19]
  const boot = readText('/proc/sys/kernel/random/boot_id').trim()
  if (ticks !== undefined && boot !== '') return `${process.pid} ${boot} ${ticks}`
  const startedAt = Math.round((os.uptime() - process.uptime()) / 10)
  return `${process.pid} ${os.hostname()} ${startedAt}`
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === '') throw error
    return ''
  }
}

function realPath(directory: string): string {
  try {
    return realpathSync(directory)
  } catch (error) {
    throw fileError(error, directory, 'open')
  }
}
