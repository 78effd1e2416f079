// All mistakes, and those that wait for the code in which they could be made.

import { bookieCanaries } from './bookie.ts'
import type { Canary, ToCome } from './canary.ts'
import { ledgerCanaries } from './ledger.ts'
import { logCanaries } from './log.ts'
import { metadataCanaries } from './metadata.ts'
import { planted } from './planted.ts'
import { raftCanaries } from './raft.ts'

export const canaries: readonly Canary[] = [
  ...ledgerCanaries,
  ...bookieCanaries,
  ...raftCanaries,
  ...logCanaries,
  ...metadataCanaries,
]

export const toCome: readonly ToCome[] = [
  {
    id: '14',
    what: 're-replication of the fragment that is written to',
    bringer: 'repair',
  },
  { id: '15', what: 'an ensemble is swapped before its copies are made', bringer: 'repair' },
  {
    id: '24',
    what: 'the flip of a cache shows readers neither side',
    bringer: 'a mover of entries',
  },
  { id: '25', what: 'compaction deletes before its index is durable', bringer: 'compaction' },
  { id: '26', what: 'compaction overwrites what has changed meanwhile', bringer: 'compaction' },
  {
    id: '27',
    what: 'ledgers are collected by the list of a follower that lags',
    bringer: 'reads of metadata from followers',
  },
  { id: '29', what: 'a tombstone is dropped early', bringer: 'tombstones with compaction' },
  { id: '30', what: 'the cookie is stamped before limbo is entered', bringer: 'limbo' },
  {
    id: '48',
    what: 'a probe is believed while the ensemble changes',
    bringer: 'reads by fence probes',
  },
  { id: '49', what: 'a lease runs from its answer', bringer: 'leases' },
]

export function canaryOf(id: string): Canary {
  const canary = [...canaries, ...planted].find((each) => each.id === id)
  if (canary === undefined) throw new Error(`there is no canary ${id}`)
  return canary
}
