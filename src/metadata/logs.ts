// The records of named logs: opaque bytes at /quire/logs/NAME, changed by compare-and-set; of a
// cluster elsewhere than at /ledgers, beside its root.

import { QuireError } from '../errors.ts'
import { quireDirectory } from './cluster.ts'
import type { CallOptions, MetadataSession } from './contract.ts'
import type { Versioned } from './managers.ts'
import { createWithParents, isMissing, once, readIfThere } from './nodes.ts'

export interface LogRecordManager {
  /**
   * Undefined when there is none. Linearizable. `watch` is called once at the next change, also at
   * its creation.
   */
  read(
    name: string,
    options?: CallOptions & { watch?: (() => void) | undefined },
  ): Promise<Versioned<Uint8Array> | undefined>
  /** QUIRE_NODE_EXISTS when there is one. */
  create(name: string, record: Uint8Array, options?: CallOptions): Promise<Versioned<Uint8Array>>
  /** CAS: QUIRE_BAD_VERSION, QUIRE_NO_NODE. */
  write(
    name: string,
    record: Uint8Array,
    version: number,
    options?: CallOptions,
  ): Promise<Versioned<Uint8Array>>
  /** CAS: QUIRE_BAD_VERSION, QUIRE_NO_NODE. */
  delete(name: string, version: number, options?: CallOptions): Promise<void>
  /** Names of all logs, sorted. */
  list(options?: CallOptions & { watch?: (() => void) | undefined }): Promise<string[]>
}

export function createLogRecordManager(
  session: MetadataSession,
  { root }: { root?: string } = {},
): LogRecordManager {
  const directory = `${quireDirectory(root)}/logs`
  const pathOf = (name: string): string => `${directory}/${nodeName(name)}`
  return {
    async read(name, options) {
      const found = await readIfThere(session, pathOf(name), options)
      return found && { value: found.data, version: found.stat.version }
    },
    async create(name, record, options) {
      const write = { data: record, signal: options?.signal }
      const { stat } = await createWithParents(session, pathOf(name), write)
      return { value: record, version: stat.version }
    },
    async write(name, record, version, options) {
      const stat = await session.set(pathOf(name), record, version, options)
      return { value: record, version: stat.version }
    },
    delete: async (name, version, options) => session.delete(pathOf(name), version, options),
    list: (options) => list(session, directory, options),
  }
}

async function list(
  session: MetadataSession,
  directory: string,
  options: CallOptions & { watch?: (() => void) | undefined } = {},
): Promise<string[]> {
  const { signal } = options
  const watch = once(options.watch)
  for (;;) {
    try {
      const read = { signal, linearizable: true, watch }
      const { names } = await session.children(directory, read)
      return names.map((name) => decodeURIComponent(name)).sort()
    } catch (error) {
      if (!isMissing(error)) throw error
    }
    // It comes with the first log.
    if (!(await readIfThere(session, directory, { signal, watch }))) return []
  }
}

/** Any name makes one node's name: what a path does not take is escaped. */
function nodeName(name: string): string {
  if (name === '' || !name.isWellFormed()) {
    throw new QuireError('QUIRE_BAD_PATH', `${JSON.stringify(name)} is no name for a log`, {
      facts: { path: name },
    })
  }
  const escaped = encodeURIComponent(name)
  const relative = escaped === '.' || escaped === '..'
  return relative ? escaped.replaceAll('.', '%2E') : escaped
}
