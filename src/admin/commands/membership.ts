// `quire add`, `remove`, `replace`, `lead`: changes of who belongs to the cluster, each one
// operation.
import { parseAddress } from '../../embedded/address.ts'
import {
  addNode,
  removeNode,
  replaceNode,
  transferLeadership,
  type MembershipParts,
} from '../../embedded/operations/membership.ts'
import { formatAddress } from '../../io/address.ts'
import type { Values } from '../commands.ts'
import type { Output } from '../output.ts'
import { ledgersFacts, ledgersSentence, partsOf, progressOf, text } from './outside.ts'

export async function add(values: Values, output: Output): Promise<number> {
  const address = parseAddress(text(values['address']) ?? '')
  const { id, clusterId } = await told(values, output, (parts) => addNode(parts, address))
  const where = formatAddress(address)
  output.event({ event: 'added', id, address: where, clusterId }, `${id} at ${where} is in.`)
  return 0
}

export async function remove(values: Values, output: Output): Promise<number> {
  const node = text(values['member']) ?? ''
  const [force, forget] = [values['force'] === true, values['forget'] === true]
  const removed = await told(values, output, (parts) => removeNode(parts, { node, force, forget }))
  const { id, clusterId, lacking, forgotten } = removed
  output.event(
    { event: 'removed', id, clusterId, forgotten, lacking: ledgersFacts(lacking) },
    `${id} is no member any more${forgotten ? ', and forgotten' : ''}. ${ledgersSentence(lacking)}`,
  )
  return 0
}

export async function replace(values: Values, output: Output): Promise<number> {
  const old = text(values['member']) ?? ''
  const address = parseAddress(text(values['with']) ?? '')
  const replaced = await told(values, output, (parts) => replaceNode(parts, { old, address }))
  const { id, clusterId, lacking } = replaced
  const where = formatAddress(address)
  output.event(
    {
      event: 'replaced',
      old: replaced.old,
      id,
      address: where,
      clusterId,
      lacking: ledgersFacts(lacking),
    },
    `${id} at ${where} is in the place of ${replaced.old}. ${ledgersSentence(lacking)}`,
  )
  return 0
}

export async function lead(values: Values, output: Output): Promise<number> {
  const node = text(values['member']) ?? ''
  const id = await told(values, output, (parts) => transferLeadership(parts, node))
  output.event({ event: 'leads', id }, `${id} leads.`)
  return 0
}

async function told<T>(
  values: Values,
  output: Output,
  work: (parts: MembershipParts) => Promise<T>,
): Promise<T> {
  const { progress, done } = progressOf(output)
  try {
    return await work({ ...partsOf(values), progress })
  } finally {
    done()
  }
}
