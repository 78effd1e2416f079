// `Files` over a simulated disk: every call completes as an event of its own, later, and not in the
// order of calls unless they are awaited. A write is checked at its end: its bytes must be those of
// its beginning.

import { QuireError } from '../errors.ts'
import { invariant } from '../invariant.ts'
import { fileError, syncError } from '../io/real/file-errors.ts'
import type { DirectoryLock, Files, OpenFile } from '../io/files.ts'
import { namesOf, systemError, type Disk } from './disk.ts'
import type { NextFault } from './faults.ts'
import type { Change, FileInode, NameChange } from './inode.ts'
import type { SimulatedProcess } from './node.ts'

export function createSimulatedFiles(task: SimulatedProcess): Files {
  return new SimulatedFiles(new DiskCalls(task))
}

export interface Call<T> {
  readonly kind: 'other' | 'read' | 'write' | 'sync'
  readonly path: string
  readonly doing: string
  readonly work: () => T
}

/** How calls reach the disk: late, wrong, or never. */
export class DiskCalls {
  readonly task: SimulatedProcess
  readonly disk: Disk

  constructor(task: SimulatedProcess) {
    this.task = task
    this.disk = task.node.disk
  }

  async make<T>(call: Call<T>): Promise<T> {
    // An order of calls that is not from the seed is seen here.
    this.choose.observe(call.path, 0)
    await this.#wait(call.kind)
    try {
      return call.work()
    } catch (error) {
      if (call.kind === 'sync') throw syncError(error, call.path)
      throw fileError(error, call.path, call.doing)
    }
  }

  /** True when this call fails, by chance or because it was told to. */
  fails(kind: NextFault['kind'], path: string): boolean {
    const fails = this.#fails(kind, path)
    if (fails) this.task.node.diskFailures += 1
    return fails
  }

  #fails(kind: NextFault['kind'], path: string): boolean {
    const faults = this.task.node.diskFaults
    const at = faults.next.findIndex(
      (fault) => fault.kind === kind && path.includes(fault.path ?? ''),
    )
    if (at >= 0) {
      faults.next.splice(at, 1)
      return true
    }
    const chances = {
      read: faults.readError,
      write: faults.writeError,
      sync: faults.syncError,
      full: faults.full,
    }
    return this.choose.chance(chances[kind], `disk.${kind}.fails`)
  }

  get choose(): SimulatedProcess['node']['scheduler'] {
    return this.task.node.scheduler
  }

  #wait(kind: Call<unknown>['kind']): Promise<void> {
    const { scheduler, diskFaults } = this.task.node
    if (scheduler.chance(diskFaults.neverAnswers, 'disk.never')) return new Promise(() => undefined)
    const usual = kind === 'sync' ? diskFaults.syncLatencyMs : diskFaults.latencyMs
    const range = scheduler.chance(diskFaults.slow, 'disk.slow') ? diskFaults.slowMs : usual
    const delayMs = scheduler.between(range, 'disk.latency')
    return new Promise((resolve) => this.#complete(delayMs, kind, resolve))
  }

  /** While the disk is stalled, nothing completes; it is asked again now and then. */
  #complete(delayMs: number, kind: string, resolve: () => void): void {
    const { scheduler, diskFaults } = this.task.node
    const call = () => {
      const waitMs = diskFaults.stalledUntilMs - scheduler.nowMs
      if (waitMs > 0) this.#complete(Math.min(waitMs, 100), kind, resolve)
      else resolve()
    }
    scheduler.schedule(this.task, delayMs, { label: `disk.${kind}`, call })
  }
}

class SimulatedFiles implements Files {
  readonly #calls: DiskCalls

  constructor(calls: DiskCalls) {
    this.#calls = calls
  }

  open(path: string, mode: 'read' | 'write' | 'create'): Promise<OpenFile> {
    const { disk } = this.#calls
    return this.#other(path, 'open', () => {
      if (mode === 'create' && this.#calls.fails('full', path)) throw systemError('ENOSPC', path)
      const inode = mode === 'create' ? disk.create(path) : disk.file(path)
      return new SimulatedFile(this.#calls, inode, { path, canWrite: mode !== 'read' })
    })
  }

  facts(path: string): Promise<Awaited<ReturnType<Files['facts']>>> {
    return this.#other(path, 'look up', () => {
      const inode = this.#calls.disk.find(path)
      if (inode === undefined) return undefined
      return { kind: inode.kind, bytes: inode.kind === 'file' ? inode.current.size : 0 }
    })
  }

  list(directory: string): Promise<string[]> {
    const { disk } = this.#calls
    return this.#other(directory, 'list', () =>
      [...disk.directory(directory).current.keys()].sort(),
    )
  }

  makeDirectory(path: string): Promise<void> {
    return this.#other(path, 'create', () => this.#calls.disk.makeDirectory(path))
  }

  rename(from: string, to: string): Promise<void> {
    return this.#other(from, 'rename', () => {
      if (this.#calls.fails('full', to)) throw systemError('ENOSPC', to)
      this.#calls.disk.rename(from, to)
    })
  }

  remove(path: string): Promise<void> {
    return this.#other(path, 'remove', () => this.#calls.disk.remove(path))
  }

  async syncDirectory(path: string): Promise<void> {
    const { disk } = this.#calls
    const directory = await this.#other(path, 'open', () => disk.directory(path))
    const covered: NameChange[] = [...directory.pending]
    await this.#calls.make({
      kind: 'sync',
      path,
      doing: 'sync',
      work: () => {
        if (this.#calls.fails('sync', path)) throw systemError('EIO', path)
        disk.settleNames(directory, covered)
      },
    })
  }

  async lock(directory: string): Promise<DirectoryLock> {
    const { task } = this.#calls
    const { locks } = task.node
    const key = namesOf(directory).join('/')
    await this.#other(directory, 'open', () => this.#calls.disk.directory(directory))
    if (task.poisoned.has(key)) {
      throw new QuireError(
        'QUIRE_DIRECTORY_POISONED',
        `${directory} had an fsync error: end this process, check the disk, start again`,
      )
    }
    if (locks.get(key)?.alive === true) {
      throw new QuireError('QUIRE_DIRECTORY_IN_USE', `${directory} is in use by another node`)
    }
    locks.set(key, task)
    return {
      release: async () => {
        if (locks.get(key) === task) locks.delete(key)
      },
    }
  }

  poison(directory: string): void {
    this.#calls.task.poisoned.add(namesOf(directory).join('/'))
  }

  space(directory: string): Promise<{ freeBytes: number; totalBytes: number }> {
    const { disk } = this.#calls
    return this.#other(directory, 'measure', () => ({
      freeBytes: Math.max(0, disk.capacityBytes - disk.usedBytes()),
      totalBytes: disk.capacityBytes,
    }))
  }

  #other<T>(path: string, doing: string, work: () => T): Promise<T> {
    return this.#calls.make({ kind: 'other', path, doing, work })
  }
}

class SimulatedFile implements OpenFile {
  readonly #calls: DiskCalls
  readonly #inode: FileInode
  readonly #path: string
  readonly #canWrite: boolean
  #closed = false

  constructor(calls: DiskCalls, inode: FileInode, how: { path: string; canWrite: boolean }) {
    this.#calls = calls
    this.#inode = inode
    this.#path = how.path
    this.#canWrite = how.canWrite
  }

  read(into: Uint8Array, at: number): Promise<number> {
    return this.#make('read', 'read', () => {
      if (this.#calls.fails('read', this.#path)) throw systemError('EIO', this.#path)
      const count = this.#calls.disk.read(this.#inode, into, at)
      this.#misread(into.subarray(0, count), at)
      return count
    })
  }

  #misread(read: Uint8Array, from: number): void {
    const { misreads } = this.#calls.task.node.diskFaults
    for (const { path, at, right, wrong } of misreads) {
      const there = read.subarray(Math.max(0, at - from), Math.max(0, at - from + right.length))
      if (path !== this.#path || at < from || Buffer.compare(there, right) !== 0) continue
      there.set(wrong)
      misreads.splice(0)
      return
    }
  }

  async write(bytes: Uint8Array, at: number): Promise<void> {
    if (!this.#canWrite) throw fileError(systemError('EBADF', this.#path), this.#path, 'write')
    if (this.#closed) throw fileError(systemError('EBADF', this.#path), this.#path, 'write')
    const { disk } = this.#calls
    const taken = Uint8Array.from(bytes)
    const change = disk.beginWrite(this.#inode, at, taken)
    await this.#make('write', 'write', () => {
      invariant(
        Buffer.compare(bytes, taken) === 0,
        'bytes that are being written are not changed meanwhile',
        { path: this.#path, at },
      )
      const failure = this.#failureOf(at + taken.length)
      if (failure === undefined) return disk.endWrite(this.#inode, change)
      const written = this.#calls.choose.choose(taken.length + 1, 'disk.part')
      const kept = this.#calls.choose.choose(2, 'disk.nothing') === 0 ? 0 : written
      disk.failWrite(this.#inode, change, kept)
      const error = fileError(failure, this.#path, 'write')
      error.facts['writtenBytes'] = kept
      throw error
    })
  }

  datasync(): Promise<void> {
    const done = this.#done()
    // Sizes that no data needs are not part of the promise.
    const last = done.findLastIndex((change) => change.kind === 'write')
    return this.#sync(done.slice(0, last + 1))
  }

  sync(): Promise<void> {
    return this.#sync(this.#done())
  }

  truncate(bytes: number): Promise<void> {
    return this.#make('other', 'truncate', () => {
      if (!this.#canWrite) throw systemError('EINVAL', this.#path)
      this.#calls.disk.resize(this.#inode, bytes)
    })
  }

  bytes(): Promise<number> {
    return this.#make('other', 'measure', () => this.#inode.current.size)
  }

  async close(): Promise<void> {
    await this.#make('other', 'close', () => undefined)
    this.#closed = true
  }

  /** What a sync called now covers: writes that completed. */
  #done(): Change[] {
    return this.#inode.pending.filter((change) => !change.flying)
  }

  #sync(covered: readonly Change[]): Promise<void> {
    const { disk, choose } = this.#calls
    return this.#make('sync', 'sync', () => {
      if (!this.#calls.fails('sync', this.#path)) return disk.settleData(this.#inode, covered)
      // Any part may have reached the medium; the system believes the rest clean, and the next sync
      // will succeed.
      this.#inode.settle(covered.filter(() => choose.choose(2, 'disk.reached') === 0))
      this.#inode.forget(covered, choose.choose(2, 'disk.visible') === 0)
      // Space that was promised at the write may be missing when it is wanted.
      throw systemError(choose.choose(4, 'disk.error') === 0 ? 'ENOSPC' : 'EIO', this.#path)
    })
  }

  #failureOf(end: number): Error | undefined {
    const { disk } = this.#calls
    const growth = Math.max(0, end - this.#inode.current.size)
    const noSpace = growth > 0 && disk.usedBytes() + growth > disk.capacityBytes
    if (noSpace || this.#calls.fails('full', this.#path)) return systemError('ENOSPC', this.#path)
    if (this.#calls.fails('write', this.#path)) return systemError('EIO', this.#path)
    return undefined
  }

  #make<T>(kind: Call<T>['kind'], doing: string, work: () => T): Promise<T> {
    const path = this.#path
    const guarded = () => {
      if (this.#closed) throw systemError('EBADF', path)
      return work()
    }
    return this.#calls.make({ kind, path, doing, work: guarded })
  }
}
