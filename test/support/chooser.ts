/** A seeded source of choices for trials: the same seed, the same choices. */
export type Chooser = (below: number) => number

/** Mulberry32: small, and its sequence never changes meaning. */
export function createChooser(seed: number): Chooser {
  const state = { value: seed >>> 0 }
  return (below) => {
    state.value = (state.value + 0x6d2b79f5) >>> 0
    let mixed = state.value
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
