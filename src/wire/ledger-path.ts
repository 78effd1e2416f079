// Where a ledger's metadata lies in the tree, and which ledger lies at a path (metadata 3.1, 3.2,
// 6.1).

import type { LedgerLayout } from './cluster-records.ts'
import { badMetadata } from './proto-schema.ts'

/** From here on the hierarchical layout uses the long form: Integer.MAX_VALUE itself included. */
export const longIdsFrom = 2_147_483_647n

const idMax = 9_223_372_036_854_775_807n

/** Names of a ledger's path below the root, the last one with its `L`. */
export function ledgerPathNames(layout: LedgerLayout, ledgerId: bigint): string[] {
  if (ledgerId < 0n || ledgerId > idMax) throw badMetadata(`${ledgerId} is no ledger id`)
  const short = String(ledgerId).padStart(10, '0')
  if (layout === 'flat') return [`L${short}`]
  const long =
    layout === 'longhierarchical' || (layout === 'hierarchical' && ledgerId >= longIdsFrom)
  if (!long) {
    if (short.length > 10) throw badMetadata(`${ledgerId} is too large for the ${layout} layout`)
    return [short.slice(0, 2), short.slice(2, 6), `L${short.slice(6)}`]
  }
  const digits = String(ledgerId).padStart(19, '0')
  const bucket = (at: number): string => digits.slice(at, at + 4)
  return [digits.slice(0, 3), bucket(3), bucket(7), bucket(11), `L${bucket(15)}`]
}

export function ledgerPath(root: string, layout: LedgerLayout, ledgerId: bigint): string {
  return [root, ...ledgerPathNames(layout, ledgerId)].join('/')
}

/** The id from the names below the root. */
export function ledgerIdOfNames(layout: LedgerLayout, names: readonly string[]): bigint {
  const shape = names.map((name) => name.replace(/^L/, '').length).join('-')
  const digits = names.map((name, index) => (index === names.length - 1 ? unmarked(name) : name))
  const text = digits.join('')
  const fits = layout === 'flat' ? names.length === 1 : shape === '2-4-4' || shape === '3-4-4-4-4'
  const id = fits && /^[0-9]{1,19}$/.test(text) ? BigInt(text) : undefined
  if (id === undefined || id > idMax) throw badMetadata(`${names.join('/')} is no path of a ledger`)
  return id
}

/** The id from a whole path. */
export function ledgerIdOfPath(root: string, layout: LedgerLayout, path: string): bigint {
  if (!path.startsWith(`${root}/`)) throw badMetadata(`${path} is not below ${root}`)
  return ledgerIdOfNames(layout, path.slice(root.length + 1).split('/'))
}

function unmarked(name: string): string {
  if (name.startsWith('L')) return name.slice(1)
  throw badMetadata(`${name} is no name of a ledger`)
}

/**
 * Which children of the root lead to ledgers; `short` and `long` are depths of buckets below them.
 */
export function ledgerBuckets(layout: LedgerLayout): { short: boolean; long: boolean } {
  return {
    short: layout === 'hierarchical' || layout === 'legacyhierarchical',
    long: layout === 'hierarchical' || layout === 'longhierarchical',
  }
}

/**
 * The number behind the last dash of a sequential node's name, undefined when it is none of an id
 * generator.
 */
export function sequenceOf(path: string): number | undefined {
  const digits = /-(-?[0-9]{9,10})$/.exec(path)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/**
 * The mark of an under-replicated ledger: its id's four groups of 16 bits in hex, then the id in
 * decimal.
 */
export function underreplicationPath(root: string, ledgerId: bigint): string {
  const hex = ledgerId.toString(16).padStart(16, '0')
  const groups = [0, 4, 8, 12].map((at) => hex.slice(at, at + 4))
  return [root, 'underreplication', 'ledgers', ...groups, markName(ledgerId)].join('/')
}

export function underreplicationLockPath(root: string, ledgerId: bigint): string {
  return [root, 'underreplication', 'locks', markName(ledgerId)].join('/')
}

const markName = (ledgerId: bigint): string => `urL${String(ledgerId).padStart(10, '0')}`
