// Who is there, as an operator sees it: what nodes say of themselves, and which of them leads.
import * as v from 'valibot'
import { messageOf, QuireError } from '../../errors.ts'
import { formatAddress } from '../../io/address.ts'
import type { Address, Io, Logger } from '../../io/index.ts'
import type { MemberStatus, RaftStatus } from '../../metadata/raft/core/status.ts'
import { inquire } from '../../metadata/raft/founding/inquire.ts'
import type { Introduction } from '../../wire/inquiry-codec.ts'

export interface OperationParts {
  /** With the secret of the cluster, if it has one. */
  readonly io: Io
  readonly logger: Logger
  readonly signal?: AbortSignal | undefined
}

/** Where a node of a group stands in it: docs of the fields in raft/core/status.ts. */
export interface NodeStatus extends Pick<
  RaftStatus,
  'role' | 'term' | 'ready' | 'commit' | 'applied' | 'lastIndex' | 'configuration'
> {
  readonly leader?: string | undefined
  readonly members: readonly Pick<MemberStatus, 'id' | 'match' | 'inTouch' | 'caughtUp'>[]
  /** Metadata clients are served here. */
  readonly serves: boolean
}

const ids = v.array(v.string())
const member = v.object({
  id: v.string(),
  match: v.number(),
  inTouch: v.boolean(),
  caughtUp: v.boolean(),
})
const statusSchema: v.GenericSchema<unknown, NodeStatus> = v.object({
  role: v.picklist(['follower', 'pre-candidate', 'candidate', 'leader']),
  term: v.number(),
  leader: v.optional(v.string()),
  ready: v.boolean(),
  commit: v.number(),
  applied: v.number(),
  lastIndex: v.number(),
  configuration: v.object({
    voters: ids,
    outgoing: ids,
    learners: ids,
    learnersNext: ids,
    retired: ids,
  }),
  members: v.array(member),
  serves: v.boolean(),
})

/** What one node said. */
export interface SeenNode {
  readonly address: Address
  readonly said: Introduction
  /** Undefined: it belongs to no cluster yet. */
  readonly status: NodeStatus | undefined
}

export interface View {
  readonly clusterId: string
  readonly nodes: readonly SeenNode[]
  /** The one that leads in the latest term. */
  readonly leader: (SeenNode & { readonly status: NodeStatus }) | undefined
  /** Where members are, as far as anybody says. */
  readonly addresses: ReadonlyMap<string, Address>
}

export function statusIn({ said }: Pick<SeenNode, 'said'>): NodeStatus | undefined {
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), statusSchema), said.status)
  return parsed.success ? parsed.output : undefined
}

/** Fails as `inquire` does. */
export async function lookAt(parts: OperationParts, address: Address): Promise<SeenNode> {
  const { network, timers } = parts.io
  const said = await inquire({ network, timers, signal: parts.signal }, address)
  return { address, said, status: statusIn({ said }) }
}

/**
 * Asks at the addresses given, and then whoever is said to be a member. QUIRE_METADATA_UNAVAILABLE
 * when no member of a cluster answers, QUIRE_UNAUTHORIZED.
 */
export async function lookAround(parts: OperationParts, seeds: readonly Address[]): Promise<View> {
  const seen = new Map<string, SeenNode | undefined>()
  let last: unknown
  let next: readonly Address[] = seeds
  while (next.length > 0) {
    const found = await Promise.all(
      next.map(async (address) => {
        try {
          return await lookAt(parts, address)
        } catch (error) {
          if (QuireError.is(error, 'QUIRE_UNAUTHORIZED')) throw error
          parts.logger.debug({ ...address, error: messageOf(error) }, 'a node does not answer')
          last = error
          return undefined
        }
      }),
    )
    for (const [index, address] of next.entries()) seen.set(formatAddress(address), found[index])
    next = found.flatMap((node) => node?.said.members ?? []).filter(isNew(seen))
  }
  const nodes = [...seen.values()].filter((node) => node !== undefined)
  const first = nodes.find(({ said }) => said.clusterId !== '')
  if (first) return viewOf(nodes, first.said.clusterId)
  const where = seeds.map(formatAddress).join(', ')
  throw new QuireError(
    'QUIRE_METADATA_UNAVAILABLE',
    nodes.length > 0
      ? `the node at ${where} belongs to no cluster yet`
      : `no node of a cluster with peers answers at ${where}: ${messageOf(last)}`,
    { cause: last },
  )
}

/** An address that is known and was not asked; each once. */
function isNew(seen: ReadonlyMap<string, unknown>): (address: Address) => boolean {
  const taken = new Set(seen.keys())
  return (address) => {
    const text = formatAddress(address)
    if (address.host === '' || taken.has(text)) return false
    taken.add(text)
    return true
  }
}

function viewOf(all: readonly SeenNode[], clusterId: string): View {
  const nodes = all.filter(({ said }) => said.clusterId === clusterId)
  const addresses = new Map<string, Address>()
  for (const { said } of nodes) {
    for (const { id, host, port } of said.members) {
      if (host !== '') addresses.set(id, { host, port })
    }
  }
  for (const { said, address } of nodes) addresses.set(said.id, address)
  const leaders = nodes.flatMap((node) => {
    const { status } = node
    return status?.role === 'leader' ? [{ ...node, status }] : []
  })
  const [leader] = leaders.sort((one, other) => other.status.term - one.status.term)
  return { clusterId, nodes, leader, addresses }
}
