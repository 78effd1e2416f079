// A node without data asks its peers who they are, again and again, until it knows what it is to
// become.

import { abortedError, messageOf, QuireError } from '../../../errors.ts'
import { formatAddress } from '../../../io/address.ts'
import type { Logger } from '../../../io/log.ts'
import type { Address } from '../../../io/network.ts'
import type { Random } from '../../../io/time.ts'
import type { ReplicatedTreeStore } from '../../../io/tree-store.ts'
import type { Founding } from '../member.ts'
import { candidateChange, candidateIn, hasTree } from '../stored.ts'
import type { Candidate } from '../stored.ts'
import { inquire, type InquireParts } from './inquire.ts'
import { judge, type Heard } from './judge.ts'

export interface FoundParts extends InquireParts {
  readonly peers: readonly Address[]
  readonly own: Candidate
  readonly logger: Logger
}

/** How often peers are asked. */
const everyMs = 500
/** How often a node that waits for the same thing says so: once in so many rounds. */
const saidEvery = 60

/** Resolves when it is clear; QUIRE_ABORTED, QUIRE_UNAUTHORIZED: no other peer has this secret. */
export async function found(parts: FoundParts): Promise<Founding> {
  const { own, peers, timers, logger, signal } = parts
  let said = ''
  for (let round = 0; ; round++) {
    if (signal?.aborted === true) throw abortedError(signal)
    const heard = await Promise.all(peers.map((address) => hear(parts, address)))
    const refused = heard.find(({ refusal }) => refusal !== undefined)?.refusal
    const isStranger = heard.every(({ said, refusal }) => refusal ?? said?.id === own.id)
    if (refused && isStranger) throw refused
    const verdict = judge(own, heard)
    if (verdict.type === 'begin') {
      const { clusterId, configuration } = verdict
      logger.info({ clusterId, founders: configuration.voters }, 'the node belongs to a cluster')
      return { clusterId, id: own.id, configuration }
    }
    const why = refused ? `${verdict.why} (${refused.message})` : verdict.why
    if (why !== said || round % saidEvery === 0) {
      logger.warn({ id: own.id }, `waiting for the cluster: ${why}`)
    }
    said = why
    await new Promise<void>((resolve) => timers.after(everyMs, resolve))
  }
}

/** `refusal`: whoever is there has another secret, or none. */
async function hear(
  parts: FoundParts,
  address: Address,
): Promise<Heard & { refusal?: QuireError }> {
  try {
    return { address, said: await inquire(parts, address) }
  } catch (error) {
    const where = formatAddress(address)
    parts.logger.debug({ error: messageOf(error) }, `${where} does not say who it is`)
    const refusal = QuireError.is(error, 'QUIRE_UNAUTHORIZED') ? { refusal: error } : {}
    return { address, said: undefined, ...refusal }
  }
}

/**
 * Who an empty store is going to be, made now if need be: durable before it returns.
 * QUIRE_IDENTITY_MISMATCH when the store is that of a node which keeps its metadata alone.
 */
export async function candidateOf(
  store: ReplicatedTreeStore,
  wanted: { token: string; random: Random },
): Promise<Candidate> {
  if (await hasTree(store)) {
    throw new QuireError(
      'QUIRE_IDENTITY_MISMATCH',
      'the metadata in this directory is that of a node by itself: start it without peers, or ' +
        'give this one a directory of its own',
    )
  }
  const { token, random } = wanted
  const found = await candidateIn(store)
  if (found?.token === token) return found
  const candidate = { id: `quire-${random.bytes(8).toString('hex')}`, token }
  await store.append(candidateChange(candidate))
  return candidate
}
