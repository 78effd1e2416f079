// The journal's own thread: sleeps until the doorbell rings, writes spans of shared memory, syncs
// them, counts them. Everything here is synchronous on purpose: nothing else runs on this thread.

import { closeSync, constants, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { parentPort, receiveMessageOnPort } from 'node:worker_threads'
import { invariant } from '../../invariant.ts'
import { messageOf } from '../../errors.ts'
import { systemCode } from './file-errors.ts'
import {
  field,
  result,
  slotOf,
  word,
  writeErrorText,
  type JournalReply,
  type JournalRequest,
} from './journal-ring.ts'

/** Runs until the thread is terminated. */
export function run(): void {
  invariant(parentPort !== null, 'the journal runs on a thread')
  const port = parentPort
  const first = receiveMessageOnPort(port)?.message as JournalRequest | undefined
  if (first === undefined) {
    port.once('message', (message: JournalRequest) => serve(port, message))
  } else {
    serve(port, first)
  }
}

function serve(port: NonNullable<typeof parentPort>, first: JournalRequest): void {
  invariant(first.kind === 'ring', 'the first message brings the ring')
  const thread = new JournalThread(first.ring)
  port.postMessage({ id: first.id } satisfies JournalReply)
  for (;;) {
    const seen = thread.doorbell()
    let request = receiveMessageOnPort(port)
    // What was submitted before a request comes before it.
    thread.commitAll()
    while (request !== undefined) {
      port.postMessage(thread.answer(request.message as JournalRequest))
      request = receiveMessageOnPort(port)
      thread.commitAll()
    }
    thread.sleep(seen)
  }
}

class JournalThread {
  readonly #ring: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #files = new Map<number, { descriptor: number; image: Uint8Array }>()
  #failed = false

  constructor(ring: SharedArrayBuffer) {
    this.#ring = ring
    this.#words = new Int32Array(ring)
  }

  doorbell(): number {
    return Atomics.load(this.#words, word.doorbell)
  }

  sleep(seen: number): void {
    Atomics.wait(this.#words, word.doorbell, seen)
  }

  answer(request: JournalRequest): JournalReply {
    try {
      if (request.kind === 'open') {
        const descriptor = openSync(request.path, constants.O_RDWR)
        this.#files.set(request.file, { descriptor, image: request.image })
      } else if (request.kind === 'close') {
        const open = this.#files.get(request.file)
        this.#files.delete(request.file)
        if (open !== undefined) closeSync(open.descriptor)
      }
      return { id: request.id }
    } catch (error) {
      return { id: request.id, error: { code: systemCode(error), message: messageOf(error) } }
    }
  }

  commitAll(): void {
    const words = this.#words
    let next = Atomics.load(words, word.completed)
    while (next !== Atomics.load(words, word.submitted)) {
      const slot = slotOf(next)
      words[slot + field.result] = this.#commit(slot)
      next = (next + 1) | 0
      Atomics.store(words, word.completed, next)
      Atomics.notify(words, word.completed)
    }
  }

  #commit(slot: number): number {
    if (this.#failed) return result.failed
    const [file = -1, from = 0, to = 0] = this.#words.subarray(slot, slot + field.result)
    const open = this.#files.get(file)
    let at = from
    try {
      invariant(open !== undefined, 'a commit names an open file', { file })
      while (at < to) at += writeSync(open.descriptor, open.image, at, to - at, at)
      fdatasyncSync(open.descriptor)
      return result.done
    } catch (error) {
      const full = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
      writeErrorText(this.#ring, messageOf(error))
      if (full && at === from) return result.full
      this.#failed = true
      return result.failed
    }
  }
}
