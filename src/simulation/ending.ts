// The end of a run: everything goes down and comes up again; and what was closed leaves nothing.

import { messageOf } from '../errors.ts'
import type { Operator, SimulatedCluster } from './cluster.ts'
import type { Report } from './report.ts'
import type { World } from './world.ts'

export interface EndingParts {
  readonly world: World
  readonly cluster: SimulatedCluster
  readonly report: Report
  /**
   * Whether a node may stay down that was refused a start for this; without an error, that waits to
   * be let in. Default: none may.
   */
  readonly mayStayDown?: ((name: string, error: unknown) => boolean) | undefined
}

/** How long the nodes of a whole world may take to start. */
const startMs = 120_000

/**
 * All machines lose their power at once and nothing unsynced survives; or their processes
 * are ended in order. False when a node did not come up again, which is reported.
 */
export async function restartAll(parts: EndingParts): Promise<boolean> {
  const { world, cluster } = parts
  const inOrder = world.scheduler.choose(3, 'verify.close') === 0
  for (const operator of cluster.operators.reverse()) {
    if (inOrder && operator.node !== undefined) {
      await operator.close()
      world.kill(operator.name)
      operator.start()
    } else {
      operator.cutPower('none')
    }
  }
  return allStarted(parts)
}

/** Waits until every node serves that must. False when one does not, which is reported. */
export async function allStarted(parts: EndingParts): Promise<boolean> {
  const { world, cluster, report, mayStayDown } = parts
  const sinceMs = world.scheduler.nowMs
  const endMs = sinceMs + startMs
  const isExcused = ({ name, refusals }: Operator): boolean => {
    const last = refusals.at(-1)
    const error = last !== undefined && last.timeMs >= sinceMs ? last.error : undefined
    return mayStayDown?.(name, error) === true
  }
  const down = () =>
    cluster.operators.filter((operator) => operator.node === undefined && !isExcused(operator))
  while (down().length > 0 && world.scheduler.nowMs < endMs) await world.pass(50)
  for (const { name, refusals } of down()) {
    const why = messageOf(refusals.at(-1)?.error)
    report.violated('liveness', `${name} did not start again within ${startMs} ms: ${why}`)
  }
  return down().length === 0
}

/** What was closed in order leaves nothing behind: no timer, no call, no connection. */
export async function quiet(
  { world, report }: Omit<EndingParts, 'cluster'>,
  machines: readonly string[],
): Promise<void> {
  await world.pass(1000)
  for (const name of machines) {
    const { task } = world.node(name)
    const left = task?.alive === true ? task.pending : []
    report.holds(
      left.length === 0,
      'leak',
      () => `${name} is closed, and still has: ${left.join()}`,
    )
  }
  const open = world.cables
    .connections()
    .map(({ task, remote }) => `${task.label} to ${remote.host}`)
  report.holds(open.length === 0, 'leak', () => `connections are left open: ${open.join()}`)
}
