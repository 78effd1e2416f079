// What a rescue changes in the tree, once the node is a group of its own: so that nobody of the old
// group is heard any more, and so that what is left can be read to its end.
//
// I1. Every session of the old group ends, and its ephemerals with it.
// I2. Every log has a newer owner's epoch: whoever owned it changes its record no more (F3.73).
// I3. A ledger that was not closed can be recovered from the bookie that is left, and by nobody
//     else: its copies elsewhere count no more, since whoever has them is not part of this group.
// I4. Bookies that are lost are known no more, so that one bookie is enough for new ledgers. Their
//     incarnations stay: their ids are never taken up by an empty disk.
// Each of these may be done twice.
import type { Io } from '../../../io/index.ts'
import type { MetadataSession } from '../../../metadata/contract.ts'
import type { ReplicatedTree } from '../../../metadata/raft/replicated-tree.ts'
import type { LedgerMetadata } from '../../../wire/ledger-metadata.ts'
import { claim } from '../../log/core/log-record.ts'
import { RecordStore } from '../../log/record-store.ts'
import { openManagers, type Managers } from '../../managers.ts'
import { eachLedger } from '../with-metadata.ts'

export interface FenceParts {
  readonly io: Io
  readonly tree: ReplicatedTree
  readonly session: MetadataSession
  readonly bookieId: string
  readonly clusterId: string
}

export async function fence(parts: FenceParts): Promise<void> {
  const { io, tree, session } = parts
  for (const { sessionId } of await tree.sessions()) {
    if (sessionId !== session.sessionId) await tree.endSession(sessionId, 'expired')
  }
  const managers = await openManagers(session, { io })
  await fenceLogs(parts, managers)
  await narrowLedgers(managers, parts.bookieId)
  await forgetOthers(managers, parts.bookieId)
}

/** I2. */
async function fenceLogs({ io, clusterId }: FenceParts, { records }: Managers): Promise<void> {
  const { random, timers } = io
  const owner = { id: `rescue/${clusterId}`, token: random.uuid() }
  for (const name of await records.list()) {
    const store = new RecordStore({ name, records, random, timers })
    await store.change((record) => claim(record, owner))
  }
}

/** I3. */
async function narrowLedgers(managers: Managers, bookieId: string): Promise<void> {
  for await (const { ledgerId, metadata, version } of eachLedger(managers)) {
    const narrow = narrowed(metadata, bookieId)
    if (narrow) await managers.ledgers.write(ledgerId, narrow, version)
  }
}

/**
 * Undefined where nothing is to be done: it is closed, or narrow already, or its entries are spread
 * over more bookies than hold each, so that one has a part of them only.
 */
export function narrowed(metadata: LedgerMetadata, bookieId: string): LedgerMetadata | undefined {
  const { state, ensembleSize, writeQuorumSize, fragments } = metadata
  if (state === 'closed' || ensembleSize !== writeQuorumSize) return undefined
  const lost = fragments.findIndex(({ ensemble }) => !ensemble.includes(bookieId))
  if (ensembleSize === 1 && lost < 0) return undefined
  const sizes = { ensembleSize: 1, writeQuorumSize: 1, ackQuorumSize: 1 }
  const narrow = fragments.map(({ firstEntryId, ensemble }) => ({
    firstEntryId,
    ensemble: ensemble.includes(bookieId) ? [bookieId] : ensemble.slice(0, 1),
  }))
  const last = narrow.at(-1)
  if (last?.ensemble[0] === bookieId) return { ...metadata, ...sizes, fragments: narrow }
  // What was written last is on nobody who is left: the ledger ends before it.
  const end = narrow.findLastIndex(({ ensemble }) => ensemble[0] === bookieId)
  const after = narrow[end + 1]
  return {
    ...metadata,
    ...sizes,
    fragments: end < 0 ? narrow.slice(0, 1) : narrow.slice(0, end + 1),
    state: 'closed',
    lastEntryId: end < 0 || !after ? -1 : after.firstEntryId - 1,
    lengthBytes: 0,
  }
}

/** I4. */
async function forgetOthers({ cookies }: Managers, bookieId: string): Promise<void> {
  for (const id of await cookies.list()) {
    const cookie = id === bookieId ? undefined : await cookies.read(id)
    if (cookie) await cookies.delete(id, cookie.version)
  }
}
