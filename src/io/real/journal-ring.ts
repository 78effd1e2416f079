// The memory that a journal device and its thread share: a doorbell, two counters and a ring of
// commits. The owner writes a slot, counts it in `submitted` and rings; the thread writes the
// slot's result and counts it in `completed`. Counters wrap; only their difference counts.

/** Commits that can be with the thread at once; more wait at the owner. */
export const ringSlots = 64

export const word = { doorbell: 0, submitted: 1, completed: 2, errorBytes: 3 } as const
export const field = { file: 0, from: 1, to: 2, result: 3 } as const
export const result = { done: 0, full: 1, failed: 2 } as const

const firstSlot = 8
const slotWords = 4
const errorAt = (firstSlot + ringSlots * slotWords) * 4
const errorBytesMax = 1024

export function createRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(errorAt + errorBytesMax)
}

/** Index of a commit's first word. */
export function slotOf(sequence: number): number {
  return firstSlot + (sequence & (ringSlots - 1)) * slotWords
}

/** Written before the result that refers to it is counted. */
export function writeErrorText(ring: SharedArrayBuffer, text: string): void {
  const bytes = Buffer.from(text).subarray(0, errorBytesMax)
  new Uint8Array(ring, errorAt, bytes.length).set(bytes)
  new Int32Array(ring)[word.errorBytes] = bytes.length
}

export function readErrorText(ring: SharedArrayBuffer): string {
  const bytes = new Int32Array(ring)[word.errorBytes] ?? 0
  return Buffer.from(new Uint8Array(ring, errorAt, bytes)).toString('utf8')
}

/** What the owner asks beside commits; each is answered by a `JournalReply` of the same id. */
export type JournalRequest =
  | { readonly id: number; readonly kind: 'ring'; readonly ring: SharedArrayBuffer }
  | {
      readonly id: number
      readonly kind: 'open'
      readonly file: number
      readonly path: string
      readonly image: Uint8Array
    }
  | { readonly id: number; readonly kind: 'close'; readonly file: number }

export interface JournalReply {
  readonly id: number
  readonly error?: { readonly code: string; readonly message: string }
}
