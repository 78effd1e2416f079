// What the simulated disk holds under a number. `durable` is what survives a loss of power for
// sure, `current` is what processes see, `pending` is what stands between the two.

import { Content } from './content.ts'

export interface WriteChange {
  readonly kind: 'write'
  readonly at: number
  readonly bytes: Uint8Array
  /** True from the call to its completion. */
  flying: boolean
}

export interface ResizeChange {
  readonly kind: 'resize'
  readonly size: number
  readonly flying: false
}

export type Change = WriteChange | ResizeChange

export class FileInode {
  readonly kind = 'file'
  readonly number: number
  durable: Content
  current: Content
  /** Oldest first, by completion. */
  pending: Change[] = []
  /** Sectors that cannot be read. */
  readonly badSectors: Set<number>

  constructor(number: number, content: Content = new Content(), badSectors?: Iterable<number>) {
    this.number = number
    this.durable = content
    this.current = content.clone()
    this.badSectors = new Set(badSectors)
  }

  /** Makes changes durable. What is not among `pending` any more was already. */
  settle(changes: readonly Change[]): void {
    const settled = new Set(changes)
    for (const change of this.pending) {
      if (settled.has(change)) apply(this.durable, change)
    }
    this.pending = this.pending.filter((change) => !settled.has(change))
  }

  /** Forgets changes without making them durable: what a failed sync leaves behind. */
  forget(changes: readonly Change[], keepVisible: boolean): void {
    const forgotten = new Set(changes)
    this.pending = this.pending.filter((change) => !forgotten.has(change))
    if (keepVisible) return
    this.current = this.durable.clone()
    for (const change of this.pending) {
      if (!change.flying) apply(this.current, change)
    }
  }
}

export type NameChange =
  | { readonly kind: 'link'; readonly name: string; readonly inode: number }
  | { readonly kind: 'unlink'; readonly name: string }
  | { readonly kind: 'rename'; readonly name: string; readonly to: string; readonly inode: number }

export class DirectoryInode {
  readonly kind = 'directory'
  readonly number: number
  durable: Map<string, number>
  current: Map<string, number>
  pending: NameChange[] = []

  constructor(number: number, names: ReadonlyMap<string, number> = new Map()) {
    this.number = number
    this.durable = new Map(names)
    this.current = new Map(names)
  }

  change(change: NameChange): void {
    applyName(this.current, change)
    this.pending.push(change)
  }

  settle(changes: readonly NameChange[]): void {
    const settled = new Set(changes)
    for (const change of this.pending) {
      if (settled.has(change)) applyName(this.durable, change)
    }
    this.pending = this.pending.filter((change) => !settled.has(change))
  }
}

export type Inode = FileInode | DirectoryInode

export function apply(content: Content, change: Change): void {
  if (change.kind === 'write') content.write(change.bytes, change.at)
  else content.resize(change.size)
}

export function applyName(names: Map<string, number>, change: NameChange): void {
  if (change.kind !== 'link') names.delete(change.name)
  if (change.kind === 'link') names.set(change.name, change.inode)
  if (change.kind === 'rename') names.set(change.to, change.inode)
}
