// New ledger ids, as Java's clients make them beside us (metadata 3.2): the number of a sequential
// node below `idgen`, and once those are used up, below one of the directories of `idgen-long`,
// which give the high bits.

import { QuireError } from '../errors.ts'
import type { LedgerLayout } from '../wire/cluster-records.ts'
import { longIdsFrom, sequenceOf } from '../wire/ledger-path.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import { createWithParents, empty, ensure, isMissing, removeIfThere } from './nodes.ts'

/** Directories of `idgen-long` that stay. */
const directoriesKept = 3

export class LedgerIds {
  readonly #session: MetadataSession
  readonly #root: string
  readonly #layout: LedgerLayout
  /** Once there are long ids there are only long ids. */
  #long = false
  #directories: readonly number[] | undefined

  constructor(session: MetadataSession, options: { root: string; layout: LedgerLayout }) {
    this.#session = session
    this.#root = options.root
    this.#layout = options.layout
  }

  async next(options: CallOptions = {}): Promise<bigint> {
    if (await this.#usesLong(options)) return this.#nextLong(options)
    const prefix = this.#layout === 'flat' ? `${this.#root}/ID-` : `${this.#root}/idgen/ID-`
    const low = await this.#number(prefix, options)
    if (low !== undefined) return BigInt(low)
    if (!this.#mayBeLong()) {
      throw new QuireError(
        'QUIRE_UNSUPPORTED',
        `the ids of layout ${this.#layout} are used up: name ledgers' ids yourself`,
      )
    }
    await ensure(this.#session, this.#longRoot(), options)
    this.#long = true
    return this.#nextLong(options)
  }

  #longRoot(): string {
    return `${this.#root}/idgen-long`
  }

  #mayBeLong(): boolean {
    return this.#layout === 'hierarchical' || this.#layout === 'longhierarchical'
  }

  async #usesLong(options: CallOptions): Promise<boolean> {
    if (this.#long || !this.#mayBeLong()) return this.#long
    this.#long = (await this.#session.exists(this.#longRoot(), options)) !== undefined
    return this.#long
  }

  async #nextLong(options: CallOptions): Promise<bigint> {
    for (;;) {
      const directories = await this.#listed(options)
      const high = Math.max(0, ...directories)
      const low =
        high === 0
          ? undefined
          : await this.#number(`${this.#directory(high)}/ID-`, { ...options, parents: false })
      if (low !== undefined) {
        await this.#prune(directories, options)
        return (BigInt(high) << 32n) | BigInt(low)
      }
      this.#directories = undefined
      await ensure(this.#session, this.#directory(high + 1), options)
    }
  }

  async #listed(options: CallOptions): Promise<readonly number[]> {
    if (!this.#directories) {
      const read = { ...options, linearizable: true }
      const { names } = await this.#session.children(this.#longRoot(), read)
      this.#directories = names.flatMap((name) => {
        const number = name.startsWith('HOB-') ? sequenceOf(name) : undefined
        return number === undefined ? [] : [number]
      })
    }
    return this.#directories
  }

  #directory(high: number): string {
    return `${this.#longRoot()}/HOB-${String(high).padStart(10, '0')}`
  }

  /** All but the largest directories go, those of which nothing is left in them. */
  async #prune(directories: readonly number[], options: CallOptions): Promise<void> {
    if (directories.length <= directoriesKept) return
    this.#directories = undefined
    const sorted = [...directories].sort((a, b) => b - a)
    for (const high of sorted.slice(directoriesKept)) {
      try {
        await this.#session.delete(this.#directory(high), 0, options)
      } catch (error) {
        // Another one removed it, or still takes an id below it: it goes with a later id.
        if (!(error instanceof QuireError)) throw error
      }
    }
  }

  /**
   * The next number below a prefix; undefined when they are used up, or when the directory has
   * gone.
   */
  async #number(
    prefix: string,
    options: CallOptions & { parents?: boolean },
  ): Promise<number | undefined> {
    const { signal, parents = true } = options
    const create = { mode: 'ephemeral-sequential', signal } as const
    let path: string
    try {
      const created = parents
        ? await createWithParents(this.#session, prefix, { data: empty, ...create })
        : await this.#session.create(prefix, empty, create)
      path = created.path
    } catch (error) {
      if (parents || !isMissing(error)) throw error
      return undefined
    }
    const number = sequenceOf(path) ?? -1
    await this.#discard(path)
    return number >= 0 && BigInt(number) < longIdsFrom ? number : undefined
  }

  /** The number is taken, the node only was its carrier: it would go with the session. */
  async #discard(path: string): Promise<void> {
    try {
      await removeIfThere(this.#session, path)
    } catch (error) {
      if (!(error instanceof QuireError)) throw error
    }
  }
}
