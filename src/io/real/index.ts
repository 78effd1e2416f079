// The real outside world, put together.

import type { Io } from '../io.ts'
import { files } from './files.ts'
import { createJournalDevices } from './journal-device.ts'
import { network } from './network.ts'
import { random } from './random.ts'
import { states } from './state-store.ts'
import { startThread, threads } from './threads.ts'
import { clock, timers } from './time.ts'
import { createTreeStores } from './tree-store.ts'
import { createZooKeepers } from './zookeeper.ts'

/** The real world; a part that is given takes the place of the real one. */
export function createIo(parts: Partial<Io> = {}): Io {
  const start = { ...process.env }
  return {
    files,
    network,
    clock,
    timers,
    random,
    threads,
    journals: createJournalDevices(files, () => startThread('io/real/journal-thread')),
    trees: createTreeStores(threads),
    states,
    zookeepers: createZooKeepers(),
    environment: (name) => start[name],
    ...parts,
  }
}
