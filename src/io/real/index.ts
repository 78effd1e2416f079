// The real outside world, put together.

import type { Io } from '../io.ts'
import { files } from './files.ts'
import { network } from './network.ts'
import { random } from './random.ts'
import { clock, timers } from './time.ts'

export type IoParts = Pick<Io, 'threads' | 'journals' | 'trees' | 'states'> & Partial<Io>

/** The real world; a part that is given takes the place of the real one. */
export function createIo(parts: IoParts): Io {
  const start = { ...process.env }
  return {
    files,
    network,
    clock,
    timers,
    random,
    environment: (name) => start[name],
    ...parts,
  }
}
