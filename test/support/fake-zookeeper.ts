// Connections to a ZooKeeper whose every word the test says: what a server may do, and what it
// ought not to.
import { QuireError } from '../../src/errors.ts'
import type {
  ZooKeeperAnswer,
  ZooKeeperConnection,
  ZooKeeperDial,
  ZooKeeperHandler,
  ZooKeeperRequest,
  ZooKeeperResult,
  ZooKeepers,
  ZooKeeperStat,
} from '../../src/io/zookeeper.ts'

export const stat: ZooKeeperStat = {
  czxid: 1n,
  mzxid: 1n,
  pzxid: 1n,
  ctimeMs: 5n,
  mtimeMs: 5n,
  version: 0,
  cversion: 0,
  aversion: 0,
  ephemeralOwner: 0n,
  dataLength: 0,
  childCount: 0,
}

interface Asked {
  readonly request: ZooKeeperRequest
  readonly answered: (answer: ZooKeeperAnswer) => void
}

export class FakeConnection implements ZooKeeperConnection {
  readonly dial: ZooKeeperDial
  readonly handler: ZooKeeperHandler
  /** All that was sent, in order. */
  readonly sent: ZooKeeperRequest[] = []
  destroyed = false
  readonly #asked: Asked[] = []

  constructor(dial: ZooKeeperDial, handler: ZooKeeperHandler) {
    this.dial = dial
    this.handler = handler
  }

  /** Types and paths of what has no answer yet. */
  get waiting(): string[] {
    return this.#asked.map(({ request }) =>
      'path' in request ? `${request.type} ${request.path}` : request.type,
    )
  }

  send(request: ZooKeeperRequest, answered: Asked['answered']): void {
    if (this.destroyed) throw new Error('something was sent on a connection that had ended')
    this.sent.push(request)
    this.#asked.push({ request, answered })
  }

  destroy(): void {
    this.destroyed = true
  }

  open({
    sessionId = 7n,
    timeoutMs = 9_000,
  }: { sessionId?: bigint; timeoutMs?: number } = {}): void {
    this.handler.opened({ sessionId, password: Buffer.alloc(16, 3), timeoutMs })
  }

  /** Answers the oldest request. */
  answer(answer: { error?: number; zxid?: bigint; result?: ZooKeeperResult } = {}): void {
    const asked = this.#asked.shift()
    if (!asked) throw new Error('nothing waits for an answer')
    const { error = 0, zxid = 0n, result = resultOf(asked.request) } = answer
    if (!this.destroyed) {
      asked.answered({ error, zxid, result: error === 0 ? result : undefined })
    }
  }

  answerAll(): void {
    while (this.#asked.length > 0 && !this.destroyed) this.answer()
  }

  close(): void {
    if (this.destroyed) return
    this.destroyed = true
    this.handler.closed(new QuireError('QUIRE_CONNECTION_LOST', 'it broke'))
  }
}

function resultOf(request: ZooKeeperRequest): ZooKeeperResult {
  switch (request.type) {
    case 'create':
      return { type: 'create', path: request.path, stat }
    case 'get':
      return { type: 'get', data: Buffer.alloc(0), stat }
    case 'exists':
    case 'set':
      return { type: request.type, stat }
    case 'children':
      return { type: 'children', names: [], stat }
    case 'multi':
      return { type: 'multi', results: request.operations.map(() => ({ type: 'check' })) }
    case 'delete':
    case 'sync':
    case 'setWatches':
    case 'ping':
    case 'closeSession':
      break
  }
  return { type: request.type }
}

export class FakeZooKeepers implements ZooKeepers {
  /** One for each dialling, in order. */
  readonly dialled: FakeConnection[] = []

  get last(): FakeConnection {
    const last = this.dialled.at(-1)
    if (!last) throw new Error('nobody dialled')
    return last
  }

  connect(dial: ZooKeeperDial, handler: ZooKeeperHandler): FakeConnection {
    const connection = new FakeConnection(dial, handler)
    this.dialled.push(connection)
    return connection
  }
}
