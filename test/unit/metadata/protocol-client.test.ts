// The client against a server that follows a script: everything a server may say, rightly or not.

import t from 'tap'
import { QuireError } from '../../../src/errors.ts'
import type { Connection } from '../../../src/io/network.ts'
import { connectMetadata } from '../../../src/metadata/client/index.ts'
import type { MetadataSession, MetadataStore } from '../../../src/metadata/contract.ts'
import { FrameReader } from '../../../src/wire/frame-reader.ts'
import {
  decodeClientPacket,
  decodeConnectRequest,
  encodeConnectResponse,
  encodeServerPacket,
} from '../../../src/wire/metadata-codec.ts'
import type {
  ClientPacket,
  ConnectRequest,
  ConnectResponse,
  MetadataResult,
} from '../../../src/wire/metadata-messages.ts'
import { ManualTime, settle } from '../../support/manual-time.ts'
import { MemoryNetwork } from '../../support/memory-network.ts'
import { random, silent } from '../../support/metadata-bench.ts'

const here = { host: 'here', port: 1 }
const there = { host: 'there', port: 2 }
const ok: ConnectResponse = {
  version: 0x0100,
  status: 'ok',
  sessionId: 77n,
  password: Buffer.alloc(16, 5),
  timeoutMs: 9_000,
  zxid: 10,
  instanceId: 'cluster-1',
  message: '',
}

type Request = ClientPacket & { type: 'request' }

/** One connection as the script sees it. */
interface Visit {
  readonly number: number
  readonly greeting: ConnectRequest
  readonly connection: Connection
  answer(request: Request, result: MetadataResult): void
}

interface Script {
  readonly greet?: (visit: Visit) => Partial<ConnectResponse>
  readonly request?: (visit: Visit, request: Request) => void
}

class ScriptedServer {
  readonly time = new ManualTime()
  readonly network = new MemoryNetwork()
  readonly visits: Visit[] = []
  readonly requests: Request[] = []
  silent = false

  async listen(script: Script): Promise<MetadataStore> {
    const accept = (connection: Connection): void => this.#serve(connection, script)
    await this.network.listen(here, accept)
    await this.network.listen(there, accept)
    const { time, network } = this
    const parts = { clock: time, timers: time, network, random, logger: silent }
    return connectMetadata({ ...parts, addresses: [here, there], connectTimeoutMs: 5_000 })
  }

  #serve(connection: Connection, { greet, request }: Script): void {
    const reader = new FrameReader()
    let visit: Visit | undefined
    const frame = (payload: Buffer): void => {
      if (!visit) {
        visit = this.#visit(connection, decodeConnectRequest(payload))
        this.visits.push(visit)
        connection.write(encodeConnectResponse({ ...ok, ...greet?.(visit) }))
        return
      }
      const packet = decodeClientPacket(payload)
      if (packet.type === 'ping' && !this.silent) {
        connection.write(encodeServerPacket({ type: 'pong', number: packet.number }))
      } else if (packet.type === 'request') {
        this.requests.push(packet)
        request?.(visit, packet)
      }
    }
    connection.start({
      data: (chunk) =>
        void reader.push(chunk, (bytes, start, end) => frame(bytes.subarray(start, end))),
      drain: () => undefined,
      close: () => undefined,
    })
  }

  #visit(connection: Connection, greeting: ConnectRequest): Visit {
    const answer = ({ requestId }: Request, result: MetadataResult): void => {
      connection.write(encodeServerPacket({ type: 'answer', requestId, zxid: 11, result }))
    }
    return { number: this.visits.length + 1, greeting, connection, answer }
  }
}

async function opened(
  t: { teardown: (end: () => Promise<void>) => void },
  script: Script,
): Promise<{ server: ScriptedServer; session: MetadataSession; store: MetadataStore }> {
  const server = new ScriptedServer()
  const store = await server.listen(script)
  const opening = store.session()
  await server.time.advance(1_000)
  const session = await opening
  t.teardown(async () => {
    const closing = store.close()
    await server.time.advance(5_000)
    await closing
  })
  return { server, session, store }
}

const errorOf = (promise: Promise<unknown>): Promise<QuireError> =>
  promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => {
      if (QuireError.is(error)) return error
      throw error
    },
  )

const failure = (code: number): MetadataResult => ({
  type: 'error',
  code,
  message: 'a sentence',
  path: undefined,
  index: undefined,
})

t.test('a refusal of the second try says nothing about the first', async (t) => {
  const { server, session } = await opened(t, {
    request: (visit, request) => {
      if (visit.number === 1) visit.connection.destroy()
      else visit.answer(request, failure(request.request.type === 'get' ? 101 : 112))
    },
  })
  const retried = errorOf(session.delete('/a', -1))
  const read = errorOf(session.get('/b'))
  await server.time.advance(1_000)
  t.match(await retried, { code: 'QUIRE_METADATA_UNAVAILABLE', facts: { path: '/a' } })
  t.match(await read, { code: 'QUIRE_NO_NODE', message: 'a sentence', facts: { path: '/b' } })
  t.equal((await errorOf(session.delete('/a', -1))).code, 'QUIRE_SESSION_EXPIRED', 'first try')
})

t.test('a retry has its first number, and the greeting names what is resumed', async (t) => {
  const { server, session } = await opened(t, {
    request: (visit, request) => {
      if (visit.number === 1 && request.requestId === 2) visit.connection.destroy()
      else visit.answer(request, { type: 'delete' })
    },
  })
  t.equal(session.sessionId, 77n)
  await session.delete('/a', -1)
  const second = session.delete('/b', -1)
  await server.time.advance(1_000)
  await second
  await session.delete('/c', -1)
  const seen = server.requests.map(({ requestId, answeredUpTo }) => [requestId, answeredUpTo])
  t.same(seen, [
    [1, 0],
    [2, 1],
    [2, 1],
    [3, 2],
  ])
  const { password } = ok
  t.match(server.visits[1]?.greeting, { sessionId: 77n, password, lastZxid: 11 })
  t.equal(server.visits[1]?.greeting.instanceId, 'cluster-1')
})

t.test('errors and packets that only a newer server knows', async (t) => {
  const { server, session } = await opened(t, {
    request: (visit, request) => {
      visit.connection.write(Buffer.from([0, 0, 0, 2, 99, 1]))
      visit.answer(request, failure(999))
    },
  })
  const error = await errorOf(session.get('/a'))
  t.equal(error.code, 'QUIRE_METADATA_UNAVAILABLE')
  t.match(error.message, /999/)
  t.equal(server.visits.length, 1, 'the connection goes on')
})

t.test('a server that breaks the protocol is left, and the call goes to the next', async (t) => {
  const misdeeds: ((visit: Visit, request: Request) => void)[] = [
    (visit, request) => visit.answer({ ...request, requestId: 55 }, { type: 'delete' }),
    (visit) => void visit.connection.write(Buffer.from([0, 0, 0, 1, 1])),
    (visit) => void visit.connection.write(Buffer.from([255, 255, 255, 255])),
    (visit) => {
      const packet = { type: 'goodbye', reason: 'unavailable', message: 'bye' } as const
      visit.connection.write(encodeServerPacket(packet))
    },
    (visit) => {
      const packet = { type: 'goodbye', reason: 'moved', message: 'bye' } as const
      visit.connection.write(encodeServerPacket(packet))
    },
  ]
  for (const misdeed of misdeeds) {
    const { server, session } = await opened(t, {
      request: (visit, request) => {
        if (visit.number === 1) misdeed(visit, request)
        else visit.answer(request, { type: 'delete' })
      },
    })
    const call = session.delete('/a', -1)
    await server.time.advance(1_000)
    t.equal(await call, undefined)
    t.equal(server.visits.length, 2)
  }
})

t.test('an answer of another kind is unknown, and the session goes on', async (t) => {
  const { session } = await opened(t, {
    request: (visit, request) => visit.answer(request, { type: 'sync' }),
  })
  t.equal((await errorOf(session.get('/a'))).code, 'QUIRE_METADATA_UNAVAILABLE')
})

t.test('refusals: another version, another cluster, another session, and no session', async (t) => {
  for (const refusal of [
    { status: 'version', version: 0x0200, message: 'speak 2' },
    { status: 'instance' },
    { status: 'unavailable' },
  ] as const) {
    const server = new ScriptedServer()
    const store = await server.listen({ greet: () => refusal })
    const failed = errorOf(store.session())
    await server.time.advance(6_000)
    const error = await failed
    t.equal(error.code, 'QUIRE_METADATA_UNAVAILABLE')
    if (refusal.status === 'version') t.match(error.cause, { code: 'QUIRE_UNSUPPORTED' })
    t.ok(server.visits.length > 2, 'others were tried')
    t.equal(server.time.pending, 0)
  }
  const { server, session } = await opened(t, {
    greet: ({ number }) => (number === 1 ? {} : { status: 'sessionExpired' }),
  })
  const unanswered = errorOf(session.set('/a', Buffer.alloc(0), 0))
  await settle()
  server.visits[0]?.connection.destroy()
  await server.time.advance(1_000)
  t.equal(await session.ended, 'expired')
  t.equal((await unanswered).code, 'QUIRE_METADATA_UNAVAILABLE')
})

t.test('the lease runs from the sending of what was answered, not from the answer', async (t) => {
  const { server, session } = await opened(t, {
    request: (visit, request) => {
      server.silent = true
      server.time.after(2_500, () => visit.answer(request, { type: 'delete' }))
    },
  })
  let ended = ''
  void session.ended.then((reason) => (ended = reason))
  const call = session.delete('/a', -1)
  server.network.unreachable = true
  await server.time.advance(2_600)
  t.equal(await call, undefined)
  await server.time.advance(5_900)
  t.equal(ended, '', '95 in a hundred of 9 s are 8.55 s')
  await server.time.advance(100)
  t.equal(ended, 'expired')
})
