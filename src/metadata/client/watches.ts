// The watches of one session, over all its connections. A watch is named by the request id of the
// read that laid it, and is remembered with what that read showed, so that a change while nobody
// was connected is seen when it is laid again.

import { messageOf } from '../../errors.ts'
import type { Logger } from '../../io/log.ts'
import type { WatchKind, WireWatch } from '../../wire/metadata-messages.ts'
import type { WatchEvent } from '../contract.ts'

export type WatchCallback = (event: WatchEvent) => void

interface LaidWatch {
  readonly kind: WatchKind
  readonly path: string
  readonly zxid: number
  readonly callback: WatchCallback
}

const isStanding = (kind: WatchKind): boolean => kind === 'node' || kind === 'tree'

export class WatchRegistry {
  readonly #logger: Logger
  readonly #laid = new Map<number, LaidWatch>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  lay(watchId: number, watch: LaidWatch): void {
    this.#laid.set(watchId, watch)
  }

  /** Takes a standing watch back: its number, if it stands. */
  remove(callback: WatchCallback): number | undefined {
    const found = [...this.#laid].find(([, watch]) => watch.callback === callback)
    if (found) this.#laid.delete(found[0])
    return found?.[0]
  }

  /** A watch that is not known is none of ours any more. */
  fire(watchId: number, event: WatchEvent): void {
    const watch = this.#laid.get(watchId)
    if (!watch) return
    if (!isStanding(watch.kind)) this.#laid.delete(watchId)
    this.#tell(watch.callback, event)
  }

  /** With what their reads showed; a standing one with the last zxid that was answered. */
  list(lastZxid: number): WireWatch[] {
    return [...this.#laid].map(([watchId, { kind, path, zxid }]) => ({
      watchId,
      kind,
      path,
      zxid: isStanding(kind) ? lastZxid : zxid,
    }))
  }

  /** The session is gone, so are its watches. */
  endAll(): void {
    const ended = [...this.#laid.values()]
    this.#laid.clear()
    for (const { callback, path } of ended) this.#tell(callback, { type: 'session', path })
  }

  #tell(callback: WatchCallback, event: WatchEvent): void {
    try {
      callback(event)
    } catch (error) {
      // A watcher's own mistake must not end the connection of everybody else in the session.
      this.#logger.error(
        { error, path: event.path },
        `a metadata watcher threw: ${messageOf(error)}`,
      )
    }
  }
}
