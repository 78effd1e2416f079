// Connections that one thread accepts and another serves: bytes in order in both directions, and
// bounds on what is under way.
import t from 'tap'
import { HandedPort } from '../../../src/embedded/handed-connection.ts'
import {
  HandedConnections,
  handedLimits,
  type HandedDown,
  type HandedUp,
} from '../../../src/embedded/node/handed-connections.ts'
import type { Connection } from '../../../src/io/index.ts'
import { ClientEnd } from '../../support/client-end.ts'

interface Served {
  readonly connection: Connection
  readonly heard: Buffer[]
  readonly ends: (Error | undefined)[]
  drained: number
}

/** Both threads; messages are cloned and wait until they are delivered. */
function threads() {
  const up: HandedUp[] = []
  const down: HandedDown[] = []
  const node = new HandedConnections((event) => up.push(structuredClone(event)))
  const application = new HandedPort((event) => down.push(structuredClone(event)))
  const deliver = (): void => {
    while (up.length + down.length > 0) {
      for (const event of up.splice(0)) application.receive(event)
      for (const event of down.splice(0)) node.receive(event)
    }
  }
  const served: Served[] = []
  const serve = (): void =>
    application.serve((connection, firstChunk) => {
      const one: Served = { connection, heard: [firstChunk], ends: [], drained: 0 }
      served.push(one)
      connection.start({
        data: (chunk) => one.heard.push(chunk),
        drain: () => void (one.drained += 1),
        close: (error) => one.ends.push(error),
      })
    })
  const accept = (first: string): ClientEnd => {
    const client = new ClientEnd()
    // A view of something larger, as a socket gives it.
    const pool = Buffer.alloc(4096)
    node.accept(client, pool.subarray(0, pool.write(first)))
    return client
  }
  return { node, application, up, down, deliver, served, serve, accept }
}

t.test('bytes go both ways, in order, and only they', async (t) => {
  const { deliver, served, serve, accept, up } = threads()
  serve()
  const client = accept('one')
  const [opened] = up
  t.equal(opened?.type === 'opened' && opened.bytes.buffer.byteLength, 3, 'not what is around it')
  client.send(Buffer.from('two'))
  deliver()
  const [one] = served
  t.equal(Buffer.concat(one?.heard ?? []).toString(), 'onetwo')
  t.same(one?.connection.remote, client.remote)
  const flushed: string[] = []
  one?.connection.write(Buffer.from('three'), () => flushed.push('three'))
  one?.connection.cork()
  one?.connection.write(Buffer.from('four'), () => flushed.push('four'))
  one?.connection.write(Buffer.from('five'), () => flushed.push('five'))
  one?.connection.uncork()
  t.equal(one?.connection.queuedBytes, 13)
  deliver()
  t.same(client.writes.map(String), ['three', 'fourfive'])
  t.same(flushed, ['three', 'four', 'five'])
  t.equal(one?.connection.queuedBytes, 0)
  one?.connection.write(Buffer.from('six'))
  one?.connection.end()
  t.equal(one?.connection.write(Buffer.from('late')), false)
  deliver()
  t.equal(client.writes.at(-1)?.toString(), 'six')
  t.ok(client.ended)
  client.hangUp()
  deliver()
  t.same(one?.ends, [undefined])
})

t.test('one who does not take is not read from', async (t) => {
  const { deliver, served, serve, accept } = threads()
  serve()
  const client = accept('.')
  deliver()
  const [one] = served
  one?.connection.pause()
  const chunk = Buffer.alloc(65_536)
  let sent = 0
  while (!client.paused) {
    client.send(chunk)
    sent += chunk.length
    deliver()
  }
  t.ok(sent <= handedLimits.untakenBytes + chunk.length, `${sent} bytes are under way`)
  t.equal(one?.heard.length, 1)
  one?.connection.resume()
  deliver()
  t.notOk(client.paused)
  t.equal(Buffer.concat(one?.heard ?? []).length, 1 + sent)
})

t.test('a writer is told to wait, and when to go on', async (t) => {
  const { deliver, served, serve, accept } = threads()
  serve()
  const client = accept('.')
  client.choking = true
  deliver()
  const [one] = served
  const chunk = Buffer.alloc(100_000)
  t.equal(one?.connection.write(chunk), true)
  t.equal(one?.connection.write(chunk), true)
  t.equal(one?.connection.write(chunk), false)
  deliver()
  t.equal(one?.drained, 0)
  client.flush()
  deliver()
  t.equal(one?.drained, 1)
})

t.test('ends: of the peer, of the server, of either thread, of what nobody serves', async (t) => {
  const { deliver, served, serve, accept, node, application } = threads()
  const refused = accept('before anybody serves')
  deliver()
  t.ok(refused.destroyed)
  serve()
  const clients = ['a', 'b', 'c', 'd'].map(accept)
  deliver()
  clients[0]?.hangUp()
  served[1]?.connection.destroy()
  served[1]?.connection.destroy()
  clients[1]?.send(Buffer.from('too late'))
  deliver()
  t.same([served[0]?.ends.length, served[1]?.ends.length], [1, 1])
  t.equal(served[1]?.heard.length, 1)
  t.ok(clients[1]?.destroyed)
  const lost: unknown[] = []
  served[2]?.connection.write(Buffer.from('x'), (error) => lost.push(error))
  node.close()
  application.close()
  t.match(lost, [{ code: 'QUIRE_CONNECTION_LOST' }])
  t.ok(clients[2]?.destroyed && clients[3]?.destroyed)
  t.same([served[2]?.ends.length, served[3]?.ends.length], [1, 1])
  deliver()
  t.same(served[3]?.ends.length, 1)
})

t.test('no more connections than there may be', async (t) => {
  const { deliver, serve, accept, served } = threads()
  serve()
  const clients = Array.from({ length: handedLimits.connections + 1 }, () => accept('x'))
  deliver()
  t.equal(served.length, handedLimits.connections)
  t.ok(clients.at(-1)?.destroyed)
})
