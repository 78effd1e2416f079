// While a world runs in a process of its own, what no simulated node may touch throws (semantics
// G2): a clock or a timer of the machine would make two runs of one seed differ.

const forbidden = (what: string) => (): never => {
  throw new Error(`${what} is of the machine, not of the world: it belongs to src/io`)
}

export function guardGlobals(): void {
  Math.random = forbidden('Math.random')
  Date.now = forbidden('Date.now')
  performance.now = forbidden('performance.now')
  AbortSignal.timeout = forbidden('AbortSignal.timeout')
  crypto.getRandomValues = forbidden('crypto.getRandomValues')
  crypto.randomUUID = forbidden('crypto.randomUUID')
  for (const name of ['setTimeout', 'setInterval', 'queueMicrotask'] as const) {
    Object.defineProperty(globalThis, name, { value: forbidden(name) })
  }
}
