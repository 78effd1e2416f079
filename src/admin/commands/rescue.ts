// `quire rescue`: when most nodes of a cluster are lost for good, a new cluster of what one has.
import { styleText } from 'node:util'
import { planRescue, rescue as rescueNode } from '../../embedded/operations/rescue/rescue.ts'
import type { Group, RescueReport } from '../../embedded/operations/rescue/report.ts'
import type { Values } from '../commands.ts'
import type { Output } from '../output.ts'
import { outside, text } from './outside.ts'

export async function rescue(values: Values, output: Output): Promise<number> {
  const journal = text(values['journal'])
  const parts = { ...outside(), dir: text(values['dir']) ?? '', journal }
  if (values['dryRun'] === true) {
    const plan = await planRescue(parts)
    output.event({ event: 'rescue-plan', ...factsOf(plan) }, planText(plan))
    return 0
  }
  const done = await rescueNode(parts)
  const { newClusterId, newId, aside } = done
  output.event(
    { event: 'rescued', ...factsOf(done), newClusterId, newId, aside },
    [
      planText(done),
      '',
      `This node is the cluster ${styleText('bold', newClusterId)} now, as ${newId}.`,
      `What it had as metadata is kept at ${aside}.`,
      'Start it with its own address as the only one of --peers; then let new nodes in with ' +
        '"quire add". Nodes of the old cluster that come back say QUIRE_CLUSTER_RESCUED and end.',
    ].join('\n'),
  )
  return 0
}

const groupFacts = ({ count, ledgers }: Group): object => ({
  count,
  ledgers: ledgers.map(({ ledgerId, held = null, missing = null }) => ({
    ledgerId: String(ledgerId),
    held,
    missing,
  })),
})

function factsOf(report: RescueReport): Record<string, unknown> {
  const { clusterId, id, bookieId, voters, lost, log, ledgers, logs } = report
  const { total, whole, lacking, open, gone } = ledgers
  return {
    clusterId,
    id,
    bookieId,
    voters,
    lost,
    log,
    ledgers: {
      total,
      whole,
      lacking: groupFacts(lacking),
      open: groupFacts(open),
      gone: groupFacts(gone),
    },
    logs: logs.map((each) => ({ ...each, uncertain: each.uncertain.map(String) })),
  }
}

function planText({ clusterId, id, lost, log, ledgers, logs }: RescueReport): string {
  const { total, whole, lacking, open, gone } = ledgers
  const behind = log.appended - log.committed
  return [
    `Node ${id} of the cluster ${clusterId}; ${lost.length} other members: ${lost.join(', ')}.`,
    `Metadata: all ${log.appended} entries that arrived here are kept` +
      `${behind > 0 ? `, the last ${behind} of which may never have been acknowledged` : ''}. ` +
      'Changes that were acknowledged and did not arrive here are lost.',
    `Ledgers: ${total}, of which ${whole} are whole here.`,
    ...listed(lacking, 'closed, with entries that are not here'),
    ...listed(open, 'not closed, which end where this node stopped hearing of them'),
    ...listed(gone, 'with entries that were never sent to this node'),
    ...logs.map(
      ({ name, ownerId, uncertain }) =>
        `Log ${name}, owned by ${ownerId || 'nobody'}: ` +
        (uncertain.length > 0
          ? `uncertain from its ledgers ${uncertain.slice(0, 10).join(', ')}`
          : 'whole'),
    ),
  ].join('\n')
}

function listed({ count, ledgers }: Group, what: string): string[] {
  if (count === 0) return []
  const names = ledgers.slice(0, 20).map(({ ledgerId, held, missing }) => {
    if (missing !== undefined) return `${ledgerId} lacks ${missing}`
    return held === undefined ? String(ledgerId) : `${ledgerId} has ${held}`
  })
  return [`  ${count} ${what}: ${names.join(', ')}${count > names.length ? ', …' : ''}`]
}
