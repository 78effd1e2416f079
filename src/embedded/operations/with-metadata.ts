// What operations read and change in the metadata: over a session of their own, as any client.
import { QuireError } from '../../errors.ts'
import type { Address } from '../../io/index.ts'
import { connectMetadata } from '../../metadata/client/index.ts'
import type { MetadataSession } from '../../metadata/contract.ts'
import type { LedgerMetadata } from '../../wire/ledger-metadata.ts'
import { openManagers, type Managers } from '../managers.ts'
import { bookiesOf, copiesOf, type LedgerCopies } from './copies.ts'
import type { OperationParts } from './view.ts'

export interface Metadata {
  readonly session: MetadataSession
  readonly managers: Managers
}

const sessionMs = 10_000

/** Fails as opening a session does: QUIRE_METADATA_UNAVAILABLE, QUIRE_UNAUTHORIZED. */
export async function withMetadata<T>(
  parts: OperationParts,
  addresses: readonly Address[],
  work: (metadata: Metadata) => Promise<T>,
): Promise<T> {
  const { io, logger, signal } = parts
  const store = connectMetadata({ ...io, logger, addresses, timeoutMs: sessionMs })
  try {
    const session = await store.session({ signal })
    return await work({ session, managers: await openManagers(session, { io, signal }) })
  } finally {
    await store.close()
  }
}

export interface LedgersFound {
  readonly total: number
  /** Those that were looked for, at most `ledgersNamedMax` of them. */
  readonly ledgers: readonly LedgerCopies[]
  readonly count: number
  /** Of those, the ones of which an entry may be nowhere among the live copies. */
  readonly atRisk: number
}

/** Ledgers that an answer names; more are counted. */
export const ledgersNamedMax = 1_000

export interface LedgerQuestion {
  /** Bookies on which a copy counts. */
  readonly isLive: (bookieId: string) => boolean
  /** Whether a ledger is one of those that are looked for. */
  readonly wanted: (copies: LedgerCopies, bookies: ReadonlySet<string>) => boolean
}

/** Reads the metadata of every ledger, linearizably. */
export async function findLedgers(
  { managers }: Pick<Metadata, 'managers'>,
  { isLive, wanted }: LedgerQuestion,
): Promise<LedgersFound> {
  const ledgers: LedgerCopies[] = []
  let [total, count, atRisk] = [0, 0, 0]
  for await (const { ledgerId, metadata } of eachLedger(managers)) {
    total += 1
    const copies = copiesOf(ledgerId, metadata, isLive)
    if (copies === undefined || !wanted(copies, bookiesOf(metadata))) continue
    count += 1
    if (copies.copies < copies.needed) atRisk += 1
    if (ledgers.length < ledgersNamedMax) ledgers.push(copies)
  }
  return { total, ledgers, count, atRisk }
}

/** Every ledger with its metadata; one that was deleted meanwhile is passed over. */
export async function* eachLedger({ ledgers }: Pick<Managers, 'ledgers'>): AsyncGenerator<{
  readonly ledgerId: bigint
  readonly metadata: LedgerMetadata
  readonly version: number
}> {
  for await (const ledgerId of ledgers.list()) {
    try {
      const { value: metadata, version } = await ledgers.read(ledgerId)
      yield { ledgerId, metadata, version }
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_LEDGER_MISSING')) throw error
    }
  }
}

/** Bookies that are registered, writable or not. */
export async function liveBookies({ managers }: Pick<Metadata, 'managers'>): Promise<Set<string>> {
  const { registration } = managers
  return new Set([...(await registration.writable()), ...(await registration.readOnly())])
}
