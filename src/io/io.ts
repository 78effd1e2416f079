import type { Files } from './files.ts'
import type { JournalDevices } from './journal-device.ts'
import type { Network } from './network.ts'
import type { StateStores } from './state-store.ts'
import type { Threads } from './threads.ts'
import type { Clock, Random, Timers } from './time.ts'
import type { TreeStores } from './tree-store.ts'
import type { ZooKeepers } from './zookeeper.ts'

/**
 * The outside world of one node. Everything that touches it receives the part it needs, by name.
 */
export interface Io {
  readonly files: Files
  readonly network: Network
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly threads: Threads
  readonly journals: JournalDevices
  readonly trees: TreeStores
  readonly states: StateStores
  readonly zookeepers: ZooKeepers
  /** A value of the process's environment, as it was at the start. */
  environment(name: string): string | undefined
}
