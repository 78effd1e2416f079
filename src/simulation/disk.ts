// A simulated disk with a file system on it (semantics G5), synchronous: when things happen, and
// what goes wrong, is for `SimulatedFiles` to say. Nothing is durable by itself: data by a sync of
// its file, names by a sync of their directory. Errors are those of a system: `code` is ENOENT and
// the like.

import { Content, sectorBytes } from './content.ts'
import {
  apply,
  DirectoryInode,
  FileInode,
  type Change,
  type Inode,
  type NameChange,
  type WriteChange,
} from './inode.ts'

export interface DiskOptions {
  /** Default 1 GiB. */
  readonly capacityBytes?: number
  /** As ext4 does: a sync of a new file makes its name durable too. Default false. */
  readonly syncsNames?: boolean
}

export const rootNumber = 1

export class Disk {
  readonly options: DiskOptions
  readonly inodes: Map<number, Inode>
  /** Pages of files that are gone: what a new file may show where nothing was written. */
  readonly stale: Uint8Array[]
  /** May be changed at any time: what is there stays. */
  capacityBytes: number
  /** Writes of which the last loss of power left a part. */
  tornWrites = 0
  /** Called after each change, also of what is durable: where a test looks at every crash. */
  observe: ((what: string) => void) | undefined
  #lastNumber: number

  constructor(options: DiskOptions = {}, inodes?: Map<number, Inode>, stale: Uint8Array[] = []) {
    this.options = options
    this.capacityBytes = options.capacityBytes ?? 2 ** 30
    this.inodes = inodes ?? new Map([[rootNumber, new DirectoryInode(rootNumber)]])
    this.stale = stale
    this.#lastNumber = Math.max(...this.inodes.keys())
  }

  // Names

  find(path: string): Inode | undefined {
    let inode: Inode | undefined = this.inodes.get(rootNumber)
    for (const name of namesOf(path)) {
      if (inode?.kind !== 'directory') return undefined
      const number = inode.current.get(name)
      inode = number === undefined ? undefined : this.inodes.get(number)
    }
    return inode
  }

  file(path: string): FileInode {
    const inode = this.find(path)
    if (inode === undefined) throw systemError('ENOENT', path)
    if (inode.kind !== 'file') throw systemError('EISDIR', path)
    return inode
  }

  directory(path: string): DirectoryInode {
    const inode = this.find(path)
    if (inode === undefined) throw systemError('ENOENT', path)
    if (inode.kind !== 'directory') throw systemError('ENOTDIR', path)
    return inode
  }

  create(path: string): FileInode {
    const { directory, name } = this.#place(path)
    if (directory.current.has(name)) throw systemError('EEXIST', path)
    const inode = new FileInode(++this.#lastNumber)
    this.inodes.set(inode.number, inode)
    directory.change({ kind: 'link', name, inode: inode.number })
    this.#changed(`create ${path}`)
    return inode
  }

  /** Missing parents too, each durable at once. */
  makeDirectory(path: string): void {
    let parent = this.directory('/')
    for (const name of namesOf(path)) {
      const number = parent.current.get(name)
      let inode = number === undefined ? undefined : this.inodes.get(number)
      if (inode === undefined) {
        inode = new DirectoryInode(++this.#lastNumber)
        this.inodes.set(inode.number, inode)
        parent.change({ kind: 'link', name, inode: inode.number })
      }
      if (inode.kind !== 'directory') throw systemError('ENOTDIR', path)
      parent.settle(parent.pending.filter((change) => change.name === name))
      parent = inode
    }
    this.#changed(`makeDirectory ${path}`)
  }

  rename(from: string, to: string): void {
    const source = this.#place(from)
    const target = this.#place(to)
    const inode = source.directory.current.get(source.name)
    if (inode === undefined) throw systemError('ENOENT', from)
    if (source.directory !== target.directory) throw systemError('EXDEV', to)
    this.#recycle(target.directory, target.name)
    const { name } = source
    source.directory.change({ kind: 'rename', name, to: target.name, inode })
    this.#changed(`rename ${from} ${to}`)
  }

  remove(path: string): void {
    const inode = this.find(path)
    if (inode === undefined) return
    if (inode.kind !== 'file') throw systemError('EISDIR', path)
    const { directory, name } = this.#place(path)
    this.#recycle(directory, name)
    directory.change({ kind: 'unlink', name })
    this.#changed(`remove ${path}`)
  }

  settleNames(directory: DirectoryInode, changes: readonly NameChange[]): void {
    directory.settle(changes)
    this.#changed('syncDirectory')
  }

  // Data

  /** The write is with the disk, not yet seen: a crash may leave any part of it. */
  beginWrite(file: FileInode, at: number, bytes: Uint8Array): WriteChange {
    const change: WriteChange = { kind: 'write', at, bytes, flying: true }
    file.pending.push(change)
    this.#changed('write begins')
    return change
  }

  endWrite(file: FileInode, change: WriteChange): void {
    change.flying = false
    apply(file.current, change)
    file.pending = [...file.pending.filter((other) => other !== change), change]
    this.#changed('write ends')
  }

  /** A write that fails: `written` bytes of it were taken. */
  failWrite(file: FileInode, change: WriteChange, written: number): void {
    file.pending = file.pending.filter((other) => other !== change)
    if (written === 0) return
    const bytes = change.bytes.subarray(0, written)
    this.endWrite(file, { kind: 'write', at: change.at, bytes, flying: true })
  }

  resize(file: FileInode, size: number): void {
    if (size < file.current.size) this.stale.push(...file.current.pages().slice(-4))
    const change: Change = { kind: 'resize', size, flying: false }
    apply(file.current, change)
    file.pending.push(change)
    this.#changed('resize')
  }

  settleData(file: FileInode, changes: readonly Change[]): void {
    file.settle(changes)
    if (this.options.syncsNames === true) this.#settleNamesOf(file)
    this.#changed('sync')
  }

  read(file: FileInode, into: Uint8Array, at: number): number {
    const count = Math.min(into.length, Math.max(0, file.current.size - at))
    for (const sector of file.badSectors) {
      const from = sector * sectorBytes
      if (from < at + count && from + sectorBytes > at) throw systemError('EIO', 'bad sector')
    }
    return file.current.read(into, at)
  }

  usedBytes(): number {
    let sum = 0
    for (const directory of this.inodes.values()) {
      if (directory.kind !== 'directory') continue
      for (const number of directory.current.values()) {
        const inode = this.inodes.get(number)
        if (inode?.kind === 'file') sum += inode.current.size
      }
    }
    return sum
  }

  /** Paths of all files, sorted. */
  files(under: string = '/'): string[] {
    const { current } = this.directory(under)
    const paths = [...current].flatMap(([name, number]) => {
      const path = `${under === '/' ? '' : under}/${name}`
      return this.inodes.get(number)?.kind === 'directory' ? this.files(path) : [path]
    })
    return paths.sort()
  }

  // What befalls data at rest. The processes are not told.

  flipBit(path: string, at: number, bit: number = 0): void {
    const byte = new Uint8Array(1)
    this.file(path).current.read(byte, at)
    byte[0] = (byte[0] ?? 0) ^ (1 << bit)
    this.overwrite(path, at, byte)
  }

  /** A misdirected write, garbage, zeros: on the medium, with no process's knowledge. */
  overwrite(path: string, at: number, bytes: Uint8Array): void {
    const file = this.file(path)
    file.current.write(bytes, at)
    file.durable.write(bytes, at)
  }

  /**
   * What was written there never reached the medium, although it was synced: the system shows it
   * until the power fails.
   */
  revert(path: string, at: number, old: Uint8Array): void {
    this.file(path).durable.write(old, at)
  }

  /** The file ends earlier than it did. */
  cut(path: string, bytes: number): void {
    const file = this.file(path)
    file.current.resize(bytes)
    file.durable.resize(bytes)
  }

  /** The sector at `at` cannot be read any more. */
  breakSector(path: string, at: number): void {
    this.file(path).badSectors.add(Math.floor(at / sectorBytes))
  }

  /** The file is gone, name and all, as if it had never been. */
  lose(path: string): void {
    const { directory, name } = this.#place(path)
    directory.current.delete(name)
    directory.durable.delete(name)
  }

  #settleNamesOf(file: FileInode): void {
    for (const inode of this.inodes.values()) {
      if (inode.kind !== 'directory') continue
      inode.settle(
        inode.pending.filter((change) => change.kind === 'link' && change.inode === file.number),
      )
    }
  }

  #place(path: string): { directory: DirectoryInode; name: string } {
    const names = namesOf(path)
    const name = names.pop()
    if (name === undefined) throw systemError('EISDIR', path)
    return { directory: this.directory(names.join('/')), name }
  }

  #recycle(directory: DirectoryInode, name: string): void {
    const number = directory.current.get(name)
    const inode = number === undefined ? undefined : this.inodes.get(number)
    if (inode?.kind === 'file') this.stale.push(...inode.current.pages().slice(-4))
    this.stale.splice(0, Math.max(0, this.stale.length - 64))
  }

  #changed(what: string): void {
    this.observe?.(what)
  }
}

/** A file with this content that nothing was done to. */
export function restingFile(number: number, content: Content, old: FileInode): FileInode {
  return new FileInode(number, content, old.badSectors)
}

export function namesOf(path: string): string[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

export function systemError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: ${path} (simulated)`), { code })
}
