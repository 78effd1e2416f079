// `quire members` and `quire status`: who belongs to the cluster, and how each fares.
import { styleText } from 'node:util'
import Table from 'cli-table3'
import { QuireError } from '../../errors.ts'
import { formatAddress } from '../../io/address.ts'
import { bookieOf } from '../../metadata/raft/founding/member-id.ts'
import type { MembershipParts } from '../../embedded/operations/membership.ts'
import { lookAround, type View } from '../../embedded/operations/view.ts'
import {
  findLedgers,
  withMetadata,
  type LedgerQuestion,
  type LedgersFound,
  type Metadata,
} from '../../embedded/operations/with-metadata.ts'
import type { Values } from '../commands.ts'
import type { Output } from '../output.ts'
import { ledgersFacts, partsOf } from './outside.ts'

export interface MemberLine {
  readonly id: string
  /** Empty: nobody says. */
  readonly address: string
  /** `leaving`: it counts until the change under way is done. */
  readonly role: 'voter' | 'learner' | 'leaving'
  readonly leads: boolean
  /** `unknown`: nobody leads, who could say. */
  readonly state: 'in-touch' | 'silent' | 'unknown'
  /** Entries that it has yet to get; null: not known. */
  readonly behind: number | null
}

export async function members(values: Values, output: Output): Promise<number> {
  const view = await lookAround(...seeded(partsOf(values)))
  const lines = membersIn(view)
  output.event({ event: 'members', ...headOf(view), members: lines }, tableOf(view, lines))
  return view.leader ? 0 : 1
}

interface Held {
  readonly writable: readonly string[]
  readonly readOnly: readonly string[]
  readonly logs: readonly string[]
  readonly ledgers: LedgersFound | undefined
}

export async function status(values: Values, output: Output): Promise<number> {
  const parts = partsOf(values)
  const view = await viewIfGroup(parts)
  const lines = view ? membersIn(view) : []
  const addresses = [...parts.seeds, ...(view?.addresses.values() ?? [])]
  const withLedgers = values['ledgers'] === true
  const held = await withMetadata(parts, addresses, (metadata) => heldIn(metadata, withLedgers))
  const { writable, readOnly, logs, ledgers } = held
  const head = view ? headOf(view) : { clusterId: null, leader: null, term: null }
  const facts = { members: lines, bookies: { writable, readOnly }, logs: logs.length }
  output.event(
    { event: 'status', ...head, ...facts, ...(ledgers && { ledgers: ledgersFacts(ledgers) }) },
    [
      view ? tableOf(view, lines) : 'One node by itself: nobody else keeps its metadata.',
      `${writable.length} bookies take writes, ${readOnly.length} only reads. ${logs.length} logs.`,
      ...(ledgers ? [ledgersText(ledgers)] : []),
    ].join('\n'),
  )
  return 0
}

async function heldIn(metadata: Metadata, withLedgers: boolean): Promise<Held> {
  const { registration, records } = metadata.managers
  const writable = await registration.writable()
  const readOnly = await registration.readOnly()
  const live = new Set([...writable, ...readOnly])
  const question: LedgerQuestion = {
    isLive: (id) => live.has(id),
    wanted: ({ copies, needed }, bookies) =>
      copies < needed || [...bookies].some((id) => !live.has(id)),
  }
  const ledgers = withLedgers ? await findLedgers(metadata, question) : undefined
  return { writable, readOnly, logs: await records.list(), ledgers }
}

function ledgersText({ total, count, atRisk }: LedgersFound): string {
  return (
    `${total} ledgers, of which ${count} lack a copy that can be reached, and ${atRisk} may lack ` +
    'an entry altogether.'
  )
}

const seeded = (parts: MembershipParts): Parameters<typeof lookAround> => [parts, parts.seeds]

/** Undefined: a node that keeps its metadata alone, or on others. */
async function viewIfGroup(parts: MembershipParts): Promise<View | undefined> {
  try {
    return await lookAround(...seeded(parts))
  } catch (error) {
    // One that answers no inquiry hangs up on them.
    if (QuireError.is(error, 'QUIRE_METADATA_UNAVAILABLE')) {
      if (QuireError.is(error.cause, 'QUIRE_CONNECTION_LOST')) return undefined
    }
    throw error
  }
}

const headOf = ({ clusterId, leader }: View) => ({
  clusterId,
  leader: leader?.said.id ?? null,
  term: leader?.status.term ?? null,
})

export function membersIn({ leader, nodes, addresses }: View): MemberLine[] {
  const status = leader?.status ?? nodes.find((node) => node.status)?.status
  if (!status) return []
  const { voters, outgoing, learners } = status.configuration
  const ids = [...new Set([...voters, ...outgoing, ...learners])].sort()
  return ids.map((id) => {
    const address = addresses.get(id)
    const known = leader?.status.members.find((each) => each.id === id)
    const leads = leader?.said.id === id
    const isInTouch = leads || known?.inTouch === true
    return {
      id,
      address: address ? formatAddress(address) : '',
      role: voters.includes(id) ? 'voter' : learners.includes(id) ? 'learner' : 'leaving',
      leads,
      state: leader ? (isInTouch ? 'in-touch' : 'silent') : 'unknown',
      behind: leads ? 0 : known ? Math.max(0, status.lastIndex - known.match) : null,
    }
  })
}

function tableOf(view: View, lines: readonly MemberLine[]): string {
  const head = ['node', 'address', 'role', 'state', 'behind']
  const table = new Table({ head, style: { head: [], border: [] } })
  for (const { id, address, role, leads, state, behind } of lines) {
    const name = bookieOf(id) === id ? id : `${id} (bookie ${bookieOf(id)})`
    table.push([
      leads ? styleText('bold', name) : name,
      address || '?',
      leads ? 'leader' : role,
      styleText(state === 'in-touch' ? 'green' : state === 'silent' ? 'red' : 'yellow', state),
      behind ?? '?',
    ])
  }
  const leader = view.leader ? '' : '\nNobody leads: more than half of the voters must run.'
  return `Cluster ${view.clusterId}\n${table.toString()}${leader}`
}
