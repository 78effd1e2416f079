// The program of a node's thread: one node, from the message `start` to the message `close` or its
// failure.
import { QuireError } from '../errors.ts'
import type { Io, Logger, Message, ThreadPort } from '../io/index.ts'
import type { HandedUp } from './node/handed-connections.ts'
import { type FromNode, plainFact, type ToNode, toPlain } from './node/messages.ts'
import { startNode, type NodeHandle } from './node/node.ts'

export function run(port: ThreadPort, io: Io): void {
  const post = (message: FromNode): void => port.post(message)
  const logger = loggerOn(post, {})
  const state: { node: Promise<NodeHandle> | undefined; started: boolean; failed: boolean } = {
    node: undefined,
    started: false,
    failed: false,
  }
  const starting = new AbortController()
  const fail = (error: unknown): void => {
    if (state.failed) return
    state.failed = true
    post({ type: 'failed', error: toPlain(error) })
  }
  port.receive((message) => {
    const asked = asToNode(message)
    if (asked.type === 'start') {
      const { settings } = asked
      const { signal } = starting
      const handed = (event: HandedUp): void => post({ type: 'handed', event })
      const node = startNode({ io, logger, settings, failed: fail, handed, signal })
      state.node = node
      const ready = ({ id, listen, incarnation }: NodeHandle): void => {
        state.started = true
        post({ type: 'ready', id, listen, incarnation })
      }
      node.then(ready, fail)
    } else if (asked.type === 'stats') {
      // A node that did not start has told so.
      state.node?.then((node) => post({ type: 'stats', stats: node.stats() }), fail)
    } else if (asked.type === 'handed') {
      state.node?.then((node) => node.handed(asked.event), fail)
    } else {
      // One that is still starting may wait for metadata that do not answer.
      if (!state.started) starting.abort()
      state.node
        ?.then((node) => node.close())
        .then((stats) => post({ type: 'closed', stats }), fail)
    }
  })
}

/** Lines go to the application's thread, where the logger is. Nothing is logged for an entry. */
function loggerOn(post: (message: FromNode) => void, bindings: Record<string, unknown>): Logger {
  const line = (level: 'debug' | 'info' | 'warn' | 'error') => (facts: object, message: string) => {
    const all = Object.entries({ ...bindings, ...facts })
    const plain = Object.fromEntries(all.map(([name, value]) => [name, plainFact(value)]))
    post({ type: 'log', level, facts: plain, message })
  }
  return {
    child: (more) => loggerOn(post, { ...bindings, ...more }),
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  }
}

function asToNode(message: Message): ToNode {
  if (isToNode(message)) return message
  throw new QuireError('QUIRE_INVARIANT', 'broken invariant: the node was asked something unknown')
}

function isToNode(message: Message): message is ToNode {
  return typeof message === 'object' && message !== null && 'type' in message
}
