// Snapshots on their way: copies of the tree that followers are being sent, and the one that is
// being received.

import { QuireError } from '../../errors.ts'
import type { Random } from '../../io/time.ts'
import type { ReplicatedTreeStore } from '../../io/tree-store.ts'
import type { ChunkToWrite } from './core/effects.ts'
import type { NodeId, SnapshotMeta } from './core/types.ts'
import { encodeEnd, encodePiece, ImageReader } from './image.ts'
import type { StoreLane } from './store-lane.ts'
import { appliedIn, type AppliedAt } from './stored.ts'

const pieceBytes = 262_144

interface Copy {
  readonly snapshot: SnapshotMeta
  readonly bytes: Buffer
  readonly users: Set<NodeId>
}

/** The copies that are being sent. One lives as long as a follower is sent it. */
export class Copies {
  readonly #store: ReplicatedTreeStore
  readonly #random: Random
  readonly #copies = new Map<string, Copy>()
  #taking: Promise<Copy | undefined> | undefined

  constructor(parts: { store: ReplicatedTreeStore; random: Random }) {
    this.#store = parts.store
    this.#random = parts.random
  }

  /** A copy for this follower: the tree of now. Followers that ask together share one. */
  async take(to: NodeId): Promise<SnapshotMeta | undefined> {
    this.release(to)
    this.#taking ??= this.#take()
    const copy = await this.#taking
    this.#taking = undefined
    if (copy === undefined) return undefined
    copy.users.add(to)
    this.#copies.set(copy.snapshot.id, copy)
    return copy.snapshot
  }

  read(id: string, range: { offset: number; bytesMax: number }): Uint8Array | undefined {
    const bytes = this.#copies.get(id)?.bytes
    return bytes?.subarray(range.offset, range.offset + range.bytesMax)
  }

  release(to: NodeId): void {
    for (const [id, { users }] of this.#copies) {
      users.delete(to)
      if (users.size === 0) this.#copies.delete(id)
    }
  }

  async #take(): Promise<Copy | undefined> {
    const parts: Buffer[] = []
    const facts = new Map<string, Uint8Array>()
    for await (const piece of this.#store.image(pieceBytes)) {
      parts.push(encodePiece(piece))
      for (const [name, value] of piece.facts) if (value) facts.set(name, value)
    }
    parts.push(encodeEnd(parts.length))
    const found = await appliedIn({ facts: async () => facts })
    if (found === undefined) return undefined
    const bytes = Buffer.concat(parts)
    const { at, configuration } = found
    const snapshot = { id: this.#random.uuid(), ...at, configuration, sizeBytes: bytes.length }
    return { snapshot, bytes, users: new Set() }
  }
}

/** The snapshot that is being received: put aside in the store, piece by piece. */
export class Staging {
  readonly #store: ReplicatedTreeStore
  readonly #lane: StoreLane
  #reader: ImageReader | undefined
  #id = ''
  #at = 0
  #pieces = 0
  #applied: AppliedAt | undefined

  constructor(parts: { store: ReplicatedTreeStore; lane: StoreLane }) {
    this.#store = parts.store
    this.#lane = parts.lane
  }

  /** Damage is found here, and told by `isWhole`. */
  async take({ snapshot, offset, bytes }: ChunkToWrite): Promise<void> {
    if (offset === 0) this.#begin(snapshot.id)
    if (this.#reader === undefined || snapshot.id !== this.#id || offset !== this.#at) {
      this.#reader = undefined
      return
    }
    this.#at += bytes.length
    try {
      for (const piece of this.#reader.push(bytes)) {
        const isFirst = this.#pieces++ === 0
        const found = await appliedIn({ facts: async () => plainFacts(piece.facts) })
        this.#applied = found?.at ?? this.#applied
        await this.#lane.run(() => this.#store.stage(piece, isFirst))
      }
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#reader = undefined
    }
  }

  /** F3.50: every checksum was right, nothing is missing, and it is what it was said to be. */
  isWhole({ id, index, term, sizeBytes }: SnapshotMeta): boolean {
    const isComplete = this.#reader?.ended === true && this.#at === sizeBytes && this.#id === id
    return isComplete && this.#applied?.index === index && this.#applied.term === term
  }

  #begin(id: string): void {
    this.#reader = new ImageReader()
    this.#id = id
    this.#at = 0
    this.#pieces = 0
    this.#applied = undefined
  }
}

function plainFacts(facts: ReadonlyMap<string, Uint8Array | undefined>): Map<string, Uint8Array> {
  return new Map([...facts].flatMap(([name, value]) => (value ? [[name, value]] : [])))
}

const isDamage = (error: unknown): boolean =>
  QuireError.is(error, 'QUIRE_SNAPSHOT_CORRUPT') || QuireError.is(error, 'QUIRE_BAD_FRAME')
