// Watches, called in the order of the changes: one that a read laid once, at the first change of
// what was read; a standing one at each, until it is taken back.

import type { WatchEvent } from '../contract.ts'
import type { TreeEvent } from './apply.ts'
import { parentOf } from './path.ts'

export type TreeWatch = (event: WatchEvent) => void
export type WatchKind = 'data' | 'children'
/** `node`: what happens to it and to its children; `tree`: to it and to all below. */
export type StandingKind = 'node' | 'tree'

type Places = Map<string, Set<TreeWatch>>

export class Watches {
  readonly #data: Places = new Map()
  readonly #children: Places = new Map()
  readonly #node: Places = new Map()
  readonly #tree: Places = new Map()
  readonly #laid = new Map<TreeWatch, { places: Places; path: string }>()
  readonly #onError: (error: unknown) => void

  /** `onError` is told what a watch threw: the tree goes on, whoever laid it. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
  }

  get size(): number {
    return this.#laid.size
  }

  /** A function is one watch: who lays another gives another. */
  lay(kind: WatchKind, path: string, watch: TreeWatch): void {
    this.#put(this.#places(kind), path, watch)
  }

  /** Lays one that is called for every change. */
  stand(kind: StandingKind, path: string, watch: TreeWatch): void {
    this.#put(kind === 'node' ? this.#node : this.#tree, path, watch)
  }

  /** Takes back a watch that was not called yet, or a standing one. */
  remove(watch: TreeWatch): void {
    const laid = this.#laid.get(watch)
    if (!laid) return
    this.#laid.delete(watch)
    const set = laid.places.get(laid.path)
    set?.delete(watch)
    if (set?.size === 0) laid.places.delete(laid.path)
  }

  /**
   * Calls those that the event is for. Removal of a node tells also those who watch its children,
   * as in ZooKeeper.
   */
  fire({ type, path }: TreeEvent): void {
    if (type !== 'children') this.#take(this.#data, path, { type, path })
    if (type === 'children' || type === 'deleted') this.#take(this.#children, path, { type, path })
    if (this.#node.size > 0) this.#tell(this.#node.get(path), { type, path })
    if (this.#tree.size === 0 || type === 'children') return
    for (let above = path; ; above = parentOf(above)) {
      this.#tell(this.#tree.get(above), { type, path })
      if (above === '/') return
    }
  }

  /** Calls all of them, with the event that ends everything. */
  end(): void {
    for (const places of [this.#data, this.#children, this.#node, this.#tree]) {
      for (const path of places.keys()) this.#take(places, path, { type: 'session', path })
    }
  }

  #places(kind: WatchKind): Places {
    return kind === 'data' ? this.#data : this.#children
  }

  #put(places: Places, path: string, watch: TreeWatch): void {
    this.#laid.set(watch, { places, path })
    const set = places.get(path)
    if (set) set.add(watch)
    else places.set(path, new Set([watch]))
  }

  #take(places: Places, path: string, event: WatchEvent): void {
    const set = places.get(path)
    if (!set) return
    places.delete(path)
    for (const watch of set) this.#laid.delete(watch)
    this.#tell(set, event)
  }

  #tell(set: ReadonlySet<TreeWatch> | undefined, event: WatchEvent): void {
    for (const watch of set ?? []) {
      try {
        watch(event)
      } catch (error) {
        this.#onError(error)
      }
    }
  }
}
