// What a node's store holds: log, hard state and the state that was applied, changed only by
// replacement, so that what a crash leaves is an object kept from before.

import type {
  ConfigurationAt,
  Entry,
  HardState,
  SnapshotMeta,
  StoredState,
  TermRun,
} from '../../src/metadata/raft/core/types.ts'
import { decodeConfiguration } from '../../src/metadata/raft/core/configuration-codec.ts'

export interface Disk {
  readonly hard: HardState
  readonly cut: { readonly index: number; readonly term: number }
  readonly log: readonly Entry[]
  /** The state: the texts of all normal entries applied, and how far. */
  readonly values: readonly string[]
  readonly applied: number
  readonly configuration: ConfigurationAt
}

/** One batch that a core gave to be written. */
export interface Write {
  readonly token: number
  readonly truncateFrom: number | undefined
  readonly entries: readonly Entry[]
  readonly hard: HardState | undefined
}

export const emptyDisk = (stored: StoredState, configuration: ConfigurationAt): Disk => ({
  hard: stored.hardState,
  cut: stored.cut,
  log: [],
  values: [],
  applied: stored.applied,
  configuration,
})

export function write(disk: Disk, { truncateFrom, entries, hard }: Write): Disk {
  const kept =
    truncateFrom === undefined ? disk.log : disk.log.filter(({ index }) => index < truncateFrom)
  const log = entries.length === 0 ? kept : [...kept, ...entries]
  const last = kept.at(-1)?.index ?? disk.cut.index
  if (entries[0] && entries[0].index !== last + 1) throw new Error(`a gap behind ${last}`)
  return { ...disk, log, hard: hard ?? disk.hard }
}

export function apply(disk: Disk, entry: Entry): Disk {
  const { index, type, bytes } = entry
  if (index !== disk.applied + 1) throw new Error(`${index} applied behind ${disk.applied}`)
  const isValue = type === 'normal'
  return {
    ...disk,
    applied: index,
    values: isValue ? [...disk.values, Buffer.from(bytes).toString()] : disk.values,
    configuration:
      type === 'config' ? { index, configuration: decodeConfiguration(bytes) } : disk.configuration,
  }
}

export function cut(disk: Disk, index: number): Disk {
  const term = disk.log.find((entry) => entry.index === index)?.term
  if (term === undefined) throw new Error(`no entry ${index} to cut at`)
  return { ...disk, cut: { index, term }, log: disk.log.filter((entry) => entry.index > index) }
}

export function install(disk: Disk, snapshot: SnapshotMeta, bytes: Uint8Array): Disk {
  const { index, term, configuration } = snapshot
  return {
    hard: { ...disk.hard, commit: Math.max(disk.hard.commit, index) },
    cut: { index, term },
    log: [],
    values: JSON.parse(Buffer.from(bytes).toString()) as string[],
    applied: index,
    configuration,
  }
}

/** What a core is started with. */
export function storedOf(disk: Disk): StoredState {
  const { hard, cut, log, applied, configuration } = disk
  const terms: TermRun[] = []
  for (const { index, term } of log) {
    if (terms.at(-1)?.term !== term) terms.push({ firstIndex: index, term })
  }
  const later = log
    .filter(({ index, type }) => type === 'config' && index > applied)
    .map(({ index, bytes }) => ({ index, configuration: decodeConfiguration(bytes) }))
  const lastIndex = log.at(-1)?.index ?? cut.index
  return {
    hardState: hard,
    cut,
    lastIndex,
    terms,
    applied,
    configurations: [configuration, ...later],
  }
}
