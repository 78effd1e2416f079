// What the checkers hear, told as the story of a run: calls that give nothing back are news, the
// others are questions.

import type { World } from '../../src/simulation/index.ts'
import { nameOf } from '../../src/simulation/report.ts'
import type { Checkers } from './checkers/all.ts'

type About = (first: unknown) => string

/** The checkers; what clients tell them is told to whoever listens to the world, too. */
export function heard(checkers: Checkers, world: World): Checkers {
  const { ledgers, logs, machines, databases, registers, bookies } = checkers
  const named = <T extends object>(all: ReadonlyMap<string, T>, kind: string) =>
    new Map([...all].map(([name, one]) => [name, told(one, world, () => `${kind} ${name}`)]))
  return {
    ...checkers,
    ledgers: told(ledgers, world, ledgerOf),
    logs: named(logs, 'log'),
    machines: named(machines, 'state'),
    databases: named(databases, 'state'),
    registers: told(registers, world, String),
    bookies: told(bookies, world, ledgerOf),
  }
}

/** The checker, whose every piece of news is told first to whoever listens to the world. */
function told<T extends object>(checker: T, world: World, about: About): T {
  return new Proxy(checker, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]): unknown => {
        const result: unknown = value.apply(target, args)
        if (result === undefined) {
          const text = () => `${String(name)} ${args.map(short).join(' ')}`
          world.scheduler.tell(text, { about: about(args[0]) })
        }
        return result
      }
    },
  })
}

/** Names in the checkers' own words. */
const ledgerOf: About = (first) => `ledger ${String(isEntry(first) ? first.ledgerId : first)}`

function isEntry(value: unknown): value is { readonly ledgerId: bigint } {
  return typeof value === 'object' && value !== null && 'ledgerId' in value
}

function short(value: unknown): string {
  if (value instanceof Uint8Array) return nameOf(value)
  if (Array.isArray(value))
    return value.length > 4 ? `${value.length} of them` : value.map(short).join()
  if (typeof value !== 'object' || value === null) return String(value)
  return Object.entries(value)
    .filter(([name]) => name !== 'bookie' && name !== 'cameAt')
    .map(([name, each]) => `${name} ${short(each)}`)
    .join(' ')
}
