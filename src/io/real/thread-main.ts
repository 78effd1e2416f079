// Where every thread of Quire begins: loads its program, gives it a port and an outside world of
// its own. An error that nobody caught ends the thread, and its owner is told.

import { parentPort, workerData } from 'node:worker_threads'
import { invariant } from '../../invariant.ts'
import type { Io } from '../io.ts'
import type { ThreadPort } from '../threads.ts'
import { createIo } from './index.ts'
import type { ThreadStart } from './threads.ts'

interface Program {
  run(port: ThreadPort, io: Io): void | Promise<void>
}

invariant(parentPort !== null, 'thread-main runs in a thread')
const port = parentPort
const { program } = workerData as ThreadStart
const url = new URL(`../../${program}${import.meta.url.slice(-3)}`, import.meta.url)
const module = (await import(url.href)) as Program

await module.run(
  {
    post: (message, transfer = []) => port.postMessage(message, transfer),
    receive: (handler) => {
      port.on('message', handler)
    },
  },
  createIo(),
)
