// What operators ask of a node of a group. A node that does not lead says who does; the core
// refuses what would not be safe, and a refused request changes nothing. Where an operator says a
// member is, is remembered also by a node that does not lead: it may have to find it one day.
import type { Refusal } from '../../metadata/raft/core/effects.ts'
import { membersOf } from '../../metadata/raft/core/configuration.ts'
import type { AddressBook } from '../../metadata/raft/founding/address-book.ts'
import type { Request } from '../../metadata/raft/founding/inquire.ts'
import type { RaftDriver } from '../../metadata/raft/driver.ts'
import type { AskedChange, Reply } from '../../wire/inquiry-codec.ts'

/** What the core refuses for, and what a node refuses before it asks the core. */
export type RequestRefusal = Refusal | 'no-member' | 'already-so'

export interface RequestParts {
  readonly driver: RaftDriver
  readonly addresses: AddressBook
}

const nobody = { id: '', host: '', port: 0 } as const

export const noMember: Reply = { outcome: 'refused', reason: 'no-member', leader: nobody }

export async function answerRequest(parts: RequestParts, asked: Request): Promise<Reply> {
  if (asked.type === 'transfer') return transfer(parts, asked.target)
  for (const { id, host, port } of asked.changes) {
    if (host !== '') parts.addresses.heard(id, { host, port })
  }
  // Nobody means to take a vote away by letting somebody in: it was asked for twice.
  const { role, configuration } = parts.driver.status
  const isIn = ({ kind, id }: AskedChange): boolean =>
    kind === 'learner' && configuration.voters.includes(id)
  if (role === 'leader' && asked.changes.some(isIn)) return refused(parts, 'already-so')
  const changes = asked.changes.map(({ kind, id }) => ({ kind, node: id }))
  const outcome = await parts.driver.change(changes)
  if (outcome.type === 'applied') return done(parts)
  if (outcome.type === 'unknown') return { outcome: 'unknown', reason: '', leader: nobody }
  // Asked again by one who did not get the answer. The leader's configuration is applied: else the
  // core had refused for that.
  const isRepeated =
    outcome.reason === 'bad-change' && asked.changes.every((each) => isSo(parts.driver, each))
  return refused(parts, isRepeated ? 'already-so' : outcome.reason)
}

/** Whether a member is already what it is to become, in the configuration in force. */
function isSo({ status }: RaftDriver, { kind, id }: AskedChange): boolean {
  const { configuration } = status
  const { voters, outgoing, learners } = configuration
  if (outgoing.length > 0) return false
  if (kind === 'remove') return !membersOf(configuration).includes(id)
  return (kind === 'voter' ? voters : learners).includes(id)
}

/** Begun, or refused: whether it succeeds shows in who leads. */
function transfer(parts: RequestParts, target: string): Reply {
  const { role, leader, configuration } = parts.driver.status
  if (role !== 'leader') return refused(parts, 'not-leader')
  if (leader === target) return refused(parts, 'already-so')
  if (!configuration.voters.includes(target)) return refused(parts, 'bad-change')
  parts.driver.transfer(target)
  return done(parts)
}

function done(parts: RequestParts): Reply {
  return { outcome: 'done', reason: '', leader: whoLeads(parts, parts.driver.status.leader) }
}

function refused(parts: RequestParts, reason: RequestRefusal): Reply {
  return { outcome: 'refused', reason, leader: whoLeads(parts, parts.driver.status.leader) }
}

function whoLeads({ addresses }: RequestParts, leader: string | undefined): Reply['leader'] {
  if (leader === undefined) return nobody
  return addresses.list([leader])[0] ?? nobody
}
