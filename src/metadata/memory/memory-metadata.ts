// The metadata contract in memory, for tests and for trying things out.

import type { Logger } from '../../io/log.ts'
import type { Clock, Random, Timers } from '../../io/time.ts'
import type { MetadataStore } from '../contract.ts'
import { TreeMetadata } from '../tree-metadata.ts'
import { openTree } from '../tree/tree.ts'
import { MemoryTreeStore } from './tree-store.ts'

export interface MemoryMetadataOptions {
  readonly clock: Clock
  readonly random: Random
  readonly timers: Timers
  readonly logger: Logger
}

/** A tree of its own, empty. */
export function createMemoryMetadata(options: MemoryMetadataOptions): MetadataStore {
  return new TreeMetadata(openTree({ store: new MemoryTreeStore(), ...options }))
}
