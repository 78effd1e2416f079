// What every manager does with nodes.

import { QuireError } from '../errors.ts'
import type { CallOptions, CreateOptions, MetadataSession, NodeStat } from './contract.ts'
import { anyVersion } from './contract.ts'
import { parentOf } from './tree/path.ts'

export const empty: Uint8Array = new Uint8Array(0)

/** Whether an error says that the node is not there. */
export function isMissing(error: unknown): boolean {
  return QuireError.is(error, 'QUIRE_NO_NODE')
}

/** Creates a node with what is missing above it: empty and persistent, as BookKeeper does. */
export async function createWithParents(
  session: MetadataSession,
  path: string,
  options: CreateOptions & { data: Uint8Array },
): Promise<{ path: string; stat: NodeStat }> {
  const { data, ...rest } = options
  for (;;) {
    try {
      return await session.create(path, data, rest)
    } catch (error) {
      // Also when a parent that had become empty was removed meanwhile.
      if (!isMissing(error) || path === '/') throw error
      await ensure(session, parentOf(path), options)
    }
  }
}

/** A persistent node that is there afterwards, whoever made it. */
export async function ensure(
  session: MetadataSession,
  path: string,
  options: CallOptions = {},
): Promise<void> {
  if (path === '/') return
  try {
    await createWithParents(session, path, { data: empty, signal: options.signal })
  } catch (error) {
    if (!QuireError.is(error, 'QUIRE_NODE_EXISTS')) throw error
  }
}

/** Removes a node whatever its version; one that is not there is removed. */
export async function removeIfThere(
  session: MetadataSession,
  path: string,
  options: CallOptions = {},
): Promise<void> {
  try {
    await session.delete(path, anyVersion, options)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}

/**
 * The node's data, undefined when it is not there. Linearizable. `watch` is called once at the next
 * change, also when that is the node's creation.
 */
export async function readIfThere(
  session: MetadataSession,
  path: string,
  options: CallOptions & { watch?: (() => void) | undefined } = {},
): Promise<{ data: Uint8Array; stat: NodeStat } | undefined> {
  const { signal, watch } = options
  const told = once(watch)
  for (;;) {
    try {
      return await session.get(path, { signal, linearizable: true, watch: told })
    } catch (error) {
      if (!isMissing(error)) throw error
    }
    if (!told || !(await session.exists(path, { signal, linearizable: true, watch: told }))) {
      return undefined
    }
  }
}

/** Several watches may stand for one: the first that is called counts. */
export function once(watch: (() => void) | undefined): (() => void) | undefined {
  if (!watch) return undefined
  let told = false
  return () => {
    if (told) return
    told = true
    watch()
  }
}
