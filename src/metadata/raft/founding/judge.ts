// What a node without data becomes, from what its peers say of themselves (F3.72). Pure.
//
// I1. A cluster is founded only by nodes that all know all of its founders: each peer on the list
//     answered, none has data, all were given the same list. Each works out the same cluster from
//     the same answers, so it does not matter who is first, or who ends in the middle of it.
// I2. Where a peer has data nobody founds. A founder that comes late takes part as what the others
//     took it for; who was added takes part as one who knows nothing; anybody else waits.
// I3. Silence is not an answer: whoever is silent may have data.

import { createHash } from 'node:crypto'
import { formatAddress } from '../../../io/address.ts'
import type { Address } from '../../../io/network.ts'
import type { Introduction } from '../../../wire/inquiry-codec.ts'
import { emptyConfiguration } from '../core/configuration.ts'
import type { Configuration } from '../core/types.ts'

/** What was heard from an address; undefined: nothing. */
export interface Heard {
  readonly address: Address
  readonly said: Introduction | undefined
}

export type Verdict =
  | { readonly type: 'wait'; readonly why: string }
  | {
      readonly type: 'begin'
      readonly clusterId: string
      readonly configuration: Configuration
    }

/** Names a list of peers, in whatever order it was written. */
export function foundingToken(peers: readonly Address[]): string {
  return hash(['peers', ...peers.map(formatAddress).sort()])
}

export function judge(own: { id: string; token: string }, heard: readonly Heard[]): Verdict {
  const member = heard.find(({ said }) => said !== undefined && said.clusterId !== '')?.said
  if (member) return beside(member, own.id, heard)
  const silent = heard.filter(({ said }) => said === undefined)
  if (silent.length > 0) return wait(`${namesOf(silent)} must answer before a cluster is founded`)
  const others = heard.filter(({ said }) => said?.token !== own.token)
  if (others.length > 0) {
    return wait(`${namesOf(others)} has another list of peers: give all nodes the same one`)
  }
  const ids = heard.flatMap(({ said }) => said?.id ?? []).sort()
  const doubled = ids.find((id, index) => ids[index + 1] === id)
  if (doubled !== undefined) {
    return wait(`two of the peers are the same node, ${doubled}: list each node once`)
  }
  if (!ids.includes(own.id)) {
    return wait('none of the peers is this node: list the address at which it listens too')
  }
  const clusterId = hash(['cluster', own.token, ...ids])
  return begin(clusterId, { ...emptyConfiguration, voters: ids })
}

/** I2. */
function beside(member: Introduction, id: string, heard: readonly Heard[]): Verdict {
  const { clusterId, founders } = member
  const strange = heard.filter(
    ({ said }) => said !== undefined && said.clusterId !== '' && said.clusterId !== clusterId,
  )
  if (strange.length > 0) {
    return wait(
      `the peers belong to different clusters: ${namesOf(strange)} is not of ${clusterId}`,
    )
  }
  if (founders.includes(id)) {
    return begin(clusterId, { ...emptyConfiguration, voters: [...founders].sort() })
  }
  if (member.members.some((each) => each.id === id)) return begin(clusterId, emptyConfiguration)
  return wait(
    `the peers are the cluster ${clusterId}, and this node (${id}) has no data of it: ` +
      'let it in with "quire add HOST:PORT", or with "quire replace OLD --with HOST:PORT" in the ' +
      'place of a node that is dead, where HOST:PORT is this one',
  )
}

const wait = (why: string): Verdict => ({ type: 'wait', why })
const begin = (clusterId: string, configuration: Configuration): Verdict => ({
  type: 'begin',
  clusterId,
  configuration,
})

const namesOf = (heard: readonly Heard[]): string =>
  heard.map(({ address }) => formatAddress(address)).join(', ')

/** Lengths are part of it, so that no two lists look alike. */
function hash(parts: readonly string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(parts)).digest('hex')
  return digest.slice(0, 32)
}
