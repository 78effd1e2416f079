// A program for threads that tests start: answers each message, does what it is told.
import type { Io } from '../../src/io/index.ts'
import type { ThreadPort } from '../../src/io/index.ts'
import { QuireError } from '../../src/errors.ts'

export interface Order {
  readonly kind: 'echo' | 'throw' | 'lock' | 'poison'
  readonly value?: unknown
}

function isOrder(message: unknown): message is Order {
  return typeof message === 'object' && message !== null && 'kind' in message
}

export function run(port: ThreadPort, io: Io): void {
  port.receive((message) => {
    if (!isOrder(message)) throw new Error('not an order')
    if (message.kind === 'throw') throw new Error(String(message.value))
    if (message.kind === 'poison') io.files.poison(String(message.value))
    if (message.kind === 'lock') void lock(port, io, String(message.value))
    else port.post(message.value)
  })
}

async function lock(port: ThreadPort, io: Io, directory: string): Promise<void> {
  try {
    await io.files.lock(directory)
    port.post('locked')
  } catch (error) {
    port.post(QuireError.is(error) ? error.code : String(error))
  }
}
