// What code reaches without being given it: the global clock, timers and random numbers. While they
// are held, code that runs in surroundings of its own (`inSurroundings`) meets those instead of the
// machine's; all other code of the process meets what it always met.

import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import nodeTimers from 'node:timers'
import timersPromises from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Clock, Random, Timer, Timers } from '../time.ts'

export interface Surroundings {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  /** Told the name of what is used, before it answers. */
  readonly used?: ((what: string) => void) | undefined
}

const storage = new AsyncLocalStorage<Surroundings>()

/** Runs `work`, and all that follows from it, in these surroundings, while globals are held. */
export function inSurroundings<T>(surroundings: Surroundings, work: () => T): T {
  return storage.run(surroundings, work)
}

let holders = 0
let restore: (() => void)[] = []

/** Until the function it returns was called as often as this one. */
export function holdGlobals(): () => void {
  holders += 1
  if (holders === 1) take()
  let held = true
  return () => {
    if (!held) return
    held = false
    holders -= 1
    if (holders === 0) giveBack()
  }
}

function take(): void {
  for (const [object, name, make] of replacements) {
    const before = Object.getOwnPropertyDescriptor(object, name)
    const original: unknown = Reflect.get(object, name)
    if (typeof original !== 'function') continue
    const value = make((...args: unknown[]): unknown => Reflect.apply(original, object, args))
    const promised = Object.getOwnPropertyDescriptor(original, promisify.custom)
    if (promised && typeof value === 'function') {
      Object.defineProperty(value, promisify.custom, promised)
    }
    Object.defineProperty(object, name, { value, writable: true, configurable: true })
    restore.push(() => {
      if (before) Object.defineProperty(object, name, before)
      else Reflect.deleteProperty(object, name)
    })
  }
  syncBuiltinESMExports()
}

function giveBack(): void {
  for (const call of restore.reverse()) call()
  restore = []
  syncBuiltinESMExports()
}

function here(what: string): Surroundings | undefined {
  const surroundings = storage.getStore()
  surroundings?.used?.(what)
  return surroundings
}

type Call = (...args: unknown[]) => unknown
type Replacement = readonly [object: object, name: string, make: (original: Call) => unknown]

/** A function that asks the surroundings, where there are some. */
function instead(
  what: string,
  answer: (surroundings: Surroundings, ...args: unknown[]) => unknown,
): (original: Call) => Call {
  return (original) =>
    (...args) => {
      const surroundings = here(what)
      return surroundings ? answer(surroundings, ...args) : original(...args)
    }
}

const RealDate = Date

/** `new Date()` and `Date()` are the clock; `new Date(5)` is a date like any other. */
const date = new Proxy(RealDate, {
  construct(target, args, newTarget) {
    const surroundings = args.length === 0 ? here('new Date()') : undefined
    const values = surroundings ? [surroundings.clock.wallMs()] : args
    return Reflect.construct(target, values, newTarget) as object
  },
  apply(target) {
    const surroundings = here('Date()')
    return surroundings ? new target(surroundings.clock.wallMs()).toString() : target()
  },
})

function chance({ random }: Surroundings): number {
  return random.bytes(6).readUIntBE(0, 6) / 2 ** 48
}

function fill({ random }: Surroundings, array: unknown): unknown {
  if (ArrayBuffer.isView(array)) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    bytes.set(random.bytes(bytes.length))
  }
  return array
}

/** As far as programs use what `setTimeout` gives them. */
class Timeout {
  readonly #timer: Timer

  constructor(timer: Timer) {
    this.#timer = timer
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  hasRef(): boolean {
    return true
  }

  close(): this {
    this.#timer.cancel()
    return this
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
  }
}

const callOf = (call: unknown, args: unknown[]): (() => void) =>
  AsyncLocalStorage.bind(() => {
    if (typeof call === 'function') Reflect.apply(call, undefined, args)
  })

const delayOf = (delayMs: unknown): number => Math.max(1, Number(delayMs ?? 1) || 1)

function setVirtualTimeout({ timers }: Surroundings, ...[call, delayMs, ...args]: unknown[]) {
  return new Timeout(timers.after(delayOf(delayMs), callOf(call, args)))
}

function setVirtualInterval({ timers }: Surroundings, ...[call, delayMs, ...args]: unknown[]) {
  const run = callOf(call, args)
  let timer: Timer
  const again = (): void => {
    timer = timers.after(delayOf(delayMs), again)
    run()
  }
  timer = timers.after(delayOf(delayMs), again)
  return new Timeout({ cancel: () => timer.cancel() })
}

function setVirtualImmediate({ timers }: Surroundings, ...[call, ...args]: unknown[]) {
  let cancelled = false
  const run = callOf(call, args)
  timers.soon(() => {
    if (!cancelled) run()
  })
  return new Timeout({ cancel: () => (cancelled = true) })
}

/** A timer of surroundings is cleared wherever it is, any other as always. */
const clear =
  (original: Call): Call =>
  (timer) =>
    timer instanceof Timeout ? void timer.close() : original(timer)

/** The promised forms: `setTimeout(delayMs, value, { signal })`. */
function wait({ timers }: Surroundings, delayMs: number, rest: unknown[]): Promise<unknown> {
  const [value, options] = rest as [unknown, { signal?: AbortSignal } | undefined]
  const { promise, resolve, reject } = Promise.withResolvers<unknown>()
  const signal = options?.signal
  const timer = timers.after(delayMs, () => resolve(value))
  const abort = (): void => {
    timer.cancel()
    reject(new DOMException('The operation was aborted', 'AbortError'))
  }
  if (signal?.aborted) abort()
  else signal?.addEventListener('abort', abort, { once: true })
  return promise
}

function abortAfter({ timers }: Surroundings, delayMs: unknown): AbortSignal {
  const controller = new AbortController()
  const reason = new DOMException('The operation was aborted due to timeout', 'TimeoutError')
  timers.after(delayOf(delayMs), () => controller.abort(reason))
  return controller.signal
}

function timerFunctions(object: object): Replacement[] {
  return [
    [object, 'setTimeout', instead('setTimeout()', setVirtualTimeout)],
    [object, 'setInterval', instead('setInterval()', setVirtualInterval)],
    [object, 'setImmediate', instead('setImmediate()', setVirtualImmediate)],
    [object, 'clearTimeout', clear],
    [object, 'clearInterval', clear],
    [object, 'clearImmediate', clear],
  ]
}

const replacements: readonly Replacement[] = [
  [globalThis, 'Date', () => date],
  [RealDate, 'now', instead('Date.now()', ({ clock }) => Math.floor(clock.wallMs()))],
  [performance, 'now', instead('performance.now()', ({ clock }) => clock.monotonicMs())],
  [Math, 'random', instead('Math.random()', chance)],
  [crypto, 'getRandomValues', instead('crypto.getRandomValues()', fill)],
  [crypto, 'randomUUID', instead('crypto.randomUUID()', ({ random }) => random.uuid())],
  [AbortSignal, 'timeout', instead('AbortSignal.timeout()', abortAfter)],
  ...timerFunctions(globalThis),
  ...timerFunctions(nodeTimers),
  [
    timersPromises,
    'setTimeout',
    instead('setTimeout()', (at, delayMs, ...rest) => wait(at, delayOf(delayMs), rest)),
  ],
  [timersPromises, 'setImmediate', instead('setImmediate()', (at, ...rest) => wait(at, 1, rest))],
]
