// Payloads that all differ, at almost no cost: a window sliding over random bytes, stamped with a
// counter.
import { randomBytes } from 'node:crypto'

export function createPayloads(size: number): () => Uint8Array {
  const pool = randomBytes(Math.max(1 << 20, size * 4))
  const state = { counter: 0 }
  return () => {
    const counter = state.counter++
    const start = (counter * 127) % (pool.length - size)
    // The append takes its bytes before it returns, so the pool may be stamped again.
    if (size >= 8) pool.writeDoubleLE(counter, start)
    return pool.subarray(start, start + size)
  }
}
