// The simulator's own source of numbers (sfc32, public domain): the same on every machine and in
// every release of Node. A fork has its own sequence, so that a draw added in one place does not
// change those of another.

export class SeededRandom {
  readonly #seed: string
  #a = 0
  #b = 0
  #c = 0
  #counter = 1

  constructor(seed: string) {
    this.#seed = seed
    this.#a = hashText(`${seed}/a`)
    this.#b = hashText(`${seed}/b`)
    this.#c = hashText(`${seed}/c`)
    for (let round = 0; round < 12; round++) this.u32()
  }

  u32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }

  /** An integer in [0, below), `below` up to 2^32. */
  below(below: number): number {
    return Math.floor((this.u32() / 2 ** 32) * below)
  }

  fork(label: string): SeededRandom {
    return new SeededRandom(`${this.#seed}/${label}`)
  }
}

/** FNV-1a with a final mix. */
export function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) hash = mix(hash, text.charCodeAt(index))
  return finish(hash)
}

export function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193)
}

function finish(hash: number): number {
  let value = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35)
  return (value ^ (value >>> 16)) >>> 0
}
