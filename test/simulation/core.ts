// While one node is away, and all else is whole, what needs no more than the others goes on: a
// fresh client makes and closes a ledger, owns and writes the log, and uses the state.

import type { Client } from '../../src/embedded/client.ts'
import { createSimulatedIo } from '../../src/simulation/index.ts'
import { checkError } from '../../src/simulation/report.ts'
import { Life } from './life.ts'
import type { Run } from './run.ts'
import { machine } from './states.ts'

/** Within this each of them is done. */
const coreMs = 120_000
const host = 'k4'

type Goal = (run: Run, life: Life, client: Client) => Promise<void>

const goals: Readonly<Record<string, Goal>> = {
  'a ledger': async ({ checkers: { ledgers } }, life, client) => {
    const writer = await client.ledgers.create()
    const { ledgerId } = writer
    ledgers.created(ledgerId, 2)
    for (let left = 3; left > 0; left -= 1) {
      const payload = life.payload(`L${ledgerId}.`)
      ledgers.appending(ledgerId, payload)
      ledgers.acked(ledgerId, await writer.append(payload), payload)
    }
    ledgers.closed(ledgerId, await writer.close(), `its writer on ${host}`)
  },

  'a log': async ({ checkers: { logs } }, life, client) => {
    for (const [name, checker] of logs) {
      const log = await client.log(name)
      const { ackedEnd } = checker
      const writer = await log.acquire()
      checker.acquired(writer.epoch, writer.nextPosition, ackedEnd)
      const payload = life.payload('R')
      checker.appending(payload)
      checker.acked(await writer.append(payload), payload, writer.epoch)
      await writer.close()
    }
  },

  'a state': async ({ checkers: { machines } }, life, client) => {
    for (const [name, checker] of machines) {
      await using replica = await client.replica(name, machine)
      const command = life.unique('C')
      checker.executing(command)
      checker.answered(command, await replica.execute(command))
      const { answeredCount } = checker
      const list = await replica.query(null, { consistency: 'linearizable' })
      checker.saw(list, `a linearizable question on ${host}`, answeredCount)
    }
  },
}

/** Tries each until it is done; reports those that are not in time. */
export async function coreGoesOn(run: Run, away: string): Promise<void> {
  const { world, report } = run
  const endMs = world.scheduler.nowMs + coreMs
  const left = new Set(Object.keys(goals))
  const attempt = async (): Promise<void> => {
    const io = createSimulatedIo(world, host)
    const client = await run.cluster.client(host, io)
    const { task } = world.node(host)
    if (task === undefined) return
    const life = new Life({ world, report, machine: host, task, client })
    for (const name of left) {
      await goals[name]?.(run, life, client)
      left.delete(name)
    }
    await client.close()
  }
  while (left.size > 0 && world.scheduler.nowMs < endMs) {
    const failed = (error: unknown) =>
      checkError(report, error, `without ${away}, ${[...left].join()}`)
    await Promise.race([attempt().catch(failed), world.pass(coreMs / 3)])
    world.kill(host)
    await world.pass(500)
  }
  const text = () => `without ${away}, and all else whole, this does not go on: ${[...left].join()}`
  report.holds(left.size === 0, 'liveness', text)
}
