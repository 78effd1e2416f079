// The watches of one session, over all its connections. ZooKeeper keeps one for each path and kind;
// here each caller has one of its own.

import { messageOf } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { ZooKeeperEvent } from '../../io/zookeeper.ts'
import type { WatchEvent } from '../contract.ts'

export type WatchCallback = (event: WatchEvent) => void

/** `data`: of a node that was there; `exist`: of one that was not. */
export type WatchKind = 'data' | 'exist' | 'children'

/** Of paths in one request when watches are laid again: far below the server's limit. */
const bytesAtOnce = 131_072

const told: Readonly<Record<ZooKeeperEvent['type'], readonly WatchKind[]>> = {
  created: ['data', 'exist'],
  changed: ['data', 'exist'],
  deleted: ['data', 'exist', 'children'],
  children: ['children'],
}

export type WatchPaths = Readonly<Record<WatchKind, string[]>>

export class WatchRegistry {
  readonly #logger: Logger
  readonly #laid: Readonly<Record<WatchKind, Map<string, WatchCallback[]>>> = {
    data: new Map(),
    exist: new Map(),
    children: new Map(),
  }

  constructor(logger: Logger) {
    this.#logger = logger
  }

  lay(watch: { kind: WatchKind; path: string; callback: WatchCallback }): void {
    const { kind, path, callback } = watch
    const there = this.#laid[kind].get(path)
    if (there) there.push(callback)
    else this.#laid[kind].set(path, [callback])
  }

  /** One-shot. */
  fire({ type, path }: ZooKeeperEvent): void {
    const calls = told[type].flatMap((kind) => this.#take(kind, path))
    for (const call of calls) this.#tell(call, { type, path })
  }

  /** All that is laid, in parts for one request each. */
  list(): WatchPaths[] {
    const parts: WatchPaths[] = []
    let bytes = bytesAtOnce
    for (const kind of ['data', 'exist', 'children'] as const) {
      for (const path of this.#laid[kind].keys()) {
        const size = Buffer.byteLength(path) + 4
        if (bytes + size > bytesAtOnce) {
          parts.push({ data: [], exist: [], children: [] })
          bytes = 0
        }
        bytes += size
        parts.at(-1)?.[kind].push(path)
      }
    }
    return parts
  }

  /** The session is gone, so are its watches. */
  endAll(): void {
    for (const kind of ['data', 'exist', 'children'] as const) {
      for (const path of this.#laid[kind].keys()) {
        for (const call of this.#take(kind, path)) this.#tell(call, { type: 'session', path })
      }
    }
  }

  #take(kind: WatchKind, path: string): WatchCallback[] {
    const calls = this.#laid[kind].get(path) ?? []
    this.#laid[kind].delete(path)
    return calls
  }

  #tell(call: WatchCallback, event: WatchEvent): void {
    try {
      call(event)
    } catch (error) {
      // A watcher's own mistake must not end the connection of everybody else in the session.
      this.#logger.error(
        { error, path: event.path },
        `a metadata watcher threw: ${messageOf(error)}`,
      )
    }
  }
}
