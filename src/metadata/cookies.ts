// Bookies' cookies in the metadata (metadata 2.5, 4.6): which identity is known to the cluster, and
// with which directories.

import { decodeCookie, encodeCookie } from '../wire/cookie.ts'
import type { Cookie } from '../wire/cookie.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import type { Versioned } from './managers.ts'
import { createWithParents, isMissing, readIfThere } from './nodes.ts'

export interface CookieManager {
  /** Undefined when the cluster knows no such bookie. Linearizable. */
  read(bookieId: string, options?: CallOptions): Promise<Versioned<Cookie> | undefined>
  /** QUIRE_NODE_EXISTS when there is one. */
  create(bookieId: string, cookie: Cookie, options?: CallOptions): Promise<void>
  /** CAS: QUIRE_BAD_VERSION, QUIRE_NO_NODE. */
  write(
    bookieId: string,
    cookie: Versioned<Cookie>,
    options?: CallOptions,
  ): Promise<Versioned<Cookie>>
  /** CAS: QUIRE_BAD_VERSION, QUIRE_NO_NODE. */
  delete(bookieId: string, version: number, options?: CallOptions): Promise<void>
  /** Ids of all bookies that the cluster knows, sorted. */
  list(options?: CallOptions): Promise<string[]>
}

export function createCookieManager(
  session: MetadataSession,
  { root = '/ledgers' }: { root?: string } = {},
): CookieManager {
  const directory = `${root}/cookies`
  const pathOf = (bookieId: string): string => `${directory}/${bookieId}`
  return {
    async read(bookieId, options) {
      const found = await readIfThere(session, pathOf(bookieId), options)
      return found && { value: decodeCookie(found.data), version: found.stat.version }
    },
    async create(bookieId, cookie, options) {
      const data = encodeCookie(cookie)
      await createWithParents(session, pathOf(bookieId), { data, signal: options?.signal })
    },
    async write(bookieId, { value, version }, options) {
      const stat = await session.set(pathOf(bookieId), encodeCookie(value), version, options)
      return { value, version: stat.version }
    },
    delete: (bookieId, version, options) => session.delete(pathOf(bookieId), version, options),
    async list(options) {
      try {
        const read = { signal: options?.signal, linearizable: true }
        return (await session.children(directory, read)).names
      } catch (error) {
        // The directory comes with the first cookie.
        if (isMissing(error)) return []
        throw error
      }
    },
  }
}
