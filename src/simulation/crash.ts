// What a disk holds after the power failed: everything durable, and of the rest whatever the
// choices say. Never changes the disk it is given, so that a test can look at many crashes of one
// moment.

import { Content, sectorBytes } from './content.ts'
import { Disk, restingFile } from './disk.ts'
import {
  apply,
  applyName,
  DirectoryInode,
  FileInode,
  type Change,
  type Inode,
  type NameChange,
  type WriteChange,
} from './inode.ts'

/**
 * What becomes of changes that were not synced. `any` picks one of the others for each file and
 * directory.
 */
export type CrashMode = 'none' | 'all' | 'prefix' | 'subset' | 'any'

export type Choose = (count: number, label: string) => number

export function afterPowerLoss(disk: Disk, mode: CrashMode, choose: Choose): Disk {
  const crash = new Crash(disk, mode, choose)
  const inodes = new Map<number, Inode>()
  const numbers = [...disk.inodes.keys()].sort((one, other) => one - other)
  for (const number of numbers) {
    const inode = disk.inodes.get(number)
    if (inode === undefined) continue
    const next = inode.kind === 'file' ? crash.file(inode) : crash.directory(inode)
    inodes.set(number, next)
  }
  const next = new Disk(disk.options, inodes, [...disk.stale])
  next.capacityBytes = disk.capacityBytes
  next.tornWrites = crash.tornWrites
  return next
}

/**
 * A process was killed: the system keeps what it was given, and finishes or drops what it was being
 * given.
 */
export function afterKill(disk: Disk, choose: Choose): void {
  for (const inode of disk.inodes.values()) {
    if (inode.kind !== 'file') continue
    const flying = inode.pending.filter((change) => change.kind === 'write' && change.flying)
    for (const change of flying) {
      if (change.kind !== 'write') continue
      const taken = [0, change.bytes.length, choose(change.bytes.length + 1, 'crash.part')]
      disk.failWrite(inode, change, taken[choose(3, 'crash.flying')] ?? 0)
    }
  }
}

const modes = ['none', 'all', 'prefix', 'subset'] as const

class Crash {
  tornWrites = 0
  readonly #disk: Disk
  readonly #mode: CrashMode
  readonly #choose: Choose

  constructor(disk: Disk, mode: CrashMode, choose: Choose) {
    this.#disk = disk
    this.#mode = mode
    this.#choose = choose
  }

  file(inode: FileInode): FileInode {
    const content = inode.durable.clone()
    const mode = this.#pickMode(inode.pending.length)
    const kept = mode === 'prefix' ? this.#choose(inode.pending.length + 1, 'crash.prefix') : 0
    for (const [index, change] of inode.pending.entries()) {
      if (mode === 'all' || (mode === 'prefix' && index < kept)) apply(content, change)
      else if (mode === 'prefix' && index === kept) this.#tear(content, change)
      else if (mode === 'subset') this.#maybe(content, change)
    }
    return restingFile(inode.number, content, inode)
  }

  directory(inode: DirectoryInode): DirectoryInode {
    const names = new Map(inode.durable)
    const mode = this.#pickMode(inode.pending.length)
    const kept = mode === 'prefix' ? this.#choose(inode.pending.length + 1, 'crash.prefix') : 0
    const dropped = new Set<string>()
    for (const [index, change] of inode.pending.entries()) {
      const keep =
        mode === 'all' ||
        (mode === 'prefix' && index < kept) ||
        (mode === 'subset' && !touches(dropped, change) && this.#choose(2, 'crash.name') === 0)
      if (keep) {
        applyName(names, change)
      } else {
        dropped.add(change.name)
        if (change.kind === 'rename') dropped.add(change.to)
      }
    }
    return new DirectoryInode(inode.number, names)
  }

  #pickMode(changes: number): CrashMode {
    if (this.#mode !== 'any' || changes === 0) return this.#mode
    return modes[this.#choose(modes.length, 'crash.mode')] ?? 'none'
  }

  #maybe(content: Content, change: Change): void {
    const fate = this.#choose(3, 'crash.change')
    if (fate === 0) apply(content, change)
    else if (fate === 1) this.#tear(content, change)
  }

  /** Sectors in any order, each whole or not at all; one that was being written may be garbage. */
  #tear(content: Content, change: Change): void {
    if (change.kind !== 'write') return
    const end = change.at + change.bytes.length
    if (end > content.size && this.#choose(2, 'crash.size') === 0) this.#grow(content, end)
    let [kept, dropped] = [0, 0]
    for (let at = change.at; at < end;) {
      const next = Math.min(end, (Math.floor(at / sectorBytes) + 1) * sectorBytes)
      const sector = this.#sector(change, at, next)
      if (sector === undefined) dropped += 1
      else kept += 1
      if (sector !== undefined) content.write(sector, at)
      at = next
    }
    if (kept > 0 && dropped > 0) this.tornWrites += 1
  }

  #sector(change: WriteChange, from: number, to: number): Uint8Array | undefined {
    const fate = this.#choose(change.flying ? 3 : 2, 'crash.sector')
    if (fate === 0) return change.bytes.subarray(from - change.at, to - change.at)
    if (fate === 1) return undefined
    return new Uint8Array(to - from).fill(this.#choose(256, 'crash.garbage'))
  }

  /** The size is durable before the data: zeros show, or what a file that is gone had there. */
  #grow(content: Content, size: number): void {
    const from = content.size
    content.resize(size)
    const { stale } = this.#disk
    if (stale.length === 0 || this.#choose(2, 'crash.stale') === 0) return
    const page = stale[this.#choose(stale.length, 'crash.stale')] ?? new Uint8Array(0)
    content.write(page.subarray(0, size - from), from)
  }
}

function touches(names: ReadonlySet<string>, change: NameChange): boolean {
  return names.has(change.name) || (change.kind === 'rename' && names.has(change.to))
}
