// One connection to a ZooKeeper through node-zookeeper-client, against servers of the test's own
// that break off, lie and send garbage: it ends, and the process never does.
import { once } from 'node:events'
import net from 'node:net'
import t, { type Test } from 'tap'
import type {
  ZooKeeperAnswer,
  ZooKeeperConnection,
  ZooKeeperDial,
  ZooKeeperRequest,
} from '../../../src/io/zookeeper.ts'
import { createZooKeepers } from '../../../src/io/real/zookeeper.ts'

const zookeepers = createZooKeepers()

function frame(...parts: (number | bigint | Buffer)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) => {
      if (Buffer.isBuffer(part)) return part
      const bytes = Buffer.alloc(typeof part === 'bigint' ? 8 : 4)
      if (typeof part === 'bigint') bytes.writeBigInt64BE(part)
      else bytes.writeInt32BE(part)
      return bytes
    }),
  )
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length)
  return Buffer.concat([length, body])
}

const text = (value: string): Buffer => frame(Buffer.from(value))
const greeting = (timeoutMs = 4_000): Buffer => frame(0, timeoutMs, 99n, frame(Buffer.alloc(16, 5)))
/** xid, zxid, error, then what follows. */
const answer = (xid: number, error = 0, ...rest: Buffer[]): Buffer =>
  frame(xid, 77n, error, ...rest)
const statBytes = frame(3n, 4n, 5n, 6n, 1, 2, 0, 0n, 11, 12, 9n).subarray(4)

interface Ends {
  readonly server: net.Socket
  readonly connection: ZooKeeperConnection
  /** What the handler heard, in order. */
  readonly heard: string[]
  /** Resolves when it has heard so much. */
  readonly reach: (count: number) => Promise<void>
  readonly ask: (request: ZooKeeperRequest) => Promise<ZooKeeperAnswer>
}

/** A server that waits for one connection; what it says is the test's matter. */
async function ends(t: Test, dial: Partial<ZooKeeperDial> = {}): Promise<Ends> {
  const listener = net.createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as net.AddressInfo
  const heard: string[] = []
  const waiting: (() => void)[] = []
  const hear = (what: string): void => {
    heard.push(what)
    for (const call of waiting.splice(0)) call()
  }
  const accepted = once(listener, 'connection')
  const connection = zookeepers.connect(
    {
      address: { host: '127.0.0.1', port },
      timeoutMs: 4_000,
      sessionId: 0n,
      password: Buffer.alloc(16),
      lastZxid: 0n,
      ...dial,
    },
    {
      opened: ({ sessionId, timeoutMs }) => hear(`opened ${sessionId} ${timeoutMs}`),
      expired: () => hear('expired'),
      event: ({ type, path }) => hear(`${type} ${path}`),
      closed: (error) => hear(`closed ${error.code}: ${error.message}`),
    },
  )
  const [server] = (await accepted) as [net.Socket]
  server.on('error', () => undefined)
  t.teardown(() => {
    connection.destroy()
    server.destroy()
    listener.close()
  })
  return {
    server,
    connection,
    heard,
    async reach(count) {
      while (heard.length < count) await new Promise<void>((resolve) => waiting.push(resolve))
    },
    ask: (request) => new Promise((resolve) => connection.send(request, resolve)),
  }
}

async function opened(t: Test): Promise<Ends> {
  const all = await ends(t)
  all.server.write(greeting())
  await all.reach(1)
  return all
}

t.test('a session is begun or carried on, and bytes may come one by one', async (t) => {
  const dial = { sessionId: 0xf000_0000_0000_0007n, lastZxid: 42n, password: Buffer.alloc(16, 5) }
  const { server, heard, reach, ask } = await ends(t, dial)
  const [request] = (await once(server, 'data')) as [Buffer]
  t.equal(request.readInt32BE(0), request.length - 4)
  t.equal(request.readBigInt64BE(8), 42n)
  t.equal(request.readInt32BE(16), 4_000)
  t.equal(request.readBigUInt64BE(20), dial.sessionId)
  for (const byte of greeting()) server.write(Buffer.of(byte))
  await reach(1)
  t.same(heard, ['opened 99 4000'])
  const getting = ask({ type: 'get', path: '/a', watch: true })
  await once(server, 'data')
  const event = frame(-1, -1n, 0, frame(3).subarray(4), frame(3).subarray(4), text('/a'))
  const all = Buffer.concat([answer(0, 0, text('data'), statBytes), event])
  server.write(all.subarray(0, 40))
  server.write(all.subarray(40))
  t.match(await getting, {
    zxid: 77n,
    error: 0,
    result: {
      type: 'get',
      data: Buffer.from('data'),
      stat: { czxid: 3n, mzxid: 4n, pzxid: 9n, version: 1, cversion: 2, childCount: 12 },
    },
  })
  await reach(2)
  t.same(heard.slice(1), ['changed /a'])
})

t.test('N3: half a frame of a connection that broke is of no other', async (t) => {
  const first = await opened(t)
  first.server.write(answer(0).subarray(0, 9))
  first.server.end()
  await first.reach(2)
  t.match(first.heard[1], /^closed QUIRE_CONNECTION_LOST/)
  const second = await opened(t)
  const syncing = second.ask({ type: 'sync', path: '/' })
  second.server.write(answer(0, 0, text('/')))
  t.match(await syncing, { error: 0, result: { type: 'sync' } })
})

t.test('N5: error numbers that the library does not know are numbers', async (t) => {
  const { server, ask } = await opened(t)
  for (const [xid, error] of [-118, -122, -127, -4711, 5].entries()) {
    const deleting = ask({ type: 'delete', path: '/a', version: 0 })
    server.write(answer(xid, error))
    t.match(await deleting, { error, result: undefined })
  }
})

t.test('a session that is gone', async (t) => {
  const { server, heard, reach } = await ends(t, { sessionId: 7n })
  server.write(greeting(0))
  server.resume()
  await once(server, 'close')
  await reach(1)
  t.same(heard, ['expired'], 'and nothing more')
})

t.test('what is no answer ends the connection', async (t) => {
  const rows: [string, Buffer][] = [
    ['of another request', answer(9, -101)],
    ['cut short', answer(0, 0, text('data'))],
    ['a length of 4 GiB', Buffer.alloc(4, 0xff)],
    ['no length at all', Buffer.alloc(8)],
    ['less than a header', frame(1)],
    ['a text that is longer than its frame', answer(0, 0, Buffer.from([0, 0, 1, 0, 1]))],
  ]
  for (const [name, bytes] of rows) {
    const { server, connection, heard, reach } = await opened(t)
    connection.send({ type: 'get', path: '/a', watch: false }, () => t.fail(`${name}: answered`))
    server.write(bytes)
    server.resume()
    await reach(2)
    t.match(heard[1], /^closed QUIRE_CONNECTION_LOST: no ZooKeeper at 127/, name)
    if (!server.destroyed) await once(server, 'close')
  }
  const { server, heard, reach } = await ends(t)
  server.write(frame(0, 1))
  await reach(1)
  t.match(heard[0], /^closed/, 'a greeting that is none')
})

t.test('nobody listens', async (t) => {
  const listener = net.createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as net.AddressInfo
  listener.close()
  await once(listener, 'close')
  const error = await new Promise<Error>((resolve) => {
    zookeepers.connect(
      {
        address: { host: '127.0.0.1', port },
        timeoutMs: 4_000,
        sessionId: 0n,
        password: Buffer.alloc(16),
        lastZxid: 0n,
      },
      {
        opened: () => t.fail('opened'),
        expired: () => t.fail('expired'),
        event: () => t.fail('event'),
        closed: resolve,
      },
    )
  })
  t.match(error, { code: 'QUIRE_CONNECTION_LOST', message: /ECONNREFUSED/ })
})

t.test('who ends it hears nothing more', async (t) => {
  const { server, connection, heard } = await opened(t)
  connection.send({ type: 'ping' }, () => t.fail('answered'))
  const closed = once(server, 'close')
  server.resume()
  connection.destroy()
  connection.send({ type: 'ping' }, () => t.fail('answered'))
  await closed
  t.same(heard, ['opened 99 4000'])
})

t.test('a multi: its stats, and errors that are told apart', async (t) => {
  const { server, ask } = await opened(t)
  const operations = [
    { type: 'create', path: '/s-', data: Buffer.alloc(0), flags: 2 },
    { type: 'check', path: '/a', version: 0 },
    { type: 'set', path: '/a', data: Buffer.from('x'), version: 0 },
    { type: 'delete', path: '/a', version: 1 },
  ] as const
  const head = (type: number, done = 0): Buffer =>
    Buffer.concat([frame(type).subarray(4), Buffer.of(done), frame(-1).subarray(4)])
  await once(server, 'data')
  const asking = ask({ type: 'multi', operations })
  const [request] = (await once(server, 'data')) as [Buffer]
  // Behind the header of the request: the first operation answers with a stat, its version is 0.
  t.equal(request.readInt32BE(12), 15)
  const results = [
    head(15),
    text('/s-0000000000'),
    statBytes,
    head(13),
    head(5),
    statBytes,
    head(2),
  ]
  server.write(answer(0, 0, ...results, head(-1, 1)))
  const { result } = await asking
  t.match(result, {
    type: 'multi',
    results: [
      { type: 'create', path: '/s-0000000000', stat: { czxid: 3n } },
      { type: 'check' },
      { type: 'set', stat: { mzxid: 4n } },
      { type: 'delete' },
    ],
  })
  const failing = ask({ type: 'multi', operations })
  const errors = [0, -103, -2, -2].flatMap((error) => [head(-1), frame(error).subarray(4)])
  server.write(answer(1, 0, ...errors, head(-1, 1)))
  t.match((await failing).result, {
    results: [0, -103, -2, -2].map((error) => ({ type: 'error', error })),
  })
})
