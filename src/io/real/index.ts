// The real outside world, put together.

import { QuireError } from '../../errors.ts'
import type { Io } from '../io.ts'
import type { StateStores } from '../state-store.ts'
import type { TreeStores } from '../tree-store.ts'
import { files } from './files.ts'
import { createJournalDevices } from './journal-device.ts'
import { network } from './network.ts'
import { random } from './random.ts'
import { startThread, threads } from './threads.ts'
import { clock, timers } from './time.ts'

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
    trees: notBuilt,
    states: notBuilt,
    environment: (name) => start[name],
    ...parts,
  }
}

const notBuilt: TreeStores & StateStores = {
  open: async (path) => missing(path),
  restore: async (path) => missing(path),
  remove: async (path) => missing(path),
}

function missing(path: string): never {
  throw new QuireError('QUIRE_UNSUPPORTED', `no store for ${path} was given to createIo`)
}
