// Threads of the real world: workers of Node, which start in `thread-main` and load their program
// from this package.

import { Worker } from 'node:worker_threads'
import { QuireError } from '../../errors.ts'
import type { Message, Thread, Threads } from '../threads.ts'
import { requireNodeVersion } from './node-version.ts'
import { threadMainUrl } from './package-files.ts'

/** What `thread-main` finds as its worker's data. */
export interface ThreadStart {
  /** A module's path under `src`, without extension. */
  readonly program: string
}

export const threads: Threads = {
  start(program, data) {
    const thread = startThread(program)
    thread.post(data)
    return thread
  },
}

/** Starts a program of this package, without a first message. */
export function startThread(program: string): Thread {
  requireNodeVersion()
  const workerData: ThreadStart = { program }
  return new WorkerThread(new Worker(threadMainUrl(), { workerData, name: `quire ${program}` }))
}

class WorkerThread implements Thread {
  readonly ended: Promise<Error | undefined>
  readonly #worker: Worker
  readonly #early: Message[] = []
  #handler: ((message: Message) => void) | undefined
  #terminated = false

  constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message: Message) => {
      if (this.#handler === undefined) this.#early.push(message)
      else this.#handler(message)
    })
    this.ended = new Promise((resolve) => {
      worker.on('error', (error) => resolve(asError(error)))
      worker.on('messageerror', resolve)
      worker.on('exit', (code) => resolve(this.#exitError(code)))
    })
  }

  post(message: Message, transfer: readonly ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer)
  }

  receive(handler: (message: Message) => void): void {
    this.#handler = handler
    for (const message of this.#early.splice(0)) handler(message)
  }

  async terminate(): Promise<void> {
    this.#terminated = true
    await this.#worker.terminate()
  }

  #exitError(code: number): Error | undefined {
    if (this.#terminated || code === 0) return undefined
    return new QuireError('QUIRE_IO', `a thread of Quire ended by itself with code ${code}`)
  }
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
