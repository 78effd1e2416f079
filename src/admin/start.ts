// `quire start`: one node, until a signal or a failure ends it.
import { setTimeout as sleep } from 'node:timers/promises'
import { open, type Node } from '../index.ts'
import type { Values } from './commands.ts'
import { rememberListen, text } from './commands/outside.ts'
import type { Output } from './output.ts'

const closeAfterFailureMs = 2_000

/**
 * Prints one line when the node serves; resolves to 0 after SIGTERM or SIGINT, to 1 when the node
 * failed.
 */
export async function start(values: Values, output: Output): Promise<number> {
  const stop = stopSignals()
  const node = await open({
    dir: text(values['dir']),
    journal: text(values['journal']),
    ledgers: text(values['ledgers'])?.split(','),
    listen: text(values['listen']) ?? '127.0.0.1:3181',
    metadata: text(values['metadata']),
    init: values['init'] === true,
    bookieId: text(values['bookieId']),
    peers: text(values['peers'])?.split(','),
    insecure: values['insecure'] === true,
    secret: process.env['QUIRE_SECRET'],
    signal: stop.signal,
  }).catch((error: unknown) => {
    if (stop.signal.aborted) return undefined
    throw error
  })
  if (node === undefined) return 0
  const { id, listen } = node
  const dir = text(values['dir']) ?? text(values['journal'])
  if (dir !== undefined) rememberListen({ dir, listen })
  output.event(
    { event: 'ready', id, listen, pid: process.pid },
    `${id} serves on ${listen} (process ${process.pid}). Ctrl-C ends it.`,
  )
  return serve(node, stop.signal, output)
}

async function serve(node: Node, stop: AbortSignal, output: Output): Promise<number> {
  const stopped = new Promise<'stop'>((resolve) => {
    const done = (): void => resolve('stop')
    stop.addEventListener('abort', done, { once: true })
    if (stop.aborted) done()
  })
  const first = await Promise.race([stopped, node.failed])
  if (first === 'stop') {
    const stats = await node.close()
    output.event({ event: 'closed', ...stats }, 'closed')
    return 0
  }
  output.problem(first)
  // The failed node closes what it can, its registration first; a disk that hangs is not waited
  // for.
  const closed = node.close().catch((error: unknown) => output.problem(error))
  await Promise.race([closed, sleep(closeAfterFailureMs)])
  return 1
}

/** The first SIGTERM or SIGINT closes in order, a second one ends the process at once. */
function stopSignals(): AbortController {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(1)
    controller.abort()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return controller
}
