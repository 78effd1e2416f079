// Adding a node to a cluster, removing one, replacing one: as single steps of the group, each of
// which is done or refused whole. What ends in the middle goes on where it stopped when it is asked
// for again: a learner that is there already is waited for, a voter that is there already is there.
import { QuireError } from '../../errors.ts'
import { formatAddress } from '../../io/address.ts'
import type { Address } from '../../io/index.ts'
import { bookieOf } from '../../metadata/raft/founding/member-id.ts'
import type { AskedChange } from '../../wire/inquiry-codec.ts'
import { againMs, askLeader, leaderOf, newLeaderMs, pause, refusedError } from './ask-leader.ts'
import type { LedgerCopies } from './copies.ts'
import { forgetBookie } from './forget.ts'
import { lookAt, type OperationParts, type View } from './view.ts'
import { findLedgers, liveBookies, withMetadata, type LedgersFound } from './with-metadata.ts'

export interface MembershipParts extends OperationParts {
  /** Nodes of the cluster, one of which is asked who leads. */
  readonly seeds: readonly Address[]
  readonly progress?: ((step: Step) => void) | undefined
  /** How long a leader is looked for. Default 30,000. */
  readonly waitMs?: number | undefined
}

/** How far an operation has come. */
export type Step =
  | { readonly type: 'learner'; readonly id: string }
  /** `match` of `lastIndex` entries have arrived; `inTouch`: it answers. */
  | {
      readonly type: 'catching-up'
      readonly id: string
      readonly match: number
      readonly lastIndex: number
      readonly inTouch: boolean
    }
  | { readonly type: 'voter'; readonly id: string }
  | { readonly type: 'leader-moves'; readonly id: string }
  | { readonly type: 'checking-ledgers' }

/** A new node that does not answer for so long is not waited for. */
const silentMs = 60_000

export interface Added {
  readonly id: string
  readonly address: Address
  readonly clusterId: string
}

/**
 * Lets the node that waits at an address in: as a learner, and as a voter once it has caught up.
 * QUIRE_CHANGE_REFUSED, QUIRE_METADATA_UNAVAILABLE, QUIRE_TIMEOUT when the node falls silent.
 */
export async function addNode(parts: MembershipParts, address: Address): Promise<Added> {
  const view = await leaderOf(parts, parts)
  const { id, isVoter } = await newcomer(parts, view, address)
  const { clusterId } = view
  if (isVoter) return { id, address, clusterId }
  await checkGrowth(parts)
  await becomeLearner(parts, { id, address })
  await promote(parts, { id, address, without: [] })
  return { id, address, clusterId }
}

export interface Replaced extends Added {
  /** Who is no member any more. */
  readonly old: string
  /** Ledgers that name the old one's bookie, and so lack a copy. */
  readonly lacking: LedgersFound
}

/**
 * Lets the node that waits at an address take the place of a dead one, at once. Fails as `addNode`;
 * refused as `still-runs` when the old one answers.
 */
export async function replaceNode(
  parts: MembershipParts,
  { old, address }: { old: string; address: Address },
): Promise<Replaced> {
  const view = await leaderOf(parts, parts)
  const gone = memberAt(view, old)
  const { id, isVoter } = await newcomer(parts, view, address)
  if (gone !== undefined) {
    if (isThere(view, gone)) throw stillRuns(gone)
    if (!isVoter) await becomeLearner(parts, { id, address })
    await promote(parts, { id, address, without: [gone] })
  } else if (!isVoter || !view.leader.status.configuration.retired.includes(old)) {
    throw unknownMember(view, old)
  }
  const replaced = gone ?? old
  parts.progress?.({ type: 'checking-ledgers' })
  const bookieId = bookieOf(replaced)
  const lacking = await withMetadata(parts, seedsOf(view, parts), async (metadata) => {
    const live = await liveBookies(metadata)
    return findLedgers(metadata, {
      isLive: (each) => each !== bookieId && live.has(each),
      wanted: (_copies, bookies) => bookies.has(bookieId),
    })
  })
  return { id, address, clusterId: view.clusterId, old: replaced, lacking }
}

/** It answers, to the leader or to this. */
function isThere({ leader, nodes }: LedView, id: string): boolean {
  const isInTouch = leader.status.members.some((each) => each.id === id && each.inTouch)
  return isInTouch || nodes.some(({ said }) => said.id === id)
}

export interface RemoveOptions {
  /** Its id, or its address. */
  readonly node: string
  /** Also where some ledger's entries may then be nowhere else. */
  readonly force?: boolean | undefined
  /** Removes what the metadata knows of its bookie too, once no ledger names it. */
  readonly forget?: boolean | undefined
}

export interface Removed {
  readonly id: string
  readonly clusterId: string
  /** Ledgers that name its bookie, and so lack a copy. */
  readonly lacking: LedgersFound
  readonly forgotten: boolean
}

/**
 * Takes a member out for good. Refused as `ledgers-at-risk` when a ledger has too few copies
 * elsewhere, as `ledgers-name-it` when it is to be forgotten and ledgers name it; else as
 * `addNode`.
 */
export async function removeNode(
  parts: MembershipParts,
  { node, force = false, forget = false }: RemoveOptions,
): Promise<Removed> {
  const view = await leaderOf(parts, parts)
  const member = memberAt(view, node)
  if (member === undefined && !forget) throw unknownMember(view, node)
  const id = member ?? node
  const bookieId = bookieOf(id)
  parts.progress?.({ type: 'checking-ledgers' })
  const lacking = await withMetadata(parts, seedsOf(view, parts), async (metadata) => {
    const live = await liveBookies(metadata)
    return findLedgers(metadata, {
      isLive: (each) => each !== bookieId && live.has(each),
      wanted: (_copies, bookies) => bookies.has(bookieId),
    })
  })
  if (!force) checkCopies(lacking, id)
  if (forget && lacking.count > 0) throw ledgersNameIt(id, lacking.count)
  if (member !== undefined) {
    await handOver(parts, view, member)
    await change(parts, [{ kind: 'remove', id: member, host: '', port: 0 }])
  }
  if (forget) await forgetBookie(parts, { addresses: seedsOf(view, parts), bookieId })
  return { id, clusterId: view.clusterId, lacking, forgotten: forget }
}

/** Hands leadership to a member. Resolves when it leads. Fails as `addNode`. */
export async function transferLeadership(parts: MembershipParts, node: string): Promise<string> {
  const view = await leaderOf(parts, parts)
  const id = memberAt(view, node)
  if (id === undefined) throw unknownMember(view, node)
  await moveTo(parts, id)
  return id
}

async function moveTo(parts: MembershipParts, id: string): Promise<void> {
  parts.progress?.({ type: 'leader-moves', id })
  for (let tries = 20; tries > 0; tries--) {
    await askLeader(parts, { type: 'transfer', target: id }, parts)
    await pause(parts, againMs)
    const { leader } = await leaderOf(parts, parts)
    if (leader.said.id === id) return
  }
  throw refusedError('transferring', `${id} did not take leadership over in time: try again`)
}

/** A leader that is to go leads no more first, so that its removal can be told. */
async function handOver(parts: MembershipParts, view: LedView, id: string): Promise<void> {
  if (view.leader.said.id !== id) return
  const { members, configuration } = view.leader.status
  const able = members.filter((each) => each.inTouch && configuration.voters.includes(each.id))
  const [next] = able.sort((one, other) => other.match - one.match)
  if (!next) throw refusedError('quorum-at-risk')
  await moveTo(parts, next.id)
}

type LedView = View & { readonly leader: NonNullable<View['leader']> }

/** Who is at the address, and may come in or is in already. */
async function newcomer(
  parts: MembershipParts,
  view: LedView,
  address: Address,
): Promise<{ id: string; isVoter: boolean }> {
  const { said } = await lookAt(parts, address)
  const { configuration } = view.leader.status
  const isVoter = configuration.voters.includes(said.id)
  const where = formatAddress(address)
  if (said.clusterId !== '' && said.clusterId !== view.clusterId) {
    throw refusedError(
      'other-cluster',
      `the node at ${where} belongs to the cluster ${said.clusterId}, not to ${view.clusterId}`,
    )
  }
  if (configuration.retired.includes(said.id)) {
    throw refusedError(
      'bad-change',
      `${said.id} at ${where} was removed, and an id never comes back: empty its directories`,
    )
  }
  return { id: said.id, isVoter }
}

/** One voter more may need a greater majority: then nobody may be missing. */
async function checkGrowth(parts: MembershipParts): Promise<void> {
  const { clock } = parts.io
  const endMs = clock.monotonicMs() + newLeaderMs
  for (;;) {
    const missing = missingForGrowth(await leaderOf(parts, parts))
    if (missing.length === 0) return
    if (clock.monotonicMs() > endMs) {
      throw refusedError(
        'quorum-at-risk',
        `${missing.join(', ')} cannot be reached, and with one node more the cluster could not ` +
          'do without: start it, or replace it by the new node',
      )
    }
    await pause(parts, againMs)
  }
}

function missingForGrowth({ leader }: LedView): string[] {
  const { configuration, members } = leader.status
  const { voters } = configuration
  const half = (count: number): number => Math.floor(count / 2)
  if (half(voters.length + 1) === half(voters.length)) return []
  const missing = members.filter(({ id, inTouch }) => voters.includes(id) && !inTouch)
  return missing.map(({ id }) => id)
}

async function becomeLearner(
  parts: MembershipParts,
  { id, address }: { id: string; address: Address },
): Promise<void> {
  await change(parts, [{ kind: 'learner', id, ...address }])
  parts.progress?.({ type: 'learner', id })
}

/** Waits until a learner has caught up, and makes it a voter, in the place of others if named. */
async function promote(
  parts: MembershipParts,
  what: { id: string; address: Address; without: readonly string[] },
): Promise<void> {
  const { id, address, without } = what
  for (;;) {
    await caughtUp(parts, { id, address })
    const removals = without.map(
      (gone) => ({ kind: 'remove', id: gone, host: '', port: 0 }) as const,
    )
    try {
      await change(parts, [{ kind: 'voter', id, ...address }, ...removals])
      parts.progress?.({ type: 'voter', id })
      return
    } catch (error) {
      // It fell behind again, or another node leads now, which has to find out how far it is.
      const isBehind =
        QuireError.is(error, 'QUIRE_CHANGE_REFUSED') && error.facts['reason'] === 'not-caught-up'
      if (!isBehind) throw error
    }
  }
}

async function caughtUp(
  parts: MembershipParts,
  { id, address }: { id: string; address: Address },
): Promise<void> {
  const { clock } = parts.io
  let heardMs = clock.monotonicMs()
  let term: number | undefined
  for (;;) {
    const { leader } = await leaderOf(parts, parts)
    const { status } = leader
    if (status.configuration.voters.includes(id)) return
    // A leader that came since may not know where the node is.
    if (term !== undefined && status.term !== term)
      await change(parts, [{ kind: 'learner', id, ...address }])
    term = status.term
    const member = status.members.find((each) => each.id === id)
    const { match = 0, inTouch = false } = member ?? {}
    parts.progress?.({ type: 'catching-up', id, match, lastIndex: status.lastIndex, inTouch })
    if (inTouch && member?.caughtUp === true) return
    if (inTouch) heardMs = clock.monotonicMs()
    if (clock.monotonicMs() - heardMs > silentMs) throw silent({ id, address })
    await pause(parts, againMs)
  }
}

function change(parts: MembershipParts, changes: readonly AskedChange[]): Promise<void> {
  return askLeader(parts, { type: 'change', changes }, parts)
}

/** The id of a member that is named by its id or by its address. */
function memberAt({ leader, addresses }: LedView, node: string): string | undefined {
  const { voters, learners } = leader.status.configuration
  const members = [...voters, ...learners]
  if (members.includes(node)) return node
  return members.find((id) => {
    const address = addresses.get(id)
    return address !== undefined && formatAddress(address) === node
  })
}

function seedsOf({ addresses }: View, { seeds }: MembershipParts): Address[] {
  return [...seeds, ...addresses.values()]
}

function checkCopies({ ledgers, atRisk }: LedgersFound, id: string): void {
  if (atRisk === 0) return
  const risky = ledgers.filter(({ copies, needed }: LedgerCopies) => copies < needed)
  const names = risky.slice(0, 10).map(({ ledgerId }) => String(ledgerId))
  throw refusedError(
    'ledgers-at-risk',
    `${atRisk} ledgers may have entries on ${id} and nowhere else that can be reached ` +
      `(${names.join(', ')}${atRisk > names.length ? ', …' : ''}): start the other nodes, or say ` +
      '--force if they may be lost',
  )
}

function ledgersNameIt(id: string, count: number): QuireError {
  return refusedError(
    'ledgers-name-it',
    `${count} ledgers name ${id}, and without it they could not be read to their end: what the ` +
      'metadata knows of it stays until they are copied or deleted',
  )
}

function stillRuns(id: string): QuireError {
  return refusedError('still-runs', `${id} is in touch with the others: stop it first`)
}

function unknownMember({ leader }: LedView, node: string): QuireError {
  const { voters, learners } = leader.status.configuration
  const members = [...voters, ...learners].join(', ')
  return refusedError('unknown-member', `${node} is no member; these are: ${members}`)
}

function silent({ id, address }: { id: string; address: Address }): QuireError {
  return new QuireError(
    'QUIRE_TIMEOUT',
    `${id} at ${formatAddress(address)} does not answer the leader: it stays a learner, which ` +
      'counts for nothing; look at its log and repeat the command, or remove it',
  )
}
