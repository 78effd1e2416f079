// Forgets a bookie that is gone for good: registration, cookie, incarnation. Whoever has its disk
// cannot come back under its id then, for the id is retired in the group.
import { QuireError } from '../../errors.ts'
import type { Address } from '../../io/index.ts'
import { removeIncarnation } from '../../metadata/incarnations.ts'
import { againMs, pause, refusedError } from './ask-leader.ts'
import type { OperationParts } from './view.ts'
import { liveBookies, withMetadata } from './with-metadata.ts'

/** Longer than the session of a node that ended lives on. */
const registeredMs = 60_000

/** Refused as `still-runs` while it is registered. */
export async function forgetBookie(
  parts: OperationParts,
  { addresses, bookieId }: { addresses: readonly Address[]; bookieId: string },
): Promise<void> {
  const { clock } = parts.io
  await withMetadata(parts, addresses, async (metadata) => {
    const endMs = clock.monotonicMs() + registeredMs
    while ((await liveBookies(metadata)).has(bookieId)) {
      if (clock.monotonicMs() > endMs) {
        throw refusedError('still-runs', `bookie ${bookieId} is registered: end it first`)
      }
      await pause(parts, againMs)
    }
    const { cookies } = metadata.managers
    const cookie = await cookies.read(bookieId)
    try {
      if (cookie) await cookies.delete(bookieId, cookie.version)
    } catch (error) {
      if (!QuireError.is(error, 'QUIRE_NO_NODE')) throw error
    }
    await removeIncarnation(metadata.session, bookieId, { root: metadata.managers.root })
  })
}
